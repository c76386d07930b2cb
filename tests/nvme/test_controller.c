/* SPDX-License-Identifier: BSD-3-Clause */
/* Registers, PCI, reset, shutdown, interrupts. */
#include "driver.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static uint32_t bar_after_ones(struct drv *d, uint64_t offset)
{
	uint32_t ones = 0xffffffff, value;

	assert_int_equal(nvme_config_write(d->nvme, offset, &ones, 4), 0);
	assert_int_equal(nvme_config_read(d->nvme, offset, &value, 4), 0);
	return value;
}

static void pci_identity(void **state)
{
	struct drv *d = drv_new(NULL);
	uint8_t config[256], seen = 0;

	assert_int_equal(nvme_config_read(d->nvme, 0, config, 256), 0);
	assert_int_equal(config[0x0b], 1);
	assert_int_equal(config[0x0a], 8);
	assert_int_equal(config[0x09], 2);
	assert_int_equal(config[0x3d], 1);
	assert_true(config[6] & 0x10);
	for (unsigned at = config[0x34], i = 0; at; at = config[at + 1], i++) {
		assert_true(i < 8);
		seen |= config[at] == 1 ? 1 : config[at] == 0x11 ? 2 : config[at] == 0x10 ? 4 : 0;
	}
	assert_int_equal(seen, 7);
	assert_int_equal(bar_after_ones(d, 0x10), ~(NVME_BAR0_SIZE - 1u) | 4);
	assert_int_equal(bar_after_ones(d, 0x14), 0xffffffff);
	assert_int_equal(bar_after_ones(d, 0x20), ~(NVME_BAR4_SIZE - 1u) | 4);
	assert_int_equal(bar_after_ones(d, 0x18), 0);
	assert_int_equal(bar_after_ones(d, 0x30), 0);
	assert_int_equal(bar_after_ones(d, 0), NVME_VS_1_4 * 0 + 0x4e56fff1);
	drv_free(d);
}

static void misuse_is_refused(void **state)
{
	struct drv *d = drv_new(NULL);
	uint8_t buf[512] = {0};

	assert_int_equal(nvme_config_read(d->nvme, 255, buf, 2), -EINVAL);
	assert_int_equal(nvme_config_read(d->nvme, 0, buf, 0), -EINVAL);
	assert_int_equal(nvme_config_write(d->nvme, UINT64_MAX, buf, 2), -EINVAL);
	assert_int_equal(nvme_bar_read(d->nvme, 0, NVME_BAR0_SIZE - 2, buf, 4), -EINVAL);
	assert_int_equal(nvme_bar_write(d->nvme, 1, 0, buf, 4), -EINVAL);
	assert_int_equal(nvme_bar_write(d->nvme, 4, NVME_BAR4_SIZE, buf, 4), -EINVAL);
	assert_int_equal(nvme_bar_read(d->nvme, 0, 0, buf, 512), -EINVAL);
	/* every offset and odd sizes: nothing happens, nothing breaks */
	for (unsigned at = 0; at < 0x60; at++) {
		for (unsigned len = 1; len <= 16; len++)
			assert_int_equal(nvme_bar_read(d->nvme, 0, at, buf, len), 0);
	}
	assert_int_equal(nvme_bar_write(d->nvme, 0, NVME_REG_CC + 1, buf, 2), 0);
	drv_free(d);
}

static void bad_options_are_explained(void **state)
{
	struct nvme_host_ops none = {0};
	struct nvme *n = NULL;
	char why[256] = "";

	assert_int_equal(nvme_create(&(struct nvme_options){.path = "/tmp"}, &none, NULL, &n, why,
				     sizeof(why)),
			 -EINVAL);
	assert_true(*why);
	assert_null(n);
}

static void on_nothing(void *opaque)
{
}
static void on_vector(void *opaque, unsigned v)
{
}
static void on_level(void *opaque, bool level)
{
}
static void on_line(void *opaque, const char *line)
{
}

static void bad_files_are_explained(void **state)
{
	const struct nvme_host_ops ops = {on_vector, on_level, on_nothing, on_line};
	struct nvme *n = NULL;
	char why[256] = "";

	assert_int_equal(nvme_create(&(struct nvme_options){.path = "/nonexistent/x"}, &ops, NULL, &n, why,
				     sizeof(why)),
			 -ENOENT);
	assert_non_null(strstr(why, "truncate"));
	assert_int_equal(nvme_create(&(struct nvme_options){.path = "/dev/null", .io_queues = 65}, &ops, NULL,
				     &n, why, sizeof(why)),
			 -EINVAL);
	assert_int_equal(nvme_create(&(struct nvme_options){.path = "/dev/null"}, &ops, NULL, &n, why,
				     sizeof(why)),
			 -EINVAL);
	assert_non_null(strstr(why, "regular file"));
	assert_int_equal(nvme_create(&(struct nvme_options){.path = "/tmp"}, &ops, NULL, &n, why,
				     sizeof(why)),
			 -EINVAL);
	assert_non_null(strstr(why, "regular file"));
	assert_null(n);
}

