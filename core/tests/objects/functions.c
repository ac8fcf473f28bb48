/* Subprograms: global, static, shared, recursive in what they use, in other program sections;
 * entry programs that are static. */
#include "bpf.h"

__u64 total;

static NOINLINE int leaf(int value)
{
	total += value;
	return value * 3;
}

NOINLINE int middle(int value)
{
	return leaf(value + 1) + leaf(value);
}

__attribute__((visibility("hidden"))) NOINLINE int concealed(int value)
{
	return leaf(value) + 7;
}

NOINLINE int unused(int value)
{
	return value * value;
}

SEC("xdp")
int both(struct xdp_md *ctx)
{
	return middle(ctx->rx_queue_index) + leaf(ctx->ingress_ifindex);
}

SEC("xdp")
int one(struct xdp_md *ctx)
{
	return concealed(ctx->rx_queue_index);
}

SEC("xdp")
static int quiet(struct xdp_md *ctx)
{
	return leaf(2);
}

SEC("xdp/other")
static NOINLINE int beside(int value)
{
	return value ^ (int)total;
}

SEC("xdp/other")
int across(struct xdp_md *ctx)
{
	return beside(ctx->rx_queue_index) + middle(1);
}
