/* SPDX-License-Identifier: BSD-3-Clause */
/* Device threads: accesses of all kinds, each judged by its result and by what it read. */
#include <errno.h>
#include <sched.h>
#include <string.h>

#include "world.h"

#define PINS 2

/* One access: what the device knew before. */
struct attempt {
	struct device_thread *d;
	unsigned device, slot, rights;
	uint64_t home, version, offset, iova, value; /* `value`: what public words hold */
	struct slot *at;			     /* NULL: no tables */
	bool forbidden, absent, mapped;
	unsigned allowed;
};

struct held {
	struct viommu_pin pin;
	struct attempt a;
	_Atomic bool revoked;
	bool used;
	unsigned left; /* turns */
};

static void on_revoke(struct viommu_pin *pin)
{
	atomic_store((_Atomic bool *)pin->opaque, true);
}

static uint64_t stamp(const struct attempt *a)
{
	return stamp_make(a->d->index, a->device, a->slot, HOME_TIME(a->home),
			  atomic_load_explicit(&a->d->accesses, memory_order_relaxed));
}

static uint64_t choose_spot(struct device_thread *d, const struct slot_kind *kind)
{
	const uint64_t *offsets;
	unsigned count = frame_spots(&(struct frame){.class = kind->class}, &offsets);

	return offsets[world_random(&d->seed, count)];
}

/* Mostly one where something may be. */
static unsigned choose_slot(struct device_thread *d, unsigned device)
{
	struct world *w = d->w;
	unsigned place = HOME_PLACE(atomic_load(&w->home[device])), slot = 0;

	if (world_random(&d->seed, 4) == 0)
		return atomic_load(&w->focus);
	for (unsigned i = 0; i < 3; i++) {
		slot = (unsigned)world_random(&d->seed, SLOTS);
		if (place < TABLES ? atomic_load(&w->slots[place][slot].rights) != 0 : slot >= SLOT_ARENA)
			break;
	}
	return slot;
}

/* What can be known of it now. */
static void attempt_look(struct attempt *a)
{
	struct world *w = a->d->w;
	unsigned place;

	a->iova = w->kinds[a->slot].iova + a->offset;
	a->at = NULL;
	a->version = 0;
	a->home = atomic_load(&w->home[a->device]);
	place = HOME_PLACE(a->home);
	if (place >= TABLES)
		return;
	a->at = &w->slots[place][a->slot];
	a->version = atomic_load(&a->at->version);
	a->allowed = atomic_load(&a->at->rights);
	a->absent = atomic_load(&a->at->absent);
	a->value = atomic_load(&a->at->public_value);
}

static void attempt_init(struct attempt *a, struct device_thread *d)
{
	*a = (struct attempt){.d = d};
	a->device = world_random(&d->seed, 4) ? (unsigned)world_random(&d->seed, DEVICES)
					      : atomic_load(&d->w->focus_device);
	a->slot = choose_slot(d, a->device);
	a->offset = choose_spot(d, &d->w->kinds[a->slot]);
	attempt_look(a);
}

/* Nothing changed since: what was known before held all the time. */
static bool is_stable(const struct attempt *a)
{
	struct world *w = a->d->w;

	if (a->home & HOME_CHANGING || a->version & 1)
		return false;
	if (a->at && atomic_load(&a->at->version) != a->version)
		return false;
	return atomic_load(&w->home[a->device]) == a->home;
}

static int result_due(const struct attempt *a, unsigned rights)
{
	unsigned place = HOME_PLACE(a->home);

	if (a->forbidden)
		return -EFAULT;
	if (place == PASS_THROUGH || place == UNTRANSLATED)
		return a->slot >= SLOT_ARENA ? 0 : -EFAULT;
	if (place == BLOCKED || (rights & ~a->allowed))
		return -EACCES;
	return a->absent ? -EFAULT : 0;
}

static void judge_result(const struct attempt *a, unsigned rights, int ret)
{
	struct device_thread *d = a->d;
	bool stable = is_stable(a);
	int due = result_due(a, rights);

	d->granted += ret == 0;
	d->refused += ret != 0;
	if (stable ? ret == due : ret == 0 || ret == -EACCES || ret == -EFAULT)
		return;
	world_violation(d->w,
			"device %u, home %#llx, slot %u + %#llx, rights %u of %u: result %d in place of %d%s",
			a->device, (unsigned long long)a->home, a->slot, (unsigned long long)a->offset,
			rights, a->allowed, ret, due, stable ? "" : " (while things change)");
}

static void judge_value(const struct attempt *a, unsigned word, uint64_t value)
{
	uint64_t exact = word >= WORDS_SHARED && is_stable(a) ? a->value : 0;

	value_may_be_read(a->d->w, value, a->device, a->slot, a->home, exact);
}

static void write_word(struct attempt *a, unsigned word)
{
	uint64_t value = stamp(a);
	struct device_thread *d = a->d;

	judge_result(a, VIOMMU_WRITE,
		     viommu_write(d->thread, d->w->devices[a->device], a->iova + word * 8, &value, 8));
}

static void read_word(struct attempt *a, unsigned word)
{
	uint64_t value = 0;
	struct device_thread *d = a->d;
	int ret = viommu_read(d->thread, d->w->devices[a->device], a->iova + word * 8, &value, 8);

	judge_result(a, VIOMMU_READ, ret);
	if (ret == 0)
		judge_value(a, word, value);
}

