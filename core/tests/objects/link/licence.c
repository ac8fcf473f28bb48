/* Says another licence. */
typedef unsigned int __u32;

char _license[] __attribute__((section("license"), used)) = "Proprietary";
__u32 nothing;
