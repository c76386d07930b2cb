/* SPDX-License-Identifier: BSD-3-Clause */
/* The model as core sees it: capabilities, creation, reset, one round of work. */
#include "vtd/vtd.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"

#define DEFAULT_FAULT_RECORDS 16
#define DOMAINS_2_16	      6	 /* CAP.ND: 16-bit domain ids */
#define MAX_ADDRESS_MASK      18 /* CAP.MAMV: one page-selective invalidation covers up to 1 GiB */

static uint64_t capabilities(const struct vi_vtd *m, const struct viommu_vtd_options *o)
{
	uint64_t page_sizes =
		(o->no_2mib ? 0 : VTD_SSLPS_2MIB) | (o->no_2mib || o->no_1gib ? 0 : VTD_SSLPS_1GIB);

	return vi_to_field(VTD_CAP_ND, DOMAINS_2_16) | VTD_CAP_PLMR | VTD_CAP_PHMR |
	       (o->caching_mode ? VTD_CAP_CM : 0) |
	       vi_to_field(VTD_CAP_SAGAW, VTD_SAGAW_39BIT | (o->only_39bit ? 0 : VTD_SAGAW_48BIT)) |
	       vi_to_field(VTD_CAP_MGAW, m->guest_address_width - 1u) | VTD_CAP_ZLR |
	       vi_to_field(VTD_CAP_FRO, m->fault_record_offset / 16u) |
	       vi_to_field(VTD_CAP_SSLPS, page_sizes) | VTD_CAP_PSI |
	       vi_to_field(VTD_CAP_NFR, m->fault_record_count - 1u) |
	       vi_to_field(VTD_CAP_MAMV, MAX_ADDRESS_MASK) | VTD_CAP_DWD | VTD_CAP_DRD;
}

static uint64_t extended_capabilities(const struct viommu_vtd_options *o)
{
	return VTD_ECAP_C | VTD_ECAP_QI | (o->no_pass_through ? 0 : VTD_ECAP_PT) |
	       vi_to_field(VTD_ECAP_IRO, VTD_IRO_OFFSET / 16);
}

static void reset(void *state)
{
	struct vi_vtd *m = state;
	struct vi_fault dropped;

	atomic_store(&m->translating, false);
	atomic_store(&m->protecting, false);
	atomic_store(&m->root, 0);
	m->gsts = m->completes = 0;
	m->has_next_command = m->context_busy = m->iotlb_busy = m->protect_busy = false;
	m->queue_error = 0;
	m->command_drain = m->context_drain = m->iotlb_drain = m->protect_drain = (struct vi_drain){0};
	m->queue = (struct vi_vtd_queue){.enabled = false};
	m->wait_completed = m->wait_again = false;
	m->wait_reminder = m->error_reminder = (struct vi_regs_reminder){0};
	m->fault_status = 0;
	m->first_pending = m->next_record = 0;
	m->pending_records = 0;
	memset(m->records, 0, sizeof(m->records));
	while (vi_fault_queue_pop(&m->unit->faults, &dropped))
		;
	vi_vtd_regs_reset(m);
}

static const struct vi_regs_interrupt_words fault_event = {.control = VTD_FECTL,
							   .data = VTD_FEDATA,
							   .address = VTD_FEADDR,
							   .upper_address = VTD_FEUADDR,
							   .mask = VTD_ECTL_IM,
							   .pending = VTD_ECTL_IP};
static const struct vi_regs_interrupt_words queue_event = {.control = VTD_IECTL,
							   .data = VTD_IEDATA,
							   .address = VTD_IEADDR,
							   .upper_address = VTD_IEUADDR,
							   .mask = VTD_ECTL_IM,
							   .pending = VTD_ECTL_IP};

