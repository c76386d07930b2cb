/* SPDX-License-Identifier: BSD-3-Clause */
/* The admin command set. */
#include "driver.h"

#include <string.h>

static unsigned identify(struct drv *d, unsigned cns, uint32_t nsid, uint64_t data)
{
	return drv_admin(d, (struct nvme_sqe){
				    .opcode = NVME_ADMIN_IDENTIFY, .nsid = nsid, .prp1 = data, .cdw10 = cns});
}

static void identify_contents(void **state)
{
	struct drv *d = drv_ready();
	uint64_t data = drv_alloc(d, 4096);
	struct nvme_identify_controller *c = drv_at(d, data);
	struct nvme_identify_namespace *ns = drv_at(d, data);
	uint8_t *bytes = drv_at(d, data);
	uint32_t *list = drv_at(d, data);

	assert_int_equal(identify(d, 1, 0, data), 0);
	assert_memory_equal(c->sn, "viommu-", 7);
	assert_memory_equal(c->mn, "viommu NVMe         ", 20);
	assert_int_equal(c->ver, 0x10400);
	assert_int_equal(c->nn, 1);
	assert_int_equal(c->sqes, 0x66);
	assert_int_equal(c->cqes, 0x44);
	assert_int_equal(c->mdts, 7);
	assert_int_equal(c->cntrltype, 1);
	assert_int_equal(c->oacs, 0x100);
	assert_int_equal(c->vwc & 1, 1);
	assert_memory_equal(c->subnqn, "nqn.2014-08.org.nvmexpress:uuid:", 32);
	assert_int_equal(strlen(c->subnqn), 32 + 36);
	assert_int_equal(identify(d, 0, 1, data), 0);
	assert_int_equal(ns->nsze, DRV_BLOCKS);
	assert_int_equal(ns->lbaf[0] >> 16 & 0xff, 9);
	assert_int_equal(identify(d, 0, 2, data), NVME_INVALID_NAMESPACE);
	assert_int_equal(identify(d, 2, 0, data), 0);
	assert_int_equal(list[0], 1);
	assert_int_equal(list[1], 0);
	assert_int_equal(identify(d, 2, 1, data), 0);
	assert_int_equal(list[0], 0);
	assert_int_equal(identify(d, 2, 0xfffffffe, data), NVME_INVALID_NAMESPACE);
	assert_int_equal(identify(d, 3, 1, data), 0);
	assert_int_equal(bytes[0], 2);
	assert_int_equal(bytes[20], 3);
	assert_int_equal(bytes[40], 0);
	assert_int_equal(identify(d, 6, 0, data), 0);
	assert_int_equal(identify(d, 0x13, 0, data), 0);
	assert_int_equal(identify(d, 0x55, 0, data), NVME_INVALID_FIELD);
	assert_int_equal(identify(d, 1, 0, FAKE_BASE + DRV_MEMORY), NVME_DATA_TRANSFER_ERROR);
	assert_int_equal(identify(d, 1, 0, data + 1), NVME_PRP_OFFSET_INVALID);
	drv_free(d);
}

static void two_controllers_differ(void **state)
{
	struct drv *a = drv_ready(), *b = drv_ready();
	uint64_t at = drv_alloc(a, 4096), bt = drv_alloc(b, 4096);
	struct nvme_identify_controller *ia = drv_at(a, at), *ib = drv_at(b, bt);

	assert_int_equal(identify(a, 1, 0, at), 0);
	assert_int_equal(identify(b, 1, 0, bt), 0);
	assert_true(strcmp(ia->subnqn, ib->subnqn) != 0);
	assert_memory_not_equal(ia->sn, ib->sn, 20);
	drv_free(a);
	drv_free(b);
}

