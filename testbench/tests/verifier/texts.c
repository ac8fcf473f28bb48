/* Strings that nobody can change, and values that are known before the program runs. */
#include "cases.h"

const char pattern[8] = "abc";
const char wild[4] = "abcd";
char changing[8] = "abc";
const volatile __u32 limit = 3;
const volatile __u32 table[4] = { 1, 2, 3, 4 };

SEC("xdp") int compares(struct xdp_md *ctx)
{
	char text[8] = "abd";

	return bpf_strncmp(text, 8, pattern) & 1;
}

SEC("xdp") int no_end(struct xdp_md *ctx)
{
	static const char last[4] SEC(".rodata.last") = "abcd";
	char text[8] = "abd";

	return bpf_strncmp(text, 8, last) & 1;
}

SEC("xdp") int no_changing(struct xdp_md *ctx)
{
	char text[8] = "abd";

	return bpf_strncmp(text, 8, changing) & 1;
}

SEC("xdp") int no_variable(struct xdp_md *ctx)
{
	char text[8] = "abd";

	return bpf_strncmp(text, 8, pattern + (ctx->rx_queue_index & 1)) & 1;
}

SEC("xdp") int prints(struct xdp_md *ctx)
{
	static const char format[] = "%d of %u";
	__u64 numbers[2] = { 1, 2 };
	char text[32];

	return bpf_snprintf(text, sizeof(text), format, numbers, sizeof(numbers)) & 1;
}

SEC("xdp") int no_such_format(struct xdp_md *ctx)
{
	static const char format[] = "%d of %q";
	__u64 numbers[2] = { 1, 2 };
	char text[32];

	return bpf_snprintf(text, sizeof(text), format, numbers, sizeof(numbers)) & 1;
}

SEC("xdp") int no_number_left(struct xdp_md *ctx)
{
	static const char format[] = "%d of %d, %d";
	__u64 numbers[2] = { 1, 2 };
	char text[32];

	return bpf_snprintf(text, sizeof(text), format, numbers, sizeof(numbers)) & 1;
}

SEC("xdp") int no_whole_numbers(struct xdp_md *ctx)
{
	static const char format[] = "%d";
	__u64 numbers[2] = { 1, 2 };
	char text[32];

	return bpf_snprintf(text, sizeof(text), format, numbers, 12) & 1;
}

SEC("xdp") int folds(struct xdp_md *ctx)
{
	if (limit != 3)
		return *(volatile int *)0;
	return table[2] == 3 ? 2 : *(volatile int *)0;
}

SEC("xdp") int no_write(struct xdp_md *ctx)
{
	*(__u32 *)&limit = 4;
	return 2;
}

SEC("xdp") int no_beyond(struct xdp_md *ctx)
{
	return ((volatile __u32 *)table)[ctx->rx_queue_index];
}
