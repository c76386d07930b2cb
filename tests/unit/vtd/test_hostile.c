/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A guest that means harm: tables that lead to themselves or out of its
 * memory, queues without end, floods of faults, words that change while they
 * are read. It may hurt only itself: memory stays bounded, nothing is touched
 * outside of what it owns, the unit works again when the guest does, and a
 * second unit on the same thread keeps its throughput.
 */
#include <errno.h>
#include <malloc.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include <cmocka.h>

#include "base/bits.h"
#include "machine.h"

#define IOVA   UINT64_C(0x100000)
#define GPA    UINT64_C(0x200000)
#define RW     (VI_PGTABLE_READ | VI_PGTABLE_WRITE)
#define HOLE   UINT64_C(0x80000000) /* no memory there */
#define BEYOND (UINT64_C(1) << 45)  /* none there either, and the last address bit that there is */

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static uint64_t next_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

/* Everything dropped that may be cached, as a driver that changed all its tables has to. */
static void flush_all(struct machine *m)
{
	assert_int_equal(vi_driver_vtd_flush_contexts(&m->driver, VTD_GRANULARITY_GLOBAL, 0, 0, 0), 0);
	assert_int_equal(vi_driver_vtd_flush_iotlb(&m->driver, VTD_GRANULARITY_GLOBAL, 0, 0, 0), 0);
}

/* A guest that comes to its senses finds a unit that works. */
static void check_works_again(struct machine *m)
{
	struct vi_driver_vtd_fault fault;

	viommu_reset(m->viommu);
	m->driver.root = m->driver.status = 0; /* new ones: those there were may hold anything */
	m->driver.gcmd = 0;
	assert_int_equal(vi_driver_vtd_start(&m->driver, true), 0);
	assert_int_equal(vi_driver_vtd_table_init(&m->driver, &m->table, 4), 0);
	assert_int_equal(vi_driver_vtd_attach(&m->driver, MACHINE_RID, MACHINE_DOMAIN, &m->table), 0);
	machine_map(m, IOVA, GPA, 4096, RW);
	machine_expect_write(m, IOVA, 0);
	assert_int_equal(m->ram[GPA], 0x5a);
	machine_expect_read(m, IOVA + 4096, -EACCES);
	machine_settle(m);
	assert_true(vi_driver_vtd_next_fault(&m->driver, &fault));
}

/* ----------------------------------------------------------- tables in a circle */

static int count_range(void *arg, uint64_t first, uint64_t last, uint64_t gpa, unsigned access)
{
	uint64_t *count = arg;

	(void)access;
	assert_true(gpa <= MACHINE_RAM_SIZE - 1 && last - first <= MACHINE_RAM_SIZE - 1 - gpa);
	++*count;
	return 0;
}

static void check_circle(struct machine *m)
{
	uint64_t iovas[] = {0, IOVA, UINT64_C(1) << 30, UINT64_C(1) << 39, (UINT64_C(1) << 48) - 4096},
		 count = 0;
	int ret;

	for (unsigned i = 0; i < VI_ARRAY_SIZE(iovas); i++) {
		uint8_t byte;

		ret = machine_read(m, iovas[i], &byte, 1);
		assert_true(ret == 0 || ret == -EACCES || ret == -EFAULT);
	}
	ret = viommu_reach(m->device, 100000, count_range, &count);
	assert_true(ret == 0 || ret == -E2BIG || ret == -ENOENT);
}

/* A page of entries that all lead to the page itself: at the last level it maps itself, and no more. */
static void test_page_table_in_itself(void **state)
{
	struct machine m;
	uint64_t table, word;

	(void)state;
	machine_start(&m, POLLED, NULL, true);
	table = vi_driver_page_alloc(&m.memory);
	for (unsigned i = 0; i < 512; i++)
		vi_driver_store64(&m.memory, table + i * 8, table | VTD_SS_R | VTD_SS_W);
	m.table.table.root = table;
	assert_int_equal(vi_driver_vtd_attach(&m.driver, MACHINE_RID, MACHINE_DOMAIN, &m.table), 0);
	for (uint64_t iova = 0; iova < UINT64_C(1) << 48; iova += UINT64_C(0x123456789000)) {
		assert_int_equal(machine_read(&m, iova, &word, 8), 0);
		assert_int_equal(word, table | VTD_SS_R | VTD_SS_W);
	}
	check_circle(&m);
	check_works_again(&m);
	machine_finish(&m);
}

