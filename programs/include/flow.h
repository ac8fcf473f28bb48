/* The 5-tuple of a packet, IPv4 and IPv6 alike: IPv4 addresses are written as ::ffff:a.b.c.d. */
#pragma once
#include "packet.h"

struct address {
	__be32 word[4];
};

struct flow {
	struct address src;
	struct address dst;
	__be16 src_port; /* of TCP, UDP, SCTP; the id of an ICMP echo */
	__be16 dst_port;
	__u8 proto;
	__u8 zero[3];
};

enum flow_kind {
	FLOW_MALFORMED,
	FLOW_NOT_IP,
	FLOW_FRAGMENT, /* not the first fragment: no ports */
	FLOW_NO_PORTS, /* a protocol without ports */
	FLOW_PORTS,
};

struct parsed {
	struct flow flow;
	__u8 tcp_flags;
	__u8 icmp_type;
};

static __always_inline struct address mapped(__be32 ipv4)
{
	return (struct address){ { 0, 0, htonl(0xffff), ipv4 } };
}

static __always_inline bool is_mapped(const struct address *address)
{
	return !address->word[0] && !address->word[1] && address->word[2] == htonl(0xffff);
}

static __always_inline enum flow_kind parse_ports(struct cursor *c, struct parsed *out)
{
	struct flow *flow = &out->flow;

	if (flow->proto == PROTO_TCP) {
		struct tcp *tcp = c->at;

		if (!advance(c, sizeof(*tcp)))
			return FLOW_MALFORMED;
		out->tcp_flags = tcp->flags;
	} else if (flow->proto == PROTO_ICMP || flow->proto == PROTO_ICMPV6) {
		struct icmp *icmp = c->at;

		if (!advance(c, sizeof(*icmp)))
			return FLOW_MALFORMED;
		out->icmp_type = icmp->type;
		if (icmp->type != ICMP_ECHO && icmp->type != ICMP_ECHO_REPLY &&
		    icmp->type != ICMPV6_ECHO && icmp->type != ICMPV6_ECHO_REPLY)
			return FLOW_NO_PORTS;
		flow->src_port = icmp->id;
		flow->dst_port = icmp->id;
		return FLOW_PORTS;
	} else if (flow->proto == PROTO_UDP || flow->proto == PROTO_SCTP) {
		if (!advance(c, sizeof(struct udp)))
			return FLOW_MALFORMED;
	} else {
		return FLOW_NO_PORTS;
	}
	/* TCP, UDP and SCTP begin alike. */
	struct udp *ports = c->at - (flow->proto == PROTO_TCP ? sizeof(struct tcp) : sizeof(struct udp));

	flow->src_port = ports->src;
	flow->dst_port = ports->dst;
	return FLOW_PORTS;
}

static __always_inline enum flow_kind parse_ipv4_flow(struct cursor *c, struct parsed *out)
{
	struct ipv4 *ip;

	if (!parse_ipv4(c, &ip))
		return FLOW_MALFORMED;
	out->flow.src = mapped(ip->src);
	out->flow.dst = mapped(ip->dst);
	out->flow.proto = ip->proto;
	if (ip->fragment & IPV4_FRAGMENT_OFFSET)
		return FLOW_FRAGMENT;
	return parse_ports(c, out);
}

/* Follows up to four extension headers. */
static __always_inline enum flow_kind parse_ipv6_flow(struct cursor *c, struct parsed *out)
{
	struct ipv6 *ip;

	if (!parse_ipv6(c, &ip))
		return FLOW_MALFORMED;
	__builtin_memcpy(&out->flow.src, ip->src, 16);
	__builtin_memcpy(&out->flow.dst, ip->dst, 16);
	out->flow.proto = ip->next;
	if (is_mapped(&out->flow.src)) /* never on the wire (RFC 4291 section 2.5.5.2), and it would pose as IPv4 */
		return FLOW_MALFORMED;
	for (int i = 0; i < 4; i++) {
		struct ipv6_extension *extension = c->at;
		__u32 size = sizeof(*extension);

		if (out->flow.proto != PROTO_HOP_BY_HOP && out->flow.proto != PROTO_ROUTING &&
		    out->flow.proto != PROTO_DESTINATION && out->flow.proto != PROTO_FRAGMENT)
			break;
		if (!advance(c, sizeof(*extension)))
			return FLOW_MALFORMED;
		if (out->flow.proto != PROTO_FRAGMENT)
			size = extension->len * 8;
		else if (extension->fragment & htons(0xfff8))
			return FLOW_FRAGMENT;
		else
			size = 0;
		out->flow.proto = extension->next;
		if (!advance(c, size))
			return FLOW_MALFORMED;
	}
	return parse_ports(c, out);
}

/* `out` must be zeroed before. The cursor is left behind the transport header's fixed part. */
static __always_inline enum flow_kind parse_flow(struct cursor *c, struct parsed *out)
{
	__be16 type;

	if (!parse_ethernet(c, &type))
		return FLOW_MALFORMED;
	if (type == htons(ETH_IPV4))
		return parse_ipv4_flow(c, out);
	if (type == htons(ETH_IPV6))
		return parse_ipv6_flow(c, out);
	return FLOW_NOT_IP;
}

static __always_inline void reverse(struct flow *flow)
{
	struct address address = flow->src;
	__be16 port = flow->src_port;

	flow->src = flow->dst;
	flow->dst = address;
	flow->src_port = flow->dst_port;
	flow->dst_port = port;
}
