/* SPDX-License-Identifier: BSD-3-Clause */
/* Begin and end, what the work thread does with queues, and states. */
#include "virtio/virtio.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "virtio/device.h"
#include "virtio/spec.h"

/* ------------------------------------------------------------------ begin and end */

struct virtio *virtio_create(const struct virtio_options *options, const struct virtio_device_ops *ops,
			     void *opaque, struct viommu_requester *requester, struct viommu_thread *thread)
{
	struct virtio *d = calloc(1, sizeof(*d));

	if (!d)
		return NULL;
	d->ops = *ops;
	d->opaque = opaque;
	d->options = *options;
	d->offered =
		options->features | UINT64_C(1) << VIRTIO_F_VERSION_1 | UINT64_C(1) << VIRTIO_F_INDIRECT_DESC;
	for (unsigned i = 0; i < options->queues; i++)
		d->queues[i] = (struct virtqueue){.thread = thread, .requester = requester, .gate = &d->gate};
	pthread_mutex_init(&d->lock, NULL);
	virtio_pci_init(d);
	virtio_pci_reset(d);
	virtio_common_reset(d);
	return d;
}

void virtio_destroy(struct virtio *d)
{
	if (!d)
		return;
	pthread_mutex_destroy(&d->lock);
	free(d);
}

bool virtio_masters_bus(const struct virtio *d)
{
	return d->masters;
}

bool virtio_has_driver(const struct virtio *d)
{
	return d->has_driver;
}

void virtio_reset(struct virtio *d)
{
	pthread_mutex_lock(&d->lock);
	d->resetting = false;
	virtio_pci_reset(d);
	virtio_common_reset(d);
	d->gate.resets_asked++;
	virtio_tell_features(d);
	pthread_mutex_unlock(&d->lock);
	d->ops.kick(d->opaque);
}

void virtio_tell_features(struct virtio *d)
{
	bool agreed = d->common.status & VIRTIO_STATUS_FEATURES_OK;

	d->ops.accepted(d->opaque, agreed ? d->common.driver_features & d->options.features : 0);
}

/* ------------------------------------------------------------------- work thread */

static void forget_queues(struct virtio *d)
{
	for (unsigned i = 0; i < d->options.queues; i++)
		d->queues[i] = (struct virtqueue){.thread = d->queues[i].thread,
						  .requester = d->queues[i].requester,
						  .gate = &d->gate};
}

/*
 * Another reset may have come meanwhile, and is the next one's. After one of the function the next driver may
 * have agreed on features already, which the device has forgotten now.
 */
static bool reset_for_driver(struct virtio *d, unsigned asked)
{
	if (!d->ops.reset(d->opaque, d->resetting))
		return false;
	pthread_mutex_lock(&d->lock);
	if (d->resetting && d->gate.resets_asked == asked) {
		virtio_common_reset(d);
		d->resetting = false;
	}
	virtio_tell_features(d);
	pthread_mutex_unlock(&d->lock);
	d->gate.resets_done = asked;
	forget_queues(d);
	return true;
}

static void take_over_queue(const struct virtio *d, struct virtqueue *q, const struct queue_registers *r)
{
	q->size = r->size;
	q->descriptors = r->descriptors;
	q->driver = r->driver;
	q->device = r->device;
	q->indirect = d->common.driver_features >> VIRTIO_F_INDIRECT_DESC & 1;
}

/* Those that the driver has enabled since, unless they are those of the next driver. */
static bool take_over_queues(struct virtio *d)
{
	bool is_current;

	pthread_mutex_lock(&d->lock);
	is_current = virtqueue_gate_is_open(&d->gate);
	for (unsigned i = 0; is_current && i < d->options.queues; i++) {
		if (!d->queues[i].size && d->common.queues[i].enabled)
			take_over_queue(d, &d->queues[i], &d->common.queues[i]);
	}
	if (is_current)
		d->taken_over = d->generation;
	pthread_mutex_unlock(&d->lock);
	return is_current;
}

enum virtio_phase virtio_begin(struct virtio *d)
{
	unsigned asked = d->gate.resets_asked;

	if (asked != d->gate.resets_done && !reset_for_driver(d, asked))
		return VIRTIO_RESETTING;
	if (!d->runs || d->gate.resets_asked != asked)
		return VIRTIO_IDLE;
	return d->taken_over == d->generation || take_over_queues(d) ? VIRTIO_RUNS : VIRTIO_IDLE;
}

bool virtio_runs(const struct virtio *d)
{
	return d->runs && virtqueue_gate_is_open(&d->gate);
}

bool virtio_is_broken(const struct virtio *d)
{
	return d->broken;
}

struct virtqueue *virtio_queue(struct virtio *d, unsigned index)
{
	return &d->queues[index];
}

struct virtqueue_buffer *virtio_buffer(struct virtio *d)
{
	return &d->scratch;
}

/* `which`: a register of the driver's. The vector is what it is now. */
static void interrupt(struct virtio *d, const uint16_t *which)
{
	uint16_t vector;

	pthread_mutex_lock(&d->lock);
	vector = *which;
	pthread_mutex_unlock(&d->lock);
	if (vector != VIRTIO_MSI_NO_VECTOR && d->msix_on)
		d->ops.msix(d->opaque, vector);
}

