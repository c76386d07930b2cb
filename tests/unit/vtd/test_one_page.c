/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * All registers on one page, which the guest may write without our noticing:
 * what each form of a driver's write does there, also between two looks.
 */
#include <errno.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "base/bits.h"
#include "machine.h"

#define IOVA	UINT64_C(0x100000)
#define GPA	UINT64_C(0x200000)
#define RW	(VI_PGTABLE_READ | VI_PGTABLE_WRITE)
#define F_HI	(UINT64_C(1) << 63)
#define F_TOP	0x80000000u
#define TOP	12
#define RECORDS 16

static const enum machine_registers kinds[] = {TRAPPED, POLLED, SIDECORE};

static uint64_t iro(struct machine *m)
{
	return vi_field(m->driver.ecap, VTD_ECAP_IRO) * 16;
}

/* As a driver that does not wait for the unit to look. */
static void put(struct machine *m, uint64_t offset, unsigned size, uint64_t value)
{
	m->driver.regs.write(m, offset, size, value);
}

static void fault(struct machine *m, uint64_t page)
{
	machine_expect_read(m, IOVA + page * 4096, -EACCES);
	machine_settle(m);
}

static void clear(struct machine *m, unsigned i)
{
	put(m, machine_fault_record(m, i) + TOP, 4, F_TOP);
}

/* ------------------------------------------------------------------- layout */

static void check_layout(unsigned records, size_t size)
{
	struct viommu_options o = {VTD_OPTIONS(.fault_records = (uint8_t)records)};
	struct machine m;
	uint64_t end;

	machine_init(&m, TRAPPED, &o);
	end = machine_fault_record(&m, (unsigned)vi_field(m.driver.cap, VTD_CAP_NFR) + 1);
	assert_int_equal(viommu_regs_size(m.viommu), size);
	assert_true(end <= size);
	assert_true(iro(&m) > VTD_IQERCD && iro(&m) + 16 <= machine_fault_record(&m, 0));
	machine_finish(&m);
}

static void test_registers_need_one_page(void **state)
{
	(void)state;
	check_layout(0, 4096);
	check_layout(1, 4096);
	check_layout(222, 4096);
	check_layout(223, 8192);
	check_layout(255, 8192);
}

static void run_many_records(enum machine_registers kind, unsigned records)
{
	struct viommu_options o = {VTD_OPTIONS(.fault_records = (uint8_t)records)};
	struct machine m;

	machine_start(&m, kind, &o, true);
	for (unsigned i = 0; i < records + 3; i++) {
		machine_expect_read(&m, IOVA + i * UINT64_C(4096), -EACCES);
		machine_await32(&m, VTD_FSTS, 0xff, VTD_FSTS_PPF);
		machine_expect_fault(&m, VTD_FR_READ, IOVA + i * UINT64_C(4096), false);
		machine_await32(&m, VTD_FSTS, 0xff, 0);
	}
	machine_finish(&m);
}

static void test_as_many_records_as_there_can_be(void **state)
{
	(void)state;
	for (size_t i = 0; i < VI_ARRAY_SIZE(kinds); i++) {
		run_many_records(kinds[i], 1);
		run_many_records(kinds[i], 222);
		run_many_records(kinds[i], 255);
	}
}

/* ------------------------------------------------------------ fault records */

struct form {
	unsigned offset, size;
	uint64_t value;
};

static void run_clear(enum machine_registers kind, const struct form *form)
{
	uint64_t at, hi;
	struct machine m;

	machine_start(&m, kind, NULL, true);
	fault(&m, 0);
	machine_await32(&m, VTD_FSTS, VTD_FSTS_PPF, VTD_FSTS_PPF);
	at = machine_fault_record(&m, 0);
	hi = machine_get64(&m, at + 8);
	assert_true(hi & F_HI);
	put(&m, at + form->offset, form->size, form->value);
	machine_await32(&m, VTD_FSTS, VTD_FSTS_PPF, 0);
	machine_await32(&m, at + 8, ~0u, (uint32_t)hi);
	assert_int_equal(machine_get64(&m, at + 8), hi & ~F_HI);
	assert_int_equal(machine_get64(&m, at), IOVA);
	machine_finish(&m);
}

