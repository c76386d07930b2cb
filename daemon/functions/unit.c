/* SPDX-License-Identifier: BSD-3-Clause */
#include "daemon/functions/unit.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/functions/function.h"
#include "daemon/functions/host.h"
#include "os/clock.h"

/* ---------------------------------------------------- what the unit asks for */

/*
 * Memory without an fd is reached by asking the client, which the main thread
 * must never do: the client may be waiting for it.
 */
static int mem_read(void *opaque, uint64_t gpa, void *buf, size_t len)
{
	struct unit *u = opaque;

	vm_count(&u->host->counters, VM_COUNT_memory_requests);
	return u->host->may_wait() ? vfu_dma_read(u->memory, gpa, buf, len) : -EDEADLK;
}

static int mem_write(void *opaque, uint64_t gpa, const void *buf, size_t len)
{
	struct unit *u = opaque;

	vm_count(&u->host->counters, VM_COUNT_memory_requests);
	return u->host->may_wait() ? vfu_dma_write(u->memory, gpa, buf, len) : -EDEADLK;
}

static void msi(void *opaque, uint16_t rid, uint64_t address, uint32_t data)
{
	struct unit *u = opaque;

	u->host->send_interrupt(u->host, u, rid, address, data);
}

static void kick(void *opaque)
{
	struct unit *u = opaque;

	waker_kick(u->host->waker);
}

static void guest_error(void *opaque, const struct viommu_guest_event *event)
{
	struct unit *u = opaque;
	struct log_bucket *log = &u->guest_errors;

	switch (event->error) {
	case VIOMMU_GUEST_FAULT:
		log_limited(log,
			    "blocked: device %02x:%02x.%u wanted to %s 0x%" PRIx64 ": %s (reason 0x%02x)",
			    event->rid >> 8, event->rid >> 3 & 0x1f, event->rid & 7,
			    event->write ? "write" : "read", event->address, event->text, event->reason);
		break;
	case VIOMMU_GUEST_BAD_DESCRIPTOR:
		log_limited(log, "%sthe guest's invalidation queue stopped: %s", u->label, event->text);
		break;
	case VIOMMU_GUEST_BAD_STATUS_ADDRESS:
		log_limited(log, "%s%s: 0x%" PRIx64, u->label, event->text, event->address);
		break;
	default:
		log_limited(log, "%sthe guest used IOMMU register 0x%" PRIx64 " wrongly: %s", u->label,
			    event->address, event->text);
		break;
	}
}

static uint64_t now_ns(void *opaque)
{
	(void)opaque;
	return os_now_ns();
}

static const struct viommu_host_ops host_ops = {
	.sz = sizeof(host_ops),
	.mem_read = mem_read,
	.mem_write = mem_write,
	.msi = msi,
	.kick = kick,
	.guest_error = guest_error,
	.now_ns = now_ns,
};

/* --------------------------------------------------------------------- work */

#define STEPS	    4 /* of a unit, for each of a controller */
#define SHARE_LEAST 2

/* All units of a VM together have what one alone has: else a guest would buy turns with units. */
static unsigned share_of(const struct unit *u, unsigned budget)
{
	unsigned share = budget * STEPS / (u->host->unit_count ? u->host->unit_count : 1);

	return share > SHARE_LEAST ? share : SHARE_LEAST;
}

void unit_poll(struct unit *u, unsigned budget, struct function_look *look)
{
	unsigned share = share_of(u, budget), steps;
	int done = viommu_process(u->v, share);

	if (done < 0)
		return;
	steps = (unsigned)done & ~(unsigned)VIOMMU_PROCESS_PENDING;
	look->steps += steps;
	look->pending = look->pending || done & VIOMMU_PROCESS_PENDING;
	look->deep = look->deep || steps >= share / 2; /* faults get half of it */
}

const char *unit_name(const struct unit *u)
{
	return u->registers ? u->registers->name : NULL;
}

struct unit *host_find_unit(const struct host *h, const char *name)
{
	for (unsigned i = 0; i < h->unit_count; i++) {
		const char *own = unit_name(h->units[i]);

		if (own && !strcmp(own, name))
			return h->units[i];
	}
	return NULL;
}

void unit_device_used(struct unit *u)
{
	if (u->registers && u->registers->ops->device_used)
		u->registers->ops->device_used(u->registers);
}

void unit_reset(struct unit *u)
{
	/* A reset waits for accesses in flight, and their answers would have to come through here. */
	vfu_dma_hold(u->memory);
	viommu_reset(u->v);
	vfu_dma_release(u->memory);
}

/* ------------------------------------------------------------------- memory */

static int add(struct unit *u, const struct vfu_dma_map *map, unsigned flags)
{
	int err = viommu_mem_add(u->v, map->iova, map->size, map->host, flags);

	if (!err)
		u->lent += map->size;
	return err;
}

