/* SPDX-License-Identifier: BSD-3-Clause */
/* The NVMe controller from its creation to its end, on each engine: memory, threads and rings that fail. */
#include <errno.h>
#include <liburing.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "driver.h"
#include "failing_alloc.h"
#include "sweep.h"

static char path[64];
static enum disk_engine engine; /* that is swept */

struct world {
	struct drv d;
	int fd; /* of the disk, plus 1 */
	uint64_t data;
};

/* ---- the ring */

int __real_io_uring_queue_init(unsigned entries, struct io_uring *ring, unsigned flags);
int __wrap_io_uring_queue_init(unsigned entries, struct io_uring *ring, unsigned flags);
int __real_io_uring_register_files(struct io_uring *ring, const int *files, unsigned count);
int __wrap_io_uring_register_files(struct io_uring *ring, const int *files, unsigned count);
int __real_io_uring_register_eventfd(struct io_uring *ring, int fd);
int __wrap_io_uring_register_eventfd(struct io_uring *ring, int fd);
int __real_io_uring_submit(struct io_uring *ring);
int __wrap_io_uring_submit(struct io_uring *ring);

int __wrap_io_uring_queue_init(unsigned entries, struct io_uring *ring, unsigned flags)
{
	return alloc_call_fails("io_uring_queue_init", ENOMEM)
		       ? -ENOMEM
		       : __real_io_uring_queue_init(entries, ring, flags);
}

int __wrap_io_uring_register_files(struct io_uring *ring, const int *files, unsigned count)
{
	return alloc_call_fails("io_uring_register_files", ENOMEM)
		       ? -ENOMEM
		       : __real_io_uring_register_files(ring, files, count);
}

int __wrap_io_uring_register_eventfd(struct io_uring *ring, int fd)
{
	return alloc_call_fails("io_uring_register_eventfd", EBUSY)
		       ? -EBUSY
		       : __real_io_uring_register_eventfd(ring, fd);
}

/* The kernel takes at the next try what it did not take at this one. */
int __wrap_io_uring_submit(struct io_uring *ring)
{
	static bool refused;

	refused = !refused && alloc_call_fails("io_uring_submit", EAGAIN);
	return refused ? -EAGAIN : __real_io_uring_submit(ring);
}

/* ---- the steps */

static int prepare(void *world)
{
	struct world *w = world;

	alloc_pause(true);
	fake_init(&w->d.memory, DRV_MEMORY);
	alloc_pause(false);
	w->d.next = FAKE_BASE;
	return 0;
}

static void forget(void *world)
{
	struct world *w = world;

	fake_finish(&w->d.memory);
}

static void on_msix(void *opaque, unsigned vector)
{
}

static void on_intx(void *opaque, bool level)
{
}

static void on_kick(void *opaque)
{
}

static void on_log(void *opaque, const char *line)
{
}

static const struct nvme_host_ops host_ops = {on_msix, on_intx, on_kick, on_log};

static int create_with(struct world *w, const struct nvme_options *options)
{
	char why[256] = "";
	int err = nvme_controller_create(options, engine, &host_ops, &w->d, &w->d.nvme, why, sizeof(why));

	if (err)
		assert_true(*why);
	return err;
}

static int create(void *world)
{
	const struct nvme_options options = {.path = path, .io_queues = DRV_QUEUES};

	return create_with(world, &options);
}

static void destroy(void *world)
{
	struct world *w = world;

	nvme_destroy(w->d.nvme);
}

static int open_disk(void *world)
{
	struct world *w = world;
	char why[256] = "";
	int fd = nvme_open_file(path, false, why, sizeof(why));

	if (fd < 0) {
		assert_true(*why);
		return fd;
	}
	w->fd = fd + 1;
	return 0;
}

static void close_disk(void *world)
{
	struct world *w = world;

	close(w->fd - 1);
}

static int create_on_open_disk(void *world)
{
	struct world *w = world;
	const struct nvme_options options = {.fd = w->fd - 1, .io_queues = DRV_QUEUES};

	return create_with(world, &options);
}

