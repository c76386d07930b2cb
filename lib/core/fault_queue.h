/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Faults from device threads to the model: a bounded queue, many producers,
 * one consumer (the unit lock's holder).
 *
 * Each cell has a turn number. Cell i is free for the producer with ticket
 * n = i + k * size when turn == n, holds its fault when turn == n + 1, and the
 * consumer of ticket n sets it to n + size.
 *	producer: P1 load turn (acquire), P2 take the ticket by CAS on `tail`,
 *		  P3 write the fault, P4 store turn = n + 1 (release)
 *	consumer: C1 load turn (acquire), C2 read the fault,
 *		  C3 store turn = n + size (release)
 * P4 pairs with C1: the fault is written before it is read. C3 pairs with P1:
 * it is read before the cell is written again. Producers are lock-free; a full
 * queue refuses, so that no guest can make a device thread wait.
 */
#ifndef CORE_FAULT_QUEUE_H
#define CORE_FAULT_QUEUE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "core/model.h"

#define VI_FAULT_QUEUE_SIZE 256 /* a power of two */

struct vi_fault_queue {
	struct {
		_Atomic uint64_t turn;
		struct vi_fault fault;
	} cells[VI_FAULT_QUEUE_SIZE];
	_Alignas(64) _Atomic uint64_t tail;
	_Alignas(64) uint64_t head; /* the consumer's */
	_Atomic uint64_t lost;	    /* refused so far */
};

void vi_fault_queue_init(struct vi_fault_queue *q);
/* False: full, counted as lost. */
bool vi_fault_queue_push(struct vi_fault_queue *q, const struct vi_fault *fault);
bool vi_fault_queue_pop(struct vi_fault_queue *q, struct vi_fault *ret_fault);
bool vi_fault_queue_is_empty(const struct vi_fault_queue *q);

#endif
