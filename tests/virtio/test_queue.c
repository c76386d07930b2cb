/* SPDX-License-Identifier: BSD-3-Clause */
/* The device's half of a split virtqueue, against drivers that are right and drivers that are not. */
#include "queue.h"

#include <errno.h>
#include <string.h>

#define MEMORY	 (64u << 10)
#define RING	 FAKE_BASE
#define INDIRECT (FAKE_BASE + 0x4000)
#define ANOTHER	 (FAKE_BASE + 0x6000)
#define DATA	 (FAKE_BASE + 0x8000)
#define NOWHERE	 (FAKE_BASE + 2 * MEMORY)
#define NEXT	 VIRTQ_DESC_F_NEXT
#define WRITE	 VIRTQ_DESC_F_WRITE
#define TABLE	 VIRTQ_DESC_F_INDIRECT

struct bed {
	struct viommu_requester memory;
	struct ring ring;
	struct virtqueue queue;
	struct virtqueue_buffer buffer;
	/* What descriptors name beside the queue's areas; what is accessed outside of it all is counted. */
	struct {
		uint64_t first, size;
	} named[4];
	unsigned outside;
};

static bool is_named(const struct bed *b, uint64_t iova, size_t len)
{
	for (unsigned i = 0; i < 4; i++) {
		if (iova >= b->named[i].first && iova - b->named[i].first + len <= b->named[i].size)
			return true;
	}
	return false;
}

static void watch(void *arg, uint64_t iova, size_t len, bool write)
{
	struct bed *b = arg;

	b->outside += !ring_has(&b->ring, iova, len, write) && !is_named(b, iova, len);
}

/* The queue as it is when the driver has set it up. */
static void begin(struct bed *b, uint16_t size)
{
	ring_init(&b->ring, &b->memory, RING, size);
	b->queue = (struct virtqueue){.requester = &b->memory,
				      .descriptors = b->ring.descriptors,
				      .driver = b->ring.driver,
				      .device = b->ring.device,
				      .size = size,
				      .indirect = true};
}

static int set_up(void **state)
{
	static struct bed b;

	memset(&b, 0, sizeof(b));
	fake_init(&b.memory, MEMORY);
	b.memory.watch = watch;
	b.memory.watch_arg = &b;
	begin(&b, 8);
	*state = &b;
	return 0;
}

static int tear_down(void **state)
{
	struct bed *b = *state;

	fake_finish(&b->memory);
	return b->outside != 0;
}

static void name(struct bed *b, unsigned which, uint64_t first, uint64_t size)
{
	b->named[which].first = first;
	b->named[which].size = size;
}

static void describe(struct bed *b, unsigned number, uint64_t address, uint32_t length, unsigned flags,
		     uint16_t next)
{
	ring_describe(&b->ring, RING, number,
		      (struct ring_descriptor){address, length, (uint16_t)flags, next});
}

static void describe_in(struct bed *b, uint64_t table, unsigned number, uint64_t address, uint32_t length,
			unsigned flags, uint16_t next)
{
	ring_describe(&b->ring, table, number,
		      (struct ring_descriptor){address, length, (uint16_t)flags, next});
}

static int open_at(struct bed *b, uint16_t head)
{
	return virtqueue_open(&b->queue, head, &b->buffer);
}

static void assert_segment(const struct bed *b, unsigned number, uint64_t address, uint32_t length)
{
	assert_int_equal(b->buffer.segments[number].address, address);
	assert_int_equal(b->buffer.segments[number].length, length);
}

/* ------------------------------------------------------------------ available ring */

static void nothing_is_there(void **state)
{
	struct bed *b = *state;
	uint16_t head = 77;

	assert_int_equal(virtqueue_look(&b->queue, &head), 0);
	b->queue.size = 0;
	b->queue.driver = NOWHERE;
	assert_int_equal(virtqueue_look(&b->queue, &head), 0);
	assert_int_equal(b->memory.strays, 0);
}

