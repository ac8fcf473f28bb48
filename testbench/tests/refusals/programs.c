/* Mistakes that Linux's verifier refuses, one to a program, as C programmers make them. */
#include "packet.h"

struct counter {
	__u64 packets;
	__u64 bytes;
	__u8 ports[16];
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 64);
	__type(key, __be32);
	__type(value, struct counter);
} counters SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
} events SEC(".maps");

/* The IP header is read after a comparison that covers only the Ethernet header. */
SEC("xdp")
int short_check(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data;
	void *data_end = (void *)(long)ctx->data_end;
	struct eth *eth = data;

	if ((void *)(eth + 1) > data_end)
		return XDP_DROP;

	struct ipv4 *ip = (void *)(eth + 1);

	return ip->proto == PROTO_TCP ? XDP_PASS : XDP_DROP;
}

SEC("xdp")
int no_check(struct xdp_md *ctx)
{
	struct eth *eth = (void *)(long)ctx->data;

	return eth->type == htons(ETH_ARP) ? XDP_PASS : XDP_DROP;
}

/* The comparison holds on the other path. */
SEC("xdp")
int wrong_way(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data;
	void *data_end = (void *)(long)ctx->data_end;
	struct eth *eth = data;

	if ((void *)(eth + 1) <= data_end)
		return XDP_PASS;
	return eth->type;
}

SEC("xdp")
int no_null_check(struct xdp_md *ctx)
{
	__be32 key = ctx->ingress_ifindex;
	struct counter *counter = bpf_map_lookup_elem(&counters, &key);

	counter->packets++;
	return XDP_PASS;
}

/* The index comes from the packet. */
SEC("xdp")
int free_index(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data;
	void *data_end = (void *)(long)ctx->data_end;
	struct eth *eth = data;
	__be32 key = 0;

	if ((void *)(eth + 1) > data_end)
		return XDP_DROP;

	struct counter *counter = bpf_map_lookup_elem(&counters, &key);

	if (!counter)
		return XDP_DROP;
	counter->ports[eth->dst[5]]++;
	return XDP_PASS;
}

/* Packet pointers are used after the packet has moved. */
SEC("xdp")
int stale_pointer(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data;
	void *data_end = (void *)(long)ctx->data_end;
	struct eth *eth = data;

	if ((void *)(eth + 1) > data_end)
		return XDP_DROP;
	if (bpf_xdp_adjust_head(ctx, -4))
		return XDP_ABORTED;
	return eth->type == htons(ETH_IPV4) ? XDP_PASS : XDP_DROP;
}

struct event {
	__u32 port;
	__u32 queue;
};

SEC("xdp")
int forgotten_record(struct xdp_md *ctx)
{
	struct event *event = bpf_ringbuf_reserve(&events, sizeof(*event), 0);

	if (!event)
		return XDP_PASS;
	event->port = ctx->ingress_ifindex;
	if (ctx->rx_queue_index > 3)
		return XDP_DROP;
	event->queue = ctx->rx_queue_index;
	bpf_ringbuf_submit(event, 0);
	return XDP_PASS;
}

SEC("xdp")
int big_stack(struct xdp_md *ctx)
{
	__u8 buffer[16];
	__u32 length = ctx->rx_queue_index;

	bpf_xdp_load_bytes(ctx, 0, buffer, length & 31);
	return buffer[3];
}

static __noinline int checked(void *data, void *data_end)
{
	struct eth *eth = data;

	if (data + 13 > data_end)
		return 0;
	return eth->type;
}

/* The mistake is in a function. */
SEC("xdp")
int in_function(struct xdp_md *ctx)
{
	return checked((void *)(long)ctx->data, (void *)(long)ctx->data_end);
}

/* Two mistakes that do not depend on each other. */
SEC("xdp")
int two_mistakes(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data;
	void *data_end = (void *)(long)ctx->data_end;
	struct eth *eth = data;
	__be32 key = ctx->ingress_ifindex;

	if (ctx->rx_queue_index == 7) {
		struct counter *counter = bpf_map_lookup_elem(&counters, &key);

		counter->bytes = 1;
		return XDP_PASS;
	}
	if ((void *)eth + 12 > data_end)
		return XDP_DROP;
	return eth->type;
}

SEC("xdp")
int written_context(struct xdp_md *ctx)
{
	ctx->rx_queue_index = 1;
	return XDP_PASS;
}

SEC("xdp")
int endless(struct xdp_md *ctx)
{
	volatile __u32 *queue = &ctx->rx_queue_index;

	for (;;)
		if (*queue == 1)
			break;
	return XDP_PASS;
}

char _license[] SEC("license") = "Dual MIT/GPL";
