/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A driver and its device, as the benchmark of strategies has them: the driver is the
 * calling thread; one other thread is the unit's sidecore, or serves its trapped
 * registers, and moves the device's data.
 *
 * The unit is of VT-d, or a virtio-iommu whose queue is in place of registers.
 *
 * Polled: registers are in a page that the thread looks at in turns with the
 * device's ring. Trapped: each register access of the driver is a vfio-user
 * message, as QEMU sends it for a guest that exits, and the thread sleeps when it
 * has nothing to do, as viommud does.
 */
#ifndef BENCH_STRATEGIES_WORLD_H
#define BENCH_STRATEGIES_WORLD_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <viommu/access.h>
#include <viommu/backing.h>

#include "devices/virtio/iommu.h"
#include "vfio_user/client.h"
#include "vfio_user/server.h"

#define WORLD_ENTRIES 256		   /* of the ring; a power of two */
#define WORLD_RING    UINT64_C(0x10000)	   /* gpa, and device address, of the ring: mapped for good */
#define WORLD_STATUS  UINT64_C(0x12000)	   /* and of the word that the device counts in */
#define WORLD_FIRST   (UINT64_C(1) << 20)  /* device addresses from here on are the strategy's */
#define WORLD_MEMORY  (UINT64_C(16) << 20) /* gpa of what buffers lie in */
#define WORLD_SIZE    (UINT64_C(16) << 20) /* bytes of that */
#define WORLD_SHADOW  (UINT64_C(32) << 20) /* gpa of shadow memory, as much */
#define WORLD_TABLES  (UINT64_C(48) << 20) /* and of the driver's tables, as much */
#define WORLD_RAM     (UINT64_C(64) << 20)

/* What the driver gives to the device, which reads it through the IOMMU, as all that it does. */
struct world_entry {
	uint64_t iova;
	uint32_t len, zero;
};

/*
 * The driver writes an entry and then `posted` (release), a doorbell; the device reads
 * `posted` (acquire), the entry, moves the data, and stores how many it has done,
 * which the driver reads (acquire) before it unmaps.
 */
struct world_doorbell {
	_Alignas(64) _Atomic uint64_t posted;
	_Alignas(64) _Atomic bool sleeping; /* the device wants to be woken */
};

struct world_kind {
	bool virtio; /* the unit is a virtio-iommu; else of VT-d */
	bool trap;
};

struct world {
	struct world_kind kind;
	uint8_t *ram;
	struct viommu *unit;
	struct viommu_requester *device;
	struct viommu_thread *thread;
	struct viommu_backing backing;
	struct world_doorbell doorbell;

	pthread_t other;
	uint64_t done;			      /* its own */
	_Atomic bool stop, failed;	      /* failed: a buffer could not be used */
	void *page;			      /* polled registers, of VT-d */
	struct virtio_iommu *queues;	      /* of virtio-iommu */
	struct viommu_requester *queue_reads; /* and what fetches them */
	char folder[40], path[64];
	struct vfu_server *server; /* trapped ones */
	struct vfu_client *client;
	int wake;
};

/* `ring`: the device's ring is mapped, which pass-through does without. Ends the program when something
 * fails.
 */
void world_init(struct world *w, const struct world_kind *kind, bool ring);
void world_finish(struct world *w);

static inline void world_relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
	__builtin_ia32_pause();
#endif
}

struct world_entry *world_entry(struct world *w, uint64_t number);
/* How many are done. */
uint64_t world_done(const struct world *w);
/* The driver has posted: up to `posted` entries in all. */
void world_post(struct world *w, uint64_t posted);

#endif
