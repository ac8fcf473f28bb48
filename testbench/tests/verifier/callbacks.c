/* Functions that helpers call. */
#include "cases.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 4);
	__type(key, __u32);
	__type(value, __u64);
} counts SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4);
	__type(key, __u64);
	__type(value, __u64);
} table SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, 4);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u64);
	__type(value, __u64);
} trie SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
} ring SEC(".maps");

struct sum {
	__u64 value;
	__u32 rounds;
	__u32 limit;
};

static __noinline long add(__u32 index, struct sum *sum)
{
	sum->value += index;
	sum->rounds++;
	return sum->rounds > sum->limit;
}

SEC("xdp") int loops(struct xdp_md *ctx)
{
	struct sum sum = { .limit = 7 };

	bpf_loop(100, add, &sum, 0);
	return sum.value & 1;
}

SEC("xdp") int loops_unknown(struct xdp_md *ctx)
{
	struct sum sum = { .limit = 7 };

	bpf_loop(ctx->rx_queue_index, add, &sum, 0);
	return sum.value & 1;
}

SEC("xdp") int loops_never(struct xdp_md *ctx)
{
	struct sum sum = { .limit = 7 };

	return bpf_loop(0, add, &sum, 0);
}

SEC("xdp") int loops_twice(struct xdp_md *ctx)
{
	struct sum sum = { .limit = 7 };

	bpf_loop(3, add, &sum, 0);
	bpf_loop(ctx->rx_queue_index & 3, add, &sum, 0);
	return sum.value & 1;
}

static __noinline long nested(__u32 index, struct sum *sum)
{
	return bpf_loop(2, add, sum, 0) > 5;
}

SEC("xdp") int loops_nested(struct xdp_md *ctx)
{
	struct sum sum = { .limit = 9 };

	bpf_loop(5, nested, &sum, 0);
	return 2;
}

static __noinline long choose(__u32 index, __u32 *choice)
{
	if (index == 3)
		*choice = 1;
	else if (index == 5)
		*choice = 2;
	return 0;
}

SEC("xdp") int loops_choose(struct xdp_md *ctx)
{
	__u32 choice = 0;
	char table[4] = { 1, 2, 3, 4 };

	bpf_loop(10, choose, &choice, 0);
	asm volatile("" : "+r"(choice));
	if (choice > 3)
		return 0;
	return table[choice];
}

SEC("xdp") int no_unbounded(struct xdp_md *ctx)
{
	__u32 choice = 0;
	char table[4] = { 1, 2, 3, 4 };

	bpf_loop(10, add, &choice, 0);
	return table[choice];
}

static __noinline long two(__u32 index, void *ctx)
{
	return 2;
}

SEC("xdp") int no_result(struct xdp_md *ctx)
{
	bpf_loop(10, two, NULL, 0);
	return 2;
}

static __noinline long any(__u32 index, void *ctx)
{
	return bpf_get_prandom_u32();
}

SEC("xdp") int no_unknown_result(struct xdp_md *ctx)
{
	bpf_loop(10, any, NULL, 0);
	return 2;
}

static __noinline long use_null(__u32 index, __u64 *value)
{
	return *value != 0;
}

SEC("xdp") int no_null_context(struct xdp_md *ctx)
{
	bpf_loop(10, use_null, NULL, 0);
	return 2;
}

SEC("xdp") int no_map_context(struct xdp_md *ctx)
{
	__u32 key = 0;
	__u64 *value = bpf_map_lookup_elem(&counts, &key);

	if (value)
		bpf_loop(10, use_null, value, 0);
	return 2;
}

SEC("xdp") int no_function(struct xdp_md *ctx)
{
	bpf_loop(10, ctx, NULL, 0);
	return 2;
}

static __noinline long total(void *map, __u32 *key, __u64 *value, struct sum *sum)
{
	sum->value += *value + *key;
	*value = 0;
	return 0;
}

static __noinline long total_long(void *map, __u64 *key, __u64 *value, struct sum *sum)
{
	sum->value += *value + *key;
	*value = 0;
	return sum->value > 1000;
}

