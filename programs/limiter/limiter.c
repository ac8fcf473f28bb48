/* Limits the packet rate of each source with a token bucket; IPv6 sources count by their /64.
 * A source that goes on in spite of the limit is shut out for a while. */
#include "flow.h"

#define SECOND 1000000000ULL

/* A bucket holds up to `burst` packets and gains `rate` packets a second. */
const volatile __u64 rate = 1000;
const volatile __u64 burst = 32;
/* After so many drops without a pause long enough to fill its bucket a source is shut out. */
const volatile __u32 patience = 64;
const volatile __u64 penalty_ns = SECOND / 4;

struct bucket {
	__u64 tokens_ns; /* one packet costs SECOND / rate of them */
	__u64 filled_at_ns;
	__u64 shut_until_ns;
	__u32 dropped_since_full;
	__u32 dropped;
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 65536);
	__type(key, struct address);
	__type(value, struct bucket);
} buckets SEC(".maps");

struct prefix {
	__u32 len;
	struct address address;
};

/* Sources that are never limited. */
struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, 1024);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct prefix);
	__type(value, __u32);
} exempt SEC(".maps");

struct totals {
	__u64 passed;
	__u64 limited;
	__u64 shut_out;
	__u64 sources;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct totals);
} totals SEC(".maps");

/* Tells of sources when they are shut out. */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 16);
} shut_out SEC(".maps");

struct shut_out_event {
	struct address source;
	__u64 until_ns;
	__u32 dropped;
	__u32 zero;
};

static __always_inline int first_packet(const struct address *source, struct totals *total, __u64 now)
{
	struct bucket bucket = { .tokens_ns = (burst - 1) * (SECOND / rate), .filled_at_ns = now };

	if (!bpf_map_update_elem(&buckets, source, &bucket, BPF_NOEXIST))
		total->sources++;
	total->passed++;
	return XDP_PASS;
}

static __always_inline void refill(struct bucket *bucket, __u64 now)
{
	__u64 full = burst * (SECOND / rate);
	__u64 gained = now - bucket->filled_at_ns;

	if (gained > full)
		gained = full;
	bucket->tokens_ns += gained;
	if (bucket->tokens_ns >= full) {
		bucket->tokens_ns = full;
		bucket->dropped_since_full = 0;
	}
	bucket->filled_at_ns = now;
}

static __always_inline void shut(struct bucket *bucket, const struct address *source, __u64 now)
{
	struct shut_out_event event = {
		.source = *source,
		.until_ns = now + penalty_ns,
		.dropped = bucket->dropped,
	};

	bucket->dropped_since_full = 0;
	bucket->shut_until_ns = event.until_ns;
	bpf_ringbuf_output(&shut_out, &event, sizeof(event), 0);
}

static __always_inline int next_packet(struct bucket *bucket, const struct address *source, struct totals *total, __u64 now)
{
	__u64 cost = SECOND / rate;

	if (now < bucket->shut_until_ns) {
		total->shut_out++;
		bucket->dropped++;
		return XDP_DROP;
	}
	refill(bucket, now);
	if (bucket->tokens_ns >= cost) {
		bucket->tokens_ns -= cost;
		total->passed++;
		return XDP_PASS;
	}
	bucket->dropped++;
	bucket->dropped_since_full++;
	if (bucket->dropped_since_full >= patience)
		shut(bucket, source, now);
	total->limited++;
	return XDP_DROP;
}

/* The address that a packet counts for; false for what is not limited. */
static __always_inline bool source_of(struct cursor c, struct address *source, bool *malformed)
{
	struct ipv4 *ipv4;
	struct ipv6 *ipv6;
	__be16 type;

	*malformed = true;
	if (!parse_ethernet(&c, &type))
		return false;
	if (type == htons(ETH_IPV4)) {
		if (!parse_ipv4(&c, &ipv4))
			return false;
		*source = mapped(ipv4->src);
	} else if (type == htons(ETH_IPV6)) {
		if (!parse_ipv6(&c, &ipv6))
			return false;
		*source = (struct address){ { ipv6->src[0], ipv6->src[1], 0, 0 } };
	} else {
		*malformed = false;
		return false;
	}
	return true;
}

SEC("xdp")
int limiter(struct xdp_md *ctx)
{
	struct prefix source = { .len = 128 };
	struct bucket *bucket;
	struct totals *total;
	__u32 zero = 0;
	__u64 now;
	bool malformed;

	if (!source_of(packet_start(ctx), &source.address, &malformed))
		return malformed ? XDP_DROP : XDP_PASS;
	if (bpf_map_lookup_elem(&exempt, &source))
		return XDP_PASS;
	total = bpf_map_lookup_elem(&totals, &zero);
	if (!total)
		return XDP_ABORTED;
	now = bpf_ktime_get_ns();
	bucket = bpf_map_lookup_elem(&buckets, &source.address);
	if (!bucket)
		return first_packet(&source.address, total, now);
	return next_packet(bucket, &source.address, total, now);
}

const char _license[] SEC("license") = "Dual MIT/GPL";