/* Opening a pipe would wait for its other end. */
static void pipe_is_no_disk(void **state)
{
	const struct nvme_host_ops ops = {on_vector, on_level, on_nothing, on_line};
	char folder[] = "/tmp/nvme-test-XXXXXX", path[64];
	struct nvme *n = NULL;
	char why[256] = "";

	assert_non_null(mkdtemp(folder));
	snprintf(path, sizeof(path), "%s/pipe", folder);
	assert_return_code(mkfifo(path, 0600), 0);
	alarm(10);
	for (unsigned i = 0; i < 2; i++) {
		struct nvme_options opts = {.path = path, .read_only = i};

		assert_int_equal(nvme_create(&opts, &ops, NULL, &n, why, sizeof(why)), -EINVAL);
		assert_non_null(strstr(why, "regular file"));
	}
	alarm(0);
	unlink(path);
	rmdir(folder);
}

/* One writer or any number of readers, in this process and others. */
static void file_is_not_shared_with_a_writer(void **state)
{
	const struct nvme_host_ops ops = {on_vector, on_level, on_nothing, on_line};

	for (unsigned i = 0; i < 4; i++) {
		bool first = i & 1, second = i & 2; /* read-only? */
		struct drv *d = drv_new(&(struct nvme_options){.read_only = first});
		struct nvme_options opts = {.path = d->path, .read_only = second};
		struct nvme *n = NULL;
		char why[256] = "";
		int ret = nvme_create(&opts, &ops, NULL, &n, why, sizeof(why));

		assert_int_equal(ret, first && second ? 0 : -EBUSY);
		if (ret)
			assert_non_null(strstr(why, "another"));
		nvme_destroy(n);
		nvme_destroy(d->nvme);
		assert_int_equal(nvme_create(&opts, &ops, NULL, &d->nvme, why, sizeof(why)), 0);
		drv_free(d);
	}
}

/* Byte 101 is where QEMU says that it writes, byte 201 where it says that nobody else may. */
static void file_is_not_shared_with_qemu(void **state)
{
	const struct nvme_host_ops ops = {on_vector, on_level, on_nothing, on_line};
	struct flock says_writes = {.l_type = F_RDLCK, .l_start = 101, .l_len = 1};
	struct flock may_write = {.l_type = F_WRLCK, .l_start = 201, .l_len = 1};
	struct drv *d = drv_new(&(struct nvme_options){.read_only = true});
	struct nvme_options opts = {.path = d->path, .read_only = true};
	int fd = open(d->path, O_RDWR);
	struct nvme *n = NULL;
	char why[256] = "";

	assert_true(fd >= 0);
	assert_return_code(fcntl(fd, F_OFD_GETLK, &may_write), 0);
	assert_int_equal(may_write.l_type, F_RDLCK);
	assert_return_code(fcntl(fd, F_OFD_SETLK, &says_writes), 0);
	assert_int_equal(nvme_create(&opts, &ops, NULL, &n, why, sizeof(why)), -EBUSY);
	close(fd);
	assert_int_equal(nvme_create(&opts, &ops, NULL, &n, why, sizeof(why)), 0);
	nvme_destroy(n);
	drv_free(d);
}

/*
 * However long somebody keeps the file open, as the kernel does with that of a
 * ring: what waits for the lock would get -EBUSY in the end.
 */
static void lock_ends_with_the_controller(void **state)
{
	const struct nvme_host_ops ops = {on_vector, on_level, on_nothing, on_line};

	for (unsigned read_only = 0; read_only < 2; read_only++) {
		struct drv *d = drv_new(&(struct nvme_options){.read_only = read_only});
		struct nvme_options opts = {.read_only = read_only};
		struct nvme *n = NULL;
		char why[256] = "";
		int fd;

		nvme_destroy(d->nvme);
		opts.fd = nvme_open_file(d->path, read_only, why, sizeof(why));
		assert_true(opts.fd >= 0);
		assert_int_equal(nvme_create(&opts, &ops, NULL, &n, why, sizeof(why)), 0);
		nvme_destroy(n);
		fd = nvme_open_file(d->path, false, why, sizeof(why));
		assert_true(fd >= 0);
		close(fd);
		close(opts.fd);
		opts = (struct nvme_options){.path = d->path};
		assert_int_equal(nvme_create(&opts, &ops, NULL, &d->nvme, why, sizeof(why)), 0);
		drv_free(d);
	}
}

