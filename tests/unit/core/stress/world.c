/* SPDX-License-Identifier: BSD-3-Clause */
/* The machine of a run: memory, slots and threads; from its start to its end. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/bits.h"
#include "world.h"

#define PATIENCE 500 /* turns that a thread waits for others */

_Thread_local bool world_is_device;

static char seed_text[96];

uint64_t world_random(uint64_t *seed, uint64_t below)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 7;
	*seed ^= *seed << 17;
	return (*seed >> 11) % below;
}

void world_violation(struct world *w, const char *format, ...)
{
	va_list args;

	if (atomic_exchange(&w->failed, true))
		return;
	va_start(args, format);
	fputs("stress: ", stderr);
	vfprintf(stderr, format, args);
	fprintf(stderr, "\n%s\n", seed_text);
	va_end(args);
}

bool world_is_over(const struct world *w)
{
	return atomic_load(&w->stop) || atomic_load(&w->failed);
}

void world_rest(void)
{
	nanosleep(&(struct timespec){.tv_nsec = 20000}, NULL);
}

uint64_t world_accesses(const struct world *w)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < THREADS; i++)
		sum += atomic_load_explicit(&w->threads[i].accesses, memory_order_relaxed);
	return sum;
}

void world_let_run(struct world *w, uint64_t count, bool relax)
{
	uint64_t before = world_accesses(w);

	for (unsigned i = 0; i < PATIENCE && world_accesses(w) - before < count && !world_is_over(w); i++) {
		if (relax)
			w->m.driver.regs.relax(&w->m);
		world_rest();
	}
}

/* Memory that was taken away is not accessible: whoever comes late ends here. */
static void on_segv(int number)
{
	static const char text[] = "stress: an access to memory that was taken away\n";

	(void)number;
	(void)!write(2, text, sizeof(text) - 1);
	(void)!write(2, seed_text, strlen(seed_text));
	_exit(1);
}

void *world_lay(void *at, uint64_t size, bool accessible)
{
	int protection = accessible ? PROT_READ | PROT_WRITE : PROT_NONE;
	int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | (at ? MAP_FIXED : 0);
	long got = syscall(SYS_mmap, at, size, protection, flags, -1, 0);

	return got == -1 ? NULL : (void *)got;
}

void world_unlay(void *at, uint64_t size)
{
	(void)syscall(SYS_munmap, at, size);
}

static void *reserve(uint64_t size)
{
	void *p = world_lay(NULL, size, true);

	assert_non_null(p);
	return p;
}

static struct frame *make_frame(struct world *w, unsigned class, uint64_t gpa, uint8_t *host)
{
	struct frame *f = &w->frames[w->frame_count];

	assert_true(w->frame_count < FRAMES);
	pthread_mutex_init(&f->lock, NULL);
	f->index = w->frame_count++;
	f->class = class;
	f->gpa = gpa;
	f->windows[0] = f->windows[1] = host;
	f->present = true;
	return f;
}

/* Registered as one; frames of it may go away one by one. */
static void make_frames(struct world *w, unsigned class, unsigned count, uint64_t gpa, bool removable)
{
	static const uint64_t sizes[CLASSES] = {0x1000, 0x200000, 0x40000000};
	uint64_t size = sizes[class];
	uint8_t *host = reserve(count * size), *other = removable ? reserve(count * size) : NULL;

	assert_int_equal(
		viommu_mem_add(w->m.viommu, gpa, count * size, host, VIOMMU_MEM_READ | VIOMMU_MEM_WRITE), 0);
	for (unsigned i = 0; i < count; i++) {
		struct frame *f = make_frame(w, class, gpa + i * size, host + i * size);

		f->removable = removable;
		if (removable)
			f->windows[1] = other + i * size;
		frame_fill(w, f);
	}
}

static void make_memory(struct world *w)
{
	make_frames(w, CLASS_4K, 28, UINT64_C(0x20000000), false);
	make_frames(w, CLASS_4K, 28, UINT64_C(0x21000000), true);
	make_frames(w, CLASS_2M, 8, UINT64_C(0x140000000), false);
	make_frames(w, CLASS_2M, 8, UINT64_C(0x150000000), true);
	make_frames(w, CLASS_1G, 3, UINT64_C(0x400000000), false);
	make_frames(w, CLASS_1G, 3, UINT64_C(0x500000000), true);
	for (unsigned i = 0; i < 2; i++) {
		struct frame *f = make_frame(w, CLASS_4K, MACHINE_FAR + i * 4096, w->m.far + i * 4096);

		f->far = true;
		frame_fill(w, f);
	}
	/* Last, where device addresses are the same as in memory. */
	make_frames(w, CLASS_4K, SLOTS - SLOT_ARENA, w->kinds[SLOT_ARENA].iova, false);
	for (unsigned i = SLOT_ARENA; i < SLOTS; i++) {
		struct frame *f = &w->frames[w->frame_count - SLOTS + i];

		f->arena = true;
		f->slot_index = i;
		f->rights = STRESS_RIGHTS;
		f->place = 7;
		frame_fill(w, f);
	}
}

uint16_t world_rid(unsigned device)
{
	static const uint16_t rids[DEVICES] = {MACHINE_RID, 0x0089, 0x0090, 0x0108, 0x0109, 0x0110};

	return rids[device];
}

