/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The register set, 3.4. The page of heads and tails can be polled: regs/page.h has
 * the rules by which each write is seen there. All other registers are trapped.
 *
 * The head of the command buffer and the tail of the event log are the unit's while
 * it runs them, and the guest's while it does not. The guest sets them and then
 * enables by AMDVI_CONTROL, which is trapped, so that they are looked at before.
 */
#include "amdvi/amdvi.h"
#include "base/bits.h"

#define SENTINEL 0x7ff80000u /* reserved in AMDVI_STATUS */

struct vi_amdvi_ring vi_amdvi_ring(uint64_t base_register)
{
	uint64_t len = vi_max(vi_field(base_register, AMDVI_RING_LEN), AMDVI_RING_LEN_MIN);

	return (struct vi_amdvi_ring){.base = base_register & AMDVI_RING_ADDR,
				      .size = AMDVI_RING_ENTRY << len};
}

/*
 * What devices are translated by has changed. A drain that is active began before
 * this change, so accesses that began since may go by what was before it: another
 * one begins, which waits for all of them.
 */
static void drop_everything(struct vi_amdvi *m) VI_WITH(m->unit->lock)
{
	m->control_drain = (struct vi_drain){.active = false};
	vi_context_drop_all(m->unit, &m->control_drain);
	vi_iotlb_invalidate_all(m->unit, &m->control_drain);
	vi_drain_begin(m->unit, &m->control_drain);
}

static void latch_device_tables(struct vi_amdvi *m)
{
	atomic_store_explicit(&m->device_table[0], vi_regs_load64(&m->base, AMDVI_DEV_TAB_BASE),
			      memory_order_release);
	for (unsigned i = 1; i < AMDVI_DEV_TAB_SEGMENTS_MOST; i++)
		atomic_store_explicit(&m->device_table[i], vi_regs_load64(&m->base, AMDVI_DEV_TAB_SEGMENT(i)),
				      memory_order_release);
}

/* Cached contexts stay, as in hardware, until the guest invalidates them. */
static void device_table_write(void *model, uint32_t value)
{
	(void)value;
	latch_device_tables(model);
}

static void latch_exclusion(struct vi_amdvi *m)
{
	atomic_store_explicit(&m->exclusion_base, vi_regs_load64(&m->base, AMDVI_EXCL_BASE),
			      memory_order_release);
	atomic_store_explicit(&m->exclusion_limit, vi_regs_load64(&m->base, AMDVI_EXCL_LIMIT),
			      memory_order_release);
}

/* No command invalidates what was cached of an exclusion range, so the write does. */
static void exclusion_write(void *model, uint32_t value)
{
	struct vi_amdvi *m = model;

	(void)value;
	vi_lock_assert(&m->unit->lock);
	latch_exclusion(m);
	drop_everything(m);
}

static bool has(uint64_t control, uint64_t bits)
{
	return (control & bits) == bits;
}

#define RUN_COMMANDS (AMDVI_CONTROL_IOMMU_EN | AMDVI_CONTROL_CMD_BUF_EN)
#define RUN_EVENTS   (AMDVI_CONTROL_IOMMU_EN | AMDVI_CONTROL_EVENT_LOG_EN)

static void set_rings(struct vi_amdvi *m, uint64_t before, uint64_t now) VI_WITH(m->unit->lock)
{
	if (has(now, RUN_COMMANDS) && !has(before, RUN_COMMANDS))
		vi_amdvi_commands_start(m);
	if (has(before, RUN_COMMANDS) && !has(now, RUN_COMMANDS))
		vi_amdvi_commands_stop(m);
	if (has(now, RUN_EVENTS) && !has(before, RUN_EVENTS))
		vi_amdvi_events_start(m);
	if (has(before, RUN_EVENTS) && !has(now, RUN_EVENTS))
		vi_amdvi_events_stop(m);
}

static void control_write(void *model, uint32_t value)
{
	struct vi_amdvi *m = model;
	uint64_t before = vi_amdvi_control(m), now = vi_regs_load64(&m->base, AMDVI_CONTROL),
		 set = now & ~before;

	(void)value;
	vi_lock_assert(&m->unit->lock);
	atomic_store_explicit(&m->control, now, memory_order_release);
	if ((before ^ now) & (AMDVI_CONTROL_IOMMU_EN | AMDVI_CONTROL_DEV_TAB_SEG_EN))
		drop_everything(m);
	set_rings(m, before, now);
	if (set & AMDVI_CONTROL_EVENT_INT_EN)
		vi_amdvi_interrupt_enabled(m, AMDVI_STATUS_EVENT_OVERFLOW | AMDVI_STATUS_EVENT_INT);
	if (set & AMDVI_CONTROL_COM_WAIT_INT_EN)
		vi_amdvi_interrupt_enabled(m, AMDVI_STATUS_COM_WAIT_INT);
	vi_count(&m->unit->counters, VI_COUNT_commands, 1);
	vi_count(&m->unit->counters, VI_COUNT_translation_enables, (set & AMDVI_CONTROL_IOMMU_EN) != 0);
}

