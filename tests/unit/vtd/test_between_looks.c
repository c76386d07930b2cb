/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the guest writes to a polled page after the unit has looked at it, and
 * before the unit shows something there: by the linker's --wrap, at that very moment.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/bits.h"
#include "base/endian.h"
#include "core/fault_queue.h"
#include "machine.h"
#include "vtd/vtd.h"

#define UNMAPPED UINT64_C(0x7000)

bool __real_vi_regs_poll_word(struct vi_regs_page *p, unsigned offset);
bool __wrap_vi_regs_poll_word(struct vi_regs_page *p, unsigned offset);
bool __real_vi_fault_queue_pop(struct vi_fault_queue *q, struct vi_fault *ret_fault);
bool __wrap_vi_fault_queue_pop(struct vi_fault_queue *q, struct vi_fault *ret_fault);

/* The guest's write, and whether its moment came. */
static struct {
	uint8_t *page; /* NULL: none */
	unsigned offset;
	uint32_t value;
	bool came;
} write_at_moment;

static void arm(struct machine *m, unsigned offset, uint32_t value)
{
	write_at_moment.page = m->page;
	write_at_moment.offset = offset;
	write_at_moment.value = value;
	write_at_moment.came = false;
}

static void moment(void)
{
	if (!write_at_moment.page)
		return;
	vi_store_le32(write_at_moment.page + write_at_moment.offset, write_at_moment.value);
	write_at_moment.page = NULL;
	write_at_moment.came = true;
}

/* From other files than its own: of a word that is about to be changed. */
bool __wrap_vi_regs_poll_word(struct vi_regs_page *p, unsigned offset)
{
	moment();
	return __real_vi_regs_poll_word(p, offset);
}

bool __wrap_vi_fault_queue_pop(struct vi_fault_queue *q, struct vi_fault *ret_fault)
{
	bool popped = __real_vi_fault_queue_pop(q, ret_fault);

	if (popped)
		moment();
	return popped;
}

static void wait_with_interrupt(struct machine *m)
{
	vi_driver_vtd_submit(&m->driver, VTD_QI_WAIT | VTD_QI_WAIT_IF, 0);
	machine_settle(m);
}

/* IWC is clear when the next wait descriptor is done, so that one interrupts, too. */
static void test_wait_status_cleared_late(void **state)
{
	struct machine m;
	unsigned before;

	(void)state;
	machine_start(&m, POLLED, NULL, true);
	machine_set32(&m, VTD_IEDATA, 0x41);
	machine_set32(&m, VTD_IEADDR, 0xfee00000);
	machine_set32(&m, VTD_IECTL, 0);
	wait_with_interrupt(&m);
	before = m.msi_count;
	assert_true(machine_get32(&m, VTD_ICS) & VTD_ICS_IWC);
	arm(&m, VTD_ICS, VTD_ICS_IWC);
	wait_with_interrupt(&m);
	assert_int_equal(m.msi_count, before + 1);
	assert_true(write_at_moment.came);
	assert_true(machine_get32(&m, VTD_ICS) & VTD_ICS_IWC);
	machine_finish(&m);
}

/* The queue's error is acknowledged while a fault is recorded: the queue goes on. */
static void test_queue_error_cleared_late(void **state)
{
	struct machine m;
	uint64_t head;

	(void)state;
	machine_start(&m, POLLED, NULL, true);
	vi_driver_vtd_submit(&m.driver, 15, 0);
	machine_settle(&m);
	assert_true(machine_get32(&m, VTD_FSTS) & VTD_FSTS_IQE);
	head = machine_get64(&m, VTD_IQH);
	vi_driver_store64(&m.memory, m.driver.queue + head,
			  VTD_QI_IOTLB | vi_to_field(VTD_QI_GRANULARITY, 1));
	machine_expect_read(&m, UNMAPPED, -EACCES);
	arm(&m, VTD_FSTS, VTD_FSTS_IQE);
	machine_settle(&m);
	assert_true(write_at_moment.came);
	assert_true(machine_get32(&m, VTD_FSTS) & VTD_FSTS_PPF);
	assert_false(machine_get32(&m, VTD_FSTS) & VTD_FSTS_IQE);
	assert_int_not_equal(machine_get64(&m, VTD_IQH), head);
	machine_finish(&m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_wait_status_cleared_late),
		cmocka_unit_test(test_queue_error_cleared_late),
	};

	return cmocka_run_group_tests_name("vtd between looks", tests, NULL, NULL);
}
