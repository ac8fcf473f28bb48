/* Counts packets and bytes by protocol in a plain array, by atomic add; drops what is malformed.
 * Stays inside what the NFP offload takes: one helper (lookup), no global data, no stores to map values. */
#include "packet.h"

enum class {
	CLASS_MALFORMED,
	CLASS_OTHER,
	CLASS_ARP,
	CLASS_TCP,
	CLASS_UDP,
	CLASS_ICMP,
	CLASS_IPV4_FRAGMENT,
	CLASS_IPV4_OTHER,
	CLASS_TCP6,
	CLASS_UDP6,
	CLASS_ICMP6,
	CLASS_IPV6_OTHER,
	CLASSES = 16,
};

struct counter {
	__u64 packets;
	__u64 bytes;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, CLASSES);
	__type(key, __u32);
	__type(value, struct counter);
} counters SEC(".maps");

static __always_inline enum class whole(struct cursor *c, __u32 header_size, enum class class)
{
	return advance(c, header_size) ? class : CLASS_MALFORMED;
}

static __always_inline enum class classify_ipv4(struct cursor *c)
{
	struct ipv4 *ip;

	if (!parse_ipv4(c, &ip))
		return CLASS_MALFORMED;
	if (ip->fragment & IPV4_FRAGMENT_OFFSET)
		return CLASS_IPV4_FRAGMENT;
	if (ip->proto == PROTO_TCP)
		return whole(c, sizeof(struct tcp), CLASS_TCP);
	if (ip->proto == PROTO_UDP)
		return whole(c, sizeof(struct udp), CLASS_UDP);
	if (ip->proto == PROTO_ICMP)
		return whole(c, sizeof(struct icmp), CLASS_ICMP);
	return CLASS_IPV4_OTHER;
}

/* Extension headers are not followed: such packets count as CLASS_IPV6_OTHER. */
static __always_inline enum class classify_ipv6(struct cursor *c)
{
	struct ipv6 *ip;

	if (!parse_ipv6(c, &ip))
		return CLASS_MALFORMED;
	if (ip->next == PROTO_TCP)
		return whole(c, sizeof(struct tcp), CLASS_TCP6);
	if (ip->next == PROTO_UDP)
		return whole(c, sizeof(struct udp), CLASS_UDP6);
	if (ip->next == PROTO_ICMPV6)
		return whole(c, sizeof(struct icmp), CLASS_ICMP6);
	return CLASS_IPV6_OTHER;
}

static __always_inline enum class classify_packet(struct cursor c)
{
	__be16 type;

	if (!parse_ethernet(&c, &type))
		return CLASS_MALFORMED;
	if (type == htons(ETH_IPV4))
		return classify_ipv4(&c);
	if (type == htons(ETH_IPV6))
		return classify_ipv6(&c);
	return type == htons(ETH_ARP) ? CLASS_ARP : CLASS_OTHER;
}

SEC("xdp")
int classify(struct xdp_md *ctx)
{
	struct cursor packet = packet_start(ctx);
	__u64 size = packet.end - packet.at;
	__u32 class = classify_packet(packet);
	struct counter *counter = bpf_map_lookup_elem(&counters, &class);

	if (!counter)
		return XDP_ABORTED;
	__sync_fetch_and_add(&counter->packets, 1);
	__sync_fetch_and_add(&counter->bytes, size);
	return class == CLASS_MALFORMED ? XDP_DROP : XDP_PASS;
}

const char _license[] SEC("license") = "Dual MIT/GPL";
