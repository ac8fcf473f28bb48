/* Per-CPU statistics: by RX queue, by protocol and by size, without any shared counter. */
#include "flow.h"

struct traffic {
	__u64 packets;
	__u64 bytes;
};

/* By RX queue; the last entry takes the queues beyond. */
#define QUEUES 64

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, QUEUES);
	__type(key, __u32);
	__type(value, struct traffic);
} queues SEC(".maps");

struct protocol {
	__u32 ifindex;
	__be16 port; /* the lower one of the two, host order compared; 0: no ports */
	__u8 proto;
	__u8 kind; /* enum flow_kind */
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_HASH);
	__uint(max_entries, 16384);
	__type(key, struct protocol);
	__type(value, struct traffic);
} protocols SEC(".maps");

/* By the base 2 logarithm of the length. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 32);
	__type(key, __u32);
	__type(value, __u64);
} sizes SEC(".maps");

static __always_inline void count(struct traffic *traffic, __u64 bytes)
{
	traffic->packets++;
	traffic->bytes += bytes;
}

static __always_inline void count_queue(__u32 queue, __u64 bytes)
{
	__u32 key = queue < QUEUES ? queue : QUEUES - 1;
	struct traffic *traffic = bpf_map_lookup_elem(&queues, &key);

	if (traffic)
		count(traffic, bytes);
}

static __always_inline void count_protocol(struct protocol *key, __u64 bytes)
{
	struct traffic first = { 1, bytes };
	struct traffic *traffic = bpf_map_lookup_elem(&protocols, key);

	if (traffic)
		count(traffic, bytes);
	else
		bpf_map_update_elem(&protocols, key, &first, BPF_NOEXIST);
}

static __noinline void count_size(__u32 bytes)
{
	__u32 bits = 0;
	__u64 *count;

	for (int i = 0; i < 31 && bytes > 1; i++) {
		bytes >>= 1;
		bits++;
	}
	count = bpf_map_lookup_elem(&sizes, &bits);
	if (count)
		*count += 1;
}

SEC("xdp")
int stats(struct xdp_md *ctx)
{
	struct cursor c = packet_start(ctx);
	__u32 bytes = c.end - c.at;
	struct parsed packet = {};
	struct protocol key = { .ifindex = ctx->ingress_ifindex };
	enum flow_kind kind = parse_flow(&c, &packet);

	key.kind = kind;
	key.proto = packet.flow.proto;
	if (kind == FLOW_PORTS && packet.flow.proto != PROTO_ICMP && packet.flow.proto != PROTO_ICMPV6)
		key.port = ntohs(packet.flow.src_port) < ntohs(packet.flow.dst_port) ? packet.flow.src_port :
										      packet.flow.dst_port;
	count_queue(ctx->rx_queue_index, bytes);
	count_protocol(&key, bytes);
	count_size(bytes);
	return XDP_PASS;
}

const char _license[] SEC("license") = "Dual MIT/GPL";
