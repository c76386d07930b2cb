/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * AMD-Vi: the device model's own state.
 *
 * There are two pages of registers. Those of `base` are trapped, so that they
 * are what the model goes by; heads, tails and status lie on `pointers`, which a
 * guest may write directly. All of it belongs to the unit lock, but for what
 * device threads read while they resolve a context or look up a message: those
 * are atomics, and change before the contexts that were made from the old values
 * are dropped and drained.
 */
#ifndef AMDVI_AMDVI_H
#define AMDVI_AMDVI_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "core/context.h"
#include "core/domain.h"
#include "core/drain.h"
#include "core/host.h"
#include "core/unit.h"
#include "regs/page.h"
#include "regs/reminder.h"
#include "spec/amdvi_queues.h"
#include "spec/amdvi_registers.h"
#include "spec/amdvi_tables.h"

#define AMDVI_REGISTERS_SIZE 0x10000u

/* A ring in guest memory, as it was when it was enabled. */
struct vi_amdvi_ring {
	uint64_t base;
	uint32_t size; /* bytes; 0: it was never enabled */
};

struct vi_amdvi_commands {
	bool running;
	struct vi_amdvi_ring ring;
	uint32_t head; /* byte offset */
	/*
	 * A COMPLETION_WAIT that was fetched and is not complete: it is never fetched
	 * again, as the guest may have put another in its place.
	 */
	bool waiting;
	uint64_t wait_lo, wait_hi;
	struct vi_drain drain; /* of what was invalidated since the last one */
};

struct vi_amdvi_events {
	bool running;
	struct vi_amdvi_ring ring;
	uint32_t tail;
};

struct vi_amdvi {
	struct viommu *unit;

	/* Fixed at creation. */
	uint64_t efr;

	/* Read by device threads: registers as they were written. */
	_Atomic uint64_t control, exclusion_base, exclusion_limit;
	_Atomic uint64_t device_table[AMDVI_DEV_TAB_SEGMENTS_MOST];
	/* Of DTEs with SE, by device id: the entry that was read last has it. Written by device threads. */
	_Atomic uint64_t once[65536 / 64];

	uint64_t told[65536 / 64]; /* of those, whose event was recorded since the entry was invalidated */
	struct vi_drain control_drain; /* of a change that registers made */

	struct vi_amdvi_commands commands;
	struct vi_amdvi_events events;
	uint32_t status;	 /* the bits of AMDVI_STATUS that are cleared by writing */
	bool wait_again;	 /* ComWaitInt was to be set while it was: of interest on a polled page */
	bool interrupt_pending;	 /* raised while no vector was given */
	uint32_t head_looked_at; /* of the event log, by the reminder */
	struct vi_regs_reminder wait_reminder, event_reminder;

	struct vi_regs_page base, pointers;
};

/* registers.c */
void vi_amdvi_regs_init(struct vi_amdvi *m);
void vi_amdvi_regs_read(void *state, uint64_t offset, unsigned size, uint64_t *ret_value);
void vi_amdvi_regs_write(void *state, uint64_t offset, unsigned size, uint64_t value);
void vi_amdvi_regs_share(void *state, unsigned which, void *page);
void vi_amdvi_regs_reset(struct vi_amdvi *m);
/* What device threads read follows the registers, after a state was loaded. */
void vi_amdvi_regs_latch(struct vi_amdvi *m);
static inline uint64_t vi_amdvi_control(const struct vi_amdvi *m)
{
	return atomic_load_explicit(&m->control, memory_order_relaxed);
}

/* The ring that a base register names. */
struct vi_amdvi_ring vi_amdvi_ring(uint64_t base_register);

/* status.c: AMDVI_STATUS, and the interrupt that it stands for. */
void vi_amdvi_status_show(struct vi_amdvi *m);
void vi_amdvi_status_write(struct vi_amdvi *m, uint32_t value);
/* Set bits of it; an interrupt is sent where one of them is new, and enabled. */
void vi_amdvi_status_set(struct vi_amdvi *m, uint32_t bits);
/* Interrupt enables or the vector were written. */
void vi_amdvi_interrupt_enabled(struct vi_amdvi *m, uint32_t bits);
void vi_amdvi_interrupt_vector_written(struct vi_amdvi *m);
/* Once for each look at a polled page. */
void vi_amdvi_remind(struct vi_amdvi *m);

