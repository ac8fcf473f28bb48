/* Variables of the kernel's configuration, and what the kernel may or may not have. */
#include "bpf.h"

#define __kconfig __attribute__((section(".kconfig")))
#define __ksym __attribute__((section(".ksyms")))
#define __weak __attribute__((weak))

enum libbpf_tristate { TRI_NO = 0, TRI_YES = 1, TRI_MODULE = 2 };

extern int LINUX_KERNEL_VERSION __kconfig;
extern unsigned short CONFIG_HZ __kconfig;
extern long long CONFIG_NEGATIVE __kconfig;
extern __u64 CONFIG_HEX __kconfig;
extern _Bool CONFIG_BOOL __kconfig;
extern enum libbpf_tristate CONFIG_MODULE __kconfig;
extern char CONFIG_LETTER __kconfig;
extern const char CONFIG_TEXT[8] __kconfig;
extern int CONFIG_ABSENT __kconfig __weak;
extern int CONFIG_MISSING __kconfig;
extern signed char CONFIG_BIG __kconfig;
extern void *CONFIG_POINTER __kconfig;

extern const int absent_variable __ksym __weak;
extern void absent_function(void) __ksym __weak;

__u64 results[16];

SEC("xdp")
int all(struct xdp_md *ctx)
{
	results[0] = LINUX_KERNEL_VERSION;
	results[1] = CONFIG_HZ;
	results[2] = CONFIG_NEGATIVE;
	results[3] = CONFIG_HEX;
	results[4] = CONFIG_BOOL;
	results[5] = CONFIG_MODULE;
	results[6] = CONFIG_LETTER;
	results[7] = CONFIG_TEXT[ctx->rx_queue_index & 7];
	results[8] = CONFIG_ABSENT;
	return 2;
}

SEC("xdp")
int missing(struct xdp_md *ctx)
{
	return CONFIG_MISSING;
}

SEC("xdp")
int too_big(struct xdp_md *ctx)
{
	return CONFIG_BIG;
}

SEC("xdp")
int pointer(struct xdp_md *ctx)
{
	return (long)CONFIG_POINTER;
}

SEC("xdp")
int asks_kernel(struct xdp_md *ctx)
{
	if (&absent_variable)
		return absent_variable;
	if (absent_function)
		absent_function();
	return 2;
}