static void test_drivers_clear_with_constants(void **state)
{
	static const struct form forms[] = {{TOP, 4, F_TOP},
					    {8, 8, F_HI},
					    {TOP, 4, ~0u},
					    {8, 8, ~UINT64_C(0)},
					    {TOP, 4, F_TOP | 0x40000000u}};

	(void)state;
	for (size_t i = 0; i < VI_ARRAY_SIZE(kinds); i++)
		for (size_t form = 0; form < VI_ARRAY_SIZE(forms); form++)
			run_clear(kinds[i], &forms[form]);
}

/* A driver that writes what it has read leaves no trace in memory; its record waits for the next constant. */
static void run_echo(enum machine_registers kind)
{
	bool seen = kind == TRAPPED;
	struct machine m;
	uint64_t at, hi;

	machine_start(&m, kind, NULL, true);
	fault(&m, 0);
	at = machine_fault_record(&m, 0);
	hi = machine_get64(&m, at + 8);
	machine_set64(&m, at + 8, hi);
	assert_int_equal(machine_get64(&m, at + 8), seen ? hi & ~F_HI : hi);
	assert_int_equal(machine_get32(&m, VTD_FSTS), seen ? 0 : VTD_FSTS_PPF);
	machine_set32(&m, at + TOP, F_TOP);
	assert_int_equal(machine_get64(&m, at + 8), hi & ~F_HI);
	assert_int_equal(machine_get32(&m, VTD_FSTS), 0);
	machine_finish(&m);
}

static void test_echo(void **state)
{
	(void)state;
	run_echo(TRAPPED);
	run_echo(POLLED);
}

static void run_other_bits(enum machine_registers kind)
{
	uint64_t at, lo, hi;
	struct machine m;

	machine_start(&m, kind, NULL, true);
	fault(&m, 0);
	at = machine_fault_record(&m, 0);
	lo = machine_get64(&m, at);
	hi = machine_get64(&m, at + 8);
	for (unsigned bit = 0; bit < 128; bit++) {
		uint64_t was = bit < 64 ? lo : hi;

		if (bit == 127)
			continue;
		machine_set64(&m, at + bit / 64 * 8, UINT64_C(1) << bit % 64);
		assert_int_equal(machine_get64(&m, at), lo);
		assert_int_equal(machine_get64(&m, at + 8), hi);
		machine_set64(&m, at + bit / 64 * 8, (was ^ UINT64_C(1) << bit % 64) & ~F_HI);
		assert_int_equal(machine_get64(&m, at), lo);
		assert_int_equal(machine_get64(&m, at + 8), hi);
	}
	assert_int_equal(machine_get32(&m, VTD_FSTS), VTD_FSTS_PPF);
	machine_finish(&m);
}

static void test_other_bits_of_a_record_are_read_only(void **state)
{
	(void)state;
	run_other_bits(TRAPPED);
	run_other_bits(POLLED);
}

/* What a driver that clears the same record twice has left in a free slot clears nothing. */
static void test_late_clear_hits_no_fault(void **state)
{
	struct machine m;

	(void)state;
	machine_start(&m, POLLED, NULL, true);
	for (unsigned i = 0; i < RECORDS; i++)
		clear(&m, i);
	machine_expect_read(&m, IOVA, -EACCES);
	viommu_process(m.viommu, 64);
	assert_int_equal(machine_get64(&m, machine_fault_record(&m, 0) + 8) >> 32,
			 F_TOP | 0x40000000u | VTD_FR_READ);
	assert_int_equal(machine_get32(&m, VTD_FSTS), VTD_FSTS_PPF);
	machine_expect_fault(&m, VTD_FR_READ, IOVA, false);
	machine_finish(&m);
}

/* Else a driver's loop over the ring would find F for ever, as it has written it itself. */
static void test_no_f_stays_that_belongs_to_no_fault(void **state)
{
	struct machine m;

	(void)state;
	machine_start(&m, POLLED, NULL, true);
	for (unsigned i = 0; i < RECORDS; i++)
		clear(&m, i);
	for (unsigned i = 0; i < RECORDS; i++)
		viommu_process(m.viommu, 64);
	for (unsigned i = 0; i < RECORDS; i++)
		assert_int_equal(machine_get64(&m, machine_fault_record(&m, i) + 8), 0);
	fault(&m, 0);
	for (unsigned i = 1; i < RECORDS; i++)
		clear(&m, i);
	viommu_process(m.viommu, 64);
	for (unsigned i = 1; i < RECORDS; i++)
		assert_int_equal(machine_get64(&m, machine_fault_record(&m, i) + 8), 0);
	assert_int_equal(machine_get32(&m, VTD_FSTS), VTD_FSTS_PPF);
	machine_finish(&m);
}

