/* A layer 4 load balancer: picks a backend by consistent hashing of the flow, wraps the packet in an outer
 * IPv4 header to the backend (IP in IP, RFC 2003) and sends it out of the port it came from. */
#include "hash.h"

/* Slots of one service's lookup table; prime, so that backends spread evenly over it. */
#define RING_SIZE 127
#define SERVICES 8
#define BACKENDS 64

const volatile __be32 balancer_address = htonl(0xc00002fe); /* 192.0.2.254 */
const volatile __u32 hash_seed = 0x9e3779b9;
const volatile __u16 mtu = 1500;

struct service_key {
	__be32 address;
	__be16 port;
	__u8 proto;
	__u8 zero;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, SERVICES);
	__type(key, struct service_key);
	__type(value, __u32);
} services SEC(".maps");

/* RING_SIZE slots a service, each with the number of a backend. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, SERVICES * RING_SIZE);
	__type(key, __u32);
	__type(value, __u32);
} rings SEC(".maps");

struct backend {
	__be32 address; /* 0: none */
	__u8 mac[6];
	__u8 zero[2];
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, BACKENDS);
	__type(key, __u32);
	__type(value, struct backend);
} backends SEC(".maps");

struct traffic {
	__u64 packets;
	__u64 bytes;
};

/* What was sent to each backend. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, BACKENDS);
	__type(key, __u32);
	__type(value, struct traffic);
} sent SEC(".maps");

static __always_inline __u16 header_checksum(const struct ipv4 *ip)
{
	const __u16 *word = (const __u16 *)ip;
	__u32 sum = 0;

#pragma unroll
	for (int i = 0; i < 10; i++)
		sum += word[i];
	return ~fold(sum);
}

static __always_inline void account(__u32 backend, __u64 bytes)
{
	struct traffic *traffic = bpf_map_lookup_elem(&sent, &backend);

	if (traffic) {
		traffic->packets++;
		traffic->bytes += bytes;
	}
}

static __always_inline int encapsulate(struct xdp_md *ctx, const struct backend *backend, __u16 inner_len, __u8 tos)
{
	struct eth *eth, *old;
	struct ipv4 *ip;
	struct cursor c;

	if (bpf_xdp_adjust_head(ctx, -(int)sizeof(*ip)))
		return XDP_ABORTED;
	c = packet_start(ctx);
	eth = c.at;
	old = c.at + sizeof(*ip);
	ip = (void *)(eth + 1);
	if (!advance(&c, sizeof(*ip) + sizeof(*eth)))
		return XDP_ABORTED;
	/* The packet goes back to where it came from, so its destination is our own address. */
	__u8 own[6];

	__builtin_memcpy(own, old->dst, 6);
	__builtin_memcpy(eth->dst, backend->mac, 6);
	__builtin_memcpy(eth->src, own, 6);
	eth->type = htons(ETH_IPV4);
	*ip = (struct ipv4){
		.version_ihl = 0x45,
		.tos = tos,
		.len = htons(inner_len + sizeof(*ip)),
		.ttl = 64,
		.proto = PROTO_IPIP,
		.src = balancer_address,
		.dst = backend->address,
	};
	ip->checksum = header_checksum(ip);
	return XDP_TX;
}

SEC("xdp")
int balancer(struct xdp_md *ctx)
{
	struct cursor c = packet_start(ctx);
	struct parsed packet = {};
	struct service_key key = {};
	struct backend *backend;
	struct eth *eth = c.at;
	struct ipv4 *ip;
	__u32 *service, *number, slot;
	__u16 inner_len;

	if (!advance(&c, sizeof(*eth)))
		return XDP_DROP;
	if (eth->type != htons(ETH_IPV4))
		return XDP_PASS;
	ip = c.at;
	switch (parse_ipv4_flow(&c, &packet)) {
	case FLOW_PORTS:
		break;
	case FLOW_MALFORMED:
		return XDP_DROP;
	default:
		return XDP_PASS;
	}
	key.address = packet.flow.dst.word[3];
	key.port = packet.flow.dst_port;
	key.proto = packet.flow.proto;
	service = bpf_map_lookup_elem(&services, &key);
	if (!service)
		return XDP_PASS;
	inner_len = ntohs(ip->len);
	if (inner_len + sizeof(*ip) > mtu)
		return XDP_PASS; /* the host answers that fragmentation is needed */
	slot = *service * RING_SIZE + hash_flow(&packet.flow, hash_seed) % RING_SIZE;
	number = bpf_map_lookup_elem(&rings, &slot);
	if (!number)
		return XDP_DROP;
	backend = bpf_map_lookup_elem(&backends, number);
	if (!backend || !backend->address)
		return XDP_DROP;
	account(*number, inner_len);
	return encapsulate(ctx, backend, inner_len, ip->tos);
}

const char _license[] SEC("license") = "Dual MIT/GPL";
