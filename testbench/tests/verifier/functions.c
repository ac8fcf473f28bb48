/* Global functions, which are verified once, by their types. */
#include "cases.h"

#define TAG(name) __attribute__((btf_decl_tag("arg:" #name)))

struct pair {
	__u64 one;
	__u64 two;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct pair);
} pairs SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} jumps SEC(".maps");

__noinline int twice(int number)
{
	return number * 2;
}

__noinline int sum(struct pair *pair)
{
	if (!pair)
		return 0;
	return pair->one + pair->two;
}

__noinline int sum_tagged(struct pair *pair TAG(nonnull))
{
	return pair->one + pair->two;
}

__noinline int queue(struct xdp_md *ctx)
{
	return ctx->rx_queue_index;
}

__noinline int queue_tagged(void *ctx TAG(ctx))
{
	return ((struct xdp_md *)ctx)->rx_queue_index;
}

SEC("xdp") int calls(struct xdp_md *ctx)
{
	struct pair pair = { 1, 2 };

	return twice(queue(ctx)) + sum(&pair) + sum_tagged(&pair) + queue_tagged(ctx);
}

SEC("xdp") int calls_with_map(struct xdp_md *ctx)
{
	__u32 key = ctx->rx_queue_index;
	struct pair *pair = bpf_map_lookup_elem(&pairs, &key);

	return sum(pair);
}

SEC("xdp") int calls_with_packet(struct xdp_md *ctx)
{
	char *data = (char *)(long)ctx->data;

	if (data + 32 > (char *)(long)ctx->data_end)
		return 0;
	return sum((void *)(data + 8));
}

SEC("xdp") int calls_with_null(struct xdp_md *ctx)
{
	return sum(NULL);
}

SEC("xdp") int no_null(struct xdp_md *ctx)
{
	__u32 key = ctx->rx_queue_index;

	return sum_tagged(bpf_map_lookup_elem(&pairs, &key));
}

SEC("xdp") int no_short_packet(struct xdp_md *ctx)
{
	char *data = (char *)(long)ctx->data;

	if (data + 8 > (char *)(long)ctx->data_end)
		return 0;
	return sum((void *)data);
}

SEC("xdp") int no_context_there(struct xdp_md *ctx)
{
	struct pair pair = { 1, 2 };

	return queue((void *)&pair);
}

SEC("xdp") int no_number_there(struct xdp_md *ctx)
{
	return twice((int)(long)ctx);
}

SEC("xdp") int no_memory_there(struct xdp_md *ctx)
{
	return sum((void *)(long)ctx->rx_queue_index);
}

__noinline int no_check(struct pair *pair)
{
	return pair->one;
}

SEC("xdp") int no_missing_check(struct xdp_md *ctx)
{
	struct pair pair = { 1, 2 };

	return no_check(&pair);
}

__noinline int beyond(struct pair *pair)
{
	return pair ? ((__u64 *)pair)[2] : 0;
}

SEC("xdp") int no_beyond(struct xdp_md *ctx)
{
	struct pair pair = { 1, 2 };

	return beyond(&pair);
}

__noinline int index(__u64 *table, int at)
{
	char bytes[16] = {};

	if (!table || at < 0 || at > 15)
		return 0;
	bytes[at] = *table;
	return bytes[15 - at];
}

SEC("xdp") int bounded_index(struct xdp_md *ctx)
{
	__u64 table = 1;

	return index(&table, ctx->rx_queue_index);
}

__noinline int unbounded(int at)
{
	char bytes[16] = {};

	bytes[at] = 1;
	return bytes[15];
}

SEC("xdp") int no_unbounded(struct xdp_md *ctx)
{
	return unbounded(3);
}

__noinline int moves(struct xdp_md *ctx)
{
	return bpf_xdp_adjust_head(ctx, 4);
}

SEC("xdp") int no_packet_after_move(struct xdp_md *ctx)
{
	char *data = (char *)(long)ctx->data;

	if (data + 8 > (char *)(long)ctx->data_end)
		return 0;
	moves(ctx);
	return *data;
}

__noinline int jumps_away(struct xdp_md *ctx)
{
	bpf_tail_call(ctx, &jumps, 0);
	return 2;
}

SEC("xdp") int no_packet_after_jump(struct xdp_md *ctx)
{
	char *data = (char *)(long)ctx->data;

	if (data + 8 > (char *)(long)ctx->data_end)
		return 0;
	jumps_away(ctx);
	return *data;
}

__noinline int untyped(void *memory)
{
	return memory != NULL;
}

SEC("xdp") int no_untyped(struct xdp_md *ctx)
{
	return untyped(ctx);
}

__noinline struct pair *result(struct pair *pair)
{
	return pair;
}

SEC("xdp") int no_pointer_result(struct xdp_md *ctx)
{
	struct pair pair = { 1, 2 };

	return (long)result(&pair) & 1;
}

__noinline int level_three(int number)
{
	char bytes[200] = {};

	asm volatile("" :: "r"(bytes) : "memory");
	return bytes[number & 127];
}

__noinline int level_two(int number)
{
	char bytes[200] = {};

	asm volatile("" :: "r"(bytes) : "memory");
	return level_three(number) + bytes[number & 127];
}

SEC("xdp") int deep(struct xdp_md *ctx)
{
	return level_two(ctx->rx_queue_index);
}

SEC("xdp") int no_deeper(struct xdp_md *ctx)
{
	char bytes[120] = {};

	asm volatile("" :: "r"(bytes) : "memory");
	return level_two(ctx->rx_queue_index) + bytes[3];
}

__noinline int writes(struct pair *pair)
{
	if (pair)
		pair->one = 2;
	return 0;
}

SEC("xdp") int writes_stack(struct xdp_md *ctx)
{
	struct pair pair = { 0, 1 };
	char bytes[4] = { 1, 2, 3, 4 };

	writes(&pair);
	if (pair.one > 3)
		return 0;
	return bytes[pair.one];
}

static __noinline int inner(struct pair *pair, int number)
{
	pair->two = number;
	return number > 5 ? 1 : 3;
}

SEC("xdp") int static_function(struct xdp_md *ctx)
{
	struct pair pair = { 0, 1 };

	return inner(&pair, ctx->rx_queue_index) + inner(&pair, 3) + (pair.two & 1);
}
