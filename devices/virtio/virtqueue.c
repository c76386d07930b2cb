/* SPDX-License-Identifier: BSD-3-Clause */
#include "virtio/virtqueue.h"

#include <endian.h>
#include <errno.h>
#include <stdatomic.h>
#include <string.h>

#include "virtio/spec.h"

bool virtqueue_gate_is_open(const struct virtqueue_gate *gate)
{
	return gate->resets_asked == gate->resets_done;
}

/* The one way to guest memory. */
static int read_memory(const struct virtqueue *q, uint64_t address, void *buf, size_t len)
{
	if (q->gate && !virtqueue_gate_is_open(q->gate))
		return -ESHUTDOWN;
	return viommu_read(q->thread, q->requester, address, buf, len);
}

static int write_memory(const struct virtqueue *q, uint64_t address, const void *buf, size_t len)
{
	if (q->gate && !virtqueue_gate_is_open(q->gate))
		return -ESHUTDOWN;
	return viommu_write(q->thread, q->requester, address, buf, len);
}

static int read16(const struct virtqueue *q, uint64_t address, uint16_t *ret_value)
{
	uint16_t value;
	int err = read_memory(q, address, &value, sizeof(value));

	if (!err)
		*ret_value = le16toh(value);
	return err;
}

static int write16(const struct virtqueue *q, uint64_t address, uint16_t value)
{
	value = htole16(value);
	return write_memory(q, address, &value, sizeof(value));
}

int virtqueue_next(const struct virtqueue *q, uint16_t *ret_head)
{
	int err = read16(q, q->driver + VIRTQ_AVAIL_RING + 2u * (q->taken & (q->size - 1u)), ret_head);

	return err ? err : *ret_head < q->size ? 0 : -EBADMSG;
}

/* Reading the index acquires what the driver wrote before it (2.7.13.3). */
int virtqueue_look(const struct virtqueue *q, uint16_t *ret_head)
{
	uint16_t index, count;
	int err;

	if (!q->size)
		return 0;
	err = read16(q, q->driver + VIRTQ_AVAIL_INDEX, &index);
	if (err)
		return err;
	count = (uint16_t)(index - q->taken);
	if (count == 0)
		return 0;
	if (count > q->size)
		return -EBADMSG;
	err = virtqueue_next(q, ret_head);
	return err ? err : count;
}

void virtqueue_take(struct virtqueue *q)
{
	q->taken++;
}

/* ------------------------------------------------------------------ descriptors */

struct descriptor {
	uint64_t address;
	uint32_t length;
	uint16_t flags, next;
};

/* Where descriptors are: the queue's own table or an indirect one. */
struct table {
	uint64_t address;
	uint32_t count;
	bool indirect;
};

/* A descriptor, and the one behind it, as a chain mostly goes on there. */
struct pair {
	uint16_t first, count;
	uint8_t bytes[2][VIRTQ_DESCRIPTOR_SIZE];
};

static int read_pair(const struct virtqueue *q, const struct table *t, uint16_t number, struct pair *ret_pair)
{
	ret_pair->first = number;
	ret_pair->count = number + 1u < t->count ? 2 : 1;
	return read_memory(q, t->address + (uint64_t)number * VIRTQ_DESCRIPTOR_SIZE, ret_pair->bytes,
			   (size_t)ret_pair->count * VIRTQ_DESCRIPTOR_SIZE);
}

static struct descriptor decode(const uint8_t bytes[VIRTQ_DESCRIPTOR_SIZE])
{
	struct descriptor d;

	memcpy(&d.address, bytes, sizeof(d.address));
	memcpy(&d.length, bytes + VIRTQ_DESCRIPTOR_LENGTH, sizeof(d.length));
	memcpy(&d.flags, bytes + VIRTQ_DESCRIPTOR_FLAGS, sizeof(d.flags));
	memcpy(&d.next, bytes + VIRTQ_DESCRIPTOR_NEXT, sizeof(d.next));
	return (struct descriptor){le64toh(d.address), le32toh(d.length), le16toh(d.flags), le16toh(d.next)};
}

/* `io_pair` is what was read last of this table; a count of 0: nothing. */
static int read_descriptor(const struct virtqueue *q, const struct table *t, uint16_t number,
			   struct pair *io_pair, struct descriptor *ret_descriptor)
{
	int err = 0;

	if (number < io_pair->first || number - io_pair->first >= io_pair->count)
		err = read_pair(q, t, number, io_pair);
	if (!err)
		*ret_descriptor = decode(io_pair->bytes[number - io_pair->first]);
	return err;
}

