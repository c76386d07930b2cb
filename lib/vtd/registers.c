/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The register set. The first page can be polled: regs/page.h has the rules by
 * which each write is seen there. Fault records have one of their own, in
 * fault_record.c. What status holds up that a driver may have cleared unseen:
 *   PFO  Faults are recorded nevertheless, as soon as there is room, and the next
 *        one sends the fault event.
 *   IQE  The queue stands until a write is seen, since a driver that has not cleared
 *        IQE may be writing the descriptor at the head; the fault event comes again.
 *        A driver that enables the queue has written all that it wants to.
 *   IWC  The invalidation event comes after some looks, if another wait that asks for
 *        it was completed.
 * GCMD is write-only: a trapped read returns 0, a polled page shows TE and QIE.
 */
#include "base/bits.h"
#include "vtd/vtd.h"

#define SENTINEL 0x7fff0000u /* reserved in FSTS and ICS (11.4.7.1, 11.4.9.4) */

static void command_write(void *model, uint32_t value)
{
	struct vi_vtd *m = model;

	vi_lock_assert(&m->unit->lock);
	vi_vtd_command_write(m, value);
}

static void context_command_write(void *model, uint32_t value)
{
	struct vi_vtd *m = model;

	vi_lock_assert(&m->unit->lock);
	vi_vtd_context_command_write(m, value);
}

static void iotlb_command_write(void *model, uint32_t value)
{
	struct vi_vtd *m = model;

	vi_lock_assert(&m->unit->lock);
	vi_vtd_iotlb_command_write(m, value);
}

static void protect_write(void *model, uint32_t value)
{
	struct vi_vtd *m = model;

	vi_lock_assert(&m->unit->lock);
	vi_vtd_protect_write(m, value);
}

static void fault_status_write(void *model, uint32_t value)
{
	vi_vtd_fault_status_write(model, value);
}

static void wait_status_write(void *model, uint32_t value)
{
	vi_vtd_wait_status_write(model, value);
}

static void fault_control_write(void *model, uint32_t value)
{
	struct vi_vtd *m = model;

	vi_regs_interrupt_control_write(&m->fault_event, value);
}

static void queue_control_write(void *model, uint32_t value)
{
	struct vi_vtd *m = model;

	vi_regs_interrupt_control_write(&m->queue_event, value);
}

/* On the page the next command waits until the accesses in flight that the last one waits for are over. */
static bool is_command_busy(const void *model)
{
	const struct vi_vtd *m = model;

	return m->command_drain.active;
}

static bool is_fault_record(const void *model, unsigned offset)
{
	return vi_vtd_is_fault_record(model, offset);
}

#define READ_ONLY VI_REGS_READ_ONLY
#define PLAIN	  VI_REGS_PLAIN
#define COMMAND	  VI_REGS_COMMAND
#define CLEAR	  VI_REGS_CLEAR
#define LEVEL	  VI_REGS_LEVEL
#define ALL	  0xffffffffu

