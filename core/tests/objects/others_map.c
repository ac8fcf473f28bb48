/* Maps that only programs of other types use are left out; the rest keep their references. */
#include "bpf.h"

struct {
	__uint(type, 4);
	__uint(key_size, 4);
	__uint(value_size, 4);
} events SEC(".maps");

struct inner {
	__uint(type, 2);
	__uint(key_size, 4);
	__uint(value_size, 8);
	__uint(max_entries, 4);
} first SEC(".maps");

struct {
	__uint(type, 12);
	__uint(key_size, 4);
	__uint(max_entries, 1);
	__array(values, struct inner);
} outer SEC(".maps") = {
	.values = { &first },
};

struct inner unused SEC(".maps");

__u64 probed SEC(".data.probe");
__u64 seen;

SEC("kprobe/tcp_connect")
int probe(void *ctx)
{
	__u32 key = 0;

	probed++;
	return bpf_map_lookup_elem(&events, &key) || bpf_map_lookup_elem(&first, &key);
}

SEC("xdp")
int count(struct xdp_md *ctx)
{
	__u32 key = 0;

	seen++;
	return bpf_map_lookup_elem(&outer, &key) ? 1 : 2;
}
