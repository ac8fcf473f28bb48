/* iproute2's declaration before it had inner maps: 28 bytes. */
#include "bpf.h"

struct bpf_elf_map {
	__u32 type, size_key, size_value, max_elem, flags, id, pinning;
};

struct bpf_elf_map SEC("maps") counters = { 6, 4, 8, 4, 0, 1, 2 };

SEC("xdp")
int entry(struct xdp_md *ctx)
{
	__u32 key = 0;

	return bpf_map_lookup_elem(&counters, &key) ? 1 : 2;
}
