/* SPDX-License-Identifier: BSD-3-Clause */
/* Registers, device table, start-up and events; commands are in amdvi_commands.c. */
#include "driver/amdvi.h"

#include <errno.h>

#include "base/bits.h"
#include "spec/amdvi_queues.h"
#include "spec/amdvi_registers.h"
#include "spec/amdvi_tables.h"

#define PAGE	      4096u
#define POINTER(name) (AMDVI_POINTERS + AMDVI_##name)

uint64_t vi_driver_amdvi_read(const struct vi_driver_amdvi *d, uint64_t offset, unsigned size)
{
	return d->regs.read(d->regs.arg, offset, size);
}

void vi_driver_amdvi_write(const struct vi_driver_amdvi *d, uint64_t offset, unsigned size, uint64_t value)
{
	d->regs.write(d->regs.arg, offset, size, value);
}

void vi_driver_amdvi_init(struct vi_driver_amdvi *d, const struct vi_driver_regs *regs,
			  struct vi_driver_memory *memory)
{
	*d = (struct vi_driver_amdvi){.regs = *regs, .memory = memory};
	d->efr = vi_driver_amdvi_read(d, AMDVI_EFR, 8);
}

void vi_driver_amdvi_control(struct vi_driver_amdvi *d, uint64_t bits, bool set)
{
	d->control = set ? d->control | bits : d->control & ~bits;
	vi_driver_amdvi_write(d, AMDVI_CONTROL, 8, d->control);
}

void vi_driver_amdvi_restart_commands(struct vi_driver_amdvi *d)
{
	vi_driver_amdvi_control(d, AMDVI_CONTROL_CMD_BUF_EN, false);
	d->tail = 0;
	vi_driver_amdvi_write(d, POINTER(CMD_HEAD), 4, 0);
	vi_driver_amdvi_write(d, POINTER(CMD_TAIL), 4, 0);
	vi_driver_amdvi_control(d, AMDVI_CONTROL_CMD_BUF_EN, true);
}

void vi_driver_amdvi_restart_events(struct vi_driver_amdvi *d)
{
	vi_driver_amdvi_control(d, AMDVI_CONTROL_EVENT_LOG_EN, false);
	vi_driver_amdvi_write(d, POINTER(STATUS), 4, AMDVI_STATUS_EVENT_OVERFLOW);
	vi_driver_amdvi_control(d, AMDVI_CONTROL_EVENT_LOG_EN, true);
}

/* What a start that failed has got is kept for the next one. */
static bool make_page(struct vi_driver_amdvi *d, uint64_t *io_gpa)
{
	if (!*io_gpa)
		*io_gpa = vi_driver_page_alloc(d->memory);
	return *io_gpa;
}

static int make_memory(struct vi_driver_amdvi *d)
{
	if (!d->device_table)
		d->device_table =
			vi_driver_pages_alloc(d->memory, VI_DRIVER_AMDVI_DEVICES * AMDVI_DTE_SIZE / PAGE);
	return d->device_table && make_page(d, &d->commands) && make_page(d, &d->events) &&
			       make_page(d, &d->status)
		       ? 0
		       : -ENOMEM;
}

int vi_driver_amdvi_start(struct vi_driver_amdvi *d)
{
	uint64_t len = vi_to_field(AMDVI_RING_LEN, AMDVI_RING_LEN_MIN);
	int ret = make_memory(d);

	if (ret)
		return ret;
	vi_driver_amdvi_write(d, AMDVI_DEV_TAB_BASE, 8,
			      d->device_table | (VI_DRIVER_AMDVI_DEVICES * AMDVI_DTE_SIZE / PAGE - 1));
	vi_driver_amdvi_write(d, AMDVI_CMD_BASE, 8, d->commands | len);
	vi_driver_amdvi_write(d, AMDVI_EVT_BASE, 8, d->events | len);
	vi_driver_amdvi_restart_commands(d);
	vi_driver_amdvi_write(d, POINTER(EVT_HEAD), 4, 0);
	vi_driver_amdvi_write(d, POINTER(EVT_TAIL), 4, 0);
	vi_driver_amdvi_control(d, AMDVI_CONTROL_EVENT_LOG_EN, true);
	vi_driver_amdvi_control(d, AMDVI_CONTROL_IOMMU_EN, true);
	return vi_driver_amdvi_flush_all(d);
}

static uint64_t entry_of(const struct vi_driver_amdvi *d, uint16_t rid)
{
	return d->device_table + rid * (uint64_t)AMDVI_DTE_SIZE;
}

void vi_driver_amdvi_set_entry(struct vi_driver_amdvi *d, uint16_t rid, uint64_t word0, uint64_t word1)
{
	vi_driver_store64(d->memory, entry_of(d, rid) + 8, word1);
	vi_driver_store64(d->memory, entry_of(d, rid), word0);
}

void vi_driver_amdvi_set_interrupts(struct vi_driver_amdvi *d, uint16_t rid, uint64_t word2, uint64_t word3)
{
	vi_driver_store64(d->memory, entry_of(d, rid) + 24, word3);
	vi_driver_store64(d->memory, entry_of(d, rid) + 16, word2);
}

static int flush_entry(struct vi_driver_amdvi *d, uint16_t rid, uint16_t domain_id)
{
	int ret = vi_driver_amdvi_flush_device(d, rid);

	return ret ? ret : vi_driver_amdvi_flush_domain(d, domain_id);
}

int vi_driver_amdvi_attach(struct vi_driver_amdvi *d, uint16_t rid, uint16_t domain_id,
			   const struct vi_driver_page_table *table)
{
	uint64_t word = table ? table->table.root | vi_to_field(AMDVI_DTE_MODE, table->table.levels) : 0;

	vi_driver_amdvi_set_entry(d, rid, word | AMDVI_DTE_V | AMDVI_DTE_TV | AMDVI_DTE_IR | AMDVI_DTE_IW,
				  domain_id);
	return flush_entry(d, rid, domain_id);
}

int vi_driver_amdvi_detach(struct vi_driver_amdvi *d, uint16_t rid, uint16_t domain_id)
{
	vi_driver_amdvi_set_entry(d, rid, AMDVI_DTE_V | AMDVI_DTE_TV, 0);
	return flush_entry(d, rid, domain_id);
}

int vi_driver_amdvi_table_init(struct vi_driver_amdvi *d, struct vi_driver_page_table *p, unsigned levels)
{
	return vi_driver_page_table_init(p, &vi_pgtable_amd_v1, levels, 52, 0x3e, d->memory);
}

bool vi_driver_amdvi_next_event(struct vi_driver_amdvi *d, struct vi_driver_amdvi_event *ret_event)
{
	uint32_t tail = (uint32_t)vi_driver_amdvi_read(d, POINTER(EVT_TAIL), 4);
	uint64_t entry = d->events + d->event_head;

	if (d->event_head == tail)
		return false;
	ret_event->lo = vi_driver_load64(d->memory, entry);
	ret_event->hi = vi_driver_load64(d->memory, entry + 8);
	vi_driver_store64(d->memory, entry, 0);
	d->event_head = (d->event_head + AMDVI_RING_ENTRY) % VI_DRIVER_AMDVI_RING;
	vi_driver_amdvi_write(d, POINTER(EVT_HEAD), 4, d->event_head);
	return true;
}
