/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A hostile driver of a virtio function: the input is a program of register
 * accesses, descriptors, rings, turns of the work thread, resets and moves against
 * a double of the IOMMU. The device gives back the inverse of what it is asked.
 *
 * What must hold, beside what the sanitizers see: an access is one of a ring as the
 * driver has set it up, of a table that a descriptor names, or of data that one
 * names, in its direction; none comes without bus mastering, features and DRIVER_OK,
 * nor while a reset is under way; a chain costs no more accesses than the queue has
 * descriptors, and one for a table; interrupts have vectors that exist; and after a
 * reset another driver is served.
 */
#include "fake_access.h"
#include "input.h"
#include "virtio/spec.h"
#include "virtio/virtio.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MEMORY	    0x4000u
#define QUEUES	    2
#define SIZE_MOST   16
#define FEATURES    UINT64_C(0x21)
#define CONFIG_SIZE 40
#define RING(q)	    (FAKE_BASE + 0x1000 * (q))
#define TABLES	    (FAKE_BASE + 0x2000)
#define DATA	    (FAKE_BASE + 0x3000)
#define TURN	    32 /* buffers that a turn takes of a queue */
#define STATE_MOST  1024

struct fuzz {
	struct input in;
	struct virtio *v;
	struct viommu_requester *f;
	const struct virtqueue *queue; /* whose turn it is */
	uint8_t *memory;	       /* as it was when the device began to look at a buffer */
	bool resets_wait;
	uint64_t accepted;
};

/* ------------------------------------------------------------------- the oracle */

struct descriptor {
	uint64_t address;
	uint32_t length;
	uint16_t flags, next;
};

static bool is_in(uint64_t iova, size_t len, uint64_t first, uint64_t size)
{
	return len <= size && iova - first <= size - len;
}

static bool is_of_ring(const struct virtqueue *q, uint64_t iova, size_t len, bool write)
{
	if (write)
		return is_in(iova, len, q->device, VIRTQ_USED_RING + 8ull * q->size);
	return is_in(iova, len, q->descriptors, 16ull * q->size) ||
	       is_in(iova, len, q->driver, VIRTQ_AVAIL_RING + 2ull * q->size);
}

static bool get(const struct fuzz *z, uint64_t table, unsigned number, struct descriptor *ret_descriptor)
{
	uint64_t at = table + number * sizeof(*ret_descriptor) - FAKE_BASE;

	if (at > MEMORY - sizeof(*ret_descriptor))
		return false;
	memcpy(ret_descriptor, z->memory + at, sizeof(*ret_descriptor));
	return true;
}

/* By one of the descriptors of this table, or of a table that one of them names. */
static bool is_named(const struct fuzz *z, uint64_t table, unsigned count, bool inner, uint64_t iova,
		     size_t len, bool write)
{
	struct descriptor d;

	for (unsigned i = 0; i < count; i++) {
		if (!get(z, table, i, &d))
			continue;
		if (!(d.flags & VIRTQ_DESC_F_INDIRECT)) {
			if (!(d.flags & VIRTQ_DESC_F_WRITE) == !write &&
			    is_in(iova, len, d.address, d.length))
				return true;
		} else if (!inner && d.length <= 16u * z->queue->size) {
			if (!write && len % 16 == 0 && is_in(iova, len, d.address, d.length))
				return true;
			if (is_named(z, d.address, d.length / 16, true, iova, len, write))
				return true;
		}
	}
	return false;
}

static void watch(void *arg, uint64_t iova, size_t len, bool write)
{
	const struct fuzz *z = arg;
	uint8_t status;

	require(z->queue != NULL, "an access outside of the work thread's turn");
	require(virtio_masters_bus(z->v), "an access without bus mastering");
	virtio_bar_read(z->v, 0, VIRTIO_COMMON_STATUS, &status, 1);
	require((status & 12) == 12, "an access before the driver is ready");
	require(len > 0, "an access of nothing");
	require(is_of_ring(z->queue, iova, len, write) ||
			is_named(z, z->queue->descriptors, z->queue->size, false, iova, len, write),
		"an access of what nothing names");
}

/* ------------------------------------------------------------------- the device */

static void config_read(void *opaque, size_t offset, void *buf, size_t len)
{
	require(offset < CONFIG_SIZE && len <= 4, "a configuration access beyond the end");
	memset(buf, 0x5a, len);
}

static void config_write(void *opaque, size_t offset, const void *buf, size_t len)
{
	require(offset < CONFIG_SIZE && len <= 4, "a configuration access beyond the end");
}

static void accepted(void *opaque, uint64_t features)
{
	struct fuzz *z = opaque;

	require(!(features & ~FEATURES), "features that nobody offered");
	z->accepted = features;
}

static bool reset(void *opaque, bool by_driver)
{
	struct fuzz *z = opaque;

	return !z->resets_wait;
}

