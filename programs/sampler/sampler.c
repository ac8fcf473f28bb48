/* Samples one packet in `rate` at random: length, port, queue, time and the first bytes go to a ring buffer.
 * Takes packets of several fragments too. */
#include "packet.h"

#define HEAD_SIZE 64

const volatile __u32 rate = 8;

__u64 seen;
__u64 sampled;
__u64 lost; /* the ring buffer was full */

struct sample {
	__u64 time_ns;
	__u32 length;
	__u32 ifindex;
	__u32 queue;
	__u32 head_length;
	__u8 head[HEAD_SIZE];
};

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 20);
} samples SEC(".maps");

SEC("xdp.frags")
int sampler(struct xdp_md *ctx)
{
	struct sample *sample;
	__u32 length, head;

	__sync_fetch_and_add(&seen, 1);
	if (bpf_get_prandom_u32() % rate)
		return XDP_PASS;
	sample = bpf_ringbuf_reserve(&samples, sizeof(*sample), 0);
	if (!sample) {
		__sync_fetch_and_add(&lost, 1);
		return XDP_PASS;
	}
	length = bpf_xdp_get_buff_len(ctx);
	head = length < HEAD_SIZE ? length : HEAD_SIZE;
	sample->time_ns = bpf_ktime_get_ns();
	sample->length = length;
	sample->ifindex = ctx->ingress_ifindex;
	sample->queue = ctx->rx_queue_index;
	sample->head_length = head;
	__builtin_memset(sample->head, 0, HEAD_SIZE);
	if (head == 0 || bpf_xdp_load_bytes(ctx, 0, sample->head, head)) {
		bpf_ringbuf_discard(sample, 0);
		return XDP_PASS;
	}
	bpf_ringbuf_submit(sample, 0);
	__sync_fetch_and_add(&sampled, 1);
	return XDP_PASS;
}

const char _license[] SEC("license") = "Dual MIT/GPL";
