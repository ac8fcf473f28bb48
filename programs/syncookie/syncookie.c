/* Defends TCP services against SYN floods without state for unproven clients: a SYN is answered with a SYN-ACK
 * whose sequence number is a cookie (RFC 4987), a right answer to it proves the client's address and is reset,
 * and the client's next attempt passes to the service ("TCP safe reset"). */
#include "hash.h"

/* The secret; a deployment sets its own. */
const volatile __u32 secret[2] = { 0x6c1d5f21, 0xa3b7e914 };

/* Time slots of 2^36 ns, 69 seconds. A cookie is good in its own and in the next. */
#define SLOT_SHIFT 36

/* TCP option 2: maximum segment size, 4 bytes. */
#define OPTION_MSS(mss) htonl(0x02040000 | (mss))
#define MSS_IPV4 1460
#define MSS_IPV6 1440

/* Ports that are defended. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 256);
	__type(key, __be16);
	__type(value, __u32);
} defended SEC(".maps");

/* Clients that proved their address, and when. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 65536);
	__type(key, struct address);
	__type(value, __u64);
} proven SEC(".maps");

enum event {
	EVENT_COOKIE_SENT,
	EVENT_PROVEN,
	EVENT_WRONG_COOKIE,
	EVENT_PASSED,
	EVENT_MALFORMED,
	EVENTS,
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, EVENTS);
	__type(key, __u32);
	__type(value, __u64);
} events SEC(".maps");

struct syn_ack {
	struct tcp tcp;
	__be32 option;
};

/* What is hashed for the checksum besides the segment itself; the shape for IPv6 serves IPv4 as well. */
struct pseudo_header {
	struct address src;
	struct address dst;
	__be32 len;
	__be32 proto;
};

static __always_inline int count(enum event event, int action)
{
	__u32 key = event;
	__u64 *value = bpf_map_lookup_elem(&events, &key);

	if (value)
		*value += 1;
	return action;
}

static __always_inline __u32 cookie(const struct flow *flow, __u32 slot)
{
	__u32 hash = hash_flow(flow, secret[0]);

	return hash_finish(hash_word(hash_word(hash, slot), secret[1]));
}

static __always_inline void fill_ethernet(struct eth *eth, bool is_ipv6)
{
	__u8 dst[6];

	__builtin_memcpy(dst, eth->dst, 6);
	__builtin_memcpy(eth->dst, eth->src, 6);
	__builtin_memcpy(eth->src, dst, 6);
	eth->type = is_ipv6 ? htons(ETH_IPV6) : htons(ETH_IPV4);
}

static __always_inline __u16 tcp_checksum(const struct flow *to, void *segment, __u32 size)
{
	struct pseudo_header pseudo = { to->src, to->dst, htonl(size), htonl(PROTO_TCP) };
	__s64 sum = bpf_csum_diff(NULL, 0, segment, size, 0);

	/* The mapped form of IPv4 addresses adds ffff twice, which a one's complement sum does not see. */
	return ~fold(bpf_csum_diff(NULL, 0, (__be32 *)&pseudo, sizeof(pseudo), sum));
}

static __always_inline void fill_ipv4(struct ipv4 *ip, const struct flow *to, __u32 size)
{
	*ip = (struct ipv4){
		.version_ihl = 0x45,
		.len = htons(sizeof(*ip) + size),
		.fragment = IPV4_DONT_FRAGMENT,
		.ttl = 64,
		.proto = PROTO_TCP,
		.src = to->src.word[3],
		.dst = to->dst.word[3],
	};
	ip->checksum = ~fold(bpf_csum_diff(NULL, 0, (__be32 *)ip, sizeof(*ip), 0));
}

static __always_inline void fill_ipv6(struct ipv6 *ip, const struct flow *to, __u32 size)
{
	ip->version_class_flow = htonl(0x60000000);
	ip->len = htons(size);
	ip->next = PROTO_TCP;
	ip->hop_limit = 64;
	__builtin_memcpy(ip->src, &to->src, 16);
	__builtin_memcpy(ip->dst, &to->dst, 16);
}

