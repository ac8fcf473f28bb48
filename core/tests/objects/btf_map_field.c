/* A field that no loader knows: refused. */
#include "bpf.h"

struct {
	__uint(type, 2);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
	__uint(eviction, 3);
} cache SEC(".maps");

SEC("xdp")
int entry(struct xdp_md *ctx)
{
	__u32 key = 0;

	return bpf_map_lookup_elem(&cache, &key) ? 1 : 2;
}
