/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Interrupts: the eventfds that the client gave for them, and what is masked.
 * INTx masks itself when it is triggered, as VFIO's does.
 */
#ifndef VFIO_USER_IRQ_H
#define VFIO_USER_IRQ_H

#include <pthread.h>
#include <stdbool.h>

#include "vfio_user/protocol.h"
#include "vfio_user/server.h"
#include "vfio_user/signaller.h"

/* Eventfds with which the client masks or unmasks INTx without a message (KVM's resampling). */
enum vfu_irq_control { VFU_IRQ_CONTROL_MASK, VFU_IRQ_CONTROL_UNMASK, VFU_NUM_IRQ_CONTROLS };

struct vfu_irq {
	int trigger; /* -1: none */
	bool masked;
	bool pending; /* triggered while masked */
};

struct vfu_irqs {
	unsigned counts[VFU_NUM_IRQS]; /* constant */
	struct vfu_irq *vectors[VFU_NUM_IRQS];
	/* Guards the vectors and the signaller. Held while an eventfd is signalled, never over a callback. */
	pthread_mutex_t lock;
	struct vfu_signaller signaller;
	/* The processing thread's; watched in `epoll`. -1: none */
	int controls[VFU_NUM_IRQ_CONTROLS];
	int epoll;
};

/* A request to SET_IRQS, checked. */
struct vfu_irq_request {
	unsigned index, first, count;
	uint32_t action;      /* VFIO_IRQ_SET_ACTION_* */
	const uint8_t *bools; /* NULL: all of them */
};

int vfu_irqs_init(struct vfu_irqs *irqs, const unsigned *counts, int epoll);
void vfu_irqs_finish(struct vfu_irqs *irqs);
/* Forgets what the client has set. */
void vfu_irqs_reset(struct vfu_irqs *irqs);
void vfu_irqs_reset_index(struct vfu_irqs *irqs, unsigned index);

/* Takes over fds[i] where it is >= 0 and leaves -1 there; -1 takes the eventfd away. -EINVAL: not an eventfd.
 */
int vfu_irqs_set_triggers(struct vfu_irqs *irqs, unsigned index, unsigned first, unsigned count, int *fds);
/* The same for INTx's mask and unmask. */
int vfu_irqs_set_control(struct vfu_irqs *irqs, enum vfu_irq_control which, int *fd);
/* True: the control eventfd was signalled (and is reset). */
bool vfu_irqs_control_fired(struct vfu_irqs *irqs, enum vfu_irq_control which);

void vfu_irqs_mask(struct vfu_irqs *irqs, unsigned index, unsigned vector, bool masked);
/* Signals what was triggered while it was masked. After the unmask, and after the device was told of it. */
void vfu_irqs_deliver_pending(struct vfu_irqs *irqs, unsigned index, unsigned vector);
/* `keep`: what comes while it is masked is signalled later. [any thread] */
bool vfu_irqs_trigger(struct vfu_irqs *irqs, unsigned index, unsigned vector, bool keep);

#endif
