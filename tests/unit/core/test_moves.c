/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Entries of two words that the guest exchanges as a whole while they are read.
 * A device moves from one domain to another so (Xen does), and only the domain
 * that it leaves is invalidated: what was read half before and half after the
 * exchange would be the old domain's tables under the new domain's number, and
 * stay in the IOTLB.
 */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "base/bits.h"
#include "machine.h"

#define IOVA  UINT64_C(0x1000)
#define GPA   UINT64_C(0x200000)
#define ENTRY ((MACHINE_RID & 0xffu) * VTD_CONTEXT_ENTRY_SIZE)

/* Two domains; the page at IOVA holds the domain's number. */
struct world {
	struct machine m;
	struct vi_driver_page_table tables[2];
	uint64_t entries[2][2]; /* low and high word of the context entry */
	unsigned exchanges;
};

static const uint16_t domains[2] = {MACHINE_DOMAIN, 9};

static void set_up(struct world *w)
{
	memset(w, 0, sizeof(*w));
	machine_start(&w->m, TRAPPED, NULL, true);
	for (unsigned i = 0; i < 2; i++) {
		uint64_t gpa = GPA + i * 4096, number = domains[i];

		assert_int_equal(vi_driver_vtd_table_init(&w->m.driver, &w->tables[i], 4), 0);
		assert_int_equal(vi_driver_map(&w->tables[i], IOVA, gpa, 4096, 3), 0);
		memcpy(w->m.ram + gpa, &number, sizeof(number));
		w->entries[i][0] = w->tables[i].table.root | VTD_CONTEXT_LO_P;
		w->entries[i][1] = vi_to_field(VTD_CONTEXT_HI_DID, domains[i]) | VTD_AW_48BIT;
	}
}

/* ---------------------------------------------- an exchange at the worst moment */

/* The context table behind a callback: the exchange comes between the reads of two words. */
static void exchange_in_between(struct machine *m, uint64_t gpa)
{
	struct world *w = VI_CONTAINER_OF(m, struct world, m);

	if (gpa - MACHINE_FAR != ENTRY || w->exchanges == 0)
		return;
	w->exchanges--;
	memcpy(m->far + ENTRY, w->entries[w->exchanges % 2 == 0], 16);
}

static void begin_behind_callback(struct world *w)
{
	set_up(w);
	memcpy(w->m.far + ENTRY, w->entries[0], 16);
	vi_driver_store64(&w->m.memory, w->m.driver.root, MACHINE_FAR | VTD_ROOT_LO_P);
	assert_int_equal(vi_driver_vtd_flush_contexts(&w->m.driver, VTD_GRANULARITY_GLOBAL, 0, 0, 0), 0);
	w->m.during_table_read = exchange_in_between;
}

static void test_both_words_are_of_one_moment(void **state)
{
	struct viommu_requester_info info;
	uint64_t number = 0;
	struct world w;

	(void)state;
	begin_behind_callback(&w);
	w.exchanges = 1;
	assert_int_equal(machine_read(&w.m, IOVA, &number, sizeof(number)), 0);
	assert_int_equal(w.exchanges, 0);
	assert_int_equal(number, domains[1]);
	/* And by the way that `viommu dump` looks. */
	assert_int_equal(vi_driver_vtd_flush_contexts(&w.m.driver, VTD_GRANULARITY_GLOBAL, 0, 0, 0), 0);
	w.exchanges = 2;
	info.sz = sizeof(info);
	assert_int_equal(viommu_requester_describe(w.m.device, &info), 0);
	assert_int_equal(w.exchanges, 0);
	assert_memory_equal(info.entries[1].words, w.entries[1], 16);
	machine_finish(&w.m);
}

/* A guest that never stops is told that the entry cannot be read; nobody loops for it. */
static void test_changes_without_end(void **state)
{
	uint64_t number;
	struct world w;

	(void)state;
	begin_behind_callback(&w);
	w.exchanges = 999999; /* odd: the first is to the other entry */
	assert_int_equal(machine_read(&w.m, IOVA, &number, sizeof(number)), -EACCES);
	assert_true(w.exchanges > 999999 - 1000);
	machine_expect_fault(&w.m, VTD_FR_CONTEXT_TABLE_ACCESS, IOVA, false);
	machine_finish(&w.m);
}

/* --------------------------------------------------------------- real threads */

#ifdef __x86_64__