/* One page is root table, context table and page table at once, and the queue too. */
static void test_all_tables_in_one_page(void **state)
{
	struct machine m;
	uint64_t page;

	(void)state;
	machine_start(&m, POLLED, NULL, true);
	page = m.driver.root;
	for (uint64_t bits = 0; bits < 64; bits++) {
		for (unsigned i = 0; i < 512; i++) {
			uint64_t word = i & 1 ? bits >> 3 : page | (bits & 7) | 1;

			vi_driver_store64(&m.memory, page + i * 8, word);
		}
		flush_all(&m);
		check_circle(&m);
	}
	machine_set64(&m, VTD_IQA, page);
	machine_set64(&m, VTD_IQT, 4080);
	machine_settle(&m);
	check_circle(&m);
	check_works_again(&m);
	machine_finish(&m);
}

/* --------------------------------------------------------- tables out of memory */

/* No memory; memory that only a callback reaches; the end of memory; the last page of all; far beyond. */
static const uint64_t elsewhere[] = {HOLE,   MACHINE_FAR,     MACHINE_RAM_SIZE, MACHINE_RAM_SIZE - 4096,
				     BEYOND, ~UINT64_C(0xfff)};

static void refuse_everything(struct machine *m)
{
	uint8_t byte;

	assert_true(machine_read(m, IOVA, &byte, 1) < 0);
	assert_true(machine_write(m, IOVA, &byte, 1) < 0);
	check_circle(m);
}

static void test_root_table_elsewhere(void **state)
{
	(void)state;
	for (unsigned i = 0; i < VI_ARRAY_SIZE(elsewhere); i++) {
		struct machine m;

		machine_start(&m, POLLED, NULL, true);
		machine_set64(&m, VTD_RTADDR, elsewhere[i]);
		assert_int_equal(vi_driver_vtd_command(&m.driver, VTD_GCMD_SRTP, true), 0);
		flush_all(&m);
		refuse_everything(&m);
		check_works_again(&m);
		machine_finish(&m);
	}
}

static void check_entry_elsewhere(unsigned level, uint64_t where)
{
	struct machine m;
	uint64_t entry;

	machine_start(&m, POLLED, NULL, true);
	machine_map(&m, IOVA, GPA, 4096, RW);
	machine_expect_read(&m, IOVA, 0);
	if (level == 5)
		entry = m.driver.root; /* bus 0's */
	else
		entry = vi_driver_entry_gpa(&m.table, IOVA, level);
	vi_driver_store64(&m.memory, entry, (where & VTD_SS_ADDR) | VTD_SS_R | (level < 5 ? VTD_SS_W : 0));
	flush_all(&m);
	/* A leaf may lead to any memory that there is. */
	if (level > 1 || (where != MACHINE_FAR && where != MACHINE_RAM_SIZE - 4096))
		refuse_everything(&m);
	check_works_again(&m);
	machine_finish(&m);
}

static void test_entries_elsewhere(void **state)
{
	(void)state;
	for (unsigned level = 1; level <= 5; level++)
		for (unsigned i = 0; i < VI_ARRAY_SIZE(elsewhere); i++)
			check_entry_elsewhere(level, elsewhere[i]);
}

static void test_queue_elsewhere(void **state)
{
	(void)state;
	for (unsigned i = 0; i < VI_ARRAY_SIZE(elsewhere); i++) {
		for (unsigned size = 0; size < 8; size++) {
			struct machine m;

			machine_init(&m, POLLED, NULL);
			machine_set64(&m, VTD_IQA, elsewhere[i] | size);
			assert_int_equal(vi_driver_vtd_command(&m.driver, VTD_GCMD_QIE, true), 0);
			machine_set64(&m, VTD_IQT, 16);
			assert_true(machine_get32(&m, VTD_FSTS) & VTD_FSTS_IQE);
			check_works_again(&m);
			machine_finish(&m);
		}
	}
}

/* -------------------------------------------------------- without end, in floods */

