/* A program whose parts are in another object: functions, a map, variables. Static things have the
 * same names there. */
#include "../bpf.h"

struct count {
	__u64 packets;
	__u64 bytes;
};

/* Defined in part.c. */
int classify(struct xdp_md *ctx);
__attribute__((weak)) NOINLINE int policy(int class)
{
	return class ? 1 : 2;
}
extern struct {
	__uint(type, 1);
	__uint(max_entries, 8);
	__type(key, __u32);
	__type(value, struct count);
} counts __attribute__((section(".maps")));
extern int limit;
extern const __u32 flags[];

/* Of the kernel. */
extern int CONFIG_HZ __attribute__((section(".kconfig")));
extern const int absent __attribute__((section(".ksyms"), weak));

int seen = 7;
static __u64 calls;
static const volatile __u32 mask = 0xff;

static NOINLINE int step(int value)
{
	calls += value;
	return value & mask;
}

SEC("xdp")
int entry(struct xdp_md *ctx)
{
	__u32 key = step(classify(ctx)) & 7;
	struct count *count = bpf_map_lookup_elem(&counts, &key);
	if (count) {
		count->packets++;
		count->bytes += ctx->data_end - ctx->data;
	}
	seen += flags[1];
	if (&absent || seen > limit + CONFIG_HZ)
		return 3;
	return policy(key);
}
