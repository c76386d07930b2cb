/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Epochs: readers that take no lock, and a writer that can tell when every
 * reader that might still see an old thing has left.
 *
 * Each reader thread owns a slot, alone on its cache lines. Inside a section
 * the slot holds the epoch that the reader saw on entry, outside it holds 0.
 *
 *	reader					writer
 *	R1 slot = now  (seq_cst)		W1 unpublish the thing
 *	R2 load now    (seq_cst)		W2 target = ++now  (seq_cst)
 *	R3 look things up			W3 load each slot  (seq_cst)
 *
 * Claim: when W3 finds every slot 0 or >= target, no reader can use the thing
 * any more.
 * Proof: take a reader whose slot W3 did not find occupied below target, by
 * the one total order of seq_cst operations.
 *  - R1 before W3: W3 read R1's value or one that the same reader stored
 *    later. A value >= target was loaded from `now` after W2 (the load
 *    acquires W2's release): W1 happened before R3. A 0 is the exit of that
 *    section (release, paired with W3's acquire): R3 is over.
 *  - W3 before R1: then W2 before R2, R2 reads target or later and so acquires
 *    W1: R3 does not find the thing.
 * Progress: enter and exit are wait-free. The writer never waits in here, it
 * asks again; it is done as soon as the readers inside have left once.
 */
#ifndef BASE_EPOCH_H
#define BASE_EPOCH_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct vi_epoch_slot {
	_Alignas(128) _Atomic uint64_t entered; /* written by its reader, read by the writer */
	bool taken;				/* under the owner's lock */
};

struct vi_epoch {
	_Alignas(128) _Atomic uint64_t now;	   /* written by writers, read by all; starts at 1 */
	_Alignas(128) _Atomic unsigned high_water; /* slots ever taken: the writer looks no further */
	unsigned count;
	struct vi_epoch_slot *slots;
};

/* 0, or -ENOMEM. Not thread-safe, nor is finish. */
int vi_epoch_init(struct vi_epoch *e, unsigned count);
void vi_epoch_finish(struct vi_epoch *e);

/* Take and give back a slot; the caller serialises both. NULL: all are taken. */
struct vi_epoch_slot *vi_epoch_slot_take(struct vi_epoch *e);
void vi_epoch_slot_release(struct vi_epoch_slot *slot);

static inline void vi_epoch_enter(struct vi_epoch *e, struct vi_epoch_slot *slot)
{
	uint64_t now = atomic_load_explicit(&e->now, memory_order_acquire);

	atomic_exchange_explicit(&slot->entered, now, memory_order_seq_cst); /* R1 */
	(void)atomic_load_explicit(&e->now, memory_order_seq_cst);	     /* R2 */
}

static inline void vi_epoch_exit(struct vi_epoch_slot *slot)
{
	atomic_store_explicit(&slot->entered, 0, memory_order_release);
}

/* The epoch that this reader entered with; only its own thread asks. */
static inline uint64_t vi_epoch_entered(const struct vi_epoch_slot *slot)
{
	return atomic_load_explicit(&slot->entered, memory_order_relaxed);
}

/* W2: what was unpublished before is out of reach once vi_epoch_passed() of the result. */
static inline uint64_t vi_epoch_begin(struct vi_epoch *e)
{
	return atomic_fetch_add_explicit(&e->now, 1, memory_order_seq_cst) + 1;
}

/* W3. Any thread. */
bool vi_epoch_passed(struct vi_epoch *e, uint64_t target);

#endif