static int init(struct viommu *v, const void *options, void **ret_state)
{
	const struct viommu_vtd_options *given = options;
	struct viommu_vtd_options own = {.sz = sizeof(own)}, *o = &own;
	int err = given ? vi_options_copy(o, sizeof(*o), given, given->sz) : 0;
	struct vi_vtd *m;

	if (err)
		return err;
	m = aligned_alloc(_Alignof(struct vi_vtd), sizeof(*m));
	if (!m)
		return -ENOMEM;
	memset(m, 0, sizeof(*m));
	m->unit = v;
	m->fault_record_count = o->fault_records ? o->fault_records : DEFAULT_FAULT_RECORDS;
	m->fault_record_offset =
		m->fault_record_count <= VTD_RECORDS_ON_PAGE ? VTD_FRO_OFFSET : VTD_FRO_SECOND_PAGE;
	m->guest_address_width = o->only_39bit ? 39 : 48;
	m->leaf_levels =
		(uint8_t)(1u << 1 | (o->no_2mib ? 0 : 1u << 2) | (o->no_2mib || o->no_1gib ? 0 : 1u << 3));
	m->cap = capabilities(m, o);
	m->ecap = extended_capabilities(o);
	vi_vtd_regs_init(m);
	m->fault_event = (struct vi_regs_interrupt){.unit = v, .page = &m->regs, .words = &fault_event};
	m->queue_event = (struct vi_regs_interrupt){.unit = v, .page = &m->regs, .words = &queue_event};
	reset(m);
	*ret_state = m;
	return 0;
}

static void finish(void *state)
{
	free(state);
}

/* Commands and invalidations through registers. */
static int process_registers(struct vi_vtd *m)
{
	static int (*const parts[])(struct vi_vtd * m) = {vi_vtd_command_process, vi_vtd_protect_process,
							  vi_vtd_invalidation_register_process};
	int done = vi_vtd_regs_poll(m), pending = 0;

	for (unsigned i = 0; i < VI_ARRAY_SIZE(parts); i++) {
		int part = parts[i](m);

		done += part & ~VIOMMU_PROCESS_PENDING;
		pending |= part & VIOMMU_PROCESS_PENDING;
	}
	return done | pending;
}

/*
 * Registers come before the queue, so that a queue that never ends cannot keep
 * the guest from switching it off. Faults get half of the budget at most, so
 * that neither starves the other.
 */
static int process_all(struct vi_vtd *m, unsigned budget) VI_WITH(m->unit->lock)
{
	int registers = process_registers(m);
	int faults = vi_vtd_fault_process(m, budget - budget / 2);
	int queue = vi_vtd_queue_process(m, budget - (unsigned)faults);
	int pending = (registers | queue) & VIOMMU_PROCESS_PENDING;

	if (!vi_fault_queue_is_empty(&m->unit->faults))
		pending = VIOMMU_PROCESS_PENDING;
	return ((registers & ~VIOMMU_PROCESS_PENDING) + faults + (queue & ~VIOMMU_PROCESS_PENDING)) | pending;
}

int vi_vtd_model_process(void *state, unsigned budget)
{
	struct vi_vtd *m = state;

	vi_lock_assert(&m->unit->lock);
	return process_all(m, budget);
}

bool vi_vtd_model_settle(void *state)
{
	struct vi_vtd *m = state;
	bool pending;

	vi_lock_assert(&m->unit->lock);
	pending = process_registers(m) & VIOMMU_PROCESS_PENDING;
	vi_vtd_fault_process(m, VI_FAULT_QUEUE_SIZE);
	if (m->queue.waiting)
		vi_vtd_queue_process(m, 1);
	return pending || m->queue.waiting;
}

static size_t registers_size(const void *state)
{
	const struct vi_vtd *m = state;

	return m->fault_record_offset < VTD_PAGE_SIZE ? VTD_PAGE_SIZE : 2 * VTD_PAGE_SIZE;
}

/* Records on a second page stay trapped. */
static const struct vi_regs_pollable pollable[] = {{.offset = 0, .length = VTD_PAGE_SIZE, .writable = true}};

const struct vi_model_ops vi_vtd_model = {
	.init = init,
	.finish = finish,
	.reset = reset,
	.state_number = 1,
	.state = vi_vtd_state,
	.restore = vi_vtd_restore,
	.regs_size = registers_size,
	.regs_read = vi_vtd_regs_read,
	.regs_write = vi_vtd_regs_write,
	.regs_pollable = pollable,
	.regs_pollable_count = VI_ARRAY_SIZE(pollable),
	.regs_share = vi_vtd_regs_share,
	.process = vi_vtd_model_process,
	.settle = vi_vtd_model_settle,
	.resolve = vi_vtd_resolve,
	.describe = vi_vtd_describe,
	.check_request = vi_vtd_check_request,
	.is_protected = vi_vtd_is_protected,
	.walk_reason = vi_vtd_walk_reason,
	.out_of_bounds = VTD_FR_BEYOND_MGAW,
	.leads_to_message = VTD_FR_INTERRUPT_ADDRESS, /* 3.15 */
	.reason_text = vi_vtd_reason_text,
};