SEC("xdp") int each(struct xdp_md *ctx)
{
	struct sum sum = {};

	bpf_for_each_map_elem(&counts, total, &sum, 0);
	bpf_for_each_map_elem(&table, total_long, &sum, 0);
	return sum.value & 1;
}

SEC("xdp") int no_each_of_trie(struct xdp_md *ctx)
{
	struct sum sum = {};

	bpf_for_each_map_elem(&trie, total, &sum, 0);
	return sum.value & 1;
}

SEC("xdp") int no_long_key(struct xdp_md *ctx)
{
	struct sum sum = {};

	bpf_for_each_map_elem(&counts, total_long, &sum, 0);
	return sum.value & 1;
}

static __noinline long change_key(void *map, __u32 *key, __u64 *value, struct sum *sum)
{
	*key = 1;
	return 0;
}

SEC("xdp") int no_key_change(struct xdp_md *ctx)
{
	bpf_for_each_map_elem(&counts, change_key, NULL, 0);
	return 2;
}

static __noinline long delete(void *map, __u64 *key, __u64 *value, struct sum *sum)
{
	bpf_map_delete_elem(map, key);
	bpf_map_update_elem(map, key, value, 0);
	return 0;
}

SEC("xdp") int each_deletes(struct xdp_md *ctx)
{
	bpf_for_each_map_elem(&table, delete, NULL, 0);
	return 2;
}

static __noinline long leak(__u32 index, void *ctx)
{
	bpf_ringbuf_reserve(&ring, 8, 0);
	return 0;
}

SEC("xdp") int no_leak(struct xdp_md *ctx)
{
	bpf_loop(10, leak, NULL, 0);
	return 2;
}

static __noinline long give_up(__u32 index, void **record)
{
	bpf_ringbuf_submit(*record, 0);
	return 0;
}

SEC("xdp") int no_give_up(struct xdp_md *ctx)
{
	void *record = bpf_ringbuf_reserve(&ring, 8, 0);

	if (!record)
		return 1;
	bpf_loop(10, give_up, &record, 0);
	return 2;
}

static __noinline long reserve_submit(__u32 index, void *ctx)
{
	__u64 *record = bpf_ringbuf_reserve(&ring, 8, 0);

	if (!record)
		return 1;
	*record = index;
	bpf_ringbuf_submit(record, 0);
	return 0;
}

SEC("xdp") int reserves(struct xdp_md *ctx)
{
	bpf_loop(10, reserve_submit, NULL, 0);
	return 2;
}

struct view {
	void *at;
	void *end;
	__u32 sum;
};

static __noinline long walk(__u32 index, struct view *view)
{
	__u8 *at = view->at;

	if ((void *)(at + 1) > view->end)
		return 1;
	view->sum += *at;
	view->at = at + 1;
	return 0;
}

SEC("xdp") int walks_packet(struct xdp_md *ctx)
{
	struct view view = { (void *)(long)ctx->data, (void *)(long)ctx->data_end, 0 };

	bpf_loop(64, walk, &view, 0);
	return view.sum & 1;
}

static __noinline long count_to(__u32 index, __u32 *count)
{
	*count += 1;
	return 0;
}

SEC("xdp") int no_count_to(struct xdp_md *ctx)
{
	__u32 count = 0;
	char bytes[16] = {};

	bpf_loop(8, count_to, &count, 0);
	return bytes[count];
}

static __noinline long forever(__u32 index, __u32 *count)
{
	while (1)
		*(volatile __u32 *)count += 1;
	return 0;
}

SEC("xdp") int no_end(struct xdp_md *ctx)
{
	__u32 count = 0;

	bpf_loop(8, forever, &count, 0);
	return 2;
}

static __noinline long tail(__u32 index, struct xdp_md *ctx)
{
	return ctx->rx_queue_index == 1;
}

SEC("xdp") int no_context(struct xdp_md *ctx)
{
	bpf_loop(8, tail, ctx, 0);
	return 2;
}