static void msix(void *opaque, unsigned vector)
{
	require(vector <= QUEUES, "a vector that is not there");
}

static void kick(void *opaque)
{
}

static void tell(void *opaque, const char *line)
{
}

static int answer(struct fuzz *z, struct virtqueue *q, uint16_t head)
{
	struct virtqueue_buffer *b = virtio_buffer(z->v);
	uint64_t before = z->f->accesses;
	uint8_t bytes[64];
	int err;
	int64_t n;

	memcpy(z->memory, z->f->memory, MEMORY);
	err = virtqueue_open(q, head, b);
	require(z->f->accesses - before <= q->size + 1u, "more accesses than descriptors");
	if (err)
		return err;
	require(b->readable <= b->count && b->count <= q->size, "more segments than descriptors");
	n = virtqueue_read(q, b, bytes, sizeof(bytes));
	if (n < 0)
		return (int)n;
	require(n == (int64_t)(b->to_read < sizeof(bytes) ? b->to_read : sizeof(bytes)), "a short read");
	virtqueue_take(q);
	n = b->to_write < (uint64_t)n ? (int64_t)b->to_write : n;
	err = virtqueue_write(q, b, bytes, (size_t)n);
	return err ? err : virtqueue_give(q, head, (uint32_t)n);
}

static void serve(struct fuzz *z, struct virtqueue *q)
{
	unsigned count = 0;
	int found = 0, err = 0;
	uint16_t head;

	while (!err && count < TURN && (found = virtqueue_look(q, &head)) > 0) {
		require(found <= q->size && head < q->size, "a head beyond the queue");
		err = answer(z, q, head);
		count++;
	}
	if (!err && found < 0)
		err = found;
	if (!err && count)
		err = virtqueue_set_quiet(q, true);
	if (err)
		virtio_broke(z->v, q, err);
	else if (count)
		virtio_gave_back(z->v, q);
}

static enum virtio_phase turn(struct fuzz *z)
{
	enum virtio_phase phase = virtio_begin(z->v);

	for (unsigned i = 0; i < QUEUES; i++) {
		z->queue = virtio_queue(z->v, i);
		require(z->queue->size <= SIZE_MOST, "a queue longer than the most");
		if (phase == VIRTIO_RUNS)
			serve(z, virtio_queue(z->v, i));
		virtio_arm(z->v, virtio_queue(z->v, i));
	}
	z->queue = NULL;
	return phase;
}

static struct virtio *make(struct fuzz *z)
{
	static const struct virtio_options options = {.device_id = 23,
						      .class_code = 0x080600,
						      .queues = QUEUES,
						      .queue_size = SIZE_MOST,
						      .features = FEATURES,
						      .config_size = CONFIG_SIZE};
	static const struct virtio_device_ops ops = {.config_read = config_read,
						     .config_write = config_write,
						     .accepted = accepted,
						     .reset = reset,
						     .msix = msix,
						     .kick = kick,
						     .log = tell};
	struct virtio *v = virtio_create(&options, &ops, z, z->f, NULL);

	if (!v)
		abort();
	return v;
}

/* ---------------------------------------------------------- what a driver does */

static void reg(struct fuzz *z, uint64_t offset, size_t len, uint32_t value)
{
	virtio_bar_write(z->v, 0, offset, &value, len);
}

static void reg64(struct fuzz *z, uint64_t offset, uint64_t value)
{
	reg(z, offset, 4, (uint32_t)value);
	reg(z, offset + 4, 4, (uint32_t)(value >> 32));
}

static uint8_t status(struct fuzz *z)
{
	uint8_t value;

	virtio_bar_read(z->v, 0, VIRTIO_COMMON_STATUS, &value, 1);
	return value;
}

static void set_up_queue(struct fuzz *z, unsigned queue, unsigned size, uint64_t at)
{
	reg(z, VIRTIO_COMMON_QUEUE_SELECT, 2, queue);
	reg(z, VIRTIO_COMMON_QUEUE_SIZE, 2, size);
	reg(z, VIRTIO_COMMON_QUEUE_VECTOR, 2, queue + 1);
	reg64(z, VIRTIO_COMMON_QUEUE_DESCRIPTORS, at);
	reg64(z, VIRTIO_COMMON_QUEUE_DRIVER, at + 0x400);
	reg64(z, VIRTIO_COMMON_QUEUE_DEVICE, at + 0x800);
	reg(z, VIRTIO_COMMON_QUEUE_ENABLE, 2, 1);
}

