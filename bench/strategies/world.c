/* SPDX-License-Identifier: BSD-3-Clause */
#include "bench/strategies/world.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bench/fail.h"

#define RID	    0x0088
#define OWN_RID	    0x0080 /* of the function that carries virtqueues */
#define PCI_COMMAND 4
#define PAGE	    4096
#define BATCH	    16 /* entries before the registers get their turn */

static void must(int err, const char *what)
{
	if (err < 0)
		bench_fail(what, err);
}

/* --------------------------------------------------------------------- registers */

static int read_unit(struct world *w, uint64_t offset, unsigned size, uint64_t *ret_value)
{
	if (!w->kind.virtio)
		return viommu_regs_read(w->unit, offset, size, ret_value);
	return virtio_bar_read(virtio_iommu_transport(w->queues), 0, offset, ret_value, size);
}

static int write_unit(struct world *w, uint64_t offset, unsigned size, uint64_t value)
{
	if (!w->kind.virtio)
		return viommu_regs_write(w->unit, offset, size, value);
	return virtio_bar_write(virtio_iommu_transport(w->queues), 0, offset, &value, size);
}

static uint64_t read_polled(const struct world *w, uint64_t offset, unsigned size)
{
	const void *at = (const uint8_t *)w->page + offset;

	return size == 8 ? __atomic_load_n((const uint64_t *)at, __ATOMIC_ACQUIRE)
			 : __atomic_load_n((const uint32_t *)at, __ATOMIC_ACQUIRE);
}

static uint64_t regs_read(void *arg, uint64_t offset, unsigned size)
{
	struct world *w = arg;
	uint64_t value = 0;

	if (w->page && offset < PAGE)
		return read_polled(w, offset, size);
	if (!w->kind.trap)
		read_unit(w, offset, size, &value);
	else
		must(vfu_client_region_read(w->client, VFU_REGION_BAR0, offset, &value, size), "a register");
	return value;
}

static void regs_write(void *arg, uint64_t offset, unsigned size, uint64_t value)
{
	struct world *w = arg;

	if (w->kind.trap)
		must(vfu_client_region_post(w->client, VFU_REGION_BAR0, offset, &value, size), "a register");
	else if (!w->page || offset >= PAGE)
		write_unit(w, offset, size, value);
	else if (size == 8)
		__atomic_store_n((uint64_t *)(void *)((uint8_t *)w->page + offset), value, __ATOMIC_RELEASE);
	else
		__atomic_store_n((uint32_t *)(void *)((uint8_t *)w->page + offset), (uint32_t)value,
				 __ATOMIC_RELEASE);
}

static bool relax(void *arg)
{
	struct world *w = arg;

	world_relax();
	return !w->failed;
}

static int trapped_read(void *device, unsigned region, uint64_t offset, void *buf, size_t len)
{
	struct world *w = device;
	uint64_t value = 0;
	int err = len > 8 ? -EINVAL : read_unit(w, offset, (unsigned)len, &value);

	if (!err)
		memcpy(buf, &value, len);
	return err;
}

static int trapped_write(void *device, unsigned region, uint64_t offset, const void *buf, size_t len)
{
	struct world *w = device;
	uint64_t value = 0;

	if (len > 8)
		return -EINVAL;
	memcpy(&value, buf, len);
	return write_unit(w, offset, (unsigned)len, value);
}

/* ------------------------------------------------------------------- other thread */

struct world_entry *world_entry(struct world *w, uint64_t number)
{
	return (struct world_entry *)(void *)(w->ram + WORLD_RING) + number % WORLD_ENTRIES;
}

uint64_t world_done(const struct world *w)
{
	return __atomic_load_n((const uint64_t *)(const void *)(w->ram + WORLD_STATUS), __ATOMIC_ACQUIRE);
}

/* Reads an entry, brings data in as from a wire or a disk, and says so: three accesses, as devices do. */
static bool do_entry(struct world *w, uint64_t number)
{
	static const uint8_t data[4096] = {0x5a};
	uint64_t done = number + 1;
	struct world_entry e;

	return !viommu_read(w->thread, w->device, WORLD_RING + number % WORLD_ENTRIES * sizeof(e), &e,
			    sizeof(e)) &&
	       !viommu_write(w->thread, w->device, e.iova, data, e.len) &&
	       !viommu_write(w->thread, w->device, WORLD_STATUS, &done, sizeof(done));
}

