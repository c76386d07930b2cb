/* SPDX-License-Identifier: BSD-3-Clause */
#include "fake_access.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <viommu/access.h>

void fake_init(struct viommu_requester *f, uint64_t size)
{
	memset(f, 0, sizeof(*f));
	f->memory = calloc(1, size);
	f->size = size;
}

void fake_finish(struct viommu_requester *f)
{
	free(f->memory);
}

void fake_refuse(struct viommu_requester *f, uint64_t first, uint64_t len, bool reads, bool writes)
{
	if (f->refusal_count == FAKE_REFUSALS)
		abort();
	f->refusals[f->refusal_count].first = first;
	f->refusals[f->refusal_count].last = first + len - 1;
	f->refusals[f->refusal_count].reads = reads;
	f->refusals[f->refusal_count++].writes = writes;
}

void *fake_at(struct viommu_requester *f, uint64_t iova)
{
	return f->memory + (iova - FAKE_BASE);
}

static int check(struct viommu_requester *f, uint64_t iova, size_t len, bool write)
{
	uint64_t number = ++f->accesses;

	if (f->watch)
		f->watch(f->watch_arg, iova, len, write);
	if (f->hook_at == number)
		f->hook(f->hook_arg);
	if (f->fail_at && (number == f->fail_at || (f->fail_from && number > f->fail_at)))
		return -EACCES;
	if (len > f->size || iova < FAKE_BASE || iova - FAKE_BASE > f->size - len) {
		f->strays++;
		return -EACCES;
	}
	for (unsigned i = 0; i < f->refusal_count; i++) {
		if ((write ? f->refusals[i].writes : f->refusals[i].reads) && iova <= f->refusals[i].last &&
		    iova + len - 1 >= f->refusals[i].first)
			return -EACCES;
	}
	return 0;
}

/* Of the sizes that are one access with the library, those that devices use. */
static bool is_one_access(uint64_t iova, size_t len)
{
	return (len == 2 || len == 4 || len == 8) && iova % len == 0;
}

static void load(void *buf, const void *at, size_t len)
{
	uint64_t word = len == 8   ? __atomic_load_n((const uint64_t *)at, __ATOMIC_ACQUIRE)
			: len == 4 ? __atomic_load_n((const uint32_t *)at, __ATOMIC_ACQUIRE)
				   : __atomic_load_n((const uint16_t *)at, __ATOMIC_ACQUIRE);

	memcpy(buf, &word, len);
}

static void store(void *at, const void *buf, size_t len)
{
	uint64_t word = 0;

	memcpy(&word, buf, len);
	if (len == 8)
		__atomic_store_n((uint64_t *)at, word, __ATOMIC_RELEASE);
	else if (len == 4)
		__atomic_store_n((uint32_t *)at, (uint32_t)word, __ATOMIC_RELEASE);
	else
		__atomic_store_n((uint16_t *)at, (uint16_t)word, __ATOMIC_RELEASE);
}

int viommu_read(struct viommu_thread *t, struct viommu_requester *r, uint64_t iova, void *buf, size_t len)
{
	int ret = check(r, iova, len, false);

	if (ret < 0)
		return ret;
	if (is_one_access(iova, len))
		load(buf, fake_at(r, iova), len);
	else
		memcpy(buf, fake_at(r, iova), len);
	return 0;
}

int viommu_write(struct viommu_thread *t, struct viommu_requester *r, uint64_t iova, const void *buf,
		 size_t len)
{
	int ret = check(r, iova, len, true);

	if (ret < 0)
		return ret;
	if (is_one_access(iova, len))
		store(fake_at(r, iova), buf, len);
	else
		memcpy(fake_at(r, iova), buf, len);
	return 0;
}
