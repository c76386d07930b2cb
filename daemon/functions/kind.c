/* SPDX-License-Identifier: BSD-3-Clause */
#include "daemon/functions/kind.h"

const struct function_kind *const function_kinds[] = {
	&vtd_kind, &amdvi_kind, &amdvi_pci_kind, &virtio_iommu_kind, &gart_kind, &nvme_kind, NULL};
