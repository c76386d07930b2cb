/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A split virtqueue (virtio 1.3, 2.7), with indirect descriptors, as its device
 * uses it. The ring is guest memory: each word is read once, each loop is bounded
 * by the queue's size. One thread at a time; the work thread's.
 *
 * A negative errno of any function means that the queue cannot be used any more
 * until the driver resets the device: -EBADMSG for what the driver must not put
 * into a ring, -ESHUTDOWN when there is a reset already, else what viommu_read() or
 * viommu_write() returned.
 */
#ifndef DEVICES_VIRTIO_VIRTQUEUE_H
#define DEVICES_VIRTIO_VIRTQUEUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <viommu/access.h>

#define VIRTQUEUE_SIZE_MOST 256 /* a power of two */

/*
 * Closed by another thread, which resets the device: from then on the queue's thread
 * begins no access, and its functions return -ESHUTDOWN. Open again when that thread
 * has done what a reset asks for. One that has begun still ends.
 */
struct virtqueue_gate {
	_Atomic unsigned resets_asked;
	unsigned resets_done; /* the queue's thread's */
};

struct virtqueue {
	struct viommu_thread *thread; /* whose accesses they are, and by which device */
	struct viommu_requester *requester;
	const struct virtqueue_gate *gate; /* NULL: always open */
	/* As the driver has set them. */
	uint64_t descriptors, driver, device; /* addresses of the three areas */
	uint16_t size; /* a power of two, at most VIRTQUEUE_SIZE_MOST; 0: there is no queue */
	bool indirect; /* VIRTIO_F_INDIRECT_DESC was accepted */
	/* The device's. */
	uint16_t taken, given; /* buffers so far */
	bool quiet;	       /* the driver was told that nobody needs notifications */
};

/* A part of a buffer: memory in a row. */
struct virtqueue_segment {
	uint64_t address;
	uint32_t length;
};

/* A buffer: what the device reads, and then what it writes. */
struct virtqueue_buffer {
	unsigned readable, count;   /* segments: to read, and all */
	uint64_t to_read, to_write; /* bytes */
	struct virtqueue_segment segments[VIRTQUEUE_SIZE_MOST];
};

/* The queue's thread. Can it make accesses? */
bool virtqueue_gate_is_open(const struct virtqueue_gate *gate);

/*
 * Is there a buffer that was not taken? Returns how many, at most the queue's size,
 * and in *ret_head the number of the next one.
 */
int virtqueue_look(const struct virtqueue *q, uint16_t *ret_head);
/* The number of the next one, of several that virtqueue_look() has found and of which some were taken. 0 or a
 * negative errno. */
int virtqueue_next(const struct virtqueue *q, uint16_t *ret_head);
/* Take the buffer that one of the two has found. */
void virtqueue_take(struct virtqueue *q);
/* Read the descriptors of the buffer with this number. */
int virtqueue_open(const struct virtqueue *q, uint16_t head, struct virtqueue_buffer *ret_buffer);
/* Copy from its beginning at most `len` bytes of what is to be read. Returns how many. */
int64_t virtqueue_read(const struct virtqueue *q, const struct virtqueue_buffer *b, void *to, size_t len);
/* Copy to the beginning of what is to be written; `len` is at most to_write. 0 or a negative errno. */
int virtqueue_write(const struct virtqueue *q, const struct virtqueue_buffer *b, const void *from,
		    size_t len);
/* The same, to the beginning of one segment; `len` is at most its length. */
int virtqueue_write_segment(const struct virtqueue *q, const struct virtqueue_segment *s, const void *from,
			    size_t len);
/* Give the buffer with this number back, of which `len` bytes were written. 0 or a negative errno. */
int virtqueue_give(struct virtqueue *q, uint16_t head, uint32_t len);
/* Does the driver want an interrupt for what was given back? 1, 0 or a negative errno. */
int virtqueue_wants_interrupt(const struct virtqueue *q);
/* Tell the driver whether notifications are needed. 0 or a negative errno. */
int virtqueue_set_quiet(struct virtqueue *q, bool quiet);

#endif
