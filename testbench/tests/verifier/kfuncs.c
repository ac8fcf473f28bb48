/* Kernel functions as objects call them: iterators, dynptrs, weak functions, what a device knows. */
#include "cases.h"

#define __ksym __attribute__((section(".ksyms")))
#define __weak __attribute__((weak))
#define __hidden __attribute__((visibility("hidden")))

struct bpf_iter_num {
	__u64 opaque[1];
} __attribute__((aligned(8)));

struct bpf_dynptr {
	__u64 opaque[2];
} __attribute__((aligned(8)));

extern int bpf_iter_num_new(struct bpf_iter_num *it, int start, int end) __ksym;
extern int *bpf_iter_num_next(struct bpf_iter_num *it) __ksym;
extern void bpf_iter_num_destroy(struct bpf_iter_num *it) __ksym;
extern int bpf_dynptr_from_xdp(struct xdp_md *xdp, __u64 flags, struct bpf_dynptr *ptr) __ksym;
extern void *bpf_dynptr_slice(const struct bpf_dynptr *ptr, __u32 offset, void *buffer, __u32 size) __ksym;
extern void *bpf_dynptr_slice_rdwr(const struct bpf_dynptr *ptr, __u32 offset, void *buffer, __u32 size) __ksym;
extern int bpf_dynptr_adjust(const struct bpf_dynptr *ptr, __u32 start, __u32 end) __ksym;
extern __u32 bpf_dynptr_size(const struct bpf_dynptr *ptr) __ksym __weak;
extern int bpf_iom_has_no_such_function(int number) __ksym __weak;
extern int bpf_xdp_metadata_rx_hash(const struct xdp_md *ctx, __u32 *hash, __u32 *type) __ksym;
extern int bpf_xdp_metadata_rx_timestamp(const struct xdp_md *ctx, __u64 *timestamp) __ksym;
extern int bpf_xdp_metadata_rx_vlan_tag(const struct xdp_md *ctx, __u16 *protocol, __u16 *tci) __ksym;

static long (*const dynptr_from_mem)(void *data, __u32 size, __u64 flags, struct bpf_dynptr *ptr) = (void *)197;
static long (*const ringbuf_reserve_dynptr)(void *ring, __u32 size, __u64 flags, struct bpf_dynptr *ptr) = (void *)198;
static void (*const ringbuf_submit_dynptr)(struct bpf_dynptr *ptr, __u64 flags) = (void *)199;
static void (*const ringbuf_discard_dynptr)(struct bpf_dynptr *ptr, __u64 flags) = (void *)200;
static long (*const dynptr_read)(void *to, __u32 len, const struct bpf_dynptr *from, __u32 offset, __u64 flags) = (void *)201;
static long (*const dynptr_write)(const struct bpf_dynptr *to, __u32 offset, void *from, __u32 len, __u64 flags) = (void *)202;
static void *(*const dynptr_data)(const struct bpf_dynptr *ptr, __u32 offset, __u32 len) = (void *)203;

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 64);
	__type(key, __u32);
	__type(value, __u64);
} seen SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
} ring SEC(".maps");

static __always_inline void note(__u32 key, __u64 value)
{
	__u64 *place = bpf_map_lookup_elem(&seen, &key);

	if (place)
		*place += value;
}

/* Sums the packet's bytes, as many as it has. */
SEC("xdp")
int sum(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct bpf_iter_num it;
	__u64 total = 0;
	int *at;

	bpf_iter_num_new(&it, 0, 200);
	while ((at = bpf_iter_num_next(&it))) {
		__u32 offset = *at;
		__u8 *byte = data + offset;

		if (offset > 200 || (void *)(byte + 1) > end)
			break;
		total += *byte;
	}
	bpf_iter_num_destroy(&it);
	note(0, total);
	return total & 1 ? XDP_DROP : XDP_PASS;
}

SEC("xdp")
int nested(struct xdp_md *ctx)
{
	struct bpf_iter_num outer, inner;
	__u64 total = 0;
	int *i, *j;

	bpf_iter_num_new(&outer, -2, 3);
	while ((i = bpf_iter_num_next(&outer))) {
		bpf_iter_num_new(&inner, 0, 4);
		while ((j = bpf_iter_num_next(&inner)))
			total += *i * *j;
		bpf_iter_num_destroy(&inner);
	}
	bpf_iter_num_destroy(&outer);
	note(1, total);
	return XDP_PASS;
}

