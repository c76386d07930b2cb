/* SPDX-License-Identifier: BSD-3-Clause */
/* Calls that promise to wait do, sections are short, and a callback's work counts as in flight. */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/bits.h"
#include "machine.h"

#define IOVA UINT64_C(0x40000000)
#define GPA  UINT64_C(0x200000)
#define PAGE UINT64_C(4096)
#define RW   (VI_PGTABLE_READ | VI_PGTABLE_WRITE)

/* A call of the embedder on a thread of its own. */
struct caller {
	struct machine *m;
	void (*call)(struct machine *m);
	pthread_t thread;
	_Atomic bool begun, done;
};

static void *run_call(void *arg)
{
	struct caller *c = arg;

	atomic_store(&c->begun, true);
	c->call(c->m);
	atomic_store(&c->done, true);
	return NULL;
}

static void begin(struct caller *c, struct machine *m, void (*call)(struct machine *m))
{
	*c = (struct caller){.m = m, .call = call};
	assert_int_equal(pthread_create(&c->thread, NULL, run_call, c), 0);
}

/* Given time enough, would it return? A call that waits as it should never makes this true. */
static bool comes_back(struct caller *c)
{
	while (!atomic_load(&c->begun)) /* else a thread that has no core yet would pass for one that waits */
		usleep(100);
	for (unsigned i = 0; i < 100 && !atomic_load(&c->done); i++)
		usleep(2000);
	return atomic_load(&c->done);
}

static void remove_memory(struct machine *m)
{
	assert_int_equal(viommu_mem_remove(m->viommu, GPA, PAGE), PAGE);
}

static void add_memory(struct machine *m)
{
	assert_int_equal(viommu_mem_add(m->viommu, UINT64_C(0x80000000), PAGE, m->ram, VIOMMU_MEM_READ), 0);
}

static void reset(struct machine *m)
{
	viommu_reset(m->viommu);
}

static void remove_device(struct machine *m)
{
	viommu_requester_remove(m->device);
}

/* While a device is inside of a short guard with a translation, none of them returns. */
static void test_calls_wait_for_sections(void **state)
{
	void (*const calls[])(struct machine * m) = {remove_memory, add_memory, reset, remove_device};

	(void)state;
	for (size_t i = 0; i < VI_ARRAY_SIZE(calls); i++) {
		struct viommu_span span;
		struct caller c;
		struct machine m;

		machine_start(&m, TRAPPED, NULL, true);
		machine_map(&m, IOVA, GPA, PAGE, RW);
		viommu_enter(m.thread);
		assert_int_equal(viommu_translate(m.thread, m.device, IOVA, PAGE, VIOMMU_WRITE, &span), 0);
		begin(&c, &m, calls[i]);
		assert_false(comes_back(&c));
		*(uint8_t *)span.host = 1;
		viommu_exit(m.thread);
		pthread_join(c.thread, NULL);
		machine_finish(&m);
	}
}

/* Nor while it holds a pin. */
static void test_calls_wait_for_pins(void **state)
{
	void (*const calls[])(struct machine * m) = {remove_memory, reset, remove_device};

	(void)state;
	for (size_t i = 0; i < VI_ARRAY_SIZE(calls); i++) {
		struct viommu_pin pin = {.revoke = NULL};
		struct caller c;
		struct machine m;

		machine_start(&m, TRAPPED, NULL, true);
		machine_map(&m, IOVA, GPA, PAGE, RW);
		assert_int_equal(viommu_pin(m.thread, m.device, IOVA, PAGE, VIOMMU_WRITE, &pin), 0);
		begin(&c, &m, calls[i]);
		assert_false(comes_back(&c));
		viommu_unpin(&pin);
		pthread_join(c.thread, NULL);
		machine_finish(&m);
	}
}

static struct caller removal;
static unsigned callbacks;
static bool was_removed;

static void remove_in_the_first_piece(struct machine *m)
{
	if (callbacks++ == 0)
		begin(&removal, m, remove_device);
	was_removed = was_removed || comes_back(&removal);
}

/* A call of two pieces is one use of the device: between them, where it is in no section, it still counts. */
static void test_device_removal_waits_for_a_call_in_pieces(void **state)
{
	uint8_t buf[2 * 4096];
	struct machine m;

	(void)state;
	callbacks = 0;
	was_removed = false;
	machine_start(&m, TRAPPED, NULL, true);
	machine_map(&m, IOVA, MACHINE_FAR, sizeof(buf), RW);
	m.during_callback = remove_in_the_first_piece;
	assert_int_equal(machine_read(&m, IOVA, buf, sizeof(buf)), 0);
	assert_int_equal(callbacks, 2);
	assert_false(was_removed);
	pthread_join(removal.thread, NULL);
	machine_finish(&m);
}

