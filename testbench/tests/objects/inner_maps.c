/* Maps of maps as C declares them: static inner maps in `.values`, one of them of another size. */
#include "../../../core/tests/objects/bpf.h"

static long (*const bpf_map_update_elem)(void *map, const void *key, const void *value, __u64 flags) = (void *)2;

struct inner_array {
	__uint(type, 2);
	__uint(map_flags, 1 << 12);
	__uint(max_entries, 4);
	__type(key, __u32);
	__type(value, __u64);
} lengths SEC(".maps");

struct {
	__uint(type, 2);
	__uint(map_flags, 1 << 12);
	__uint(max_entries, 16);
	__type(key, __u32);
	__type(value, __u64);
} sources SEC(".maps");

struct {
	__uint(type, 12);
	__uint(max_entries, 4);
	__type(key, __u32);
	__array(values, struct inner_array);
} counters SEC(".maps") = {
	.values = { [1] = &lengths, [2] = (void *)&sources },
};

struct tenant {
	__uint(type, 1);
	__uint(max_entries, 8);
	__type(key, __u32);
	__type(value, __u64);
} guest SEC(".maps");

struct {
	__uint(type, 13);
	__uint(max_entries, 8);
	__type(key, __u32);
	__array(values, struct tenant);
} tenants SEC(".maps") = {
	.values = { [3] = &guest },
};

static void count(__u32 which, __u32 index)
{
	void *inner = bpf_map_lookup_elem(&counters, &which);
	__u64 *value = inner ? bpf_map_lookup_elem(inner, &index) : 0;

	if (value)
		*value += 1;
}

SEC("xdp")
int tenant(struct xdp_md *ctx)
{
	unsigned char *data = (unsigned char *)(unsigned long)ctx->data;
	unsigned char *end = (unsigned char *)(unsigned long)ctx->data_end;
	__u32 source, key;
	__u64 *seen, first = 1;
	void *map;

	if (data + 41 > end)
		return 1;
	source = data[29];
	count(1, (end - data) & 7);
	count(2, source);
	count(data[40] & 3, 0);
	key = source & 3;
	map = bpf_map_lookup_elem(&tenants, &key);
	if (!map)
		return 2;
	key = data[40] & 15;
	seen = bpf_map_lookup_elem(map, &key);
	if (!seen)
		return bpf_map_update_elem(map, &key, &first, 0) ? 0 : 3;
	*seen += 1;
	return 1;
}
