/* SPDX-License-Identifier: BSD-3-Clause */
#include "tables.h"

#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <viommu/viommu.h>

#include "testing.h"

#define ENTRIES	    512
#define TABLE_BYTES (TABLE_MOST * PAGE - PAGE / 2)

static bool is_set(uint64_t word, unsigned bit)
{
	return word / (UINT64_C(1) << bit) % 2 == 1;
}

static bool is_any_set(uint64_t word, unsigned first_bit, unsigned end_bit)
{
	for (unsigned bit = first_bit; bit < end_bit; bit++)
		if (is_set(word, bit))
			return true;
	return false;
}

/* The numbers are those of the specification's figure: VT-d, second-stage paging entries. */
static struct meaning interpret_vtd_second_stage(uint64_t entry, unsigned level, const struct vi_pgtable *t)
{
	struct meaning m = {.kind = ABSENT};
	bool leaf = level == 1 || is_set(entry, 7);

	m.access = (is_set(entry, 0) ? READ : 0) + (is_set(entry, 1) ? WRITE : 0);
	if (!is_set(entry, 0) && !is_set(entry, 1))
		return m;
	m.kind = leaf ? PAGE_LEAF : NEXT_TABLE;
	m.address = entry % (UINT64_C(1) << 52) / PAGE * PAGE;
	if (is_set(entry, 11) || is_set(entry, 62) || is_any_set(entry, t->address_width, 52))
		m.kind = MALFORMED;
	if (leaf && (!is_set(t->leaf_levels, level) || is_any_set(entry, 12, 12 + 9 * (level - 1))))
		m.kind = MALFORMED;
	return m;
}

static uint64_t compose_vtd_second_stage(uint64_t address, bool leaf, unsigned level, unsigned access)
{
	return address + (access & READ ? 1 : 0) + (access & WRITE ? 2 : 0) + (leaf && level > 1 ? 128 : 0);
}

const struct format_case format_cases[] = {
	{&vi_pgtable_vtd_second_stage, 3, 4, interpret_vtd_second_stage, compose_vtd_second_stage},
};
const unsigned format_count = VI_ARRAY_SIZE(format_cases);

static int table_read(void *opaque, uint64_t gpa, void *buf, size_t len)
{
	struct tables *m = opaque;

	if (++m->loads == m->fail_load)
		return -EIO;
	memcpy(buf, (uint8_t *)m->words + (gpa - TABLE_GPA), len);
	return 0;
}

static const struct viommu_host_ops ops = {.sz = sizeof(ops), .table_read = table_read};

void tables_init(struct tables *m, bool called)
{
	struct vi_region r = {TABLE_GPA, TABLE_GPA + TABLE_BYTES - 1, NULL, VIOMMU_MEM_READ, 0};
	struct vi_region unreadable = {TABLE_GPA + TABLE_MOST * PAGE,
				       TABLE_GPA + TABLE_MOST * PAGE + PAGE - 1, NULL, VIOMMU_MEM_WRITE, 0};

	*m = (struct tables){.called = called, .words = aligned_alloc(PAGE, TABLE_MOST * PAGE)};
	assert_non_null(m->words);
	if (!called)
		r.host = (uint8_t *)m->words;
	assert_int_equal(vi_guestmem_init(&m->gm, &ops, m), 0);
	assert_int_equal(vi_guestmem_add(&m->gm, &r), 0);
	assert_int_equal(vi_guestmem_add(&m->gm, &unreadable), 0);
	tables_clear(m);
}

void tables_finish(struct tables *m)
{
	vi_guestmem_finish(&m->gm);
	free(m->words);
}

void tables_clear(struct tables *m)
{
	memset(m->words, 0, TABLE_MOST * PAGE);
}

uint64_t tables_gpa(unsigned page)
{
	return TABLE_GPA + page * PAGE;
}

void tables_set(struct tables *m, unsigned page, unsigned index, uint64_t entry)
{
	m->words[page * ENTRIES + index] = htole64(entry);
}

uint64_t tables_get(const struct tables *m, unsigned page, unsigned index)
{
	return le64toh(m->words[page * ENTRIES + index]);
}

unsigned index_at(uint64_t iova, unsigned level)
{
	uint64_t page = iova / PAGE;

	while (--level > 0)
		page /= ENTRIES;
	return page % ENTRIES;
}

uint64_t iova_of(const unsigned index[4])
{
	return (((index[3] * UINT64_C(512) + index[2]) * 512 + index[1]) * 512 + index[0]) * PAGE;
}

static uint64_t size_at(unsigned level)
{
	uint64_t size = PAGE;

	while (--level > 0)
		size *= ENTRIES;
	return size;
}

