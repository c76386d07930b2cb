/* SPDX-License-Identifier: BSD-3-Clause */
/* The protocol and its proof are in fault_queue.h. */
#include "core/fault_queue.h"

void vi_fault_queue_init(struct vi_fault_queue *q)
{
	for (uint64_t i = 0; i < VI_FAULT_QUEUE_SIZE; i++)
		atomic_init(&q->cells[i].turn, i);
	atomic_init(&q->tail, 0);
	atomic_init(&q->lost, 0);
	q->head = 0;
}

bool vi_fault_queue_push(struct vi_fault_queue *q, const struct vi_fault *fault)
{
	uint64_t ticket = atomic_load_explicit(&q->tail, memory_order_relaxed);

	for (;;) {
		uint64_t turn = atomic_load_explicit(&q->cells[ticket % VI_FAULT_QUEUE_SIZE].turn,
						     memory_order_acquire); /* P1 */

		if (turn < ticket) { /* still holds the fault of one round ago */
			atomic_fetch_add_explicit(&q->lost, 1, memory_order_relaxed);
			return false;
		}
		if (turn > ticket)
			ticket = atomic_load_explicit(&q->tail, memory_order_relaxed);
		else if (atomic_compare_exchange_weak_explicit(&q->tail, &ticket, ticket + 1,
							       memory_order_relaxed,
							       memory_order_relaxed)) /* P2 */
			break;
	}
	q->cells[ticket % VI_FAULT_QUEUE_SIZE].fault = *fault; /* P3 */
	atomic_store_explicit(&q->cells[ticket % VI_FAULT_QUEUE_SIZE].turn, ticket + 1,
			      memory_order_release); /* P4 */
	return true;
}

bool vi_fault_queue_is_empty(const struct vi_fault_queue *q)
{
	return atomic_load_explicit(&q->cells[q->head % VI_FAULT_QUEUE_SIZE].turn, memory_order_acquire) !=
	       q->head + 1;
}

bool vi_fault_queue_pop(struct vi_fault_queue *q, struct vi_fault *ret_fault)
{
	if (vi_fault_queue_is_empty(q)) /* C1 */
		return false;
	*ret_fault = q->cells[q->head % VI_FAULT_QUEUE_SIZE].fault; /* C2 */
	atomic_store_explicit(&q->cells[q->head % VI_FAULT_QUEUE_SIZE].turn, q->head + VI_FAULT_QUEUE_SIZE,
			      memory_order_release); /* C3 */
	q->head++;
	return true;
}
