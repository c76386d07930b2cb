/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Registers that a write of 1 clears, and commands, as drivers of three kinds write
 * them: constants; what they have read; what they have read with single bits set or
 * cleared. Registers are trapped, polled, or polled by a sidecore.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <time.h>

#include <cmocka.h>

#include "base/bits.h"
#include "machine.h"
#include "regs/reminder.h"

#define IOVA	 UINT64_C(0x100000)
#define LASTING	 (VTD_GCMD_TE | VTD_GCMD_QIE)
#define SENTINEL 0x7fff0000u
#define STATUS	 0xffu
#define F_TOP	 0x80000000u
#define TOP	 12

enum style { CONSTANTS, ECHO, SET_BIT, CLEAR_OTHERS, STYLES };

static const enum machine_registers kinds[] = {TRAPPED, POLLED, SIDECORE};

static void put(struct machine *m, uint64_t offset, uint32_t value)
{
	m->driver.regs.write(m, offset, 4, value);
}

/* Reads, and writes at once or when the unit has had time to look. */
static void acknowledge(struct machine *m, enum style style, bool at_once, uint64_t offset, uint32_t bit)
{
	uint32_t found = machine_get32(m, offset);
	const uint32_t values[] = {
		[CONSTANTS] = bit,
		[ECHO] = found,
		[SET_BIT] = found | bit,
		[CLEAR_OTHERS] = found & ~(STATUS & ~bit),
	};

	if (!at_once)
		m->driver.regs.relax(m);
	put(m, offset, values[style]);
}

/* Must the unit see such a write? */
static bool is_seen(enum machine_registers kind, enum style style, bool at_once)
{
	return kind == TRAPPED || style == CONSTANTS || (kind == POLLED && !at_once);
}

/* As often as the driver finds the bit set. */
static void acknowledge_all(struct machine *m, enum style style, uint64_t offset, uint32_t bit)
{
	time_t end = time(NULL) + MACHINE_PATIENCE_S;
	unsigned turns = 0;

	for (;;) {
		machine_settle(m);
		if (!(machine_get32(m, offset) & bit))
			return;
		assert_true(m->registers == SIDECORE ? time(NULL) <= end : turns++ < 3);
		acknowledge(m, style, false, offset, bit);
		m->driver.regs.relax(m);
	}
}

static void await_event(struct machine *m, unsigned count)
{
	time_t end = time(NULL) + MACHINE_PATIENCE_S;
	unsigned turns = 0;

	while (m->msi_count < count) {
		assert_true(m->registers == SIDECORE ? time(NULL) <= end
						     : turns++ < 2 * VI_REGS_REMINDER_LOOKS);
		m->driver.regs.relax(m);
	}
}

static void for_each(void (*run)(enum machine_registers kind, enum style style, bool at_once))
{
	for (size_t i = 0; i < VI_ARRAY_SIZE(kinds); i++)
		for (unsigned style = 0; style < STYLES; style++)
			for (unsigned at_once = 0; at_once < 2; at_once++)
				run(kinds[i], style, at_once);
}

/* --------------------------------------------------------------------- FSTS */

static void unmask_faults(struct machine *m)
{
	machine_set32(m, VTD_FEADDR, 0xfee00000);
	put(m, VTD_FECTL, 0);
	machine_await32(m, VTD_FECTL, ~0u, 0);
}

static void clear_record(struct machine *m)
{
	put(m, machine_fault_record(m, 0) + TOP, F_TOP);
	machine_await32(m, VTD_FSTS, VTD_FSTS_PPF, 0);
}

/* With one record, whose overflow is told. */
static void overflow(struct machine *m)
{
	for (unsigned i = 0; i < 2; i++)
		machine_expect_read(m, IOVA, -EACCES);
	machine_await32(m, VTD_FSTS, STATUS, VTD_FSTS_PFO | VTD_FSTS_PPF);
}

/* Seen or not: the next fault is recorded, and told by an event. */
static void run_overflow(enum machine_registers kind, enum style style, bool at_once)
{
	struct viommu_options o = {VTD_OPTIONS(.fault_records = 1)};
	struct machine m;
	unsigned seen;

	machine_start(&m, kind, &o, true);
	unmask_faults(&m);
	for (unsigned round = 0; round < 3; round++) {
		overflow(&m);
		clear_record(&m);
		acknowledge(&m, style, at_once, VTD_FSTS, VTD_FSTS_PFO);
		machine_settle(&m);
		if (is_seen(kind, style, at_once))
			machine_await32(&m, VTD_FSTS, ~0u, 0);
		seen = m.msi_count;
		machine_expect_read(&m, IOVA + 4096, -EACCES);
		machine_await32(&m, VTD_FSTS, VTD_FSTS_PPF, VTD_FSTS_PPF);
		assert_int_equal(machine_get64(&m, machine_fault_record(&m, 0)), IOVA + 4096);
		await_event(&m, seen + 1);
		clear_record(&m);
		acknowledge_all(&m, style, VTD_FSTS, VTD_FSTS_PFO);
		machine_await32(&m, VTD_FSTS, ~0u, 0);
	}
	machine_finish(&m);
}