static void buffers_in_their_order(void **state)
{
	struct bed *b = *state;
	uint16_t head;

	ring_offer(&b->ring, 5);
	ring_offer(&b->ring, 2);
	assert_int_equal(virtqueue_look(&b->queue, &head), 2);
	assert_int_equal(head, 5);
	/* Looking takes nothing. */
	assert_int_equal(virtqueue_look(&b->queue, &head), 2);
	assert_int_equal(head, 5);
	virtqueue_take(&b->queue);
	assert_int_equal(virtqueue_look(&b->queue, &head), 1);
	assert_int_equal(head, 2);
	virtqueue_take(&b->queue);
	assert_int_equal(virtqueue_look(&b->queue, &head), 0);
}

static void index_too_far(void **state)
{
	struct bed *b = *state;
	uint16_t head;

	ring_set_index(&b->ring, 8);
	assert_int_equal(virtqueue_look(&b->queue, &head), 8);
	ring_set_index(&b->ring, 9);
	assert_int_equal(virtqueue_look(&b->queue, &head), -EBADMSG);
	/* Behind what was taken. */
	b->queue.taken = 10;
	assert_int_equal(virtqueue_look(&b->queue, &head), -EBADMSG);
}

static void head_out_of_range(void **state)
{
	struct bed *b = *state;
	uint16_t head;

	ring_offer(&b->ring, 7);
	assert_int_equal(virtqueue_look(&b->queue, &head), 1);
	virtqueue_take(&b->queue);
	ring_offer(&b->ring, 8);
	assert_int_equal(virtqueue_look(&b->queue, &head), -EBADMSG);
	assert_int_equal(open_at(b, 8), -EBADMSG);
	assert_int_equal(open_at(b, 0xffff), -EBADMSG);
}

/* Each index is 16 bits long and counts on beyond the ring; so do those of queues of one and of most. */
static void indices_wrap(void **state)
{
	static const uint16_t sizes[] = {1, 2, 8, VIRTQUEUE_SIZE_MOST};
	struct bed *b = *state;

	for (unsigned s = 0; s < 4; s++) {
		begin(b, sizes[s]);
		for (unsigned i = 0; i < 0x20003; i++) {
			uint16_t head = 0xffff, wanted = (uint16_t)(i * 7 % sizes[s]);
			uint32_t used_head, used_length;

			ring_offer(&b->ring, wanted);
			if (virtqueue_look(&b->queue, &head) != 1 || head != wanted)
				fail_msg("size %u, buffer %u", sizes[s], i);
			virtqueue_take(&b->queue);
			assert_int_equal(virtqueue_give(&b->queue, head, i), 0);
			if (!ring_take(&b->ring, &used_head, &used_length) || used_head != wanted ||
			    used_length != i)
				fail_msg("size %u, used buffer %u", sizes[s], i);
		}
		assert_int_equal(ring_used_index(&b->ring), 3);
	}
}

/* All at once, and the ring is full. */
static void full_ring_across_the_wrap(void **state)
{
	struct bed *b = *state;
	uint16_t head;

	b->queue.taken = b->queue.given = b->ring.offered = b->ring.seen = 0xfffc;
	ring_set_index(&b->ring, 0xfffc);
	for (unsigned i = 0; i < 8; i++)
		ring_offer(&b->ring, (uint16_t)i);
	for (unsigned i = 0; i < 8; i++) {
		assert_int_equal(virtqueue_look(&b->queue, &head), 8 - i);
		assert_int_equal(head, i);
		virtqueue_take(&b->queue);
	}
	assert_int_equal(virtqueue_look(&b->queue, &head), 0);
}

static void available_ring_without_memory(void **state)
{
	struct bed *b = *state;
	uint16_t head;

	ring_offer(&b->ring, 0);
	fake_refuse(&b->memory, RING + 0x1000 + VIRTQ_AVAIL_RING, 2, true, false);
	assert_int_equal(virtqueue_look(&b->queue, &head), -EACCES);
	fake_refuse(&b->memory, RING + 0x1000 + VIRTQ_AVAIL_INDEX, 2, true, false);
	assert_int_equal(virtqueue_look(&b->queue, &head), -EACCES);
	fake_refuse(&b->memory, RING + 0x1000, 2, true, false);
	assert_int_equal(virtqueue_wants_interrupt(&b->queue), -EACCES);
}

