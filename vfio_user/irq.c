/* SPDX-License-Identifier: BSD-3-Clause */
#include "vfio_user/irq.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

int vfu_irqs_init(struct vfu_irqs *irqs, const unsigned *counts, int epoll)
{
	unsigned i, v;
	int err;

	memset(irqs, 0, sizeof(*irqs));
	err = vfu_signaller_init(&irqs->signaller);
	if (err)
		return err;
	pthread_mutex_init(&irqs->lock, NULL);
	irqs->epoll = epoll;
	irqs->controls[VFU_IRQ_CONTROL_MASK] = irqs->controls[VFU_IRQ_CONTROL_UNMASK] = -1;
	for (i = 0; i < VFU_NUM_IRQS; i++) {
		irqs->vectors[i] = calloc(counts[i] + 1, sizeof(*irqs->vectors[i]));
		if (!irqs->vectors[i]) {
			vfu_irqs_finish(irqs);
			return -ENOMEM;
		}
		irqs->counts[i] = counts[i];
		for (v = 0; v < counts[i]; v++)
			irqs->vectors[i][v].trigger = -1;
	}
	return 0;
}

void vfu_irqs_finish(struct vfu_irqs *irqs)
{
	unsigned i;

	vfu_irqs_reset(irqs);
	for (i = 0; i < VFU_NUM_IRQS; i++)
		free(irqs->vectors[i]);
	vfu_signaller_finish(&irqs->signaller);
	pthread_mutex_destroy(&irqs->lock);
}

static void drop_controls(struct vfu_irqs *irqs)
{
	int none = -1;

	vfu_irqs_set_control(irqs, VFU_IRQ_CONTROL_MASK, &none);
	none = -1;
	vfu_irqs_set_control(irqs, VFU_IRQ_CONTROL_UNMASK, &none);
}

static void assign(struct vfu_irq *irq, int fd)
{
	if (irq->trigger >= 0)
		close(irq->trigger);
	*irq = (struct vfu_irq){.trigger = fd};
}

void vfu_irqs_reset_index(struct vfu_irqs *irqs, unsigned index)
{
	unsigned v;

	if (index == VFU_IRQ_INTX)
		drop_controls(irqs);
	pthread_mutex_lock(&irqs->lock);
	for (v = 0; v < irqs->counts[index]; v++)
		assign(&irqs->vectors[index][v], -1);
	pthread_mutex_unlock(&irqs->lock);
}

void vfu_irqs_reset(struct vfu_irqs *irqs)
{
	unsigned i;

	for (i = 0; i < VFU_NUM_IRQS; i++)
		vfu_irqs_reset_index(irqs, i);
}

/* Where /proc is out of reach an anonymous inode has to do. */
static bool is_eventfd(int fd)
{
	char link[64], name[64] = "";
	struct stat st;

	if (fstat(fd, &st) < 0 || (st.st_mode & S_IFMT) != 0)
		return false;
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	if (readlink(link, name, sizeof(name) - 1) < 0)
		return true;
	return !strcmp(name, "anon_inode:[eventfd]");
}

int vfu_irqs_set_triggers(struct vfu_irqs *irqs, unsigned index, unsigned first, unsigned count, int *fds)
{
	unsigned i;

	for (i = 0; i < count; i++) {
		if (fds[i] >= 0 && !is_eventfd(fds[i]))
			return -EINVAL;
	}
	pthread_mutex_lock(&irqs->lock);
	for (i = 0; i < count; i++) {
		assign(&irqs->vectors[index][first + i], fds[i]);
		fds[i] = -1;
	}
	pthread_mutex_unlock(&irqs->lock);
	return 0;
}

int vfu_irqs_set_control(struct vfu_irqs *irqs, enum vfu_irq_control which, int *fd)
{
	/* By edge, as nothing but the event itself is relied upon: see vfu_irqs_control_fired(). */
	struct epoll_event event = {.events = EPOLLIN | EPOLLET, .data.ptr = &irqs->controls[which]};

	if (*fd >= 0 && !is_eventfd(*fd))
		return -EINVAL;
	if (*fd >= 0 && epoll_ctl(irqs->epoll, EPOLL_CTL_ADD, *fd, &event) < 0)
		return -errno;
	if (irqs->controls[which] >= 0) {
		epoll_ctl(irqs->epoll, EPOLL_CTL_DEL, irqs->controls[which], NULL);
		close(irqs->controls[which]);
	}
	irqs->controls[which] = *fd;
	*fd = -1;
	return 0;
}

/* The client may have read it first, and made it one that blocks: so not read(). */
bool vfu_irqs_control_fired(struct vfu_irqs *irqs, enum vfu_irq_control which)
{
	uint64_t count;
	struct iovec iov = {.iov_base = &count, .iov_len = sizeof(count)};

	if (irqs->controls[which] < 0)
		return false;
	if (preadv2(irqs->controls[which], &iov, 1, -1, RWF_NOWAIT) == (ssize_t)sizeof(count))
		return true;
	/* Before Linux 5.8 it cannot be reset then. */
	return errno == EOPNOTSUPP;
}

void vfu_irqs_mask(struct vfu_irqs *irqs, unsigned index, unsigned vector, bool masked)
{
	pthread_mutex_lock(&irqs->lock);
	irqs->vectors[index][vector].masked = masked;
	pthread_mutex_unlock(&irqs->lock);
}

/* Under the lock. */
static bool signal_irq(struct vfu_irqs *irqs, unsigned index, unsigned vector)
{
	struct vfu_irq *irq = &irqs->vectors[index][vector];

	if (irq->trigger < 0)
		return false;
	irq->pending = irq->masked;
	if (irq->masked)
		return true;
	irq->masked = index == VFU_IRQ_INTX;
	return vfu_signaller_signal(&irqs->signaller, irq->trigger);
}

void vfu_irqs_deliver_pending(struct vfu_irqs *irqs, unsigned index, unsigned vector)
{
	struct vfu_irq *irq = &irqs->vectors[index][vector];

	pthread_mutex_lock(&irqs->lock);
	if (irq->pending && !irq->masked)
		signal_irq(irqs, index, vector);
	pthread_mutex_unlock(&irqs->lock);
}

bool vfu_irqs_trigger(struct vfu_irqs *irqs, unsigned index, unsigned vector, bool keep)
{
	bool sent = false;

	if (index >= VFU_NUM_IRQS || vector >= irqs->counts[index])
		return false;
	pthread_mutex_lock(&irqs->lock);
	if (keep || !irqs->vectors[index][vector].masked)
		sent = signal_irq(irqs, index, vector);
	pthread_mutex_unlock(&irqs->lock);
	return sent;
}