static int bring_up(void *world)
{
	struct world *w = world;

	nvme_attach(w->d.nvme, &w->d.memory, NULL);
	drv_config_write16(&w->d, 4, 6);
	assert_true(drv_enable(&w->d, 32, 32));
	assert_int_equal(drv_create_cq(&w->d, 1, 64, 1), 0);
	assert_int_equal(drv_create_sq(&w->d, 1, 1, 64), 0);
	w->data = drv_alloc(&w->d, 2 * 4096);
	return 0;
}

/* What the controller has accepted is done, whatever the host lacks meanwhile. */
static int transfer(void *world)
{
	struct world *w = world;
	uint8_t *data = drv_at(&w->d, w->data);

	memset(data, 0x42, 4096);
	assert_int_equal(drv_rw(&w->d, NVME_IO_WRITE, 8, 8, w->data, 0, 0), 0);
	assert_int_equal(drv_rw(&w->d, NVME_IO_READ, 8, 8, w->data + 4096, 0, 0), 0);
	assert_memory_equal(data, data + 4096, 4096);
	assert_int_equal(drv_rw(&w->d, NVME_IO_WRITE_ZEROES, 8, 8, 0, 0, 0), 0);
	assert_int_equal(drv_rw(&w->d, NVME_IO_READ, 8, 8, w->data, 0, 0), 0);
	assert_int_equal(data[0], 0);
	assert_int_equal(drv_command(&w->d, 1, (struct nvme_sqe){.opcode = NVME_IO_FLUSH, .nsid = 1}, NULL),
			 0);
	return 0;
}

static int sleep_and_reset(void *world)
{
	struct world *w = world;

	nvme_arm(w->d.nvme);
	nvme_reset(w->d.nvme);
	drv_settle(&w->d);
	return 0;
}

#define USE                                                                                                  \
	{.name = "bring up", .run = bring_up}, {.name = "transfer", .run = transfer},                        \
		{.name = "sleep and reset", .run = sleep_and_reset},                                         \
		{.name = "bring up again", .run = bring_up},                                                 \
	{                                                                                                    \
		.name = "transfer again", .run = transfer                                                    \
	}

static void sweep_engine(const char *name, enum disk_engine which)
{
	static const struct nth_step by_path[] = {
		{.name = "prepare", .run = prepare, .undo = forget},
		{.name = "create", .run = create, .undo = destroy},
		USE,
	};
	static const struct nth_step by_fd[] = {
		{.name = "prepare", .run = prepare, .undo = forget},
		{.name = "open the disk", .run = open_disk, .undo = close_disk},
		{.name = "create", .run = create_on_open_disk, .undo = destroy},
		USE,
	};
	const struct nth_sequence sequences[] = {NTH_SEQUENCE(name, struct world, by_path),
						 NTH_SEQUENCE(name, struct world, by_fd)};

	engine = which;
	nth_sweep(&sequences[0]);
	nth_sweep(&sequences[1]);
}

static void any_engine(void **test)
{
	sweep_engine("nvme, any engine", DISK_ENGINE_ANY);
}

static void the_ring(void **test)
{
	sweep_engine("nvme, io_uring", DISK_ENGINE_URING);
}

static void the_threads(void **test)
{
	sweep_engine("nvme, threads", DISK_ENGINE_THREADS);
}

static int make_disk(void **test)
{
	int fd;

	snprintf(path, sizeof(path), "/tmp/nth-nvme-XXXXXX");
	fd = mkstemp(path);
	return fd < 0 || ftruncate(fd, (off_t)DRV_BLOCKS * 512) || close(fd);
}

static int remove_disk(void **test)
{
	return unlink(path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(any_engine),
		cmocka_unit_test(the_ring),
		cmocka_unit_test(the_threads),
	};

	return cmocka_run_group_tests_name("nth nvme", tests, make_disk, remove_disk);
}
