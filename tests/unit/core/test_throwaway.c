/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A throw-away model: what a new one needs to be a unit that translates, faults,
 * drains, remaps messages, saves and restores. It has a resolve of ten lines and a
 * translator of its own: one leaf of any size, at any place. With it are tested
 * those parts of core that the models of lib/ have no use for yet.
 */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <viommu/access.h>

#include "base/bits.h"
#include "core/context.h"
#include "core/domain.h"
#include "core/drain.h"
#include "core/host.h"
#include "core/state.h"
#include "core/unit.h"

#define RAM_SIZE (UINT64_C(4) << 20)
#define PAGE	 UINT64_C(4096)
#define RID	 0x0110
#define DOMAIN	 0xffff
#define RW	 (VIOMMU_READ | VIOMMU_WRITE)
#define MESSAGE	 UINT64_C(0xfee00000)
#define NUMBERS	 4 /* at most, of a state */

enum { NOT_THERE = 1, OUTSIDE, TO_MESSAGE, NO_RIGHT, RESERVED, BAD_MESSAGE };

/* The model's state is the bed: there is nothing else. */
struct bed {
	struct viommu *viommu;
	struct viommu_requester *device;
	struct viommu_thread *thread;
	uint8_t *ram;

	struct vi_translation t; /* without its translator */
	struct vi_leaf leaf;
	uint8_t size_lg2;
	struct vi_message becomes;
	vi_reason refuses; /* messages */
	struct vi_drain drain;
	uint64_t numbers[NUMBERS], count; /* of the state, and how many of them */

	unsigned sent, faults;
	uint32_t last_pasid, asked_for;
	struct vi_message last_sent;
	uint8_t last_reason;
	void (*during_message)(struct bed *b);
};

/* -------------------------------------------------------------------- the model */

static struct bed *bed_of(const struct vi_translator *t)
{
	return (struct bed *)(uintptr_t)t->state;
}

static struct vi_walk walk(const struct vi_translator *t, const struct vi_guestmem *gm, uint64_t iova,
			   unsigned need, bool any)
{
	const struct bed *b = bed_of(t);
	struct vi_walk w = {.reads = 1,
			    .level = 1,
			    .top = true,
			    .access = b->leaf.access,
			    .size_lg2 = b->size_lg2,
			    .address = b->leaf.address};

	(void)gm;
	if (iova < b->leaf.first || iova > b->leaf.last)
		w.result = VI_WALK_TABLE_ACCESS;
	else if (any ? !(b->leaf.access & need) : (need & ~b->leaf.access) != 0)
		w.result = VI_WALK_DENIED;
	return w;
}

static enum vi_next_result next(const struct vi_translator *t, const struct vi_guestmem *gm,
				uint64_t *io_iova, uint64_t *io_budget, struct vi_leaf *ret_leaf)
{
	(void)gm;
	if (*io_iova > bed_of(t)->leaf.last)
		return VI_NEXT_END;
	--*io_budget;
	*ret_leaf = bed_of(t)->leaf;
	return VI_NEXT_FOUND;
}

static const struct vi_translator_ops translator = {.walk = walk, .next = next};

static vi_reason resolve(void *state, uint16_t rid, uint32_t pasid, struct vi_translation *ret_translation)
{
	struct bed *b = state;

	if (rid != RID)
		return NOT_THERE;
	*ret_translation = b->t;
	if (pasid != VIOMMU_NO_PASID)
		ret_translation->domain_id = (uint16_t)pasid;
	b->asked_for = pasid;
	ret_translation->translator = (struct vi_translator){.ops = &translator, .state = b};
	return 0;
}

static vi_reason describe(void *state, uint16_t rid, uint32_t pasid, struct vi_translation *ret_translation,
			  struct viommu_requester_info *ret_info)
{
	(void)ret_info;
	return resolve(state, rid, pasid, ret_translation);
}

static vi_reason remap(void *state, uint16_t rid, struct vi_message *io_message)
{
	struct bed *b = state;

	(void)rid;
	if (b->during_message)
		b->during_message(b);
	io_message->silent = b->becomes.silent;
	if (b->refuses)
		return b->refuses;
	*io_message = b->becomes;
	return 0;
}

static struct bed *making; /* init() gets no state of the program */

