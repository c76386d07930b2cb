/* SPDX-License-Identifier: BSD-3-Clause */
/* GET_IRQ_INFO and SET_IRQS. */
#include <errno.h>
#include <string.h>

#include "vfio_user/server_state.h"

static uint32_t irq_flags(unsigned index)
{
	if (index == VFU_IRQ_INTX)
		return VFIO_IRQ_INFO_EVENTFD | VFIO_IRQ_INFO_MASKABLE | VFIO_IRQ_INFO_AUTOMASKED;
	return VFIO_IRQ_INFO_EVENTFD | VFIO_IRQ_INFO_NORESIZE;
}

int vfu_handle_irq_info(struct vfu_server *s, struct vfu_message *m, struct vfu_reply *reply)
{
	struct vfio_user_irq_info info, *out;

	memcpy(&info, m->payload, sizeof(info));
	if (info.argsz < sizeof(info) || info.index >= VFU_NUM_IRQS)
		return -EINVAL;
	out = vfu_reply_payload(reply, sizeof(*out));
	if (!out)
		return -ENOMEM;
	out->argsz = sizeof(*out);
	out->flags = irq_flags(info.index);
	out->index = info.index;
	out->count = s->irqs.counts[info.index];
	return 0;
}

/*
 * The descriptors are the ancillary data, one for each interrupt, or none to
 * take all away. A client may also send VFIO's array: -1 in it stands for an
 * interrupt that loses its eventfd, and has no descriptor.
 */
static int spread_fds(struct vfu_message *m, unsigned count, const uint8_t *data, size_t size, int *to)
{
	unsigned i, used = 0;

	if (m->fd_count && !size && m->fd_count != count)
		return -EINVAL;
	if (size && size != count * sizeof(int32_t))
		return -EINVAL;
	for (i = 0; i < count; i++) {
		int32_t value = -1;

		if (size)
			memcpy(&value, data + i * sizeof(value), sizeof(value));
		to[i] = -1;
		if (size ? value < 0 : !m->fd_count)
			continue;
		if (used == m->fd_count)
			return -EINVAL;
		to[i] = m->fds[used++];
	}
	return used == m->fd_count ? 0 : -EINVAL;
}

static int set_eventfds(struct vfu_server *s, const struct vfu_irq_request *q, int *fds)
{
	if (q->action == VFIO_IRQ_SET_ACTION_TRIGGER)
		return vfu_irqs_set_triggers(&s->irqs, q->index, q->first, q->count, fds);
	if (q->index != VFU_IRQ_INTX)
		return -ENOTTY;
	return vfu_irqs_set_control(&s->irqs,
				    q->action == VFIO_IRQ_SET_ACTION_MASK ? VFU_IRQ_CONTROL_MASK
									  : VFU_IRQ_CONTROL_UNMASK,
				    &fds[0]);
}

/* More interrupts than a message has room for descriptors can only lose theirs. */
static int take_away_many(struct vfu_server *s, const struct vfu_irq_request *q)
{
	unsigned i;

	for (i = 0; i < q->count; i++) {
		struct vfu_irq_request one = *q;
		int none = -1, err;

		one.first += i;
		one.count = 1;
		err = set_eventfds(s, &one, &none);
		if (err)
			return err;
	}
	return 0;
}

static int handle_eventfds(struct vfu_server *s, const struct vfu_irq_request *q, struct vfu_message *m,
			   const uint8_t *data, size_t size)
{
	int fds[VFU_MAX_MSG_FDS], err;

	if (!m->fd_count && !size)
		return take_away_many(s, q);
	if (q->count > VFU_MAX_MSG_FDS)
		return -EINVAL;
	err = spread_fds(m, q->count, data, size, fds);
	if (!err)
		err = set_eventfds(s, q, fds);
	if (!err)
		m->fd_count = 0; /* all have found an owner */
	return err;
}

static void tell_device(struct vfu_server *s, unsigned index, unsigned first, unsigned count, bool masked)
{
	if (s->ops.irq_masked)
		s->ops.irq_masked(s->device, index, first, count, masked);
}

/*
 * The device hears of an unmask before what is pending goes out: one whose
 * line is still up triggers again by itself, and that settles the pending one.
 */