static void make_slots(struct world *w)
{
	for (unsigned i = 0; i < SLOTS; i++) {
		struct slot_kind *k = &w->kinds[i];

		if (i < 8) /* neighbours, that share lines of the IOTLB */
			k->iova = 0x40000000 + i * UINT64_C(0x1000);
		else if (i < SLOT_HIGH)
			k->iova = 0x40100000 + i * UINT64_C(0x10000);
		else if (i < SLOT_FAR) /* what a narrow table would take for the first ones */
			k->iova = (UINT64_C(1) << 39) + 0x40000000 + (i - SLOT_HIGH) * UINT64_C(0x1000);
		else if (i < SLOT_2M)
			k->iova = 0x41000000;
		else if (i < SLOT_1G)
			k->iova = 0x80000000 + (i - SLOT_2M) * UINT64_C(0x200000);
		else if (i < SLOT_ARENA)
			k->iova = i == SLOT_1G ? UINT64_C(0xc0000000) : UINT64_C(0x200000000);
		else
			k->iova = 0x30000000 + (i - SLOT_ARENA) * UINT64_C(0x1000);
		k->class = i >= SLOT_ARENA || i < SLOT_2M ? CLASS_4K : i < SLOT_1G ? CLASS_2M : CLASS_1G;
	}
}

static void world_init(struct world *w, const struct stress *s)
{
	struct viommu_options options = {.iotlb_lg2 = s->iotlb_lg2};

	memset(w, 0, sizeof(*w));
	w->seed = s->seed * 2 + 1;
	w->burst = s->burst;
	w->vmm_seed = s->seed * 4 + 3;
	machine_init(&w->m, s->registers, &options);
	w->m.slow_callbacks = true;
	for (unsigned r = 0; r < DEVICES; r++) {
		atomic_store(&w->home[r], UINT64_C(1) << 8 | BLOCKED);
		w->devices[r] = w->m.device;
		if (r > 0)
			assert_int_equal(viommu_requester_add(w->m.viommu, world_rid(r), &w->devices[r]), 0);
	}
	make_slots(w);
	make_memory(w);
	assert_int_equal(vi_driver_vtd_start(&w->m.driver, s->queue), 0);
	guest_start(w);
}

static void start_threads(struct world *w, uint64_t seed)
{
	for (unsigned i = 0; i < THREADS; i++) {
		struct device_thread *d = &w->threads[i];

		d->w = w;
		d->index = i;
		d->seed = seed * 8 + i * 2 + 5;
		assert_int_equal(viommu_thread_create(w->m.viommu, &d->thread), 0);
		assert_int_equal(pthread_create(&d->runs, NULL, device_run, d), 0);
	}
	assert_int_equal(pthread_create(&w->vmm, NULL, vmm_run, w), 0);
}

static void stop_threads(struct world *w)
{
	atomic_store(&w->stop, true);
	pthread_join(w->vmm, NULL);
	for (unsigned i = 0; i < THREADS; i++) {
		pthread_join(w->threads[i].runs, NULL);
		viommu_thread_destroy(w->threads[i].thread);
	}
}

static void world_finish(struct world *w)
{
	static const uint64_t sizes[CLASSES] = {0x1000, 0x200000, 0x40000000};

	machine_finish(&w->m);
	for (unsigned i = 0; i < w->frame_count; i++) {
		struct frame *f = &w->frames[i];

		pthread_mutex_destroy(&f->lock);
		if (f->far)
			continue;
		world_unlay(f->windows[0], sizes[f->class]);
		if (f->windows[1] != f->windows[0])
			world_unlay(f->windows[1], sizes[f->class]);
	}
}

static void tell(struct world *w)
{
	uint64_t granted = 0, refused = 0, pinned = 0, revoked = 0;

	for (unsigned i = 0; i < THREADS; i++) {
		granted += w->threads[i].granted;
		refused += w->threads[i].refused;
		pinned += w->threads[i].pinned;
		revoked += w->threads[i].revoked;
	}
	print_message(
		"%llu accesses: %llu granted, %llu refused, %llu pinned, %llu of them asked back; %llu IOTLB "
		"hits\n",
		(unsigned long long)world_accesses(w), (unsigned long long)granted,
		(unsigned long long)refused, (unsigned long long)pinned, (unsigned long long)revoked,
		(unsigned long long)machine_counter(&w->m, "iotlb_hits"));
	print_message("%llu steps of the guest: %llu maps, %llu unmaps, %llu moves, %llu swaps of ids, %llu "
		      "switches; "
		      "memory taken away %llu times\n",
		      (unsigned long long)atomic_load(&w->steps), (unsigned long long)w->maps,
		      (unsigned long long)w->unmaps, (unsigned long long)w->moves,
		      (unsigned long long)w->swaps, (unsigned long long)w->switches,
		      (unsigned long long)w->removals);
	assert_true(granted > 0 && refused > 0);
}

static uint64_t seconds_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec;
}

void world_run(const struct stress *s)
{
	static struct world w;
	uint64_t end = seconds_now() + s->seconds;
	struct sigaction fatal = {.sa_handler = on_segv}, before;

	snprintf(seed_text, sizeof(seed_text),
		 "stress: again with STRESS_SEED=%llu (threads differ each time)\n",
		 (unsigned long long)s->seed);
	sigaction(SIGSEGV, &fatal, &before);
	world_init(&w, s);
	start_threads(&w, s->seed);
	while (!world_is_over(&w) && seconds_now() < end &&
	       (atomic_load(&w.steps) < s->steps || world_accesses(&w) < s->accesses)) {
		guest_step(&w);
		atomic_fetch_add(&w.steps, 1);
	}
	stop_threads(&w);
	guest_stop(&w);
	sigaction(SIGSEGV, &before, NULL);
	assert_false(atomic_load(&w.failed));
	tell(&w);
	world_finish(&w);
}