static void test_overflow_is_acknowledged(void **state)
{
	(void)state;
	for_each(run_overflow);
}

/*
 * Until the unit looks a driver reads what it has written itself, so an event in that
 * time has shown it nothing: it gets another one.
 */
static void test_write_hides_no_fault(void **state)
{
	struct machine m;

	(void)state;
	machine_start(&m, POLLED, NULL, true);
	unmask_faults(&m);
	machine_expect_read(&m, IOVA, -EACCES);
	machine_settle(&m);
	assert_int_equal(m.msi_count, 1);
	machine_set32(&m, VTD_FSTS, VTD_FSTS_PFO | VTD_FSTS_PPF | 0x80);
	assert_int_equal(m.msi_count, 2);
	clear_record(&m);
	machine_set32(&m, VTD_FSTS, VTD_FSTS_PFO | VTD_FSTS_PPF | 0x80);
	assert_int_equal(m.msi_count, 2);
	assert_int_equal(machine_get32(&m, VTD_FSTS), 0);
	machine_finish(&m);
}

static uint64_t stop_queue(struct machine *m)
{
	vi_driver_vtd_submit(&m->driver, 15, 0);
	machine_await32(m, VTD_FSTS, VTD_FSTS_IQE, VTD_FSTS_IQE);
	return machine_get64(m, VTD_IQH);
}

static void mend(struct machine *m, uint64_t head)
{
	vi_driver_store64(&m->memory, m->driver.queue + head,
			  VTD_QI_IOTLB | vi_to_field(VTD_QI_GRANULARITY, VTD_GRANULARITY_GLOBAL));
}

/* One that is not seen leaves the queue as it is, and the driver gets another event. */
static void run_queue_error(enum machine_registers kind, enum style style, bool at_once)
{
	struct machine m;
	uint64_t head;

	machine_start(&m, kind, NULL, true);
	unmask_faults(&m);
	for (unsigned round = 0; round < 3; round++) {
		unsigned seen = m.msi_count;

		head = stop_queue(&m);
		await_event(&m, seen + 1);
		mend(&m, head);
		acknowledge(&m, style, at_once, VTD_FSTS, VTD_FSTS_IQE);
		machine_settle(&m);
		if (is_seen(kind, style, at_once))
			machine_await32(&m, VTD_FSTS, ~0u, 0);
		if (kind == POLLED && !is_seen(kind, style, at_once)) {
			assert_int_equal(machine_get64(&m, VTD_IQH), head);
			await_event(&m, seen + 2);
		}
		acknowledge_all(&m, style, VTD_FSTS, VTD_FSTS_IQE);
		assert_int_equal(vi_driver_vtd_wait(&m.driver, 0), 0);
	}
	machine_finish(&m);
}

static void test_queue_error_is_acknowledged(void **state)
{
	(void)state;
	for_each(run_queue_error);
}

/* As an operating system starts on a unit that another one has left. */
static void test_queue_runs_when_it_is_enabled(void **state)
{
	struct machine m;

	(void)state;
	machine_start(&m, POLLED, NULL, true);
	stop_queue(&m);
	acknowledge(&m, ECHO, true, VTD_FSTS, VTD_FSTS_IQE);
	assert_int_equal(vi_driver_vtd_disable_queue(&m.driver), 0);
	assert_true(machine_get32(&m, VTD_FSTS) & VTD_FSTS_IQE);
	assert_int_equal(vi_driver_vtd_enable_queue(&m.driver, 0), 0);
	assert_int_equal(vi_driver_vtd_wait(&m.driver, 0), 0);
	assert_int_equal(machine_get32(&m, VTD_FSTS), 0);
	assert_int_equal(machine_get32(&m, VTD_IQERCD), 0);
	machine_finish(&m);
}

/* A driver that clears nothing is reminded ever more rarely. */
static void test_reminders_become_rare(void **state)
{
	struct machine m;

	(void)state;
	machine_start(&m, POLLED, NULL, true);
	unmask_faults(&m);
	stop_queue(&m);
	for (unsigned i = 0; i < 16 * VI_REGS_REMINDER_LOOKS; i++)
		viommu_process(m.viommu, 1);
	assert_int_equal(m.msi_count, 1 + 4);
	machine_finish(&m);
}

