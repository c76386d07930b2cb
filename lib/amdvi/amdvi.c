/* SPDX-License-Identifier: BSD-3-Clause */
/* The model as core sees it: features, creation, reset, one round of work. */
#include "amdvi/amdvi.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"

#define LEVELS_MOST 6

static uint64_t features(const struct viommu_amdvi_options *o)
{
	return AMDVI_EFR_IA_SUP | AMDVI_EFR_GA_SUP | (o->x2apic ? AMDVI_EFR_XT_SUP : 0) |
	       vi_to_field(AMDVI_EFR_HATS, o->only_4_levels ? 0 : LEVELS_MOST - AMDVI_EFR_HATS_LEVELS) |
	       vi_to_field(AMDVI_EFR_DEV_TAB_SEG_SUP, AMDVI_EFR_SEGMENTS_8);
}

static void reset(void *state)
{
	struct vi_amdvi *m = state;
	struct vi_fault dropped;

	m->control_drain = (struct vi_drain){0};
	m->commands = (struct vi_amdvi_commands){.running = false};
	m->events = (struct vi_amdvi_events){.running = false};
	m->status = 0;
	m->wait_again = m->interrupt_pending = false;
	m->wait_reminder = m->event_reminder = (struct vi_regs_reminder){0};
	vi_amdvi_faults_tell_all_again(m);
	while (vi_fault_queue_pop(&m->unit->faults, &dropped))
		;
	vi_amdvi_regs_reset(m);
}

static int init(struct viommu *v, const void *options, void **ret_state)
{
	const struct viommu_amdvi_options *given = options;
	struct viommu_amdvi_options own = {.sz = sizeof(own)}, *o = &own;
	int err = given ? vi_options_copy(o, sizeof(*o), given, given->sz) : 0;
	struct vi_amdvi *m;

	if (err)
		return err;
	m = aligned_alloc(_Alignof(struct vi_amdvi), sizeof(*m));
	if (!m)
		return -ENOMEM;
	memset(m, 0, sizeof(*m));
	m->unit = v;
	m->efr = features(o);
	vi_amdvi_regs_init(m);
	reset(m);
	*ret_state = m;
	return 0;
}

static void finish(void *state)
{
	free(state);
}

static int process_registers(struct vi_amdvi *m) VI_WITH(m->unit->lock)
{
	int done = vi_regs_poll(&m->pointers);

	vi_amdvi_remind(m);
	if (!m->control_drain.active)
		return done;
	return vi_drain_soon(m->unit, &m->control_drain) ? done + 1 : done | VIOMMU_PROCESS_PENDING;
}

/* Faults get half of the budget at most, so that neither they nor commands starve the other. */
static int process_all(struct vi_amdvi *m, unsigned budget) VI_WITH(m->unit->lock)
{
	int registers = process_registers(m);
	int faults = vi_amdvi_faults_process(m, budget - budget / 2);
	int commands = vi_amdvi_commands_process(m, budget - (unsigned)faults);
	int pending = (registers | commands) & VIOMMU_PROCESS_PENDING;

	if (!vi_fault_queue_is_empty(&m->unit->faults))
		pending = VIOMMU_PROCESS_PENDING;
	return ((registers & ~VIOMMU_PROCESS_PENDING) + faults + (commands & ~VIOMMU_PROCESS_PENDING)) |
	       pending;
}

int vi_amdvi_model_process(void *state, unsigned budget)
{
	struct vi_amdvi *m = state;

	vi_lock_assert(&m->unit->lock);
	return process_all(m, budget);
}

static bool settle(void *state)
{
	struct vi_amdvi *m = state;
	bool pending;

	vi_lock_assert(&m->unit->lock);
	pending = process_registers(m) & VIOMMU_PROCESS_PENDING;
	vi_amdvi_faults_process(m, VI_FAULT_QUEUE_SIZE);
	if (m->commands.waiting)
		vi_amdvi_commands_process(m, 1);
	return pending || m->commands.waiting;
}

static size_t registers_size(const void *state)
{
	(void)state;
	return AMDVI_REGISTERS_SIZE;
}

static const struct vi_regs_pollable pollable[] = {
	{.offset = AMDVI_POINTERS, .length = VI_REGS_PAGE_SIZE, .writable = true}};

const struct vi_model_ops vi_amdvi_model = {
	.init = init,
	.finish = finish,
	.reset = reset,
	.state_number = 3,
	.state = vi_amdvi_state,
	.restore = vi_amdvi_restore,
	.regs_size = registers_size,
	.regs_read = vi_amdvi_regs_read,
	.regs_write = vi_amdvi_regs_write,
	.regs_pollable = pollable,
	.regs_pollable_count = VI_ARRAY_SIZE(pollable),
	.regs_share = vi_amdvi_regs_share,
	.process = vi_amdvi_model_process,
	.settle = settle,
	.resolve = vi_amdvi_resolve,
	.describe = vi_amdvi_describe,
	.check_request = vi_amdvi_check_request,
	.remap = vi_amdvi_remap,
	.walk_reason = vi_amdvi_walk_reason,
	.out_of_bounds = VI_AMDVI_BEYOND_LEVELS,
	.leads_to_message = VI_AMDVI_LEADS_TO_MESSAGE,
	.is_never_silent = vi_amdvi_is_never_silent,
	.reason_text = vi_amdvi_reason_text,
};
