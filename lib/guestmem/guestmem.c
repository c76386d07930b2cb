/* SPDX-License-Identifier: BSD-3-Clause */
/* Access to guest memory; the map of regions is in region_map.c. */
#include "guestmem/guestmem.h"

#include <string.h>

#include "base/endian.h"
#include <viommu/viommu.h>

/* A region may begin or end in the middle of a word: such a word is in no region. */
static bool holds_word(const struct vi_region *r, uint64_t gpa, unsigned size, unsigned need)
{
	return gpa >= r->first && gpa <= r->last && r->last - gpa >= size - 1 && (need & ~r->flags) == 0 &&
	       !vi_is_message(gpa);
}

/* Where an aligned word of `size` bytes lies. */
static const struct vi_region *find_word(const struct vi_guestmem *gm, uint64_t gpa, unsigned size,
					 unsigned need)
{
	const struct vi_region *r = vi_guestmem_find(gm, gpa);

	return r && holds_word(r, gpa, size, need) ? r : NULL;
}

/* A region's host address need not be aligned as its gpa is; then the word is not one access. */
static bool is_word_aligned(const void *p, unsigned size)
{
	return ((uintptr_t)p & (size - 1)) == 0;
}

static bool load(const struct vi_guestmem *gm, const struct vi_region *r, uint64_t gpa, uint64_t *ret_value)
{
	uint64_t word;

	if (r->host && is_word_aligned(r->host + (gpa - r->first), 8)) {
		*ret_value = vi_load_le64(r->host + (gpa - r->first));
		return true;
	}
	if (r->host)
		memcpy(&word, r->host + (gpa - r->first), 8);
	else if (!gm->ops->table_read || gm->ops->table_read(gm->opaque, gpa, &word, 8) != 0)
		return false;
	*ret_value = le64toh(word);
	return true;
}

bool vi_guestmem_load64(const struct vi_guestmem *gm, uint64_t gpa, uint64_t *ret_value)
{
	const struct vi_region *r = find_word(gm, gpa, 8, VIOMMU_MEM_READ);

	return r && load(gm, r, gpa, ret_value);
}

bool vi_guestmem_load64_near(struct vi_guestmem_cursor *c, uint64_t gpa, uint64_t *ret_value)
{
	if (!c->region || !holds_word(c->region, gpa, 8, VIOMMU_MEM_READ))
		c->region = find_word(c->gm, gpa, 8, VIOMMU_MEM_READ);
	return c->region && load(c->gm, c->region, gpa, ret_value);
}

/* Both words by one load of the CPU: a CPU with AVX makes aligned 16-byte loads atomic. False: it cannot. */
static bool load_at_once(const uint8_t *host, uint64_t ret_words[2])
{
#ifdef __x86_64__
	typedef uint64_t pair __attribute__((vector_size(16)));
	pair words;

	if (!is_word_aligned(host, 16) || !__builtin_cpu_supports("avx"))
		return false;
	/* The clobber keeps later loads behind this one, as acquire does. */
	__asm__ volatile("vmovdqa %1, %0" : "=x"(words) : "m"(*(const pair *)(const void *)host) : "memory");
	ret_words[0] = le64toh(words[0]);
	ret_words[1] = le64toh(words[1]);
	return true;
#else
	(void)host;
	(void)ret_words;
	return false;
#endif
}

/* A guest that changes an entry more often than this while it is read does so for that purpose. */
#define LOOKS 16

/*
 * Low, high, low again: when the low word did not change, the high one belongs
 * to it, unless the low word changed twice, away and back, in between. Then the
 * guest replaced the entry twice without a completed invalidation after the
 * first time, as that would have waited for the section that this look is in;
 * and whatever is cached of a mixed entry carries the domain of an entry that
 * the guest has yet to invalidate.
 */
static bool load_in_turns(const struct vi_guestmem *gm, const struct vi_region *r, uint64_t gpa,
			  uint64_t ret_words[2])
{
	uint64_t low, high, again;

	for (unsigned i = 0; i < LOOKS; i++) {
		if (!load(gm, r, gpa, &low) || !load(gm, r, gpa + 8, &high) || !load(gm, r, gpa, &again))
			return false;
		if (low == again) {
			ret_words[0] = low;
			ret_words[1] = high;
			return true;
		}
	}
	return false;
}

bool vi_guestmem_load128(const struct vi_guestmem *gm, uint64_t gpa, uint64_t ret_words[2])
{
	const struct vi_region *r = find_word(gm, gpa, 16, VIOMMU_MEM_READ);

	if (!r)
		return false;
	return (r->host && load_at_once(r->host + (gpa - r->first), ret_words)) ||
	       load_in_turns(gm, r, gpa, ret_words);
}

static bool store(const struct vi_guestmem *gm, uint64_t gpa, uint64_t value, unsigned size)
{
	const struct vi_region *r = find_word(gm, gpa, size, VIOMMU_MEM_WRITE);
	uint64_t word = htole64(value);
	uint8_t *host;

	if (!r)
		return false;
	if (!r->host)
		return gm->ops->table_write && gm->ops->table_write(gm->opaque, gpa, &word, size) == 0;
	host = r->host + (gpa - r->first);
	if (!is_word_aligned(host, size))
		memcpy(host, &word, size);
	else if (size == 8)
		vi_store_le64(host, value);
	else
		vi_store_le32(host, (uint32_t)value);
	return true;
}

bool vi_guestmem_store32(const struct vi_guestmem *gm, uint64_t gpa, uint32_t value)
{
	return store(gm, gpa, value, 4);
}

bool vi_guestmem_store64(const struct vi_guestmem *gm, uint64_t gpa, uint64_t value)
{
	return store(gm, gpa, value, 8);
}
