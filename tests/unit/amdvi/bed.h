/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A machine for tests: guest memory, an AMD-Vi unit, one device thread, and the
 * guest's driver half. Registers are trapped, or heads, tails and status are polled
 * by the test's own thread while the driver waits, or by a sidecore thread.
 */
#ifndef TESTS_UNIT_AMDVI_BED_H
#define TESTS_UNIT_AMDVI_BED_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <viommu/access.h>

#include "base/bits.h"
#include "driver/amdvi.h"
#include "spec/amdvi_queues.h"
#include "spec/amdvi_registers.h"
#include "spec/amdvi_tables.h"

#define BED_RAM_SIZE	  (UINT64_C(64) << 20)
#define BED_TABLES	  (UINT64_C(32) << 20) /* gpa from where the driver builds tables */
#define BED_RID		  0x0088	       /* 00:11.0 */
#define BED_DOMAIN	  7
#define BED_MSI_LOG	  64
#define BED_FAR		  UINT64_C(0x100000000) /* memory without a host pointer */
#define BED_IOVA	  UINT64_C(0x40000000)
#define BED_GPA		  UINT64_C(0x200000)
#define BED_RW		  (VI_PGTABLE_READ | VI_PGTABLE_WRITE)
#define BED_POINTER(name) (AMDVI_POINTERS + AMDVI_##name)

enum bed_registers { BED_TRAPPED, BED_POLLED, BED_SIDECORE };

struct bed {
	struct viommu *viommu;
	struct viommu_requester *device;
	struct viommu_thread *thread;
	uint8_t *ram;
	struct vi_driver_memory memory;
	struct vi_driver_amdvi driver;
	struct vi_driver_page_table table;
	enum bed_registers registers;
	void *page; /* shared registers */
	struct viommu_options options;
	struct viommu_amdvi_options amdvi_options;
	unsigned patience; /* turns that the driver waits before it gives up; 0: no limit */

	pthread_t sidecore;
	_Atomic bool stop;

	/* What the host callbacks saw. */
	_Atomic unsigned msi_count;
	struct {
		uint16_t rid;
		uint64_t address;
		uint32_t data;
	} msi[BED_MSI_LOG];
	unsigned guest_errors;
	_Alignas(16) uint8_t far[8192]; /* at BED_FAR */
	/* Tables may lie there once this is set: called in the middle of a walk, after the entry was read. */
	void (*during_table_read)(struct bed *b, uint64_t gpa);
};

/* Power on; options may be NULL. Fails the test when something is wrong. */
void bed_init(struct bed *b, enum bed_registers registers, const struct viommu_amdvi_options *options);
/* And the driver half running, a table of `levels` (0: pass-through) for BED_RID. */
void bed_start(struct bed *b, enum bed_registers registers, unsigned levels);
void bed_finish(struct bed *b);
/* A new unit with the same options in place of the old one; memory and driver stay. Not with a sidecore. */
void bed_replace_unit(struct bed *b);
/* viommu_process() until nothing is left. */
void bed_settle(struct bed *b);

void bed_map(struct bed *b, uint64_t iova, uint64_t gpa, uint64_t size, unsigned access);
void bed_unmap(struct bed *b, uint64_t iova, uint64_t size);
/* The device reads, or writes, one byte at iova; fails the test unless the result is as said. */
void bed_expect_read(struct bed *b, uint64_t iova, int result);
void bed_expect_write(struct bed *b, uint64_t iova, int result);
/* It reads one byte, which is `gpa`'s. */
void bed_expect_at(struct bed *b, uint64_t iova, uint64_t gpa);
/* The next event is this one, and it is the only one. */
void bed_expect_event(struct bed *b, uint64_t lo, uint64_t hi);
void bed_expect_no_event(struct bed *b);
/* Low half of an event. */
uint64_t bed_event(unsigned code, uint64_t flags);

uint64_t bed_counter(struct bed *b, const char *name);
uint64_t bed_get(struct bed *b, uint64_t offset, unsigned size);
void bed_set(struct bed *b, uint64_t offset, unsigned size, uint64_t value);
/* AMDVI_STATUS without its sentinel. */
uint32_t bed_status(struct bed *b);

#endif
