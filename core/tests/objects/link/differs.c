/* Declares a function of part.c with other parameters, and uses it. */
#include "../bpf.h"

int classify(__u64 number);

SEC("xdp")
int wrong(struct xdp_md *ctx)
{
	return classify(ctx->data);
}
