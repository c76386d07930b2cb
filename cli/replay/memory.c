/* SPDX-License-Identifier: BSD-3-Clause */
#include "cli/replay/memory.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define LARGE_LG2      21
#define LARGE_MOST     (UINT64_C(16) << 30) /* with pieces of 2 MiB */
#define RESIDENT_PAGES 8192u		    /* 32 MiB, then all is dropped */

void *replay_reserve(uint64_t size)
{
	void *p =
		mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (p == MAP_FAILED)
		return NULL;
	madvise(p, size, MADV_NOHUGEPAGE);
	return p;
}

static int by_number(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

/* The pieces that blocks lie in, sorted, each once. */
static uint64_t list_pieces(const struct number_map *blocks, unsigned piece_lg2, uint64_t *pieces)
{
	uint64_t block, count = 0, kept = 0;
	size_t at = 0;

	while (number_map_next(blocks, &at, &block))
		pieces[count++] = block >> (piece_lg2 - REPLAY_BLOCK_LG2);
	qsort(pieces, count, sizeof(*pieces), by_number);
	for (uint64_t i = 0; i < count; i++)
		if (!i || pieces[i] != pieces[i - 1])
			pieces[kept++] = pieces[i];
	return kept;
}

static int place_pieces(struct replay_memory *m, const struct number_map *blocks)
{
	uint64_t *pieces = malloc((blocks->count + 1) * sizeof(*pieces)), count;
	int err = 0;

	if (!pieces)
		return -ENOMEM;
	m->piece_lg2 = LARGE_LG2;
	count = list_pieces(blocks, m->piece_lg2, pieces);
	if (count << m->piece_lg2 > LARGE_MOST) {
		m->piece_lg2 = REPLAY_BLOCK_LG2;
		count = list_pieces(blocks, m->piece_lg2, pieces);
	}
	m->size = count << m->piece_lg2;
	for (uint64_t i = 0; !err && i < count; i++) {
		err = number_map_put(&m->pieces, pieces[i], i);
		if (pieces[i] << m->piece_lg2 < REPLAY_HIGH)
			m->low_size = (i + 1) << m->piece_lg2;
	}
	free(pieces);
	return err;
}

int replay_memory_init(struct replay_memory *m, const struct number_map *blocks)
{
	int err;

	*m = (struct replay_memory){.last_piece = UINT64_MAX};
	err = place_pieces(m, blocks);
	if (err)
		return err;
	if (m->size > REPLAY_MEMORY_MOST)
		return -EFBIG;
	m->host = replay_reserve(m->size);
	m->resident = replay_reserve(m->size / REPLAY_PAGE);
	return m->host && m->resident ? 0 : -ENOMEM;
}

void replay_memory_finish(struct replay_memory *m)
{
	if (m->host)
		munmap(m->host, m->size);
	if (m->resident)
		munmap(m->resident, m->size / REPLAY_PAGE);
	number_map_finish(&m->pieces);
	*m = (struct replay_memory){0};
}

uint64_t replay_memory_offset(struct replay_memory *m, uint64_t phys)
{
	uint64_t piece = phys >> m->piece_lg2;

	if (piece != m->last_piece) {
		if (!number_map_get(&m->pieces, piece, &m->last_index))
			abort();
		m->last_piece = piece;
	}
	return (m->last_index << m->piece_lg2) + (phys & ((UINT64_C(1) << m->piece_lg2) - 1));
}

uint64_t replay_memory_offset_of(const struct replay_memory *m, uint64_t address)
{
	if (address < m->low_size)
		return address;
	if (address >= REPLAY_HIGH + m->low_size && address < REPLAY_HIGH + m->size)
		return address - REPLAY_HIGH;
	return UINT64_MAX;
}

void replay_memory_touch(struct replay_memory *m, uint64_t offset, uint64_t len)
{
	uint64_t last = (offset + len - 1) / REPLAY_PAGE;

	if (m->resident_pages > RESIDENT_PAGES) {
		madvise(m->host, m->size, MADV_DONTNEED);
		madvise(m->resident, m->size / REPLAY_PAGE, MADV_DONTNEED);
		m->resident_pages = 0;
	}
	for (uint64_t page = offset / REPLAY_PAGE; page <= last; page++) {
		if (m->resident[page])
			continue;
		m->resident[page] = 1;
		m->resident_pages++;
		*(volatile uint8_t *)(m->host + page * REPLAY_PAGE) = 1;
	}
}
