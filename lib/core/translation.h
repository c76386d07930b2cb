/* SPDX-License-Identifier: BSD-3-Clause */
/* What the guest's tables say about one device: a model's answer. */
#ifndef CORE_TRANSLATION_H
#define CORE_TRANSLATION_H

#include <stdbool.h>
#include <stdint.h>

#include <viommu/access.h>

#include "base/bits.h"
#include "core/translator.h"

/* What the IOTLB's tags hold: addresses with more bits are translated and not cached. */
#define VI_IOVA_BITS	    52
#define VI_IOVA_CACHED_LAST (VI_BIT(VI_IOVA_BITS) - 1)

enum vi_translation_kind {
	VI_TRANSLATION_IDENTITY, /* iova is gpa */
	VI_TRANSLATION_BY_TRANSLATOR,
};

struct vi_translation {
	enum vi_translation_kind kind;
	bool silent;	    /* the guest wants no faults recorded (VT-d FPD) */
	bool guarded;	    /* the model wants to see each address (is_protected) */
	bool has_domain;    /* else identity, which is not cached */
	uint16_t domain_id; /* with has_domain */
	unsigned rights;    /* VIOMMU_READ, VIOMMU_WRITE: of the device's entry, whatever its tables grant */
	uint64_t first, last; /* iovas that are translated at all, both included */
	struct vi_translator translator;
};

/* Nothing translates. */
static inline struct vi_translation vi_translation_none(void)
{
	return (struct vi_translation){.kind = VI_TRANSLATION_IDENTITY,
				       .rights = VIOMMU_READ | VIOMMU_WRITE,
				       .last = UINT64_MAX};
}

#endif