static const uint64_t global_iotlb = VTD_QI_IOTLB | (UINT64_C(1) << 4);

/* A ring that is full of `lo`, `hi`; how full it is, is for the caller to say again and again. */
static void fill_queue(struct machine *m, uint64_t lo, uint64_t hi)
{
	for (uint64_t at = 0; at < m->driver.queue_size; at += VTD_QI_SIZE) {
		vi_driver_store64(&m->memory, m->driver.queue + at, lo);
		vi_driver_store64(&m->memory, m->driver.queue + at + 8, hi);
	}
}

/* The tail goes to where it is farthest away. */
static void refill_queue(struct machine *m)
{
	uint64_t head = machine_get64(m, VTD_IQH);

	vi_driver_vtd_write64(&m->driver, VTD_IQT,
			      (head + m->driver.queue_size - VTD_QI_SIZE) % m->driver.queue_size);
}

static size_t allocated(void)
{
	return mallinfo2().uordblks;
}

static void run_for_ever(uint64_t lo, uint64_t hi)
{
	struct machine m;
	uint64_t end;
	size_t before;

	machine_start(&m, POLLED, NULL, true);
	fill_queue(&m, lo, hi ? hi : m.driver.status);
	refill_queue(&m);
	viommu_process(m.viommu, 1000);
	before = allocated();
	for (end = now_ns() + 30000000; now_ns() < end;) {
		int done;

		refill_queue(&m);
		done = viommu_process(m.viommu, 16);
		assert_in_range((unsigned)done & ~(unsigned)VIOMMU_PROCESS_PENDING, 0, 17);
	}
	assert_in_range(allocated(), 0, before + 65536);
	check_works_again(&m);
	machine_finish(&m);
}

static void test_queue_that_runs_for_ever(void **state)
{
	(void)state;
	run_for_ever(global_iotlb, 4096);
	run_for_ever(VTD_QI_CONTEXT_CACHE | (UINT64_C(1) << 4), 4096);
	run_for_ever(VTD_QI_IOTLB | (UINT64_C(3) << 4), 18);
	run_for_ever(VTD_QI_WAIT | VTD_QI_WAIT_SW, 0);
	run_for_ever(VTD_QI_WAIT | VTD_QI_WAIT_IF, 4096);
	run_for_ever(VTD_QI_WAIT | VTD_QI_WAIT_SW, HOLE);
}

struct flooder {
	struct machine *m;
	struct viommu_thread *thread;
	uint64_t attempts;
	_Atomic bool stop;
};

static void *flood(void *arg)
{
	struct flooder *f = arg;
	uint64_t random = 88172645463325252u;

	while (!atomic_load_explicit(&f->stop, memory_order_relaxed)) {
		uint8_t byte = 0;
		uint64_t iova = next_random(&random) & ((UINT64_C(1) << 50) - 1);

		assert_true(viommu_write(f->thread, f->m->device, iova, &byte, 1) < 0);
		f->attempts++;
	}
	return NULL;
}

static void read_faults(struct machine *m, uint64_t ns)
{
	struct vi_driver_vtd_fault fault;
	uint64_t end = now_ns() + ns;

	while (now_ns() < end) {
		machine_settle(m);
		vi_driver_vtd_next_fault(&m->driver, &fault);
		machine_set32(m, VTD_FSTS, VTD_FSTS_PFO);
	}
}

/*
 * As many as there is time for. What counts them is 64 bits wide everywhere
 * (core/fault_queue.h, core/counters.h), records are indexed modulo their number:
 * the 2^32nd is like any other, and the 2^64th does not come.
 */
static void test_faults_without_end(void **state)
{
	struct flooder f[2] = {0};
	struct machine m;
	pthread_t threads[2];
	size_t before;

	(void)state;
	machine_start(&m, TRAPPED, NULL, true);
	for (unsigned i = 0; i < 2; i++) {
		f[i].m = &m;
		assert_int_equal(viommu_thread_create(m.viommu, &f[i].thread), 0);
		assert_int_equal(pthread_create(&threads[i], NULL, flood, &f[i]), 0);
	}
	read_faults(&m, 50000000);
	before = allocated();
	read_faults(&m, 300000000);
	assert_in_range(allocated(), 0, before + 65536);
	for (unsigned i = 0; i < 2; i++) {
		atomic_store(&f[i].stop, true);
		pthread_join(threads[i], NULL);
		viommu_thread_destroy(f[i].thread);
	}
	machine_settle(&m);
	assert_int_equal(machine_counter(&m, "blocked"), f[0].attempts + f[1].attempts);
	check_works_again(&m);
	machine_finish(&m);
}

