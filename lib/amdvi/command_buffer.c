/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The command buffer, 2.4. Commands make translations unreachable at once; what was
 * in flight is waited for at the next COMPLETION_WAIT, which is the only way for the
 * guest to see completion.
 */
#include "amdvi/amdvi.h"
#include "base/bits.h"
#include "core/requester_table.h"

enum outcome { DONE, LATER, ILLEGAL, NO_MEMORY };

struct command {
	uint64_t lo, hi; /* loaded once, together */
};

static void show_head(struct vi_amdvi *m)
{
	vi_regs_store32(&m->pointers, AMDVI_CMD_HEAD, m->commands.head);
}

void vi_amdvi_commands_start(struct vi_amdvi *m)
{
	m->commands.running = true;
	m->commands.ring = vi_amdvi_ring(vi_regs_load64(&m->base, AMDVI_CMD_BASE));
	m->commands.head &= m->commands.ring.size - 1;
	show_head(m);
	vi_amdvi_status_show(m);
}

/* A wait that is not complete never will be. What it has waited for, the next one waits for. */
void vi_amdvi_commands_stop(struct vi_amdvi *m)
{
	bool needed = m->commands.drain.needed;

	m->commands.running = m->commands.waiting = false;
	m->commands.drain = (struct vi_drain){.active = false};
	if (needed)
		vi_drain_note_everything(&m->commands.drain);
	vi_amdvi_status_show(m);
}

/* While it runs the head is the unit's. */
void vi_amdvi_commands_head_write(struct vi_amdvi *m, uint32_t value)
{
	if (!m->commands.running)
		m->commands.head = value & (uint32_t)AMDVI_RING_POINTER;
	show_head(m);
}

static uint64_t address_of_head(const struct vi_amdvi *m)
{
	return m->commands.ring.base + m->commands.head;
}

/* The head stays at the command, nothing is fetched until the guest disables and enables the buffer. */
static void stop(struct vi_amdvi *m, unsigned code, uint64_t flags, uint64_t address, const char *text)
	VI_WITH(m->unit->lock)
{
	struct vi_fault where = {.iova = m->commands.head, .reason = (vi_reason)(code << 4)};

	vi_amdvi_commands_stop(m);
	vi_count(&m->unit->counters, VI_COUNT_queue_errors, 1);
	vi_amdvi_event_record(m, vi_to_field(AMDVI_EVENT_CODE, code) | flags, address);
	vi_guest_error(m->unit, VIOMMU_GUEST_BAD_DESCRIPTOR, &where, text);
}

/* A store that fails stops the buffer, as a fetch does (2.5.7). */
static enum outcome store(struct vi_amdvi *m, const struct command *c) VI_WITH(m->unit->lock)
{
	struct vi_fault where = {.iova = c->lo & AMDVI_WAIT_ADDR};

	if (!(c->lo & AMDVI_WAIT_S) || vi_guestmem_store64(&m->unit->mem, where.iova, c->hi))
		return DONE;
	vi_guest_error(m->unit, VIOMMU_GUEST_BAD_STATUS_ADDRESS, &where,
		       "the store address of a COMPLETION_WAIT is not memory that can be written");
	return NO_MEMORY;
}

/*
 * F needs nothing: each command is complete before the next is fetched. What a
 * register's change waits for comes before completion, too.
 */
static enum outcome completion_wait(struct vi_amdvi *m, const struct command *c) VI_WITH(m->unit->lock)
{
	struct vi_drain *drain = &m->commands.drain;

	if (!drain->active && drain->needed)
		vi_drain_begin(m->unit, drain);
	if (drain->active && !vi_drain_soon(m->unit, drain))
		return LATER;
	if (m->control_drain.active && !vi_drain_soon(m->unit, &m->control_drain))
		return LATER;
	if (store(m, c) == NO_MEMORY)
		return NO_MEMORY;
	if (c->lo & AMDVI_WAIT_I)
		vi_amdvi_status_set(m, AMDVI_STATUS_COM_WAIT_INT);
	vi_count(&m->unit->counters, VI_COUNT_queue_waits, 1);
	return DONE;
}

