/* A firewall for tenants that are told apart by VLAN: each has a table of rules of its own, which can be exchanged as a
 * whole while packets flow. A tenant without a table may not talk. */
#include "packet.h"

struct rule_key {
	__be32 dst;
	__be16 port; /* 0: any */
	__u8 proto;
	__u8 zero;
};

struct rule {
	__u32 action;
	__u32 hits;
};

struct rules {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 256);
	__type(key, struct rule_key);
	__type(value, struct rule);
};

struct rules red SEC(".maps");
struct rules blue SEC(".maps");

/* Tables by VLAN. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH_OF_MAPS);
	__uint(max_entries, 64);
	__type(key, __u32);
	__array(values, struct rules);
} tenants SEC(".maps");

struct counts {
	__u64 untagged;
	__u64 unknown_tenant;
	__u64 malformed;
	__u64 not_ipv4;
	__u64 no_rule;
	__u64 ruled;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct counts);
} counts SEC(".maps");

/* The key of the rule for this packet; false if its headers are cut or malformed. */
static __always_inline bool rule_key(struct cursor c, struct rule_key *key)
{
	struct ipv4 *ip;
	struct udp *ports;

	if (!parse_ipv4(&c, &ip))
		return false;
	key->dst = ip->dst;
	key->proto = ip->proto;
	if (ip->proto != PROTO_TCP && ip->proto != PROTO_UDP)
		return true;
	if (ip->fragment & IPV4_FRAGMENT_OFFSET)
		return true;
	ports = c.at;
	if (!advance(&c, sizeof(*ports)))
		return false;
	key->port = ports->dst;
	return true;
}

static __always_inline int apply(void *rules, struct rule_key *key, struct counts *count)
{
	struct rule *rule = bpf_map_lookup_elem(rules, key);

	if (!rule) {
		key->port = 0;
		rule = bpf_map_lookup_elem(rules, key);
	}
	if (!rule) {
		count->no_rule++;
		return XDP_DROP;
	}
	__sync_fetch_and_add(&rule->hits, 1);
	count->ruled++;
	return rule->action == XDP_PASS ? XDP_PASS : XDP_DROP;
}

static __always_inline int tagged(struct cursor c, const struct vlan *vlan, struct counts *count)
{
	__u32 tenant = ntohs(vlan->tci) & 0xfff;
	struct rule_key key = {};
	void *rules = bpf_map_lookup_elem(&tenants, &tenant);

	if (!rules) {
		count->unknown_tenant++;
		return XDP_DROP;
	}
	if (vlan->type != htons(ETH_IPV4)) {
		count->not_ipv4++;
		return vlan->type == htons(ETH_ARP) ? XDP_PASS : XDP_DROP;
	}
	if (!rule_key(c, &key)) {
		count->malformed++;
		return XDP_DROP;
	}
	return apply(rules, &key, count);
}

SEC("xdp")
int tenant_firewall(struct xdp_md *ctx)
{
	struct cursor c = packet_start(ctx);
	struct eth *eth = c.at;
	struct counts *count;
	struct vlan *vlan;
	__u32 zero = 0;

	count = bpf_map_lookup_elem(&counts, &zero);
	if (!count)
		return XDP_ABORTED;
	if (!advance(&c, sizeof(*eth))) {
		count->malformed++;
		return XDP_DROP;
	}
	vlan = c.at;
	if (eth->type != htons(ETH_VLAN) || !advance(&c, sizeof(*vlan))) {
		count->untagged++;
		return XDP_PASS;
	}
	return tagged(c, vlan, count);
}

const char _license[] SEC("license") = "Dual MIT/GPL";
