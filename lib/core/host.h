/* SPDX-License-Identifier: BSD-3-Clause */
/* What core asks of the embedder, where that has it. */
#ifndef CORE_HOST_H
#define CORE_HOST_H

#include <stdint.h>

#include <viommu/viommu.h>

struct viommu;
struct vi_fault;

/* Send an interrupt message of the unit itself. */
void vi_msi_send(struct viommu *v, uint64_t address, uint32_t data);
void vi_guest_error(struct viommu *v, enum viommu_guest_error error, const struct vi_fault *fault,
		    const char *text);
uint64_t vi_now_ns(struct viommu *v);
void vi_kick(struct viommu *v);

#endif
