/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What an OS driver does with a VT-d unit in legacy mode: root and context
 * tables, the invalidation queue, waiting, reading faults. It meets the device
 * side in registers and memory only.
 *
 * One thread at a time, but for vi_driver_vtd_flush_*(), which the caller may
 * serialise as it likes.
 */
#ifndef DRIVER_VTD_H
#define DRIVER_VTD_H

#include <stdbool.h>
#include <stdint.h>

#include "driver/memory.h"
#include "driver/page_table.h"
#include "driver/regs.h"

struct vi_driver_vtd {
	struct vi_driver_regs regs;
	struct vi_driver_memory *memory;
	uint64_t cap, ecap;
	uint64_t root;
	uint32_t gcmd;	/* the status bits that GCMD must repeat */
	uint64_t queue; /* gpa; 0: not in use, invalidations go through registers */
	uint32_t queue_size, tail;
	uint64_t status;   /* gpa of the word that wait descriptors write */
	uint32_t sequence; /* last one waited for */
};

/* A fault record as a driver reads it. */
struct vi_driver_vtd_fault {
	uint64_t address;
	uint16_t rid;
	uint8_t reason;
	bool write;
};

/* Reads CAP and ECAP. */
void vi_driver_vtd_init(struct vi_driver_vtd *d, const struct vi_driver_regs *regs,
			struct vi_driver_memory *memory);

/* The steps of bringing a unit up, each waits for GSTS. 0, -ENOMEM, -ETIMEDOUT. */
int vi_driver_vtd_set_root(struct vi_driver_vtd *d);
int vi_driver_vtd_enable_queue(struct vi_driver_vtd *d, unsigned pages_lg2);
int vi_driver_vtd_disable_queue(struct vi_driver_vtd *d);
int vi_driver_vtd_enable_translation(struct vi_driver_vtd *d, bool enable);
/* All of them in the order of the specification, with the global invalidations in between. */
int vi_driver_vtd_start(struct vi_driver_vtd *d, bool use_queue);

/* Write a context entry as it is (making its table), without invalidating. 0 or -ENOMEM. */
int vi_driver_vtd_set_context(struct vi_driver_vtd *d, uint16_t rid, uint64_t lo, uint64_t hi);
/* A proper one, for tables or pass-through (table NULL), with the invalidations it needs. */
int vi_driver_vtd_attach(struct vi_driver_vtd *d, uint16_t rid, uint16_t domain_id,
			 const struct vi_driver_page_table *table);
int vi_driver_vtd_detach(struct vi_driver_vtd *d, uint16_t rid, uint16_t domain_id);

/* Second-stage tables for this unit: 3 or 4 levels, the page sizes that CAP offers. 0 or -ENOMEM. */
int vi_driver_vtd_table_init(struct vi_driver_vtd *d, struct vi_driver_page_table *p, unsigned levels);

/* Put a descriptor into the queue; the unit sees it with the next vi_driver_vtd_ring(). Returns its index. */
uint32_t vi_driver_vtd_put(struct vi_driver_vtd *d, uint64_t lo, uint64_t hi);
void vi_driver_vtd_ring(struct vi_driver_vtd *d);
/* Both. */
uint32_t vi_driver_vtd_submit(struct vi_driver_vtd *d, uint64_t lo, uint64_t hi);
/* Submit a wait descriptor, with `flags` beside SW, and all that was put before it, and wait. 0, or
 * -ETIMEDOUT; -EIO: the queue stopped (FSTS.IQE). */
int vi_driver_vtd_wait(struct vi_driver_vtd *d, uint64_t flags);

/*
 * Invalidate and wait until it is complete, through the queue if it is in use
 * and else through registers. Granularities VTD_GRANULARITY_*.
 */
int vi_driver_vtd_flush_contexts(struct vi_driver_vtd *d, unsigned granularity, uint16_t domain_id,
				 uint16_t rid, unsigned function_mask);
int vi_driver_vtd_flush_iotlb(struct vi_driver_vtd *d, unsigned granularity, uint16_t domain_id,
			      uint64_t address, unsigned address_mask);
/* The range as page-selective invalidations, or one of the domain when that is not possible. */
int vi_driver_vtd_flush_range(struct vi_driver_vtd *d, uint16_t domain_id, uint64_t first, uint64_t last);

/* The descriptors of it, put and not rung: one at the most, `flags` VTD_QI_IOTLB_IH or 0. */
void vi_driver_vtd_put_range(struct vi_driver_vtd *d, uint16_t domain_id, uint64_t first, uint64_t last,
			     uint64_t flags);
void vi_driver_vtd_put_domain(struct vi_driver_vtd *d, uint16_t domain_id);

/* The oldest fault: read, cleared in its record. False: none. */
bool vi_driver_vtd_next_fault(struct vi_driver_vtd *d, struct vi_driver_vtd_fault *ret_fault);

uint64_t vi_driver_vtd_read64(const struct vi_driver_vtd *d, uint64_t offset);
uint32_t vi_driver_vtd_read32(const struct vi_driver_vtd *d, uint64_t offset);
void vi_driver_vtd_write64(const struct vi_driver_vtd *d, uint64_t offset, uint64_t value);
void vi_driver_vtd_write32(const struct vi_driver_vtd *d, uint64_t offset, uint32_t value);
/* Write GCMD with one bit set or cleared, and wait until GSTS shows it (SRTP: set). 0 or -ETIMEDOUT. */
int vi_driver_vtd_command(struct vi_driver_vtd *d, uint32_t bit, bool set);

#endif
