/* SPDX-License-Identifier: BSD-3-Clause */
#include "vfio_user/fd_map.h"

#include <assert.h>
#include <errno.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "os/sentence.h"
#include "vfio_user/server.h"

uint64_t vfu_fd_maps_limit(void)
{
	long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
	uint64_t most = VFU_MAX_FD_MAP_BYTES / VFU_MEMORY_TIMES;

	if (pages <= 0 || page <= 0 || (uint64_t)pages > most / (uint64_t)page)
		return VFU_MAX_FD_MAP_BYTES;
	return (uint64_t)pages * (uint64_t)page * VFU_MEMORY_TIMES;
}

void vfu_fd_maps_init(struct vfu_fd_maps *maps, struct vfu_sigbus_owner *owner,
		      const struct vfu_unmapper *unmapper, uint64_t max_bytes)
{
	*maps = (struct vfu_fd_maps){.owner = owner, .unmapper = unmapper, .max_bytes = max_bytes};
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
	return a->room < b->room ? -1 : a->room > b->room;
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

/* Mapping a huge page file makes it as long as the mapping. */
static bool grows_when_mapped(int fd)
{
	struct statfs fs;

	return fstatfs(fd, &fs) < 0 || fs.f_type == HUGETLBFS_MAGIC;
}

/*
 * What lies behind the end of the file is not touched before the file has grown:
 * no range has it. A file system may not take twice the length; then there is no
 * room.
 */
static void *map_with_room(struct vfu_fd_map *m, int fd)
{
	int prot = PROT_READ | (m->writable ? PROT_WRITE : 0), flags = MAP_SHARED | MAP_NORESERVE;
	void *base = MAP_FAILED;

	m->room = 2 * m->size;
	if (!grows_when_mapped(fd))
		base = mmap(NULL, m->room, prot, flags, fd, 0);
	if (base != MAP_FAILED)
		return base;
	m->room = m->size;
	return mmap(NULL, m->room, prot, flags, fd, 0);
}

static int fail(int err, char *why, size_t why_size, const char *sentence)
{
	os_say(why, why_size, "%s", sentence);
	return err;
}

static int map_file(struct vfu_fd_map *m, int fd, char *why, size_t why_size)
{
	void *base = map_with_room(m, fd);

	if (base == MAP_FAILED)
		return fail(-errno, why, why_size, "the file cannot be mapped");
	m->slot = vfu_sigbus_register(base, m->size, m->maps->owner);
	if (m->slot < 0) {
		munmap(base, m->room);
		return fail(m->slot, why, why_size,
			    "all clients together have as many mappings of files as there may be");
	}
	m->base = base;
	/* A core dump is not the place for a guest's memory. */
	madvise(base, m->room, MADV_DONTDUMP);
	return 0;
}

static int check_limits(const struct vfu_fd_maps *maps, uint64_t more, bool one_more, char *why,
			size_t why_size)
{
	if (one_more && maps->count >= VFU_MAX_FD_MAPS)
		return fail(-ENOSPC, why, why_size, "the client has lent as many files as it may");
	if (more > maps->max_bytes - maps->bytes)
		return fail(-ENOSPC, why, why_size,
			    "the files that the client has lent are longer than all memory that it may lend, "
			    "which is four times the memory of this machine");
	return 0;
}

static int create(struct vfu_fd_maps *maps, int fd, const struct vfu_fd_map *key, struct vfu_fd_map **ret_map,
		  char *why, size_t why_size)
{
	struct vfu_fd_map *m;
	int err = check_limits(maps, key->size, true, why, why_size);

	if (err)
		return err;
	m = reserve(maps) ? NULL : malloc(sizeof(*m));
	if (!m)
		return fail(-ENOMEM, why, why_size, "there is no memory for it");
	*m = *key;
	err = map_file(m, fd, why, why_size);
	if (err) {
		free(m);
		return err;
	}
	insert(maps, m);
	*ret_map = m;
	return 0;
}

/* The file, now `size` long, has grown into the room. */
static int grow(struct vfu_fd_map *m, uint64_t size, char *why, size_t why_size)
{
	uint64_t to = size < m->room ? size : m->room;
	int err = check_limits(m->maps, to - m->size, false, why, why_size);

	if (err)
		return err;
	if (!vfu_sigbus_grow(m->slot, to))
		return fail(-EIO, why, why_size, "the client truncated the file while it was lent");
	m->maps->bytes += to - m->size;
	m->size = to;
	return 0;
}

int vfu_fd_maps_get(struct vfu_fd_maps *maps, int fd, bool writable, uint64_t end,
		    struct vfu_fd_map **ret_map, char *why, size_t why_size)
{
	struct vfu_fd_map key = {.maps = maps, .writable = writable, .room = end, .refs = 1};
	struct vfu_fd_map *m;
	struct stat st;
	size_t at;
	int err;

	if (fstat(fd, &st) < 0)
		return fail(-errno, why, why_size, "its descriptor cannot be looked at");
	if (!S_ISREG(st.st_mode) || st.st_size < 0 || (uint64_t)st.st_size < end)
		return fail(-EINVAL, why, why_size,
			    "what is lent must be a regular file, a memfd or shared memory, and as long as "
			    "the range");
	key.dev = st.st_dev;
	key.ino = st.st_ino;
	at = lower_bound(maps, &key);
	m = at < maps->count ? maps->items[at] : NULL;
	key.size = (uint64_t)st.st_size;
	if (!m || m->dev != key.dev || m->ino != key.ino || m->writable != writable)
		return create(maps, fd, &key, ret_map, why, why_size);
	err = end > m->size ? grow(m, key.size, why, why_size) : 0;
	if (err)
		return err;
	m->refs++;
	*ret_map = m;
	return 0;
}

void vfu_fd_map_ref(struct vfu_fd_map *m)
{
	m->refs++;
}

void vfu_fd_map_unref(struct vfu_fd_map *m)
{
	const struct vfu_unmapper *unmapper = m->maps->unmapper;

	if (--m->refs > 0)
		return;
	remove_item(m->maps, m);
	vfu_sigbus_unregister(m->slot);
	if (unmapper && unmapper->may_unmap(unmapper->opaque, m->room))
		unmapper->unmap(unmapper->opaque, m->base, m->room);
	else
		munmap(m->base, m->room);
	free(m);
}

bool vfu_fd_map_may_unref(const struct vfu_fd_map *m)
{
	const struct vfu_unmapper *unmapper = m->maps->unmapper;

	return m->refs > 1 || !unmapper || unmapper->may_unmap(unmapper->opaque, m->room);
}
