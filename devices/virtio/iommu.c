/* SPDX-License-Identifier: BSD-3-Clause */
#include "virtio/iommu.h"

#include <errno.h>
#include <stdlib.h>

#define DEVICE_ID   23
#define CLASS_CODE  0x080600 /* system peripheral, IOMMU */
#define CONFIG_SIZE 40

enum { REQUEST_QUEUE, EVENT_QUEUE };

/* The buffer of a request that the unit has: where the answer goes, when that is one segment. */
struct pending {
	uint16_t head;
	bool in_one;
	struct virtqueue_segment answer;
};

struct virtio_iommu {
	struct viommu *unit;
	struct virtio *virtio;
	struct virtio_iommu_host_ops ops;
	void *opaque;

	/* The work thread's. */
	struct pending pending[VIOMMU_REQUESTS_MOST]; /* by how many there were, which is the token, modulo */
	uint64_t taken;
	unsigned outstanding; /* requests that the unit has, and buffers that the driver misses */
	bool events_wait;     /* for a buffer */
};

/* ------------------------------------------------------------------------- queues */

static void note_pending(struct virtio_iommu *d, uint16_t head, const struct virtqueue_buffer *b)
{
	struct pending *p = &d->pending[d->taken++ % VIOMMU_REQUESTS_MOST];

	p->head = head;
	p->in_one = b->count == b->readable + 1;
	if (p->in_one)
		p->answer = b->segments[b->readable];
	d->outstanding++;
}

/* 0, 1: the unit does not take it now, or what broke the queue. */
static int take_request(struct virtio_iommu *d, struct virtqueue *q, uint16_t head)
{
	struct virtqueue_buffer *b = virtio_buffer(d->virtio);
	uint8_t request[VIOMMU_REQUEST_BYTES];
	int err = virtqueue_open(q, head, b);
	int64_t length;

	if (err)
		return err;
	length = virtqueue_read(q, b, request, sizeof(request));
	if (length < 0)
		return (int)length;
	err = viommu_request_submit(d->unit, d->taken, request, (size_t)length, b->to_write);
	if (err)
		return err == -EAGAIN || err == -EBUSY ? 1 : err;
	virtqueue_take(q);
	note_pending(d, head, b);
	return 0;
}

/* Those that are there at one look. Returns how many. */
static unsigned take_requests(struct virtio_iommu *d, unsigned budget, struct virtio_iommu_look *look)
{
	struct virtqueue *q = virtio_queue(d->virtio, REQUEST_QUEUE);
	unsigned count = 0, room = VIOMMU_REQUESTS_MOST - d->outstanding;
	uint16_t head;
	int found = budget && room ? virtqueue_look(q, &head) : 0, err = found < 0 ? found : 0;

	room = room < budget ? room : budget;
	while (!err && count < room && (int)count < found) {
		err = count ? virtqueue_next(q, &head) : 0;
		if (!err)
			err = take_request(d, q, head);
		count += !err;
	}
	look->pending = look->pending || err > 0;
	if (count && err >= 0)
		err = virtqueue_set_quiet(q, true);
	if (err < 0)
		virtio_broke(d->virtio, q, err);
	return count;
}

/* The driver does not change descriptors that the device has, so they may be read anew. 0, or what broke. */
static int give_back(struct virtio_iommu *d, struct virtqueue *q, uint16_t head, const void *bytes,
		     size_t length)
{
	struct virtqueue_buffer *b = virtio_buffer(d->virtio);
	int err = 0;

	if (length) {
		err = virtqueue_open(q, head, b);
		length = length < b->to_write ? length : (size_t)b->to_write;
	}
	if (!err && length)
		err = virtqueue_write(q, b, bytes, length);
	return err ? err : virtqueue_give(q, head, (uint32_t)length);
}

static int give_answer(struct virtio_iommu *d, struct virtqueue *q, const struct pending *p,
		       const void *bytes, size_t length)
{
	int err;

	if (!p->in_one || length > p->answer.length)
		return give_back(d, q, p->head, bytes, length);
	err = virtqueue_write_segment(q, &p->answer, bytes, length);
	return err ? err : virtqueue_give(q, p->head, (uint32_t)length);
}

