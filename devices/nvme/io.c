/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The NVM command set (6). A command is checked, its data staged, a request
 * given to the disk; the step after that finishes it.
 */
#include "nvme/controller.h"

#include <string.h>

static uint64_t first_block(const struct nvme_command *c)
{
	return (uint64_t)c->sqe.cdw11 << 32 | c->sqe.cdw10;
}

static uint32_t check_range(const struct nvme *n, uint64_t first, uint64_t count)
{
	return first > n->blocks || count > n->blocks - first ? NVME_LBA_OUT_OF_RANGE : NVME_SUCCESS;
}

static unsigned durable_flags(const struct nvme *n, const struct nvme_command *c)
{
	return (c->sqe.cdw12 & NVME_RW_FUA) || !nvme_features_write_cache(n) ? DISK_DURABLE : 0;
}

static void tell_of_full_disk(struct nvme *n)
{
	if (n->full_told)
		return;
	n->full_told = true;
	n->ops.log(n->opaque,
		   "the file system of the disk file is full, or its quota is used up: the guest is told "
		   "'capacity exceeded' until there is room");
}

static uint32_t finish(struct nvme *n, struct nvme_command *c)
{
	uint32_t status = nvme_command_disk_status(c);

	if (status == NVME_CAPACITY_EXCEEDED)
		tell_of_full_disk(n);
	if (status == NVME_WRITE_FAULT || status == NVME_UNRECOVERED_READ)
		n->counters.media_errors++;
	return status;
}

static void count_read(struct nvme *n, const struct nvme_command *c)
{
	n->counters.reads++;
	n->counters.read_blocks += NVME_RW_NLB(c->sqe.cdw12);
}

/* Checks a transfer and finds out where it goes; `copies` staging areas of its length. */
static uint32_t prepare(struct nvme *n, struct nvme_command *c, unsigned copies)
{
	uint32_t blocks = NVME_RW_NLB(c->sqe.cdw12), len = blocks << NVME_BLOCK_LG2;
	uint32_t status = check_range(n, first_block(c), blocks);

	if (len > NVME_MAX_TRANSFER)
		return NVME_INVALID_FIELD;
	if (status)
		return status;
	if (!nvme_staging_get(n, c, (size_t)len * copies))
		return NVME_NO_ROOM;
	c->disk = (struct disk_request){.offset = first_block(c) << NVME_BLOCK_LG2,
					.buf = c->staging,
					.len = len};
	return nvme_prp_resolve(n, c->sqe.prp1, c->sqe.prp2, len, &c->data);
}

static uint32_t read_done(struct nvme *n, struct nvme_command *c)
{
	uint32_t status = finish(n, c);

	if (status)
		return status;
	count_read(n, c);
	return nvme_prp_copy_out(n, &c->data, c->staging, c->data.len);
}

static uint32_t read_start(struct nvme *n, struct nvme_command *c)
{
	uint32_t status = prepare(n, c, 1);

	if (status)
		return status;
	c->disk.op = DISK_READ;
	return nvme_command_submit(n, c, read_done);
}

static uint32_t write_done(struct nvme *n, struct nvme_command *c)
{
	uint32_t status = finish(n, c);

	if (status)
		return status;
	n->counters.writes++;
	n->counters.written_blocks += NVME_RW_NLB(c->sqe.cdw12);
	return NVME_SUCCESS;
}

static uint32_t write_start(struct nvme *n, struct nvme_command *c)
{
	uint32_t status = prepare(n, c, 1);

	if (status == NVME_SUCCESS)
		status = nvme_prp_copy_in(n, &c->data, c->staging, c->data.len);
	if (status)
		return status;
	c->disk.op = DISK_WRITE;
	c->disk.flags = durable_flags(n, c);
	return nvme_command_submit(n, c, write_done);
}

static uint32_t compare_done(struct nvme *n, struct nvme_command *c)
{
	const uint8_t *guest = (const uint8_t *)c->staging + c->data.len;
	uint32_t status = finish(n, c);

	if (status)
		return status;
	count_read(n, c);
	return memcmp(c->staging, guest, c->data.len) ? NVME_COMPARE_FAILURE : NVME_SUCCESS;
}

static uint32_t compare_start(struct nvme *n, struct nvme_command *c)
{
	uint32_t status = prepare(n, c, 2);

	if (status == NVME_SUCCESS)
		status = nvme_prp_copy_in(n, &c->data, (uint8_t *)c->staging + c->data.len, c->data.len);
	if (status)
		return status;
	c->disk.op = DISK_READ;
	return nvme_command_submit(n, c, compare_done);
}

