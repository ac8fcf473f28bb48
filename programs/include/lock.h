/* Spin locks in map values, and updates that take them. */
#pragma once
#include "bpf.h"

enum {
	BPF_F_LOCK = 1 << 2,
};

struct bpf_spin_lock {
	__u32 val;
};

static void (*const bpf_spin_lock)(struct bpf_spin_lock *lock) = (void *)93;
static void (*const bpf_spin_unlock)(struct bpf_spin_lock *lock) = (void *)94;
