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
	m.next = level - 1;
	m.size_lg2 = 12 + 9 * (level - 1);
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

/* AMD-Vi, I/O page table entry for host translations. */
static struct meaning interpret_amd_v1(uint64_t entry, unsigned level, const struct vi_pgtable *t)
{
	struct meaning m = {.kind = ABSENT};
	unsigned usual = 12 + 9 * (level - 1), zero = 12;

	if (!is_set(entry, 0))
		return m;
	m.access = (is_set(entry, 61) ? READ : 0) + (is_set(entry, 62) ? WRITE : 0);
	m.next = (is_set(entry, 9) ? 1 : 0) + (is_set(entry, 10) ? 2 : 0) + (is_set(entry, 11) ? 4 : 0);
	m.address = entry % (UINT64_C(1) << 52) / PAGE * PAGE;
	if (m.next > 0 && m.next < 7) {
		bool bad = is_any_set(entry, 52, 61) || is_any_set(entry, t->address_width, 52);

		m.kind = bad ? MALFORMED : m.next < level ? NEXT_TABLE : MISPLACED;
		return m;
	}
	while (zero < 52 && is_set(entry, zero))
		zero++;
	m.size_lg2 = m.next == 7 ? zero + 1 : usual;
	m.address = m.address / (UINT64_C(1) << m.size_lg2) * (UINT64_C(1) << m.size_lg2);
	if (is_any_set(entry, 52, 59))
		m.kind = MALFORMED;
	else if (level == 6 || !is_set(t->leaf_levels, level))
		m.kind = MISPLACED;
	else if (m.next == 7 && (m.size_lg2 <= usual || m.size_lg2 >= usual + 9))
		m.kind = MISPLACED;
	else if (is_any_set(m.address, t->address_width, 52) || m.size_lg2 > t->address_width)
		m.kind = MALFORMED;
	else
		m.kind = PAGE_LEAF;
	return m;
}

static uint64_t compose_amd_v1(uint64_t address, bool leaf, unsigned level, unsigned access)
{
	return address + 1 + (leaf ? 0 : (level - 1) * UINT64_C(512)) +
	       (access & READ ? UINT64_C(1) << 61 : 0) + (access & WRITE ? UINT64_C(1) << 62 : 0);
}

static uint64_t compose_amd_v1_sized(uint64_t address, unsigned size_lg2, unsigned access)
{
	uint64_t ones = (UINT64_C(1) << (size_lg2 - 1)) / PAGE * PAGE - PAGE;

	return compose_amd_v1(address / (UINT64_C(1) << size_lg2) * (UINT64_C(1) << size_lg2) + ones, true, 1,
			      access) +
	       7 * 512;
}

/* AMD64, page translation table entries of long mode. */
static struct meaning interpret_amd_v2(uint64_t entry, unsigned level, const struct vi_pgtable *t)
{
	struct meaning m = {.kind = ABSENT};
	bool large = level > 1 && is_set(entry, 7), leaf = large || level == 1;

	if (!is_set(entry, 0))
		return m;
	m.kind = leaf ? PAGE_LEAF : NEXT_TABLE;
	m.access = is_set(entry, 2) ? READ + (is_set(entry, 1) ? WRITE : 0) : 0;
	m.next = level - 1;
	m.size_lg2 = 12 + 9 * (level - 1);
	m.address = entry % (UINT64_C(1) << 52) / PAGE * PAGE;
	if (large && is_set(entry, 12))
		m.address -= PAGE; /* PAT */
	if (is_any_set(entry, t->address_width, 52) || (level > 3 && (is_set(entry, 7) || is_set(entry, 8))))
		m.kind = MALFORMED;
	if (leaf && !is_set(t->leaf_levels, level))
		m.kind = MALFORMED;
	if (large && is_any_set(entry, 13, 12 + 9 * (level - 1)))
		m.kind = MALFORMED;
	return m;
}

static uint64_t compose_amd_v2(uint64_t address, bool leaf, unsigned level, unsigned access)
{
	return address + 1 + (access & WRITE ? 2 : 0) + (access ? 4 : 0) + (leaf && level > 1 ? 128 : 0);
}

