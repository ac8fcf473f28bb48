/* Addresses of functions, static and global, which refer to further functions. */
#include "bpf.h"

struct {
	__uint(type, 2);
	__uint(max_entries, 8);
	__type(key, __u32);
	__type(value, __u64);
} numbers SEC(".maps");

struct sum {
	__u64 value;
};

static NOINLINE __u64 weigh(__u64 value)
{
	return value * 5 + 1;
}

static long add(void *map, __u32 *key, __u64 *value, struct sum *sum)
{
	sum->value += weigh(*value);
	return 0;
}

long step(__u32 index, struct sum *sum)
{
	sum->value += index;
	return 0;
}

SEC("xdp")
int sum(struct xdp_md *ctx)
{
	struct sum sum = { 0 };

	bpf_for_each_map_elem(&numbers, add, &sum, 0);
	bpf_loop(4, step, &sum, 0);
	return sum.value & 1 ? 1 : 2;
}