static void test_constants_are_seen(void **state)
{
	static const uint32_t constants[] = {VTD_FSTS_PFO, STATUS, 0xffffu, ~SENTINEL, ~F_TOP, ~0u};
	struct viommu_options o = {VTD_OPTIONS(.fault_records = 1)};
	struct machine m;

	(void)state;
	machine_start(&m, POLLED, &o, true);
	for (size_t i = 0; i < VI_ARRAY_SIZE(constants); i++) {
		overflow(&m);
		clear_record(&m);
		machine_set32(&m, VTD_FSTS, 0);
		assert_int_equal(machine_get32(&m, VTD_FSTS) & STATUS, VTD_FSTS_PFO);
		machine_set32(&m, VTD_FSTS, constants[i]);
		assert_int_equal(machine_get32(&m, VTD_FSTS), 0);
	}
	machine_finish(&m);
}

/* What was read before a look is another word after it, all the time that something is to be cleared. */
static void test_each_look_changes_the_word(void **state)
{
	struct viommu_options o = {VTD_OPTIONS(.fault_records = 1)};
	struct machine m;
	uint32_t before, now;

	(void)state;
	machine_start(&m, POLLED, &o, true);
	overflow(&m);
	before = machine_get32(&m, VTD_FSTS);
	for (unsigned i = 0; i < 70000; i++) {
		viommu_process(m.viommu, 1);
		now = machine_get32(&m, VTD_FSTS);
		assert_int_equal(now & ~SENTINEL, VTD_FSTS_PFO | VTD_FSTS_PPF);
		assert_true(now != before && (now & SENTINEL) && (now & SENTINEL) != SENTINEL);
		before = now;
	}
	machine_finish(&m);
}

/* ---------------------------------------------------------------------- ICS */

/* Seen or not: the next wait that asks for an interrupt gets it. */
static void run_wait(enum machine_registers kind, enum style style, bool at_once)
{
	struct machine m;

	machine_start(&m, kind, NULL, true);
	machine_set32(&m, VTD_IEADDR, 0xfee00000);
	put(&m, VTD_IECTL, 0);
	machine_await32(&m, VTD_IECTL, ~0u, 0);
	for (unsigned round = 0; round < 4; round++) {
		vi_driver_vtd_submit(&m.driver, VTD_QI_WAIT | VTD_QI_WAIT_IF, 0);
		await_event(&m, round + 1);
		machine_await32(&m, VTD_ICS, STATUS, VTD_ICS_IWC);
		acknowledge(&m, style, at_once, VTD_ICS, VTD_ICS_IWC);
		machine_settle(&m);
		if (is_seen(kind, style, at_once))
			machine_await32(&m, VTD_ICS, ~0u, 0);
	}
	acknowledge_all(&m, style, VTD_ICS, VTD_ICS_IWC);
	machine_await32(&m, VTD_ICS, ~0u, 0);
	assert_int_equal(m.msi_count, 4);
	machine_finish(&m);
}

static void test_wait_is_acknowledged(void **state)
{
	(void)state;
	for_each(run_wait);
}

/* --------------------------------------------------------------------- GCMD */

/* `io_own`: what a driver of constants remembers. */
static void command(struct machine *m, enum style style, bool at_once, uint32_t *io_own, uint32_t bit,
		    bool set)
{
	uint32_t from = style == CONSTANTS ? *io_own : machine_get32(m, VTD_GCMD);

	if (!at_once)
		m->driver.regs.relax(m);
	*io_own = (set ? from | bit : from & ~bit) & LASTING;
	put(m, VTD_GCMD, set ? from | bit : from & ~bit);
	machine_await32(m, VTD_GSTS, bit, set ? bit : 0);
}

static void await_commands(struct machine *m, uint64_t count)
{
	time_t end = time(NULL) + MACHINE_PATIENCE_S;
	unsigned turns = 0;

	while (machine_counter(m, "commands") < count) {
		assert_true(m->registers == SIDECORE ? time(NULL) <= end : turns++ < 1000);
		m->driver.regs.relax(m);
	}
	assert_int_equal(machine_counter(m, "commands"), count);
}

/* Trapped, GCMD reads as 0, as hardware's does: such a driver takes back what it does not mention. */
static void expect_others(struct machine *m, enum style style, uint32_t lasting)
{
	if (m->registers != TRAPPED || style == CONSTANTS)
		assert_int_equal(machine_get32(m, VTD_GSTS) & LASTING, lasting);
}