/* ------------------------------------------------- words that change while they are read */

struct scribbler {
	struct machine *m;
	_Atomic bool stop;
};

/* Something that may well be an entry or a descriptor of the kind that stands here. */
static uint64_t likely_word(struct machine *m, uint64_t random)
{
	uint64_t page = MACHINE_TABLES + (random >> 20 & 15) * 4096;

	switch (random & 7) {
	case 0:
		return 0;
	case 1:
		return random;
	case 2:
		return HOLE | 3;
	case 3:
		return (GPA & ~UINT64_C(0x1fffff)) | VTD_SS_PS | 3; /* a large page */
	case 4:
		return VTD_QI_WAIT | VTD_QI_WAIT_SW | random << 32;
	case 5:
		return m->driver.status;
	case 6:
		return global_iotlb;
	default:
		return page | 3;
	}
}

static void *scribble(void *arg)
{
	struct scribbler *s = arg;
	uint64_t random = 0x2545f4914f6cdd1du;

	while (!atomic_load_explicit(&s->stop, memory_order_relaxed)) {
		uint64_t at = next_random(&random) & 0xfff8;

		vi_driver_store64(&s->m->memory, MACHINE_TABLES + at,
				  likely_word(s->m, next_random(&random)));
	}
	return NULL;
}

/* Where a device ends up is memory of this guest, whatever its tables say at the moment. */
static void check_translation(struct machine *m, uint64_t iova)
{
	struct viommu_span span;

	viommu_enter(m->thread);
	if (viommu_translate(m->thread, m->device, iova, 1 << 20, VIOMMU_READ, &span) == 0) {
		bool far = span.gpa >= MACHINE_FAR && span.gpa - MACHINE_FAR + span.len <= sizeof(m->far);

		assert_true(far || (span.gpa < MACHINE_RAM_SIZE && span.len <= MACHINE_RAM_SIZE - span.gpa));
		assert_ptr_equal(span.host, far ? NULL : m->ram + span.gpa);
	}
	viommu_exit(m->thread);
}

static void test_words_that_change_while_they_are_read(void **state)
{
	struct scribbler s = {0};
	struct machine m;
	uint64_t random = 1234567, end;
	pthread_t thread;
	size_t before;

	(void)state;
	machine_start(&m, TRAPPED, NULL, true);
	assert_true(m.driver.root >= MACHINE_TABLES && m.driver.root < MACHINE_TABLES + 0x10000);
	s.m = &m;
	assert_int_equal(pthread_create(&thread, NULL, scribble, &s), 0);
	before = allocated();
	for (end = now_ns() + 500000000; now_ns() < end;) {
		check_translation(&m, next_random(&random) & 0xffffff);
		viommu_regs_write(m.viommu, VTD_IQT, 8, next_random(&random) & 0xff0);
		viommu_regs_write(m.viommu, VTD_FSTS, 4, VTD_FSTS_IQE | VTD_FSTS_PFO);
		viommu_process(m.viommu, 16);
	}
	assert_in_range(allocated(), 0, before + (4 << 20));
	atomic_store(&s.stop, true);
	pthread_join(thread, NULL);
	check_works_again(&m);
	machine_finish(&m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_page_table_in_itself),
		cmocka_unit_test(test_all_tables_in_one_page),
		cmocka_unit_test(test_root_table_elsewhere),
		cmocka_unit_test(test_entries_elsewhere),
		cmocka_unit_test(test_queue_elsewhere),
		cmocka_unit_test(test_queue_that_runs_for_ever),
		cmocka_unit_test(test_faults_without_end),
		cmocka_unit_test(test_words_that_change_while_they_are_read),
	};

	return cmocka_run_group_tests_name("vtd hostile guest", tests, NULL, NULL);
}