static void queue_errors(void **state)
{
	struct drv *d = drv_ready();
	uint64_t m = drv_alloc(d, 65536);
	const struct {
		uint8_t opcode;
		uint32_t cdw10, cdw11;
		uint64_t prp1;
		unsigned status;
	} cases[] = {
		{NVME_ADMIN_CREATE_CQ, 15 << 16 | 0, 1, m, NVME_INVALID_QUEUE_ID},
		{NVME_ADMIN_CREATE_CQ, 15 << 16 | 1, 1, m, NVME_INVALID_QUEUE_ID},
		{NVME_ADMIN_CREATE_CQ, 15 << 16 | (DRV_QUEUES + 1), 1, m, NVME_INVALID_QUEUE_ID},
		{NVME_ADMIN_CREATE_CQ, 15 << 16 | 0xffff, 1, m, NVME_INVALID_QUEUE_ID},
		{NVME_ADMIN_CREATE_CQ, 0 << 16 | 2, 1, m, NVME_INVALID_QUEUE_SIZE},
		{NVME_ADMIN_CREATE_CQ, 1024u << 16 | 2, 1, m, NVME_INVALID_QUEUE_SIZE},
		{NVME_ADMIN_CREATE_CQ, 0xffffu << 16 | 2, 1, m, NVME_INVALID_QUEUE_SIZE},
		{NVME_ADMIN_CREATE_CQ, 15 << 16 | 2, 0, m, NVME_INVALID_FIELD},
		{NVME_ADMIN_CREATE_CQ, 15 << 16 | 2, 1, m + 64, NVME_PRP_OFFSET_INVALID},
		{NVME_ADMIN_CREATE_CQ, 15 << 16 | 2, NVME_MSIX_VECTORS << 16 | 3, m, NVME_INVALID_VECTOR},
		{NVME_ADMIN_CREATE_CQ, 15 << 16 | 2, 64 << 16 | 3, m, 0},
		{NVME_ADMIN_CREATE_SQ, 15 << 16 | 0, 1 << 16 | 1, m, NVME_INVALID_QUEUE_ID},
		{NVME_ADMIN_CREATE_SQ, 15 << 16 | 1, 1 << 16 | 1, m, NVME_INVALID_QUEUE_ID},
		{NVME_ADMIN_CREATE_SQ, 15 << 16 | (DRV_QUEUES + 1), 1 << 16 | 1, m, NVME_INVALID_QUEUE_ID},
		{NVME_ADMIN_CREATE_SQ, 15 << 16 | 2, 0 << 16 | 1, m, NVME_INVALID_QUEUE_ID},
		{NVME_ADMIN_CREATE_SQ, 15 << 16 | 2, 3 << 16 | 1, m, NVME_CQ_INVALID},
		{NVME_ADMIN_CREATE_SQ, 15 << 16 | 2, 9 << 16 | 1, m, NVME_INVALID_QUEUE_ID},
		{NVME_ADMIN_CREATE_SQ, 0 << 16 | 2, 2 << 16 | 1, m, NVME_INVALID_QUEUE_SIZE},
		{NVME_ADMIN_CREATE_SQ, 15 << 16 | 2, 2 << 16 | 0, m, NVME_INVALID_FIELD},
		{NVME_ADMIN_CREATE_SQ, 15 << 16 | 2, 2 << 16 | 1, m + 4, NVME_PRP_OFFSET_INVALID},
		{NVME_ADMIN_CREATE_SQ, 15 << 16 | 2, 2 << 16 | 1, m, 0},
		{NVME_ADMIN_DELETE_CQ, 0, 0, 0, NVME_INVALID_QUEUE_ID},
		{NVME_ADMIN_DELETE_CQ, 3, 0, 0, NVME_INVALID_QUEUE_ID},
		{NVME_ADMIN_DELETE_CQ, 2, 0, 0, NVME_INVALID_QUEUE_DELETION},
		{NVME_ADMIN_DELETE_SQ, 0, 0, 0, NVME_INVALID_QUEUE_ID},
		{NVME_ADMIN_DELETE_SQ, 3, 0, 0, NVME_INVALID_QUEUE_ID},
		{NVME_ADMIN_DELETE_SQ, 2, 0, 0, 0},
		{NVME_ADMIN_DELETE_SQ, 2, 0, 0, NVME_INVALID_QUEUE_ID},
		{NVME_ADMIN_DELETE_CQ, 2, 0, 0, 0},
		{NVME_ADMIN_DELETE_CQ, 2, 0, 0, NVME_INVALID_QUEUE_ID},
	};

	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_int_equal(drv_admin(d, (struct nvme_sqe){.opcode = cases[i].opcode,
								.prp1 = cases[i].prp1,
								.cdw10 = cases[i].cdw10,
								.cdw11 = cases[i].cdw11}),
				 cases[i].status);
	drv_free(d);
}

