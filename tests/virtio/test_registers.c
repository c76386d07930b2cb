/* SPDX-License-Identifier: BSD-3-Clause */
/* The PCI function (virtio 1.3, 4.1): capabilities, registers by widths, window, BARs, MSI-X. */
#include "driver.h"

#include <errno.h>
#include <string.h>

#include "pci/config_space.h"

static int set_up(void **state)
{
	*state = drv_new();
	return 0;
}

static int tear_down(void **state)
{
	drv_free(*state);
	return 0;
}

/* ------------------------------------------------------------------------- configuration space */

static void identity(void **state)
{
	struct drv *d = *state;

	assert_int_equal(drv_config_read(d, 0x00, 4), 0x10571af4);
	assert_int_equal(drv_config_read(d, 0x06, 2), 0x10);	   /* capabilities */
	assert_int_equal(drv_config_read(d, 0x08, 4), 0x08060001); /* revision 1: no legacy interface */
	assert_int_equal(drv_config_read(d, 0x3d, 1), 0);	   /* no INTx */
}

/* Walks the list as a driver does. */
static void capabilities(void **state)
{
	static const struct {
		uint8_t id, length, type, bar;
		uint32_t offset, size;
	} wanted[] = {{0x11, 0, 0, 0, 0, 0},
		      {0x09, 16, VIRTIO_PCI_CAP_COMMON, 0, 0, VIRTIO_COMMON_SIZE},
		      {0x09, 16, VIRTIO_PCI_CAP_ISR, 0, DRV_ISR, 1},
		      {0x09, 16, VIRTIO_PCI_CAP_DEVICE, 0, DRV_DEVICE, DRV_CONFIG},
		      {0x09, 20, VIRTIO_PCI_CAP_NOTIFY, 0, DRV_NOTIFY, 0x1000},
		      {0x09, 20, VIRTIO_PCI_CAP_PCI, 0, 0, 0}};
	struct drv *d = *state;
	unsigned i = 0, next = drv_config_read(d, 0x34, 1);

	for (; next && i < sizeof(wanted) / sizeof(wanted[0]); i++) {
		unsigned at = next;

		assert_int_equal(at % 4, 0);
		assert_int_equal(drv_config_read(d, at, 1), wanted[i].id);
		next = drv_config_read(d, at + 1, 1);
		if (wanted[i].id != 0x09)
			continue;
		assert_int_equal(drv_config_read(d, at + 2, 1), wanted[i].length);
		assert_int_equal(drv_config_read(d, at + 3, 1), wanted[i].type);
		assert_int_equal(drv_config_read(d, at + 4, 1), wanted[i].bar);
		assert_int_equal(drv_config_read(d, at + 8, 4), wanted[i].offset);
		assert_int_equal(drv_config_read(d, at + 12, 4), wanted[i].size);
		assert_true(next == 0 || next >= at + wanted[i].length);
	}
	assert_int_equal(next, 0);
	assert_int_equal(i, sizeof(wanted) / sizeof(wanted[0]));
	assert_int_equal(drv_config_read(d, 0x42, 2), DRV_QUEUES); /* vectors, less one */
	assert_int_equal(drv_config_read(d, 0x44, 4), 4);
	assert_int_equal(drv_config_read(d, 0x48, 4), 0x1004);
	assert_int_equal(drv_config_read(d, 0x7c + 16, 4), 4); /* from notification to notification */
}

/* How software finds the sizes of BARs. */
static void bar_sizes(void **state)
{
	struct drv *d = *state;

	for (unsigned at = 0x10; at < 0x28; at += 4)
		drv_config_write(d, at, 4, 0xffffffff);
	assert_int_equal(drv_config_read(d, 0x10, 4), 0xffffc004);
	assert_int_equal(drv_config_read(d, 0x14, 4), 0xffffffff);
	assert_int_equal(drv_config_read(d, 0x18, 4), 0);
	assert_int_equal(drv_config_read(d, 0x1c, 4), 0);
	assert_int_equal(drv_config_read(d, 0x20, 4), 0xffffe004);
	assert_int_equal(drv_config_read(d, 0x24, 4), 0xffffffff);
	drv_config_write(d, 0x10, 4, 0xfebf1234);
	assert_int_equal(drv_config_read(d, 0x10, 4), 0xfebf0004);
}