static void agree(struct fuzz *z, uint64_t features)
{
	uint16_t command = 6, control = 0x8000;

	virtio_config_write(z->v, 0x04, &command, 2);
	virtio_config_write(z->v, 0x42, &control, 2);
	reg(z, VIRTIO_COMMON_STATUS, 1, 3);
	for (unsigned i = 0; i < 2; i++) {
		reg(z, VIRTIO_COMMON_DRIVER_FEATURE_SELECT, 4, i);
		reg(z, VIRTIO_COMMON_DRIVER_FEATURE, 4, (uint32_t)(features >> 32 * i));
	}
	reg(z, VIRTIO_COMMON_STATUS, 1, 11);
	reg(z, VIRTIO_COMMON_CONFIG_VECTOR, 2, 0);
}

#define GOOD_FEATURES (FEATURES | UINT64_C(1) << VIRTIO_F_VERSION_1 | UINT64_C(1) << VIRTIO_F_INDIRECT_DESC)

static void start(struct fuzz *z)
{
	agree(z, GOOD_FEATURES);
	for (unsigned i = 0; i < QUEUES; i++)
		set_up_queue(z, i, SIZE_MOST >> i, RING(i));
	reg(z, VIRTIO_COMMON_STATUS, 1, 15);
}

/* --------------------------------------------------------------------- steps */

static uint64_t address(struct fuzz *z)
{
	uint64_t offset = take(&z->in, 2);

	return offset == 0xffff ? take(&z->in, 8) : FAKE_BASE + offset % (MEMORY + 0x400);
}

static void put(struct fuzz *z, uint64_t iova, const void *bytes, size_t len)
{
	if (iova - FAKE_BASE <= MEMORY - len)
		memcpy(fake_at(z->f, iova), bytes, len);
}

static void put16(struct fuzz *z, uint64_t iova, uint16_t value)
{
	put(z, iova, &value, sizeof(value));
}

/* Mostly data and a chain as they should be; now and then anything. */
static void step_descriptor(struct fuzz *z)
{
	uint8_t where = (uint8_t)take(&z->in, 1), shape = (uint8_t)take(&z->in, 1);
	unsigned number = where % SIZE_MOST;
	uint64_t table = where & 0x40 ? TABLES + 0x100 * (where >> 4 & 3) : RING(where >> 4 & 1);
	struct descriptor d = {.address = DATA + 16 * (shape & 15),
			       .length = (uint32_t)take(&z->in, 1) % 64,
			       .flags = shape >> 4 & 3,
			       .next = (uint16_t)(number + 1)};

	if (shape & 0x40) {
		d.flags |= VIRTQ_DESC_F_INDIRECT;
		d.address = TABLES + 0x100 * (shape & 3);
		d.length *= 16;
	}
	if (shape & 0x80) {
		d.next = (uint16_t)take(&z->in, 2);
		d.flags ^= (uint16_t)take(&z->in, 2);
		d.length ^= (uint32_t)take(&z->in, 4);
		d.address = address(z);
	}
	put(z, table + 16 * number, &d, sizeof(d));
}

/* The next buffers; or an index that is not the next one. */
static void step_offer(struct fuzz *z)
{
	uint8_t shape = (uint8_t)take(&z->in, 1);
	unsigned queue = shape & 1, size = SIZE_MOST >> queue, count = 1 + (shape >> 1 & 3);
	uint64_t driver = RING(queue) + 0x400;
	uint16_t index;

	memcpy(&index, fake_at(z->f, driver + VIRTQ_AVAIL_INDEX), 2);
	for (unsigned i = 0; i < count; i++, index++)
		put16(z, driver + VIRTQ_AVAIL_RING + 2 * (index % size), (uint16_t)take(&z->in, 1) % size);
	if (shape & 0x80)
		index = (uint16_t)take(&z->in, 2);
	put16(z, driver + VIRTQ_AVAIL_INDEX, index);
	put16(z, driver, shape >> 6 & 1);
	reg(z, 0x3000 + 4 * queue, 2, queue);
}

static void step_memory(struct fuzz *z)
{
	uint64_t at = address(z), value = take(&z->in, 8);

	put(z, at, &value, 8);
}

static void step_register(struct fuzz *z)
{
	uint64_t offset = take(&z->in, 2), value = take(&z->in, 8);
	unsigned len = 1 + (unsigned)take(&z->in, 1) % 8;
	uint8_t buf[8];

	if (!(offset & 0x8000))
		offset = (offset & 0x4000) | (offset % VIRTIO_COMMON_SIZE);
	if (offset & 0x4000)
		virtio_bar_read(z->v, offset & 1 ? 4 : 0, offset & 0x3fff, buf, len);
	else
		virtio_bar_write(z->v, offset & 0x2000 && offset & 1 ? 4 : 0, offset & 0x3fff, &value, len);
}