static int init(struct viommu *v, const void *options, void **ret_state)
{
	(void)v;
	(void)options;
	*ret_state = making;
	return 0;
}

static void finish(void *state)
{
	(void)state;
}

static void reset(void *state)
{
	struct bed *b = state;

	b->drain = (struct vi_drain){.active = false};
}

/* The first number tells how many follow. */
static void go_through(void *state, struct vi_state *s)
{
	struct bed *b = state;

	vi_state_number(s, &b->count, NUMBERS);
	for (uint64_t i = 0; i < b->count && !s->bad; i++)
		vi_state_number(s, &b->numbers[i], UINT64_MAX);
}

static int restore(void *state, const uint8_t *numbers, size_t length)
{
	struct vi_state s = {.bytes = (uint8_t *)(uintptr_t)numbers, .size = length, .loading = true};
	struct bed spare = *(struct bed *)state, *b = state;

	go_through(&spare, &s);
	if (s.bad || s.used != length)
		return -EBADMSG;
	b->count = spare.count;
	memcpy(b->numbers, spare.numbers, sizeof(b->numbers));
	return 0;
}

static size_t no_registers(const void *state)
{
	(void)state;
	return 0;
}

static int process(void *state, unsigned budget)
{
	struct bed *b = state;
	struct vi_fault f;
	int done = 0;

	vi_lock_assert(&b->viommu->lock);
	for (; budget > 0 && vi_fault_take(b->viommu, &f); budget--, done++) {
		b->faults++;
		b->last_reason = f.reason;
		b->last_pasid = f.pasid;
	}
	if (b->drain.active && !vi_drain_poll(b->viommu, &b->drain))
		return done | VIOMMU_PROCESS_PENDING;
	return done;
}

/* A command that was under way changes how long the state is. */
static bool settle(void *state)
{
	struct bed *b = state;

	if (b->numbers[0] == 1) {
		b->numbers[0] = 2;
		b->count = 3;
	}
	return false;
}

static vi_reason walk_reason(const struct vi_walk *w, bool write)
{
	(void)write;
	return w->result == VI_WALK_DENIED ? NO_RIGHT : w->result == VI_WALK_RESERVED ? RESERVED : NOT_THERE;
}

static const char *reason_text(vi_reason reason)
{
	(void)reason;
	return "a reason";
}

static const struct vi_model_ops model = {
	.init = init,
	.finish = finish,
	.reset = reset,
	.state_number = 99,
	.state = go_through,
	.restore = restore,
	.regs_size = no_registers,
	.process = process,
	.settle = settle,
	.resolve = resolve,
	.describe = describe,
	.remap = remap,
	.walk_reason = walk_reason,
	.out_of_bounds = OUTSIDE,
	.leads_to_message = TO_MESSAGE,
	.reason_text = reason_text,
};

/* ------------------------------------------------------------------ the program */

static void on_msi(void *opaque, uint16_t rid, uint64_t address, uint32_t data)
{
	struct bed *b = opaque;

	assert_int_equal(rid, RID);
	b->last_sent = (struct vi_message){.address = address, .data = data};
	b->sent++;
}

static void begin(struct bed *b)
{
	const struct viommu_host_ops ops = {.sz = sizeof(ops), .msi = on_msi};
	const struct viommu_options options = {.sz = sizeof(options), .host_address_width = 52};

	*b = (struct bed){.ram = calloc(1, RAM_SIZE)};
	b->t = (struct vi_translation){.kind = VI_TRANSLATION_BY_TRANSLATOR,
				       .has_domain = true,
				       .domain_id = DOMAIN,
				       .rights = RW,
				       .last = VI_BITS(47, 0)};
	making = b;
	assert_int_equal(vi_unit_create(&ops, b, &options, &model, &b->viommu), 0);
	assert_int_equal(viommu_mem_add(b->viommu, 0, RAM_SIZE, b->ram, VIOMMU_MEM_READ | VIOMMU_MEM_WRITE),
			 0);
	assert_int_equal(viommu_requester_add(b->viommu, RID, &b->device), 0);
	assert_int_equal(viommu_thread_create(b->viommu, &b->thread), 0);
}

static void end(struct bed *b)
{
	viommu_destroy(b->viommu);
	free(b->ram);
}