static void unmask(struct machine *m)
{
	machine_set32(m, VTD_FEDATA, 0x31);
	machine_set32(m, VTD_FEADDR, 0xfee00000);
	machine_set32(m, VTD_FECTL, 0);
}

/* The driver cleared the first, found no second and went; the unit sees that after it recorded the second. */
static void test_clear_that_is_seen_late_costs_no_event(void **state)
{
	struct machine m;

	(void)state;
	machine_start(&m, POLLED, NULL, true);
	unmask(&m);
	fault(&m, 0);
	fault(&m, 1);
	assert_int_equal(m.msi_count, 1);
	clear(&m, 0);
	machine_settle(&m);
	assert_int_equal(m.msi_count, 2);
	assert_int_equal(machine_get32(&m, VTD_FSTS), VTD_FSTS_PPF | 1 << 8);
	clear(&m, 1);
	machine_settle(&m);
	assert_int_equal(m.msi_count, 2);
	assert_int_equal(machine_get32(&m, VTD_FSTS), 0);
	machine_finish(&m);
}

/* The same, and the second found no room. */
static void test_overflow_that_is_seen_late_is_told(void **state)
{
	struct viommu_options o = {VTD_OPTIONS(.fault_records = 1)};
	struct machine m;

	(void)state;
	machine_start(&m, POLLED, &o, true);
	unmask(&m);
	fault(&m, 0);
	fault(&m, 1);
	assert_int_equal(m.msi_count, 1);
	clear(&m, 0);
	machine_settle(&m);
	assert_int_equal(m.msi_count, 2);
	assert_int_equal(machine_get32(&m, VTD_FSTS) & 0xff, VTD_FSTS_PFO);
	machine_set32(&m, VTD_FSTS, VTD_FSTS_PFO);
	assert_int_equal(machine_get32(&m, VTD_FSTS), 0);
	fault(&m, 2);
	assert_int_equal(m.msi_count, 3);
	machine_finish(&m);
}

/* A clear that came before the fault makes room for it. */
static void test_clear_before_the_fault_makes_room(void **state)
{
	struct viommu_options o = {VTD_OPTIONS(.fault_records = 1)};
	struct machine m;

	(void)state;
	machine_start(&m, POLLED, &o, true);
	unmask(&m);
	for (unsigned i = 0; i < 5; i++) {
		fault(&m, i);
		assert_int_equal(m.msi_count, i + 1);
		assert_int_equal(machine_get32(&m, VTD_FSTS), VTD_FSTS_PPF);
		assert_int_equal(machine_get64(&m, machine_fault_record(&m, 0)), IOVA + i * UINT64_C(4096));
		clear(&m, 0);
	}
	machine_finish(&m);
}

/* --------------------------------------------------- no event is ever lost */

struct driver_thread {
	struct machine *m;
	bool comes_round; /* goes on over an F of its own, which the unit has not looked at */
	_Atomic bool stop;
	_Atomic unsigned handled; /* faults that it has read */
	_Atomic unsigned own;	  /* times that it went on over an F of its own: a fault unread at most */
};

/*
 * As operating systems do it: on an event, from FRI on, until one has no F; then
 * PFO. Returns the faults that it has read; FR 0 is none.
 */
static unsigned handle(struct machine *m, bool comes_round, unsigned *ret_own)
{
	uint32_t fsts = machine_get32(m, VTD_FSTS);
	unsigned i = (unsigned)vi_field(fsts, VTD_FSTS_FRI), n = 0, own = 0;

	for (; fsts & VTD_FSTS_PPF; i = (i + 1) % RECORDS) {
		uint32_t top = machine_get32(m, machine_fault_record(m, i) + TOP);

		if (!(top & F_TOP) || (!(top & 0xff) && !comes_round))
			break;
		clear(m, i);
		n += (top & 0xff) != 0;
		own += (top & 0xff) == 0;
	}
	if (fsts & VTD_FSTS_PFO)
		put(m, VTD_FSTS, 4, VTD_FSTS_PFO);
	if (ret_own)
		*ret_own = own;
	return n;
}

