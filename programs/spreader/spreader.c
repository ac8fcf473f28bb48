/* Spreads packets over CPUs by a symmetric hash of their flow: both directions of a connection meet on one CPU. */
#include "hash.h"

const volatile __u32 cpu_count = 2;

struct {
	__uint(type, BPF_MAP_TYPE_CPUMAP);
	__uint(max_entries, 64);
	__type(key, __u32);
	__type(value, __u32); /* length of the CPU's queue */
} cpus SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 64);
	__type(key, __u32);
	__type(value, __u64);
} chosen SEC(".maps");

/* The same for a flow and its reverse. */
static __always_inline __u32 symmetric_hash(const struct flow *flow)
{
	struct address both;

#pragma unroll
	for (int i = 0; i < 4; i++)
		both.word[i] = flow->src.word[i] ^ flow->dst.word[i];
	return hash_finish(hash_word(hash_address(flow->proto, &both), flow->src_port ^ flow->dst_port));
}

SEC("xdp")
int spreader(struct xdp_md *ctx)
{
	struct cursor c = packet_start(ctx);
	struct parsed packet = {};
	__u32 cpu = 0;
	__u64 *count;

	if (parse_flow(&c, &packet) >= FLOW_FRAGMENT && cpu_count)
		cpu = symmetric_hash(&packet.flow) % cpu_count;
	count = bpf_map_lookup_elem(&chosen, &cpu);
	if (count)
		__sync_fetch_and_add(count, 1);
	if (cpu == bpf_get_smp_processor_id())
		return XDP_PASS; /* it is here already */
	return bpf_redirect_map(&cpus, cpu, XDP_PASS);
}

const char _license[] SEC("license") = "Dual MIT/GPL";