/* In the order of looking. */
static const struct vi_regs_word words[] = {
	{VTD_VER, READ_ONLY, 0, ALL, NULL},
	{VTD_CAP, READ_ONLY, 0, ALL, NULL},
	{VTD_CAP + 4, READ_ONLY, 0, ALL, NULL},
	{VTD_ECAP, READ_ONLY, 0, ALL, NULL},
	{VTD_ECAP + 4, READ_ONLY, 0, ALL, NULL},
	{VTD_GCMD, COMMAND, ALL, 0, command_write, .lasting = VTD_LASTING_COMMANDS,
	 .is_busy = is_command_busy},
	{VTD_GSTS, READ_ONLY, 0, ALL, NULL},
	{VTD_RTADDR, PLAIN, 0xfffffc00u, ALL, NULL},
	{VTD_RTADDR + 4, PLAIN, ALL, ALL, NULL},
	{VTD_CCMD, PLAIN, ALL, (uint32_t)VTD_CCMD_DID, NULL},
	{VTD_CCMD + 4, LEVEL, 0xe0000003u, 0xf8000000u, context_command_write},
	{VTD_FSTS, CLEAR, VTD_FSTS_PFO | VTD_FSTS_IQE | VTD_FSTS_ICE | VTD_FSTS_ITE, ~SENTINEL,
	 fault_status_write, SENTINEL},
	{VTD_FECTL, LEVEL, VTD_ECTL_IM, ALL, fault_control_write},
	{VTD_FEDATA, PLAIN, ALL, ALL, NULL},
	{VTD_FEADDR, PLAIN, ~3u, ALL, NULL},
	{VTD_FEUADDR, PLAIN, ALL, ALL, NULL},
	{VTD_PMEN, LEVEL, VTD_PMEN_EPM, ALL, protect_write},
	{VTD_PLMBASE, PLAIN, 0xffe00000u, ALL, NULL},
	{VTD_PLMLIMIT, PLAIN, 0xffe00000u, ALL, NULL},
	{VTD_PHMBASE, PLAIN, 0xffe00000u, ALL, NULL},
	{VTD_PHMBASE + 4, PLAIN, ALL, ALL, NULL},
	{VTD_PHMLIMIT, PLAIN, 0xffe00000u, ALL, NULL},
	{VTD_PHMLIMIT + 4, PLAIN, ALL, ALL, NULL},
	{VTD_IQH, READ_ONLY, 0, ALL, NULL},
	{VTD_IQH + 4, READ_ONLY, 0, ALL, NULL},
	{VTD_IQT, LEVEL, (uint32_t)VTD_IQT_QT, (uint32_t)VTD_IQT_QT, NULL},
	{VTD_IQT + 4, READ_ONLY, 0, ALL, NULL},
	{VTD_IQA, PLAIN, 0xfffff007u, ALL, NULL},
	{VTD_IQA + 4, PLAIN, ALL, ALL, NULL},
	{VTD_ICS, CLEAR, VTD_ICS_IWC, ~SENTINEL, wait_status_write, SENTINEL},
	{VTD_IECTL, LEVEL, VTD_ECTL_IM, ALL, queue_control_write},
	{VTD_IEDATA, PLAIN, ALL, ALL, NULL},
	{VTD_IEADDR, PLAIN, ~3u, ALL, NULL},
	{VTD_IEUADDR, PLAIN, ALL, ALL, NULL},
	{VTD_IQERCD, READ_ONLY, 0, ALL, NULL},
	{VTD_IQERCD + 4, READ_ONLY, 0, ALL, NULL},
	{VTD_IRO_OFFSET + VTD_IVA, PLAIN, ALL, 0, NULL},
	{VTD_IRO_OFFSET + VTD_IVA + 4, PLAIN, ALL, 0, NULL},
	{VTD_IRO_OFFSET + VTD_IOTLB + 4, LEVEL, 0xb003ffffu, 0xb603ffffu, iotlb_command_write},
};

static const struct vi_regs_layout layout = {words, VI_ARRAY_SIZE(words), is_fault_record};

void vi_vtd_regs_init(struct vi_vtd *m)
{
	vi_regs_init(&m->regs, &layout, m);
}

static void write_word(struct vi_vtd *m, unsigned offset, uint32_t value)
{
	if (vi_vtd_is_fault_record(m, offset))
		vi_vtd_fault_record_write(m, offset, value);
	else if (offset < VTD_PAGE_SIZE)
		vi_regs_write(&m->regs, offset, value);
}

static uint32_t read_word(const struct vi_vtd *m, unsigned offset)
{
	if (vi_vtd_is_fault_record(m, offset))
		return vi_vtd_fault_record_read(m, offset);
	return offset < VTD_PAGE_SIZE ? vi_regs_read(&m->regs, offset) : 0;
}

/* The guest may have written the page just before it trapped: that comes first. */
void vi_vtd_regs_read(void *state, uint64_t offset, unsigned size, uint64_t *ret_value)
{
	struct vi_vtd *m = state;

	vi_lock_assert(&m->unit->lock);
	vi_vtd_regs_poll(m);
	*ret_value = read_word(m, (unsigned)offset);
	if (size == 8)
		*ret_value |= (uint64_t)read_word(m, (unsigned)offset + 4) << 32;
}

#define STEPS_OF_A_TRAP 256

void vi_vtd_regs_write(void *state, uint64_t offset, unsigned size, uint64_t value)
{
	struct vi_vtd *m = state;

	vi_lock_assert(&m->unit->lock);
	vi_vtd_regs_poll(m);
	write_word(m, (unsigned)offset, (uint32_t)value);
	if (size == 8)
		write_word(m, (unsigned)offset + 4, (uint32_t)(value >> 32));
	if (vi_vtd_model_process(m, STEPS_OF_A_TRAP) & VIOMMU_PROCESS_PENDING)
		vi_kick(m->unit);
}

int vi_vtd_regs_poll(struct vi_vtd *m)
{
	return vi_regs_poll(&m->regs) + vi_vtd_fault_records_poll(m);
}

void vi_vtd_regs_share(void *state, unsigned which, void *page)
{
	struct vi_vtd *m = state;

	(void)which; /* there is one */
	vi_lock_assert(&m->unit->lock);
	vi_vtd_regs_poll(m);
	vi_regs_share(&m->regs, page);
}

void vi_vtd_regs_reset(struct vi_vtd *m)
{
	vi_regs_reset(&m->regs);
	vi_regs_store32(&m->regs, VTD_VER, VTD_VER_1_0);
	vi_regs_store64(&m->regs, VTD_CAP, m->cap);
	vi_regs_store64(&m->regs, VTD_ECAP, m->ecap);
	vi_regs_interrupt_reset(&m->fault_event);
	vi_regs_interrupt_reset(&m->queue_event);
}