/* Deleting a queue waits for what it has in flight. */
static void delete_while_busy(void **state)
{
	struct drv *d = drv_ready();
	struct nvme_cqe cqe;
	uint16_t cid;

	for (unsigned i = 0; i < 8; i++)
		drv_put(d, 1, (struct nvme_sqe){.opcode = NVME_IO_FLUSH, .nsid = 1});
	drv_ring(d, 1);
	nvme_poll(d->nvme, 1);
	cid = drv_submit(d, 0, (struct nvme_sqe){.opcode = NVME_ADMIN_DELETE_SQ, .cdw10 = 1});
	assert_true(drv_wait(d, 0, &cqe));
	assert_int_equal(cqe.cid, cid);
	assert_int_equal(cqe.status >> 1, 0);
	assert_int_equal(d->nvme->cq[1].reserved, 0);
	assert_int_equal(drv_admin(d, (struct nvme_sqe){.opcode = NVME_ADMIN_DELETE_CQ, .cdw10 = 1}), 0);
	drv_free(d);
}

static unsigned set_feature(struct drv *d, uint32_t cdw10, uint32_t cdw11, uint32_t *ret_result)
{
	return drv_command(
		d, 0, (struct nvme_sqe){.opcode = NVME_ADMIN_SET_FEATURES, .cdw10 = cdw10, .cdw11 = cdw11},
		ret_result);
}

static unsigned get_feature(struct drv *d, uint32_t cdw10, uint32_t cdw11, uint32_t *ret_result)
{
	return drv_command(
		d, 0, (struct nvme_sqe){.opcode = NVME_ADMIN_GET_FEATURES, .cdw10 = cdw10, .cdw11 = cdw11},
		ret_result);
}

/* What was granted is the limit, of each kind; a reset gives all of them back. */
static void queues_beyond_the_granted(void **state)
{
	struct drv *d = drv_new(NULL);
	uint32_t granted;

	assert_true(drv_enable(d, 32, 32));
	assert_int_equal(drv_command(d, 0,
				     (struct nvme_sqe){.opcode = NVME_ADMIN_SET_FEATURES,
						       .cdw10 = NVME_FEATURE_QUEUES,
						       .cdw11 = 1 << 16 | 0},
				     &granted),
			 0);
	assert_int_equal(granted, 1 << 16 | 0); /* two completion queues, one submission queue */
	assert_int_equal(drv_create_cq(d, 3, 8, 1), NVME_INVALID_QUEUE_ID);
	assert_int_equal(drv_create_cq(d, 1, 8, 1), 0);
	assert_int_equal(drv_create_cq(d, 2, 8, 1), 0);
	assert_int_equal(drv_create_sq(d, 2, 2, 8), NVME_INVALID_QUEUE_ID);
	assert_int_equal(drv_create_sq(d, 1, 3, 8), NVME_INVALID_QUEUE_ID);
	assert_int_equal(drv_create_sq(d, 1, 1, 8), 0);
	assert_int_equal(drv_command(d, 1, (struct nvme_sqe){.opcode = NVME_IO_FLUSH, .nsid = 1}, NULL), 0);
	assert_true(drv_disable(d));
	assert_true(drv_enable(d, 32, 32));
	assert_int_equal(drv_create_cq(d, DRV_QUEUES, 8, 1), 0);
	assert_int_equal(drv_create_sq(d, DRV_QUEUES, DRV_QUEUES, 8), 0);
	drv_free(d);
}

