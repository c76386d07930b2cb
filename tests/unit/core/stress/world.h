/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Everything at once: devices that access memory as fast as they can, a guest
 * that maps, unmaps and moves them, and a VMM that takes memory away, all at
 * the same time on one unit. An oracle knows of each byte who may touch it.
 *
 * A device is at one place at a time: in one of TABLES domains with tables,
 * passed through, or blocked; or nothing is translated for anybody. Each domain
 * has the same slots: device addresses where a frame of guest memory can be
 * mapped. A frame is mapped in one slot at most. It is looked at in a few spots
 * (a page each), and there in words that all threads share and in lanes that
 * belong to one device thread, so that copies can be as plain as memcpy() and
 * ThreadSanitizer sees a barrier that lacks.
 *
 * The oracle, both ways:
 *  - Memory (frame.c). What devices write is stamped with the device, the slot
 *    and when it last changed its place; what they may read is the frame's own
 *    public value. Whoever gets a frame back, after a completed invalidation or
 *    after viommu_mem_remove(), looks at every stamp, fills the frame with a
 *    secret, and looks again, now and when the frame is used the next time. A
 *    device that reads a secret, or another domain's value, has read what it
 *    may not.
 *  - Results (device.c). While neither the device's place nor the slot changed
 *    around an access, its result must be exactly the one that the tables say.
 */
#ifndef UNIT_STRESS_WORLD_H
#define UNIT_STRESS_WORLD_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "machine.h"

#define THREADS 3 /* of devices */
#define DEVICES 6

#define TABLES 5 /* domains that have tables: the first of the places */
enum { PASS_THROUGH = TABLES, UNTRANSLATED, BLOCKED, PLACES };

enum { SLOT_LOW = 0, SLOT_HIGH = 12, SLOT_FAR = 14, SLOT_2M = 15, SLOT_1G = 19, SLOT_ARENA = 21, SLOTS = 23 };

enum { CLASS_4K, CLASS_2M, CLASS_1G, CLASSES };

#define SPOTS_MOST   4
#define WORDS_SHARED 4 /* of a spot: devices read and write them */
#define WORDS_PUBLIC 4 /* behind them: devices only read them */
#define WORDS_HEAD   (WORDS_SHARED + WORDS_PUBLIC)
#define WORDS_LANE   16
#define WORDS_SPOT   (WORDS_HEAD + THREADS * WORDS_LANE)

#define FRAMES 96

/* Where the guest may map something. The same in each domain. */
struct slot_kind {
	uint64_t iova;
	unsigned class;
};

struct slot {
	_Atomic uint64_t version; /* odd: being changed */
	_Atomic unsigned rights;  /* VIOMMU_READ, VIOMMU_WRITE; 0: nothing is mapped */
	_Atomic bool absent;	  /* the memory behind it was taken away */
	_Atomic uint64_t public_value;
	struct frame *frame; /* the guest thread's */
};

struct frame {
	pthread_mutex_t lock; /* held by who changes it, thus never waited for */
	unsigned index, class;
	uint64_t gpa;
	uint8_t *windows[2]; /* where it can lie in this process; each time it comes back, in the other */
	unsigned window;
	bool removable, present, arena, far;

	struct slot *slot; /* NULL: free, and all of it is `value` */
	unsigned place, slot_index, rights;
	bool lanes_known;	  /* lanes can be judged by `rights` */
	uint64_t value;		  /* what it was filled with */
	uint64_t floor[DEVICES];  /* shared words were cleared of this device's stamps at this time of its */
	uint64_t filled[DEVICES]; /* lanes were */
};

struct device_thread {
	struct world *w;
	unsigned index;
	pthread_t runs;
	struct viommu_thread *thread;
	_Alignas(128) _Atomic uint64_t accesses;
	uint64_t granted, refused, pinned, revoked, seed, step, in_step;
};

struct world {
	struct machine m;
	struct viommu_requester *devices[DEVICES];
	struct slot_kind kinds[SLOTS];
	struct slot slots[TABLES][SLOTS];
	struct frame frames[FRAMES];
	unsigned frame_count;

	/* What devices are told, and judged by. A time counts the changes of a device's place. */
	_Atomic uint64_t home[DEVICES];		/* time << 8 | HOME_CHANGING | place */
	_Atomic uint64_t last[DEVICES][PLACES]; /* the last time at which it could be there */

