/* A chain of programs by tail calls: a parser, one program for each protocol, a policy at the end.
 * What a stage found goes to the next in per-CPU memory. A missing stage passes the packet. */
#include "packet.h"

enum stage {
	STAGE_IPV4,
	STAGE_IPV6,
	STAGE_ARP,
	STAGE_TCP,
	STAGE_UDP,
	STAGE_ICMP, /* not filled: shows the way on when there is no program */
	STAGES = 8,
};

int chain_ipv4(struct xdp_md *ctx);
int chain_ipv6(struct xdp_md *ctx);
int chain_arp(struct xdp_md *ctx);
int chain_tcp(struct xdp_md *ctx);
int chain_udp(struct xdp_md *ctx);

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, STAGES);
	__type(key, __u32);
	__array(values, int(struct xdp_md *));
} stages SEC(".maps") = {
	.values = {
		[STAGE_IPV4] = &chain_ipv4,
		[STAGE_IPV6] = &chain_ipv6,
		[STAGE_ARP] = &chain_arp,
		[STAGE_TCP] = &chain_tcp,
		[STAGE_UDP] = &chain_udp,
	},
};

/* The last word; filled from outside. Key 0 is the policy for services, key 1 that for everything else. */
struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, __u32);
} policies SEC(".maps");

struct progress {
	__u32 offset; /* of the next header */
	__be16 port; /* of the service */
	__u8 proto;
	__u8 stages; /* run so far */
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct progress);
} progress SEC(".maps");

/* How many packets ended after how many stages. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 16);
	__type(key, __u32);
	__type(value, __u64);
} depth SEC(".maps");

/* Ports that the service policy drops. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, __be16);
	__type(value, __u8);
} closed_ports SEC(".maps");

static __always_inline struct progress *load_progress(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&progress, &zero);
}

static __always_inline int end(const struct progress *state, int action)
{
	__u32 key = state->stages & 15;
	__u64 *count = bpf_map_lookup_elem(&depth, &key);

	if (count)
		__sync_fetch_and_add(count, 1);
	return action;
}

/* Where the previous stage stopped. */
static __always_inline struct cursor resume(struct xdp_md *ctx, struct progress *state)
{
	struct cursor c = packet_start(ctx);

	state->stages++;
	c.at += state->offset & 0xff; /* at most 14 + 8 + 60 bytes */
	return c;
}

static __always_inline int next(struct xdp_md *ctx, struct progress *state, __u8 proto)
{
	state->proto = proto;
	if (proto == PROTO_TCP)
		bpf_tail_call(ctx, &stages, STAGE_TCP);
	else if (proto == PROTO_UDP)
		bpf_tail_call(ctx, &stages, STAGE_UDP);
	else if (proto == PROTO_ICMP || proto == PROTO_ICMPV6)
		bpf_tail_call(ctx, &stages, STAGE_ICMP);
	bpf_tail_call(ctx, &policies, 1);
	return end(state, XDP_PASS);
}

SEC("xdp")
int chain(struct xdp_md *ctx)
{
	struct progress *state = load_progress();
	struct cursor c = packet_start(ctx);
	__be16 type;

	if (!state)
		return XDP_ABORTED;
	*state = (struct progress){ .stages = 1 };
	if (!parse_ethernet(&c, &type))
		return end(state, XDP_DROP);
	state->offset = c.at - packet_start(ctx).at;
	if (type == htons(ETH_IPV4))
		bpf_tail_call(ctx, &stages, STAGE_IPV4);
	else if (type == htons(ETH_IPV6))
		bpf_tail_call(ctx, &stages, STAGE_IPV6);
	else if (type == htons(ETH_ARP))
		bpf_tail_call(ctx, &stages, STAGE_ARP);
	return end(state, XDP_PASS);
}

SEC("xdp")
int chain_ipv4(struct xdp_md *ctx)
{
	struct progress *state = load_progress();
	struct ipv4 *ip;
	struct cursor c;

	if (!state)
		return XDP_ABORTED;
	c = resume(ctx, state);
	if (!parse_ipv4(&c, &ip))
		return end(state, XDP_DROP);
	state->offset += (ip->version_ihl & 15) * 4;
	return next(ctx, state, ip->fragment & IPV4_FRAGMENT_OFFSET ? PROTO_FRAGMENT : ip->proto);
}

SEC("xdp")
int chain_ipv6(struct xdp_md *ctx)
{
	struct progress *state = load_progress();
	struct ipv6 *ip;
	struct cursor c;

	if (!state)
		return XDP_ABORTED;
	c = resume(ctx, state);
	if (!parse_ipv6(&c, &ip))
		return end(state, XDP_DROP);
	state->offset += sizeof(*ip);
	return next(ctx, state, ip->next);
}

SEC("xdp")
int chain_arp(struct xdp_md *ctx)
{
	struct progress *state = load_progress();

	if (!state)
		return XDP_ABORTED;
	state->stages++;
	return end(state, XDP_PASS);
}

static __always_inline int service(struct xdp_md *ctx, struct progress *state, __be16 src, __be16 dst)
{
	state->port = ntohs(src) < ntohs(dst) ? src : dst;
	bpf_tail_call(ctx, &policies, 0);
	return end(state, XDP_PASS);
}

SEC("xdp")
int chain_tcp(struct xdp_md *ctx)
{
	struct progress *state = load_progress();
	struct cursor c;
	struct tcp *tcp;

	if (!state)
		return XDP_ABORTED;
	c = resume(ctx, state);
	tcp = c.at;
	if (!advance(&c, sizeof(*tcp)))
		return end(state, XDP_DROP);
	/* SYN with FIN, and no flag at all, are not TCP but scans. */
	if ((tcp->flags & (TCP_SYN | TCP_FIN)) == (TCP_SYN | TCP_FIN) || !tcp->flags)
		return end(state, XDP_DROP);
	return service(ctx, state, tcp->src, tcp->dst);
}

SEC("xdp")
int chain_udp(struct xdp_md *ctx)
{
	struct progress *state = load_progress();
	struct cursor c;
	struct udp *udp;

	if (!state)
		return XDP_ABORTED;
	c = resume(ctx, state);
	udp = c.at;
	if (!advance(&c, sizeof(*udp)) || ntohs(udp->len) < sizeof(*udp))
		return end(state, XDP_DROP);
	return service(ctx, state, udp->src, udp->dst);
}

SEC("xdp")
int policy_services(struct xdp_md *ctx)
{
	struct progress *state = load_progress();
	__be16 port;

	if (!state)
		return XDP_ABORTED;
	state->stages++;
	port = state->port;
	return end(state, bpf_map_lookup_elem(&closed_ports, &port) ? XDP_DROP : XDP_PASS);
}

/* Fragments and tunnels are dropped, the rest passes. */
SEC("xdp")
int policy_other(struct xdp_md *ctx)
{
	struct progress *state = load_progress();

	if (!state)
		return XDP_ABORTED;
	state->stages++;
	return end(state, state->proto == PROTO_FRAGMENT || state->proto == PROTO_IPIP ? XDP_DROP : XDP_PASS);
}

const char _license[] SEC("license") = "Dual MIT/GPL";