/* How many were done. */
static unsigned move_data(struct world *w)
{
	uint64_t posted = atomic_load_explicit(&w->doorbell.posted, memory_order_acquire);
	unsigned n = 0;

	for (; w->done != posted && n < BATCH; n++, w->done++)
		if (!do_entry(w, w->done))
			w->failed = true;
	return n;
}

/*
 * store sleeping, fence, load posted here; store posted, fence, load sleeping in
 * world_post(): one of the two sees the other's store.
 */
static void sleep_a_while(struct world *w)
{
	struct pollfd fds[] = {{.fd = vfu_server_fd(w->server), .events = POLLIN},
			       {.fd = w->wake, .events = POLLIN}};
	uint64_t count;

	atomic_store(&w->doorbell.sleeping, true);
	atomic_thread_fence(memory_order_seq_cst);
	if (atomic_load(&w->doorbell.posted) == w->done && !w->stop &&
	    (!w->queues || virtio_iommu_arm(w->queues)))
		poll(fds, 2, 100);
	atomic_store(&w->doorbell.sleeping, false);
	if (fds[1].revents && read(w->wake, &count, sizeof(count)) < 0)
		bench_fail("a doorbell", errno);
}

/* Is there more to do, or was something done? */
static bool process(struct world *w)
{
	struct virtio_iommu_look look = {0};
	int done;

	if (w->queues)
		virtio_iommu_take(w->queues, 64, &look);
	done = viommu_process(w->unit, 64);
	if (w->queues)
		virtio_iommu_give(w->queues, done > 0, &look);
	return done > 0 || look.steps || look.pending;
}

static void *serve_trapped(void *arg)
{
	struct world *w = arg;

	while (!w->stop) {
		unsigned n = move_data(w);

		vfu_server_process(w->server);
		if (!process(w) && !n)
			sleep_a_while(w);
	}
	return NULL;
}

static void *serve_polled(void *arg)
{
	struct world *w = arg;

	while (!w->stop) {
		process(w);
		if (!move_data(w))
			world_relax();
	}
	return NULL;
}

void world_post(struct world *w, uint64_t posted)
{
	const uint64_t one = 1;

	atomic_store_explicit(&w->doorbell.posted, posted, memory_order_release);
	if (!w->kind.trap)
		return;
	atomic_thread_fence(memory_order_seq_cst);
	if (atomic_load_explicit(&w->doorbell.sleeping, memory_order_relaxed) &&
	    write(w->wake, &one, sizeof(one)) < 0)
		bench_fail("a doorbell", errno);
}

/* ------------------------------------------------------------------ begin and end */

static void open_server(struct world *w)
{
	static const unsigned irqs[VFU_NUM_IRQS];
	static const struct vfu_device_ops ops = {.region_read = trapped_read, .region_write = trapped_write};
	const struct vfu_region regions[VFU_NUM_REGIONS] = {
		[VFU_REGION_BAR0] = {.size = 0x10000, .readable = true, .writable = true, .fd = -1}};
	struct vfu_server_options o = {
		.path = w->path, .regions = regions, .irq_counts = irqs, .ops = &ops, .device = w};

	snprintf(w->folder, sizeof(w->folder), "/tmp/viommu-bench-XXXXXX");
	if (!mkdtemp(w->folder))
		bench_fail("cannot make a folder in /tmp", errno);
	snprintf(w->path, sizeof(w->path), "%s/iommu.sock", w->folder);
	must(vfu_server_create(&o, &w->server), "cannot serve the registers");
	w->wake = eventfd(0, EFD_CLOEXEC);
	must(w->wake, "cannot make a doorbell");
}

static void start_thread(struct world *w)
{
	int err;

	if (w->kind.trap) {
		open_server(w);
	} else if (!w->kind.virtio) {
		w->page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		must(viommu_regs_share(w->unit, 0, w->page), "cannot share the registers");
	}
	err = pthread_create(&w->other, NULL, w->kind.trap ? serve_trapped : serve_polled, w);
	if (err)
		bench_fail("cannot start a thread", err);
	if (w->kind.trap)
		must(vfu_client_connect(w->path, NULL, NULL, &w->client), "cannot connect");
}

static void open_vtd(struct world *w)
{
	struct viommu_backing_vtd_options o = {.sz = sizeof(o),
					       .read = regs_read,
					       .write = regs_write,
					       .relax = relax,
					       .arg = w,
					       .table_memory = w->ram + WORLD_TABLES,
					       .table_gpa = WORLD_TABLES,
					       .table_size = WORLD_RAM - WORLD_TABLES,
					       .rid = RID};

	must(viommu_backing_vtd_create(&o, &w->backing), "the unit does not start");
}