static void handshake(void **state)
{
	struct drv *d = drv_new(NULL);
	uint64_t cap;

	assert_int_equal(nvme_bar_read(d->nvme, 0, 0, &cap, 8), 0);
	assert_int_equal(cap & 0xffff, 1023);
	assert_int_equal(cap >> 32 & 15, 0);
	assert_int_equal(cap >> 48 & 0xff, 0);
	assert_true(cap & NVME_CAP_CSS_NVM);
	assert_int_equal(drv_read32(d, NVME_REG_VS), 0x10400);
	assert_int_equal(drv_read32(d, NVME_REG_CSTS), 0);
	assert_true(drv_enable(d, 2, 2));
	assert_true(drv_disable(d));
	assert_true(drv_enable(d, 1024, 1024));
	assert_true(drv_disable(d));
	assert_int_equal(drv_read32(d, NVME_REG_AQA), 1023u << 16 | 1023);
	drv_free(d);
}

static void impossible_settings_are_fatal(void **state)
{
	static const uint32_t cc[] = {1u << 4, 1u << 7, 1u << 11, 0};
	struct drv *d = drv_new(NULL);

	for (unsigned i = 0; i < 4; i++) {
		drv_write32(d, NVME_REG_AQA, cc[i] ? 0x00070007 : 0);
		drv_write32(d, NVME_REG_CC, cc[i] | NVME_CC_EN);
		assert_true(drv_poll_until(d, NVME_CSTS_CFS, NVME_CSTS_CFS));
		drv_write32(d, NVME_REG_CC, 0);
		assert_true(drv_poll_until(d, NVME_CSTS_CFS, 0));
	}
	assert_true(drv_enable(d, 16, 16));
	drv_free(d);
}

static void shutdown_ends(void **state)
{
	struct drv *d = drv_ready();

	for (unsigned shn = 1; shn < 3; shn++) {
		drv_write32(d, NVME_REG_CC, (drv_read32(d, NVME_REG_CC) & ~(3u << 14)) | shn << 14);
		assert_true(drv_poll_until(d, NVME_CSTS_SHST, NVME_CSTS_SHST_END));
		drv_write32(d, NVME_REG_CC, 0);
		assert_true(drv_poll_until(d, NVME_CSTS_RDY | NVME_CSTS_SHST, 0));
		assert_true(drv_enable(d, 16, 16));
	}
	/* and while disabled */
	assert_true(drv_disable(d));
	drv_write32(d, NVME_REG_CC, 1u << 14);
	assert_true(drv_poll_until(d, NVME_CSTS_SHST, NVME_CSTS_SHST_END));
	drv_write32(d, NVME_REG_CC, 0);
	assert_true(drv_poll_until(d, NVME_CSTS_SHST, 0));
	drv_free(d);
}

static struct nvme_sqe read_sqe(struct drv *d, uint64_t data, unsigned blocks)
{
	return (struct nvme_sqe){
		.opcode = NVME_IO_READ, .nsid = 1, .prp1 = data, .prp2 = data + 4096, .cdw12 = blocks - 1};
}

/* After the reset nothing of the old life reaches memory. */
static void reset_in_flight(struct drv *d, bool flr)
{
	uint64_t data = drv_alloc(d, 8192);
	uint8_t *bytes = drv_at(d, data);
	struct drv_queue old = d->queue[1];
	uint8_t before[64 * 16];

	memset(bytes, 0xa5, 8192);
	for (unsigned i = 0; i < 40; i++)
		drv_submit(d, 1, read_sqe(d, data, 16));
	/* fetched and at the disk, but not reaped: a budget of 8 stops after the fetch */
	nvme_poll(d->nvme, 8);
	nvme_poll(d->nvme, 8);
	memset(bytes, 0xa5, 8192);
	memcpy(before, drv_at(d, old.cq), sizeof(before));
	if (flr)
		nvme_reset(d->nvme);
	else
		drv_write32(d, NVME_REG_CC, 0);
	drv_settle(d);
	assert_int_equal(drv_read32(d, NVME_REG_CSTS), 0);
	for (unsigned i = 0; i < 8192; i++)
		assert_int_equal(bytes[i], 0xa5);
	assert_memory_equal(before, drv_at(d, old.cq), sizeof(before));
	if (flr) {
		assert_int_equal(drv_config_read16(d, 4), 0);
		assert_int_equal(drv_read32(d, NVME_REG_AQA), 0);
		drv_config_write16(d, 4, 6);
	}
	assert_true(drv_enable(d, 16, 16));
	assert_int_equal(drv_create_cq(d, 1, 64, 1), 0);
	assert_int_equal(drv_create_sq(d, 1, 1, 64), 0);
	assert_int_equal(drv_rw(d, NVME_IO_READ, 0, 16, data, data + 4096, 0), 0);
	assert_int_equal(bytes[0], 0);
}

