/* Programs and memory that are refused by their names. */
#include "bpf.h"

#define __arena __attribute__((address_space(1)))

__u64 __arena shared;

SEC("struct_ops/init")
int init(void *ctx)
{
	return 0;
}

SEC("xdp")
int arena(struct xdp_md *ctx)
{
	shared += 1;
	return 2;
}

SEC("xdp")
int fine(struct xdp_md *ctx)
{
	return 2;
}
