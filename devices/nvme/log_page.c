/* SPDX-License-Identifier: BSD-3-Clause */
/* Get Log Page (5.14) and what the logs are made of. */
#include "nvme/controller.h"

#include <string.h>

/* Newest first, as the guest reads it. */
void nvme_log_page_add_error(struct nvme *n, const struct nvme_command *c, uint32_t status)
{
	struct nvme_error_entry *log = n->error_log;

	n->counters.errors++;
	memmove(log + 1, log, (NVME_ERROR_ENTRIES - 1) * sizeof(*log));
	log[0] = (struct nvme_error_entry){
		.count = n->counters.errors,
		.sqid = c->sqid,
		.cid = c->sqe.cid,
		.status = (uint16_t)(status << 1),
		.parameter = 0xffff,
		.lba = c->sqid ? (uint64_t)c->sqe.cdw11 << 32 | c->sqe.cdw10 : 0,
		.nsid = c->sqe.nsid,
	};
}

static void fill_error(struct nvme *n, uint8_t *page)
{
	memcpy(page, n->error_log, sizeof(n->error_log));
}

/* Data units are thousands of blocks, rounded up. */
static void fill_smart(struct nvme *n, uint8_t *page)
{
	const struct nvme_counters *from = &n->counters;
	struct nvme_smart_log log = {
		.temperature = {300 & 0xff, 300 >> 8}, /* kelvin */
		.spare = 100,
		.spare_threshold = 10,
		.units_read = {(from->read_blocks + 999) / 1000},
		.units_written = {(from->written_blocks + 999) / 1000},
		.reads = {from->reads},
		.writes = {from->writes},
		.power_cycles = {1},
		.media_errors = {from->media_errors},
		.error_entries = {from->errors},
	};

	memcpy(page, &log, sizeof(log));
}

static void fill_firmware(struct nvme *n, uint8_t *page)
{
	page[0] = 1; /* slot 1 is active */
	memcpy(page + 8, "0.1     ", 8);
}

static void fill_changed(struct nvme *n, uint8_t *page)
{
	/* the namespace never changes */
}

static void fill_effects_of(const struct nvme_opcode *o, uint8_t *page)
{
	for (; o->handler; o++)
		memcpy(page + 4 * o->opcode, &o->effects, 4);
}

static void fill_effects(struct nvme *n, uint8_t *page)
{
	const uint32_t none = 0;

	fill_effects_of(nvme_admin_opcodes, page);
	fill_effects_of(nvme_io_opcodes, page + 1024);
	if (!n->rogue)
		memcpy(page + 4 * NVME_ADMIN_ROGUE, &none, 4);
	if (n->no_dbbuf)
		memcpy(page + 4 * NVME_ADMIN_DOORBELL_BUFFER, &none, 4);
}

static const struct log_page {
	uint8_t id;
	uint16_t size;
	void (*fill)(struct nvme *n, uint8_t *page);
} pages[] = {
	{NVME_LOG_ERROR, sizeof(struct nvme_error_entry) * NVME_ERROR_ENTRIES, fill_error},
	{NVME_LOG_SMART, sizeof(struct nvme_smart_log), fill_smart},
	{NVME_LOG_FIRMWARE, 512, fill_firmware},
	{NVME_LOG_CHANGED_NS, 4096, fill_changed},
	{NVME_LOG_EFFECTS, 4096, fill_effects},
};

static const struct log_page *find(uint8_t id)
{
	for (size_t i = 0; i < sizeof(pages) / sizeof(pages[0]); i++) {
		if (pages[i].id == id)
			return &pages[i];
	}
	return NULL;
}

/* Beyond the end of a log the guest's buffer stays as it is. */
uint32_t nvme_log_page_execute(struct nvme *n, struct nvme_command *c)
{
	uint8_t page[NVME_PAGE_SIZE] = {0};
	const struct log_page *log = find(c->sqe.cdw10 & 0xff);
	uint64_t dwords = (uint64_t)(c->sqe.cdw11 & 0xffff) << 16 | c->sqe.cdw10 >> 16;
	uint64_t offset = (uint64_t)c->sqe.cdw13 << 32 | c->sqe.cdw12, len = (dwords + 1) * 4;
	uint32_t status;

	if (!log)
		return NVME_INVALID_LOG_PAGE;
	if (c->sqe.nsid != 0 && c->sqe.nsid != NVME_NSID_ALL && log->id == NVME_LOG_SMART)
		return NVME_INVALID_FIELD; /* LPA bit 0: per controller only */
	if (offset % 4 || offset >= log->size || len > NVME_MAX_TRANSFER)
		return NVME_INVALID_FIELD;
	if (len > log->size - offset)
		len = log->size - offset;
	log->fill(n, page);
	status = nvme_prp_reply(n, c, page + offset, (uint32_t)len);
	if (status == NVME_SUCCESS && !(c->sqe.cdw10 & NVME_LOG_RAE))
		nvme_async_event_log_read(n, log->id);
	return status;
}