/* command_buffer.c */
void vi_amdvi_commands_start(struct vi_amdvi *m);
void vi_amdvi_commands_stop(struct vi_amdvi *m) VI_WITH(m->unit->lock);
void vi_amdvi_commands_head_write(struct vi_amdvi *m, uint32_t value);
/* Steps done, with VIOMMU_PROCESS_PENDING. */
int vi_amdvi_commands_process(struct vi_amdvi *m, unsigned budget) VI_WITH(m->unit->lock);

/* event_log.c */
void vi_amdvi_events_start(struct vi_amdvi *m);
void vi_amdvi_events_stop(struct vi_amdvi *m);
void vi_amdvi_events_tail_write(struct vi_amdvi *m, uint32_t value);
/* Is there one that the guest has not taken, as far as its head tells? */
bool vi_amdvi_events_wait_for_guest(const struct vi_amdvi *m);
void vi_amdvi_event_record(struct vi_amdvi *m, uint64_t lo, uint64_t hi);

/* fault.c */
int vi_amdvi_faults_process(struct vi_amdvi *m, unsigned budget);
const char *vi_amdvi_reason_text(vi_reason reason);
bool vi_amdvi_is_never_silent(vi_reason reason);
/* The device's next page fault is told again, though its entry has SE. */
void vi_amdvi_faults_tell_again(struct vi_amdvi *m, uint16_t rid);
void vi_amdvi_faults_tell_all_again(struct vi_amdvi *m);

/* device_table.c, on device threads. */
vi_reason vi_amdvi_resolve(void *state, uint16_t rid, uint32_t pasid, struct vi_translation *ret_translation);
vi_reason vi_amdvi_describe(void *state, uint16_t rid, uint32_t pasid, struct vi_translation *ret_translation,
			    struct viommu_requester_info *ret_info);
vi_reason vi_amdvi_check_request(void *state, const struct vi_translation *t, unsigned access);
vi_reason vi_amdvi_walk_reason(const struct vi_walk *w, bool write);
/* Where the entry of a device lies. False: beyond the table. */
bool vi_amdvi_find_entry(const struct vi_amdvi *m, uint16_t rid, uint64_t *ret_gpa);

/* interrupt_table.c, on device threads. */
vi_reason vi_amdvi_remap(void *state, uint16_t rid, struct vi_message *io_message);

/* state.c */
void vi_amdvi_state(void *state, struct vi_state *s);
int vi_amdvi_restore(void *state, const uint8_t *numbers, size_t length);

/* amdvi.c: one round of everything, as viommu_process(). */
int vi_amdvi_model_process(void *state, unsigned budget);

/*
 * Why an access was refused: the code of the event that tells of it, times 16, and
 * a number that tells apart what has the same code.
 */
enum vi_amdvi_reason {
	VI_AMDVI_DTE_RESERVED = AMDVI_ILLEGAL_DEV_TABLE_ENTRY << 4,
	VI_AMDVI_DTE_MODE,
	VI_AMDVI_DTE_INTERRUPT_RESERVED,
	VI_AMDVI_NOT_PRESENT = AMDVI_IO_PAGE_FAULT << 4,
	VI_AMDVI_DENIED,
	VI_AMDVI_PTE_RESERVED,
	VI_AMDVI_PTE_LEVEL,
	VI_AMDVI_BEYOND_LEVELS,
	VI_AMDVI_NOT_TRANSLATED, /* TV */
	VI_AMDVI_BEYOND_DEVICE_TABLE,
	VI_AMDVI_LEADS_TO_MESSAGE,
	VI_AMDVI_PASID,
	VI_AMDVI_INTERRUPT_BEYOND_DEVICE_TABLE,
	VI_AMDVI_INTERRUPT_ABORTED,
	VI_AMDVI_INTERRUPT_BEYOND_TABLE,
	VI_AMDVI_INTERRUPT_NOT_ENABLED,
	VI_AMDVI_INTERRUPT_RESERVED,
	VI_AMDVI_DTE_ACCESS = AMDVI_DEV_TAB_HARDWARE_ERROR << 4,
	VI_AMDVI_DTE_INTERRUPT_ACCESS,
	VI_AMDVI_TABLE_ACCESS = AMDVI_PAGE_TAB_HARDWARE_ERROR << 4,
	VI_AMDVI_INTERRUPT_TABLE_ACCESS,
	VI_AMDVI_PRETRANSLATED = AMDVI_INVALID_DEVICE_REQUEST << 4,
	VI_AMDVI_TRANSLATION_REQUEST,
};

#endif