static void run_commands(enum machine_registers kind, enum style style, bool at_once)
{
	struct machine m;
	uint32_t own = 0;

	machine_init(&m, kind, NULL);
	assert_int_equal(machine_get32(&m, VTD_GCMD), 0);
	command(&m, style, at_once, &own, VTD_GCMD_SRTP, true);
	await_commands(&m, 1);
	for (unsigned round = 0; round < 3; round++) {
		uint64_t done = machine_counter(&m, "commands");

		command(&m, style, at_once, &own, VTD_GCMD_QIE, true);
		command(&m, style, at_once, &own, VTD_GCMD_TE, true);
		expect_others(&m, style, LASTING);
		command(&m, style, at_once, &own, VTD_GCMD_QIE, false);
		expect_others(&m, style, VTD_GCMD_TE);
		command(&m, style, at_once, &own, VTD_GCMD_TE, false);
		expect_others(&m, style, 0);
		if (kind != TRAPPED || style == CONSTANTS)
			await_commands(&m, done + 4);
		done = machine_counter(&m, "commands");
		/* RTPS is set by now, so that only the count tells. */
		for (unsigned i = 1; i <= 3; i++) {
			command(&m, style, at_once, &own, VTD_GCMD_SRTP, true);
			await_commands(&m, done + i);
		}
	}
	machine_finish(&m);
}

static void test_commands(void **state)
{
	(void)state;
	for_each(run_commands);
}

/* What GCMD shows on a polled page is what is in effect, so writing that back asks for nothing. */
static void test_echo_of_commands_asks_for_nothing(void **state)
{
	(void)state;
	for (size_t i = 1; i < VI_ARRAY_SIZE(kinds); i++) {
		uint64_t done;
		struct machine m;

		machine_start(&m, kinds[i], NULL, true);
		done = machine_counter(&m, "commands");
		for (unsigned n = 0; n < 100; n++) {
			put(&m, VTD_GCMD, machine_get32(&m, VTD_GCMD));
			m.driver.regs.relax(&m);
		}
		assert_int_equal(machine_get32(&m, VTD_GCMD), LASTING);
		assert_int_equal(machine_get32(&m, VTD_GSTS), LASTING | VTD_GSTS_RTPS);
		assert_int_equal(vi_driver_vtd_wait(&m.driver, 0), 0);
		assert_int_equal(machine_counter(&m, "commands"), done);
		machine_finish(&m);
	}
}

/* Off and on again, while the first of the two waits for an access in flight. */
static void test_commands_while_one_is_under_way(void **state)
{
	struct viommu_pin pin = {.revoke = NULL};
	struct machine m;

	(void)state;
	machine_start(&m, POLLED, NULL, true);
	machine_map(&m, IOVA, IOVA, 4096, VI_PGTABLE_READ | VI_PGTABLE_WRITE);
	assert_int_equal(viommu_pin(m.thread, m.device, IOVA, 1, VIOMMU_WRITE, &pin), 0);
	machine_set32(&m, VTD_GCMD, machine_get32(&m, VTD_GCMD) & ~VTD_GCMD_TE);
	assert_int_equal(machine_get32(&m, VTD_GCMD), VTD_GCMD_QIE);
	assert_true(machine_get32(&m, VTD_GSTS) & VTD_GSTS_TES);
	put(&m, VTD_GCMD, machine_get32(&m, VTD_GCMD) | VTD_GCMD_TE);
	viommu_process(m.viommu, 16);
	viommu_unpin(&pin);
	machine_settle(&m);
	assert_int_equal(machine_get32(&m, VTD_GSTS), LASTING | VTD_GSTS_RTPS);
	assert_int_equal(machine_get32(&m, VTD_GCMD), LASTING);
	machine_expect_read(&m, IOVA, 0);
	machine_expect_read(&m, IOVA + 4096, -EACCES);
	machine_finish(&m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_overflow_is_acknowledged),
		cmocka_unit_test(test_write_hides_no_fault),
		cmocka_unit_test(test_queue_error_is_acknowledged),
		cmocka_unit_test(test_queue_runs_when_it_is_enabled),
		cmocka_unit_test(test_reminders_become_rare),
		cmocka_unit_test(test_constants_are_seen),
		cmocka_unit_test(test_each_look_changes_the_word),
		cmocka_unit_test(test_wait_is_acknowledged),
		cmocka_unit_test(test_commands),
		cmocka_unit_test(test_echo_of_commands_asks_for_nothing),
		cmocka_unit_test(test_commands_while_one_is_under_way),
	};

	return cmocka_run_group_tests_name("vtd write back", tests, NULL, NULL);
}
