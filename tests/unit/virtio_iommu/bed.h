/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A machine with a virtio-iommu: memory, two endpoints, a device thread, and the driver's
 * requests as bytes, which are written here from the specification and share no code with the model.
 */
#ifndef UNIT_VIRTIO_IOMMU_BED_H
#define UNIT_VIRTIO_IOMMU_BED_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>

#include <cmocka.h>

#include <viommu/access.h>
#include <viommu/request.h>

#define PAGE	 UINT64_C(4096)
#define RAM_SIZE (UINT64_C(8) << 20)
#define RID	 0x0088u
#define RID2	 0x0090u
#define SEGMENT	 2u
#define EP	 (SEGMENT << 16 | RID)
#define EP2	 (SEGMENT << 16 | RID2)

/* Types, flags, statuses, features. */
enum { ATTACH = 1, DETACH, MAP, UNMAP, PROBE };
enum { OK, IOERR, UNSUPP, DEVERR, INVAL, RANGE, NOENT, FAULT, NOMEM, UNWRITTEN = 0x100, WAITING };
enum { READ = 1, WRITE = 2, RW = 3, MMIO = 4 };
#define F_MAP_UNMAP	(1u << 2)
#define F_MMIO		(1u << 5)
#define F_BYPASS_CONFIG (1u << 6)
#define F_ALL		0x77u

struct bed {
	struct viommu *viommu;
	struct viommu_requester *device, *device2;
	struct viommu_thread *thread;
	uint8_t *ram;		  /* RAM_SIZE bytes at gpa 0 */
	uint64_t token, answered; /* of the next request, and of the next answer */
	unsigned errors;	  /* of the guest, that the host was told */
	_Atomic unsigned kicks;	  /* of the host */
	unsigned tries;		  /* with each of them the first device tries again, so often */
	uint8_t answer[VIOMMU_ANSWER_BYTES];
	int64_t used; /* how long it is */
};

/* All features accepted. Options may be NULL. */
void bed_begin(struct bed *b, const struct viommu_virtio_options *options);
void bed_end(struct bed *b);

/* A request's device-readable bytes; returns how many. */
size_t bed_write_attach(uint8_t *at, uint32_t domain, uint32_t endpoint, uint32_t flags);
size_t bed_write_detach(uint8_t *at, uint32_t domain, uint32_t endpoint);
size_t bed_write_map(uint8_t *at, uint32_t domain, uint64_t first, uint64_t last, uint64_t address,
		     uint32_t flags);
size_t bed_write_unmap(uint8_t *at, uint32_t domain, uint64_t first, uint64_t last);
size_t bed_write_probe(uint8_t *at, uint32_t endpoint);

/* Into the queue, as the next token. */
void bed_submit(struct bed *b, const uint8_t *request, size_t length, size_t room);
/* Of the oldest request: its status, UNWRITTEN, or WAITING when there is none yet. */
unsigned bed_answer(struct bed *b);
/* Submitted, and waited for. */
unsigned bed_ask(struct bed *b, const uint8_t *request, size_t length, size_t room);

unsigned bed_attach(struct bed *b, uint32_t domain, uint32_t endpoint, uint32_t flags);
unsigned bed_detach(struct bed *b, uint32_t domain, uint32_t endpoint);
unsigned bed_map(struct bed *b, uint32_t domain, uint64_t first, uint64_t last, uint64_t address,
		 uint32_t flags);
unsigned bed_unmap(struct bed *b, uint32_t domain, uint64_t first, uint64_t last);
void bed_settle(struct bed *b);

/* One byte of the first device; 0 or the errno. */
int bed_put(struct bed *b, uint64_t iova, uint8_t value);
int bed_get(struct bed *b, uint64_t iova, uint8_t *ret_value);
/* It is written, and lands at this gpa. */
void bed_lands(struct bed *b, struct viommu_requester *device, uint64_t iova, uint64_t gpa);
/* It is refused, and this event tells it: its reason, for the endpoint. */
void bed_refused(struct bed *b, struct viommu_requester *device, uint64_t iova, uint8_t reason);
/* The next event's bytes. False: there is none. */
bool bed_event(struct bed *b, uint8_t event[24]);

uint64_t bed_counter(struct bed *b, const char *name);
uint8_t bed_config8(struct bed *b, size_t offset);
uint64_t bed_config64(struct bed *b, size_t offset);
void bed_set_bypass(struct bed *b, uint8_t value);

#endif
