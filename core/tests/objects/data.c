/* Global data: named and custom sections, static and visible, references into the middle. */
#include "bpf.h"

const volatile __u32 limit = 100;
static const volatile __u16 table[4] = { 1, 2, 3, 4 };
__u64 seen;
static __u32 last;
__u32 threshold = 7;
static __u8 mode = 3;
const volatile __u32 custom_constant SEC(".rodata.settings") = 42;
__u32 custom SEC(".data.counters") = 9;
static __u32 custom_zero[4] SEC(".bss.scratch");
struct pair {
	__u32 a, b;
} pairs[3];

SEC("xdp")
int use(struct xdp_md *ctx)
{
	__u32 queue = ctx->rx_queue_index;

	seen++;
	last = queue + mode;
	custom += custom_constant;
	custom_zero[1] = limit;
	pairs[2].b = table[2];
	if (queue < 4)
		custom_zero[queue] = table[queue];
	return threshold > last ? 1 : 2;
}
