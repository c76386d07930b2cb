/* SPDX-License-Identifier: BSD-3-Clause */
/* Access to guest memory; the map of regions is in region_map.c. */
#include "guestmem/guestmem.h"

#include <string.h>

#include "base/endian.h"
#include <viommu/viommu.h>

/*
 * Where an aligned word of `size` bytes lies. A region may begin or end in the
 * middle of a word: such a word is in no region.
 */
static const struct vi_region *find_word(const struct vi_guestmem *gm, uint64_t gpa, unsigned size,
					 unsigned need)
{
	const struct vi_region *r = vi_guestmem_find(gm, gpa);

	if (!r || r->last - gpa < size - 1 || (need & ~r->flags) != 0)
		return NULL;
	return r;
}

/* A region's host address need not be aligned as its gpa is; then the word is not one access. */
static bool is_word_aligned(const void *p, unsigned size)
{
	return ((uintptr_t)p & (size - 1)) == 0;
}

bool vi_guestmem_load64(const struct vi_guestmem *gm, uint64_t gpa, uint64_t *ret_value)
{
	const struct vi_region *r = find_word(gm, gpa, 8, VIOMMU_MEM_READ);
	uint64_t word;

	if (!r)
		return false;
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