static void features(void **state)
{
	struct drv *d = drv_new(NULL);
	const struct {
		uint32_t id, set, status, get, reset;
	} cases[] = {
		{0x01, 0x01020305, 0, 0x01020305, 0},
		{0x02, 1, NVME_INVALID_FIELD, 0, 0},
		{0x02, 0, 0, 0, 0},
		{0x04, 330, 0, 330, 343},
		{0x04, 330 | 1 << 16, NVME_INVALID_FIELD, 330, 343},
		{0x05, 77, 0, 77, 0},
		{0x05, 1 << 16, NVME_INVALID_FIELD, 77, 0},
		{0x06, 0, 0, 0, 1},
		{0x06, 1, 0, 1, 1},
		{0x08, 0x0203, 0, 0x0203, 0},
		{0x0a, 1, 0, 1, 0},
		{0x0b, 0x1ff, 0, 0x1ff, 0},
	};
	uint32_t r;

	assert_true(drv_enable(d, 32, 32));
	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_int_equal(set_feature(d, cases[i].id, cases[i].set, NULL), cases[i].status);
		assert_int_equal(get_feature(d, cases[i].id, 0, &r), 0);
		assert_int_equal(r, cases[i].get);
		assert_int_equal(get_feature(d, 1 << 8 | cases[i].id, 0, &r), 0);
		assert_int_equal(r, cases[i].reset);
		assert_int_equal(get_feature(d, 3 << 8 | cases[i].id, 0, &r), 0);
		assert_int_equal(r, 4);
		assert_int_equal(set_feature(d, 1u << 31 | cases[i].id, 0, NULL), NVME_NOT_SAVEABLE);
	}
	assert_int_equal(get_feature(d, 0x0d, 0, NULL), NVME_INVALID_FIELD);
	assert_int_equal(set_feature(d, 0x0d, 0, NULL), NVME_INVALID_FIELD);
	assert_int_equal(set_feature(d, 0x09, 3 | 1 << 16, NULL), 0);
	assert_int_equal(get_feature(d, 0x09, 3, &r), 0);
	assert_int_equal(r, 3 | 1 << 16);
	assert_int_equal(get_feature(d, 0x09, 65, NULL), NVME_INVALID_FIELD);
	assert_int_equal(set_feature(d, 7, 1 << 16 | 63, &r), 0);
	assert_int_equal(r, 1 << 16 | (DRV_QUEUES - 1));
	assert_int_equal(set_feature(d, 7, 0xffff, NULL), NVME_INVALID_FIELD);
	assert_int_equal(drv_create_cq(d, 1, 16, 0), 0);
	assert_int_equal(set_feature(d, 7, 1, NULL), NVME_COMMAND_SEQUENCE);
	/* a controller reset brings the defaults back */
	assert_true(drv_disable(d));
	assert_true(drv_enable(d, 32, 32));
	assert_int_equal(get_feature(d, 8, 0, &r), 0);
	assert_int_equal(r, 0);
	drv_free(d);
}

static unsigned get_log(struct drv *d, uint32_t id, uint32_t dwords, uint64_t offset, uint64_t data,
			uint64_t prp2)
{
	return drv_admin(d, (struct nvme_sqe){.opcode = NVME_ADMIN_GET_LOG_PAGE,
					      .nsid = NVME_NSID_ALL,
					      .prp1 = data,
					      .prp2 = prp2,
					      .cdw10 = (dwords - 1) << 16 | id,
					      .cdw11 = (dwords - 1) >> 16,
					      .cdw12 = (uint32_t)offset,
					      .cdw13 = (uint32_t)(offset >> 32)});
}

