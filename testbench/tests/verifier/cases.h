/* What the cases share. Each program shows one rule of the verifier; names that begin with `no_` are refused. */
#pragma once
#include "../../../programs/include/bpf.h"

static long (*const bpf_for_each_map_elem)(void *map, void *callback, void *ctx, __u64 flags) = (void *)164;
static long (*const bpf_loop)(__u32 count, void *callback, void *ctx, __u64 flags) = (void *)181;
static void (*const bpf_spin_lock)(void *lock) = (void *)93;
static void (*const bpf_spin_unlock)(void *lock) = (void *)94;
static long (*const bpf_snprintf)(char *to, __u32 size, const char *format, __u64 *data, __u32 bytes) = (void *)165;
static long (*const bpf_strncmp)(const char *text, __u32 size, const char *other) = (void *)182;

struct bpf_spin_lock {
	__u32 val;
};

struct bpf_timer {
	__u64 opaque[2];
} __attribute__((aligned(8)));

char _license[] SEC("license") = "GPL";