static void vector_write(void *model, uint32_t value)
{
	(void)value;
	vi_amdvi_interrupt_vector_written(model);
}

static void command_head_write(void *model, uint32_t value)
{
	vi_amdvi_commands_head_write(model, value);
}

static void event_tail_write(void *model, uint32_t value)
{
	vi_amdvi_events_tail_write(model, value);
}

static void status_write(void *model, uint32_t value)
{
	vi_amdvi_status_write(model, value);
}

#define READ_ONLY VI_REGS_READ_ONLY
#define PLAIN	  VI_REGS_PLAIN
#define CLEAR	  VI_REGS_CLEAR
#define LEVEL	  VI_REGS_LEVEL
#define ALL	  0xffffffffu
#define HIGH	  0x000fffffu /* of an address */

#define CONTROL_LO 0x00021fffu /* what is offered, and what means nothing outside of HyperTransport */
#define CONTROL_HI ((uint32_t)((AMDVI_CONTROL_DEV_TAB_SEG_EN | CONTROL_XT) >> 32))
#define CONTROL_XT (AMDVI_CONTROL_XT_EN | AMDVI_CONTROL_INT_CAP_XT_EN)

#define ADDRESS(offset, low, on_write)                                                                       \
	{(offset), LEVEL, (low), ALL, (on_write)},                                                           \
	{                                                                                                    \
		(offset) + 4, LEVEL, HIGH, ALL, (on_write)                                                   \
	}
#define SEGMENT(i) ADDRESS(AMDVI_DEV_TAB_SEGMENT(i), 0xfffff0ffu, device_table_write)

static const struct vi_regs_word base_words[] = {
	ADDRESS(AMDVI_DEV_TAB_BASE, 0xfffff1ffu, device_table_write),
	{AMDVI_CMD_BASE, PLAIN, 0xfffff000u, ALL, NULL},
	{AMDVI_CMD_BASE + 4, PLAIN, 0x0f0fffffu, ALL, NULL},
	{AMDVI_EVT_BASE, PLAIN, 0xfffff000u, ALL, NULL},
	{AMDVI_EVT_BASE + 4, PLAIN, 0x0f0fffffu, ALL, NULL},
	{AMDVI_CONTROL, LEVEL, CONTROL_LO, ALL, control_write},
	{AMDVI_CONTROL + 4, LEVEL, CONTROL_HI, ALL, control_write},
	ADDRESS(AMDVI_EXCL_BASE, 0xfffff003u, exclusion_write),
	ADDRESS(AMDVI_EXCL_LIMIT, 0xfffff000u, exclusion_write),
	{AMDVI_EFR, READ_ONLY, 0, ALL, NULL},
	{AMDVI_EFR + 4, READ_ONLY, 0, ALL, NULL},
	SEGMENT(1),
	SEGMENT(2),
	SEGMENT(3),
	SEGMENT(4),
	SEGMENT(5),
	SEGMENT(6),
	SEGMENT(7),
	{AMDVI_MSI_ADDRESS, PLAIN, ~3u, ALL, NULL},
	{AMDVI_MSI_UPPER_ADDRESS, PLAIN, ALL, ALL, NULL},
	{AMDVI_MSI_DATA, PLAIN, 0xffffu, ALL, NULL},
	{AMDVI_XT_INTERRUPT, LEVEL, 0xffffff04u, ALL, vector_write},
	{AMDVI_XT_INTERRUPT + 4, LEVEL, 0xff0001ffu, ALL, vector_write},
	{AMDVI_EFR2, READ_ONLY, 0, ALL, NULL},
	{AMDVI_EFR2 + 4, READ_ONLY, 0, ALL, NULL},
};

#define POINTER ((uint32_t)AMDVI_RING_POINTER)
#define UPPER(offset)                                                                                        \
	{                                                                                                    \
		(offset) + 4, READ_ONLY, 0, ALL, NULL                                                        \
	}

