/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Fault recording registers (11.4.7.6) as the guest sees them. m->records is
 * the truth. When the records fit on the first page they are shown there, and a
 * guest that writes the page itself clears F (write 1 to clear) without our
 * noticing. Why polling is enough:
 *
 * Each clear is seen. F shares its word with the reason of the fault, which is
 * never 0. Drivers write F and nothing else, in 4 bytes or 8, so the word
 * differs from what was shown until a look takes it, by the exchange of
 * vi_regs_show(). A driver that writes back what it has read leaves no trace:
 * its record stays pending until it writes the constant. Trapped registers have
 * no such limit.
 *
 * What is written into a free slot clears nothing. A slot is filled only when its
 * clear has been seen, and what lies in a free slot means nothing, so publishing
 * overwrites it unread. One case is left: a driver that comes round the ring
 * between two looks reads the F that it has written itself, and should the look
 * and the next fault come before it writes F again, it clears that fault unread,
 * which counts as recorded. It reads FR 0 there, the reason of no fault; one that
 * stops at FR 0 loses nothing.
 *
 * No event is lost. A clear may be seen only after the next fault has been
 * recorded, which then found an older one pending and sent no event, while the
 * driver had looked already and gone. So a look that finds clears and leaves
 * something pending sends the event again: FRI names the oldest that is left.
 * The driver may have seen it, then the event is spurious and finds nothing.
 * Trapped clears need that at one place only. A driver goes from FRI on until a
 * record has no F, and while the pending ones are one run it finds them all. They
 * are more than one when translation went off with a record pending, since the
 * next fault goes to record 0 then (7.2.1). So a clear that ends a run while
 * something is pending elsewhere sends the event again.
 *
 * A driver's loop over the ring ends. Until the look F reads as 1, also where
 * the driver has just cleared it, and one that comes round writes it again,
 * perhaps after the look. While a record is pending each look goes over all of
 * them, otherwise over one, in turn, so an F that belongs to no fault is gone
 * after as many looks as there are records.
 */
#include "base/bits.h"
#include "vtd/vtd.h"

#define TOP   (VTD_FRCD_HI + 4) /* the word with F */
#define TOP_F ((uint32_t)(VTD_FRCD_HI_F >> 32))

struct record {
	struct vi_vtd *m;
	unsigned i;
};

static unsigned offset_of(const struct vi_vtd *m, unsigned i)
{
	return m->fault_record_offset + i * VTD_FRCD_SIZE;
}

static bool on_page(const struct vi_vtd *m)
{
	return m->fault_record_offset < VTD_PAGE_SIZE;
}

static uint32_t top_word(void *arg)
{
	const struct record *r = arg;

	return (uint32_t)(r->m->records[r->i].hi >> 32);
}

static void take_top_word(void *arg, uint32_t written)
{
	const struct record *r = arg;

	if (!(written & TOP_F) || !(r->m->records[r->i].hi & VTD_FRCD_HI_F))
		return;
	r->m->records[r->i].hi &= ~VTD_FRCD_HI_F;
	r->m->pending_records--;
}

/* True: the guest had written it. */
static bool look(struct vi_vtd *m, unsigned i)
{
	unsigned at = offset_of(m, i);
	uint64_t lo = vi_regs_load64(&m->regs, at), hi = vi_regs_load64(&m->regs, at + VTD_FRCD_HI);
	struct record r = {m, i};

	if (lo == m->records[i].lo && hi == m->records[i].hi)
		return false;
	/* Taken before anything is shown: a driver that has cleared F must not see it come back. */
	vi_regs_took(&m->regs, at + TOP, (uint32_t)(hi >> 32));
	if (hi >> 32 != m->records[i].hi >> 32)
		take_top_word(&r, (uint32_t)(hi >> 32));
	vi_regs_store64(&m->regs, at, m->records[i].lo);
	vi_regs_store32(&m->regs, at + VTD_FRCD_HI, (uint32_t)m->records[i].hi);
	vi_regs_show(&m->regs, at + TOP, top_word, take_top_word, &r);
	return true;
}

int vi_vtd_fault_records_poll(struct vi_vtd *m)
{
	unsigned pending = m->pending_records, looks = pending ? m->fault_record_count : 1;
	int n = 0;

	if (!on_page(m) || !vi_regs_is_shared(&m->regs))
		return 0;
	for (; looks > 0; looks--) {
		n += look(m, m->record_to_look_at);
		if (++m->record_to_look_at == m->fault_record_count)
			m->record_to_look_at = 0;
	}
	if (m->pending_records != pending)
		vi_vtd_fault_records_cleared(m);
	return n;
}

/* F last: who sees it sees the rest. */
void vi_vtd_fault_record_publish(struct vi_vtd *m, unsigned i)
{
	unsigned at = offset_of(m, i);

	if (!on_page(m))
		return;
	vi_regs_store64(&m->regs, at, m->records[i].lo);
	vi_regs_store32(&m->regs, at + VTD_FRCD_HI, (uint32_t)m->records[i].hi);
	vi_regs_store32(&m->regs, at + TOP, (uint32_t)(m->records[i].hi >> 32));
}

bool vi_vtd_is_fault_record(const struct vi_vtd *m, unsigned offset)
{
	return offset >= offset_of(m, 0) && offset < offset_of(m, m->fault_record_count);
}

void vi_vtd_fault_record_write(struct vi_vtd *m, unsigned offset, uint32_t value)
{
	struct record r = {m, (offset - offset_of(m, 0)) / VTD_FRCD_SIZE};
	unsigned pending = m->pending_records;

	if (offset != offset_of(m, r.i) + TOP)
		return;
	take_top_word(&r, value);
	if (m->pending_records == pending)
		return;
	if (on_page(m))
		look(m, r.i);
	if (m->pending_records > 0 && !(m->records[(r.i + 1) % m->fault_record_count].hi & VTD_FRCD_HI_F))
		vi_vtd_fault_records_cleared(m);
	else
		vi_vtd_fault_status_show(m);
}

uint32_t vi_vtd_fault_record_read(const struct vi_vtd *m, unsigned offset)
{
	unsigned i = (offset - offset_of(m, 0)) / VTD_FRCD_SIZE;
	uint64_t half = (offset - offset_of(m, i)) < VTD_FRCD_HI ? m->records[i].lo : m->records[i].hi;

	return (uint32_t)(offset % 8 ? half >> 32 : half);
}
