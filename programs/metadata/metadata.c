/* Parses the packet once and leaves the result as metadata in front of it, for the programs and the stack behind. */
#include "hash.h"

struct metadata {
	__u32 flow_hash;
	__u16 transport_offset; /* from the start of the frame; behind the transport header's fixed part */
	__u8 kind; /* enum flow_kind */
	__u8 proto;
	__u16 queue;
	__be16 dst_port;
	__u32 length;
};

SEC("xdp")
int metadata(struct xdp_md *ctx)
{
	struct cursor c = packet_start(ctx);
	__u32 length = c.end - c.at;
	struct metadata *metadata;
	struct parsed packet = {};
	enum flow_kind kind = parse_flow(&c, &packet);
	__u16 offset = c.at - packet_start(ctx).at;

	if (bpf_xdp_adjust_meta(ctx, -(int)sizeof(*metadata)))
		return XDP_PASS; /* a driver without metadata */
	metadata = (void *)(long)ctx->data_meta;
	if ((void *)(metadata + 1) > packet_start(ctx).at)
		return XDP_ABORTED;
	metadata->flow_hash = kind >= FLOW_FRAGMENT ? hash_flow(&packet.flow, 0) : 0;
	metadata->transport_offset = offset;
	metadata->kind = kind;
	metadata->proto = packet.flow.proto;
	metadata->queue = ctx->rx_queue_index;
	metadata->dst_port = packet.flow.dst_port;
	metadata->length = length;
	return XDP_PASS;
}

const char _license[] SEC("license") = "Dual MIT/GPL";