/* Returns how many. */
static unsigned give_answers(struct virtio_iommu *d)
{
	struct virtqueue *q = virtio_queue(d->virtio, REQUEST_QUEUE);
	uint8_t answer[VIOMMU_ANSWER_BYTES];
	unsigned count = 0;
	uint64_t token;

	while (d->outstanding) {
		int64_t length = viommu_request_answer(d->unit, &token, answer, sizeof(answer));
		int err;

		if (length < 0)
			break;
		d->outstanding--;
		count++;
		err = give_answer(d, q, &d->pending[token % VIOMMU_REQUESTS_MOST], answer, (size_t)length);
		if (err) {
			virtio_broke(d->virtio, q, err);
			return count;
		}
	}
	if (count)
		virtio_gave_back(d->virtio, q);
	return count;
}

/* A buffer that is too short is given back as it is. 1: done, 0: there is no event, -EBUSY: the unit is in
 * use, or what broke. */
static int give_event(struct virtio_iommu *d, struct virtqueue *q, uint16_t head)
{
	struct virtqueue_buffer *b = virtio_buffer(d->virtio);
	uint8_t event[VIOMMU_EVENT_BYTES];
	int err = virtqueue_open(q, head, b);
	int64_t length;

	if (err)
		return err;
	length = viommu_event_take(d->unit, event,
				   b->to_write < sizeof(event) ? (size_t)b->to_write : sizeof(event));
	if (length == -EAGAIN || length == -EBUSY)
		return length == -EAGAIN ? 0 : -EBUSY;
	virtqueue_take(q);
	err = give_back(d, q, head, event, length > 0 ? (size_t)length : 0);
	return err ? err : 1;
}

/* As many as there are buffers for, and wait at a time. Returns how many. */
static unsigned give_events(struct virtio_iommu *d, struct virtio_iommu_look *look)
{
	struct virtqueue *q = virtio_queue(d->virtio, EVENT_QUEUE);
	unsigned count = 0;
	uint16_t head;
	int found = 0, given = 0;
	bool busy;

	/* An event that finds no room for itself is there. */
	if (viommu_event_take(d->unit, NULL, 0) == -EAGAIN) {
		d->events_wait = false;
		return 0;
	}
	while (count < VIOMMU_EVENTS_MOST && (found = virtqueue_look(q, &head)) > 0 &&
	       (given = give_event(d, q, head)) > 0)
		count++;
	busy = given == -EBUSY;
	look->pending = look->pending || busy;
	d->events_wait = found == 0 || busy || count == VIOMMU_EVENTS_MOST;
	if (found < 0 || (given < 0 && !busy))
		virtio_broke(d->virtio, q, found < 0 ? found : given);
	else if (count)
		virtio_gave_back(d->virtio, q);
	return count;
}

void virtio_iommu_take(struct virtio_iommu *d, unsigned budget, struct virtio_iommu_look *look)
{
	unsigned taken;

	switch (virtio_begin(d->virtio)) {
	case VIRTIO_RUNS:
		taken = take_requests(d, budget, look);
		look->steps += taken;
		look->deep = look->deep || (budget && taken == budget);
		break;
	case VIRTIO_RESETTING:
		look->pending = true;
		break;
	case VIRTIO_IDLE:
		break;
	}
}

/* Nobody can be given them any more, and a state cannot be saved while the unit has them. */
static void drop_answers(struct virtio_iommu *d)
{
	uint8_t answer[VIOMMU_ANSWER_BYTES];
	uint64_t token;

	while (d->outstanding && viommu_request_answer(d->unit, &token, answer, sizeof(answer)) >= 0)
		d->outstanding--;
}

/* What was begun before may have ended the running: then answers stay with the unit. */
void virtio_iommu_give(struct virtio_iommu *d, bool worked, struct virtio_iommu_look *look)
{
	unsigned given;

	if (virtio_is_broken(d->virtio))
		drop_answers(d);
	if (!virtio_runs(d->virtio))
		return;
	given = give_answers(d);
	look->steps += given;
	/* Its answer was there, maybe, but not the unit. */
	look->pending = look->pending || d->outstanding;
	if (worked || given || d->events_wait)
		look->steps += give_events(d, look);
}

