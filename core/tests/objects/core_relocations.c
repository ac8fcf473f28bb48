/* All kinds of CO-RE relocations, against kernel/types.c. */
#include "bpf.h"

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct nested___mine {
	__u32 moved;
	__u16 choice;
	__u8 raw[6];
};

struct thing___mine {
	short number;
	__u32 grown;
	char name[16];
	struct nested___mine inner[5];
	struct thing___mine *next;
	signed int low : 3;
	unsigned int high : 13;
	__u64 across : 33;
	int removed;
	int state_of;
	struct nested___mine tail[];
};

struct twice {
	int value;
	int other;
};

union either {
	__u32 number;
};

struct absent {
	int field;
};

#pragma clang attribute pop

enum state { STATE_NEW = 1, STATE_GONE = 9, STATE_OLD = 2 };
enum wide_state___mine { WIDE_FIRST___mine = 0x10000000000, WIDE_SECOND___mine = 1 };
enum absent_state { ABSENT = 1 };
typedef __u64 counter;
struct grown {
	struct declared_here *pointer;
	__u32 two;
};
struct grown___wrong {
	__u64 two;
};

#define offset(type, field) __builtin_preserve_field_info(((type *)0)->field, 0)
#define size(type, field) __builtin_preserve_field_info(((type *)0)->field, 1)
#define exists(type, field) __builtin_preserve_field_info(((type *)0)->field, 2)
#define is_signed(type, field) __builtin_preserve_field_info(((type *)0)->field, 3)
#define left(type, field) __builtin_preserve_field_info(((type *)0)->field, 4)
#define right(type, field) __builtin_preserve_field_info(((type *)0)->field, 5)
#define type_exists(type) __builtin_preserve_type_info(*(type *)0, 0)
#define type_size(type) __builtin_preserve_type_info(*(type *)0, 1)
#define type_matches(type) __builtin_preserve_type_info(*(type *)0, 2)
#define value_exists(type, value) __builtin_preserve_enum_value(*(type *)value, 0)
#define value_of(type, value) __builtin_preserve_enum_value(*(type *)value, 1)

__u64 results[64];
#define ask(what) results[at++] = (what)

SEC("xdp")
int fields(struct xdp_md *ctx)
{
	int at = 0;

	ask(offset(struct thing___mine, number));
	ask(offset(struct thing___mine, inner[1].raw[2]));
	ask(offset(struct thing___mine, tail[4].moved));
	ask(offset(struct thing___mine, next));
	ask(offset(struct thing___mine, across));
	ask(size(struct thing___mine, name));
	ask(size(struct thing___mine, grown));
	ask(size(struct thing___mine, across));
	ask(size(struct thing___mine, inner[1]));
	ask(exists(struct thing___mine, number));
	ask(exists(struct thing___mine, removed));
	ask(exists(struct thing___mine, inner[2]));
	ask(exists(struct thing___mine, inner[3]));
	ask(exists(struct absent, field));
	ask(is_signed(struct thing___mine, number));
	ask(is_signed(struct thing___mine, low));
	ask(is_signed(struct thing___mine, high));
	ask(left(struct thing___mine, low));
	ask(left(struct thing___mine, high));
	ask(left(struct thing___mine, across));
	ask(right(struct thing___mine, low));
	ask(right(struct thing___mine, high));
	ask(right(struct thing___mine, across));
	ask(right(struct thing___mine, number));
	ask(exists(union either, number));
	return 2;
}

SEC("xdp")
int types(struct xdp_md *ctx)
{
	int at = 0;

	ask(type_exists(struct thing___mine));
	ask(type_exists(struct absent));
	ask(type_exists(counter));
	ask(type_size(struct thing___mine));
	ask(type_size(struct absent));
	ask(type_size(union either));
	ask(type_matches(struct grown));
	ask(type_matches(struct grown___wrong));
	ask(type_matches(enum state));
	ask(__builtin_btf_type_id(*(struct thing___mine *)0, 0));
	ask(__builtin_btf_type_id(*(struct thing___mine *)0, 1));
	ask(__builtin_btf_type_id(*(struct absent *)0, 1));
	return 2;
}

SEC("xdp")
int enumerators(struct xdp_md *ctx)
{
	int at = 0;

	ask(value_exists(enum state, STATE_NEW));
	ask(value_exists(enum state, STATE_GONE));
	ask(value_exists(enum absent_state, ABSENT));
	ask(value_of(enum state, STATE_NEW));
	ask(value_of(enum state, STATE_OLD));
	ask(value_of(enum wide_state___mine, WIDE_FIRST___mine));
	ask(value_of(enum wide_state___mine, WIDE_SECOND___mine));
	return 2;
}

/* A shorter unsigned field gets a longer load, and so does a pointer. */
SEC("xdp")
int loads(struct xdp_md *ctx)
{
	struct thing___mine *thing = (void *)(long)ctx->data;

	results[0] = thing->grown;
	results[1] = (long)thing->next->next;
	results[2] = thing->inner[1].choice;
	thing->grown = 7;
	return thing->number;
}

SEC("xdp")
int same_answer_from_both(struct xdp_md *ctx)
{
	return ((struct twice *)(long)ctx->data)->value;
}

SEC("xdp")
int ambiguous(struct xdp_md *ctx)
{
	return ((struct twice *)(long)ctx->data)->other;
}

/* What the kernel lacks becomes an instruction that must not be reached. */
SEC("xdp")
int guarded(struct xdp_md *ctx)
{
	struct thing___mine *thing = (void *)(long)ctx->data;

	if (exists(struct thing___mine, removed))
		return thing->removed;
	return value_exists(enum state, STATE_GONE) ? value_of(enum state, STATE_GONE) : 2;
}

SEC("xdp")
int no_such_type(struct xdp_md *ctx)
{
	return ((struct absent *)(long)ctx->data)->field;
}
