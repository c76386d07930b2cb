/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A machine for tests: guest memory, a VT-d unit, one device thread, and the
 * guest's driver half. Registers are trapped, or polled by the test's own
 * thread while the driver waits, or polled by a sidecore thread.
 */
#ifndef TESTS_UNIT_MACHINE_H
#define TESTS_UNIT_MACHINE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <viommu/access.h>

#include "driver/vtd.h"
#include "spec/vtd_queue.h"
#include "spec/vtd_registers.h"
#include "spec/vtd_tables.h"

#define MACHINE_RAM_SIZE   (UINT64_C(64) << 20)
#define MACHINE_TABLES	   (UINT64_C(32) << 20) /* gpa from where the driver builds tables */
#define MACHINE_RID	   0x0088		/* 00:11.0 */
#define MACHINE_DOMAIN	   7
#define MACHINE_MSI_LOG	   64
#define MACHINE_PATIENCE_S 60 /* a sidecore may have to wait for a core */

enum machine_registers { TRAPPED, POLLED, SIDECORE };

struct machine {
	struct viommu *viommu;
	struct viommu_requester *device;
	struct viommu_thread *thread;
	uint8_t *ram;
	struct vi_driver_memory memory;
	struct vi_driver_vtd driver;
	struct vi_driver_page_table table;
	enum machine_registers registers;
	void *page; /* shared registers */
	struct viommu_options options;
	struct viommu_vtd_options vtd_options; /* what those name, when they do */
	unsigned patience;		       /* turns that the driver waits before it gives up */

	pthread_t sidecore;
	_Atomic bool stop;

	/* What the host callbacks saw. */
	_Atomic unsigned msi_count;
	struct {
		uint16_t rid;
		uint64_t address;
		uint32_t data;
	} msi[MACHINE_MSI_LOG];
	_Atomic unsigned kicks;
	unsigned guest_errors;
	_Atomic unsigned callback_reads, callback_writes;
	unsigned window_writes;	       /* of the interrupt range, which is no memory */
	_Alignas(8) uint8_t far[8192]; /* memory without a host pointer, at MACHINE_FAR */
	bool slow_callbacks;	       /* what writes it loses the processor before */
	/* Tables may lie there once this is set: called in the middle of a walk, after the entry was read. */
	void (*during_table_read)(struct machine *m, uint64_t gpa);
	/* Called in the middle of an access to that memory, if it is set. */
	void (*during_callback)(struct machine *m);
};

#define MACHINE_FAR UINT64_C(0x100000000)

/* In an initialiser of options. */
#define VTD_OPTIONS(...)                                                                                     \
	.model_options = &(const struct viommu_vtd_options)                                                  \
	{                                                                                                    \
		.sz = sizeof(struct viommu_vtd_options), __VA_ARGS__                                         \
	}

/* Power on; options may be NULL. Fails the test when something is wrong. */
void machine_init(struct machine *m, enum machine_registers registers, const struct viommu_options *options);
/* And the driver half running: queue (or registers), a table of 4 levels for MACHINE_RID, translation on. */
void machine_start(struct machine *m, enum machine_registers registers, const struct viommu_options *options,
		   bool use_queue);
void machine_finish(struct machine *m);
/* A new unit with the same options in place of the old one; memory and driver stay. Not with a sidecore. */
void machine_replace_unit(struct machine *m);

/* viommu_process() until nothing is left; for faults that wait to be published. */
void machine_settle(struct machine *m);

/* Accesses of the device, with the result of the library. */
int machine_read(struct machine *m, uint64_t iova, void *buf, size_t len);
int machine_write(struct machine *m, uint64_t iova, const void *buf, size_t len);
/* The device reads one byte at iova; fails the test unless the result is as said. */
void machine_expect_read(struct machine *m, uint64_t iova, int result);
void machine_expect_write(struct machine *m, uint64_t iova, int result);
/* Map and invalidate as a driver does; and take away. */
void machine_map(struct machine *m, uint64_t iova, uint64_t gpa, uint64_t size, unsigned access);
void machine_unmap(struct machine *m, uint64_t iova, uint64_t size);
/* The next fault is this one, and it is the only one; reason 0: there is none. */
void machine_expect_fault(struct machine *m, uint8_t reason, uint64_t address, bool write);

uint64_t machine_counter(struct machine *m, const char *name);

/* Little shorthands for registers. */
uint32_t machine_get32(struct machine *m, uint64_t offset);
uint64_t machine_get64(struct machine *m, uint64_t offset);
void machine_set32(struct machine *m, uint64_t offset, uint32_t value);
void machine_set64(struct machine *m, uint64_t offset, uint64_t value);
/* Until the register's bits are so, by turns of one's own or, with a sidecore, by the clock; fails the test
 * when they never are. */
void machine_await32(struct machine *m, uint64_t offset, uint32_t mask, uint32_t value);
uint64_t machine_fault_record(struct machine *m, unsigned index); /* offset */

#endif