static void *drive(void *arg)
{
	struct driver_thread *d = arg;
	unsigned seen = 0, own;

	while (!atomic_load(&d->stop)) {
		unsigned events = atomic_load(&d->m->msi_count);

		if (events == seen) {
			sched_yield();
			continue;
		}
		seen = events;
		atomic_fetch_add(&d->handled, handle(d->m, d->comes_round, &own));
		atomic_fetch_add(&d->own, own);
	}
	return NULL;
}

/* All that was refused is in a record, which the driver has read, or counted as lost. */
static bool all_is_told(struct machine *m, const struct driver_thread *d)
{
	struct timespec pause = {.tv_nsec = 1000000};

	for (time_t end = time(NULL) + MACHINE_PATIENCE_S; time(NULL) <= end;) {
		uint64_t recorded = machine_counter(m, "faults_recorded");

		if (recorded + machine_counter(m, "faults_lost") == machine_counter(m, "blocked") &&
		    machine_get32(m, VTD_FSTS) == 0 &&
		    atomic_load(&d->handled) + atomic_load(&d->own) >= recorded)
			return atomic_load(&d->handled) <= recorded;
		nanosleep(&pause, NULL);
	}
	return false;
}

static void run_driver(bool comes_round)
{
	struct machine m;
	struct driver_thread d = {.m = &m, .comes_round = comes_round};
	bool told = true;
	pthread_t thread;

	machine_start(&m, SIDECORE, NULL, true);
	put(&m, VTD_FECTL, 4, 0);
	machine_await32(&m, VTD_FECTL, ~0u, 0);
	assert_int_equal(pthread_create(&thread, NULL, drive, &d), 0);
	for (unsigned round = 0; told && round < 2000; round++) {
		for (unsigned i = 0; i <= round % 5; i++) {
			machine_expect_read(&m, IOVA + i * UINT64_C(4096), -EACCES);
			for (unsigned spin = 0; spin < (round * 37 + i * 101) % 400; spin++)
				__asm__ volatile("" ::: "memory");
		}
		told = round % 10 != 0 || all_is_told(&m, &d);
	}
	told = told && all_is_told(&m, &d);
	atomic_store(&d.stop, true);
	pthread_join(thread, NULL);
	machine_finish(&m);
	assert_true(told);
}

static void test_no_event_is_lost(void **state)
{
	(void)state;
	run_driver(true);
	run_driver(false);
}

/* ------------------------------------------------ records that are no run */

/* An access that is refused, and its fault in this record, which is there before FSTS tells of it. */
static void fault_in(struct machine *m, unsigned i)
{
	machine_expect_read(m, IOVA + i * UINT64_C(4096), -EACCES);
	machine_await32(m, machine_fault_record(m, i) + TOP, F_TOP | 0xff, F_TOP | VTD_FR_READ);
	machine_await32(m, VTD_FSTS, VTD_FSTS_PPF, VTD_FSTS_PPF);
}

static void switch_translation(struct machine *m)
{
	assert_int_equal(vi_driver_vtd_enable_translation(&m->driver, false), 0);
	assert_int_equal(vi_driver_vtd_enable_translation(&m->driver, true), 0);
}

/* An event may come again and find nothing; one is there at least. */
static void await_event(struct machine *m, unsigned seen)
{
	time_t end = time(NULL) + MACHINE_PATIENCE_S;

	machine_settle(m);
	while (m->registers == SIDECORE && m->msi_count <= seen && time(NULL) <= end)
		m->driver.regs.relax(m);
	assert_true(m->msi_count > seen);
}

/*
 * Records `first` and up are pending when translation goes off and on, which
 * sends the next faults to 0 and up (7.2.1). A driver that goes on until one has
 * no F ends between the two runs, and hears of the second.
 */
