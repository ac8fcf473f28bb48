/* Maps in maps, and other maps than tables. */
#include "cases.h"

struct inner {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 4);
	__type(key, __u32);
	__type(value, __u64);
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH_OF_MAPS);
	__uint(max_entries, 4);
	__type(key, __u32);
	__array(values, struct inner);
} outer SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4);
	__type(key, __u32);
	__type(value, __u64);
} table SEC(".maps");

SEC("xdp") int constant_key(struct xdp_md *ctx)
{
	__u32 key = 1, which = ctx->rx_queue_index;
	void *map = bpf_map_lookup_elem(&outer, &which);
	__u64 *value;

	if (!map)
		return 0;
	value = bpf_map_lookup_elem(map, &key);
	asm volatile("" : "+r"(value));
	if (value)
		return *value & 1;
	return 1;
}

SEC("xdp") int no_null_check(struct xdp_md *ctx)
{
	__u32 key = 1, which = ctx->rx_queue_index;
	void *map = bpf_map_lookup_elem(&outer, &which);
	__u64 *value;

	value = bpf_map_lookup_elem(map, &key);
	return value ? *value & 1 : 0;
}

SEC("xdp") int no_map_read(struct xdp_md *ctx)
{
	__u32 which = ctx->rx_queue_index;
	__u64 *map = bpf_map_lookup_elem(&outer, &which);

	return map ? *map & 1 : 0;
}

SEC("xdp") int no_map_write(struct xdp_md *ctx)
{
	__u32 which = ctx->rx_queue_index;
	__u64 *map = bpf_map_lookup_elem(&outer, &which);

	if (map)
		*map = 1;
	return 0;
}

SEC("xdp") int no_outer_update(struct xdp_md *ctx)
{
	__u32 which = ctx->rx_queue_index;

	return bpf_map_update_elem(&outer, &which, &which, 0);
}

SEC("xdp") int no_map_arithmetic(struct xdp_md *ctx)
{
	__u32 which = ctx->rx_queue_index;
	char *map = bpf_map_lookup_elem(&outer, &which);

	if (!map)
		return 0;
	return bpf_map_delete_elem(map + 8, &which);
}

SEC("xdp") int either(struct xdp_md *ctx)
{
	__u32 which = ctx->rx_queue_index;
	void *map = &table;
	__u64 *value;

	if (which & 1) {
		map = bpf_map_lookup_elem(&outer, &which);
		if (!map)
			return 0;
	}
	value = bpf_map_lookup_elem(map, &which);
	return value ? *value & 1 : 0;
}
