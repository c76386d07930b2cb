/* SPDX-License-Identifier: BSD-3-Clause */
#include "driver/page_table.h"

#include <errno.h>

#include "base/bits.h"

int vi_driver_page_table_init(struct vi_driver_page_table *p, const struct vi_pgtable_format *format,
			      unsigned levels, unsigned address_width, unsigned leaf_levels,
			      struct vi_driver_memory *memory)
{
	p->memory = memory;
	p->table = (struct vi_pgtable){
		.format = format,
		.root = vi_driver_page_alloc(memory),
		.levels = (uint8_t)levels,
		.address_width = (uint8_t)address_width,
		.leaf_levels = (uint8_t)leaf_levels,
	};
	return p->table.root ? 0 : -ENOMEM;
}

static struct vi_pte load(const struct vi_driver_page_table *p, uint64_t entry_gpa, unsigned level)
{
	return p->table.format->decode(&p->table, vi_driver_load64(p->memory, entry_gpa), level);
}

static void free_below(struct vi_driver_page_table *p, uint64_t table, unsigned level)
{
	for (unsigned i = 0; level > 1 && i < vi_pgtable_entries(p->table.format); i++) {
		struct vi_pte pte = load(p, table + i * 8, level);

		if (pte.kind == VI_PTE_TABLE)
			free_below(p, pte.address, level - 1);
	}
	vi_driver_page_free(p->memory, table);
}

void vi_driver_page_table_finish(struct vi_driver_page_table *p)
{
	free_below(p, p->table.root, p->table.levels);
}

/* The largest level, `most` or below, whose page fits at this place. */
static unsigned leaf_level(const struct vi_driver_page_table *p, uint64_t iova, uint64_t gpa, uint64_t size,
			   unsigned most)
{
	unsigned level = most;

	while (level > 1) {
		uint64_t page = vi_pgtable_page_size(p->table.format, level);

		if (p->table.leaf_levels & (1u << level) && vi_is_aligned(iova | gpa, page) && size >= page)
			break;
		level--;
	}
	return level;
}

/* Down to the table at `level`, making those that lack. */
static int reach_table(struct vi_driver_page_table *p, uint64_t iova, unsigned level, uint64_t *ret_entry)
{
	uint64_t table = p->table.root;

	for (unsigned l = p->table.levels; l > level; l--) {
		uint64_t entry = vi_pgtable_entry_gpa(p->table.format, table, iova, l);
		struct vi_pte pte = load(p, entry, l);

		if (pte.kind == VI_PTE_LEAF)
			return -EEXIST;
		if (pte.kind == VI_PTE_NONE) {
			pte.address = vi_driver_page_alloc(p->memory);
			if (!pte.address)
				return -ENOMEM;
			vi_driver_store64(p->memory, entry, p->table.format->encode_table(pte.address, l));
		}
		table = pte.address;
	}
	*ret_entry = vi_pgtable_entry_gpa(p->table.format, table, iova, level);
	return 0;
}

/* The entry for the largest leaf that fits. Where a table is, even an empty one, go below it. */
static int reach_leaf(struct vi_driver_page_table *p, uint64_t iova, uint64_t gpa, uint64_t size,
		      unsigned *ret_level, uint64_t *ret_entry)
{
	unsigned most = p->table.levels;
	enum vi_pte_kind kind;

	do {
		unsigned level = leaf_level(p, iova, gpa, size, most);
		int ret = reach_table(p, iova, level, ret_entry);

		if (ret)
			return ret;
		kind = load(p, *ret_entry, level).kind;
		*ret_level = level;
		most = level - 1;
	} while (kind == VI_PTE_TABLE);
	return kind == VI_PTE_NONE ? 0 : -EEXIST;
}

static bool is_range(const struct vi_driver_page_table *p, uint64_t iova, uint64_t size)
{
	uint64_t last;

	return vi_is_aligned(iova | size, VI_PAGE_SIZE) && vi_last_of(iova, size, &last) &&
	       last <= vi_pgtable_last(&p->table);
}

/* Each leaf of the range: is there room for it, or write it. */
static int map_leaves(struct vi_driver_page_table *p, uint64_t iova, uint64_t gpa, uint64_t size,
		      unsigned access, bool write)
{
	while (size > 0) {
		unsigned level = 0;
		uint64_t page, entry = 0;
		int ret = reach_leaf(p, iova, gpa, size, &level, &entry);

		if (ret)
			return ret;
		page = vi_pgtable_page_size(p->table.format, level);
		if (write)
			vi_driver_store64(p->memory, entry, p->table.format->encode_leaf(gpa, level, access));
		iova += page;
		gpa += page;
		size -= page;
	}
	return 0;
}

/* All tables first: a device must not see, and cache, half of a range that is then taken back. */
int vi_driver_map(struct vi_driver_page_table *p, uint64_t iova, uint64_t gpa, uint64_t size, unsigned access)
{
	int ret = 0;

	if (!is_range(p, iova, size) || !vi_is_aligned(gpa, VI_PAGE_SIZE))
		return -EINVAL;
	if (size > VI_PAGE_SIZE) /* one page is one leaf */
		ret = map_leaves(p, iova, gpa, size, access, false);
	return ret ? ret : map_leaves(p, iova, gpa, size, access, true);
}

/* The entry that ends the walk of iova, and its level. */
static uint64_t last_entry(const struct vi_driver_page_table *p, uint64_t iova, unsigned lowest,
			   unsigned *ret_level)
{
	uint64_t table = p->table.root, entry = 0;
	unsigned level;

	for (level = p->table.levels; level >= lowest; level--) {
		struct vi_pte pte;

		entry = vi_pgtable_entry_gpa(p->table.format, table, iova, level);
		*ret_level = level;
		pte = load(p, entry, level);
		if (pte.kind != VI_PTE_TABLE)
			break;
		table = pte.address;
	}
	return entry;
}

int64_t vi_driver_unmap(struct vi_driver_page_table *p, uint64_t iova, uint64_t size)
{
	uint64_t last = iova + size - 1;
	int64_t unmapped = 0;

	if (!is_range(p, iova, size))
		return -EINVAL;
	for (;;) {
		unsigned level = 1;
		uint64_t entry = last_entry(p, iova, 1, &level),
			 page = vi_pgtable_page_size(p->table.format, level);

		if (load(p, entry, level).kind == VI_PTE_LEAF) {
			if (!vi_is_aligned(iova, page) || last - iova < page - 1)
				return -EINVAL;
			vi_driver_store64(p->memory, entry, 0);
			unmapped += (int64_t)page;
		}
		iova = vi_align_down(iova, page);
		if (last - iova < page)
			break; /* 64 bits have no iova after the last */
		iova += page;
	}
	return unmapped;
}

uint64_t vi_driver_entry_gpa(const struct vi_driver_page_table *p, uint64_t iova, unsigned level)
{
	unsigned reached = 0;
	uint64_t entry = last_entry(p, iova, level, &reached);

	return reached == level ? entry : 0;
}
