/* Legacy map declarations, one of them longer than the five fields. */
#include "bpf.h"

struct bpf_map_def {
	__u32 type, key_size, value_size, max_entries, map_flags;
};

struct bpf_map_def SEC("maps") counters = { 6, 4, 8, 16, 0 };
struct bpf_map_def SEC("maps") flows = { 1, 12, 4, 1024, 1 };

__u32 _version SEC("version") = 0x60c00;

SEC("xdp")
int count(struct xdp_md *ctx)
{
	__u32 key = ctx->rx_queue_index;
	__u64 *value = bpf_map_lookup_elem(&counters, &key);
	__u32 flow[3] = { key };

	if (value)
		*value += 1;
	return bpf_map_lookup_elem(&flows, flow) ? 1 : 2;
}
