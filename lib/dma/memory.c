/* SPDX-License-Identifier: BSD-3-Clause */
/* The memory of an address space, sorted by its address in this process. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "dma/strategy.h"

/* The index of the first region that ends behind `host`. */
static unsigned position(const struct viommu_dma *d, const uint8_t *host)
{
	unsigned low = 0, high = d->region_count;

	while (low < high) {
		unsigned middle = (low + high) / 2;

		if (d->regions[middle]->host + d->regions[middle]->len > host)
			high = middle;
		else
			low = middle + 1;
	}
	return low;
}

static bool holds(const struct vi_dma_region *r, const uint8_t *host, uint64_t len)
{
	return host >= r->host && (uint64_t)(host - r->host) < r->len &&
	       len <= r->len - (uint64_t)(host - r->host);
}

const struct vi_dma_region *vi_dma_find_region(struct viommu_dma_thread *t, const void *host, uint64_t len)
{
	const struct viommu_dma *d = t->dma;
	unsigned at;

	if (t->last_region && holds(t->last_region, host, len))
		return t->last_region;
	at = position(d, host);
	if (at == d->region_count || !holds(d->regions[at], host, len))
		return NULL;
	t->last_region = d->regions[at];
	return t->last_region;
}

/* One more place in each thread's counts. */
static int make_room(struct viommu_dma *d)
{
	unsigned room = d->region_room ? d->region_room * 2 : 8;
	struct vi_dma_region **regions;
	struct vi_list *link;

	if (d->region_next < d->region_room)
		return 0;
	regions = realloc(d->regions, room * sizeof(*regions));
	if (!regions)
		return -ENOMEM;
	d->regions = regions;
	vi_list_for_each (link, &d->threads) {
		struct viommu_dma_thread *t = VI_CONTAINER_OF(link, struct viommu_dma_thread, link);
		uint64_t *live = realloc(t->live, room * sizeof(*live));

		if (!live)
			return -ENOMEM;
		memset(live + d->region_next, 0, (room - d->region_next) * sizeof(*live));
		t->live = live;
	}
	d->region_room = room;
	return 0;
}

static void put_in(struct viommu_dma *d, struct vi_dma_region *r)
{
	unsigned at = position(d, r->host);

	memmove(&d->regions[at + 1], &d->regions[at], (d->region_count - at) * sizeof(*d->regions));
	d->regions[at] = r;
	d->region_count++;
}

static void take_out(struct viommu_dma *d, unsigned at)
{
	struct vi_list *link;

	free(d->regions[at]);
	d->region_count--;
	memmove(&d->regions[at], &d->regions[at + 1], (d->region_count - at) * sizeof(*d->regions));
	vi_list_for_each (link, &d->threads)
		VI_CONTAINER_OF(link, struct viommu_dma_thread, link)->last_region = NULL;
}

bool vi_dma_is_memory(const void *host, uint64_t len, uint64_t address)
{
	uint64_t last;

	return vi_is_aligned((uintptr_t)host | len | address, VI_DMA_PAGE_SIZE) &&
	       vi_last_of((uintptr_t)host, len, &last) && vi_last_of(address, len, &last);
}

/* Neither the memory nor its address is there twice. */
static bool overlaps(const struct viommu_dma *d, const uint8_t *host, uint64_t len, uint64_t address)
{
	for (unsigned i = 0; i < d->region_count; i++) {
		const struct vi_dma_region *r = d->regions[i];

		if (host < r->host + r->len && r->host < host + len)
			return true;
		if (address < r->address + r->len && r->address < address + len)
			return true;
	}
	return false;
}

int viommu_dma_memory_add(struct viommu_dma *d, void *host, uint64_t len, uint64_t address)
{
	struct vi_dma_region *r;
	int err;

	if (!vi_dma_is_memory(host, len, address))
		return -EINVAL;
	if (overlaps(d, host, len, address))
		return -EEXIST;
	r = calloc(1, sizeof(*r));
	if (!r || make_room(d)) {
		free(r);
		return -ENOMEM;
	}
	*r = (struct vi_dma_region){.host = host, .len = len, .address = address, .index = d->region_next};
	err = d->strategy->memory_added ? d->strategy->memory_added(d->service, r) : 0;
	if (err) {
		free(r);
		return err;
	}
	d->region_next++;
	put_in(d, r);
	return 0;
}

static bool is_region_mapped(const struct viommu_dma *d, const struct vi_dma_region *r)
{
	const struct vi_list *link;
	uint64_t live = 0;

	vi_list_for_each (link, &d->threads)
		live += VI_CONTAINER_OF(link, struct viommu_dma_thread, link)->live[r->index];
	return live != 0;
}

bool vi_dma_is_mapped(const struct viommu_dma *d)
{
	for (unsigned i = 0; i < d->region_count; i++)
		if (is_region_mapped(d, d->regions[i]))
			return true;
	return false;
}

static int remove_at(struct viommu_dma *d, unsigned at)
{
	int err = 0;

	if (d->strategy->memory_removed)
		err = d->strategy->memory_removed(d->service, d->regions[at]);
	if (!err)
		take_out(d, at);
	return err;
}

int viommu_dma_memory_remove(struct viommu_dma *d, void *host)
{
	unsigned at = position(d, host);

	if (at == d->region_count || d->regions[at]->host != host)
		return -ENOENT;
	return is_region_mapped(d, d->regions[at]) ? -EBUSY : remove_at(d, at);
}

int vi_dma_memory_remove_all(struct viommu_dma *d)
{
	int first = 0;

	for (unsigned i = d->region_count; i-- > 0;) {
		int err = remove_at(d, i);

		first = first ? first : err;
	}
	return first;
}