static int flush_result;

static void invalidate_meanwhile(struct machine *m)
{
	m->patience = 50;
	flush_result = vi_driver_vtd_flush_range(&m->driver, MACHINE_DOMAIN, IOVA, IOVA + PAGE - 1);
}

static bool is_complete(struct machine *m)
{
	return vi_driver_load32(&m->memory, m->driver.status) == m->driver.sequence;
}

/* Memory behind callbacks: the invalidation of what a callback works on is complete after the callback. */
static void test_invalidation_waits_for_a_callback(void **state)
{
	uint8_t byte = 1;
	struct machine m;

	(void)state;
	for (unsigned write = 0; write < 2; write++) {
		machine_start(&m, TRAPPED, NULL, true);
		machine_map(&m, IOVA, MACHINE_FAR, PAGE, RW);
		m.during_callback = invalidate_meanwhile;
		flush_result = 0;
		assert_int_equal(write ? machine_write(&m, IOVA, &byte, 1) : machine_read(&m, IOVA, &byte, 1),
				 0);
		assert_int_equal(flush_result, -ETIMEDOUT);
		machine_settle(&m);
		assert_true(is_complete(&m));
		machine_finish(&m);
	}
}

#define COPY	(UINT64_C(2) << 20)
#define FAULT_1 (UINT64_C(1) << 20)
#define FAULT_2 (FAULT_1 + (UINT64_C(256) << 10))

/* The copy's own buffer has two pages that fault when the copy comes to them. */
static struct {
	struct machine *m;
	uint8_t *buf;
	unsigned faults;
	int result;
	bool complete_at_the_first, complete_at_the_second;
} copying;

static void on_fault(int number, siginfo_t *info, void *context)
{
	uint8_t *at = (uint8_t *)vi_align_down((uintptr_t)info->si_addr, PAGE);

	(void)context;
	if ((at != copying.buf + FAULT_1 && at != copying.buf + FAULT_2) ||
	    mprotect(at, PAGE, PROT_READ | PROT_WRITE) != 0) {
		signal(number, SIG_DFL);
		return;
	}
	if (copying.faults++ == 0) { /* memcpy() need not begin at the beginning */
		copying.m->patience = 20;
		copying.result =
			vi_driver_vtd_flush_range(&copying.m->driver, MACHINE_DOMAIN, IOVA - PAGE, IOVA - 1);
		copying.complete_at_the_first = is_complete(copying.m);
	} else {
		machine_settle(copying.m);
		copying.complete_at_the_second = is_complete(copying.m);
	}
}

/* An invalidation that begins in the middle of a long copy is not held up by the rest of it. */
static void test_long_copies_are_short_sections(void **state)
{
	struct sigaction action = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_NODEFER}, before;
	struct machine m;
	int ret;

	(void)state;
	machine_start(&m, TRAPPED, NULL, true);
	machine_map(&m, IOVA, GPA, COPY, RW);
	memset(&copying, 0, sizeof(copying));
	copying.m = &m;
	copying.buf = mmap(NULL, COPY, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_true((void *)copying.buf != MAP_FAILED);
	assert_int_equal(mprotect(copying.buf + FAULT_1, PAGE, PROT_NONE), 0);
	assert_int_equal(mprotect(copying.buf + FAULT_2, PAGE, PROT_NONE), 0);
	assert_int_equal(sigaction(SIGSEGV, &action, &before), 0);
	ret = machine_read(&m, IOVA, copying.buf, COPY);
	sigaction(SIGSEGV, &before, NULL);
	assert_int_equal(ret, 0);
	assert_int_equal(copying.faults, 2);
	assert_int_equal(copying.result, -ETIMEDOUT);
	assert_false(copying.complete_at_the_first);
	assert_true(copying.complete_at_the_second);
	munmap(copying.buf, COPY);
	machine_finish(&m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_calls_wait_for_sections),
		cmocka_unit_test(test_calls_wait_for_pins),
		cmocka_unit_test(test_device_removal_waits_for_a_call_in_pieces),
		cmocka_unit_test(test_invalidation_waits_for_a_callback),
		cmocka_unit_test(test_long_copies_are_short_sections),
	};

	return cmocka_run_group_tests_name("core waits", tests, NULL, NULL);
}
