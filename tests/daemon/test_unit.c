/* SPDX-License-Identifier: BSD-3-Clause */
/* daemon/functions/unit.c on a library that has run out of memory. */
#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#include <setjmp.h>
#include <cmocka.h>

#include "daemon/functions/unit.h"
#include "daemon/functions/function.h"
#include "daemon/functions/host.h"

static int64_t removed_part, removed_all;
static const struct viommu_host_ops *unit_ops;
static void *unit_opaque;
static bool on_work_thread;
static unsigned messages;
static unsigned processed; /* the budget of the last viommu_process() */
static unsigned iotlb_lg2; /* of the unit made last */

int64_t viommu_mem_remove(struct viommu *v, uint64_t gpa, uint64_t len)
{
	return len == UINT64_MAX ? removed_all : removed_part;
}

int viommu_mem_add(struct viommu *v, uint64_t gpa, uint64_t len, void *host, unsigned flags)
{
	return 0;
}

/* What else daemon/functions/unit.c asks for, and these tests do not. */
int viommu_create(const struct viommu_host_ops *ops, void *opaque, const struct viommu_options *opts,
		  struct viommu **ret_unit)
{
	unit_ops = ops;
	unit_opaque = opaque;
	iotlb_lg2 = opts->iotlb_lg2;
	*ret_unit = NULL;
	return 0;
}

void viommu_destroy(struct viommu *v)
{
}

int viommu_thread_create(struct viommu *v, struct viommu_thread **ret_thread)
{
	*ret_thread = NULL;
	return 0;
}

void viommu_thread_destroy(struct viommu_thread *t)
{
}

void viommu_reset(struct viommu *v)
{
}

int vfu_dma_read(struct vfu_server *s, uint64_t address, void *buf, size_t len)
{
	messages++;
	return 0;
}

int vfu_dma_write(struct vfu_server *s, uint64_t address, const void *buf, size_t len)
{
	messages++;
	return 0;
}

void vfu_dma_hold(struct vfu_server *s)
{
}

void vfu_dma_release(struct vfu_server *s)
{
}

int viommu_restore(struct viommu *v, const void *buf, size_t size)
{
	return 0;
}

int viommu_process(struct viommu *v, unsigned budget)
{
	processed = budget;
	return (int)budget / 2;
}

void waker_kick(struct waker *w)
{
}

static bool may_wait(void)
{
	return on_work_thread;
}

/* The status of a child that takes a page back. */
static int take_back(int64_t part, int64_t all, uint64_t left)
{
	static const struct rlimit no_core = {0, 0};
	static struct host host;
	static struct unit u = {.host = &host};
	int status = 0;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		setrlimit(RLIMIT_CORE, &no_core);
		signal(SIGABRT, SIG_DFL);
		u.lent = 8192;
		removed_part = part;
		removed_all = all;
		unit_take_back(&u, 0, 4096);
		_exit(u.lent == left ? 0 : 1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

static void memory_that_is_taken_back(void **state)
{
	assert_int_equal(take_back(4096, 0, 4096), 0);
	assert_int_equal(take_back(0, 0, 8192), 0);
}

static void all_is_taken_back_when_a_part_cannot_be(void **state)
{
	assert_int_equal(take_back(-ENOMEM, 8192, 0), 0);
}

/* What the unit still knows would be unmapped, and then devices would write to whatever comes there. */
static void memory_that_cannot_be_taken_back_ends_the_process(void **state)
{
	int status = take_back(-ENOMEM, -ENOMEM, 0);

	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGABRT);
}

/* The client that would have to answer may be waiting for the main thread. */
static void memory_is_asked_for_on_the_work_thread_only(void **state)
{
	static struct host host = {.may_wait = may_wait};
	struct viommu_options options = {.sz = sizeof(options)};
	struct unit *u;
	uint8_t byte = 0;

	assert_int_equal(unit_create(&host, &options, &u), 0);
	on_work_thread = false;
	assert_int_equal(unit_ops->mem_read(unit_opaque, 0, &byte, 1), -EDEADLK);
	assert_int_equal(unit_ops->mem_write(unit_opaque, 0, &byte, 1), -EDEADLK);
	assert_int_equal(messages, 0);
	on_work_thread = true;
	assert_int_equal(unit_ops->mem_read(unit_opaque, 0, &byte, 1), 0);
	assert_int_equal(unit_ops->mem_write(unit_opaque, 0, &byte, 1), 0);
	assert_int_equal(messages, 2);
	unit_destroy(u);
}

/* Zeroing 2 MiB for each unit of a VM would hold all VMs. */
static void a_state_is_tried_on_a_small_unit(void **state)
{
	static struct host host;
	struct viommu_options options = {.sz = sizeof(options)};
	struct unit u = {.host = &host, .options = &options};

	assert_int_equal(unit_restore_check(&u, "", 0), 0);
	assert_int_equal(iotlb_lg2, 6);
}

/* Else a VM with four units would have four times as much of the thread that works for all. */
static void units_of_a_vm_share_its_budget(void **state)
{
	static struct host host = {.unit_count = 1};
	struct unit u = {.host = &host};
	struct function_look look = {0};
	unsigned alone;

	unit_poll(&u, 64, &look);
	alone = processed;
	host.unit_count = 4;
	unit_poll(&u, 64, &look);
	assert_int_equal(processed, alone / 4);
	assert_int_equal(look.steps, alone / 2 + alone / 8);
	assert_true(look.deep);
	host.unit_count = UNITS_MAX;
	unit_poll(&u, 1, &look);
	assert_true(processed > 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(memory_that_is_taken_back),
		cmocka_unit_test(a_state_is_tried_on_a_small_unit),
		cmocka_unit_test(units_of_a_vm_share_its_budget),
		cmocka_unit_test(all_is_taken_back_when_a_part_cannot_be),
		cmocka_unit_test(memory_is_asked_for_on_the_work_thread_only),
		cmocka_unit_test(memory_that_cannot_be_taken_back_ends_the_process),
	};

	return cmocka_run_group_tests_name("unit", tests, NULL, NULL);
}