/* The one leaf; 2^size_lg2 bytes at iova lead to address. */
static void lay(struct bed *b, uint64_t iova, unsigned size_lg2, uint64_t address, unsigned access)
{
	b->leaf = (struct vi_leaf){iova, iova + VI_BIT(size_lg2) - 1, address, access};
	b->size_lg2 = (uint8_t)size_lg2;
}

/* Forget what is cached, as a reset does. */
static void forget(struct bed *b)
{
	viommu_reset(b->viommu);
}

/* Drop by the model's own calls: the range, or the device's context when first > last. */
static void invalidate(struct bed *b, uint64_t first, uint64_t last)
{
	vi_lock_take(&b->viommu->lock);
	b->drain = (struct vi_drain){.active = false};
	vi_iotlb_invalidate_range(b->viommu, &b->drain, DOMAIN, first, last);
	vi_drain_begin(b->viommu, &b->drain);
	vi_lock_give(&b->viommu->lock);
	while (viommu_process(b->viommu, 64) & VIOMMU_PROCESS_PENDING)
		continue;
}

static int put(struct bed *b, uint64_t iova, uint8_t value)
{
	return viommu_write(b->thread, b->device, iova, &value, 1);
}

static void expect_fault(struct bed *b, uint64_t iova, uint8_t reason)
{
	unsigned before = b->faults;

	assert_int_equal(put(b, iova, 1), -EACCES);
	viommu_process(b->viommu, 64);
	assert_int_equal(b->faults, before + 1);
	assert_int_equal(b->last_reason, reason);
}

/* ------------------------------------------------------------------ translation */

static void test_translates_and_faults(void **state)
{
	struct bed b;

	(void)state;
	begin(&b);
	lay(&b, 16 * PAGE, 12, 3 * PAGE, RW);
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(put(&b, 16 * PAGE + 5, (uint8_t)(7 + i)), 0);
		assert_int_equal(b.ram[3 * PAGE + 5], 7 + i);
	}
	expect_fault(&b, 17 * PAGE, NOT_THERE);
	lay(&b, 16 * PAGE, 12, 3 * PAGE, VIOMMU_READ);
	invalidate(&b, 16 * PAGE, 17 * PAGE - 1);
	expect_fault(&b, 16 * PAGE, NO_RIGHT);
	lay(&b, 16 * PAGE, 12, MESSAGE, RW);
	invalidate(&b, 16 * PAGE, 17 * PAGE - 1);
	expect_fault(&b, 16 * PAGE, TO_MESSAGE);
	end(&b);
}

/* Bytes that the device may reach from iova on, by a span. */
static size_t room(struct bed *b, uint64_t iova)
{
	struct viommu_span span = {.len = 0};

	viommu_enter(b->thread);
	if (viommu_translate(b->thread, b->device, iova, RAM_SIZE, VIOMMU_WRITE, &span))
		span.len = 0;
	viommu_exit(b->thread);
	return span.len;
}

static void test_bounds_and_rights_of_the_entry(void **state)
{
	struct bed b;
	uint8_t byte;

	(void)state;
	begin(&b);
	b.t.first = 2 * PAGE;
	b.t.last = 8 * PAGE - 1;
	lay(&b, 0, 21, 0, RW);
	for (unsigned i = 0; i < 2; i++) { /* looked up, and cached */
		expect_fault(&b, PAGE, OUTSIDE);
		expect_fault(&b, 8 * PAGE, OUTSIDE);
		assert_int_equal(room(&b, 7 * PAGE), PAGE);
		assert_int_equal(room(&b, 2 * PAGE), 6 * PAGE);
	}
	forget(&b);
	b.t.first = 0;
	assert_int_equal(room(&b, 7 * PAGE), PAGE);
	assert_int_equal(room(&b, 7 * PAGE), PAGE);
	forget(&b);
	b.t.rights = VIOMMU_READ;
	assert_int_equal(viommu_read(b.thread, b.device, PAGE, &byte, 1), 0);
	expect_fault(&b, PAGE, NO_RIGHT);
	forget(&b);
	/* A read of nothing wants one right, whichever it is. */
	b.t.rights = VIOMMU_WRITE;
	assert_int_equal(viommu_read(b.thread, b.device, PAGE, &byte, 0), 0);
	assert_int_equal(viommu_read(b.thread, b.device, PAGE, &byte, 1), -EACCES);
	end(&b);
}

