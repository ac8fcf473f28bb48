/* A program that counts into a map of library.c, by a rule that library.c overrides. */
#include "../bpf.h"

extern struct {
	__uint(type, 2);
	__uint(max_entries, 4);
	__type(key, __u32);
	__type(value, __u64);
} counters __attribute__((section(".maps")));

__attribute__((weak)) NOINLINE int rule(struct xdp_md *ctx)
{
	return 0;
}

SEC("xdp")
int count(struct xdp_md *ctx)
{
	__u32 key = rule(ctx) & 3;
	__u64 *counter = bpf_map_lookup_elem(&counters, &key);
	if (counter)
		*counter += 1;
	return 2;
}