	/* The guest thread's. */
	struct vi_driver_page_table tables[TABLES];
	unsigned levels[TABLES];
	uint16_t ids[TABLES + 1];
	unsigned attached[DEVICES]; /* place, by the context entry */
	uint64_t seed;
	uint64_t maps, unmaps, moves, swaps, switches, removals;

	struct device_thread threads[THREADS];
	pthread_t vmm;
	uint64_t vmm_seed;
	uint64_t burst; /* accesses of a device thread to one step of the guest */
	_Atomic uint64_t steps;
	_Atomic unsigned focus,
		focus_device; /* the slot and device that change, and are used more than others */
	_Atomic bool stop, failed;
};

#define HOME_CHANGING  0x80u
#define HOME_PLACE(h)  ((unsigned)(h)&0x7fu)
#define HOME_TIME(h)   ((h) >> 8)
#define STRESS_RIGHTS  (VIOMMU_READ | VIOMMU_WRITE)
#define FORBIDDEN_SPOT UINT64_C(0x3ee00000) /* of the 1 GiB page at 3 GiB: the interrupt range */

/* Something is wrong: told once, with the seed; the run ends. */
void world_violation(struct world *w, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Leave the processor to the others, which sched_yield() does not while there are other programs. */
void world_rest(void);
extern _Thread_local bool world_is_device; /* the calling thread does accesses */
bool world_is_over(const struct world *w);
uint64_t world_accesses(const struct world *w);
/* Let devices do `count` accesses more, or give up after a while. `relax`: the guest waits, and so processes.
 */
void world_let_run(struct world *w, uint64_t count, bool relax);
/*
 * Memory at `at`, or anywhere when NULL; fresh, or not accessible. NULL: it cannot be had. By the system call
 * itself: ThreadSanitizer's mmap() writes its notes for each byte of a gigabyte.
 */
void *world_lay(void *at, uint64_t size, bool accessible);
void world_unlay(void *at, uint64_t size);
uint16_t world_rid(unsigned device);
uint64_t world_random(uint64_t *seed, uint64_t below);

/* world.c */
struct stress {
	enum machine_registers registers;
	bool queue;
	uint8_t iotlb_lg2;
	uint64_t seed, burst;
	uint64_t accesses, steps, seconds; /* until accesses and steps are done, or the time is up */
};

void world_run(const struct stress *s);

/* frame.c: values, and memory */
uint64_t stamp_make(unsigned thread, unsigned device, unsigned slot, uint64_t time, uint64_t sequence);
/* Did this device, that was at home then, rightly read it in this slot? `exact`: else any good value will do.
 */
bool value_may_be_read(struct world *w, uint64_t value, unsigned device, unsigned slot, uint64_t home,
		       uint64_t exact);
unsigned frame_spots(const struct frame *f, const uint64_t **ret_offsets);
/* It is being mapped: in this slot of this place, with these rights. */
void frame_give(struct world *w, struct frame *f, unsigned place, unsigned slot, unsigned rights);
/* Nobody may touch it: judge what is in it, fill it with a secret, and see that it stays. */
void frame_take(struct world *w, struct frame *f);
/* Is the secret still there? */
void frame_expect_untouched(struct world *w, struct frame *f);
/* Fill it anew for what it is used as. Nobody can touch it. */
void frame_fill(struct world *w, struct frame *f);
/* Those devices cannot write it any more: clear their stamps, so that later ones are known. */
void frame_scrub(struct world *w, struct frame *f, unsigned devices);

/* place.c: where devices are */
void place_change_begin(struct world *w, unsigned device, unsigned to);
void place_change_end(struct world *w, unsigned device, unsigned to);
/* Of all frames in that place (UNTRANSLATED, PASS_THROUGH: of the arena). */
void place_scrub(struct world *w, unsigned place, unsigned devices);
bool place_has_width(const struct world *w, unsigned place, unsigned slot);

void *device_run(void *arg); /* device.c */
void *vmm_run(void *arg);    /* vmm.c */

/* guest.c */
void guest_start(struct world *w);
void guest_step(struct world *w);
void guest_stop(struct world *w);
/* context.c: of the guest; each waits until it is complete */
void guest_move(struct world *w, unsigned device, unsigned to);
void guest_swap_ids(struct world *w, unsigned a, unsigned b);
void guest_switch_translation(struct world *w, bool on);

#endif