static void test_leaves_of_any_size(void **state)
{
	struct bed b;

	(void)state;
	begin(&b);
	for (unsigned size_lg2 = 12; size_lg2 <= 21; size_lg2++) {
		lay(&b, VI_BIT(21), size_lg2, VI_BIT(20), RW);
		forget(&b);
		for (unsigned i = 0; i < 2; i++) {
			memset(b.ram, 0, RAM_SIZE);
			assert_int_equal(put(&b, b.leaf.first + 1, 1), 0);
			assert_int_equal(put(&b, b.leaf.last, 2), 0);
			assert_int_equal(b.ram[VI_BIT(20) + 1], 1);
			assert_int_equal(b.ram[VI_BIT(20) + VI_BIT(size_lg2) - 1], 2);
			expect_fault(&b, b.leaf.last + 1, NOT_THERE);
		}
	}
	/* The guest takes one page of the leaf away: all of what was cached of it goes. */
	lay(&b, VI_BIT(21), 16, VI_BIT(20), RW);
	forget(&b);
	assert_int_equal(put(&b, b.leaf.last, 1), 0);
	invalidate(&b, VI_BIT(21), VI_BIT(21) + PAGE - 1);
	lay(&b, 0, 12, 0, RW);
	expect_fault(&b, VI_BIT(21) + 15 * PAGE, NOT_THERE);
	end(&b);
}

/* 2 MiB of addresses lead to memory that is aligned to no more than a page. */
static void test_memory_is_aligned_to_pages(void **state)
{
	struct bed b;

	(void)state;
	begin(&b);
	lay(&b, VI_BIT(22), 21, 3 * PAGE, RW);
	for (unsigned i = 0; i < 2; i++) {
		b.ram[8 * PAGE + 9] = 0;
		assert_int_equal(put(&b, VI_BIT(22) + 5 * PAGE + 9, 1), 0);
		assert_int_equal(b.ram[8 * PAGE + 9], 1);
	}
	end(&b);
}

/* Tags and the keys of pins have no place for more bits: nothing may be cached under another's, and pins are
 * asked back all the same. */
static void test_addresses_of_64_bits(void **state)
{
	struct bed b;

	(void)state;
	begin(&b);
	b.t.last = UINT64_MAX;
	lay(&b, VI_BIT(54) + 8 * PAGE, 12, PAGE, RW);
	assert_int_equal(put(&b, VI_BIT(54) + 8 * PAGE, 7), 0);
	assert_int_equal(b.ram[PAGE], 7);
	lay(&b, 8 * PAGE, 12, 2 * PAGE, RW);
	assert_int_equal(put(&b, 8 * PAGE, 8), 0); /* the bits that a tag has are the same */
	assert_int_equal(b.ram[2 * PAGE], 8);
	assert_int_equal(b.ram[PAGE], 7);
	lay(&b, VI_BIT(52) - PAGE, 12, PAGE, RW);
	assert_int_equal(put(&b, VI_BIT(52) - PAGE, 1), 0);
	lay(&b, 0, 12, VI_BIT(52) | PAGE, RW);
	expect_fault(&b, 0, RESERVED);
	lay(&b, 0, 21, VI_BIT(52) - PAGE, RW); /* the second page would be at 0 */
	expect_fault(&b, PAGE, RESERVED);
	end(&b);
}

/* ----------------------------------------------------------------------- PASIDs */

static unsigned asked_back;

static void on_revoke(struct viommu_pin *pin)
{
	asked_back++;
	atomic_store((_Atomic bool *)pin->opaque, true);
}

/* Gives its pin back once that is asked for. */
static void *give_back(void *arg)
{
	struct viommu_pin *pin = arg;

	while (!atomic_load((_Atomic bool *)pin->opaque))
		sched_yield();
	viommu_unpin(pin);
	return NULL;
}

static void pin(struct bed *b, struct viommu_requester *r, struct viommu_pin *pin, _Atomic bool *revoked)
{
	*pin = (struct viommu_pin){.revoke = on_revoke, .opaque = revoked};
	atomic_store(revoked, false);
	assert_int_equal(viommu_pin(b->thread, r, 0, 8, VIOMMU_READ, pin), 0);
}