static void log_pages(void **state)
{
	struct drv *d = drv_ready();
	uint64_t data = drv_alloc(d, 8192);
	uint8_t *bytes = drv_at(d, data);
	struct nvme_error_entry *error = drv_at(d, data);
	struct nvme_smart_log *smart = drv_at(d, data);
	uint32_t *effects = drv_at(d, data);

	assert_int_equal(drv_rw(d, NVME_IO_READ, 0, 8, data, 0, 0), 0);
	assert_int_equal(drv_rw(d, NVME_IO_WRITE, 0, 8, data, 0, 0), 0);
	assert_int_equal(drv_rw(d, NVME_IO_READ, DRV_BLOCKS, 1, data, 0, 0), NVME_LBA_OUT_OF_RANGE);
	assert_int_equal(get_log(d, 1, 16, 0, data, 0), 0);
	assert_int_equal(error->count, 1);
	assert_int_equal(error->sqid, 1);
	assert_int_equal(error->cid, d->cid - 1);
	assert_int_equal(error->status >> 1, NVME_LBA_OUT_OF_RANGE);
	assert_int_equal(error->lba, DRV_BLOCKS);
	memset(bytes, 0xee, 8192);
	assert_int_equal(get_log(d, 2, 128, 0, data, 0), 0);
	assert_int_equal(smart->reads[0], 1);
	assert_int_equal(smart->writes[0], 1);
	assert_int_equal(smart->units_read[0], 1);
	assert_int_equal(smart->error_entries[0], 1);
	assert_int_equal(smart->spare, 100);
	assert_int_equal(bytes[512], 0xee);
	assert_int_equal(get_log(d, 2, 1, 4, data, 0), 0);
	assert_int_equal(bytes[1], 0);
	assert_int_equal(bytes[4], 10);
	assert_int_equal(get_log(d, 3, 128, 0, data, 0), 0);
	assert_int_equal(get_log(d, 4, 1024, 0, data, 0), 0);
	assert_int_equal(get_log(d, 5, 1024, 0, data, 0), 0);
	assert_int_equal(effects[NVME_ADMIN_IDENTIFY], 1);
	assert_int_equal(effects[NVME_ADMIN_ROGUE], 0);
	assert_int_equal(effects[256 + NVME_IO_WRITE], 3);
	assert_int_equal(effects[256 + 0x10], 0);
	/* more than there is, offsets, limits */
	assert_int_equal(get_log(d, 5, 2048, 0, data, data + 4096), 0);
	assert_int_equal(get_log(d, 2, 1, 512, data, 0), NVME_INVALID_FIELD);
	assert_int_equal(get_log(d, 2, 1, 2, data, 0), NVME_INVALID_FIELD);
	assert_int_equal(get_log(d, 2, 1, 1ull << 40, data, 0), NVME_INVALID_FIELD);
	assert_int_equal(get_log(d, 2, 1u << 30, 0, data, 0), NVME_INVALID_FIELD);
	assert_int_equal(get_log(d, 0x70, 1, 0, data, 0), NVME_INVALID_LOG_PAGE);
	drv_free(d);
}

static void async_events(void **state)
{
	struct drv *d = drv_ready();
	uint64_t data = drv_alloc(d, 4096);
	struct nvme_cqe cqe;
	uint16_t first;

	first = drv_submit(d, 0, (struct nvme_sqe){.opcode = NVME_ADMIN_ASYNC_EVENT});
	for (unsigned i = 1; i < NVME_AER_LIMIT; i++)
		drv_submit(d, 0, (struct nvme_sqe){.opcode = NVME_ADMIN_ASYNC_EVENT});
	drv_settle(d);
	assert_false(drv_take(d, 0, &cqe));
	assert_int_equal(drv_admin(d, (struct nvme_sqe){.opcode = NVME_ADMIN_ASYNC_EVENT}),
			 NVME_AER_LIMIT_EXCEEDED);
	/* a queue that does not exist */
	drv_write32(d, NVME_REG_DOORBELLS + 8 * 3, 1);
	assert_true(drv_wait(d, 0, &cqe));
	assert_int_equal(cqe.cid, first);
	assert_int_equal(cqe.result, 0x010000);
	/* the type is masked until the log was read */
	drv_write32(d, NVME_REG_DOORBELLS + 8 * 1, 64);
	drv_settle(d);
	assert_false(drv_take(d, 0, &cqe));
	drv_submit(d, 0, (struct nvme_sqe){.opcode = NVME_ADMIN_GET_LOG_PAGE, .prp1 = data, .cdw10 = 1});
	assert_true(drv_wait(d, 0, &cqe));
	assert_true(drv_wait(d, 0, &cqe));
	assert_int_equal(cqe.result, 0x010100);
	assert_int_equal(drv_read32(d, NVME_REG_CSTS), NVME_CSTS_RDY);
	drv_free(d);
}