#define MOVES 40000
#define SPINS 512

struct mover {
	struct world *w;
	struct viommu_thread *thread;
	_Atomic bool stop;
	uint64_t reads;
};

static void exchange(uint64_t *entry, const uint64_t words[2])
{
	uint64_t low = entry[0], high = entry[1];

	__asm__ volatile("1: lock cmpxchg16b %0; jne 1b"
			 : "+m"(*(uint64_t(*)[2])entry), "+a"(low), "+d"(high)
			 : "b"(words[0]), "c"(words[1])
			 : "memory", "cc");
}

static void *read_on(void *arg)
{
	struct mover *mover = arg;
	uint64_t number;

	while (!atomic_load(&mover->stop))
		mover->reads +=
			viommu_read(mover->thread, mover->w->m.device, IOVA, &number, sizeof(number)) == 0;
	return NULL;
}

static void spin(unsigned turns)
{
	for (volatile unsigned i = 0; i < turns; i++)
		;
}

static void flush_context(struct world *w, uint16_t domain)
{
	assert_int_equal(vi_driver_vtd_flush_contexts(&w->m.driver, VTD_GRANULARITY_SELECTIVE, domain,
						      MACHINE_RID, 0),
			 0);
}

/*
 * `residents` never leave their domain, so each must read its page, whatever the
 * other device does. A first invalidation, which is not waited for, makes the
 * device read its entry about when the exchange comes.
 */
static void move(struct world *w, uint64_t *entry, struct viommu_requester *const residents[2], unsigned to,
		 unsigned delay)
{
	struct vi_driver_vtd *d = &w->m.driver;
	uint16_t left = domains[!to];
	uint64_t number = 0;

	vi_driver_vtd_submit(d,
			     VTD_QI_CONTEXT_CACHE |
				     vi_to_field(VTD_QI_GRANULARITY, VTD_GRANULARITY_SELECTIVE) |
				     vi_to_field(VTD_QI_CC_DID, left) |
				     vi_to_field(VTD_QI_CC_SID, MACHINE_RID),
			     0);
	spin(delay);
	exchange(entry, w->entries[to]);
	spin(SPINS); /* until what it read is in the caches */
	flush_context(w, left);
	assert_int_equal(vi_driver_vtd_flush_iotlb(d, VTD_GRANULARITY_DOMAIN, left, 0, 0), 0);
	assert_int_equal(viommu_read(w->m.thread, residents[to], IOVA, &number, sizeof(number)), 0);
	assert_int_equal(number, domains[to]);
}

static void test_moved_while_it_reads(void **state)
{
	struct viommu_requester *residents[2];
	struct mover mover = {0};
	uint64_t *entry, table;
	pthread_t thread;
	struct world w;

	(void)state;
	set_up(&w);
	for (unsigned i = 0; i < 2; i++) {
		uint16_t rid = (uint16_t)(MACHINE_RID + 8 + i);

		assert_int_equal(viommu_requester_add(w.m.viommu, rid, &residents[i]), 0);
		assert_int_equal(vi_driver_vtd_attach(&w.m.driver, rid, domains[i], &w.tables[i]), 0);
	}
	assert_int_equal(vi_driver_vtd_attach(&w.m.driver, MACHINE_RID, domains[0], &w.tables[0]), 0);
	table = vi_driver_load64(&w.m.memory, w.m.driver.root) & VTD_ROOT_LO_CTP;
	entry = (uint64_t *)(void *)(w.m.ram + table + ENTRY);
	mover.w = &w;
	assert_int_equal(viommu_thread_create(w.m.viommu, &mover.thread), 0);
	assert_int_equal(pthread_create(&thread, NULL, read_on, &mover), 0);
	for (unsigned i = 1; i <= MOVES; i++)
		move(&w, entry, residents, i % 2, i % SPINS);
	atomic_store(&mover.stop, true);
	pthread_join(thread, NULL);
	print_message("%u moves beside %lu reads\n", MOVES, (unsigned long)mover.reads);
	assert_true(mover.reads > 0);
	viommu_thread_destroy(mover.thread);
	machine_finish(&w.m);
}

#endif

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_both_words_are_of_one_moment),
		cmocka_unit_test(test_changes_without_end),
#ifdef __x86_64__
		cmocka_unit_test(test_moved_while_it_reads),
#endif
	};

	return cmocka_run_group_tests_name("core moves", tests, NULL, NULL);
}