static void test_a_handle_for_each_pasid(void **state)
{
	struct viommu_requester_info info = {.sz = sizeof(info)};
	struct viommu_requester *one, *two, *more;
	uint8_t byte = 1;
	struct bed b;

	(void)state;
	begin(&b);
	lay(&b, 0, 12, PAGE, RW);
	assert_int_equal(viommu_requester_pasid_add(b.device, 1, &one), 0);
	assert_int_equal(viommu_requester_pasid_add(b.device, 0xfffff, &two), 0);
	assert_int_equal(viommu_requester_pasid_add(b.device, 1, &more), -EEXIST);
	assert_int_equal(viommu_requester_pasid_add(b.device, 0x100000, &more), -EINVAL);
	assert_int_equal(viommu_requester_pasid_add(one, 2, &more), -EINVAL);
	assert_int_equal(put(&b, 0, 1), 0);
	assert_true(b.asked_for == VIOMMU_NO_PASID);
	assert_int_equal(viommu_write(b.thread, one, 0, &byte, 1), 0);
	assert_int_equal(b.asked_for, 1);
	assert_int_equal(viommu_write(b.thread, two, 0, &byte, 1), 0);
	assert_int_equal(b.asked_for, 0xfffff);
	/* What is cached for one is not for the other: 1 is the domain of the PASID 1 in this model. */
	lay(&b, 0, 12, 2 * PAGE, RW);
	vi_lock_take(&b.viommu->lock);
	vi_iotlb_invalidate_domain(b.viommu, &b.drain, 1);
	vi_lock_give(&b.viommu->lock);
	byte = 7;
	assert_int_equal(viommu_write(b.thread, one, 0, &byte, 1), 0);
	assert_int_equal(b.ram[2 * PAGE], 7);
	assert_int_equal(viommu_write(b.thread, two, 0, &byte, 1), 0);
	assert_int_equal(b.ram[PAGE], 7);
	assert_int_equal(viommu_write(b.thread, two, 8 * PAGE, &byte, 1), -EACCES);
	viommu_process(b.viommu, 64);
	assert_int_equal(b.last_pasid, 0xfffff);
	assert_int_equal(viommu_requester_describe(two, &info), 0);
	assert_int_equal(info.pasid, 0xfffff);
	assert_int_equal(viommu_requester_describe(b.device, &info), 0);
	assert_true(info.pasid == VIOMMU_NO_PASID);
	end(&b); /* with all that is there */
}

static void test_handles_with_a_pasid_go(void **state)
{
	struct viommu_requester *one, *two, *again;
	uint64_t before[64], after[64];
	_Atomic bool revoked[3];
	struct viommu_pin pins[3];
	pthread_t giver[3];
	struct bed b;

	(void)state;
	begin(&b);
	lay(&b, 0, 12, PAGE, RW);
	assert_int_equal(viommu_requester_pasid_add(b.device, 1, &one), 0);
	assert_int_equal(viommu_requester_pasid_add(b.device, 2, &two), 0);
	pin(&b, b.device, &pins[0], &revoked[0]);
	pin(&b, one, &pins[1], &revoked[1]);
	pin(&b, two, &pins[2], &revoked[2]);
	asked_back = 0;
	viommu_counters_read(b.viommu, before, 64);
	assert_int_equal(pthread_create(&giver[1], NULL, give_back, &pins[1]), 0);
	viommu_requester_remove(one);
	assert_int_equal(asked_back, 1);
	pthread_join(giver[1], NULL);
	assert_false(atomic_load(&revoked[0]) || atomic_load(&revoked[2]));
	viommu_counters_read(b.viommu, after, 64);
	assert_int_equal(before[VI_COUNT_pins], 3);
	assert_int_equal(after[VI_COUNT_pins], 3);
	assert_int_equal(viommu_requester_pasid_add(b.device, 1, &again), 0);
	assert_int_equal(pthread_create(&giver[0], NULL, give_back, &pins[0]), 0);
	assert_int_equal(pthread_create(&giver[2], NULL, give_back, &pins[2]), 0);
	viommu_requester_remove(b.device);
	assert_int_equal(asked_back, 3);
	pthread_join(giver[0], NULL);
	pthread_join(giver[2], NULL);
	viommu_counters_read(b.viommu, after, 64);
	assert_int_equal(after[VI_COUNT_pins], 3);
	assert_int_equal(viommu_requester_add(b.viommu, RID, &b.device), 0);
	assert_int_equal(put(&b, 0, 1), 0);
	end(&b);
}

