/* SPDX-License-Identifier: BSD-3-Clause */
/* Maps and unmaps of the driver: checked here, done by the strategy. */
#include <errno.h>
#include <string.h>

#include "dma/strategy.h"

enum {
	MAPPED = 0x6d617064, /* nothing that lies around by chance */
	UNMAPPED = 0,
};

static bool is_direction(enum viommu_dma_direction direction)
{
	return direction >= VIOMMU_DMA_TO_DEVICE && direction <= VIOMMU_DMA_BIDIRECTIONAL;
}

/* The directions are the rights: a device that is sent to reads. */
static unsigned access_for(enum viommu_dma_direction direction)
{
	_Static_assert((int)VIOMMU_DMA_TO_DEVICE == (int)VIOMMU_BACKING_READ &&
			       (int)VIOMMU_DMA_FROM_DEVICE == (int)VIOMMU_BACKING_WRITE,
		       "directions are rights");
	return (unsigned)direction;
}

static uint64_t last_page_for(const struct viommu_dma *d, unsigned width)
{
	uint64_t last = width < 64 ? (UINT64_C(1) << width >> VI_DMA_PAGE_SHIFT) - 1 : UINT64_MAX;

	return vi_min(last, d->last_page);
}

/* What all buffers of one call share. */
struct call {
	enum viommu_dma_direction direction;
	uint64_t last_page;
};

/* The width 0 is any. */
static int check(const struct viommu_dma *d, enum viommu_dma_direction direction, unsigned width,
		 struct call *ret_call)
{
	if (!is_direction(direction) || (width && (width < VI_DMA_PAGE_SHIFT || width > 64)))
		return -EINVAL;
	*ret_call = (struct call){.direction = direction, .last_page = last_page_for(d, width ? width : 64)};
	return 0;
}

static int prepare(struct viommu_dma_thread *t, const struct call *c, void *host, uint64_t len,
		   struct vi_dma_request *ret_request, struct viommu_dma_mapping *m)
{
	const struct vi_dma_region *region;

	if (!len)
		return -EINVAL;
	region = vi_dma_find_region(t, host, len);
	if (!region)
		return -EFAULT;
	*ret_request = (struct vi_dma_request){
		.host = host,
		.address = region->address + (uint64_t)((uint8_t *)host - region->host),
		.len = len,
		.last_page = c->last_page,
		.access = access_for(c->direction),
		.region = region,
	};
	*m = (struct viommu_dma_mapping){.host = host, .len = len, .direction = c->direction};
	*vi_dma_note(m) = (struct vi_dma_note){.address = ret_request->address, .region = region->index};
	return 0;
}

static void mapped(struct viommu_dma_thread *t, struct viommu_dma_mapping *m)
{
	m->state = MAPPED;
	t->live[vi_dma_note(m)->region]++;
	vi_dma_count(&t->counters, VI_DMA_COUNT_maps, 1);
	vi_dma_count(&t->counters, VI_DMA_COUNT_bytes_mapped, m->len);
}

static void unmapped(struct viommu_dma_thread *t, struct viommu_dma_mapping *m)
{
	m->state = UNMAPPED;
	t->live[vi_dma_note(m)->region]--;
	vi_dma_count(&t->counters, VI_DMA_COUNT_unmaps, 1);
}

int viommu_dma_map(struct viommu_dma_thread *t, void *host, uint64_t len, enum viommu_dma_direction direction,
		   unsigned width, struct viommu_dma_mapping *ret_mapping)
{
	struct viommu_dma_mapping m;
	struct vi_dma_request request;
	struct call c;
	int err = check(t->dma, direction, width, &c);

	if (!err)
		err = prepare(t, &c, host, len, &request, &m);
	if (!err)
		err = t->dma->strategy->map(t, &request, 1, &m);
	if (err) {
		vi_dma_count(&t->counters, VI_DMA_COUNT_maps_failed, 1);
		return err;
	}
	mapped(t, &m);
	*ret_mapping = m;
	return 0;
}

int viommu_dma_unmap(struct viommu_dma_thread *t, struct viommu_dma_mapping *mapping)
{
	int err;

	if (mapping->state != MAPPED)
		return -EINVAL;
	err = t->dma->strategy->unmap(t, mapping, 1);
	unmapped(t, mapping);
	return err;
}

/* ------------------------------------------------------------------- lists */

static int map_some(struct viommu_dma_thread *t, const struct call *c, const struct iovec *buffers,
		    size_t count, struct viommu_dma_mapping *ret_mappings)
{
	struct vi_dma_request requests[VI_DMA_LIST_MAX];
	int err;

	for (size_t i = 0; i < count; i++) {
		err = prepare(t, c, buffers[i].iov_base, buffers[i].iov_len, &requests[i], &ret_mappings[i]);
		if (err)
			return err;
	}
	err = t->dma->strategy->map(t, requests, count, ret_mappings);
	for (size_t i = 0; !err && i < count; i++)
		mapped(t, &ret_mappings[i]);
	return err;
}

static int unmap_some(struct viommu_dma_thread *t, struct viommu_dma_mapping *mappings, size_t count)
{
	int err = t->dma->strategy->unmap(t, mappings, count);

	for (size_t i = 0; i < count; i++)
		unmapped(t, &mappings[i]);
	return err;
}

static int unmap_all(struct viommu_dma_thread *t, struct viommu_dma_mapping *mappings, size_t count)
{
	int first = 0;

	for (size_t i = 0; i < count; i += VI_DMA_LIST_MAX) {
		int err = unmap_some(t, mappings + i, vi_min(count - i, VI_DMA_LIST_MAX));

		first = first ? first : err;
	}
	return first;
}

int viommu_dma_map_list(struct viommu_dma_thread *t, const struct iovec *buffers, size_t count,
			enum viommu_dma_direction direction, unsigned width,
			struct viommu_dma_mapping *ret_mappings)
{
	struct call c;
	int err = check(t->dma, direction, width, &c);

	for (size_t i = 0; !err && i < count; i += VI_DMA_LIST_MAX) {
		err = map_some(t, &c, buffers + i, vi_min(count - i, VI_DMA_LIST_MAX), ret_mappings + i);
		if (err)
			unmap_all(t, ret_mappings, i);
	}
	if (err)
		vi_dma_count(&t->counters, VI_DMA_COUNT_maps_failed, count);
	return err;
}

int viommu_dma_unmap_list(struct viommu_dma_thread *t, struct viommu_dma_mapping *mappings, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (mappings[i].state != MAPPED)
			return -EINVAL;
	return unmap_all(t, mappings, count);
}

/* -------------------------------------------------------------------- sync */

static bool is_inside(const struct viommu_dma_mapping *m, uint64_t offset, uint64_t len)
{
	return m->state == MAPPED && offset <= m->len && len <= m->len - offset;
}

int viommu_dma_sync_for_device(struct viommu_dma_thread *t, struct viommu_dma_mapping *mapping,
			       uint64_t offset, uint64_t len)
{
	if (!is_inside(mapping, offset, len))
		return -EINVAL;
	if (t->dma->strategy->sync_for_device)
		t->dma->strategy->sync_for_device(t, mapping, offset, len);
	return 0;
}

int viommu_dma_sync_for_cpu(struct viommu_dma_thread *t, struct viommu_dma_mapping *mapping, uint64_t offset,
			    uint64_t len)
{
	if (!is_inside(mapping, offset, len))
		return -EINVAL;
	if (t->dma->strategy->sync_for_cpu)
		t->dma->strategy->sync_for_cpu(t, mapping, offset, len);
	return 0;
}
