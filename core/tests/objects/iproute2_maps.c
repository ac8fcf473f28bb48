/* iproute2's declarations: a map of maps with two inner maps, and a pinned one. */
#include "bpf.h"

struct bpf_elf_map {
	__u32 type, size_key, size_value, max_elem, flags, id, pinning, inner_id, inner_idx;
};

struct bpf_elf_map SEC("maps") outer = { 12, 4, 4, 3, 0, 0, 0, 7, 0 };
struct bpf_elf_map SEC("maps") first = { 2, 4, 8, 1, 0, 7, 0, 0, 2 };
struct bpf_elf_map SEC("maps") second = { 2, 4, 8, 1, 0, 7, 0, 0, (__u32)-1 };
struct bpf_elf_map SEC("maps") pinned = { 1, 4, 8, 16, 1, 0, 2, 0, 0 };

SEC("xdp")
int entry(struct xdp_md *ctx)
{
	__u32 key = 0;

	if (bpf_map_lookup_elem(&pinned, &key) || bpf_map_lookup_elem(&second, &key))
		return 1;
	return bpf_map_lookup_elem(&outer, &key) ? 1 : 2;
}