static void run_across_the_switch(enum machine_registers kind, unsigned first, unsigned pending,
				  unsigned after)
{
	struct machine m;
	unsigned seen;

	machine_start(&m, kind, NULL, true);
	unmask(&m);
	for (unsigned i = 0; i < first; i++) {
		fault_in(&m, i);
		handle(&m, false, NULL);
		machine_await32(&m, VTD_FSTS, ~0u, 0);
	}
	for (unsigned i = first; i < first + pending; i++)
		fault_in(&m, i);
	switch_translation(&m);
	for (unsigned i = 0; i < after; i++)
		fault_in(&m, i);
	machine_await32(&m, VTD_FSTS, ~0u, VTD_FSTS_PPF | first << 8);
	seen = m.msi_count;
	assert_int_equal(handle(&m, false, NULL), pending);
	await_event(&m, seen);
	machine_await32(&m, VTD_FSTS, ~0u, VTD_FSTS_PPF);
	assert_int_equal(handle(&m, false, NULL), after);
	machine_await32(&m, VTD_FSTS, ~0u, 0);
	seen = m.msi_count;
	fault_in(&m, after);
	await_event(&m, seen);
	machine_finish(&m);
}

static void test_records_pending_across_the_switch_are_told(void **state)
{
	(void)state;
	for (size_t i = 0; i < VI_ARRAY_SIZE(kinds); i++) {
		run_across_the_switch(kinds[i], 3, 1, 1);
		run_across_the_switch(kinds[i], 4, 2, 3);
		run_across_the_switch(kinds[i], RECORDS - 2, 1, 2);
	}
}

/* A run of records needs no second event: while a driver clears them none is sent. */
static void test_a_run_is_told_once(void **state)
{
	struct machine m;

	(void)state;
	machine_start(&m, TRAPPED, NULL, true);
	unmask(&m);
	for (unsigned i = 0; i < 5; i++)
		fault_in(&m, i);
	assert_int_equal(handle(&m, false, NULL), 5);
	assert_int_equal(m.msi_count, 1);
	assert_int_equal(machine_get32(&m, VTD_FSTS), 0);
	machine_finish(&m);
}

/* ------------------------------------------------------------- IVA and IOTLB */

static const uint64_t request = VTD_IOTLB_IVT | (UINT64_C(3) << 60) | ((uint64_t)MACHINE_DOMAIN << 32);

static void ask(struct machine *m, uint64_t value)
{
	put(m, iro(m) + VTD_IOTLB, 8, value);
	machine_await32(m, iro(m) + VTD_IOTLB + 4, 1u << 31, 0);
}

/* Mapped, cached, and gone from the table: a stale access until the unit is told. */
static void make_stale(struct machine *m, uint64_t iova)
{
	machine_map(m, iova, GPA, 4096, RW);
	machine_expect_read(m, iova, 0);
	assert_int_equal(vi_driver_unmap(&m->table, iova, 4096), 4096);
	machine_expect_read(m, iova, 0);
}

static void run_requests(enum machine_registers kind)
{
	struct machine m;

	machine_start(&m, kind, NULL, false);
	for (unsigned i = 0; i < 4; i++) {
		make_stale(&m, IOVA);
		make_stale(&m, IOVA + 4096);
		put(&m, iro(&m) + VTD_IVA, 8, IOVA);
		ask(&m, request); /* the same again and again */
		machine_expect_read(&m, IOVA, -EACCES);
		machine_expect_read(&m, IOVA + 4096, 0);
		assert_int_equal(vi_field(machine_get64(&m, iro(&m) + VTD_IOTLB), VTD_IOTLB_IAIG), 3);
		/* In halves, in either order, and the last value counts. */
		put(&m, iro(&m) + VTD_IVA + (i & 1 ? 4 : 0), 4, i & 1 ? 0 : (uint32_t)IOVA + 4096);
		put(&m, iro(&m) + VTD_IVA + (i & 1 ? 0 : 4), 4, i & 1 ? (uint32_t)IOVA + 4096 : 0);
		put(&m, iro(&m) + VTD_IOTLB + 4, 4, request >> 32);
		machine_await32(&m, iro(&m) + VTD_IOTLB + 4, 1u << 31, 0);
		machine_expect_read(&m, IOVA + 4096, -EACCES);
	}
	/* An echo of the answer has no IVT, and asks for nothing. */
	make_stale(&m, IOVA + 4096);
	put(&m, iro(&m) + VTD_IOTLB, 8, machine_get64(&m, iro(&m) + VTD_IOTLB));
	machine_settle(&m);
	machine_expect_read(&m, IOVA + 4096, 0);
	/* More pages than CAP.MAMV. */
	put(&m, iro(&m) + VTD_IVA, 8, 19);
	ask(&m, request);
	assert_int_equal(vi_field(machine_get64(&m, iro(&m) + VTD_IOTLB), VTD_IOTLB_IAIG), 0);
	machine_expect_read(&m, IOVA + 4096, 0);
	machine_finish(&m);
}