/* In the order of looking. */
static const struct vi_regs_word pointer_words[] = {
	{AMDVI_CMD_HEAD, LEVEL, POINTER, POINTER, command_head_write},
	UPPER(AMDVI_CMD_HEAD),
	{AMDVI_CMD_TAIL, LEVEL, POINTER, POINTER, NULL},
	UPPER(AMDVI_CMD_TAIL),
	{AMDVI_EVT_HEAD, LEVEL, POINTER, POINTER, NULL},
	UPPER(AMDVI_EVT_HEAD),
	{AMDVI_EVT_TAIL, LEVEL, POINTER, POINTER, event_tail_write},
	UPPER(AMDVI_EVT_TAIL),
	{AMDVI_STATUS, CLEAR, AMDVI_STATUS_RW1C, ~SENTINEL, status_write, SENTINEL},
	UPPER(AMDVI_STATUS),
};

static const struct vi_regs_layout base_layout = {base_words, VI_ARRAY_SIZE(base_words), NULL},
				   pointer_layout = {pointer_words, VI_ARRAY_SIZE(pointer_words), NULL};

void vi_amdvi_regs_init(struct vi_amdvi *m)
{
	vi_regs_init(&m->base, &base_layout, m);
	vi_regs_init(&m->pointers, &pointer_layout, m);
}

/* Bits of features that EFR does not offer stay 0. */
static uint64_t offered(const struct vi_amdvi *m)
{
	uint64_t bits = (uint64_t)CONTROL_HI << 32 | CONTROL_LO;

	return m->efr & AMDVI_EFR_XT_SUP ? bits : bits & ~CONTROL_XT;
}

static uint32_t offered_bits(const struct vi_amdvi *m, uint64_t offset, uint32_t value)
{
	return offset == AMDVI_CONTROL + 4 ? value & (uint32_t)(offered(m) >> 32) : value;
}

static void write_word(struct vi_amdvi *m, uint64_t offset, uint32_t value)
{
	if (offset < VI_REGS_PAGE_SIZE)
		vi_regs_write(&m->base, (unsigned)offset, offered_bits(m, offset, value));
	else if (offset >= AMDVI_POINTERS && offset < AMDVI_POINTERS + VI_REGS_PAGE_SIZE)
		vi_regs_write(&m->pointers, (unsigned)(offset - AMDVI_POINTERS), value);
}

static uint32_t read_word(const struct vi_amdvi *m, uint64_t offset)
{
	if (offset < VI_REGS_PAGE_SIZE)
		return vi_regs_read(&m->base, (unsigned)offset);
	if (offset >= AMDVI_POINTERS && offset < AMDVI_POINTERS + VI_REGS_PAGE_SIZE)
		return vi_regs_read(&m->pointers, (unsigned)(offset - AMDVI_POINTERS));
	return 0;
}

/* The guest may have written the page just before it trapped: that comes first. */
void vi_amdvi_regs_read(void *state, uint64_t offset, unsigned size, uint64_t *ret_value)
{
	struct vi_amdvi *m = state;

	vi_lock_assert(&m->unit->lock);
	vi_regs_poll(&m->pointers);
	*ret_value = read_word(m, offset);
	if (size == 8)
		*ret_value |= (uint64_t)read_word(m, offset + 4) << 32;
}

#define STEPS_OF_A_TRAP 256

void vi_amdvi_regs_write(void *state, uint64_t offset, unsigned size, uint64_t value)
{
	struct vi_amdvi *m = state;

	vi_lock_assert(&m->unit->lock);
	vi_regs_poll(&m->pointers);
	write_word(m, offset, (uint32_t)value);
	if (size == 8)
		write_word(m, offset + 4, (uint32_t)(value >> 32));
	if (vi_amdvi_model_process(m, STEPS_OF_A_TRAP) & VIOMMU_PROCESS_PENDING)
		vi_kick(m->unit);
}

void vi_amdvi_regs_share(void *state, unsigned which, void *page)
{
	struct vi_amdvi *m = state;

	(void)which; /* there is one */
	vi_lock_assert(&m->unit->lock);
	vi_regs_poll(&m->pointers);
	vi_regs_share(&m->pointers, page);
}

void vi_amdvi_regs_reset(struct vi_amdvi *m)
{
	vi_regs_reset(&m->base);
	vi_regs_reset(&m->pointers);
	vi_regs_store64(&m->base, AMDVI_EFR, m->efr);
	vi_amdvi_regs_latch(m);
}

void vi_amdvi_regs_latch(struct vi_amdvi *m)
{
	vi_regs_store64(&m->base, AMDVI_CONTROL, vi_regs_load64(&m->base, AMDVI_CONTROL) & offered(m));
	latch_device_tables(m);
	latch_exclusion(m);
	atomic_store(&m->control, vi_regs_load64(&m->base, AMDVI_CONTROL));
}
