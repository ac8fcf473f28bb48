/* A pointer in global data has no value in a program: refused for the program that uses it. */
#include "bpf.h"

static int number = 3;
int *volatile pointer SEC(".data.pointers") = &number;

SEC("xdp")
int uses(struct xdp_md *ctx)
{
	return *pointer;
}

SEC("xdp")
int does_not(struct xdp_md *ctx)
{
	return number;
}
