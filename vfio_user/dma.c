/* SPDX-License-Identifier: BSD-3-Clause */
/* DMA_MAP and DMA_UNMAP, with the semantics of VFIO type1: an unmap may cover any number of maps, or parts.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "os/sentence.h"
#include "vfio_user/server_state.h"

#define MAP_FLAGS (VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE)

static bool page_aligned(uint64_t value)
{
	return value % VFIO_USER_PAGE_SIZE == 0;
}

/* A range that is not empty, page aligned, and does not wrap. */
static bool valid_range(uint64_t iova, uint64_t size)
{
	return size && page_aligned(iova) && page_aligned(size) && size - 1 <= UINT64_MAX - iova;
}

static int decode_map(const struct vfu_message *m, struct vfio_user_dma_map *ret_map)
{
	struct vfio_user_dma_map map;

	memcpy(&map, m->payload, sizeof(map));
	if (map.argsz < sizeof(map) || (map.flags & ~(uint32_t)MAP_FLAGS) || !(map.flags & MAP_FLAGS))
		return -EINVAL;
	if (!valid_range(map.iova, map.size))
		return -EINVAL;
	if (m->fd_count && (!page_aligned(map.offset) || map.offset > INT64_MAX ||
			    map.size > (uint64_t)INT64_MAX - map.offset))
		return -EINVAL;
	*ret_map = map;
	return 0;
}

static int fill_range(struct vfu_dma_range *r, const struct vfio_user_dma_map *map,
		      const struct vfu_message *m)
{
	struct stat st;

	*r = (struct vfu_dma_range){
		.first = map->iova,
		.last = map->iova + (map->size - 1),
		.readable = map->flags & VFIO_DMA_MAP_FLAG_READ,
		.writable = map->flags & VFIO_DMA_MAP_FLAG_WRITE,
		.has_file = m->fd_count > 0,
	};
	if (!r->has_file)
		return 0;
	if (fstat(m->fds[0], &st) < 0)
		return -errno;
	r->dev = st.st_dev;
	r->ino = st.st_ino;
	r->offset = map->offset;
	return 0;
}

static bool same_range(const struct vfu_dma_range *a, const struct vfu_dma_range *b)
{
	return a->first == b->first && a->last == b->last && a->readable == b->readable &&
	       a->writable == b->writable && a->has_file == b->has_file && a->dev == b->dev &&
	       a->ino == b->ino && a->offset == b->offset;
}

static int tell_device_of_map(struct vfu_server *s, const struct vfu_dma_range *r)
{
	struct vfu_dma_map map = {
		.iova = r->first,
		.size = r->last - r->first + 1,
		.readable = r->readable,
		.writable = r->writable,
		.host = r->file ? r->file->base + r->offset : NULL,
	};
	int err = s->ops.dma_map ? s->ops.dma_map(s->device, &map) : 0;

	return err > 0 ? -EINVAL : err;
}

static int add_range(struct vfu_server *s, struct vfu_dma_range *r, const struct vfu_message *m)
{
	char why[OS_WHY_SIZE];
	int err = 0;

	if (r->has_file && s->ops.dma_map)
		err = vfu_fd_maps_get(&s->files, m->fds[0], r->writable, r->offset + (r->last - r->first) + 1,
				      &r->file, why, sizeof(why));
	if (err) {
		vfu_server_log(s, "memory at 0x%" PRIx64 " is not taken: %s", r->first, why);
		return err;
	}
	err = tell_device_of_map(s, r);
	if (err) {
		if (r->file)
			vfu_fd_map_unref(r->file);
		return err;
	}
	vfu_dma_table_insert(&s->dma, r);
	return 0;
}

int vfu_handle_dma_map(struct vfu_server *s, struct vfu_message *m, struct vfu_reply *reply)
{
	struct vfio_user_dma_map map = {0};
	struct vfu_dma_range range, *r;
	int err = decode_map(m, &map);

	if (!err)
		err = fill_range(&range, &map, m);
	if (err)
		return err;
	r = vfu_dma_table_find(&s->dma, range.first, range.last);
	if (r)
		return same_range(r, &range) ? 0 : -EEXIST;
	if (s->dma.count >= s->max_dma_maps) {
		vfu_server_log(s,
			       "memory at 0x%" PRIx64
			       " is not taken: the client has mapped %zu ranges, which "
			       "is as many as it may",
			       range.first, s->dma.count);
		return -ENOSPC;
	}
	r = malloc(sizeof(*r));
	if (!r)
		return -ENOMEM;
	*r = range;
	err = add_range(s, r, m);
	if (err)
		free(r);
	return err;
}

bool vfu_dma_remove_some(struct vfu_server *s, uint64_t first, uint64_t last, uint64_t *io_bytes)
{
	struct vfu_dma_range *r;

	while ((r = vfu_dma_table_find(&s->dma, first, last))) {
		if (r->file && !vfu_fd_map_may_unref(r->file))
			vfu_turn_end(s);
		if (vfu_turn_is_over(s))
			return false;
		vfu_turn_spend(s, 1);
		vfu_dma_table_take(&s->dma, r);
		if (s->ops.dma_map && s->ops.dma_unmap)
			s->ops.dma_unmap(s->device, r->first, r->last - r->first + 1);
		if (r->file)
			vfu_fd_map_unref(r->file);
		*io_bytes += r->last - r->first + 1;
		free(r);
	}
	return true;
}

static int decode_unmap(const struct vfu_message *m, struct vfio_user_dma_unmap *ret_unmap,
			uint64_t *ret_last)
{
	struct vfio_user_dma_unmap unmap;

	memcpy(&unmap, m->payload, sizeof(unmap));
	if (unmap.argsz < sizeof(unmap) || (unmap.flags & ~(uint32_t)VFIO_DMA_UNMAP_FLAG_ALL))
		return -EINVAL;
	if (unmap.flags & VFIO_DMA_UNMAP_FLAG_ALL) {
		if (unmap.iova || unmap.size)
			return -EINVAL;
		*ret_last = UINT64_MAX;
	} else {
		if (!valid_range(unmap.iova, unmap.size))
			return -EINVAL;
		*ret_last = unmap.iova + (unmap.size - 1);
	}
	*ret_unmap = unmap;
	return 0;
}

int vfu_handle_dma_unmap(struct vfu_server *s, struct vfu_message *m, struct vfu_reply *reply)
{
	struct vfio_user_dma_unmap unmap = {0}, *out;
	uint64_t last = 0;
	int err = decode_unmap(m, &unmap, &last);

	if (err)
		return err;
	/* Cuts make more ranges of fewer maps: they get as much room again. */
	if (!reply->resumed)
		err = vfu_dma_table_cut(&s->dma, unmap.iova, last, 2 * s->max_dma_maps);
	if (err) {
		/* The client believes that these pages are revoked, whatever we answer. They must be. */
		reply->end_session = true;
		return err;
	}
	if (!vfu_dma_remove_some(s, unmap.iova, last, &reply->done))
		return VFU_UNFINISHED;
	out = vfu_reply_payload(reply, sizeof(*out));
	if (!out)
		return -ENOMEM;
	unmap.size = reply->done;
	unmap.argsz = sizeof(unmap);
	*out = unmap;
	return 0;
}