/* -------------------------------------------------------------------- descriptors */

static void direct_chain(void **state)
{
	struct bed *b = *state;

	describe(b, 3, DATA, 10, NEXT, 7);
	describe(b, 7, DATA + 0x100, 0, NEXT, 0);
	describe(b, 0, DATA + 0x200, 20, NEXT | WRITE, 1);
	describe(b, 1, NOWHERE, 30, WRITE, 0);
	b->memory.accesses = 0;
	assert_int_equal(open_at(b, 3), 0);
	assert_int_equal(b->memory.accesses, 3); /* each descriptor once, 0 and 1 together, and no data */
	assert_int_equal(b->buffer.count, 4);
	assert_int_equal(b->buffer.readable, 2);
	assert_int_equal(b->buffer.to_read, 10);
	assert_int_equal(b->buffer.to_write, 50);
	assert_segment(b, 0, DATA, 10);
	assert_segment(b, 1, DATA + 0x100, 0);
	assert_segment(b, 2, DATA + 0x200, 20);
	assert_segment(b, 3, NOWHERE, 30);
}

static void only_one_kind(void **state)
{
	struct bed *b = *state;

	describe(b, 0, DATA, 10, 0, 99);
	assert_int_equal(open_at(b, 0), 0);
	assert_int_equal(b->buffer.readable, 1);
	assert_int_equal(b->buffer.count, 1);
	assert_int_equal(b->buffer.to_write, 0);
	describe(b, 1, DATA, 0xffffffff, WRITE | NEXT, 2);
	describe(b, 2, DATA, 0xffffffff, WRITE, 0);
	assert_int_equal(open_at(b, 1), 0);
	assert_int_equal(b->buffer.readable, 0);
	assert_int_equal(b->buffer.to_read, 0);
	assert_int_equal(b->buffer.to_write, 0x1fffffffeull);
}

/* Flags that the specification does not know are none of the device's business. */
static void unknown_flags(void **state)
{
	struct bed *b = *state;

	describe(b, 0, DATA, 10, 0xfff8, 0);
	assert_int_equal(open_at(b, 0), 0);
	assert_int_equal(b->buffer.readable, 1);
}

static void indirect_alone(void **state)
{
	struct bed *b = *state;

	name(b, 0, INDIRECT, 48);
	describe_in(b, INDIRECT, 0, DATA, 1, NEXT, 2);
	describe_in(b, INDIRECT, 2, DATA + 1, 2, NEXT | WRITE, 1);
	describe_in(b, INDIRECT, 1, DATA + 3, 3, WRITE, 0);
	describe(b, 4, INDIRECT, 48, TABLE, 0);
	b->memory.accesses = 0;
	assert_int_equal(open_at(b, 4), 0);
	assert_int_equal(b->memory.accesses, 4);
	assert_int_equal(b->buffer.count, 3);
	assert_int_equal(b->buffer.readable, 1);
	assert_segment(b, 1, DATA + 1, 2);
	assert_segment(b, 2, DATA + 3, 3);
	/* WRITE says nothing of a table (2.7.5.3.2). */
	describe(b, 4, INDIRECT, 48, TABLE | WRITE, 0);
	assert_int_equal(open_at(b, 4), 0);
	assert_int_equal(b->buffer.readable, 1);
}

static void chain_with_an_indirect_tail(void **state)
{
	struct bed *b = *state;

	name(b, 0, INDIRECT, 32);
	describe(b, 1, DATA, 4, NEXT, 6);
	describe(b, 6, DATA + 8, 4, NEXT | WRITE, 2);
	describe(b, 2, INDIRECT, 32, TABLE, 0);
	describe_in(b, INDIRECT, 0, DATA + 16, 5, NEXT | WRITE, 1);
	describe_in(b, INDIRECT, 1, DATA + 32, 6, WRITE, 0);
	assert_int_equal(open_at(b, 1), 0);
	assert_int_equal(b->buffer.count, 4);
	assert_int_equal(b->buffer.readable, 1);
	assert_int_equal(b->buffer.to_write, 15);
	assert_segment(b, 3, DATA + 32, 6);
}

