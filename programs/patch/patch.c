/* A patch panel: what comes in at one port goes out of its peer, with that port's address as source.
 * Takes packets of several fragments too. */
#include "packet.h"

struct peer {
	__u32 ifindex;
	__u8 mac[6];
	__u8 zero[2];
};

/* Interface index to the port at the other end. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 64);
	__type(key, __u32);
	__type(value, struct peer);
} peers SEC(".maps");

SEC("xdp.frags")
int patch(struct xdp_md *ctx)
{
	__u32 ifindex = ctx->ingress_ifindex;
	struct peer *peer = bpf_map_lookup_elem(&peers, &ifindex);

	if (!peer)
		return XDP_PASS;
	if (bpf_xdp_store_bytes(ctx, __builtin_offsetof(struct eth, src), peer->mac, sizeof(peer->mac)))
		return XDP_DROP;
	return bpf_redirect(peer->ifindex, 0);
}

const char _license[] SEC("license") = "Dual MIT/GPL";
