/* What is not supported is refused for the program that uses it, with all that depends on it. */
#include "bpf.h"

struct kernel_thing {
	int first;
	struct {
		int pad[3];
		short wanted;
	} inner;
} __attribute__((preserve_access_index));

extern int CONFIG_HZ __attribute__((section(".kconfig")));
extern const void bpf_prog_active __attribute__((section(".ksyms")));
extern void bpf_rcu_read_lock(void) __attribute__((section(".ksyms")));
extern int elsewhere(int value);
extern int perhaps __attribute__((weak));

int reads_field(struct xdp_md *ctx);
int jumps(struct xdp_md *ctx);

struct {
	__uint(type, 3);
	__uint(max_entries, 1);
	__uint(key_size, 4);
	__array(values, int(void *));
} stages SEC(".maps") = {
	.values = { (void *)&reads_field },
};

struct {
	__uint(type, 3);
	__uint(max_entries, 1);
	__uint(key_size, 4);
	__array(values, int(void *));
} earlier SEC(".maps") = {
	.values = { (void *)&jumps },
};

SEC("xdp")
int jumps_twice(struct xdp_md *ctx)
{
	bpf_tail_call(ctx, &earlier, 0);
	return 1;
}

SEC("xdp")
int fine(struct xdp_md *ctx)
{
	return 2;
}

SEC("xdp")
int reads_field(struct xdp_md *ctx)
{
	return ((struct kernel_thing *)(long)ctx->data)->inner.wanted;
}

SEC("xdp")
int jumps(struct xdp_md *ctx)
{
	bpf_tail_call(ctx, &stages, 0);
	return 1;
}

SEC("xdp")
int type_size(struct xdp_md *ctx)
{
	return __builtin_preserve_type_info(*(struct kernel_thing *)0, 1);
}

SEC("xdp")
int config(struct xdp_md *ctx)
{
	return CONFIG_HZ;
}

SEC("xdp")
int variable(struct xdp_md *ctx)
{
	return (long)&bpf_prog_active;
}

SEC("xdp")
int kfunc(struct xdp_md *ctx)
{
	bpf_rcu_read_lock();
	return 2;
}

SEC("xdp")
int undefined(struct xdp_md *ctx)
{
	return elsewhere(3);
}

SEC("xdp")
int weak(struct xdp_md *ctx)
{
	return (long)&perhaps;
}