/* An invalidation of all addresses of a domain, as a model makes one when the guest unmaps all. */
static void test_invalidation_to_the_last_address(void **state)
{
	struct viommu_pin pins[2];
	struct viommu_requester *one, *two;
	_Atomic bool revoked[2];
	pthread_t giver;
	struct bed b;

	(void)state;
	begin(&b);
	lay(&b, 0, 12, PAGE, RW);
	assert_int_equal(viommu_requester_pasid_add(b.device, 1, &one), 0);
	assert_int_equal(viommu_requester_pasid_add(b.device, 2, &two), 0);
	pin(&b, one, &pins[0], &revoked[0]);
	pin(&b, two, &pins[1], &revoked[1]);
	assert_int_equal(pthread_create(&giver, NULL, give_back, &pins[0]), 0);
	for (unsigned i = 0; i < 2; i++) {
		vi_lock_take(&b.viommu->lock);
		b.drain = (struct vi_drain){.active = false};
		vi_iotlb_invalidate_range(b.viommu, &b.drain, 1, i == 0 ? VI_BIT(52) : 0, UINT64_MAX);
		vi_drain_begin(b.viommu, &b.drain);
		vi_lock_give(&b.viommu->lock);
		for (unsigned n = 0; viommu_process(b.viommu, 64) & VIOMMU_PROCESS_PENDING && n < 1000000;
		     n++)
			sched_yield();
		assert_false(b.drain.active);
		/* None is pinned from 2^52 on, and none of another domain is asked back. */
		assert_int_equal(atomic_load(&revoked[0]), i == 1);
		assert_false(atomic_load(&revoked[1]));
	}
	pthread_join(giver, NULL);
	viommu_unpin(&pins[1]);
	end(&b);
}

/* ------------------------------------------------------------------------ reach */

static int note(void *arg, uint64_t first, uint64_t last, uint64_t gpa, unsigned access)
{
	char *text = arg;
	size_t used = strlen(text);

	snprintf(text + used, 128 - used, "%llx-%llx:%llx,%u;", (unsigned long long)first,
		 (unsigned long long)last, (unsigned long long)gpa, access);
	return 0;
}

static void test_reach_knows_bounds_and_rights(void **state)
{
	char text[128] = "";
	struct bed b;

	(void)state;
	begin(&b);
	b.t.first = 2 * PAGE;
	b.t.last = 4 * PAGE - 1;
	b.t.rights = VIOMMU_READ;
	lay(&b, 0, 21, 0x100000, RW);
	assert_int_equal(viommu_reach(b.device, 100, note, text), 0);
	assert_string_equal(text, "2000-3fff:102000,1;");
	b.t.kind = VI_TRANSLATION_IDENTITY;
	text[0] = '\0';
	assert_int_equal(viommu_reach(b.device, 100, note, text), 0);
	assert_string_equal(text, "2000-3fff:2000,1;");
	b.t.rights = 0;
	text[0] = '\0';
	assert_int_equal(viommu_reach(b.device, 100, note, text), 0);
	assert_string_equal(text, "");
	end(&b);
}

/* --------------------------------------------------------------------- messages */

static int send_message_as(struct bed *b, struct viommu_requester *r)
{
	const uint32_t data = 0x31;

	return viommu_write(b->thread, r, MESSAGE + 0x10, &data, sizeof(data));
}

static int send_message(struct bed *b)
{
	return send_message_as(b, b->device);
}

static void test_messages_are_remapped(void **state)
{
	uint64_t refusals[VIOMMU_REASONS];
	struct bed b;

	(void)state;
	begin(&b);
	b.becomes = (struct vi_message){.address = 0xfee01000, .data = 0x42};
	assert_int_equal(send_message(&b), 0);
	assert_int_equal(b.sent, 1);
	assert_int_equal(b.last_sent.address, 0xfee01000);
	assert_int_equal(b.last_sent.data, 0x42);
	b.becomes.posted = true;
	assert_int_equal(send_message(&b), 0);
	assert_int_equal(b.sent, 1);
	b.refuses = BAD_MESSAGE;
	assert_int_equal(send_message(&b), -EACCES);
	viommu_process(b.viommu, 64);
	assert_int_equal(b.faults, 1);
	assert_int_equal(b.last_reason, BAD_MESSAGE);
	b.becomes.silent = true;
	assert_int_equal(send_message(&b), -EACCES);
	viommu_process(b.viommu, 64);
	assert_int_equal(b.faults, 1);
	viommu_refusals_read(b.viommu, refusals, VIOMMU_REASONS);
	assert_int_equal(refusals[BAD_MESSAGE], 2);
	assert_int_equal(b.sent, 1);
	end(&b);
}

