/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A double of libviommu's access functions: device memory is an array, any part
 * of it can be refused, and so can the n-th access.
 */
#ifndef TESTS_NVME_FAKE_ACCESS_H
#define TESTS_NVME_FAKE_ACCESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FAKE_BASE     0x100000000ull /* above 4 GiB: a truncated address shows */
#define FAKE_REFUSALS 8

struct viommu_requester {
	uint8_t *memory; /* FAKE_BASE on */
	uint64_t size;
	struct {
		uint64_t first, last;
		bool reads, writes;
	} refusals[FAKE_REFUSALS];
	unsigned refusal_count;
	uint64_t accesses; /* so far */
	uint64_t fail_at;  /* the access with this number is refused; 0: none */
	bool fail_from;	   /* and all after it */
	uint64_t hook_at;  /* before this access hook(hook_arg) is called; 0: never */
	void (*hook)(void *arg);
	void *hook_arg;
	uint64_t strays; /* accesses outside of memory */
	/* Each access, before it is made; NULL: nobody looks. */
	void (*watch)(void *arg, uint64_t iova, size_t len, bool write);
	void *watch_arg;
};

void fake_init(struct viommu_requester *f, uint64_t size);
void fake_finish(struct viommu_requester *f);
void fake_refuse(struct viommu_requester *f, uint64_t first, uint64_t len, bool reads, bool writes);
void *fake_at(struct viommu_requester *f, uint64_t iova);

#endif
