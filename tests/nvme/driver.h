/* SPDX-License-Identifier: BSD-3-Clause */
/* The guest's half of NVMe, for tests: queues in (fake) memory, doorbells, phase bits. */
#ifndef TESTS_NVME_DRIVER_H
#define TESTS_NVME_DRIVER_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "fake_access.h"
#include "nvme/controller.h"

#define DRV_MEMORY (16u << 20)
#define DRV_BLOCKS 8192u
#define DRV_QUEUES 4

struct drv_queue {
	uint64_t sq, cq;
	uint32_t sq_size, cq_size, tail, head;
	uint16_t phase;
};

struct drv {
	struct nvme *nvme;
	struct viommu_requester memory;
	uint64_t next; /* bump allocation */
	char path[64];
	struct drv_queue queue[NVME_MAX_QUEUES];
	uint16_t cid;
	uint64_t shadow, event; /* pages of the doorbell buffer; 0: off */
	unsigned rings;		/* doorbell registers written */
	bool shadows_admin;	/* the admin queue's too, as stock drivers do not */
	bool hold_head;		/* do not give completions back */
	unsigned msix[NVME_MSIX_VECTORS], intx_changes, logs;
	atomic_uint kicks;
	bool intx;
};

extern enum disk_engine drv_engine;

struct drv *drv_new(const struct nvme_options *opts); /* path is filled in */
struct drv *drv_ready(void);			      /* enabled, with one I/O queue pair of 64 */
void drv_free(struct drv *d);
/* Hold it, wait until nothing is under way, save. The length. */
size_t drv_save(struct drv *d, void *ret_state, size_t size);
/* The controller ends, and a new one has its file, as drv_new() makes it; it knows nothing yet. */
void drv_another(struct drv *d, const struct nvme_options *opts);

uint32_t drv_read32(struct drv *d, uint64_t offset);
void drv_write32(struct drv *d, uint64_t offset, uint32_t value);
void drv_config_write16(struct drv *d, uint64_t offset, uint16_t value);
uint16_t drv_config_read16(struct drv *d, uint64_t offset);
uint64_t drv_alloc(struct drv *d, uint64_t size); /* page aligned */
void *drv_at(struct drv *d, uint64_t iova);

bool drv_poll_until(struct drv *d, uint32_t csts_mask, uint32_t csts);
bool drv_enable(struct drv *d, uint32_t sq_size, uint32_t cq_size);
bool drv_disable(struct drv *d);
void drv_msix_on(struct drv *d);

uint16_t drv_put(struct drv *d, unsigned qid, struct nvme_sqe sqe); /* without ringing; returns cid */
void drv_ring(struct drv *d, unsigned qid);
uint16_t drv_submit(struct drv *d, unsigned qid, struct nvme_sqe sqe);
bool drv_take(struct drv *d, unsigned qid, struct nvme_cqe *ret_cqe); /* what is there now */
bool drv_wait(struct drv *d, unsigned qid, struct nvme_cqe *ret_cqe);
/* Poll until nothing happens; a disk that stands still is waited for for a fraction of a second. */
void drv_settle(struct drv *d);
/* The same, where nobody keeps the disk from its work: a flush of a busy machine's disk takes seconds. */
void drv_finish(struct drv *d);
/* Status field without phase; 0xffff: no answer. */
unsigned drv_command(struct drv *d, unsigned qid, struct nvme_sqe sqe, uint32_t *ret_result);
unsigned drv_admin(struct drv *d, struct nvme_sqe sqe);
unsigned drv_create_cq(struct drv *d, unsigned qid, uint32_t size, unsigned vector);
unsigned drv_create_sq(struct drv *d, unsigned qid, unsigned cqid, uint32_t size);
unsigned drv_rw(struct drv *d, uint8_t opcode, uint64_t lba, unsigned blocks, uint64_t prp1, uint64_t prp2,
		uint32_t flags);
void drv_dbbuf_on(struct drv *d);

#endif