/* Each is an event, and changes nothing. */
static void bad_doorbells(void **state)
{
	static const struct {
		uint32_t offset, value, result;
	} cases[] = {
		{8 * 1, 64, 0x010100},	  {8 * 1, 0xffffffff, 0x010100}, {8 * 1 + 4, 64, 0x010100},
		{8 * 1 + 4, 1, 0x010100}, {8 * 2, 0, 0x010000},		 {8 * 2 + 4, 0, 0x010000},
		{8 * 64, 0, 0x010000},	  {8 * 100, 0, 0x010000},	 {0x2ffc, 0, 0x010000},
	};

	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct drv *d = drv_ready();
		struct nvme_cqe cqe;

		drv_submit(d, 0, (struct nvme_sqe){.opcode = NVME_ADMIN_ASYNC_EVENT});
		drv_write32(d, NVME_REG_DOORBELLS + cases[i].offset, cases[i].value);
		assert_true(drv_wait(d, 0, &cqe));
		assert_int_equal(cqe.result, cases[i].result);
		assert_int_equal(drv_command(d, 1, (struct nvme_sqe){.nsid = 1}, NULL), 0);
		drv_free(d);
	}
}

static unsigned abort_command(struct drv *d, unsigned sqid, unsigned cid, uint32_t *ret_result)
{
	return drv_command(d, 0, (struct nvme_sqe){.opcode = NVME_ADMIN_ABORT, .cdw10 = cid << 16 | sqid},
			   ret_result);
}

static void abort_of_nothing(void **state)
{
	struct drv *d = drv_ready();
	uint32_t result = 7;

	assert_int_equal(abort_command(d, 1, 77, &result), 0);
	assert_int_equal(result, 1);
	assert_int_equal(abort_command(d, 0xffff, 77, &result), 0);
	assert_int_equal(result, 1);
	assert_int_equal(abort_command(d, 0, (uint16_t)(d->cid + 1), &result), 0); /* itself */
	assert_int_equal(result, 1);
	drv_free(d);
}

static void abort_of_async_event(void **state)
{
	struct drv *d = drv_ready();
	uint16_t cid = drv_submit(d, 0, (struct nvme_sqe){.opcode = NVME_ADMIN_ASYNC_EVENT}), abort_cid;
	struct nvme_cqe cqe;

	abort_cid =
		drv_submit(d, 0, (struct nvme_sqe){.opcode = NVME_ADMIN_ABORT, .cdw10 = (uint32_t)cid << 16});
	assert_true(drv_wait(d, 0, &cqe));
	assert_int_equal(cqe.cid, cid);
	assert_int_equal(cqe.status >> 1, NVME_ABORT_REQUESTED);
	assert_true(drv_wait(d, 0, &cqe));
	assert_int_equal(cqe.cid, abort_cid);
	assert_int_equal(cqe.result, 0);
	assert_int_equal(d->nvme->aer_count, 0);
	drv_free(d);
}

/* Whoever wins, both complete, the target first, and they tell the same story. */
static void abort_at_the_disk(void **state)
{
	struct drv *d = drv_ready();
	unsigned aborted = 0;

	for (unsigned round = 0; round < 200; round++) {
		uint16_t cid = 0;
		struct nvme_cqe io, answer;
		unsigned status = 0;

		for (unsigned i = 0; i < 12; i++)
			cid = drv_put(d, 1, (struct nvme_sqe){.opcode = NVME_IO_FLUSH, .nsid = 1});
		drv_ring(d, 1);
		nvme_poll(d->nvme, 12);
		drv_submit(d, 0,
			   (struct nvme_sqe){.opcode = NVME_ADMIN_ABORT, .cdw10 = (uint32_t)cid << 16 | 1});
		assert_true(drv_wait(d, 0, &answer));
		assert_int_equal(answer.status >> 1, 0);
		for (unsigned i = 0; i < 12; i++) {
			assert_true(drv_wait(d, 1, &io));
			if (io.cid == cid)
				status = io.status >> 1;
		}
		assert_int_equal(status == NVME_ABORT_REQUESTED, answer.result == 0);
		aborted += status == NVME_ABORT_REQUESTED;
	}
	print_message("%u of 200 aborted\n", aborted);
	assert_int_equal(d->nvme->abort_count, 0);
	drv_free(d);
}