/* What is read comes first (2.7.4.2). */
static int add_segment(struct virtqueue_buffer *b, const struct descriptor *d)
{
	bool write = d->flags & VIRTQ_DESC_F_WRITE;

	if (!write && b->count > b->readable)
		return -EBADMSG;
	b->segments[b->count++] = (struct virtqueue_segment){d->address, d->length};
	b->readable += !write;
	*(write ? &b->to_write : &b->to_read) += d->length;
	return 0;
}

/* 2.7.5.3: an indirect table comes last, has no other in it, and is no longer than the queue. */
static int enter_indirect(const struct virtqueue *q, const struct descriptor *d, struct table *io_table)
{
	if (!q->indirect || io_table->indirect || d->flags & VIRTQ_DESC_F_NEXT || !d->length ||
	    d->length % VIRTQ_DESCRIPTOR_SIZE || d->length / VIRTQ_DESCRIPTOR_SIZE > q->size)
		return -EBADMSG;
	*io_table = (struct table){d->address, d->length / VIRTQ_DESCRIPTOR_SIZE, true};
	return 0;
}

int virtqueue_open(const struct virtqueue *q, uint16_t head, struct virtqueue_buffer *ret_buffer)
{
	struct table table = {q->descriptors, q->size, false};
	struct pair pair = {.count = 0};
	struct descriptor d;
	int err;

	ret_buffer->readable = ret_buffer->count = 0;
	ret_buffer->to_read = ret_buffer->to_write = 0;
	for (uint16_t number = head;; number = d.next) {
		if (number >= table.count || ret_buffer->count == q->size)
			return -EBADMSG;
		err = read_descriptor(q, &table, number, &pair, &d);
		if (!err && d.flags & VIRTQ_DESC_F_INDIRECT) {
			err = enter_indirect(q, &d, &table);
			d.next = 0;
			pair.count = 0;
		} else if (!err) {
			err = add_segment(ret_buffer, &d);
			if (!err && !(d.flags & VIRTQ_DESC_F_NEXT))
				return 0;
		}
		if (err)
			return err;
	}
}

/* ----------------------------------------------------------------------- bytes */

int64_t virtqueue_read(const struct virtqueue *q, const struct virtqueue_buffer *b, void *to, size_t len)
{
	uint8_t *bytes = to;
	size_t done = 0;

	for (unsigned i = 0; i < b->readable && done < len; i++) {
		const struct virtqueue_segment *s = &b->segments[i];
		size_t n = s->length < len - done ? s->length : len - done;
		int err = n ? read_memory(q, s->address, bytes + done, n) : 0;

		if (err)
			return err;
		done += n;
	}
	return (int64_t)done;
}

int virtqueue_write(const struct virtqueue *q, const struct virtqueue_buffer *b, const void *from, size_t len)
{
	const uint8_t *bytes = from;
	size_t done = 0;

	for (unsigned i = b->readable; i < b->count && done < len; i++) {
		const struct virtqueue_segment *s = &b->segments[i];
		size_t n = s->length < len - done ? s->length : len - done;
		int err = n ? write_memory(q, s->address, bytes + done, n) : 0;

		if (err)
			return err;
		done += n;
	}
	return 0;
}

int virtqueue_write_segment(const struct virtqueue *q, const struct virtqueue_segment *s, const void *from,
			    size_t len)
{
	return write_memory(q, s->address, from, len);
}

/* The index is written behind the element, and releases it. */
int virtqueue_give(struct virtqueue *q, uint16_t head, uint32_t len)
{
	uint64_t at =
		q->device + VIRTQ_USED_RING + (uint64_t)VIRTQ_USED_ELEMENT_SIZE * (q->given & (q->size - 1u));
	uint32_t element[2] = {htole32(head), htole32(len)};
	int err = write_memory(q, at, element, sizeof(element));

	if (err)
		return err;
	q->given++;
	return write16(q, q->device + VIRTQ_USED_INDEX, q->given);
}

/* ------------------------------------------------- interrupts and notifications */

/* The driver clears the flag and then looks at the index; this does it the other way round. */
int virtqueue_wants_interrupt(const struct virtqueue *q)
{
	uint16_t flags;
	int err;

	atomic_thread_fence(memory_order_seq_cst);
	err = read16(q, q->driver + VIRTQ_AVAIL_FLAGS, &flags);
	return err ? err : !(flags & VIRTQ_AVAIL_F_NO_INTERRUPT);
}

/* Who clears the flag has to look at the ring once more: the driver wrote its index, and then read the flag.
 */
int virtqueue_set_quiet(struct virtqueue *q, bool quiet)
{
	int err;

	if (!q->size || q->quiet == quiet)
		return 0;
	err = write16(q, q->device + VIRTQ_USED_FLAGS, quiet ? VIRTQ_USED_F_NO_NOTIFY : 0);
	if (!err)
		q->quiet = quiet;
	atomic_thread_fence(memory_order_seq_cst);
	return err;
}