static void access_lane(struct attempt *a, bool write)
{
	struct device_thread *d = a->d;
	struct viommu_requester *r = d->w->devices[a->device];
	uint64_t lane[WORDS_LANE], iova = a->iova + (WORDS_HEAD + d->index * WORDS_LANE) * 8;
	int ret;

	for (unsigned i = 0; i < WORDS_LANE; i++)
		lane[i] = stamp(a);
	ret = write ? viommu_write(d->thread, r, iova, lane, sizeof(lane))
		    : viommu_read(d->thread, r, iova, lane, sizeof(lane));
	judge_result(a, write ? VIOMMU_WRITE : VIOMMU_READ, ret);
	for (unsigned i = 0; ret == 0 && !write && i < WORDS_LANE; i++)
		judge_value(a, 0, lane[i]);
}

/* What guards and pins lend. */
static void use_span(const struct attempt *a, const struct viommu_span *span, unsigned rights)
{
	struct device_thread *d = a->d;
	uint64_t *words = span->host;
	unsigned written = (unsigned)world_random(&d->seed, WORDS_SHARED);
	unsigned read = (unsigned)world_random(&d->seed, WORDS_HEAD);

	if (rights & VIOMMU_WRITE)
		__atomic_store_n(&words[written], stamp(a), __ATOMIC_SEQ_CST);
	if (rights & VIOMMU_READ)
		judge_value(a, read, __atomic_load_n(&words[read], __ATOMIC_SEQ_CST));
}

static unsigned some_rights(struct device_thread *d)
{
	return 1 + (unsigned)world_random(&d->seed, STRESS_RIGHTS);
}

static void guard(struct attempt *a)
{
	struct device_thread *d = a->d;
	unsigned rights = some_rights(d);
	struct viommu_span span;
	int ret;

	viommu_enter(d->thread);
	ret = viommu_translate(d->thread, d->w->devices[a->device], a->iova, WORDS_HEAD * 8, rights, &span);
	judge_result(a, rights, ret);
	if (ret == 0 && world_random(&d->seed, 8) == 0)
		sched_yield();
	if (ret == 0 && span.len == WORDS_HEAD * 8)
		use_span(a, &span, rights);
	else if (ret == 0)
		world_violation(d->w, "a span of %zu bytes", span.len);
	viommu_exit(d->thread);
}

static void take_pin(struct held *h, const struct attempt *a)
{
	struct device_thread *d = a->d;
	int ret;

	h->a = *a;
	h->a.rights = some_rights(d);
	atomic_store(&h->revoked, false);
	h->pin = (struct viommu_pin){.revoke = on_revoke, .opaque = &h->revoked};
	ret = viommu_pin(d->thread, d->w->devices[a->device], a->iova, WORDS_HEAD * 8, h->a.rights, &h->pin);
	judge_result(a, h->a.rights, ret);
	h->used = ret == 0;
	h->left = (unsigned)world_random(&d->seed, 64);
	d->pinned += ret == 0;
}

/* Everything that is held is used in each turn, until it is asked back or old. */
static void use_pins(struct held *pins, bool last)
{
	for (unsigned i = 0; i < PINS; i++) {
		struct held *h = &pins[i];
		bool revoked = h->used && atomic_load(&h->revoked);

		if (!h->used)
			continue;
		use_span(&h->a, &h->pin.span, h->a.rights);
		if (!last && !revoked && h->left-- > 0)
			continue;
		h->a.d->revoked += revoked;
		viommu_unpin(&h->pin);
		h->used = false;
	}
}

/* Interrupt messages have 4 bytes; this is none, and no memory either. */
static void try_forbidden(struct attempt *a)
{
	a->slot = SLOT_1G;
	a->iova = a->d->w->kinds[SLOT_1G].iova + FORBIDDEN_SPOT;
	a->forbidden = true;
	write_word(a, 0);
}

/* Mostly one place for all threads: half of a word would be seen. */
static void hammer(struct attempt *a)
{
	a->slot = SLOT_LOW;
	a->offset = 0;
	attempt_look(a);
	for (unsigned i = 0; i < 16; i++) {
		if (a->d->index == 0)
			write_word(a, 0);
		else
			read_word(a, 0);
	}
}

static void access_somehow(struct attempt *a, struct held *pins)
{
	struct device_thread *d = a->d;
	unsigned which = (unsigned)world_random(&d->seed, 32);
	bool far = a->slot >= SLOT_FAR && a->slot < SLOT_2M;
	struct held *h = &pins[world_random(&d->seed, PINS)];

	/* Behind callbacks there is no atomic access: a lane is the thread's own. */
	if (far || which < 6)
		access_lane(a, which & 1);
	else if (which < 14)
		write_word(a, (unsigned)world_random(&d->seed, WORDS_SHARED));
	else if (which < 22)
		read_word(a, (unsigned)world_random(&d->seed, WORDS_HEAD));
	else if (which < 28)
		guard(a);
	else if (which < 30 && !h->used)
		take_pin(h, a);
	else if (which < 31)
		try_forbidden(a);
	else
		hammer(a);
}

/* Devices are faster than the guest, and what is looked for happens while it changes something. */
static void keep_pace(struct device_thread *d, struct held *pins)
{
	uint64_t step = atomic_load(&d->w->steps);

	if (step != d->step)
		d->in_step = 0;
	d->step = step;
	if (d->in_step++ < d->w->burst)
		return;
	use_pins(pins, false);
	world_rest();
	d->in_step -= d->in_step / 4;
}

void *device_run(void *arg)
{
	struct device_thread *d = arg;
	struct held pins[PINS] = {0};
	struct attempt a;

	world_is_device = true;
	while (!world_is_over(d->w)) {
		keep_pace(d, pins);
		attempt_init(&a, d);
		access_somehow(&a, pins);
		use_pins(pins, false);
		atomic_store_explicit(&d->accesses,
				      atomic_load_explicit(&d->accesses, memory_order_relaxed) + 1,
				      memory_order_relaxed);
	}
	use_pins(pins, true);
	return NULL;
}
