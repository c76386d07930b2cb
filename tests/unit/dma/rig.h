/* SPDX-License-Identifier: BSD-3-Clause */
/* A VT-d unit, a device behind it, and a backing in front of it: by its queue, its registers, or a polled
 * page. */
#ifndef TESTS_UNIT_DMA_RIG_H
#define TESTS_UNIT_DMA_RIG_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <viommu/access.h>
#include <viommu/backing.h>

#define PAGE   UINT64_C(4096)
#define RAM    (UINT64_C(16) << 20)
#define TABLES (UINT64_C(8) << 20) /* gpa from where on the driver builds */
#define RID    0x0088

enum how { QUEUE, REGISTERS, POLLED };

struct machine {
	struct viommu *unit;
	struct viommu_requester *device;
	struct viommu_thread *thread;
	uint8_t *ram;
	void *page;
	pthread_t sidecore;
	_Atomic bool stop, deaf;
	struct viommu_backing backing;
};

void power_on(struct machine *m, enum how how, bool caching_mode);
void power_off(struct machine *m);
uint64_t read_register(void *machine, uint64_t offset, unsigned size);
void write_register(void *machine, uint64_t offset, unsigned size, uint64_t value);
int create_backing(struct machine *m, enum how how);

#endif
