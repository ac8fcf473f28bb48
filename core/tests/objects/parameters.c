/* Global variables of all types that a parameter can have. */
#include "bpf.h"

enum mode { FAST = 1, SLOW = 2 };
struct limits {
	__u32 rate;
	__u8 burst[2];
	struct {
		__u16 inside;
	};
};
struct constants {
	int none;
};

const volatile __u64 wide = 1;
const volatile int number = 1;
const volatile enum mode mode = FAST;
const volatile __u16 ports[4] = { 1, 2, 3, 4 };
const volatile char name[8] = "default";
const volatile struct limits limits = { 1, { 1, 1 }, { 1 } };
const volatile _Bool enabled = 0;
const volatile char letter = 'a';
__u32 counter = 1;
__u32 zero;

SEC("xdp")
int entry(struct xdp_md *ctx)
{
	counter++;
	zero++;
	if (wide && number && mode == SLOW && ports[1] && name[0] && limits.rate)
		return 1;
	return enabled && letter ? 1 : 2;
}