/* As long as the queue, and no longer, however its descriptors are spread. */
static void longest_chain(void **state)
{
	struct bed *b = *state;

	name(b, 0, INDIRECT, 8 * 16);
	for (unsigned i = 0; i < 8; i++) {
		describe(b, i, DATA, 1, i < 7 ? NEXT : 0, (uint16_t)(i + 1));
		describe_in(b, INDIRECT, i, DATA, 1, i < 7 ? NEXT : 0, (uint16_t)(i + 1));
	}
	assert_int_equal(open_at(b, 0), 0);
	assert_int_equal(b->buffer.count, 8);
	describe(b, 0, INDIRECT, 8 * 16, TABLE, 0);
	assert_int_equal(open_at(b, 0), 0);
	assert_int_equal(b->buffer.count, 8);
	describe(b, 7, DATA, 1, NEXT, 0);
	assert_int_equal(open_at(b, 7), -EBADMSG);
	assert_int_equal(b->buffer.count, 8);
}

static void queue_of_most(void **state)
{
	struct bed *b = *state;

	begin(b, VIRTQUEUE_SIZE_MOST);
	name(b, 0, INDIRECT, VIRTQUEUE_SIZE_MOST * 16);
	for (unsigned i = 0; i < VIRTQUEUE_SIZE_MOST; i++) {
		describe(b, i, DATA, 1, NEXT, (uint16_t)(i + 1));
		describe_in(b, INDIRECT, i, DATA, 1, NEXT | WRITE, (uint16_t)(i + 1));
	}
	describe(b, VIRTQUEUE_SIZE_MOST - 1, INDIRECT, VIRTQUEUE_SIZE_MOST * 16, TABLE, 0);
	/* 255, and then 256 in the table. */
	assert_int_equal(open_at(b, 0), -EBADMSG);
	assert_int_equal(b->buffer.count, VIRTQUEUE_SIZE_MOST);
	assert_int_equal(open_at(b, VIRTQUEUE_SIZE_MOST - 1), -EBADMSG);
	describe_in(b, INDIRECT, VIRTQUEUE_SIZE_MOST - 1, DATA, 1, WRITE, 0);
	assert_int_equal(open_at(b, VIRTQUEUE_SIZE_MOST - 1), 0);
	assert_int_equal(b->buffer.count, VIRTQUEUE_SIZE_MOST);
}