static void controller_reset_in_flight(void **state)
{
	struct drv *d = drv_ready();

	for (unsigned i = 0; i < 20; i++)
		reset_in_flight(d, false);
	drv_free(d);
}

static void function_reset_in_flight(void **state)
{
	struct drv *d = drv_ready();

	for (unsigned i = 0; i < 20; i++)
		reset_in_flight(d, true);
	/* the guest's own way */
	drv_config_write16(d, 0x68, 0x8000);
	drv_settle(d);
	assert_int_equal(drv_read32(d, NVME_REG_CC), 0);
	drv_free(d);
}

/* A register write of the other thread, exactly between two accesses of one command. */
static void close_by_reset(void *arg)
{
	drv_write32(arg, NVME_REG_CC, 0);
}

static void close_by_function_reset(void *arg)
{
	struct drv *d = arg;

	nvme_reset(d->nvme);
}

static void close_by_bus_master(void *arg)
{
	drv_config_write16(arg, 4, 2);
}

static void dma_ends_at_once(void **state)
{
	void (*const closers[])(void *) = {close_by_reset, close_by_function_reset, close_by_bus_master};

	for (unsigned i = 0; i < 3; i++) {
		/* SQE, PRP list, data (3 pages apart), completion (2) */
		for (unsigned n = 1; n <= 7; n++) {
			struct drv *d = drv_ready();
			uint64_t data = drv_alloc(d, 16 * 4096), list = drv_alloc(d, 4096);
			uint64_t *entries = drv_at(d, list);
			struct nvme_sqe sqe = read_sqe(d, data, 24);

			entries[0] = data + 8 * 4096;
			entries[1] = data + 4 * 4096;
			sqe.prp2 = list;
			drv_settle(d);
			d->memory.hook = closers[i];
			d->memory.hook_arg = d;
			d->memory.hook_at = d->memory.accesses + n;
			drv_submit(d, 1, sqe);
			drv_settle(d);
			assert_int_equal(d->memory.accesses, d->memory.hook_at);
			drv_free(d);
		}
	}
}

static void bus_master_off_stops_dma(void **state)
{
	struct drv *d = drv_ready();
	uint64_t data = drv_alloc(d, 8192), accesses;
	struct nvme_cqe cqe;

	drv_config_write16(d, 4, 2);
	accesses = d->memory.accesses;
	drv_submit(d, 1, read_sqe(d, data, 1));
	drv_settle(d);
	assert_int_equal(d->memory.accesses, accesses);
	drv_config_write16(d, 4, 6);
	assert_true(drv_wait(d, 1, &cqe));
	assert_int_equal(cqe.status >> 1, 0);
	/* between fetch and completion */
	drv_submit(d, 1, read_sqe(d, data, 1));
	nvme_poll(d->nvme, 1);
	drv_config_write16(d, 4, 2);
	accesses = d->memory.accesses;
	drv_settle(d);
	assert_int_equal(d->memory.accesses, accesses);
	drv_config_write16(d, 4, 6);
	assert_true(drv_wait(d, 1, &cqe));
	/* D3 likewise */
	drv_config_write16(d, 0x44, 3);
	accesses = d->memory.accesses;
	drv_submit(d, 1, read_sqe(d, data, 1));
	drv_settle(d);
	assert_int_equal(d->memory.accesses, accesses);
	drv_free(d);
}