SEC("xdp")
int no_destroy(struct xdp_md *ctx)
{
	struct bpf_iter_num it;

	bpf_iter_num_new(&it, 0, 4);
	return bpf_iter_num_next(&it) ? XDP_PASS : XDP_DROP;
}

/* Swaps the addresses of Ethernet frames, wherever the packet has its bytes. */
SEC("xdp.frags")
int swap(struct xdp_md *ctx)
{
	__u8 buffer[12];
	struct bpf_dynptr packet;
	__u8 *macs;

	if (bpf_dynptr_from_xdp(ctx, 0, &packet))
		return XDP_ABORTED;
	macs = bpf_dynptr_slice_rdwr(&packet, 0, buffer, sizeof(buffer));
	if (!macs)
		return XDP_DROP;
	for (int i = 0; i < 6; i++) {
		__u8 old = macs[i];

		macs[i] = macs[i + 6];
		macs[i + 6] = old;
	}
	if (macs == buffer)
		dynptr_write(&packet, 0, buffer, sizeof(buffer), 0);
	return XDP_TX;
}

SEC("xdp.frags")
int tail(struct xdp_md *ctx)
{
	struct bpf_dynptr packet;
	__u64 last = 0;
	__u32 size;

	if (bpf_dynptr_from_xdp(ctx, 0, &packet))
		return XDP_ABORTED;
	size = bpf_dynptr_size(&packet);
	if (size < 8 || bpf_dynptr_adjust(&packet, size - 8, size))
		return XDP_DROP;
	dynptr_read(&last, sizeof(last), &packet, 0, 0);
	note(2, last);
	note(3, bpf_dynptr_size(&packet));
	return XDP_PASS;
}

SEC("xdp")
int no_write_to_slice(struct xdp_md *ctx)
{
	struct bpf_dynptr packet;
	__u8 *first;

	if (bpf_dynptr_from_xdp(ctx, 0, &packet))
		return XDP_ABORTED;
	first = bpf_dynptr_slice(&packet, 0, NULL, 1);
	if (first)
		*first = 1;
	return XDP_PASS;
}

/* A record of 8 or 16 bytes. */
SEC("xdp")
int record(struct xdp_md *ctx)
{
	__u64 length = ctx->data_end - ctx->data;
	struct bpf_dynptr dynptr;
	__u64 *header;

	if (ringbuf_reserve_dynptr(&ring, 8 + (length & 8), 0, &dynptr)) {
		ringbuf_discard_dynptr(&dynptr, 0);
		return XDP_DROP;
	}
	header = dynptr_data(&dynptr, 0, sizeof(*header));
	if (header)
		*header = length;
	dynptr_write(&dynptr, 8, &length, sizeof(length), 0);
	ringbuf_submit_dynptr(&dynptr, 0);
	return XDP_PASS;
}

SEC("xdp")
int no_submit(struct xdp_md *ctx)
{
	struct bpf_dynptr dynptr;

	ringbuf_reserve_dynptr(&ring, 8, 0, &dynptr);
	return XDP_PASS;
}

SEC("xdp")
int memory(struct xdp_md *ctx)
{
	__u32 key = 5;
	struct bpf_dynptr dynptr;
	__u64 *value = bpf_map_lookup_elem(&seen, &key), number = 7;

	if (!value || dynptr_from_mem(value, sizeof(*value), 0, &dynptr))
		return XDP_ABORTED;
	dynptr_write(&dynptr, 0, &number, 4, 0);
	return dynptr_write(&dynptr, 6, &number, 4, 0) ? XDP_PASS : XDP_DROP;
}

SEC("xdp")
int weak(struct xdp_md *ctx)
{
	if (bpf_dynptr_size)
		note(6, 1);
	if (bpf_iom_has_no_such_function)
		note(7, bpf_iom_has_no_such_function(3));
	return XDP_PASS;
}

/* What only a device knows. */
SEC("xdp")
int receive(struct xdp_md *ctx)
{
	__u32 hash = 0, type = 0;
	__u16 protocol = 0, tci = 0;
	__u64 time = 0;
	int result;

	if (!bpf_xdp_metadata_rx_hash(ctx, &hash, &type)) {
		note(8, hash);
		note(9, type);
	}
	if (!bpf_xdp_metadata_rx_timestamp(ctx, &time))
		note(10, time);
	result = bpf_xdp_metadata_rx_vlan_tag(ctx, &protocol, &tci);
	note(11, result);
	note(12, protocol + tci);
	return XDP_PASS;
}
