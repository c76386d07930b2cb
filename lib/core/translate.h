/* SPDX-License-Identifier: BSD-3-Clause */
/* From (requester, iova) to memory. */
#ifndef CORE_TRANSLATE_H
#define CORE_TRANSLATE_H

#include <stdint.h>

struct viommu_requester;
struct viommu_thread;
struct vi_device_counters;

struct vi_place {
	uint64_t gpa;
	uint8_t *host;			     /* NULL: through callbacks */
	uint64_t room;			     /* bytes from here that are contiguous and permitted */
	uint32_t pin_space;		     /* where pins are filed (pin.h) */
	struct vi_device_counters *counters; /* good for the section */
};

/* Inside a section. 0 or the errno of viommu_translate(); faults are reported unless VIOMMU_QUIET. */
int vi_translate(struct viommu_thread *t, struct viommu_requester *r, uint64_t iova, uint64_t len,
		 unsigned access, struct vi_place *ret_place);

#endif
