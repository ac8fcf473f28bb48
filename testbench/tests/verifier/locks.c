/* Spin locks and other members of values that are not plain data. */
#include "cases.h"

struct guarded {
	__u32 count;
	struct bpf_spin_lock lock;
	__u64 sum;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 4);
	__type(key, __u32);
	__type(value, struct guarded);
} values SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4);
	__type(key, __u32);
	__type(value, struct guarded);
} table SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 4);
	__type(key, __u32);
	__type(value, struct guarded);
} per_cpu SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 4);
	__type(key, __u32);
	__type(value, __u64[2]);
} plain SEC(".maps");

struct timed {
	__u64 count;
	struct bpf_timer timer;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 4);
	__type(key, __u32);
	__type(value, struct timed);
} timers SEC(".maps");

#define LOOKUP(map, number) ({ __u32 key = number; bpf_map_lookup_elem(&map, &key); })

SEC("xdp") int takes(struct xdp_md *ctx)
{
	struct guarded *value = LOOKUP(values, 1);

	if (!value)
		return 0;
	bpf_spin_lock(&value->lock);
	value->count++;
	value->sum += value->count;
	bpf_spin_unlock(&value->lock);
	return 2;
}

SEC("xdp") int takes_branches(struct xdp_md *ctx)
{
	struct guarded *value = LOOKUP(table, ctx->rx_queue_index);
	int result = 2;

	if (!value)
		return 0;
	bpf_spin_lock(&value->lock);
	if (value->count > 10) {
		value->count = 0;
		result = 1;
	} else {
		value->sum += 3;
	}
	bpf_spin_unlock(&value->lock);
	return result;
}

SEC("xdp") int takes_one_after_other(struct xdp_md *ctx)
{
	struct guarded *one = LOOKUP(values, 1), *other = LOOKUP(table, 2);

	if (!one || !other)
		return 0;
	bpf_spin_lock(&one->lock);
	one->count++;
	bpf_spin_unlock(&one->lock);
	bpf_spin_lock(&other->lock);
	other->count++;
	bpf_spin_unlock(&other->lock);
	return 2;
}

static __noinline int increase(struct guarded *value)
{
	value->count++;
	return value->count;
}

SEC("xdp") int calls_static(struct xdp_md *ctx)
{
	struct guarded *value = LOOKUP(values, 1);
	int count;

	if (!value)
		return 0;
	bpf_spin_lock(&value->lock);
	count = increase(value);
	bpf_spin_unlock(&value->lock);
	return count & 1;
}

SEC("xdp") int no_two(struct xdp_md *ctx)
{
	struct guarded *one = LOOKUP(values, 1), *other = LOOKUP(table, 2);

	if (!one || !other)
		return 0;
	bpf_spin_lock(&one->lock);
	bpf_spin_lock(&other->lock);
	bpf_spin_unlock(&other->lock);
	bpf_spin_unlock(&one->lock);
	return 2;
}

SEC("xdp") int no_other(struct xdp_md *ctx)
{
	struct guarded *one = LOOKUP(values, 1), *other = LOOKUP(values, 2);

	if (!one || !other)
		return 0;
	bpf_spin_lock(&one->lock);
	bpf_spin_unlock(&other->lock);
	return 2;
}

SEC("xdp") int no_unlock(struct xdp_md *ctx)
{
	struct guarded *value = LOOKUP(values, 1);

	if (!value)
		return 0;
	bpf_spin_lock(&value->lock);
	return 2;
}

SEC("xdp") int no_lock(struct xdp_md *ctx)
{
	struct guarded *value = LOOKUP(values, 1);

	if (!value)
		return 0;
	bpf_spin_unlock(&value->lock);
	return 2;
}

SEC("xdp") int no_call(struct xdp_md *ctx)
{
	struct guarded *value = LOOKUP(values, 1);

	if (!value)
		return 0;
	bpf_spin_lock(&value->lock);
	value->sum = bpf_ktime_get_ns();
	bpf_spin_unlock(&value->lock);
	return 2;
}

__noinline int global(int number)
{
	return number * 3;
}

SEC("xdp") int no_global(struct xdp_md *ctx)
{
	struct guarded *value = LOOKUP(values, 1);

	if (!value)
		return 0;
	bpf_spin_lock(&value->lock);
	value->sum = global(value->count);
	bpf_spin_unlock(&value->lock);
	return 2;
}

SEC("xdp") int no_touch(struct xdp_md *ctx)
{
	struct guarded *value = LOOKUP(values, 1);

	return value ? *(volatile __u32 *)&value->lock.val : 0;
}

SEC("xdp") int no_touch_part(struct xdp_md *ctx)
{
	struct guarded *value = LOOKUP(values, 1);

	if (value)
		*(volatile __u64 *)&value->count = 1;
	return 2;
}

SEC("xdp") int no_helper_touch(struct xdp_md *ctx)
{
	struct guarded *value = LOOKUP(values, 1);
	__u32 key = 2;

	if (value)
		bpf_map_update_elem(&values, &key, value, 0);
	return 2;
}

SEC("xdp") int no_offset(struct xdp_md *ctx)
{
	struct guarded *value = LOOKUP(values, 1);

	if (value)
		bpf_spin_lock(&value->sum);
	return 2;
}

SEC("xdp") int no_variable_offset(struct xdp_md *ctx)
{
	char *value = LOOKUP(values, 1);

	if (value)
		bpf_spin_lock(value + (ctx->rx_queue_index & 4));
	return 2;
}

SEC("xdp") int no_lock_there(struct xdp_md *ctx)
{
	__u64 *value = LOOKUP(plain, 1);

	if (value)
		bpf_spin_lock(value);
	return 2;
}

SEC("xdp") int no_per_cpu(struct xdp_md *ctx)
{
	struct guarded *value = LOOKUP(per_cpu, 1);

	if (value)
		bpf_spin_lock(&value->lock);
	return 2;
}

SEC("xdp") int no_stack(struct xdp_md *ctx)
{
	struct guarded value = {};

	bpf_spin_lock(&value.lock);
	return 2;
}

SEC("xdp") int no_null_check(struct xdp_md *ctx)
{
	struct guarded *value = LOOKUP(table, 1);

	bpf_spin_lock(&value->lock);
	return 2;
}

SEC("xdp") int beside_timer(struct xdp_md *ctx)
{
	struct timed *value = LOOKUP(timers, 1);

	if (value)
		value->count++;
	return 2;
}

SEC("xdp") int no_timer_touch(struct xdp_md *ctx)
{
	struct timed *value = LOOKUP(timers, 1);

	if (value)
		*(volatile __u64 *)&value->timer = 0;
	return 2;
}

static __noinline long each(void *map, __u32 *key, struct guarded *value, void *ctx)
{
	bpf_spin_lock(&value->lock);
	value->count = 0;
	bpf_spin_unlock(&value->lock);
	return 0;
}

SEC("xdp") int each_locks(struct xdp_md *ctx)
{
	static long (*const for_each)(void *map, void *callback, void *ctx, __u64 flags) = (void *)164;

	for_each(&values, each, NULL, 0);
	return 2;
}

static __noinline long each_keeps(void *map, __u32 *key, struct guarded *value, void *ctx)
{
	bpf_spin_lock(&value->lock);
	return 0;
}

SEC("xdp") int no_each_keeps(struct xdp_md *ctx)
{
	static long (*const for_each)(void *map, void *callback, void *ctx, __u64 flags) = (void *)164;

	for_each(&values, each_keeps, NULL, 0);
	return 2;
}