static bool oracle_load(const struct tables *m, uint64_t table, unsigned index, uint64_t *ret_entry)
{
	if (table < TABLE_GPA || table >= TABLE_GPA + TABLE_BYTES ||
	    table + index * 8 >= TABLE_GPA + TABLE_BYTES)
		return false;
	*ret_entry = tables_get(m, (unsigned)((table - TABLE_GPA) / PAGE), index);
	return true;
}

/* One need at least: with `any` a single right that all levels grant is enough. */
static bool is_lacking(unsigned access, unsigned need, bool any)
{
	unsigned granted = access & need;

	return any ? granted == 0 : granted != need;
}

struct vi_walk oracle_walk(const struct tables *m, const struct format_case *f, const struct vi_pgtable *t,
			   uint64_t iova, unsigned need, bool any, unsigned *ret_loads)
{
	struct vi_walk w = {.level = t->levels, .access = RW};
	uint64_t table = t->root, entry = 0;

	for (*ret_loads = 1;; ++*ret_loads, w.level--) {
		struct meaning e;

		w.result = VI_WALK_TABLE_ACCESS;
		if (*ret_loads == m->fail_load || !oracle_load(m, table, index_at(iova, w.level), &entry))
			return w;
		e = f->interpret(entry, w.level, t);
		w.access &= e.access;
		w.result = VI_WALK_DENIED;
		if (e.kind == ABSENT || is_lacking(w.access, need, any))
			return w;
		w.result = VI_WALK_RESERVED;
		if (e.kind == MALFORMED)
			return w;
		if (e.kind == PAGE_LEAF) {
			w.result = VI_WALK_OK;
			w.address = e.address;
			return w;
		}
		table = e.address;
	}
}

static void enumerate(const struct tables *m, const struct format_case *f, const struct vi_pgtable *t,
		      struct leaves *out, uint64_t table, unsigned level, uint64_t first, unsigned access)
{
	for (unsigned i = 0; i < ENTRIES; i++, first += size_at(level)) {
		uint64_t entry;
		struct meaning e;

		if (!oracle_load(m, table, i, &entry))
			continue;
		e = f->interpret(entry, level, t);
		if (e.kind == ABSENT || e.kind == MALFORMED || (e.access & access) == 0)
			continue;
		if (e.kind == NEXT_TABLE) {
			enumerate(m, f, t, out, e.address, level - 1, first, access & e.access);
			continue;
		}
		assert_true(out->count < out->most);
		out->leaf[out->count++] =
			(struct vi_leaf){first, first + size_at(level) - 1, e.address, access & e.access};
	}
}

void oracle_enumerate(const struct tables *m, const struct format_case *f, const struct vi_pgtable *t,
		      struct leaves *out)
{
	enumerate(m, f, t, out, t->root, t->levels, 0, RW);
}

bool is_same_walk(const struct vi_walk *a, const struct vi_walk *b)
{
	return a->result == b->result && a->level == b->level && a->access == b->access &&
	       (a->result != VI_WALK_OK || a->address == b->address);
}

void check_walk(struct tables *m, const struct format_case *f, const struct vi_pgtable *t, uint64_t iova,
		unsigned need, bool any)
{
	unsigned loads;
	struct vi_walk want = oracle_walk(m, f, t, iova, need, any, &loads), got;

	m->loads = 0;
	got = vi_pgtable_walk(t, &m->gm, iova, need, any);
	if (!is_same_walk(&got, &want))
		fail_msg("%s, %u levels, leaves %#x, iova %#llx, need %u, any %d: result %d level %u access "
			 "%u address "
			 "%#llx, not %d %u %u %#llx",
			 f->format->name, t->levels, t->leaf_levels, (unsigned long long)iova, need, any,
			 got.result, got.level, got.access, (unsigned long long)got.address, want.result,
			 want.level, want.access, (unsigned long long)want.address);
	/* Each entry once: a second look could find another value. Tables out of memory are not asked for. */
	if (m->called && (want.result != VI_WALK_TABLE_ACCESS || m->fail_load))
		assert_int_equal(m->loads, loads);
}

void check_walks(struct tables *m, const struct format_case *f, const struct vi_pgtable *t, uint64_t iova)
{
	static const struct {
		unsigned need;
		bool any;
	} asks[] = {{READ, false}, {WRITE, false}, {RW, false}, {READ, true}, {WRITE, true}, {RW, true}};

	for (unsigned i = 0; i < VI_ARRAY_SIZE(asks); i++)
		check_walk(m, f, t, iova, asks[i].need, asks[i].any);
}