static void read_only_bits_stay(void **state)
{
	static const struct {
		uint8_t at;
		uint32_t wanted;
	} rows[] = {{0x00, 0x10571af4}, {0x04, 0x00100546}, {0x08, 0x08060001}, {0x0c, 0xff},
		    {0x2c, 0x11001af4}, {0x34, 0x40},	    {0x3c, 0xff},	{0x40, 0xc0024c11},
		    {0x44, 4},		{0x4c, 0x01105c09}, {0x94, 0xff},	{0xa4, 0},
		    {0xfc, 0}};
	struct drv *d = *state;

	for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		drv_config_write(d, rows[i].at, 4, 0xffffffff);
		assert_int_equal(drv_config_read(d, rows[i].at, 4), rows[i].wanted);
	}
}

static void configuration_space_bounds(void **state)
{
	struct drv *d = *state;
	uint8_t bytes[PCI_CONFIG_SIZE + 1] = {0};

	assert_int_equal(virtio_config_read(d->v, 0, bytes, PCI_CONFIG_SIZE), 0);
	assert_int_equal(virtio_config_read(d->v, 0, bytes, PCI_CONFIG_SIZE + 1), -EINVAL);
	assert_int_equal(virtio_config_read(d->v, 255, bytes, 1), 0);
	assert_int_equal(virtio_config_read(d->v, 255, bytes, 2), -EINVAL);
	assert_int_equal(virtio_config_read(d->v, 256, bytes, 1), -EINVAL);
	assert_int_equal(virtio_config_read(d->v, 0, bytes, 0), -EINVAL);
	assert_int_equal(virtio_config_read(d->v, UINT64_MAX, bytes, 4), -EINVAL);
	assert_int_equal(virtio_config_write(d->v, 253, bytes, 4), -EINVAL);
	assert_int_equal(virtio_config_write(d->v, UINT64_MAX - 1, bytes, 4), -EINVAL);
	assert_int_equal(virtio_config_write(d->v, 252, bytes, 4), 0);
}

/* -------------------------------------------------------------------------------- widths */

/* Every natural access reads what the bytes are; every other one reads 0, and none fails. */
static void reading_in_any_width(void **state)
{
	struct drv *d = *state;
	uint8_t bytes[VIRTIO_COMMON_SIZE + 8] = {0}, got[8];

	drv_start(d);
	for (unsigned i = 0; i < VIRTIO_COMMON_SIZE; i++)
		bytes[i] = (uint8_t)drv_read(d, i, 1);
	for (unsigned at = 0; at < VIRTIO_COMMON_SIZE + 8; at++) {
		for (size_t len = 1; len <= 8; len++) {
			bool natural = (len == 1 || len == 2 || len == 4) && at % len == 0;
			uint8_t wanted[8] = {0};

			if (natural && at < VIRTIO_COMMON_SIZE)
				memcpy(wanted, bytes + at, len);
			memset(got, 0xee, sizeof(got));
			assert_int_equal(virtio_bar_read(d->v, 0, at, got, len), 0);
			assert_memory_equal(got, wanted, len);
			assert_true(len == 8 || got[len] == 0xee);
		}
	}
}

static unsigned width_at(unsigned at)
{
	switch (at) {
	case VIRTIO_COMMON_STATUS:
		return 1;
	case VIRTIO_COMMON_CONFIG_VECTOR:
	case VIRTIO_COMMON_QUEUE_SELECT:
	case VIRTIO_COMMON_QUEUE_SIZE:
	case VIRTIO_COMMON_QUEUE_VECTOR:
	case VIRTIO_COMMON_QUEUE_ENABLE:
		return 2;
	case VIRTIO_COMMON_DEVICE_FEATURE_SELECT:
	case VIRTIO_COMMON_DRIVER_FEATURE_SELECT:
	case VIRTIO_COMMON_DRIVER_FEATURE:
		return 4;
	}
	return at >= VIRTIO_COMMON_QUEUE_DESCRIPTORS && at < VIRTIO_COMMON_SIZE && at % 4 == 0 ? 4 : 0;
}

