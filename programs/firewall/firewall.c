/* A stateful firewall. Trusted networks may open flows to anywhere, everybody may open flows to the listed
 * services, and packets of a known flow pass in both directions until it ends or idles out. */
#include "flow.h"

#define SECOND 1000000000ULL

/* How long a flow may be silent. */
#define IDLE_OPEN (300 * SECOND)
#define IDLE_NEW (30 * SECOND)
#define IDLE_CLOSING (10 * SECOND)

enum flow_state {
	STATE_NEW, /* only the initiator was heard */
	STATE_OPEN,
	STATE_CLOSING, /* a FIN was seen */
};

struct flow_entry {
	__u64 last_seen_ns;
	__u64 packets;
	__u32 state;
	__u32 service; /* id of the rule that let it in; 0: a trusted network opened it */
};

/* Keyed by the 5-tuple as the initiator sends it. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 65536);
	__type(key, struct flow);
	__type(value, struct flow_entry);
} flows SEC(".maps");

struct prefix {
	__u32 len;
	struct address address;
};

/* Networks whose hosts may open flows. */
struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, 1024);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct prefix);
	__type(value, __u32);
} trusted SEC(".maps");

struct service {
	struct address address;
	__be16 port; /* 0 for ICMP echo */
	__u8 proto;
	__u8 zero;
};

/* Services that everybody may reach, with the id of their rule. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, struct service);
	__type(value, __u32);
} services SEC(".maps");

enum reason {
	REASON_MALFORMED,
	REASON_NEIGHBOUR, /* ARP, IPv6 neighbour discovery */
	REASON_NOT_IP,
	REASON_FRAGMENT,
	REASON_PROTOCOL,
	REASON_KNOWN_FLOW,
	REASON_REPLY,
	REASON_TRUSTED,
	REASON_SERVICE,
	REASON_NO_RULE,
	REASON_NO_SYN, /* TCP in the middle of an unknown flow */
	REASONS,
};

/* Packets by what decided. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, REASONS);
	__type(key, __u32);
	__type(value, __u64);
} decisions SEC(".maps");

static __always_inline int decide(enum reason reason, int action)
{
	__u32 key = reason;
	__u64 *count = bpf_map_lookup_elem(&decisions, &key);

	if (count)
		__sync_fetch_and_add(count, 1);
	return action;
}

static __always_inline bool idle(const struct flow_entry *entry, __u64 now)
{
	__u64 limit = entry->state == STATE_OPEN ? IDLE_OPEN : entry->state == STATE_NEW ? IDLE_NEW : IDLE_CLOSING;

	return now - entry->last_seen_ns > limit;
}

/* Finds a live flow and brings its entry up to date. */
static __always_inline bool follow(const struct parsed *packet, const struct flow *key, bool from_responder, __u64 now)
{
	struct flow_entry *entry = bpf_map_lookup_elem(&flows, key);

	if (!entry)
		return false;
	if (idle(entry, now)) {
		bpf_map_delete_elem(&flows, key);
		return false;
	}
	if (packet->tcp_flags & TCP_RST) {
		bpf_map_delete_elem(&flows, key);
		return true;
	}
	__sync_fetch_and_add(&entry->packets, 1);
	entry->last_seen_ns = now;
	if (packet->tcp_flags & TCP_FIN)
		entry->state = STATE_CLOSING;
	else if (from_responder && entry->state == STATE_NEW)
		entry->state = STATE_OPEN;
	return true;
}

static __always_inline int open_flow(const struct parsed *packet, enum reason reason, __u32 service, __u64 now)
{
	struct flow_entry entry = { .last_seen_ns = now, .packets = 1, .state = STATE_NEW, .service = service };

	if (packet->flow.proto == PROTO_TCP && (packet->tcp_flags & (TCP_SYN | TCP_ACK | TCP_RST | TCP_FIN)) != TCP_SYN)
		return decide(REASON_NO_SYN, XDP_DROP);
	bpf_map_update_elem(&flows, &packet->flow, &entry, BPF_ANY);
	return decide(reason, XDP_PASS);
}

static __always_inline bool is_icmp(const struct parsed *packet)
{
	return packet->flow.proto == PROTO_ICMP || packet->flow.proto == PROTO_ICMPV6;
}

static __always_inline int new_flow(const struct parsed *packet, __u64 now)
{
	struct prefix source = { .len = 128, .address = packet->flow.src };
	struct service service = {
		.address = packet->flow.dst,
		.port = is_icmp(packet) ? 0 : packet->flow.dst_port,
		.proto = packet->flow.proto,
	};
	__u32 *rule;

	if (bpf_map_lookup_elem(&trusted, &source))
		return open_flow(packet, REASON_TRUSTED, 0, now);
	rule = bpf_map_lookup_elem(&services, &service);
	if (rule)
		return open_flow(packet, REASON_SERVICE, *rule, now);
	return decide(REASON_NO_RULE, XDP_DROP);
}

static __always_inline int known_or_new_flow(const struct parsed *packet)
{
	__u64 now = bpf_ktime_get_ns();
	struct flow opposite = packet->flow;

	if (follow(packet, &packet->flow, false, now))
		return decide(REASON_KNOWN_FLOW, XDP_PASS);
	reverse(&opposite);
	if (follow(packet, &opposite, true, now))
		return decide(REASON_REPLY, XDP_PASS);
	return new_flow(packet, now);
}

static __always_inline bool is_arp(struct cursor c)
{
	__be16 type;

	return parse_ethernet(&c, &type) && type == htons(ETH_ARP);
}

static __always_inline bool is_neighbour_discovery(const struct parsed *packet)
{
	return packet->flow.proto == PROTO_ICMPV6 && packet->icmp_type >= ICMPV6_ROUTER_SOLICITATION &&
	       packet->icmp_type <= ICMPV6_REDIRECT;
}

SEC("xdp")
int firewall(struct xdp_md *ctx)
{
	struct cursor start = packet_start(ctx), c = start;
	struct parsed packet = {};

	switch (parse_flow(&c, &packet)) {
	case FLOW_MALFORMED:
		return decide(REASON_MALFORMED, XDP_DROP);
	case FLOW_NOT_IP:
		if (is_arp(start))
			return decide(REASON_NEIGHBOUR, XDP_PASS);
		return decide(REASON_NOT_IP, XDP_DROP);
	case FLOW_FRAGMENT:
		return decide(REASON_FRAGMENT, XDP_DROP);
	case FLOW_NO_PORTS:
		if (is_neighbour_discovery(&packet))
			return decide(REASON_NEIGHBOUR, XDP_PASS);
		return decide(REASON_PROTOCOL, XDP_DROP);
	case FLOW_PORTS:
		return known_or_new_flow(&packet);
	}
	return XDP_ABORTED;
}

const char _license[] SEC("license") = "Dual MIT/GPL";