/* A queue of 8. The chain begins with descriptor 0, and an indirect table has room for 3. */
static const struct {
	const char *what;
	struct ring_descriptor own[4], table[3];
} refused[] = {
	{"next out of range", {{DATA, 1, NEXT, 8}}, {{0}}},
	{"next far out of range", {{DATA, 1, NEXT, 0xffff}}, {{0}}},
	{"itself", {{DATA, 1, NEXT, 0}}, {{0}}},
	{"a loop of two", {{DATA, 1, NEXT, 1}, {DATA, 1, NEXT, 0}}, {{0}}},
	{"a loop of what is written", {{DATA, 1, NEXT, 1}, {DATA, 1, NEXT | WRITE, 1}}, {{0}}},
	{"a loop of nothing", {{DATA, 0, NEXT, 1}, {DATA, 0, NEXT, 0}}, {{0}}},
	{"read after written", {{DATA, 1, NEXT | WRITE, 1}, {DATA, 1, 0, 0}}, {{0}}},
	{"nothing read after nothing written", {{DATA, 0, NEXT | WRITE, 1}, {DATA, 0, 0, 0}}, {{0}}},
	{"read after written, in the table",
	 {{DATA, 1, NEXT | WRITE, 1}, {INDIRECT, 48, TABLE, 0}},
	 {{DATA, 1, 0, 0}}},
	{"read after written, both in the table",
	 {{INDIRECT, 48, TABLE, 0}},
	 {{DATA, 1, NEXT | WRITE, 1}, {DATA, 1, 0, 0}}},
	{"a table in a table", {{INDIRECT, 48, TABLE, 0}}, {{ANOTHER, 48, TABLE, 0}}},
	{"a table in itself", {{INDIRECT, 48, TABLE, 0}}, {{INDIRECT, 48, TABLE, 0}}},
	{"a table further down in a table",
	 {{INDIRECT, 48, TABLE, 0}},
	 {{DATA, 1, NEXT, 1}, {ANOTHER, 48, TABLE, 0}}},
	{"a table with a next", {{INDIRECT, 48, TABLE | NEXT, 1}, {DATA, 1, 0, 0}}, {{DATA, 1, 0, 0}}},
	{"a table of nothing", {{INDIRECT, 0, TABLE, 0}}, {{DATA, 1, 0, 0}}},
	{"a table of a part", {{INDIRECT, 15, TABLE, 0}}, {{DATA, 1, 0, 0}}},
	{"a table with a part", {{INDIRECT, 24, TABLE, 0}}, {{DATA, 1, 0, 0}}},
	{"a table longer than the queue", {{INDIRECT, 9 * 16, TABLE, 0}}, {{DATA, 1, 0, 0}}},
	{"a table of 4 GiB", {{INDIRECT, 0xfffffff0, TABLE, 0}}, {{DATA, 1, 0, 0}}},
	{"out of the table", {{INDIRECT, 48, TABLE, 0}}, {{DATA, 1, NEXT, 3}}},
	{"itself in the table", {{INDIRECT, 48, TABLE, 0}}, {{DATA, 1, NEXT, 0}}},
	{"a loop in the table",
	 {{DATA, 1, NEXT, 2}, {0}, {INDIRECT, 48, TABLE, 0}},
	 {{DATA, 1, NEXT, 1}, {DATA, 1, NEXT | WRITE, 2}, {DATA, 1, NEXT | WRITE, 1}}},
};

static void refused_chains(void **state)
{
	struct bed *b = *state;

	name(b, 0, INDIRECT, 48);
	for (unsigned i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
		for (unsigned n = 0; n < 4; n++)
			ring_describe(&b->ring, RING, n, refused[i].own[n]);
		for (unsigned n = 0; n < 3; n++)
			ring_describe(&b->ring, INDIRECT, n, refused[i].table[n]);
		b->memory.accesses = 0;
		if (open_at(b, 0) != -EBADMSG || b->memory.accesses > 9 || b->outside)
			fail_msg("%s: %u accesses, %u outside", refused[i].what, (unsigned)b->memory.accesses,
				 b->outside);
	}
}

static void indirect_without_the_feature(void **state)
{
	struct bed *b = *state;

	describe_in(b, INDIRECT, 0, DATA, 1, 0, 0);
	describe(b, 0, INDIRECT, 16, TABLE, 0);
	b->queue.indirect = false;
	assert_int_equal(open_at(b, 0), -EBADMSG);
	name(b, 0, INDIRECT, 16);
	b->queue.indirect = true;
	assert_int_equal(open_at(b, 0), 0);
}

static void descriptors_without_memory(void **state)
{
	struct bed *b = *state;

	describe(b, 0, INDIRECT, 16, TABLE, 0);
	name(b, 0, INDIRECT, 16);
	fake_refuse(&b->memory, INDIRECT + 15, 1, true, false);
	assert_int_equal(open_at(b, 0), -EACCES);
	fake_refuse(&b->memory, RING + 16, 1, true, false);
	assert_int_equal(open_at(b, 1), -EACCES);
	name(b, 1, NOWHERE, 16);
	describe(b, 0, NOWHERE, 16, TABLE, 0);
	assert_int_equal(open_at(b, 0), -EACCES);
}

/* Addresses of 64 bits wrap, and lead nowhere that the driver has not named. */
static void table_at_the_end_of_addresses(void **state)
{
	struct bed *b = *state;

	name(b, 0, UINT64_MAX - 15, 16);
	name(b, 1, 0, 16);
	describe(b, 0, UINT64_MAX - 15, 32, TABLE, 0);
	assert_int_equal(open_at(b, 0), -EACCES);
}

/* -------------------------------------------------------------------------- bytes */

