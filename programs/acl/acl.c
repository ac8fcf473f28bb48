/* An access list by IPv4 source address: pass, drop, or mirror the packet back to its sender.
 * Stays inside what the NFP offload takes, as classify does. */
#include "packet.h"

struct rule {
	__u32 action; /* enum xdp_action: drop, pass or tx */
	__u32 hits; /* only ever added to */
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16384);
	__type(key, __be32);
	__type(value, struct rule);
} rules SEC(".maps");

struct mac {
	__u16 word[3];
};

static __always_inline void swap_macs(struct mac *dst, struct mac *src)
{
	struct mac old = *dst;

	*dst = *src;
	*src = old;
}

SEC("xdp")
int acl(struct xdp_md *ctx)
{
	struct cursor c = packet_start(ctx);
	struct eth *eth = c.at;
	struct rule *rule;
	struct ipv4 *ip;
	__be32 source;
	__be16 type;

	if (!parse_ethernet(&c, &type))
		return XDP_DROP;
	if (type != htons(ETH_IPV4))
		return XDP_PASS;
	if (!parse_ipv4(&c, &ip))
		return XDP_DROP;
	source = ip->src;
	rule = bpf_map_lookup_elem(&rules, &source);
	if (!rule)
		return XDP_PASS;
	__sync_fetch_and_add(&rule->hits, 1);
	if (rule->action == XDP_DROP)
		return XDP_DROP;
	if (rule->action != XDP_TX)
		return XDP_PASS;
	swap_macs((struct mac *)eth->dst, (struct mac *)eth->src);
	return XDP_TX;
}

const char _license[] SEC("license") = "Dual MIT/GPL";
