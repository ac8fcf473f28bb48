/* Every field of a BTF declaration, a map of maps with static values, a ring to be rounded up. */
#include "bpf.h"

struct flow {
	__u32 source;
	__u32 destination;
};

typedef struct flow flow_t;

struct {
	__uint(type, 9);
	__uint(max_entries, 1024);
	__uint(map_flags, 2);
	__type(key, flow_t);
	__type(value, __u64[2]);
	__uint(pinning, 1);
} flows SEC(".maps");

struct {
	__uint(type, 27);
	__uint(max_entries, 5000);
} ring SEC(".maps");

struct inner {
	__uint(type, 2);
	__uint(key_size, 4);
	__uint(value_size, 8);
	__uint(max_entries, 4);
} first SEC(".maps"), second SEC(".maps");

struct {
	__uint(type, 12);
	__uint(key_size, 4);
	__uint(max_entries, 4);
	__array(values, struct inner);
} outer SEC(".maps") = {
	.values = { [0] = &first, [3] = &second },
};

static struct inner hidden SEC(".maps");

SEC("xdp")
int lookup(struct xdp_md *ctx)
{
	struct flow flow = { ctx->ingress_ifindex, ctx->rx_queue_index };
	__u32 key = 0;
	void *found = bpf_map_lookup_elem(&outer, &key);

	if (found)
		found = bpf_map_lookup_elem(found, &key);
	if (!found)
		found = bpf_map_lookup_elem(&hidden, &key);
	if (!found)
		found = bpf_map_lookup_elem(&flows, &flow);
	return found ? 1 : 2;
}
