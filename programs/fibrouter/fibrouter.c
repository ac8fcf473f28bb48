/* A router that asks the kernel's own routing table: next hop, MAC addresses and MTU come from bpf_fib_lookup. What it
 * does not know is passed to the host, which then learns the neighbour. */
#include "packet.h"

#define AF_INET 2
#define AF_INET6 10

/* Parameters of the lookup; the layout is the kernel's struct bpf_fib_lookup. */
struct fib_params {
	__u8 family;
	__u8 proto;
	__be16 src_port;
	__be16 dst_port;
	__u16 total_bytes;
	__u32 ifindex;
	union {
		__u8 tos;
		__be32 flow;
		__u32 metric;
	};
	__be32 src[4];
	__be32 dst[4];
	__be16 vlan_proto;
	__be16 vlan_tci;
	__u8 src_mac[6];
	__u8 dst_mac[6];
};

/* Results of lookups by the kernel's code (BPF_FIB_LKUP_RET_*), then what never came to a lookup. */
enum {
	NOT_IP = 10,
	MALFORMED,
	TTL_ENDS,
	OUTCOMES,
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, OUTCOMES);
	__type(key, __u32);
	__type(value, __u64);
} outcomes SEC(".maps");

static __always_inline int finish(__u32 outcome, int action)
{
	__u64 *count = bpf_map_lookup_elem(&outcomes, &outcome);

	if (count)
		*count += 1;
	return action;
}

/* One less in the TTL is 0x0100 less in its 16-bit word, so one more in the checksum (RFC 1624), with end-around carry. */
static __always_inline void decrement_ttl(struct ipv4 *ip)
{
	__u32 sum = ip->checksum + (__u32)htons(0x0100);

	ip->checksum = sum + (sum >= 0xffff);
	ip->ttl--;
}

static __always_inline int send(struct eth *eth, const struct fib_params *fib)
{
	__builtin_memcpy(eth->dst, fib->dst_mac, 6);
	__builtin_memcpy(eth->src, fib->src_mac, 6);
	return finish(0, bpf_redirect(fib->ifindex, 0));
}

static __always_inline int route_ipv4(struct xdp_md *ctx, struct eth *eth, struct cursor c)
{
	struct fib_params fib = { .family = AF_INET, .ifindex = ctx->ingress_ifindex };
	struct ipv4 *ip;
	long result;

	if (!parse_ipv4(&c, &ip))
		return finish(MALFORMED, XDP_DROP);
	if (ip->ttl <= 1)
		return finish(TTL_ENDS, XDP_PASS);
	fib.proto = ip->proto;
	fib.total_bytes = ntohs(ip->len);
	fib.tos = ip->tos;
	fib.src[0] = ip->src;
	fib.dst[0] = ip->dst;
	result = bpf_fib_lookup(ctx, &fib, sizeof(fib), 0);
	if (result)
		return finish((__u32)result < NOT_IP ? result : MALFORMED, XDP_PASS);
	decrement_ttl(ip);
	return send(eth, &fib);
}

static __always_inline int route_ipv6(struct xdp_md *ctx, struct eth *eth, struct cursor c)
{
	struct fib_params fib = { .family = AF_INET6, .ifindex = ctx->ingress_ifindex };
	struct ipv6 *ip;
	long result;

	if (!parse_ipv6(&c, &ip))
		return finish(MALFORMED, XDP_DROP);
	if (ip->hop_limit <= 1)
		return finish(TTL_ENDS, XDP_PASS);
	fib.proto = ip->next;
	fib.total_bytes = ntohs(ip->len) + sizeof(*ip);
	fib.flow = ip->version_class_flow & htonl(0x0fffffff);
	__builtin_memcpy(fib.src, ip->src, 16);
	__builtin_memcpy(fib.dst, ip->dst, 16);
	result = bpf_fib_lookup(ctx, &fib, sizeof(fib), 0);
	if (result)
		return finish((__u32)result < NOT_IP ? result : MALFORMED, XDP_PASS);
	ip->hop_limit--;
	return send(eth, &fib);
}

SEC("xdp")
int fibrouter(struct xdp_md *ctx)
{
	struct cursor c = packet_start(ctx);
	struct eth *eth = c.at;

	if (!advance(&c, sizeof(*eth)))
		return finish(MALFORMED, XDP_DROP);
	if (eth->type == htons(ETH_IPV4))
		return route_ipv4(ctx, eth, c);
	if (eth->type == htons(ETH_IPV6))
		return route_ipv6(ctx, eth, c);
	return finish(NOT_IP, XDP_PASS);
}

const char _license[] SEC("license") = "Dual MIT/GPL";