bool virtio_iommu_arm(struct virtio_iommu *d)
{
	return virtio_arm(d->virtio, virtio_queue(d->virtio, REQUEST_QUEUE)) &&
	       (!d->events_wait || virtio_arm(d->virtio, virtio_queue(d->virtio, EVENT_QUEUE)));
}

/* -------------------------------------------------------- what the transport asks for */

static void config_read(void *opaque, size_t offset, void *buf, size_t len)
{
	const struct virtio_iommu *d = opaque;

	viommu_config_read(d->unit, offset, buf, len);
}

static void config_write(void *opaque, size_t offset, const void *buf, size_t len)
{
	const struct virtio_iommu *d = opaque;

	viommu_config_write(d->unit, offset, buf, len);
}

static void accepted(void *opaque, uint64_t features)
{
	const struct virtio_iommu *d = opaque;

	viommu_features_accept(d->unit, features);
}

/*
 * A stock Linux resets its IOMMU before the devices behind it when it shuts down or begins
 * another kernel; they must not go on with addresses that mean something else then.
 */
static bool reset(void *opaque, bool by_driver)
{
	struct virtio_iommu *d = opaque;

	d->outstanding = 0;
	d->events_wait = false;
	return viommu_driver_reset(d->unit, by_driver) == 0;
}

static void msix(void *opaque, unsigned vector)
{
	const struct virtio_iommu *d = opaque;

	d->ops.msix(d->opaque, vector);
}

static void kick(void *opaque)
{
	const struct virtio_iommu *d = opaque;

	d->ops.kick(d->opaque);
}

static void tell(void *opaque, const char *line)
{
	const struct virtio_iommu *d = opaque;

	d->ops.log(d->opaque, line);
}

static const struct virtio_device_ops device_ops = {
	.config_read = config_read,
	.config_write = config_write,
	.accepted = accepted,
	.reset = reset,
	.msix = msix,
	.kick = kick,
	.log = tell,
};

/* ----------------------------------------------------------------- begin, end, states */

struct virtio_iommu *virtio_iommu_create(struct viommu *unit, struct viommu_requester *requester,
					 struct viommu_thread *thread,
					 const struct virtio_iommu_host_ops *ops, void *opaque)
{
	const struct virtio_options options = {
		.device_id = DEVICE_ID,
		.class_code = CLASS_CODE,
		.queues = VIRTIO_IOMMU_QUEUES,
		.queue_size = VIRTQUEUE_SIZE_MOST,
		.features = viommu_features_offered(unit),
		.config_size = CONFIG_SIZE,
	};
	struct virtio_iommu *d = calloc(1, sizeof(*d));

	if (!d)
		return NULL;
	d->unit = unit;
	d->ops = *ops;
	d->opaque = opaque;
	d->virtio = virtio_create(&options, &device_ops, d, requester, thread);
	if (!d->virtio) {
		free(d);
		return NULL;
	}
	return d;
}

void virtio_iommu_destroy(struct virtio_iommu *d)
{
	if (!d)
		return;
	virtio_destroy(d->virtio);
	free(d);
}

struct virtio *virtio_iommu_transport(struct virtio_iommu *d)
{
	return d->virtio;
}

int64_t virtio_iommu_save(struct virtio_iommu *d, void *buf, size_t size)
{
	size_t length = virtio_state_size();
	int err;

	if (d->outstanding)
		return -EBUSY;
	if (!buf)
		return (int64_t)length;
	if (size < length)
		return -ENOSPC;
	err = virtio_save(d->virtio, buf);
	return err ? err : (int64_t)length;
}

void virtio_iommu_restore(struct virtio_iommu *d, const void *buf)
{
	virtio_restore(d->virtio, buf);
	d->outstanding = 0;
	d->events_wait = true; /* events may have been saved */
}