static enum outcome devtab_entry(struct vi_amdvi *m, const struct command *c) VI_WITH(m->unit->lock)
{
	uint16_t rid = (uint16_t)vi_field(c->lo, AMDVI_CMD_DEVICE_ID);

	vi_context_drop_with_domains(m->unit, &m->commands.drain, rid);
	vi_amdvi_faults_tell_again(m, rid);
	vi_count(&m->unit->counters, VI_COUNT_context_invalidations, 1);
	return DONE;
}

/* With S the lowest bit of the address that is 0 is half of the size; without such a bit all is meant. */
static uint64_t size_of(const struct command *c)
{
	uint64_t ones = c->hi | VI_BITS(11, 0);

	if (!(c->hi & AMDVI_PAGES_S))
		return VI_BIT(12);
	return ~ones == 0 || __builtin_ctzll(~ones) == 63 ? 0 : VI_BIT(__builtin_ctzll(~ones) + 1);
}

/* PDE needs nothing: directories are not cached. */
static enum outcome iommu_pages(struct vi_amdvi *m, const struct command *c) VI_WITH(m->unit->lock)
{
	uint16_t domain_id = (uint16_t)vi_field(c->lo, AMDVI_PAGES_DOMAIN);
	uint64_t size = size_of(c), first;

	if (size == 0) {
		vi_iotlb_invalidate_domain(m->unit, &m->commands.drain, domain_id);
		return DONE;
	}
	first = vi_align_down(c->hi & AMDVI_PAGES_ADDR, size);
	vi_iotlb_invalidate_range(m->unit, &m->commands.drain, domain_id, first, first + (size - 1));
	return DONE;
}

/*
 * No device behind the unit has an IOTLB of its own, so each has nothing to drop. One that is not there does
 * not answer: its time, if there is a limit, is over at once.
 */
static enum outcome iotlb_pages(struct vi_amdvi *m, const struct command *c) VI_WITH(m->unit->lock)
{
	uint16_t rid = (uint16_t)vi_field(c->lo, AMDVI_CMD_DEVICE_ID);

	if (!vi_requesters_find(&m->unit->requesters, rid) && vi_amdvi_control(m) & AMDVI_CONTROL_INV_TIMEOUT)
		vi_amdvi_event_record(m, vi_to_field(AMDVI_EVENT_CODE, AMDVI_IOTLB_INV_TIMEOUT) | rid,
				      address_of_head(m));
	return DONE;
}

/* Nothing is cached of it, but messages that were looked up before are waited for. */
static enum outcome interrupt_table(struct vi_amdvi *m, const struct command *c) VI_WITH(m->unit->lock)
{
	(void)c;
	vi_drain_note_sections(&m->commands.drain);
	return DONE;
}

static enum outcome all(struct vi_amdvi *m, const struct command *c) VI_WITH(m->unit->lock)
{
	(void)c;
	vi_context_drop_all(m->unit, &m->commands.drain);
	vi_iotlb_invalidate_all(m->unit, &m->commands.drain);
	vi_amdvi_faults_tell_all_again(m);
	vi_count(&m->unit->counters, VI_COUNT_iotlb_global_invalidations, 1);
	return DONE;
}

#define ALL_BITS VI_BITS(63, 0)

