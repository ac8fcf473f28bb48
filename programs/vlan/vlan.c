/* Connects access ports to a trunk: an untagged packet gets the VLAN of its port and goes to the trunk,
 * a tagged one loses its outer tag and goes to the access port of its VLAN. */
#include "packet.h"

const volatile __u32 trunk = 1; /* key of the trunk in `access_ports`: VLAN 1 is not used by a port */

/* Interface index to VLAN id, of access ports. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 64);
	__type(key, __u32);
	__type(value, __u32);
} port_vlans SEC(".maps");

/* VLAN id to interface. */
struct {
	__uint(type, BPF_MAP_TYPE_DEVMAP_HASH);
	__uint(max_entries, 64);
	__type(key, __u32);
	__type(value, __u32);
} access_ports SEC(".maps");

struct tag_counter {
	__u64 pushed;
	__u64 popped;
};

/* By VLAN id. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 4096);
	__type(key, __u32);
	__type(value, struct tag_counter);
} counters SEC(".maps");

/* The Ethernet addresses, which move as one block. */
struct macs {
	__u16 word[6];
};

static __always_inline struct tag_counter *counter_of(__u32 id)
{
	return bpf_map_lookup_elem(&counters, &id);
}

/* The priority bits of a tag: the upper three bits of the IPv4 TOS. */
static __always_inline __u16 priority_of(struct cursor c, __be16 type)
{
	struct ipv4 *ip = c.at;

	if (type != htons(ETH_IPV4) || !advance(&c, sizeof(*ip)))
		return 0;
	return (ip->tos & 0xe0) << 8;
}

static __always_inline int push(struct xdp_md *ctx, __u16 id, __u16 priority)
{
	struct tag_counter *counter = counter_of(id);
	struct macs *from, *to;
	struct vlan *tag;
	struct cursor c;

	if (bpf_xdp_adjust_head(ctx, -(int)sizeof(*tag)))
		return XDP_ABORTED;
	c = packet_start(ctx);
	to = c.at;
	from = c.at + sizeof(*tag);
	tag = (void *)(to + 1);
	if (!advance(&c, sizeof(struct eth) + sizeof(*tag)))
		return XDP_ABORTED;
	*to = *from;
	/* In the frame the tag's protocol comes before it: type and TCI, seen from here, in that order. */
	tag->tci = htons(ETH_VLAN);
	tag->type = htons(priority | id);
	if (counter)
		__sync_fetch_and_add(&counter->pushed, 1);
	return bpf_redirect_map(&access_ports, trunk, XDP_DROP);
}

static __always_inline int pop(struct xdp_md *ctx, __u16 id, struct macs macs)
{
	struct tag_counter *counter = counter_of(id);
	struct cursor c;

	if (bpf_xdp_adjust_head(ctx, sizeof(struct vlan)))
		return XDP_ABORTED;
	c = packet_start(ctx);
	if (c.at + sizeof(macs) > c.end)
		return XDP_ABORTED;
	*(struct macs *)c.at = macs;
	if (counter)
		__sync_fetch_and_add(&counter->popped, 1);
	return bpf_redirect_map(&access_ports, id, XDP_DROP);
}

SEC("xdp")
int vlan(struct xdp_md *ctx)
{
	struct cursor c = packet_start(ctx);
	__u32 ifindex = ctx->ingress_ifindex;
	struct eth *eth = c.at;
	struct vlan *tag;
	__u32 *id;
	__u16 tci;

	if (!advance(&c, sizeof(*eth)))
		return XDP_DROP;
	if (eth->type != htons(ETH_VLAN) && eth->type != htons(ETH_QINQ)) {
		id = bpf_map_lookup_elem(&port_vlans, &ifindex);
		return id ? push(ctx, *id & 0xfff, priority_of(c, eth->type)) : XDP_PASS;
	}
	tag = c.at;
	if (!advance(&c, sizeof(*tag)))
		return XDP_DROP;
	tci = ntohs(tag->tci) & 0xfff;
	if (tci == 0 || tci == 0xfff || tci == trunk) /* priority tag, reserved, not a port's */
		return XDP_PASS;
	return pop(ctx, tci, *(struct macs *)eth);
}

const char _license[] SEC("license") = "Dual MIT/GPL";