static unsigned number_of(const struct virtio *d, const struct virtqueue *q)
{
	return (unsigned)(q - d->queues);
}

/* False: the driver knows already, or has reset the device. */
static bool mark_broken(struct virtio *d)
{
	bool is_news;

	pthread_mutex_lock(&d->lock);
	is_news = virtqueue_gate_is_open(&d->gate) && !(d->common.status & VIRTIO_STATUS_NEEDS_RESET);
	if (is_news) {
		d->common.status |= VIRTIO_STATUS_NEEDS_RESET;
		virtio_publish(d);
	}
	pthread_mutex_unlock(&d->lock);
	return is_news;
}

void virtio_broke(struct virtio *d, const struct virtqueue *q, int err)
{
	char line[120];

	if (!mark_broken(d))
		return;
	snprintf(line, sizeof(line), "virtqueue %u: %s; the driver has to reset the device", number_of(d, q),
		 err == -EBADMSG ? "the driver put into the ring what must not be there"
				 : "its memory cannot be accessed");
	d->ops.log(d->opaque, line);
	interrupt(d, &d->common.config_vector);
}

void virtio_gave_back(struct virtio *d, struct virtqueue *q)
{
	int wants;

	if (d->vectors[number_of(d, q)] == VIRTIO_MSI_NO_VECTOR)
		return; /* the driver looks itself */
	wants = virtqueue_wants_interrupt(q);
	if (wants < 0)
		virtio_broke(d, q, wants);
	else if (wants)
		interrupt(d, &d->common.queues[number_of(d, q)].vector);
}

bool virtio_arm(struct virtio *d, struct virtqueue *q)
{
	uint16_t head;
	int found;

	if (!virtqueue_gate_is_open(&d->gate))
		return false;
	if (!d->runs)
		return true;
	found = virtqueue_set_quiet(q, false);
	if (!found)
		found = virtqueue_look(q, &head);
	if (found < 0)
		virtio_broke(d, q, found);
	return found <= 0;
}

/* ------------------------------------------------------------------------ states */

struct queue_state {
	uint16_t taken, given, quiet, unused;
};

/* Plain numbers, in this machine's byte order. */
struct state {
	uint8_t config[PCI_CONFIG_SIZE];
	uint8_t msix_table[MSIX_TABLE_SIZE];
	struct common_registers common;
	struct queue_state queues[VIRTIO_QUEUES_MOST];
};

size_t virtio_state_size(void)
{
	return sizeof(struct state);
}

int virtio_save(struct virtio *d, void *buf)
{
	struct state s = {.queues = {{0}}};
	bool busy;

	pthread_mutex_lock(&d->lock);
	busy = !virtqueue_gate_is_open(&d->gate);
	memcpy(s.config, d->config, sizeof(s.config));
	memcpy(s.msix_table, d->msix_table, sizeof(s.msix_table));
	s.common = d->common;
	pthread_mutex_unlock(&d->lock);
	for (unsigned i = 0; i < d->options.queues; i++)
		s.queues[i] =
			(struct queue_state){d->queues[i].taken, d->queues[i].given, d->queues[i].quiet, 0};
	if (busy)
		return -EBUSY;
	memcpy(buf, &s, sizeof(s));
	return 0;
}

static bool has_no_rest(const struct queue_state *q)
{
	return !q->taken && !q->given && !q->quiet && !q->unused;
}

int virtio_restore_check(const struct virtio *d, const void *buf, size_t size)
{
	struct state s;
	bool started;

	if (size != sizeof(s))
		return -EBADMSG;
	memcpy(&s, buf, sizeof(s));
	if (!pci_config_is_possible(d->fields, s.config) || !virtio_common_is_possible(d, &s.common))
		return -EBADMSG;
	started = virtio_common_is_started(&s.common);
	for (unsigned i = 0; i < VIRTIO_QUEUES_MOST; i++) {
		if (s.queues[i].quiet > 1 || s.queues[i].unused ||
		    (!(started && s.common.queues[i].enabled) && !has_no_rest(&s.queues[i])))
			return -EBADMSG;
	}
	return 0;
}

void virtio_restore(struct virtio *d, const void *buf)
{
	struct state s;

	memcpy(&s, buf, sizeof(s));
	pthread_mutex_lock(&d->lock);
	memcpy(d->config, s.config, sizeof(s.config));
	memcpy(d->msix_table, s.msix_table, sizeof(s.msix_table));
	d->common = s.common;
	d->resetting = false;
	d->generation++;
	virtio_publish(d);
	virtio_tell_features(d);
	pthread_mutex_unlock(&d->lock);
	d->gate.resets_done = d->gate.resets_asked;
	forget_queues(d);
	if (virtio_common_is_started(&s.common))
		take_over_queues(d);
	for (unsigned i = 0; i < d->options.queues; i++) {
		d->queues[i].taken = s.queues[i].taken;
		d->queues[i].given = s.queues[i].given;
		d->queues[i].quiet = s.queues[i].quiet;
	}
}
