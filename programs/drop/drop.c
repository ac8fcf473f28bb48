/* Drops every packet. The floor of every measurement. */
#include "bpf.h"

SEC("xdp")
int drop(struct xdp_md *ctx)
{
	return XDP_DROP;
}

const char _license[] SEC("license") = "Dual MIT/GPL";
