/* SPDX-License-Identifier: BSD-3-Clause */
#include "daemon/functions/register_pages.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <viommu/viommu.h>

#define PAGE 4096

void register_pages_init(struct register_pages *p)
{
	*p = (struct register_pages){.fd = -1};
}

/* What the client maps it can write, so pages that the guest may only read stay trapped. */
static int find_areas(struct register_pages *p, struct viommu *v)
{
	struct viommu_regs_pages found = {.sz = sizeof(found)};

	for (unsigned i = 0; p->area_count < REGISTER_AREAS_MOST && !viommu_regs_pollable(v, i, &found);
	     i++) {
		if (!found.writable)
			continue;
		p->areas[p->area_count++] = (struct vfu_mmap_area){found.offset, found.length};
		p->size = found.offset + found.length;
	}
	return p->area_count ? 0 : -ENOTSUP;
}

/* A memfd that no client can shrink under us. */
static int open_file(struct register_pages *p)
{
	p->fd = memfd_create("viommu-registers", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (p->fd < 0 || ftruncate(p->fd, (off_t)p->size) ||
	    fcntl(p->fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL))
		return -errno;
	p->bytes = mmap(NULL, p->size, PROT_READ | PROT_WRITE, MAP_SHARED, p->fd, 0);
	if (p->bytes == MAP_FAILED) {
		p->bytes = NULL;
		return -errno;
	}
	return 0;
}

int register_pages_open(struct register_pages *p, struct viommu *v)
{
	int err = find_areas(p, v);

	if (!err)
		err = open_file(p);
	for (size_t i = 0; !err && i < p->area_count; i++)
		err = viommu_regs_share(v, p->areas[i].offset, p->bytes + p->areas[i].offset);
	return err;
}

int register_pages_open_empty(struct register_pages *p, uint64_t offset)
{
	p->areas[0] = (struct vfu_mmap_area){offset, PAGE};
	p->area_count = 1;
	p->size = offset + PAGE;
	return open_file(p);
}

void register_pages_finish(struct register_pages *p)
{
	if (p->bytes)
		munmap(p->bytes, p->size);
	if (p->fd >= 0)
		close(p->fd);
}

void register_pages_offer(const struct register_pages *p, struct vfu_region *region)
{
	if (!p->bytes)
		return;
	region->fd = p->fd;
	region->areas = p->areas;
	region->area_count = p->area_count;
}
