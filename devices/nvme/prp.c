/* SPDX-License-Identifier: BSD-3-Clause */
/* Physical region pages (4.3): where the data of a command is. */
#include "nvme/controller.h"

#include <string.h>

#define OFFSET(iova)	 ((iova) & (NVME_PAGE_SIZE - 1))
#define ENTRIES_PER_PAGE (NVME_PAGE_SIZE / 8)

static uint32_t pages_of(uint32_t len)
{
	return (len + NVME_PAGE_SIZE - 1) / NVME_PAGE_SIZE;
}

static uint32_t add_pages(struct nvme_data *data, const uint64_t *entries, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		if (OFFSET(entries[i]))
			return NVME_PRP_OFFSET_INVALID;
		data->page[data->count++] = entries[i];
	}
	return NVME_SUCCESS;
}

/*
 * A list is read up to the end of its page; when entries are still missing the
 * last one leads to the next list. A hostile chain of lists with one entry
 * each would never end: a list of NVME_MAX_PAGES pages needs no more hops than
 * that even if every hop brings one page only, and a hop that brings none is
 * counted too.
 */
static uint32_t resolve_list(struct nvme *n, uint64_t list, unsigned missing, struct nvme_data *data)
{
	uint64_t entries[NVME_MAX_PAGES];

	for (unsigned hop = 0; hop < NVME_MAX_PAGES; hop++) {
		unsigned room = (unsigned)(NVME_PAGE_SIZE - OFFSET(list)) / 8;
		unsigned take = missing < room ? missing : room;
		uint32_t status;

		if (list & 7)
			return NVME_PRP_OFFSET_INVALID;
		if (nvme_dma_read(n, list, entries, take * sizeof(*entries)) < 0)
			return NVME_DATA_TRANSFER_ERROR;
		if (missing <= room)
			return add_pages(data, entries, missing);
		status = add_pages(data, entries, room - 1);
		if (status)
			return status;
		missing -= room - 1;
		list = entries[room - 1];
	}
	return NVME_PRP_OFFSET_INVALID;
}

uint32_t nvme_prp_resolve(struct nvme *n, uint64_t prp1, uint64_t prp2, uint32_t len,
			  struct nvme_data *ret_data)
{
	uint32_t first = NVME_PAGE_SIZE - (uint32_t)OFFSET(prp1);

	if (prp1 & 3)
		return NVME_PRP_OFFSET_INVALID;
	ret_data->len = len;
	ret_data->page[0] = prp1;
	ret_data->count = 1;
	if (len <= first)
		return NVME_SUCCESS;
	if (len - first <= NVME_PAGE_SIZE)
		return add_pages(ret_data, &prp2, 1);
	return resolve_list(n, prp2, pages_of(len - first), ret_data);
}

/* The longest contiguous piece from page *at on; moves *at behind it. */
static size_t next_piece(const struct nvme_data *data, unsigned *at, size_t left)
{
	unsigned i = *at;
	size_t len = NVME_PAGE_SIZE - OFFSET(data->page[i]);

	while (len < left && i + 1 < data->count && data->page[i + 1] == data->page[*at] + len) {
		len += NVME_PAGE_SIZE;
		i++;
	}
	*at = i + 1;
	return len < left ? len : left;
}

uint32_t nvme_prp_copy_in(struct nvme *n, const struct nvme_data *data, void *buf, size_t len)
{
	uint8_t *to = buf;

	for (unsigned i = 0; len;) {
		uint64_t iova = data->page[i];
		size_t piece = next_piece(data, &i, len);

		if (nvme_dma_read(n, iova, to, piece) < 0)
			return NVME_DATA_TRANSFER_ERROR;
		to += piece;
		len -= piece;
	}
	return NVME_SUCCESS;
}

uint32_t nvme_prp_copy_out(struct nvme *n, const struct nvme_data *data, const void *buf, size_t len)
{
	const uint8_t *from = buf;

	for (unsigned i = 0; len;) {
		uint64_t iova = data->page[i];
		size_t piece = next_piece(data, &i, len);

		if (nvme_dma_write(n, iova, from, piece) < 0)
			return NVME_DATA_TRANSFER_ERROR;
		from += piece;
		len -= piece;
	}
	return NVME_SUCCESS;
}

uint32_t nvme_prp_reply(struct nvme *n, struct nvme_command *c, const void *buf, uint32_t len)
{
	uint32_t status = nvme_prp_resolve(n, c->sqe.prp1, c->sqe.prp2, len, &c->data);

	return status ? status : nvme_prp_copy_out(n, &c->data, buf, len);
}