/* Each register is written in its own width, and else not at all (4.1.3.1). */
static void writing_in_its_width(void **state)
{
	static const uint8_t ones[8] = {1, 1, 1, 1, 1, 1, 1, 1};

	for (unsigned at = 0; at < VIRTIO_COMMON_SIZE + 8; at++) {
		for (size_t len = 1; len <= 8; len++) {
			struct drv *d = drv_new();
			uint8_t before[VIRTIO_COMMON_SIZE], after[VIRTIO_COMMON_SIZE];

			for (unsigned i = 0; i < VIRTIO_COMMON_SIZE; i++)
				before[i] = (uint8_t)drv_read(d, i, 1);
			assert_int_equal(virtio_bar_write(d->v, 0, at, ones, len), 0);
			for (unsigned i = 0; i < VIRTIO_COMMON_SIZE; i++)
				after[i] = (uint8_t)drv_read(d, i, 1);
			if (len != width_at(at))
				assert_memory_equal(before, after, sizeof(after));
			drv_free(d);
		}
	}
}

static void structures_end(void **state)
{
	struct drv *d = *state;

	memset(d->config, 0x5a, sizeof(d->config));
	for (unsigned at = 0; at < VIRTIO_BAR0_SIZE; at += 4) {
		bool device = at >= DRV_DEVICE && at < DRV_DEVICE + DRV_CONFIG;

		if (at < VIRTIO_COMMON_SIZE)
			continue;
		drv_write(d, at, 4, 0xa5a5a5a5);
		assert_int_equal(drv_read(d, at, 4), device ? 0xa5a5a5a5 : 0);
	}
	assert_int_equal(d->config_writes, DRV_CONFIG / 4);
	assert_int_equal(d->config_reads, DRV_CONFIG / 4);
	assert_int_equal(drv_read(d, DRV_DEVICE + 3, 1), 0xa5);
	assert_int_equal(drv_read(d, DRV_DEVICE + 6, 2), 0xa5a5);
	drv_write(d, DRV_DEVICE + 6, 2, 0x1234);
	drv_write(d, DRV_DEVICE + 5, 1, 0x56);
	assert_int_equal(drv_read(d, DRV_DEVICE + 4, 4), 0x123456a5);
}

static void unaligned_device_accesses(void **state)
{
	struct drv *d = *state;
	uint8_t bytes[8] = {1, 1, 1, 1, 1, 1, 1, 1};

	for (unsigned at = 0; at < 12; at++) {
		for (size_t len = 1; len <= 8; len++) {
			if ((len == 1 || len == 2 || len == 4) && at % len == 0)
				continue;
			assert_int_equal(virtio_bar_write(d->v, 0, DRV_DEVICE + at, bytes, len), 0);
			assert_int_equal(virtio_bar_read(d->v, 0, DRV_DEVICE + at, bytes, len), 0);
			memset(bytes, 1, sizeof(bytes));
		}
	}
	assert_int_equal(d->config_writes, 0);
	assert_int_equal(d->config_reads, 0);
}

static void bar_bounds(void **state)
{
	struct drv *d = *state;
	uint8_t b[8] = {0};

	for (unsigned bar = 0; bar < 8; bar++) {
		uint64_t size = bar == 0 ? VIRTIO_BAR0_SIZE : bar == 4 ? VIRTIO_BAR4_SIZE : 0;
		int inside = size ? 0 : -EINVAL;

		assert_int_equal(virtio_bar_read(d->v, bar, 0, b, 4), inside);
		assert_int_equal(virtio_bar_read(d->v, bar, size - 4, b, 4), inside);
		assert_int_equal(virtio_bar_read(d->v, bar, size - 3, b, 4), -EINVAL);
		assert_int_equal(virtio_bar_read(d->v, bar, size, b, 1), -EINVAL);
		assert_int_equal(virtio_bar_read(d->v, bar, 0, b, 0), -EINVAL);
		assert_int_equal(virtio_bar_read(d->v, bar, UINT64_MAX, b, 2), -EINVAL);
		assert_int_equal(virtio_bar_write(d->v, bar, size - 4, b, 4), inside);
		assert_int_equal(virtio_bar_write(d->v, bar, size - 3, b, 4), -EINVAL);
		assert_int_equal(virtio_bar_write(d->v, bar, UINT64_MAX - 1, b, 4), -EINVAL);
		assert_int_equal(virtio_bar_write(d->v, bar, 0, b, 0), -EINVAL);
	}
}

