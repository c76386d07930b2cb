/* SPDX-License-Identifier: BSD-3-Clause */
#include "driver/memory.h"

#include <assert.h>
#include <string.h>

#include "base/endian.h"

#define PAGE UINT64_C(4096)

static uint8_t *at(const struct vi_driver_memory *m, uint64_t gpa)
{
	assert(gpa >= m->gpa && gpa - m->gpa < m->size);
	return m->host + (gpa - m->gpa);
}

void vi_driver_memory_init(struct vi_driver_memory *m, uint64_t gpa, void *host, uint64_t size)
{
	*m = (struct vi_driver_memory){.gpa = gpa, .host = host, .size = size};
	if (gpa == 0)
		m->used = PAGE;
}

uint64_t vi_driver_pages_alloc(struct vi_driver_memory *m, unsigned count)
{
	uint64_t gpa = m->gpa + m->used, bytes = count * PAGE;

	if (bytes > m->size - m->used)
		return 0;
	m->used += bytes;
	memset(at(m, gpa), 0, bytes);
	return gpa;
}

uint64_t vi_driver_page_alloc(struct vi_driver_memory *m)
{
	uint64_t gpa = m->free;

	if (!gpa)
		return vi_driver_pages_alloc(m, 1);
	m->free = vi_driver_load64(m, gpa);
	memset(at(m, gpa), 0, PAGE);
	return gpa;
}

void vi_driver_page_free(struct vi_driver_memory *m, uint64_t gpa)
{
	vi_driver_store64(m, gpa, m->free);
	m->free = gpa;
}

void vi_driver_store64(const struct vi_driver_memory *m, uint64_t gpa, uint64_t value)
{
	vi_store_le64(at(m, gpa), value);
}

uint64_t vi_driver_load64(const struct vi_driver_memory *m, uint64_t gpa)
{
	return vi_load_le64(at(m, gpa));
}

uint32_t vi_driver_load32(const struct vi_driver_memory *m, uint64_t gpa)
{
	return vi_load_le32(at(m, gpa));
}

void vi_driver_store32(const struct vi_driver_memory *m, uint64_t gpa, uint32_t value)
{
	vi_store_le32(at(m, gpa), value);
}

uint16_t vi_driver_load16(const struct vi_driver_memory *m, uint64_t gpa)
{
	return vi_load_le16(at(m, gpa));
}

void vi_driver_store16(const struct vi_driver_memory *m, uint64_t gpa, uint16_t value)
{
	vi_store_le16(at(m, gpa), value);
}
