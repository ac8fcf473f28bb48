/* The other part: what main.c declares, a program that main.c does not know, and static things of
 * the same names. */
#include "../bpf.h"

struct count {
	__u64 packets;
	__u64 bytes;
};

struct {
	__uint(type, 1);
	__uint(max_entries, 8);
	__type(key, __u32);
	__type(value, struct count);
} counts SEC(".maps");
int limit = 1000;
const __u32 flags[3] = { 1, 2, 3 };

extern int seen;
extern int CONFIG_HZ __attribute__((section(".kconfig")));
extern const int absent __attribute__((section(".ksyms"), weak));

static __u64 calls = 3;
static const volatile __u32 mask = 0x7;

static NOINLINE int step(int value)
{
	calls ^= value;
	return value * mask;
}

NOINLINE int classify(struct xdp_md *ctx)
{
	return step(ctx->rx_queue_index) + step(CONFIG_HZ);
}

NOINLINE int policy(int class)
{
	return step(class) > 3 ? 2 : 1;
}

SEC("xdp")
int other(struct xdp_md *ctx)
{
	return seen + classify(ctx) + (&absent ? 1 : 0);
}