static uint32_t zeroes_start(struct nvme *n, struct nvme_command *c)
{
	uint32_t blocks = NVME_RW_NLB(c->sqe.cdw12), status = check_range(n, first_block(c), blocks);

	if (status)
		return status;
	c->disk = (struct disk_request){
		.op = DISK_ZERO,
		.flags = durable_flags(n, c) | (c->sqe.cdw12 & NVME_RW_DEAC ? DISK_UNMAP : 0),
		.offset = first_block(c) << NVME_BLOCK_LG2,
		.len = (uint64_t)blocks << NVME_BLOCK_LG2,
	};
	return nvme_command_submit(n, c, finish);
}

uint32_t nvme_io_flush(struct nvme *n, struct nvme_command *c)
{
	c->disk = (struct disk_request){.op = DISK_FLUSH};
	return nvme_command_submit(n, c, finish);
}

static uint32_t flush_start(struct nvme *n, struct nvme_command *c)
{
	if (c->sqe.nsid != 1 && c->sqe.nsid != NVME_NSID_ALL)
		return NVME_INVALID_NAMESPACE;
	return nvme_io_flush(n, c);
}

static unsigned range_count(const struct nvme_command *c)
{
	return (c->sqe.cdw10 & 0xff) + 1;
}

/* One range after the other; the copy of them in the staging memory is the controller's own. */
static uint32_t discard_next(struct nvme *n, struct nvme_command *c)
{
	const struct nvme_dsm_range *ranges = c->staging;
	uint32_t status = c->index ? finish(n, c) : NVME_SUCCESS;

	while (c->index < range_count(c) && !ranges[c->index].blocks)
		c->index++;
	if (status || c->index >= range_count(c))
		return status;
	if (c->aborted)
		return NVME_ABORT_REQUESTED;
	c->disk = (struct disk_request){.op = DISK_DISCARD,
					.offset = ranges[c->index].first << NVME_BLOCK_LG2,
					.len = (uint64_t)ranges[c->index].blocks << NVME_BLOCK_LG2};
	c->index++;
	return nvme_command_submit(n, c, discard_next);
}

static uint32_t check_ranges(const struct nvme *n, const struct nvme_command *c)
{
	const struct nvme_dsm_range *ranges = c->staging;
	uint32_t status = NVME_SUCCESS;

	for (unsigned i = 0; i < range_count(c) && !status; i++)
		status = check_range(n, ranges[i].first, ranges[i].blocks);
	return status;
}

static uint32_t dataset_start(struct nvme *n, struct nvme_command *c)
{
	uint32_t len = range_count(c) * (uint32_t)sizeof(struct nvme_dsm_range), status;

	if (!nvme_staging_get(n, c, len))
		return NVME_NO_ROOM;
	status = nvme_prp_resolve(n, c->sqe.prp1, c->sqe.prp2, len, &c->data);
	if (status == NVME_SUCCESS)
		status = nvme_prp_copy_in(n, &c->data, c->staging, len);
	if (status == NVME_SUCCESS)
		status = check_ranges(n, c);
	if (status || !(c->sqe.cdw11 & NVME_DSM_AD))
		return status; /* the other attributes are hints */
	return discard_next(n, c);
}

#define SUPPORTED NVME_EFFECT_SUPPORTED
#define CHANGES	  (NVME_EFFECT_SUPPORTED | NVME_EFFECT_CONTENT)

/* Ends with an entry without a handler. */
const struct nvme_opcode nvme_io_opcodes[] = {
	{.opcode = NVME_IO_READ, .needs_namespace = true, .effects = SUPPORTED, .handler = read_start},
	{.opcode = NVME_IO_WRITE, .needs_namespace = true, .effects = CHANGES, .handler = write_start},
	{.opcode = NVME_IO_FLUSH, .effects = SUPPORTED, .handler = flush_start},
	{.opcode = NVME_IO_COMPARE, .needs_namespace = true, .effects = SUPPORTED, .handler = compare_start},
	{.opcode = NVME_IO_WRITE_ZEROES,
	 .needs_namespace = true,
	 .effects = CHANGES,
	 .handler = zeroes_start},
	{.opcode = NVME_IO_DATASET_MANAGEMENT,
	 .needs_namespace = true,
	 .effects = CHANGES,
	 .handler = dataset_start},
	{0},
};

static uint32_t run(struct nvme *n, struct nvme_command *c, const struct nvme_opcode *o)
{
	if (c->sqe.flags & (NVME_SQE_FUSE | NVME_SQE_PSDT))
		return NVME_INVALID_FIELD;
	if (o->needs_namespace && c->sqe.nsid != 1)
		return NVME_INVALID_NAMESPACE;
	if (n->read_only && (o->effects & NVME_EFFECT_CONTENT))
		return NVME_WRITE_PROTECTED;
	return o->handler(n, c);
}

uint32_t nvme_io_execute(struct nvme *n, struct nvme_command *c)
{
	for (const struct nvme_opcode *o = nvme_io_opcodes; o->handler; o++) {
		if (o->opcode == c->sqe.opcode)
			return run(n, c, o);
	}
	return NVME_INVALID_OPCODE;
}
