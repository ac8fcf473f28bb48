/* Static values of a program array, static programs among them. */
#include "bpf.h"

static int quiet(struct xdp_md *ctx);
int loud(struct xdp_md *ctx);

struct {
	__uint(type, 3);
	__uint(max_entries, 4);
	__uint(key_size, 4);
	__array(values, int(void *));
} stages SEC(".maps") = {
	.values = {
		[0] = (void *)&loud,
		[2] = (void *)&quiet,
	},
};

SEC("xdp")
int entry(struct xdp_md *ctx)
{
	bpf_tail_call(ctx, &stages, 0);
	return 0;
}

SEC("xdp")
int loud(struct xdp_md *ctx)
{
	bpf_tail_call(ctx, &stages, 2);
	return 1;
}

SEC("xdp")
static int quiet(struct xdp_md *ctx)
{
	return 2;
}
