/* SPDX-License-Identifier: BSD-3-Clause */
/* Protected memory regions, 3.16 and 11.4.8: DMA that nothing translates does not reach them. */
#include "base/bits.h"
#include "vtd/vtd.h"

#define GRANULE UINT64_C(0x200000) /* base and limit registers keep bits from 21 up */

/* Base and limit count while EPM is set; software changes them before (11.4.8.2 to 11.4.8.5). */
void vi_vtd_protect_latch(struct vi_vtd *m)
{
	uint64_t mask = ~(GRANULE - 1);

	atomic_store(&m->low_first, vi_regs_load32(&m->regs, VTD_PLMBASE) & mask);
	atomic_store(&m->low_last, (vi_regs_load32(&m->regs, VTD_PLMLIMIT) & mask) | (GRANULE - 1));
	atomic_store(&m->high_first, vi_regs_load64(&m->regs, VTD_PHMBASE) & mask);
	atomic_store(&m->high_last, (vi_regs_load64(&m->regs, VTD_PHMLIMIT) & mask) | (GRANULE - 1));
}

static void show(struct vi_vtd *m, bool epm, bool prs)
{
	vi_regs_store32(&m->regs, VTD_PMEN, (epm ? VTD_PMEN_EPM : 0) | (prs ? VTD_PMEN_PRS : 0));
}

void vi_vtd_protect_write(struct vi_vtd *m, uint32_t value)
{
	bool enable = value & VTD_PMEN_EPM;

	if (m->protect_busy || enable == atomic_load(&m->protecting)) {
		show(m, enable, m->protect_busy ? !enable : enable);
		return;
	}
	vi_vtd_protect_latch(m);
	atomic_store(&m->protecting, enable);
	vi_context_drop_all(m->unit, &m->protect_drain);
	m->protect_busy = true;
	vi_drain_begin(m->unit, &m->protect_drain);
}

int vi_vtd_protect_process(struct vi_vtd *m)
{
	bool wanted;

	if (!m->protect_busy)
		return 0;
	if (!vi_drain_soon(m->unit, &m->protect_drain))
		return VIOMMU_PROCESS_PENDING;
	m->protect_busy = false;
	wanted = vi_regs_load32(&m->regs, VTD_PMEN) & VTD_PMEN_EPM;
	show(m, atomic_load(&m->protecting), atomic_load(&m->protecting));
	if (wanted != atomic_load(&m->protecting))
		vi_vtd_protect_write(m, wanted ? VTD_PMEN_EPM : 0);
	return 1;
}

bool vi_vtd_is_protected(void *state, uint64_t first, uint64_t last)
{
	struct vi_vtd *m = state;

	if (!atomic_load_explicit(&m->protecting, memory_order_acquire))
		return false;
	return (first <= atomic_load(&m->low_last) && last >= atomic_load(&m->low_first)) ||
	       (first <= atomic_load(&m->high_last) && last >= atomic_load(&m->high_first));
}
