/* Built without -g: no BTF, and so no lines and no function ids. */
#include "bpf.h"

static int counter = 5;

static NOINLINE int next(void)
{
	return counter++;
}

SEC("xdp")
int count(struct xdp_md *ctx)
{
	return next() + next();
}
