/* A 32-bit hash of words on the stack: multiply, rotate, mix. Good spread, no cryptographic claim. */
#pragma once
#include "flow.h"

static __always_inline __u32 hash_word(__u32 hash, __u32 word)
{
	word *= 0xcc9e2d51;
	word = word << 15 | word >> 17;
	word *= 0x1b873593;
	hash ^= word;
	hash = hash << 13 | hash >> 19;
	return hash * 5 + 0xe6546b64;
}

static __always_inline __u32 hash_finish(__u32 hash)
{
	hash ^= hash >> 16;
	hash *= 0x85ebca6b;
	hash ^= hash >> 13;
	hash *= 0xc2b2ae35;
	return hash ^ hash >> 16;
}

static __always_inline __u32 hash_address(__u32 hash, const struct address *address)
{
#pragma unroll
	for (int i = 0; i < 4; i++)
		hash = hash_word(hash, address->word[i]);
	return hash;
}

static __always_inline __u32 hash_flow(const struct flow *flow, __u32 seed)
{
	__u32 hash = hash_address(seed, &flow->src);

	hash = hash_address(hash, &flow->dst);
	hash = hash_word(hash, (__u32)flow->src_port << 16 | flow->dst_port);
	return hash_finish(hash_word(hash, flow->proto));
}
