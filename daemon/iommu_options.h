/* SPDX-License-Identifier: BSD-3-Clause */
/* What the user asked for in remapping units: which there are, and what stands behind each. */
#ifndef DAEMON_IOMMU_OPTIONS_H
#define DAEMON_IOMMU_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>

#include "daemon/options.h"

/* Take the argument of --iommu, of --expect. 0, or -1 and what is wrong in `why`. */
int iommu_take(struct vm_options *o, const char *argument, char *why, size_t why_size);
int iommu_take_expectation(struct vm_options *o, const char *argument, char *why, size_t why_size);
/* A value_fn: the name of a unit, into char[IOMMU_ID_MAX + 1]. */
const char *iommu_take_id(const char *text, void *field);

/* When all options of a VM are read: names and numbers are complete afterwards. 0, or -1 and a sentence in
 * `why`. */
int iommu_resolve(struct vm_options *o, char *why, size_t why_size);
/* Is a unit in this slot of PCI bus 0? */
bool iommu_has_slot(const struct vm_options *o, unsigned slot);

#endif
