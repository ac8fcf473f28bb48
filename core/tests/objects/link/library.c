/* What weak.c counts into, and the rule. */
#include "../bpf.h"

struct {
	__uint(type, 2);
	__uint(max_entries, 4);
	__type(key, __u32);
	__type(value, __u64);
} counters SEC(".maps");

int turn = 1;

NOINLINE int rule(struct xdp_md *ctx)
{
	turn += 2;
	return turn + ctx->rx_queue_index;
}
