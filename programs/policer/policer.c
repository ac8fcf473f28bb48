/* Polices the byte rate towards each destination with two token buckets (RFC 2698): within the
 * committed rate packets pass, up to the peak rate they pass marked, beyond it they are dropped.
 * All RX queues share a destination's buckets, so a spin lock guards them. */
#include "flow.h"
#include "lock.h"

#define SECOND 1000000000ULL

struct prefix {
	__u32 len;
	struct address address;
};

struct policy {
	__u32 committed_rate; /* bytes a second */
	__u32 peak_rate;
	__u32 committed_burst; /* bytes */
	__u32 peak_burst;
};

/* What destinations are entitled to; no policy, no limit. */
struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, 1024);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct prefix);
	__type(value, struct policy);
} policies SEC(".maps");

struct meter {
	struct bpf_spin_lock lock;
	__u32 restarts;
	__u64 filled_at_ns;
	__u64 committed; /* tokens, bytes times SECOND */
	__u64 peak;
	__u32 green;
	__u32 yellow;
	__u32 red;
	__u32 zero;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4096);
	__type(key, struct address);
	__type(value, struct meter);
} meters SEC(".maps");

enum color {
	GREEN,
	YELLOW,
	RED,
};

static __always_inline __u64 filled(__u64 tokens, __u64 elapsed, __u32 rate, __u32 burst)
{
	__u64 full = burst * SECOND;

	tokens += elapsed * rate;
	return tokens < full ? tokens : full;
}

static __always_inline enum color color_of(struct meter *meter, const struct policy *policy, __u64 cost, __u64 now)
{
	enum color color = RED;
	__u64 elapsed;

	bpf_spin_lock(&meter->lock);
	/* Another queue may have been here with a later time. */
	elapsed = now > meter->filled_at_ns ? now - meter->filled_at_ns : 0;
	meter->filled_at_ns += elapsed;
	meter->committed = filled(meter->committed, elapsed, policy->committed_rate, policy->committed_burst);
	meter->peak = filled(meter->peak, elapsed, policy->peak_rate, policy->peak_burst);
	if (meter->peak < cost) {
		meter->red++;
	} else {
		meter->peak -= cost;
		if (meter->committed < cost) {
			meter->yellow++;
			color = YELLOW;
		} else {
			meter->committed -= cost;
			meter->green++;
			color = GREEN;
		}
	}
	bpf_spin_unlock(&meter->lock);
	return color;
}

/* Makes DSCP AF11 to AF43 one step more likely to be dropped, and best effort CS1. */
static __always_inline void mark(struct ipv4 *ip)
{
	__u8 dscp = ip->tos >> 2;
	__u8 precedence = dscp & 7;
	__u8 marked = dscp;
	__u32 sum;

	if (dscp == 0)
		marked = 8;
	else if (precedence == 2 || precedence == 4)
		marked = dscp + 2;
	sum = (__u16)~ip->checksum + (__u16)~htons(dscp << 2) + htons(marked << 2);
	ip->tos = marked << 2 | (ip->tos & 3);
	ip->checksum = ~fold(sum);
}

/* A meter with full buckets, new or in place of one that was idle so long that its own must be full. */
static __always_inline struct meter *start(const struct address *to, const struct policy *policy, __u32 restarts, __u64 now)
{
	struct meter fresh = {
		.restarts = restarts,
		.filled_at_ns = now,
		.committed = policy->committed_burst * SECOND,
		.peak = policy->peak_burst * SECOND,
	};

	bpf_map_update_elem(&meters, to, &fresh, restarts ? BPF_EXIST | BPF_F_LOCK : BPF_NOEXIST);
	return bpf_map_lookup_elem(&meters, to);
}

static __always_inline int police(struct xdp_md *ctx, const struct prefix *to, struct ipv4 *ip)
{
	struct policy *policy = bpf_map_lookup_elem(&policies, to);
	struct meter *meter;
	__u64 now;

	if (!policy)
		return XDP_PASS;
	now = bpf_ktime_get_ns();
	meter = bpf_map_lookup_elem(&meters, &to->address);
	if (!meter)
		meter = start(&to->address, policy, 0, now);
	else if (now - meter->filled_at_ns > SECOND)
		meter = start(&to->address, policy, meter->restarts + 1, now);
	/* No room for one more destination. */
	if (!meter)
		return XDP_PASS;
	switch (color_of(meter, policy, bpf_xdp_get_buff_len(ctx) * SECOND, now)) {
	case RED:
		return XDP_DROP;
	case YELLOW:
		if (ip)
			mark(ip);
		return XDP_PASS;
	default:
		return XDP_PASS;
	}
}

SEC("xdp")
int policer(struct xdp_md *ctx)
{
	struct cursor c = packet_start(ctx);
	struct prefix to = { .len = 128 };
	struct ipv4 *ipv4;
	struct ipv6 *ipv6;
	__be16 type;

	if (!parse_ethernet(&c, &type))
		return XDP_DROP;
	if (type == htons(ETH_IPV4)) {
		if (!parse_ipv4(&c, &ipv4))
			return XDP_DROP;
		to.address = mapped(ipv4->dst);
		return police(ctx, &to, ipv4);
	}
	if (type == htons(ETH_IPV6)) {
		if (!parse_ipv6(&c, &ipv6))
			return XDP_DROP;
		to.address = (struct address){ { ipv6->dst[0], ipv6->dst[1], ipv6->dst[2], ipv6->dst[3] } };
		return police(ctx, &to, NULL);
	}
	return XDP_PASS;
}

const char _license[] SEC("license") = "Dual MIT/GPL";