/* In the width that the register has. */
static void step_common(struct fuzz *z)
{
	static const struct {
		uint8_t offset, len;
	} rows[] = {{0x00, 4}, {0x08, 4}, {0x0c, 4}, {0x10, 2}, {0x14, 1}, {0x16, 2}, {0x18, 2}, {0x1a, 2},
		    {0x1c, 2}, {0x20, 4}, {0x24, 4}, {0x28, 4}, {0x2c, 4}, {0x30, 4}, {0x34, 4}, {0x14, 1}};
	unsigned row = (unsigned)take(&z->in, 1) % 16;

	reg(z, rows[row].offset, rows[row].len, (uint32_t)take(&z->in, rows[row].len));
}

static void step_config(struct fuzz *z)
{
	uint64_t offset = take(&z->in, 1), value = take(&z->in, 4);
	unsigned len = 1 + (unsigned)take(&z->in, 1) % 4;

	if (offset >= 0xf0) { /* the window */
		offset -= 0xf0;
		virtio_config_write(z->v, 0x94, &offset, 1);
		virtio_config_write(z->v, 0x98, &value, 4);
		virtio_config_write(z->v, 0x9c, &len, 4);
		offset = 0xa0;
	}
	virtio_config_write(z->v, offset, &value, len);
	virtio_config_read(z->v, offset, &value, len);
}

static void step_start(struct fuzz *z)
{
	uint8_t shape = (uint8_t)take(&z->in, 1);

	if (shape & 1)
		reg(z, VIRTIO_COMMON_STATUS, 1, 0);
	if (shape & 2)
		virtio_reset(z->v);
	z->resets_wait = shape & 4;
	if (shape & 8)
		turn(z);
	if (shape & 16)
		agree(z, GOOD_FEATURES ^ take(&z->in, 5));
	if (shape & 32)
		set_up_queue(z, shape >> 7, 1u << take(&z->in, 1) % 8, address(z));
	if (shape & 64)
		start(z);
}

/* Saved, changed by who keeps it, restored: refused, or what follows holds as for any driver. */
static void step_move(struct fuzz *z)
{
	static uint8_t state[STATE_MOST];
	unsigned edits = (unsigned)take(&z->in, 1) % 4;
	size_t size = virtio_state_size();

	require(size <= sizeof(state), "room for a state");
	if (virtio_save(z->v, state))
		return;
	require(virtio_restore_check(z->v, state, size) == 0, "what was saved can be restored");
	for (unsigned i = 0; i < edits; i++)
		state[take(&z->in, 2) % size] = (uint8_t)take(&z->in, 1);
	if (virtio_restore_check(z->v, state, size))
		return;
	virtio_destroy(z->v);
	z->v = make(z);
	virtio_restore(z->v, state);
}

static void step_turn(struct fuzz *z)
{
	uint8_t shape = (uint8_t)take(&z->in, 1);

	if (shape & 1)
		z->f->fail_at = z->f->accesses + (shape >> 1);
	turn(z);
}

static void step(struct fuzz *z)
{
	static void (*const steps[])(struct fuzz * z) = {step_descriptor, step_descriptor, step_descriptor,
							 step_offer,	  step_offer,	   step_turn,
							 step_turn,	  step_common,	   step_register,
							 step_config,	  step_start,	   step_move,
							 step_memory};

	steps[take(&z->in, 1) % (sizeof(steps) / sizeof(steps[0]))](z);
}

/* -------------------------------------------------------------------- the machine */

/* Another driver, that does all as it should, is served. */
static void serve_another(struct fuzz *z)
{
	const struct descriptor out = {DATA, 8, VIRTQ_DESC_F_NEXT, 1},
				back = {DATA + 8, 8, VIRTQ_DESC_F_WRITE, 0};
	uint16_t used;

	z->f->fail_at = 0;
	z->resets_wait = false;
	reg(z, VIRTIO_COMMON_STATUS, 1, 0);
	turn(z);
	require(status(z) == 0, "a reset comes to its end");
	memset(z->f->memory, 0, MEMORY);
	start(z);
	require(status(z) == 15 && z->accepted == FEATURES, "a driver can start");
	put(z, RING(0), &out, sizeof(out));
	put(z, RING(0) + 16, &back, sizeof(back));
	put16(z, RING(0) + 0x400 + VIRTQ_AVAIL_INDEX, 1);
	require(turn(z) == VIRTIO_RUNS, "a driver is served");
	memcpy(&used, fake_at(z->f, RING(0) + 0x800 + VIRTQ_USED_INDEX), 2);
	require(used == 1, "a request is answered");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct viommu_requester f;
	static uint8_t memory[MEMORY];
	struct fuzz z = {.in = {data, size}, .f = &f, .memory = memory};

	if (!f.memory)
		fake_init(&f, MEMORY);
	memset(f.memory, 0, MEMORY);
	f.fail_at = 0;
	f.watch = watch;
	f.watch_arg = &z;
	z.v = make(&z);
	start(&z);
	while (z.in.left)
		step(&z);
	serve_another(&z);
	virtio_destroy(z.v);
	return 0;
}
