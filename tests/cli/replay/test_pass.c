/* SPDX-License-Identifier: BSD-3-Clause */
/* The driver of the steps, with an observer of the test's own, and what address spaces count together. */
#include <string.h>
#include <sys/mman.h>

#include "testing.h"

#include "cli/replay/pass.h"

#define MS	UINT64_C(1000000)
#define DEVICES 2

static struct replay_steps steps;
static struct replay_memory memory;

/* Writes down what it is told, a letter each. */
struct log {
	struct viommu_backing backings[DEVICES];
	void *shadows[DEVICES];
	char text[64];
	size_t length;
	uint64_t now_ns;
	struct replay_call last;
};

static void note(struct log *l, char letter)
{
	if (l->length + 1 < sizeof(l->text))
		l->text[l->length++] = letter;
}

static int open_device(void *observer, unsigned device, struct viommu_backing *ret_backing, void **ret_shadow)
{
	struct log *l = observer;

	l->shadows[device] = replay_reserve(replay_pass_shadow_size(&steps));
	*ret_shadow = l->shadows[device];
	assert_int_equal(viommu_backing_observer_create(NULL, 48, &l->backings[device]), 0);
	*ret_backing = l->backings[device];
	return 0;
}

static void advance(void *observer, uint64_t now_ns)
{
	((struct log *)observer)->now_ns = now_ns;
}

static void maps(void *observer, uint64_t offset, uint64_t len)
{
	(void)offset;
	(void)len;
	note(observer, 'f');
}

static int mapped(void *observer, unsigned device, uint64_t offset, uint64_t len)
{
	(void)device;
	(void)offset;
	(void)len;
	note(observer, 'm');
	return 0;
}

static void unmaps(void *observer, unsigned device, uint64_t offset, const struct viommu_dma_mapping *mapping)
{
	(void)device;
	(void)offset;
	(void)mapping;
	note(observer, 'u');
}

static void call_begins(void *observer)
{
	note(observer, '(');
}

static int call_ends(void *observer, const struct replay_call *call)
{
	struct log *l = observer;

	l->last = *call;
	note(l, ')');
	return 0;
}

static void add(enum trace_kind kind, uint64_t time_ns, uint64_t mapping, unsigned device, uint64_t list)
{
	assert_int_equal(replay_steps_add(&steps, &(struct trace_step){.kind = kind,
								       .direction = TRACE_TO_DEVICE,
								       .time_ns = time_ns,
								       .mapping = mapping,
								       .device = device,
								       .phys = mapping * 0x10000,
								       .len = 4096,
								       .list = list}),
			 0);
}

/* A list of two for one device; for the other one a buffer that outlives it by 4 ms. */
static void make_trace(void)
{
	assert_int_equal(replay_steps_init(&steps), 0);
	add(TRACE_MAP, 0, 1, 0, 1);
	add(TRACE_MAP, 0, 2, 0, 1);
	add(TRACE_MAP, 0, 3, 1, 0);
	add(TRACE_UNMAP, 1 * MS, 1, 0, 2);
	add(TRACE_UNMAP, 1 * MS, 2, 0, 2);
	add(TRACE_UNMAP, 5 * MS, 3, 1, 0);
	add(TRACE_MAP, 30 * MS, 4, 1, 0);
	assert_int_equal(replay_steps_end(&steps), 0);
	assert_int_equal(replay_memory_init(&memory, &steps.blocks), 0);
}

static void play(struct replay_pass *p, const struct replay_observer_ops *ops, struct log *l,
		 const char *strategy)
{
	static struct replay_options options;
	char why[256];

	options = (struct replay_options){.strategy = strategy};
	assert_int_equal(replay_pass_init(p, &steps, &memory, &options, (struct replay_observer){ops, l}, why,
					  sizeof(why)),
			 0);
	assert_int_equal(replay_pass_execute(p), 0);
}

static void end(struct replay_pass *p, struct log *l)
{
	assert_int_equal(replay_pass_finish(p), 0);
	for (unsigned i = 0; i < DEVICES; i++) {
		viommu_backing_observer_destroy(&l->backings[i]);
		munmap(l->shadows[i], replay_pass_shadow_size(&steps));
	}
	replay_memory_finish(&memory);
	replay_steps_finish(&steps);
}

/* Around each call, and the buffers of a list one by one; nothing of what is unmapped behind the last step.
 */
static void test_what_is_told(void **state)
{
	static const struct replay_observer_ops ops = {
		.open = open_device,
		.advance = advance,
		.maps = maps,
		.mapped = mapped,
		.unmaps = unmaps,
		.call_begins = call_begins,
		.call_ends = call_ends,
	};
	struct replay_pass p;
	struct log l = {0};

	(void)state;
	make_trace();
	play(&p, &ops, &l, "single-use");
	assert_string_equal(l.text, "ff()mmf()muu()u()f()m");
	assert_int_equal(l.now_ns, 30 * MS);
	assert_int_equal(l.last.kind, REPLAY_MAP);
	assert_int_equal(l.last.device, 1);
	assert_int_equal(l.last.buffers, 1);
	assert_int_equal(l.last.bytes, 4096);
	assert_int_equal(p.maps, 4);
	assert_int_equal(p.unmaps, 3);
	end(&p, &l);
	assert_string_equal(l.text, "ff()mmf()muu()u()f()m");
}

static uint64_t counter(struct replay_pass *p, const char *name)
{
	uint64_t values[64];
	size_t count;
	const struct viommu_dma_counter_info *infos = viommu_dma_counters_describe(&count);

	assert_int_equal(replay_pass_counters(p, values, count), 0);
	for (size_t i = 0; i < count; i++)
		if (!strcmp(infos[i].name, name))
			return values[i];
	fail_msg("no counter %s", name);
	return 0;
}

/* An observer that needs nothing but to be below; the highest of what is no sum. */
static void test_counters_of_two_devices(void **state)
{
	static const struct replay_observer_ops ops = {.open = open_device};
	struct replay_pass p;
	struct log l = {0};

	(void)state;
	make_trace();
	play(&p, &ops, &l, "optimistic,limit-us=7000");
	assert_int_equal(counter(&p, "maps"), 4);
	assert_int_equal(counter(&p, "stale_ns_total"), 3 * 7 * MS);
	assert_int_equal(counter(&p, "stale_ns_max"), 7 * MS);
	assert_int_equal(counter(&p, "mapped_pages_peak"), 2);
	end(&p, &l);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_is_told),
		cmocka_unit_test(test_counters_of_two_devices),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