static const char text[] = "0123456789abcdefghijklmnopqrstuvwxyz";

/* 10 bytes in 4 parts to be read, 9 in 4 to be written; empty ones lie nowhere. */
static void make_parts(struct bed *b)
{
	struct virtqueue_buffer *v = &b->buffer;

	name(b, 1, DATA, 0x400);
	memcpy(fake_at(&b->memory, DATA), text, 3);
	memcpy(fake_at(&b->memory, DATA + 0x100), text + 3, 7);
	*v = (struct virtqueue_buffer){.readable = 4,
				       .count = 8,
				       .to_read = 10,
				       .to_write = 9,
				       .segments = {{NOWHERE, 0},
						    {DATA, 3},
						    {NOWHERE, 0},
						    {DATA + 0x100, 7},
						    {DATA + 0x200, 4},
						    {NOWHERE, 0},
						    {DATA + 0x210, 5},
						    {NOWHERE, 0}}};
}

static void read_across_segments(void **state)
{
	struct bed *b = *state;

	make_parts(b);
	for (size_t len = 0; len < 14; len++) {
		char got[16] = {0};
		int64_t n = virtqueue_read(&b->queue, &b->buffer, got, len);

		assert_int_equal(n, len < 10 ? len : 10);
		assert_memory_equal(got, text, (size_t)n);
		assert_int_equal(got[n], 0);
	}
	assert_int_equal(b->memory.strays, 0); /* nothing is accessed where nothing is */
}

static void write_across_segments(void **state)
{
	struct bed *b = *state;
	const uint8_t *at = fake_at(&b->memory, DATA + 0x200);

	make_parts(b);
	for (size_t len = 0; len <= 9; len++) {
		memset(fake_at(&b->memory, DATA + 0x200), 0xee, 0x20);
		assert_int_equal(virtqueue_write(&b->queue, &b->buffer, text, len), 0);
		assert_memory_equal(at, text, len < 4 ? len : 4);
		if (len > 4)
			assert_memory_equal(at + 0x10, text + 4, len - 4);
		assert_int_equal(at[len < 4 ? len : 4], 0xee);
		assert_int_equal(at[0x10 + (len > 4 ? len - 4 : 0)], 0xee);
	}
	assert_int_equal(b->memory.strays, 0);
	assert_memory_equal(fake_at(&b->memory, DATA), text, 3);
}

/* Nothing to write to: nothing is written, whatever is to be. */
static void write_to_what_is_read_only(void **state)
{
	struct bed *b = *state;

	make_parts(b);
	b->buffer.count = b->buffer.readable;
	b->memory.accesses = 0;
	assert_int_equal(virtqueue_write(&b->queue, &b->buffer, text, 9), 0);
	b->buffer.readable = 0;
	assert_int_equal(virtqueue_read(&b->queue, &b->buffer, b, 9), 0);
	assert_int_equal(b->memory.accesses, 0);
}

static void data_without_memory(void **state)
{
	struct bed *b = *state;
	char got[16];

	make_parts(b);
	fake_refuse(&b->memory, DATA + 0x106, 1, true, false);
	fake_refuse(&b->memory, DATA + 0x214, 1, false, true);
	assert_int_equal(virtqueue_read(&b->queue, &b->buffer, got, 10), -EACCES);
	assert_int_equal(virtqueue_read(&b->queue, &b->buffer, got, 9), 9);
	assert_int_equal(virtqueue_write(&b->queue, &b->buffer, text, 9), -EACCES);
	assert_int_equal(virtqueue_write(&b->queue, &b->buffer, text, 8), 0);
}

/* ---------------------------------------------------------------------- used ring */

static void used_ring_bytes(void **state)
{
	struct bed *b = *state;
	const uint8_t *used = fake_at(&b->memory, b->ring.device);
	static const uint8_t wanted[] = {0, 0, 2, 0, 5, 0, 0, 0, 0x78, 0x56, 0x34, 0x12, 7, 0, 0, 0, 0};

	assert_int_equal(virtqueue_give(&b->queue, 5, 0x12345678), 0);
	assert_int_equal(virtqueue_give(&b->queue, 7, 0), 0);
	assert_memory_equal(used, wanted, sizeof(wanted));
}