/* Turns the packet into an untagged frame with `segment`, whose first `size` bytes count, back to the sender. */
static __always_inline int answer(struct xdp_md *ctx, const struct flow *to, struct syn_ack *segment, __u32 size, bool is_ipv6)
{
	__u32 ip_size = is_ipv6 ? sizeof(struct ipv6) : sizeof(struct ipv4);
	__s32 growth = (__s32)(sizeof(struct eth) + ip_size + size) - (__s32)bpf_xdp_get_buff_len(ctx);
	struct cursor c;
	struct eth *eth;
	void *ip;

	segment->tcp.checksum = tcp_checksum(to, segment, size);
	if (bpf_xdp_adjust_tail(ctx, growth))
		return XDP_ABORTED;
	c = packet_start(ctx);
	eth = c.at;
	ip = c.at + sizeof(*eth);
	if (!advance(&c, sizeof(*eth) + ip_size))
		return XDP_ABORTED;
	fill_ethernet(eth, is_ipv6);
	if (is_ipv6)
		fill_ipv6(ip, to, size);
	else
		fill_ipv4(ip, to, size);
	if (c.at + size > c.end)
		return XDP_ABORTED;
	__builtin_memcpy(c.at, segment, size);
	return XDP_TX;
}

/* A segment that answers `tcp`; the sequence numbers are in host order. */
static __always_inline struct syn_ack segment_for(const struct tcp *tcp, __u32 seq, __u32 ack, __u8 flags, __u32 size)
{
	return (struct syn_ack){
		.tcp = {
			.src = tcp->dst,
			.dst = tcp->src,
			.seq = htonl(seq),
			.ack = htonl(ack),
			.offset = size / 4 << 4,
			.flags = flags,
			.window = flags & TCP_SYN ? htons(65535) : 0,
		},
	};
}

static __always_inline int send_cookie(struct xdp_md *ctx, const struct tcp *tcp, const struct flow *flow, bool is_ipv6, __u32 slot)
{
	struct syn_ack segment = segment_for(tcp, cookie(flow, slot), ntohl(tcp->seq) + 1, TCP_SYN | TCP_ACK, sizeof(segment));
	struct flow back = *flow;

	segment.option = is_ipv6 ? OPTION_MSS(MSS_IPV6) : OPTION_MSS(MSS_IPV4);
	reverse(&back);
	return count(EVENT_COOKIE_SENT, answer(ctx, &back, &segment, sizeof(segment), is_ipv6));
}

static __always_inline int check_cookie(struct xdp_md *ctx, const struct tcp *tcp, const struct flow *flow, bool is_ipv6, __u32 slot)
{
	__u32 echoed = ntohl(tcp->ack) - 1;
	struct syn_ack segment = segment_for(tcp, ntohl(tcp->ack), 0, TCP_RST, sizeof(segment.tcp));
	struct flow back = *flow;
	__u64 now = bpf_ktime_get_ns();

	if (echoed != cookie(flow, slot) && echoed != cookie(flow, slot - 1))
		return count(EVENT_WRONG_COOKIE, XDP_DROP);
	bpf_map_update_elem(&proven, &flow->src, &now, BPF_ANY);
	reverse(&back);
	return count(EVENT_PROVEN, answer(ctx, &back, &segment, sizeof(segment.tcp), is_ipv6));
}

/* Called with `is_ipv6` as a constant, so that the verifier sees each header's size as one number. */
static __always_inline int challenge(struct xdp_md *ctx, const struct tcp *tcp, const struct flow *flow, bool is_ipv6)
{
	__u32 slot = bpf_ktime_get_ns() >> SLOT_SHIFT;

	switch (tcp->flags & (TCP_SYN | TCP_ACK | TCP_RST | TCP_FIN)) {
	case TCP_SYN:
		return send_cookie(ctx, tcp, flow, is_ipv6, slot);
	case TCP_ACK:
		return check_cookie(ctx, tcp, flow, is_ipv6, slot);
	default:
		return count(EVENT_WRONG_COOKIE, XDP_DROP);
	}
}

SEC("xdp")
int syncookie(struct xdp_md *ctx)
{
	struct cursor c = packet_start(ctx);
	struct parsed packet = {};
	struct tcp tcp;
	__be16 port;

	switch (parse_flow(&c, &packet)) {
	case FLOW_PORTS:
		break;
	case FLOW_MALFORMED:
		return count(EVENT_MALFORMED, XDP_DROP);
	default:
		return XDP_PASS;
	}
	port = packet.flow.dst_port;
	if (packet.flow.proto != PROTO_TCP || !bpf_map_lookup_elem(&defended, &port))
		return XDP_PASS;
	if (bpf_map_lookup_elem(&proven, &packet.flow.src))
		return count(EVENT_PASSED, XDP_PASS);
	__builtin_memcpy(&tcp, c.at - sizeof(tcp), sizeof(tcp));
	if (is_mapped(&packet.flow.src))
		return challenge(ctx, &tcp, &packet.flow, false);
	return challenge(ctx, &tcp, &packet.flow, true);
}

const char _license[] SEC("license") = "Dual MIT/GPL";
