/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Register-based invalidation: CCMD (11.4.6.1) and IOTLB with IVA (11.4.6.2). The
 * busy bit falls when the drain is over, and the actual granularity tells what
 * was done; 0 says that the request was not valid.
 */
#include "base/bits.h"
#include "vtd/vtd.h"

void vi_vtd_context_command_write(struct vi_vtd *m, uint32_t high)
{
	uint64_t command = (uint64_t)high << 32 | vi_regs_load32(&m->regs, VTD_CCMD);

	if (m->context_busy) {
		vi_regs_store32(&m->regs, VTD_CCMD + 4, (uint32_t)(m->context_command >> 32));
		return;
	}
	if (!(command & VTD_CCMD_ICC))
		return;
	m->context_command =
		command & (VTD_CCMD_ICC | VTD_CCMD_CIRG | VTD_CCMD_FM | VTD_CCMD_SID | VTD_CCMD_DID);
	/* While the queue is enabled these registers may not be used (6.5.2). */
	if (!m->queue.enabled &&
	    vi_vtd_invalidate_contexts(m, &m->context_drain, (unsigned)vi_field(command, VTD_CCMD_CIRG),
				       (uint16_t)vi_field(command, VTD_CCMD_DID),
				       (uint16_t)vi_field(command, VTD_CCMD_SID),
				       (unsigned)vi_field(command, VTD_CCMD_FM)))
		m->context_command |= vi_to_field(VTD_CCMD_CAIG, vi_field(command, VTD_CCMD_CIRG));
	m->context_busy = true;
	vi_drain_begin(m->unit, &m->context_drain);
}

void vi_vtd_iotlb_command_write(struct vi_vtd *m, uint32_t high)
{
	uint64_t command = (uint64_t)high << 32, iva = vi_regs_load64(&m->regs, VTD_IRO_OFFSET + VTD_IVA);
	unsigned granularity = (unsigned)vi_field(command, VTD_IOTLB_IIRG);

	if (m->iotlb_busy) {
		vi_regs_store32(&m->regs, VTD_IRO_OFFSET + VTD_IOTLB + 4, (uint32_t)(m->iotlb_command >> 32));
		return;
	}
	if (!(command & VTD_IOTLB_IVT))
		return;
	m->iotlb_command = command & (VTD_IOTLB_IVT | VTD_IOTLB_IIRG | VTD_IOTLB_DR | VTD_IOTLB_DW |
				      VTD_IOTLB_DID); /* reserved bits read as 0 */
	if (!m->queue.enabled &&
	    vi_vtd_invalidate_iotlb(m, &m->iotlb_drain, granularity,
				    (uint16_t)vi_field(command, VTD_IOTLB_DID), iva & VTD_IVA_ADDR,
				    (unsigned)vi_field(iva, VTD_IVA_AM)))
		m->iotlb_command |= vi_to_field(VTD_IOTLB_IAIG, granularity);
	m->iotlb_busy = true;
	vi_drain_begin(m->unit, &m->iotlb_drain);
}

/* ICC falls last. SID and FM are write-only and read as 0 (11.4.6.1), also on a page that the guest reads. */
static void show_context_command(struct vi_vtd *m)
{
	uint64_t shown = m->context_command & ~(VTD_CCMD_ICC | VTD_CCMD_FM | VTD_CCMD_SID);

	vi_regs_store32(&m->regs, VTD_CCMD, (uint32_t)shown);
	vi_regs_store32(&m->regs, VTD_CCMD + 4, (uint32_t)(shown >> 32));
}

int vi_vtd_invalidation_register_process(struct vi_vtd *m)
{
	int ret = 0;

	if (m->context_busy && vi_drain_soon(m->unit, &m->context_drain)) {
		m->context_busy = false;
		show_context_command(m);
		ret++;
	}
	if (m->iotlb_busy && vi_drain_soon(m->unit, &m->iotlb_drain)) {
		m->iotlb_busy = false;
		vi_regs_store32(&m->regs, VTD_IRO_OFFSET + VTD_IOTLB + 4,
				(uint32_t)((m->iotlb_command & ~VTD_IOTLB_IVT) >> 32));
		ret++;
	}
	return m->context_busy || m->iotlb_busy ? ret | VIOMMU_PROCESS_PENDING : ret;
}
