/* A legacy declaration that sets a field beyond the five: refused. */
#include "bpf.h"

struct map_def {
	__u32 type, key_size, value_size, max_entries, map_flags, inner_map_idx;
};

struct map_def SEC("maps") inner = { 12, 4, 4, 1, 0, 1 };

SEC("xdp")
int entry(struct xdp_md *ctx)
{
	__u32 key = 0;

	return bpf_map_lookup_elem(&inner, &key) ? 1 : 2;
}
