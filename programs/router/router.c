/* A router between four ports, for IPv4 and IPv6: longest prefix match, next hop's address, TTL, MAC rewrite, redirect.
 * What needs the slow path (no route is known, no neighbour, TTL ends, options, too big) is passed to the host. */
#include "packet.h"

#define PORTS 4

struct prefix4 {
	__u32 len;
	__be32 address;
};

struct prefix6 {
	__u32 len;
	__be32 address[4];
};

struct route4 {
	__u32 port;
	__be32 gateway; /* 0: the destination is on the link */
};

struct route6 {
	__u32 port;
	__u32 via_gateway; /* 0: the destination is on the link */
	__be32 gateway[4];
};

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, 65536);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct prefix4);
	__type(value, struct route4);
} routes4 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, 65536);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct prefix6);
	__type(value, struct route6);
} routes6 SEC(".maps");

struct mac {
	__u8 bytes[6];
	__u8 zero[2];
};

struct neighbour6 {
	__be32 address[4];
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4096);
	__type(key, __be32);
	__type(value, struct mac);
} neighbours4 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4096);
	__type(key, struct neighbour6);
	__type(value, struct mac);
} neighbours6 SEC(".maps");

struct port {
	__u8 mac[6];
	__be16 mtu; /* of the IP packet */
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, PORTS);
	__type(key, __u32);
	__type(value, struct port);
} ports SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_DEVMAP);
	__uint(max_entries, PORTS);
	__type(key, __u32);
	__type(value, __u32);
} tx_ports SEC(".maps");

enum outcome {
	OUTCOME_MALFORMED,
	OUTCOME_NOT_ROUTED, /* another protocol, or not for this router */
	OUTCOME_TTL,
	OUTCOME_OPTIONS,
	OUTCOME_NO_ROUTE,
	OUTCOME_NO_NEIGHBOUR,
	OUTCOME_TOO_BIG,
	OUTCOME_FORWARDED,
	OUTCOMES,
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, OUTCOMES);
	__type(key, __u32);
	__type(value, __u64);
} outcomes SEC(".maps");

static __always_inline int finish(enum outcome outcome, int action)
{
	__u32 key = outcome;
	__u64 *count = bpf_map_lookup_elem(&outcomes, &key);

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

static __always_inline int forward(struct eth *eth, __u32 out, const struct port *port, const struct mac *next_hop)
{
	__builtin_memcpy(eth->dst, next_hop->bytes, 6);
	__builtin_memcpy(eth->src, port->mac, 6);
	return finish(OUTCOME_FORWARDED, bpf_redirect_map(&tx_ports, out, XDP_DROP));
}

static __always_inline int route_ipv4(struct eth *eth, struct cursor c)
{
	struct prefix4 key = { .len = 32 };
	struct route4 *route;
	struct mac *next_hop;
	struct port *port;
	struct ipv4 *ip;
	__be32 gateway;
	__u32 out;

	if (!parse_ipv4(&c, &ip))
		return finish(OUTCOME_MALFORMED, XDP_DROP);
	if (ip->version_ihl != 0x45)
		return finish(OUTCOME_OPTIONS, XDP_PASS);
	if (ip->ttl <= 1)
		return finish(OUTCOME_TTL, XDP_PASS);
	key.address = ip->dst;
	route = bpf_map_lookup_elem(&routes4, &key);
	if (!route)
		return finish(OUTCOME_NO_ROUTE, XDP_PASS);
	out = route->port;
	gateway = route->gateway ? route->gateway : ip->dst;
	next_hop = bpf_map_lookup_elem(&neighbours4, &gateway);
	port = bpf_map_lookup_elem(&ports, &out);
	if (!next_hop || !port)
		return finish(OUTCOME_NO_NEIGHBOUR, XDP_PASS);
	if (ntohs(ip->len) > ntohs(port->mtu))
		return finish(OUTCOME_TOO_BIG, XDP_PASS);
	decrement_ttl(ip);
	return forward(eth, out, port, next_hop);
}

static __always_inline int route_ipv6(struct eth *eth, struct cursor c)
{
	struct prefix6 key = { .len = 128 };
	struct neighbour6 gateway;
	struct route6 *route;
	struct mac *next_hop;
	struct port *port;
	struct ipv6 *ip;
	__u32 out;

	if (!parse_ipv6(&c, &ip))
		return finish(OUTCOME_MALFORMED, XDP_DROP);
	if (ip->hop_limit <= 1)
		return finish(OUTCOME_TTL, XDP_PASS);
	__builtin_memcpy(key.address, ip->dst, 16);
	route = bpf_map_lookup_elem(&routes6, &key);
	if (!route)
		return finish(OUTCOME_NO_ROUTE, XDP_PASS);
	out = route->port;
	__builtin_memcpy(gateway.address, route->via_gateway ? route->gateway : key.address, 16);
	next_hop = bpf_map_lookup_elem(&neighbours6, &gateway);
	port = bpf_map_lookup_elem(&ports, &out);
	if (!next_hop || !port)
		return finish(OUTCOME_NO_NEIGHBOUR, XDP_PASS);
	if (ntohs(ip->len) + sizeof(*ip) > ntohs(port->mtu))
		return finish(OUTCOME_TOO_BIG, XDP_PASS);
	ip->hop_limit--;
	return forward(eth, out, port, next_hop);
}

SEC("xdp")
int router(struct xdp_md *ctx)
{
	struct cursor c = packet_start(ctx);
	struct eth *eth = c.at;

	if (!advance(&c, sizeof(*eth)))
		return finish(OUTCOME_MALFORMED, XDP_DROP);
	if (eth->dst[0] & 1) /* multicast and broadcast */
		return finish(OUTCOME_NOT_ROUTED, XDP_PASS);
	if (eth->type == htons(ETH_IPV4))
		return route_ipv4(eth, c);
	if (eth->type == htons(ETH_IPV6))
		return route_ipv6(eth, c);
	return finish(OUTCOME_NOT_ROUTED, XDP_PASS);
}

const char _license[] SEC("license") = "Dual MIT/GPL";
