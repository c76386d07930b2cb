/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A unit of a model that has nothing but a translator, which the test chooses: for
 * tests of translators. Its state is a set of ranges, if the test gives it one.
 */
#ifndef UNIT_CORE_MODEL_BED_H
#define UNIT_CORE_MODEL_BED_H

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>

#include <cmocka.h>

#include <viommu/access.h>

#include "base/bits.h"
#include "core/drain.h"
#include "core/ranges.h"
#include "core/unit.h"

#define PAGE	    UINT64_C(4096)
#define RAM_SIZE    (UINT64_C(8) << 20)
#define RW	    (VIOMMU_READ | VIOMMU_WRITE)
#define BED_THREADS 4 /* of devices, beside the test's own */

/* A reason tells what the walk tells: how it ended, in which stage, and what that was asked for. */
#define BED_REASON_OUTSIDE		      0xff
#define BED_REASON_MESSAGE		      0xfe
#define BED_REASON_OF(result, stage, purpose) (1 + (result) + 8 * (stage) + 32 * (purpose))
#define BED_REASON(result)		      BED_REASON_OF(result, 0, 0)

struct bed {
	struct viommu *viommu;
	struct viommu_requester *device;
	struct viommu_thread *thread;
	uint8_t *ram;		  /* RAM_SIZE bytes at gpa 0 */
	struct vi_translation t;  /* what the model answers */
	struct vi_ranges *ranges; /* the model's state; NULL: it has none */
	struct vi_drain drain;	  /* of invalidate() */
	unsigned faults;	  /* taken up so far */
	struct vi_fault last_fault;
};

extern const struct vi_model_ops bed_model;

void bed_begin(struct bed *b, unsigned iotlb_lg2);
/* With a model that the test made of bed_model. */
void bed_begin_with(struct bed *b, const struct vi_model_ops *model, unsigned iotlb_lg2);
void bed_end(struct bed *b);

/* By the model's own calls: drop the range and wait for accesses that used it. */
void bed_invalidate(struct bed *b, uint64_t first, uint64_t last);
/* The same, of all that is cached. */
void bed_invalidate_all(struct bed *b);

/* One byte; 0 or the errno. */
int bed_put(struct bed *b, uint64_t iova, uint8_t value);
int bed_get(struct bed *b, uint64_t iova, uint8_t *ret_value);
/* A write that must be refused for this reason. */
void bed_expect_fault(struct bed *b, uint64_t iova, vi_reason reason);
/* Bytes that may be written from iova on by one span; 0: none. */
size_t bed_room(struct bed *b, uint64_t iova);
/* A counter of the unit. */
uint64_t bed_counter(struct bed *b, enum vi_counter which);

/* What viommu_reach() tells, as text, in pieces of so many steps; 0: in one. */
const char *bed_reach(struct bed *b, uint64_t budget, char *text, size_t size);

#endif