static void test_a_refused_message_tells_its_pasid(void **state)
{
	struct viommu_requester *one;
	struct bed b;

	(void)state;
	begin(&b);
	b.refuses = BAD_MESSAGE;
	assert_int_equal(viommu_requester_pasid_add(b.device, 1, &one), 0);
	assert_int_equal(send_message_as(&b, one), -EACCES);
	viommu_process(b.viommu, 64);
	assert_int_equal(b.last_pasid, 1);
	assert_int_equal(send_message(&b), -EACCES);
	viommu_process(b.viommu, 64);
	assert_true(b.last_pasid == VIOMMU_NO_PASID);
	end(&b);
}

static bool was_over;

/* The guest changes what messages become, while one was looked up and is not sent yet. */
static void change_meanwhile(struct bed *b)
{
	vi_lock_take(&b->viommu->lock);
	b->drain = (struct vi_drain){.active = false};
	vi_drain_note_everything(&b->drain);
	vi_drain_begin(b->viommu, &b->drain);
	vi_lock_give(&b->viommu->lock);
	was_over = !(viommu_process(b->viommu, 64) & VIOMMU_PROCESS_PENDING);
}

static void test_drain_waits_for_messages(void **state)
{
	struct bed b;

	(void)state;
	begin(&b);
	was_over = true;
	b.during_message = change_meanwhile;
	assert_int_equal(send_message(&b), 0);
	assert_false(was_over);
	assert_int_equal(viommu_process(b.viommu, 64) & VIOMMU_PROCESS_PENDING, 0);
	end(&b);
}

/* ----------------------------------------------------------------------- states */

static void test_states_of_any_length(void **state)
{
	uint8_t bytes[256];
	struct bed b;
	int64_t size;

	(void)state;
	begin(&b);
	for (b.count = 0; b.count <= NUMBERS; b.count++) {
		uint64_t count = b.count;

		for (unsigned i = 0; i < NUMBERS; i++)
			b.numbers[i] = 100 + i;
		size = viommu_save(b.viommu, bytes, sizeof(bytes));
		assert_int_equal(size, 32 + 8 * (1 + count) + 4);
		memset(b.numbers, 0, sizeof(b.numbers));
		b.count = 1;
		assert_int_equal(viommu_restore(b.viommu, bytes, (size_t)size), 0);
		assert_int_equal(b.count, count);
		for (unsigned i = 0; i < count; i++)
			assert_int_equal(b.numbers[i], 100 + i);
	}
	/* What is under way is over before it is saved, and its length is that of then. */
	b.count = 1;
	b.numbers[0] = 1;
	size = viommu_save(b.viommu, bytes, sizeof(bytes));
	assert_int_equal(size, 32 + 8 * 4 + 4);
	assert_int_equal(viommu_restore(b.viommu, bytes, (size_t)size), 0);
	assert_int_equal(b.count, 3);
	end(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_translates_and_faults),
		cmocka_unit_test(test_bounds_and_rights_of_the_entry),
		cmocka_unit_test(test_leaves_of_any_size),
		cmocka_unit_test(test_memory_is_aligned_to_pages),
		cmocka_unit_test(test_addresses_of_64_bits),
		cmocka_unit_test(test_a_handle_for_each_pasid),
		cmocka_unit_test(test_handles_with_a_pasid_go),
		cmocka_unit_test(test_invalidation_to_the_last_address),
		cmocka_unit_test(test_reach_knows_bounds_and_rights),
		cmocka_unit_test(test_messages_are_remapped),
		cmocka_unit_test(test_a_refused_message_tells_its_pasid),
		cmocka_unit_test(test_drain_waits_for_messages),
		cmocka_unit_test(test_states_of_any_length),
	};

	return cmocka_run_group_tests_name("core throwaway", tests, NULL, NULL);
}