/* BARs, firmware and the VGA window come without a file in any machine; on the q35 they lie elsewhere. */
static bool is_ram(const struct vfu_dma_map *map)
{
	return map->writable && map->size > UINT64_C(1) << 20 && map->iova < UINT64_C(1) << 31;
}

static void tell_of_memory_without_file(struct unit *u, const struct vfu_dma_map *map,
					const char *consequence)
{
	if (u->told || !is_ram(map))
		return;
	u->told = true;
	log_line("%s%smemory at 0x%" PRIx64 " came without a file (share=on?): %s", u->host->label, u->label,
		 map->iova, consequence);
}

/* To get at it the work thread waits for its client, which holds only that client's VM as long as there is no
 * other. */
static bool would_hold_others(const struct unit *u, const struct vfu_dma_map *map)
{
	return !map->host && u->host->beside_others;
}

/* QEMU announces whatever the guest has mapped, the register pages of all units too. They are not memory. */
static bool is_register_page(const struct unit *u, const struct vfu_dma_map *map)
{
	for (unsigned i = 0; i < u->host->unit_count; i++) {
		const struct function *f = u->host->units[i]->registers;

		if (f && f->ops->has_registers_in && f->ops->has_registers_in(f, map->iova, map->size))
			return true;
	}
	return false;
}

int unit_lend(struct unit *u, const struct vfu_dma_map *map)
{
	unsigned flags = (map->readable ? VIOMMU_MEM_READ : 0) | (map->writable ? VIOMMU_MEM_WRITE : 0);
	int err;

	if (is_register_page(u, map))
		return 0;
	if (would_hold_others(u, map)) {
		tell_of_memory_without_file(u, map,
					    "devices cannot use it, since other VMs would wait for it");
		return 0;
	}
	err = add(u, map, flags);
	if (err == -EINVAL) {
		/* QEMU announces every mappable BAR, also those above what the IOMMU can address. */
		log_limited(&u->guest_errors,
			    "%smemory at 0x%" PRIx64 " is out of the IOMMU's reach and left out", u->label,
			    map->iova);
		return 0;
	}
	if (!err && !map->host)
		tell_of_memory_without_file(u, map, "it is slow, and tables there cannot be walked");
	return err;
}

void unit_take_back(struct unit *u, uint64_t gpa, uint64_t size)
{
	int64_t taken = viommu_mem_remove(u->v, gpa, size);

	/* No memory to cut a region in two: then none is left at all, as this part is about to be unmapped.
	 */
	if (taken == -ENOMEM) {
		log_limited(&u->guest_errors,
			    "%sno memory to take back a part of a region at 0x%" PRIx64
			    ": devices lose all memory until the guest's is announced again",
			    u->label, gpa);
		taken = viommu_mem_remove(u->v, 0, UINT64_MAX);
	}
	if (taken < 0) {
		/* Nothing would keep devices from what comes to that address next. */
		log_line("%s%smemory at 0x%" PRIx64 " cannot be taken back: %s. Ending", u->host->label,
			 u->label, gpa, strerror((int)-taken));
		abort();
	}
	u->lent -= (uint64_t)taken;
}

/* -------------------------------------------------------------------- states */

static void no_interrupt(void *opaque, uint16_t rid, uint64_t address, uint32_t data)
{
}

static void no_kick(void *opaque)
{
}

static void no_guest_error(void *opaque, const struct viommu_guest_event *event)
{
}

#define SPARE_IOTLB_LG2 6 /* the least: nothing is translated, and making a larger one takes long */

/* A unit that is like this one takes it over, and is thrown away. */
int unit_restore_check(const struct unit *u, const void *state, size_t length)
{
	static const struct viommu_host_ops quiet = {.sz = sizeof(quiet),
						     .msi = no_interrupt,
						     .kick = no_kick,
						     .guest_error = no_guest_error,
						     .now_ns = now_ns};
	struct viommu_options options = *u->options;
	struct viommu *spare;
	int err;

	options.iotlb_lg2 = SPARE_IOTLB_LG2;
	err = viommu_create(&quiet, NULL, &options, &spare);
	if (err)
		return err;
	err = viommu_restore(spare, state, length);
	viommu_destroy(spare);
	return err;
}

/* ------------------------------------------------------------ begin and end */

int unit_create(struct host *host, const struct viommu_options *opts, struct unit **ret_unit)
{
	struct unit *u = calloc(1, sizeof(*u));
	int err;

	if (!u)
		return -ENOMEM;
	u->host = host;
	u->options = opts;
	log_bucket_init(&u->guest_errors, host->label);
	err = viommu_create(&host_ops, u, opts, &u->v);
	if (!err)
		err = viommu_thread_create(u->v, &u->thread);
	if (err) {
		unit_destroy(u);
		return err;
	}
	*ret_unit = u;
	return 0;
}

void unit_destroy(struct unit *u)
{
	if (!u)
		return;
	viommu_thread_destroy(u->thread);
	viommu_destroy(u->v);
	free(u);
}