static void intx_level(void **state)
{
	struct drv *d = drv_ready();
	struct nvme_cqe cqe;

	drv_settle(d);
	assert_false(d->intx);
	drv_submit(d, 0, (struct nvme_sqe){.opcode = 0xff});
	drv_settle(d);
	assert_true(d->intx);
	assert_true(drv_config_read16(d, 6) & 8);
	drv_write32(d, NVME_REG_INTMS, 1);
	assert_false(d->intx);
	assert_int_equal(drv_read32(d, NVME_REG_INTMC), 1);
	drv_write32(d, NVME_REG_INTMC, 1);
	assert_true(d->intx);
	drv_config_write16(d, 4, 0x406);
	assert_false(d->intx);
	assert_true(drv_config_read16(d, 6) & 8);
	drv_config_write16(d, 4, 6);
	assert_true(d->intx);
	/* with MSI-X there is no INTx to have a status, and it is back when MSI-X goes */
	drv_msix_on(d);
	assert_false(d->intx);
	assert_false(drv_config_read16(d, 6) & 8);
	drv_config_write16(d, 0x52, 0);
	assert_true(d->intx);
	assert_true(drv_config_read16(d, 6) & 8);
	assert_true(drv_take(d, 0, &cqe));
	drv_settle(d);
	assert_false(d->intx);
	/* reset lowers it at once */
	drv_submit(d, 0, (struct nvme_sqe){.opcode = 0xff});
	drv_settle(d);
	assert_true(d->intx);
	nvme_reset(d->nvme);
	assert_false(d->intx);
	drv_settle(d);
	assert_false(d->intx);
	for (unsigned v = 0; v < NVME_MSIX_VECTORS; v++)
		assert_int_equal(d->msix[v], 0);
	drv_free(d);
}

static void msix_vectors(void **state)
{
	struct drv *d = drv_new(NULL);

	drv_msix_on(d);
	assert_true(drv_enable(d, 32, 32));
	for (unsigned q = 1; q <= DRV_QUEUES; q++) {
		assert_int_equal(drv_create_cq(d, q, 8, 64 - q), 0);
		assert_int_equal(drv_create_sq(d, q, q, 8), 0);
	}
	assert_true(d->msix[0] >= 1);
	for (unsigned q = 1; q <= DRV_QUEUES; q++) {
		assert_int_equal(
			drv_command(d, q, (struct nvme_sqe){.opcode = NVME_IO_FLUSH, .nsid = 1}, NULL), 0);
		assert_int_equal(d->msix[64 - q], 1);
	}
	assert_int_equal(d->intx_changes, 0);
	drv_free(d);
}

static void refused_queue_memory_is_fatal(void **state)
{
	struct drv *d = drv_ready();

	fake_refuse(&d->memory, d->queue[1].sq, 4096, true, false);
	drv_submit(d, 1, (struct nvme_sqe){.opcode = NVME_IO_FLUSH, .nsid = 1});
	assert_true(drv_poll_until(d, NVME_CSTS_CFS, NVME_CSTS_CFS));
	assert_int_equal(d->logs, 1);
	d->memory.refusal_count = 0;
	assert_true(drv_disable(d));
	assert_true(drv_enable(d, 16, 16));
	fake_refuse(&d->memory, d->queue[0].cq, 4096, false, true);
	drv_submit(d, 0, (struct nvme_sqe){.opcode = 0xff});
	assert_true(drv_poll_until(d, NVME_CSTS_CFS, NVME_CSTS_CFS));
	d->memory.refusal_count = 0;
	assert_true(drv_disable(d));
	assert_int_equal(drv_read32(d, NVME_REG_CSTS), 0);
	assert_true(drv_enable(d, 16, 16));
	drv_free(d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pci_identity),
		cmocka_unit_test(misuse_is_refused),
		cmocka_unit_test(bad_options_are_explained),
		cmocka_unit_test(bad_files_are_explained),
		cmocka_unit_test(pipe_is_no_disk),
		cmocka_unit_test(file_is_not_shared_with_a_writer),
		cmocka_unit_test(file_is_not_shared_with_qemu),
		cmocka_unit_test(lock_ends_with_the_controller),
		cmocka_unit_test(handshake),
		cmocka_unit_test(impossible_settings_are_fatal),
		cmocka_unit_test(shutdown_ends),
		cmocka_unit_test(controller_reset_in_flight),
		cmocka_unit_test(function_reset_in_flight),
		cmocka_unit_test(dma_ends_at_once),
		cmocka_unit_test(bus_master_off_stops_dma),
		cmocka_unit_test(intx_level),
		cmocka_unit_test(msix_vectors),
		cmocka_unit_test(refused_queue_memory_is_fatal),
	};
	int failed = cmocka_run_group_tests_name("controller (io_uring)", tests, NULL, NULL);

	drv_engine = DISK_ENGINE_THREADS;
	return failed + cmocka_run_group_tests_name("controller (threads)", tests, NULL, NULL);
}