/* PREFETCH_IOMMU_PAGES and COMPLETE_PPR_REQUEST belong to features that EFR does not offer: illegal here. */
static const struct {
	uint64_t reserved_lo, reserved_hi;
	enum outcome (*carry_out)(struct vi_amdvi *m, const struct command *c);
} commands[16] = {
	[AMDVI_COMPLETION_WAIT] = {AMDVI_WAIT_RSVD_LO, 0, completion_wait},
	[AMDVI_INVALIDATE_DEVTAB_ENTRY] = {AMDVI_CMD_OF_DEVICE_RSVD_LO, ALL_BITS, devtab_entry},
	[AMDVI_INVALIDATE_IOMMU_PAGES] = {AMDVI_PAGES_RSVD_LO | AMDVI_PAGES_PASID,
					  AMDVI_PAGES_RSVD_HI | AMDVI_PAGES_GN, iommu_pages},
	[AMDVI_INVALIDATE_IOTLB_PAGES] = {0, AMDVI_IOTLB_RSVD_HI | AMDVI_IOTLB_TYPE, iotlb_pages},
	[AMDVI_INVALIDATE_INTERRUPT_TABLE] = {AMDVI_CMD_OF_DEVICE_RSVD_LO, ALL_BITS, interrupt_table},
	[AMDVI_INVALIDATE_IOMMU_ALL] = {AMDVI_ALL_RSVD_LO, ALL_BITS, all},
};

static enum outcome carry_out(struct vi_amdvi *m, const struct command *c) VI_WITH(m->unit->lock)
{
	unsigned opcode = (unsigned)vi_field(c->lo, AMDVI_CMD_OPCODE);

	if (!commands[opcode].carry_out || c->lo & commands[opcode].reserved_lo ||
	    c->hi & commands[opcode].reserved_hi)
		return ILLEGAL;
	return commands[opcode].carry_out(m, c);
}

/* The command at the head, from memory or kept. False: it is not in memory. */
static bool fetch(const struct vi_amdvi *m, struct command *ret)
{
	uint64_t words[2];

	if (m->commands.waiting) {
		*ret = (struct command){m->commands.wait_lo, m->commands.wait_hi};
		return true;
	}
	if (!vi_guestmem_load128(&m->unit->mem, address_of_head(m), words))
		return false;
	*ret = (struct command){words[0], words[1]};
	return true;
}

static void stop_without_memory(struct vi_amdvi *m, uint64_t address) VI_WITH(m->unit->lock)
{
	stop(m, AMDVI_COMMAND_HARDWARE_ERROR, vi_to_field(AMDVI_EVENT_TYPE, AMDVI_HARDWARE_MASTER_ABORT),
	     address, "the command buffer stopped: what a command is in, or stores to, is not memory");
}

/* One command; false: none, or not now. */
static bool step(struct vi_amdvi *m, int *ret_pending) VI_WITH(m->unit->lock)
{
	struct command c;

	if (!fetch(m, &c)) {
		stop_without_memory(m, address_of_head(m));
		return false;
	}
	switch (carry_out(m, &c)) {
	case ILLEGAL:
		stop(m, AMDVI_ILLEGAL_COMMAND_ERROR, 0, address_of_head(m),
		     "the command buffer stopped at an illegal command");
		return false;
	case NO_MEMORY:
		stop_without_memory(m, c.lo & AMDVI_WAIT_ADDR);
		return false;
	case LATER:
		m->commands.waiting = true;
		m->commands.wait_lo = c.lo;
		m->commands.wait_hi = c.hi;
		*ret_pending = VIOMMU_PROCESS_PENDING;
		return false;
	case DONE:
		break;
	}
	m->commands.waiting = false;
	m->commands.head = (m->commands.head + AMDVI_RING_ENTRY) % m->commands.ring.size;
	show_head(m);
	vi_count(&m->unit->counters, VI_COUNT_queue_descriptors, 1);
	return true;
}

/* A tail beyond the ring is never reached: the ring is gone round, as often as there is budget for. */
int vi_amdvi_commands_process(struct vi_amdvi *m, unsigned budget)
{
	unsigned n = 0;
	int pending = 0;

	while (m->commands.running) {
		uint32_t tail = vi_regs_load32(&m->pointers, AMDVI_CMD_TAIL) & (uint32_t)AMDVI_RING_POINTER;

		if (tail == m->commands.head && !m->commands.waiting)
			break;
		if (n == budget) {
			pending = VIOMMU_PROCESS_PENDING; /* the guest can keep a buffer full for ever */
			break;
		}
		if (!step(m, &pending))
			break;
		n++;
	}
	return (int)n | pending;
}
