/* Packet slicing for monitoring: long frames are cut to a snap length, whose last bytes then say how long the frame was
 * and what its end was like. Takes frames in fragments (`xdp.frags`). */
#include "bpf.h"

#define TAIL 64

/* Frames longer than this are cut to it. */
const volatile __u32 snap_bytes = 4096;

/* What the last bytes of a cut frame hold. */
struct trailer {
	__u32 frame_bytes;
	__u32 tail_sum; /* of the 64 bytes that ended the frame */
};

struct sizes {
	__u64 frames;
	__u64 bytes;
	__u64 cut;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 18);
	__type(key, __u32);
	__type(value, struct sizes);
} sizes SEC(".maps");

/* Frames by size: the rounded-up logarithm of their bytes. */
static __always_inline __u32 size_class(__u64 bytes)
{
	__u32 class = 0;

#pragma unroll
	for (int bit = 0; bit < 17; bit++)
		class += bytes > (1ULL << bit);
	return class;
}

static __always_inline __u32 sum_of(const __u32 *words)
{
	__u32 sum = 0;

#pragma unroll
	for (int word = 0; word < TAIL / 4; word++)
		sum = sum * 31 + words[word];
	return sum;
}

/* Cuts a frame of `bytes`; false if the frame cannot be cut. */
static __always_inline bool cut(struct xdp_md *ctx, __u32 bytes)
{
	struct trailer trailer = { .frame_bytes = bytes };
	__u32 tail[TAIL / 4];

	if (bpf_xdp_load_bytes(ctx, bytes - TAIL, tail, TAIL))
		return false;
	trailer.tail_sum = sum_of(tail);
	if (bpf_xdp_adjust_tail(ctx, (int)(snap_bytes - bytes)))
		return false;
	return !bpf_xdp_store_bytes(ctx, snap_bytes - sizeof(trailer), &trailer, sizeof(trailer));
}

SEC("xdp.frags")
int slicer(struct xdp_md *ctx)
{
	__u64 bytes = bpf_xdp_get_buff_len(ctx);
	__u32 class = size_class(bytes);
	struct sizes *size = bpf_map_lookup_elem(&sizes, &class);

	if (!size)
		return XDP_ABORTED;
	size->frames++;
	size->bytes += bytes;
	if (bytes <= snap_bytes || bytes < TAIL)
		return XDP_PASS;
	if (!cut(ctx, (__u32)bytes))
		return XDP_ABORTED;
	size->cut++;
	return XDP_PASS;
}

const char _license[] SEC("license") = "Dual MIT/GPL";
