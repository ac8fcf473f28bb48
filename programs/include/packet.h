/* Packet headers as they stand on the wire, and bounds-checked steps over them. */
#pragma once
#include "bpf.h"

enum {
	ETH_IPV4 = 0x0800,
	ETH_ARP = 0x0806,
	ETH_VLAN = 0x8100,
	ETH_IPV6 = 0x86dd,
	ETH_QINQ = 0x88a8,
};

enum {
	PROTO_HOP_BY_HOP = 0,
	PROTO_ICMP = 1,
	PROTO_IPIP = 4,
	PROTO_TCP = 6,
	PROTO_UDP = 17,
	PROTO_ROUTING = 43,
	PROTO_FRAGMENT = 44,
	PROTO_ICMPV6 = 58,
	PROTO_DESTINATION = 60,
	PROTO_SCTP = 132,
};

struct eth {
	__u8 dst[6];
	__u8 src[6];
	__be16 type;
};

struct vlan {
	__be16 tci;
	__be16 type;
};

struct ipv4 {
	__u8 version_ihl;
	__u8 tos;
	__be16 len;
	__be16 id;
	__be16 fragment; /* 3 flag bits, 13 bits of offset */
	__u8 ttl;
	__u8 proto;
	__u16 checksum;
	__be32 src;
	__be32 dst;
};

#define IPV4_DONT_FRAGMENT htons(0x4000)
#define IPV4_FRAGMENT_OFFSET htons(0x1fff)

struct ipv6 {
	__be32 version_class_flow;
	__be16 len;
	__u8 next;
	__u8 hop_limit;
	__be32 src[4];
	__be32 dst[4];
};

/* The part that IPv6 extension headers have in common. */
struct ipv6_extension {
	__u8 next;
	__u8 len; /* in 8 bytes, the first 8 not counted; in 4 bytes, the first 8 not counted, for AH */
	__be16 fragment;
	__u8 rest[4];
};

struct tcp {
	__be16 src;
	__be16 dst;
	__be32 seq;
	__be32 ack;
	__u8 offset; /* in 4 bytes, upper half of the byte */
	__u8 flags;
	__be16 window;
	__u16 checksum;
	__be16 urgent;
};

enum {
	TCP_FIN = 0x01,
	TCP_SYN = 0x02,
	TCP_RST = 0x04,
	TCP_ACK = 0x10,
};

struct udp {
	__be16 src;
	__be16 dst;
	__be16 len;
	__u16 checksum;
};

struct icmp {
	__u8 type;
	__u8 code;
	__u16 checksum;
	__be16 id; /* of echo messages */
	__be16 sequence;
};

enum {
	ICMP_ECHO_REPLY = 0,
	ICMP_ECHO = 8,
	ICMPV6_ECHO = 128,
	ICMPV6_ECHO_REPLY = 129,
	ICMPV6_ROUTER_SOLICITATION = 133,
	ICMPV6_REDIRECT = 137,
};

/* Where parsing stands. `at` and `end` are packet pointers. */
struct cursor {
	void *at;
	void *end;
};

static __always_inline struct cursor packet_start(struct xdp_md *ctx)
{
	return (struct cursor){ (void *)(long)ctx->data, (void *)(long)ctx->data_end };
}

/* Steps over `size` bytes if the packet has them. */
static __always_inline bool advance(struct cursor *c, __u32 size)
{
	if (c->at + size > c->end)
		return false;
	c->at += size;
	return true;
}

/* The parsers below leave the header they found in their last argument and step over it;
 * they return false for a header that is cut or malformed. */

/* An Ethernet header with up to two VLAN tags; the type is that of the payload, in network order. */
static __always_inline bool parse_ethernet(struct cursor *c, __be16 *type)
{
	struct eth *eth = c->at;

	if (!advance(c, sizeof(*eth)))
		return false;
	*type = eth->type;
#pragma unroll
	for (int tag = 0; tag < 2; tag++) {
		struct vlan *vlan = c->at;

		if (*type != htons(ETH_VLAN) && *type != htons(ETH_QINQ))
			break;
		if (!advance(c, sizeof(*vlan)))
			return false;
		*type = vlan->type;
	}
	return true;
}

/* An IPv4 header with its options. */
static __always_inline bool parse_ipv4(struct cursor *c, struct ipv4 **header)
{
	struct ipv4 *ip = c->at;
	__u32 size;

	if (!advance(c, sizeof(*ip)) || ip->version_ihl >> 4 != 4)
		return false;
	size = (ip->version_ihl & 15) * 4;
	if (size < sizeof(*ip) || ntohs(ip->len) < size)
		return false;
	*header = ip;
	return advance(c, size - sizeof(*ip));
}

/* The fixed IPv6 header. */
static __always_inline bool parse_ipv6(struct cursor *c, struct ipv6 **header)
{
	*header = c->at;
	return advance(c, sizeof(**header)) && ((*header)->version_class_flow & htonl(0xf0000000)) == htonl(0x60000000);
}

/* A one's complement sum folded to 16 bits. */
static __always_inline __u16 fold(__u64 sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return (__u16)sum;
}
