/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Intel VT-d, legacy mode: the device model's own state.
 *
 * Registers live in a page that the guest may be writing at any moment. What
 * the model believes is in this struct; the page is how the guest sees it. All
 * of it belongs to the unit lock, but for what device threads read while they
 * resolve a context: those are atomics, and change before the contexts that
 * were made from the old values are dropped and drained.
 */
#ifndef VTD_VTD_H
#define VTD_VTD_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "core/context.h"
#include "core/domain.h"
#include "core/drain.h"
#include "core/host.h"
#include "core/unit.h"
#include "regs/interrupt.h"
#include "regs/page.h"
#include "regs/reminder.h"
#include "spec/vtd_registers.h"

#define VTD_PAGE_SIZE	      VI_REGS_PAGE_SIZE
#define VTD_IRO_OFFSET	      0xf0u   /* IVA and IOTLB */
#define VTD_FRO_OFFSET	      0x220u  /* fault records, as many as the page holds */
#define VTD_FRO_SECOND_PAGE   0x1000u /* more than that */
#define VTD_RECORDS_ON_PAGE   ((VTD_PAGE_SIZE - VTD_FRO_OFFSET) / VTD_FRCD_SIZE)
#define VTD_MAX_FAULT_RECORDS 255
#define VTD_LASTING_COMMANDS  (VTD_GCMD_TE | VTD_GCMD_QIE) /* as GCMD shows them on a polled page */

struct vi_vtd_queue {
	bool enabled;
	uint64_t base;
	uint32_t size; /* bytes */
	uint32_t head; /* byte offset */
	/*
	 * A wait descriptor that was fetched and is not complete: it is never
	 * fetched again, as the guest may have put another in its place.
	 */
	bool waiting;
	uint64_t wait_lo, wait_hi;
	struct vi_drain drain; /* of what was invalidated since the last wait */
};

struct vi_vtd {
	struct viommu *unit;

	/* Fixed at creation. */
	uint64_t cap, ecap;
	uint8_t fault_record_count;
	uint16_t fault_record_offset;
	uint8_t leaf_levels;
	uint8_t guest_address_width;

	/* Read by device threads. */
	_Atomic bool translating; /* GCMD.TE as taken over */
	_Atomic uint64_t root;	  /* RTADDR as latched by SRTP */
	_Atomic bool protecting;  /* PMEN.EPM as taken over */
	_Atomic uint64_t low_first, low_last, high_first, high_last;

	uint32_t gsts;
	uint32_t next_command; /* written while a command was being carried out */
	bool has_next_command;
	struct vi_drain command_drain;
	uint32_t completes; /* GSTS once the drain is over */

	bool context_busy; /* CCMD.ICC */
	uint64_t context_command;
	struct vi_drain context_drain;

	uint64_t iotlb_command;
	bool iotlb_busy; /* IOTLB.IVT */
	struct vi_drain iotlb_drain;

	bool protect_busy;
	struct vi_drain protect_drain;

	struct vi_vtd_queue queue;
	bool wait_completed;  /* ICS.IWC */
	bool wait_again;      /* another was completed while it was set: of interest on a polled page */
	uint64_t queue_error; /* IQERCD */
	struct vi_regs_reminder wait_reminder, error_reminder;

	uint32_t fault_status;	  /* FSTS without PPF and FRI, which follow from the records */
	bool fault_status_hidden; /* by what the guest wrote on a polled page */
	uint8_t first_pending;	  /* FSTS.FRI */
	uint8_t next_record;
	struct {
		uint64_t lo, hi;
	} records[VTD_MAX_FAULT_RECORDS];
	unsigned pending_records;
	uint8_t record_to_look_at;			   /* the next on the page */
	struct vi_regs_interrupt fault_event, queue_event; /* 7.3 and 6.5.2.10: FECTL.. and IECTL... */

	struct vi_regs_page regs; /* the first page */
};

/* registers.c */
void vi_vtd_regs_init(struct vi_vtd *m);
void vi_vtd_regs_read(void *state, uint64_t offset, unsigned size, uint64_t *ret_value);
void vi_vtd_regs_write(void *state, uint64_t offset, unsigned size, uint64_t value);
void vi_vtd_regs_share(void *state, unsigned which, void *page);
/* Look at the page once. Returns how many words had been written. */
int vi_vtd_regs_poll(struct vi_vtd *m);
void vi_vtd_regs_reset(struct vi_vtd *m);