static void mask_range(struct vfu_server *s, unsigned index, unsigned first, unsigned count, bool masked)
{
	unsigned v;

	for (v = first; v < first + count; v++)
		vfu_irqs_mask(&s->irqs, index, v, masked);
	tell_device(s, index, first, count, masked);
	for (v = first; !masked && v < first + count; v++)
		vfu_irqs_deliver_pending(&s->irqs, index, v);
}

void vfu_irq_control(struct vfu_server *s, enum vfu_irq_control which)
{
	if (s->irqs.counts[VFU_IRQ_INTX] && vfu_irqs_control_fired(&s->irqs, which))
		mask_range(s, VFU_IRQ_INTX, 0, 1, which == VFU_IRQ_CONTROL_MASK);
}

static void act_on_range(struct vfu_server *s, const struct vfu_irq_request *q, unsigned first,
			 unsigned count)
{
	unsigned v;

	if (q->action != VFIO_IRQ_SET_ACTION_TRIGGER) {
		mask_range(s, q->index, first, count, q->action == VFIO_IRQ_SET_ACTION_MASK);
		return;
	}
	for (v = first; v < first + count; v++)
		vfu_irqs_trigger(&s->irqs, q->index, v, true);
}

/* Runs of selected interrupts become one call to the device each. */
static void act(struct vfu_server *s, const struct vfu_irq_request *q)
{
	unsigned i, begin = 0;

	if (!q->bools) {
		act_on_range(s, q, q->first, q->count);
		return;
	}
	for (i = 0; i <= q->count; i++) {
		if (i < q->count && q->bools[i])
			continue;
		if (i > begin)
			act_on_range(s, q, q->first + begin, i - begin);
		begin = i + 1;
	}
}

static bool single_bit(uint32_t flags)
{
	return flags && !(flags & (flags - 1));
}

static int decode_irq_set(const struct vfu_server *s, const struct vfio_user_irq_set *set,
			  struct vfu_irq_request *ret_request)
{
	uint32_t data = set->flags & VFIO_IRQ_SET_DATA_TYPE_MASK;
	uint32_t action = set->flags & VFIO_IRQ_SET_ACTION_TYPE_MASK;

	if (set->argsz < sizeof(*set) || set->index >= VFU_NUM_IRQS || (set->flags & ~(data | action)) ||
	    !single_bit(data) || !single_bit(action))
		return -EINVAL;
	if (set->start > s->irqs.counts[set->index] || set->count > s->irqs.counts[set->index] - set->start)
		return -EINVAL;
	*ret_request = (struct vfu_irq_request){
		.index = set->index, .first = set->start, .count = set->count, .action = action};
	return 0;
}

static int replace_eventfds(struct vfu_server *s, const struct vfu_irq_request *q, struct vfu_message *m,
			    const uint8_t *data, size_t size)
{
	int err = q->count ? handle_eventfds(s, q, m, data, size) : -EINVAL;

	if (!err && q->action == VFIO_IRQ_SET_ACTION_TRIGGER)
		tell_device(s, q->index, q->first, q->count, false);
	return err;
}

static void switch_off(struct vfu_server *s, unsigned index)
{
	vfu_irqs_reset_index(&s->irqs, index);
	tell_device(s, index, 0, s->irqs.counts[index], false);
}

int vfu_handle_set_irqs(struct vfu_server *s, struct vfu_message *m, struct vfu_reply *reply)
{
	struct vfio_user_irq_set set;
	struct vfu_irq_request q = {0};
	const uint8_t *data = m->payload + sizeof(set);
	size_t size = m->payload_size - sizeof(set);
	int err;

	memcpy(&set, m->payload, sizeof(set));
	err = decode_irq_set(s, &set, &q);
	if (err)
		return err;
	vfu_turn_spend(s, q.count);
	if (set.flags & VFIO_IRQ_SET_DATA_EVENTFD)
		return replace_eventfds(s, &q, m, data, size);
	if (m->fd_count)
		return -EINVAL;
	if (!q.count) {
		/* VFIO's way to say: switch the whole index off. */
		if (!(set.flags & VFIO_IRQ_SET_DATA_NONE) || q.action != VFIO_IRQ_SET_ACTION_TRIGGER ||
		    q.first)
			return -EINVAL;
		switch_off(s, q.index);
		return 0;
	}
	if (set.flags & VFIO_IRQ_SET_DATA_BOOL) {
		if (size < q.count)
			return -EINVAL;
		q.bools = data;
	}
	act(s, &q);
	return 0;
}