/* --------------------------------------------------------------------------------- MSI-X */

static void msix_table(void **state)
{
	struct drv *d = *state;
	uint8_t table[16 * VIRTIO_VECTORS_MOST], got[sizeof(table)], word[4];

	for (unsigned i = 0; i < VIRTIO_VECTORS_MOST; i++) {
		assert_int_equal(virtio_bar_read(d->v, 4, 16 * i + 12, word, 4), 0);
		assert_int_equal(word[0], 1); /* masked at reset */
	}
	for (unsigned i = 0; i < sizeof(table); i++)
		table[i] = (uint8_t)(i * 5 + 1);
	assert_int_equal(virtio_bar_write(d->v, 4, 0, table, sizeof(table)), 0);
	for (unsigned i = 0; i < sizeof(table); i++)
		assert_int_equal(virtio_bar_read(d->v, 4, i, got + i, 1), 0);
	assert_memory_equal(got, table, sizeof(table));
	/* Across its end, and the pending bits, of which none is ever set. */
	memset(got, 0xff, sizeof(got));
	assert_int_equal(virtio_bar_write(d->v, 4, sizeof(table) - 2, got, 8), 0);
	assert_int_equal(virtio_bar_read(d->v, 4, sizeof(table) - 4, got, 8), 0);
	assert_memory_equal(got + 2, "\xff\xff\0\0\0\0", 6);
	assert_int_equal(virtio_bar_write(d->v, 4, 0x1000, table, 8), 0);
	assert_int_equal(virtio_bar_read(d->v, 4, 0x1000, got, 8), 0);
	assert_memory_equal(got, "\0\0\0\0\0\0\0\0", 8);
	virtio_reset(d->v);
	assert_int_equal(virtio_bar_read(d->v, 4, 0, word, 4), 0);
	assert_memory_equal(word, "\0\0\0\0", 4);
}

static void interrupts_only_with_msix(void **state)
{
	struct drv *d = *state;

	drv_start(d);
	drv_config_write(d, DRV_MSIX_CONTROL, 2, 0);
	drv_ask(d, 0, 1);
	drv_turn(d);
	assert_true(drv_answered(d, 0, 1));
	assert_int_equal(d->msix[1], 0);
	drv_config_write(d, DRV_MSIX_CONTROL, 2, DRV_MSIX_ENABLE);
	drv_exchange(d, 0);
	drv_write(d, VIRTIO_COMMON_QUEUE_SELECT, 2, 0);
	drv_write(d, VIRTIO_COMMON_QUEUE_VECTOR, 2, VIRTIO_MSI_NO_VECTOR);
	drv_ask(d, 0, 2);
	drv_turn(d);
	assert_true(drv_answered(d, 0, 2));
	assert_int_equal(d->msix[0] + d->msix[1] + d->msix[2], 1);
	ring_set_flags(&d->rings[1], VIRTQ_AVAIL_F_NO_INTERRUPT);
	drv_ask(d, 1, 3);
	drv_turn(d);
	assert_int_equal(d->msix[2], 0);
}

/* -------------------------------------------------------------------------------- window */

static void point_window(struct drv *d, uint8_t bar, uint32_t offset, uint32_t length)
{
	drv_config_write(d, DRV_WINDOW_BAR, 1, bar);
	drv_config_write(d, DRV_WINDOW_OFFSET, 4, offset);
	drv_config_write(d, DRV_WINDOW_LENGTH, 4, length);
}