/* The driver looks at the index, so the element is there first. */
static void index_behind_its_element(void **state)
{
	struct bed *b = *state;

	b->memory.fail_at = b->memory.accesses + 2;
	assert_int_equal(virtqueue_give(&b->queue, 5, 9), -EACCES);
	assert_int_equal(((uint8_t *)fake_at(&b->memory, b->ring.device))[VIRTQ_USED_RING], 5);
	assert_int_equal(ring_used_index(&b->ring), 0);
}

static void used_ring_without_memory(void **state)
{
	struct bed *b = *state;

	fake_refuse(&b->memory, b->ring.device + VIRTQ_USED_RING + 7, 1, false, true);
	assert_int_equal(virtqueue_give(&b->queue, 5, 9), -EACCES);
	assert_int_equal(b->queue.given, 0);
	assert_int_equal(ring_used_index(&b->ring), 0);
	fake_refuse(&b->memory, b->ring.device, 2, false, true);
	assert_int_equal(virtqueue_set_quiet(&b->queue, true), -EACCES);
	assert_false(b->queue.quiet);
}

static void interrupts_left_out(void **state)
{
	struct bed *b = *state;

	assert_int_equal(virtqueue_wants_interrupt(&b->queue), 1);
	ring_set_flags(&b->ring, VIRTQ_AVAIL_F_NO_INTERRUPT);
	assert_int_equal(virtqueue_wants_interrupt(&b->queue), 0);
	ring_set_flags(&b->ring, 0xfffe);
	assert_int_equal(virtqueue_wants_interrupt(&b->queue), 1);
}

static void quiet_flag(void **state)
{
	struct bed *b = *state;

	assert_int_equal(virtqueue_set_quiet(&b->queue, true), 0);
	assert_int_equal(ring_used_flags(&b->ring), VIRTQ_USED_F_NO_NOTIFY);
	b->memory.accesses = 0;
	assert_int_equal(virtqueue_set_quiet(&b->queue, true), 0);
	assert_int_equal(b->memory.accesses, 0); /* it is there already */
	assert_int_equal(virtqueue_set_quiet(&b->queue, false), 0);
	assert_int_equal(ring_used_flags(&b->ring), 0);
	b->queue.size = 0;
	b->queue.device = NOWHERE;
	assert_int_equal(virtqueue_set_quiet(&b->queue, true), 0);
	assert_int_equal(b->memory.strays, 0);
}

#define QUEUE_TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		QUEUE_TEST(nothing_is_there),
		QUEUE_TEST(buffers_in_their_order),
		QUEUE_TEST(index_too_far),
		QUEUE_TEST(head_out_of_range),
		QUEUE_TEST(indices_wrap),
		QUEUE_TEST(full_ring_across_the_wrap),
		QUEUE_TEST(available_ring_without_memory),
		QUEUE_TEST(direct_chain),
		QUEUE_TEST(only_one_kind),
		QUEUE_TEST(unknown_flags),
		QUEUE_TEST(indirect_alone),
		QUEUE_TEST(chain_with_an_indirect_tail),
		QUEUE_TEST(longest_chain),
		QUEUE_TEST(queue_of_most),
		QUEUE_TEST(refused_chains),
		QUEUE_TEST(indirect_without_the_feature),
		QUEUE_TEST(descriptors_without_memory),
		QUEUE_TEST(table_at_the_end_of_addresses),
		QUEUE_TEST(read_across_segments),
		QUEUE_TEST(write_across_segments),
		QUEUE_TEST(write_to_what_is_read_only),
		QUEUE_TEST(data_without_memory),
		QUEUE_TEST(used_ring_bytes),
		QUEUE_TEST(index_behind_its_element),
		QUEUE_TEST(used_ring_without_memory),
		QUEUE_TEST(interrupts_left_out),
		QUEUE_TEST(quiet_flag),
	};

	return cmocka_run_group_tests_name("virtqueue", tests, NULL, NULL);
}
