/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What an OS driver does with an AMD-Vi unit: device table, command buffer,
 * completion waits, reading events. It meets the device side in registers and
 * memory only.
 *
 * One thread at a time, but for vi_driver_amdvi_flush_*(), which the caller may
 * serialise as it likes.
 */
#ifndef DRIVER_AMDVI_H
#define DRIVER_AMDVI_H

#include <stdbool.h>
#include <stdint.h>

#include "driver/memory.h"
#include "driver/page_table.h"
#include "driver/regs.h"

struct vi_driver_amdvi {
	struct vi_driver_regs regs;
	struct vi_driver_memory *memory;
	uint64_t efr;
	uint64_t control;      /* as it was last written */
	uint64_t device_table; /* gpa */
	uint64_t commands;     /* gpa */
	uint32_t tail;
	uint64_t events; /* gpa */
	uint32_t event_head;
	uint64_t status;   /* gpa of the words that completion waits store */
	uint64_t sequence; /* last one waited for */
};

#define VI_DRIVER_AMDVI_DEVICES 256  /* those of bus 0 have an entry */
#define VI_DRIVER_AMDVI_RING	4096 /* bytes of each ring: 256 entries */

/* An event as a driver reads it. */
struct vi_driver_amdvi_event {
	uint64_t lo, hi;
};

/* Reads EFR. */
void vi_driver_amdvi_init(struct vi_driver_amdvi *d, const struct vi_driver_regs *regs,
			  struct vi_driver_memory *memory);
/* Tables and rings, then translation with an empty device table (all pass), and everything invalidated. 0,
 * -ENOMEM, -ETIMEDOUT. */
int vi_driver_amdvi_start(struct vi_driver_amdvi *d);
/* Set or clear bits of the control register. */
void vi_driver_amdvi_control(struct vi_driver_amdvi *d, uint64_t bits, bool set);
/* Enable the command buffer, empty, as at first or after it has stopped. */
void vi_driver_amdvi_restart_commands(struct vi_driver_amdvi *d);
/* Enable the event log after an overflow. */
void vi_driver_amdvi_restart_events(struct vi_driver_amdvi *d);

/* Write words of a device table entry, the second before the first, as Linux does. */
void vi_driver_amdvi_set_entry(struct vi_driver_amdvi *d, uint16_t rid, uint64_t word0, uint64_t word1);
/* The words about interrupts. */
void vi_driver_amdvi_set_interrupts(struct vi_driver_amdvi *d, uint16_t rid, uint64_t word2, uint64_t word3);
/* A proper entry, for tables or pass-through (table NULL), with the invalidations that it needs. */
int vi_driver_amdvi_attach(struct vi_driver_amdvi *d, uint16_t rid, uint16_t domain_id,
			   const struct vi_driver_page_table *table);
/* One that lets nothing pass. */
int vi_driver_amdvi_detach(struct vi_driver_amdvi *d, uint16_t rid, uint16_t domain_id);
/* Host page tables for this unit. 0 or -ENOMEM. */
int vi_driver_amdvi_table_init(struct vi_driver_amdvi *d, struct vi_driver_page_table *p, unsigned levels);

/* Put a command into the buffer; the unit sees it with the next vi_driver_amdvi_ring(). Returns its offset.
 */
uint32_t vi_driver_amdvi_put(struct vi_driver_amdvi *d, uint64_t lo, uint64_t hi);
void vi_driver_amdvi_ring(struct vi_driver_amdvi *d);
/* Submit a completion wait, with `flags` beside S, and all that was put before it, and wait. 0, or
 * -ETIMEDOUT; -EIO: the buffer stopped. */
int vi_driver_amdvi_wait(struct vi_driver_amdvi *d, uint64_t flags);

/* The command for a range: of one page, or of the least aligned power of two that holds it. */
void vi_driver_amdvi_put_range(struct vi_driver_amdvi *d, uint16_t domain_id, uint64_t first, uint64_t last);
void vi_driver_amdvi_put_domain(struct vi_driver_amdvi *d, uint16_t domain_id);

/* Invalidate and wait until it is complete. */
int vi_driver_amdvi_flush_device(struct vi_driver_amdvi *d, uint16_t rid);
int vi_driver_amdvi_flush_range(struct vi_driver_amdvi *d, uint16_t domain_id, uint64_t first, uint64_t last);
int vi_driver_amdvi_flush_domain(struct vi_driver_amdvi *d, uint16_t domain_id);
int vi_driver_amdvi_flush_all(struct vi_driver_amdvi *d);

/* The oldest event: taken out of the log. False: none. */
bool vi_driver_amdvi_next_event(struct vi_driver_amdvi *d, struct vi_driver_amdvi_event *ret_event);

uint64_t vi_driver_amdvi_read(const struct vi_driver_amdvi *d, uint64_t offset, unsigned size);
void vi_driver_amdvi_write(const struct vi_driver_amdvi *d, uint64_t offset, unsigned size, uint64_t value);

#endif
