/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Staging memory: where data waits between guest memory and the disk, so that
 * neither a slow disk holds a guest page nor a slow guest page the disk. A
 * bitmap of pages, first fit.
 */
#include "nvme/controller.h"

#define WORDS (NVME_STAGING_PAGES / 64)

static bool used(const struct nvme *n, unsigned page)
{
	return n->staging_used[page / 64] >> page % 64 & 1;
}

static void mark(struct nvme *n, unsigned first, unsigned count, bool on)
{
	for (unsigned p = first; p < first + count; p++) {
		uint64_t bit = 1ull << p % 64;

		if (on)
			n->staging_used[p / 64] |= bit;
		else
			n->staging_used[p / 64] &= ~bit;
	}
}

/* The first run of free pages; NVME_STAGING_PAGES when there is none. */
static unsigned find(const struct nvme *n, unsigned count)
{
	unsigned run = 0;

	for (unsigned p = 0; p < NVME_STAGING_PAGES; p++) {
		if (p % 64 == 0 && n->staging_used[p / 64] == UINT64_MAX) {
			run = 0;
			p += 63;
			continue;
		}
		run = used(n, p) ? 0 : run + 1;
		if (run == count)
			return p + 1 - count;
	}
	return NVME_STAGING_PAGES;
}

bool nvme_staging_get(struct nvme *n, struct nvme_command *c, size_t len)
{
	unsigned count = (unsigned)((len + NVME_PAGE_SIZE - 1) / NVME_PAGE_SIZE);
	unsigned first = find(n, count);

	if (first == NVME_STAGING_PAGES)
		return false;
	mark(n, first, count, true);
	c->staging = n->staging + (size_t)first * NVME_PAGE_SIZE;
	c->staging_len = len;
	return true;
}

void nvme_staging_put(struct nvme *n, struct nvme_command *c)
{
	if (!c->staging)
		return;
	mark(n, (unsigned)(((uint8_t *)c->staging - n->staging) / NVME_PAGE_SIZE),
	     (unsigned)((c->staging_len + NVME_PAGE_SIZE - 1) / NVME_PAGE_SIZE), false);
	c->staging = NULL;
	c->staging_len = 0;
}