static void rogue(void **state)
{
	struct drv *d = drv_new(&(struct nvme_options){.rogue = true});
	uint64_t target = drv_alloc(d, 8192), protected = target + 4096;
	uint8_t *bytes = drv_at(d, target);
	struct nvme_sqe sqe = {.opcode = NVME_ADMIN_ROGUE,
			       .cdw11 = (uint32_t)(target >> 32),
			       .cdw12 = 4096,
			       .cdw13 = 1,
			       .cdw14 = 0x5a};
	uint32_t result = 1;

	assert_true(drv_enable(d, 16, 16));
	fake_refuse(&d->memory, protected, 4096, true, true);
	sqe.cdw10 = (uint32_t)target;
	assert_int_equal(drv_command(d, 0, sqe, &result), 0);
	assert_int_equal(result, 0);
	assert_int_equal(bytes[0], 0x5a);
	assert_int_equal(bytes[4095], 0x5a);
	sqe.cdw10 = (uint32_t) protected;
	assert_int_equal(drv_command(d, 0, sqe, &result), 0);
	assert_int_equal(result, 13);
	assert_int_equal(bytes[4096], 0);
	sqe.cdw13 = 0;
	assert_int_equal(drv_command(d, 0, sqe, &result), 0);
	assert_int_equal(result, 13);
	sqe.cdw12 = 4097;
	assert_int_equal(drv_admin(d, sqe), NVME_INVALID_FIELD);
	drv_free(d);
	d = drv_ready();
	assert_int_equal(drv_admin(d, sqe), NVME_INVALID_OPCODE);
	drv_free(d);
}

static void hidden_dbbuf(void **state)
{
	struct drv *d = drv_new(&(struct nvme_options){.no_dbbuf = true});
	uint64_t data = drv_alloc(d, 4096);

	assert_true(drv_enable(d, 16, 16));
	assert_int_equal(identify(d, 1, 0, data), 0);
	assert_int_equal(((struct nvme_identify_controller *)drv_at(d, data))->oacs, 0);
	assert_int_equal(drv_admin(d, (struct nvme_sqe){.opcode = NVME_ADMIN_DOORBELL_BUFFER}),
			 NVME_INVALID_OPCODE);
	assert_int_equal(drv_admin(d, (struct nvme_sqe){.opcode = 0x80}), NVME_INVALID_OPCODE);
	assert_int_equal(drv_admin(d, (struct nvme_sqe){.opcode = NVME_ADMIN_IDENTIFY, .flags = 0x40}),
			 NVME_INVALID_FIELD);
	drv_free(d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(identify_contents),
		cmocka_unit_test(two_controllers_differ),
		cmocka_unit_test(queue_errors),
		cmocka_unit_test(delete_while_busy),
		cmocka_unit_test(queues_beyond_the_granted),
		cmocka_unit_test(features),
		cmocka_unit_test(log_pages),
		cmocka_unit_test(async_events),
		cmocka_unit_test(bad_doorbells),
		cmocka_unit_test(abort_of_nothing),
		cmocka_unit_test(abort_of_async_event),
		cmocka_unit_test(abort_at_the_disk),
		cmocka_unit_test(rogue),
		cmocka_unit_test(hidden_dbbuf),
	};
	int failed = cmocka_run_group_tests_name("admin (io_uring)", tests, NULL, NULL);

	drv_engine = DISK_ENGINE_THREADS;
	return failed + cmocka_run_group_tests_name("admin (threads)", tests, NULL, NULL);
}
