/* SPDX-License-Identifier: BSD-3-Clause */
/* The event log, 2.5: a ring that the unit fills. */
#include "amdvi/amdvi.h"
#include "base/bits.h"

static uint32_t head(const struct vi_amdvi *m)
{
	return vi_regs_load32(&m->pointers, AMDVI_EVT_HEAD) & (uint32_t)AMDVI_RING_POINTER;
}

static void show_tail(struct vi_amdvi *m)
{
	vi_regs_store32(&m->pointers, AMDVI_EVT_TAIL, m->events.tail);
}

/* Whoever enables the log means it to run, also after an overflow; EventOverflow stays until it is cleared.
 */
void vi_amdvi_events_start(struct vi_amdvi *m)
{
	m->events.running = true;
	m->events.ring = vi_amdvi_ring(vi_regs_load64(&m->base, AMDVI_EVT_BASE));
	m->events.tail &= m->events.ring.size - 1;
	show_tail(m);
	vi_amdvi_status_show(m);
}

void vi_amdvi_events_stop(struct vi_amdvi *m)
{
	m->events.running = false;
	vi_amdvi_status_show(m);
}

/* While it runs the tail is the unit's. */
void vi_amdvi_events_tail_write(struct vi_amdvi *m, uint32_t value)
{
	if (!m->events.running)
		m->events.tail = value & (uint32_t)AMDVI_RING_POINTER;
	show_tail(m);
}

bool vi_amdvi_events_wait_for_guest(const struct vi_amdvi *m)
{
	return m->events.tail != head(m);
}

/* One entry stays free, as a ring of which head and tail are equal is empty. */
static bool is_full(const struct vi_amdvi *m)
{
	return (m->events.tail + AMDVI_RING_ENTRY) % m->events.ring.size == head(m);
}

/* The half with the code last: drivers wait until it is not 0. */
static bool store(const struct vi_amdvi *m, uint64_t lo, uint64_t hi)
{
	uint64_t gpa = m->events.ring.base + m->events.tail;

	return vi_guestmem_store64(&m->unit->mem, gpa + 8, hi) && vi_guestmem_store64(&m->unit->mem, gpa, lo);
}

/* A full log stops, until the guest disables and enables it (2.5.1). */
void vi_amdvi_event_record(struct vi_amdvi *m, uint64_t lo, uint64_t hi)
{
	bool full = m->events.running && is_full(m);

	if (!m->events.running || full || !store(m, lo, hi))
		vi_count(&m->unit->counters, VI_COUNT_faults_lost, 1);
	else
		vi_count(&m->unit->counters, VI_COUNT_faults_recorded, 1);
	if (full) {
		m->events.running = false;
		vi_amdvi_status_set(m, AMDVI_STATUS_EVENT_OVERFLOW);
	}
	if (!m->events.running)
		return;
	m->events.tail = (m->events.tail + AMDVI_RING_ENTRY) % m->events.ring.size;
	show_tail(m);
	vi_amdvi_status_set(m, AMDVI_STATUS_EVENT_INT);
}
