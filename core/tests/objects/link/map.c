/* Declares the map of part.c with another size. */
#include "../bpf.h"

extern struct {
	__uint(type, 1);
	__uint(max_entries, 9);
	__type(key, __u32);
	__type(value, __u64);
} counts __attribute__((section(".maps")));

SEC("xdp")
int smaller(struct xdp_md *ctx)
{
	__u32 key = 0;
	return bpf_map_lookup_elem(&counts, &key) ? 1 : 2;
}