static void test_requests_are_seen(void **state)
{
	(void)state;
	for (size_t i = 0; i < VI_ARRAY_SIZE(kinds); i++)
		run_requests(kinds[i]);
}

/* 6.5.2: while the queue is enabled the registers are out of use. */
static void run_out_of_use(enum machine_registers kind)
{
	struct machine m;

	machine_start(&m, kind, NULL, true);
	make_stale(&m, IOVA);
	put(&m, iro(&m) + VTD_IVA, 8, IOVA);
	ask(&m, request);
	assert_int_equal(vi_field(machine_get64(&m, iro(&m) + VTD_IOTLB), VTD_IOTLB_IAIG), 0);
	machine_expect_read(&m, IOVA, 0);
	machine_finish(&m);
}

static void test_requests_beside_the_queue_do_nothing(void **state)
{
	(void)state;
	for (size_t i = 0; i < VI_ARRAY_SIZE(kinds); i++)
		run_out_of_use(kinds[i]);
}

/* A request that is under way cannot be taken back, nor made to look complete. */
static void run_busy(enum machine_registers kind, bool context)
{
	uint64_t value = context ? VTD_CCMD_ICC | UINT64_C(1) << 61 : VTD_IOTLB_IVT | UINT64_C(1) << 60;
	struct viommu_pin pin = {.revoke = NULL};
	struct machine m;
	uint64_t at;

	machine_start(&m, kind, NULL, false);
	at = context ? VTD_CCMD : iro(&m) + VTD_IOTLB;
	machine_map(&m, IOVA, GPA, 4096, RW);
	assert_int_equal(viommu_pin(m.thread, m.device, IOVA, 1, VIOMMU_WRITE, &pin), 0);
	machine_set64(&m, at, value);
	assert_true(machine_get64(&m, at) >> 63);
	machine_set32(&m, at + 4, 0);
	assert_true(machine_get64(&m, at) >> 63);
	machine_set32(&m, at + 4, (uint32_t)(value >> 32) | 0x60000000u);
	assert_true(machine_get64(&m, at) >> 63);
	viommu_unpin(&pin);
	machine_settle(&m);
	assert_false(machine_get64(&m, at) >> 63);
	assert_int_equal(machine_get64(&m, at) >> (context ? 59 : 57) & 3, 1);
	machine_finish(&m);
}

static void test_request_under_way(void **state)
{
	(void)state;
	for (unsigned context = 0; context < 2; context++) {
		run_busy(TRAPPED, context);
		run_busy(POLLED, context);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_registers_need_one_page),
		cmocka_unit_test(test_as_many_records_as_there_can_be),
		cmocka_unit_test(test_drivers_clear_with_constants),
		cmocka_unit_test(test_echo),
		cmocka_unit_test(test_other_bits_of_a_record_are_read_only),
		cmocka_unit_test(test_late_clear_hits_no_fault),
		cmocka_unit_test(test_no_f_stays_that_belongs_to_no_fault),
		cmocka_unit_test(test_clear_that_is_seen_late_costs_no_event),
		cmocka_unit_test(test_overflow_that_is_seen_late_is_told),
		cmocka_unit_test(test_clear_before_the_fault_makes_room),
		cmocka_unit_test(test_no_event_is_lost),
		cmocka_unit_test(test_records_pending_across_the_switch_are_told),
		cmocka_unit_test(test_a_run_is_told_once),
		cmocka_unit_test(test_requests_are_seen),
		cmocka_unit_test(test_requests_beside_the_queue_do_nothing),
		cmocka_unit_test(test_request_under_way),
	};

	return cmocka_run_group_tests_name("vtd one page", tests, NULL, NULL);
}
