/* SPDX-License-Identifier: BSD-3-Clause */
#include "vfio_user/fd_map.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

void vfu_fd_maps_init(struct vfu_fd_maps *maps, struct vfu_sigbus_owner *owner)
{
	*maps = (struct vfu_fd_maps){.owner = owner};
}

void vfu_fd_maps_finish(struct vfu_fd_maps *maps)
{
	assert(maps->count == 0);
	free(maps->items);
	maps->items = NULL;
	maps->capacity = 0;
}

static int compare(const struct vfu_fd_map *a, const struct vfu_fd_map *b)
{
	if (a->dev != b->dev)
		return a->dev < b->dev ? -1 : 1;
	if (a->ino != b->ino)
		return a->ino < b->ino ? -1 : 1;
	if (a->writable != b->writable)
		return a->writable ? 1 : -1;
	return a->size < b->size ? -1 : a->size > b->size;
}

/* Where `key` is, or would be inserted: behind all that are smaller. */
static size_t lower_bound(const struct vfu_fd_maps *maps, const struct vfu_fd_map *key)
{
	size_t low = 0, high = maps->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (compare(maps->items[middle], key) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static int reserve(struct vfu_fd_maps *maps)
{
	size_t capacity = maps->capacity ? maps->capacity * 2 : 8;
	struct vfu_fd_map **items;

	if (maps->count < maps->capacity)
		return 0;
	items = realloc(maps->items, capacity * sizeof(*items));
	if (!items)
		return -ENOMEM;
	maps->items = items;
	maps->capacity = capacity;
	return 0;
}

static void insert(struct vfu_fd_maps *maps, struct vfu_fd_map *m)
{
	size_t at = lower_bound(maps, m);

	memmove(&maps->items[at + 1], &maps->items[at], (maps->count - at) * sizeof(*maps->items));
	maps->items[at] = m;
	maps->count++;
	maps->bytes += m->size;
}

static void remove_item(struct vfu_fd_maps *maps, const struct vfu_fd_map *m)
{
	size_t at = lower_bound(maps, m);

	assert(maps->items[at] == m);
	maps->count--;
	maps->bytes -= m->size;
	memmove(&maps->items[at], &maps->items[at + 1], (maps->count - at) * sizeof(*maps->items));
}

static int map_file(struct vfu_fd_map *m, int fd)
{
	int prot = PROT_READ | (m->writable ? PROT_WRITE : 0);
	void *base = mmap(NULL, m->size, prot, MAP_SHARED | MAP_NORESERVE, fd, 0);

	if (base == MAP_FAILED)
		return -errno;
	m->slot = vfu_sigbus_register(base, m->size, m->maps->owner);
	if (m->slot < 0) {
		munmap(base, m->size);
		return m->slot;
	}
	m->base = base;
	/* A core dump is not the place for a guest's memory. */
	madvise(base, m->size, MADV_DONTDUMP);
	return 0;
}

static int create(struct vfu_fd_maps *maps, int fd, const struct vfu_fd_map *key, struct vfu_fd_map **ret_map)
{
	struct vfu_fd_map *m;
	int err;

	if (maps->count >= VFU_MAX_FD_MAPS || key->size > VFU_MAX_FD_MAP_BYTES - maps->bytes)
		return -ENOSPC;
	err = reserve(maps);
	if (err)
		return err;
	m = malloc(sizeof(*m));
	if (!m)
		return -ENOMEM;
	*m = *key;
	err = map_file(m, fd);
	if (err) {
		free(m);
		return err;
	}
	insert(maps, m);
	*ret_map = m;
	return 0;
}

int vfu_fd_maps_get(struct vfu_fd_maps *maps, int fd, bool writable, uint64_t end,
		    struct vfu_fd_map **ret_map)
{
	struct vfu_fd_map key = {.maps = maps, .writable = writable, .size = end, .refs = 1};
	struct vfu_fd_map *m;
	struct stat st;
	size_t at;

	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode) || st.st_size < 0 || (uint64_t)st.st_size < end)
		return -EINVAL;
	key.dev = st.st_dev;
	key.ino = st.st_ino;
	at = lower_bound(maps, &key);
	m = at < maps->count ? maps->items[at] : NULL;
	if (m && m->dev == key.dev && m->ino == key.ino && m->writable == writable) {
		m->refs++;
		*ret_map = m;
		return 0;
	}
	key.size = (uint64_t)st.st_size;
	return create(maps, fd, &key, ret_map);
}

void vfu_fd_map_ref(struct vfu_fd_map *m)
{
	m->refs++;
}

void vfu_fd_map_unref(struct vfu_fd_map *m)
{
	if (--m->refs > 0)
		return;
	remove_item(m->maps, m);
	vfu_sigbus_unregister(m->slot);
	munmap(m->base, m->size);
	free(m);
}