static void open_virtio(struct world *w)
{
	const uint16_t master = 1u << 2;
	const struct viommu_backing_virtio_options o = {.sz = sizeof(o),
							.read = regs_read,
							.write = regs_write,
							.relax = relax,
							.arg = w,
							.notify = VIRTIO_BAR0_NOTIFY,
							.notify_multiplier = VIRTIO_NOTIFY_MULTIPLIER,
							.queue_memory = w->ram + WORLD_TABLES,
							.queue_gpa = WORLD_TABLES,
							.queue_size = WORLD_RAM - WORLD_TABLES,
							.endpoint = RID,
							.domain = 1};

	must(virtio_config_write(virtio_iommu_transport(w->queues), PCI_COMMAND, &master, sizeof(master)),
	     "no bus master");
	must(viommu_backing_virtio_create(&o, &w->backing), "the unit does not start");
}

static void map_ring(struct world *w)
{
	const struct viommu_backing_range ring = {.iova = WORLD_RING,
						  .address = WORLD_RING,
						  .len = WORLD_STATUS + PAGE - WORLD_RING,
						  .access = VIOMMU_BACKING_READ | VIOMMU_BACKING_WRITE};

	must(w->backing.ops->map(w->backing.opaque, &ring, 1), "the ring cannot be mapped");
}

static void no_msix(void *opaque, unsigned vector)
{
	(void)opaque;
	(void)vector;
}

static void wake_up(void *opaque)
{
	(void)opaque; /* who serves registers is awake, and who polls is too */
}

static void complain(void *opaque, const char *line)
{
	(void)opaque;
	fprintf(stderr, "viommu-bench: %s\n", line);
}

static void make_queues(struct world *w)
{
	static const struct virtio_iommu_host_ops ops = {no_msix, wake_up, complain};

	must(viommu_requester_bypass_add(w->unit, OWN_RID, &w->queue_reads), "cannot add a device");
	w->queues = virtio_iommu_create(w->unit, w->queue_reads, w->thread, &ops, w);
	if (!w->queues)
		bench_fail("no memory", ENOMEM);
}

void world_init(struct world *w, const struct world_kind *kind, bool ring)
{
	struct viommu_host_ops ops = {.sz = sizeof(ops)};
	struct viommu_options options = {.sz = sizeof(options),
					 .model = kind->virtio ? VIOMMU_MODEL_VIRTIO : VIOMMU_MODEL_VTD};

	memset(w, 0, sizeof(*w));
	w->kind = *kind;
	w->wake = -1;
	w->ram = mmap(NULL, WORLD_RAM, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1,
		      0);
	if (w->ram == MAP_FAILED)
		bench_fail("cannot map memory", ENOMEM);
	must(viommu_create(&ops, NULL, &options, &w->unit), "cannot create a unit");
	must(viommu_mem_add(w->unit, 0, WORLD_RAM, w->ram, VIOMMU_MEM_READ | VIOMMU_MEM_WRITE),
	     "cannot register memory");
	must(viommu_requester_add(w->unit, RID, &w->device), "cannot add a device");
	must(viommu_thread_create(w->unit, &w->thread), "cannot add a thread");
	if (kind->virtio)
		make_queues(w);
	start_thread(w);
	if (kind->virtio)
		open_virtio(w);
	else
		open_vtd(w);
	if (ring)
		map_ring(w);
}

void world_finish(struct world *w)
{
	const uint64_t one = 1;

	if (w->kind.virtio)
		viommu_backing_virtio_destroy(&w->backing);
	else
		viommu_backing_vtd_destroy(&w->backing);
	w->stop = true;
	if (w->wake >= 0 && write(w->wake, &one, sizeof(one)) < 0)
		bench_fail("a doorbell", errno);
	pthread_join(w->other, NULL);
	if (w->kind.trap) {
		vfu_client_close(w->client);
		vfu_server_destroy(w->server);
		close(w->wake);
		rmdir(w->folder);
	}
	if (w->page)
		munmap(w->page, PAGE);
	virtio_iommu_destroy(w->queues);
	viommu_thread_destroy(w->thread);
	viommu_destroy(w->unit);
	munmap(w->ram, WORLD_RAM);
}