static void window(void **state)
{
	struct drv *d = *state;
	uint8_t word[4];

	point_window(d, 0, VIRTIO_COMMON_QUEUES, 2);
	assert_int_equal(drv_config_read(d, DRV_WINDOW_DATA, 2), DRV_QUEUES);
	point_window(d, 0, VIRTIO_COMMON_STATUS, 1);
	drv_config_write(d, DRV_WINDOW_DATA, 1, 1);
	assert_int_equal(drv_status(d), 1);
	point_window(d, 0, DRV_DEVICE + 8, 4);
	drv_config_write(d, DRV_WINDOW_DATA, 4, 0x11223344);
	assert_int_equal(drv_read(d, DRV_DEVICE + 8, 4), 0x11223344);
	assert_int_equal(drv_config_read(d, DRV_WINDOW_DATA, 4), 0x11223344);
	point_window(d, 4, 20, 4);
	drv_config_write(d, DRV_WINDOW_DATA, 4, 0x55667788);
	assert_int_equal(virtio_bar_read(d->v, 4, 20, word, 4), 0);
	assert_memory_equal(word, "\x88\x77\x66\x55", 4);
	assert_int_equal(drv_config_read(d, DRV_WINDOW_OFFSET, 4), 20);
	assert_int_equal(drv_config_read(d, DRV_WINDOW_BAR, 4), 4);
}

/* Of a wider access the first bytes count: the window has its own length (4.1.4.9). */
static void window_accessed_as_a_whole(void **state)
{
	struct drv *d = *state;
	uint8_t bytes[8] = {0};

	point_window(d, 0, VIRTIO_COMMON_STATUS, 1);
	drv_config_write(d, DRV_WINDOW_DATA, 4, 0xffffff01);
	assert_int_equal(drv_status(d), 1);
	assert_int_equal(drv_config_read(d, DRV_WINDOW_DATA, 4), 1);
	point_window(d, 0, VIRTIO_COMMON_QUEUES, 2);
	assert_int_equal(drv_config_read(d, DRV_WINDOW_DATA, 4), DRV_QUEUES);
	/* A narrower one is none. */
	assert_int_equal(drv_config_read(d, DRV_WINDOW_DATA, 1), 0);
	/* And of configuration space as a whole nothing is accessed. */
	point_window(d, 0, DRV_DEVICE, 4);
	assert_int_equal(virtio_config_read(d->v, DRV_WINDOW, bytes, sizeof(bytes)), 0);
	assert_int_equal(d->config_reads, 0);
}

/* What the driver must not write there is no access, and no error. */
static void window_to_nowhere(void **state)
{
	static const struct {
		uint8_t bar;
		uint32_t offset, length;
	} rows[] = {{1, 0, 4},
		    {5, 0, 4},
		    {255, 0, 4},
		    {0, VIRTIO_BAR0_SIZE, 4},
		    {0, 0xfffffffc, 4},
		    {4, VIRTIO_BAR4_SIZE, 4},
		    {0, 0, 0},
		    {0, 0, 3},
		    {0, 0, 8},
		    {0, 0xffffffff, 0xffffffff},
		    {0, DRV_DEVICE + 2, 4},
		    {0, 1, 2}};
	struct drv *d = *state;

	drv_write(d, VIRTIO_COMMON_DEVICE_FEATURE_SELECT, 4, 1);
	for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		point_window(d, rows[i].bar, rows[i].offset, rows[i].length);
		for (size_t len = 1; len <= 4; len <<= 1) {
			drv_config_write(d, DRV_WINDOW_DATA, len, 0x01010101);
			assert_int_equal(drv_config_read(d, DRV_WINDOW_DATA, len), 0);
		}
	}
	assert_int_equal(d->config_reads + d->config_writes, 0);
	assert_int_equal(drv_status(d), 0);
	assert_int_equal(drv_read(d, VIRTIO_COMMON_DEVICE_FEATURE_SELECT, 4), 1);
}

#define REGISTER_TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		REGISTER_TEST(identity),
		REGISTER_TEST(capabilities),
		REGISTER_TEST(bar_sizes),
		REGISTER_TEST(read_only_bits_stay),
		REGISTER_TEST(configuration_space_bounds),
		REGISTER_TEST(reading_in_any_width),
		cmocka_unit_test(writing_in_its_width),
		REGISTER_TEST(structures_end),
		REGISTER_TEST(unaligned_device_accesses),
		REGISTER_TEST(bar_bounds),
		REGISTER_TEST(msix_table),
		REGISTER_TEST(interrupts_only_with_msix),
		REGISTER_TEST(window),
		REGISTER_TEST(window_accessed_as_a_whole),
		REGISTER_TEST(window_to_nowhere),
	};

	return cmocka_run_group_tests_name("virtio registers", tests, NULL, NULL);
}