/* What registers do when they were written, and what is left to do later: process() returns steps done and
 * or-s VIOMMU_PROCESS_PENDING. */
void vi_vtd_command_write(struct vi_vtd *m, uint32_t value) VI_WITH(m->unit->lock); /* global_command.c */
int vi_vtd_command_process(struct vi_vtd *m) VI_WITH(m->unit->lock);
void vi_vtd_protect_write(struct vi_vtd *m, uint32_t value) VI_WITH(m->unit->lock); /* protected_memory.c */
/* Take the regions over from their registers. */
void vi_vtd_protect_latch(struct vi_vtd *m);
int vi_vtd_protect_process(struct vi_vtd *m) VI_WITH(m->unit->lock);
bool vi_vtd_is_protected(void *state, uint64_t first, uint64_t last);
void vi_vtd_context_command_write(struct vi_vtd *m, uint32_t high)
	VI_WITH(m->unit->lock); /* invalidation_register.c */
void vi_vtd_iotlb_command_write(struct vi_vtd *m, uint32_t high) VI_WITH(m->unit->lock);
int vi_vtd_invalidation_register_process(struct vi_vtd *m) VI_WITH(m->unit->lock);
void vi_vtd_queue_enable(struct vi_vtd *m) VI_WITH(m->unit->lock); /* invalidation_queue.c */
void vi_vtd_queue_disable(struct vi_vtd *m, struct vi_drain *d)
	VI_WITH(m->unit->lock); /* what it had not waited for goes to d */
int vi_vtd_queue_process(struct vi_vtd *m, unsigned budget) VI_WITH(m->unit->lock);
void vi_vtd_wait_status_write(struct vi_vtd *m, uint32_t value);
void vi_vtd_fault_status_write(struct vi_vtd *m, uint32_t value); /* fault.c */
void vi_vtd_fault_status_show(struct vi_vtd *m);
/* Records were cleared, and the driver may not find the rest: FSTS follows, and the event is for those that
 * are left. */
void vi_vtd_fault_records_cleared(struct vi_vtd *m);
/* Set bits of FSTS (IQE, ...), with the fault event that goes with it. */
void vi_vtd_fault_status_set(struct vi_vtd *m, uint32_t bits);
int vi_vtd_fault_process(struct vi_vtd *m, unsigned budget);
const char *vi_vtd_reason_text(vi_reason reason);
bool vi_vtd_is_fault_record(const struct vi_vtd *m, unsigned offset); /* fault_record.c */
uint32_t vi_vtd_fault_record_read(const struct vi_vtd *m, unsigned offset);
void vi_vtd_fault_record_write(struct vi_vtd *m, unsigned offset, uint32_t value);
/* A record that the guest does not see yet, or that was free. */
void vi_vtd_fault_record_publish(struct vi_vtd *m, unsigned i);
/* Look at those on the page. Returns how many had been written. */
int vi_vtd_fault_records_poll(struct vi_vtd *m);

/* granularity.c: what all three ways to invalidate come down to; false: not a valid granularity or value. */
bool vi_vtd_invalidate_contexts(struct vi_vtd *m, struct vi_drain *d, unsigned granularity,
				uint16_t domain_id, uint16_t rid, unsigned function_mask)
	VI_WITH(m->unit->lock);
bool vi_vtd_invalidate_iotlb(struct vi_vtd *m, struct vi_drain *d, unsigned granularity, uint16_t domain_id,
			     uint64_t address, unsigned address_mask) VI_WITH(m->unit->lock);

/* context_entry.c */
vi_reason vi_vtd_resolve(void *state, uint16_t rid, uint32_t pasid, struct vi_translation *ret_translation);
vi_reason vi_vtd_describe(void *state, uint16_t rid, uint32_t pasid, struct vi_translation *ret_translation,
			  struct viommu_requester_info *ret_info);
vi_reason vi_vtd_check_request(void *state, const struct vi_translation *t, unsigned access);
vi_reason vi_vtd_walk_reason(const struct vi_walk *w, bool write);

/* state.c */
void vi_vtd_state(void *state, struct vi_state *s);
int vi_vtd_restore(void *state, const uint8_t *numbers, size_t length);

/* vtd.c: one round of everything, as viommu_process(). */
int vi_vtd_model_process(void *state, unsigned budget);
bool vi_vtd_model_settle(void *state);

#endif