const struct format_case format_cases[] = {
	{.format = &vi_pgtable_vtd_second_stage,
	 .fewest_levels = 3,
	 .most_levels = 4,
	 .leaf_most = 3,
	 .interpret = interpret_vtd_second_stage,
	 .compose = compose_vtd_second_stage,
	 .absent = VI_WALK_DENIED,
	 .bad_leaf = VI_WALK_RESERVED,
	 .write_only = WRITE,
	 .ignored = VI_BITS(6, 3) | VI_BITS(10, 8) | VI_BITS(61, 52) | VI_BIT(63)},
	{.format = &vi_pgtable_amd_v1,
	 .fewest_levels = 1,
	 .most_levels = 6,
	 .leaf_most = 5,
	 .interpret = interpret_amd_v1,
	 .compose = compose_amd_v1,
	 .compose_sized = compose_amd_v1_sized,
	 .absent = VI_WALK_NOT_PRESENT,
	 .bad_leaf = VI_WALK_BAD_LEVEL,
	 .write_only = WRITE,
	 .ignored = VI_BITS(8, 1) | VI_BIT(63),
	 .names_level = true},
	{.format = &vi_pgtable_amd_v2,
	 .fewest_levels = 4,
	 .most_levels = 5,
	 .leaf_most = 3,
	 .interpret = interpret_amd_v2,
	 .compose = compose_amd_v2,
	 .absent = VI_WALK_NOT_PRESENT,
	 .bad_leaf = VI_WALK_RESERVED,
	 .write_only = RW,
	 .ignored = VI_BITS(6, 3) | VI_BITS(11, 9) | VI_BITS(63, 52)},
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

uint64_t iova_of(const unsigned index[LEVELS_MOST])
{
	uint64_t page = 0;

	for (unsigned level = LEVELS_MOST; level > 0; level--)
		page = page * ENTRIES + index[level - 1];
	return page * PAGE;
}

uint64_t last_iova(unsigned levels)
{
	return levels < LEVELS_MOST ? (UINT64_C(1) << (12 + 9 * levels)) - 1 : UINT64_MAX;
}

uint8_t leaf_levels_of(const struct format_case *f, unsigned sizes)
{
	unsigned levels = sizes << 1 | (sizes & 3) << 4;

	return (uint8_t)(levels % (2u << f->leaf_most));
}

unsigned granted_by(const struct format_case *f, unsigned access)
{
	return access == WRITE ? f->write_only : access;
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

/* What is wrong with the entry, in the order in which its format looks at it. */
static enum vi_walk_result judge(const struct format_case *f, const struct meaning *e, bool lacking)
{
	bool rights_first = f->absent == VI_WALK_DENIED;

	if (e->kind == ABSENT)
		return f->absent;
	if (lacking && rights_first)
		return VI_WALK_DENIED;
	if (e->kind == MALFORMED)
		return VI_WALK_RESERVED;
	if (e->kind == MISPLACED)
		return VI_WALK_BAD_LEVEL;
	return lacking ? VI_WALK_DENIED : VI_WALK_OK;
}

static bool is_in_skipped(uint64_t iova, unsigned level, unsigned next)
{
	while (--level > next)
		if (index_at(iova, level) != 0)
			return true;
	return false;
}

struct vi_walk oracle_walk(const struct tables *m, const struct format_case *f, const struct vi_pgtable *t,
			   uint64_t iova, unsigned need, bool any, unsigned *ret_loads)
{
	struct vi_walk w = {.level = t->levels, .access = RW};
	uint64_t table = t->root, entry = 0;

	for (*ret_loads = 1;; ++*ret_loads) {
		struct meaning e;

		w.result = VI_WALK_TABLE_ACCESS;
		if (*ret_loads == m->fail_load || !oracle_load(m, table, index_at(iova, w.level), &entry))
			return w;
		e = f->interpret(entry, w.level, t);
		w.access &= e.access;
		w.result = judge(f, &e, is_lacking(w.access, need, any));
		if (w.result != VI_WALK_OK)
			return w;
		if (e.kind == PAGE_LEAF) {
			w.address = e.address;
			w.size_lg2 = (uint8_t)e.size_lg2;
			return w;
		}
		w.result = VI_WALK_BAD_LEVEL;
		if (is_in_skipped(iova, w.level, e.next))
			return w;
		table = e.address;
		w.level = e.next;
	}
}

static void enumerate(const struct tables *m, const struct format_case *f, const struct vi_pgtable *t,
		      struct leaves *out, uint64_t table, unsigned level, uint64_t first, unsigned access)
{
	unsigned entries = level < LEVELS_MOST ? ENTRIES : 128; /* 64 bits have no more */

	for (unsigned i = 0; i < entries; i++, first += size_at(level)) {
		uint64_t entry;
		struct meaning e;

		if (!oracle_load(m, table, i, &entry))
			continue;
		e = f->interpret(entry, level, t);
		if ((e.kind != NEXT_TABLE && e.kind != PAGE_LEAF) || (e.access & access) == 0)
			continue;
		if (e.kind == NEXT_TABLE) {
			enumerate(m, f, t, out, e.address, e.next, first, access & e.access);
			continue;
		}
		assert_true(out->count < out->most);
		out->leaf[out->count++] =
			(struct vi_leaf){first, first + size_at(level) - 1,
					 e.address + first % (UINT64_C(1) << e.size_lg2), access & e.access};
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
	       (a->result != VI_WALK_OK || (a->address == b->address && a->size_lg2 == b->size_lg2));
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
