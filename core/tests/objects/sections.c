/* Section names with flags and attach types, and programs of other types beside them. */
#include "bpf.h"

SEC("xdp") int first(struct xdp_md *ctx) { return 1; }
SEC("xdp") int second(struct xdp_md *ctx) { return ctx->rx_queue_index; }
SEC("xdp") int third(struct xdp_md *ctx) { return 3; }
SEC("xdp.frags") int fragments(struct xdp_md *ctx) { return 2; }
SEC("xdp/devmap") int egress(struct xdp_md *ctx) { return ctx->egress_ifindex; }
SEC("xdp.frags/devmap") int egress_fragments(struct xdp_md *ctx) { return 2; }
SEC("xdp/cpumap") int remote(struct xdp_md *ctx) { return 2; }
SEC("xdp_filter") int older(struct xdp_md *ctx) { return 2; }
SEC("xdp/eth0") int named(struct xdp_md *ctx) { return 2; }
SEC("tc") int shaper(struct __sk_buff *skb) { return 0; }
SEC("classifier") int classify(struct __sk_buff *skb) { return 0; }
SEC("tcx/ingress") int ingress(struct __sk_buff *skb) { return 0; }
SEC("action") int act(struct __sk_buff *skb) { return 0; }
SEC("socket1") int filter(struct __sk_buff *skb) { return skb->len; }
SEC("kprobe/tcp_connect") int probe(void *ctx) { return 0; }
SEC("cgroup_skb/egress") int cgroup(struct __sk_buff *skb) { return 1; }
SEC("fentry/tcp_connect") int trace(void *ctx) { return 0; }
SEC("mine") int unknown(void *ctx) { return 0; }
