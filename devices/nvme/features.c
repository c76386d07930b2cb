/* SPDX-License-Identifier: BSD-3-Clause */
/* Get and Set Features (5.9, 5.21). */
#include "nvme/controller.h"

#include <string.h>

#define SAVE (1u << 31) /* cdw10 of Set Features */

enum select { SELECT_CURRENT, SELECT_DEFAULT, SELECT_SAVED, SELECT_CAPABILITIES };
#define CAPABILITY_CHANGEABLE (1u << 2)

/* set: checks cdw11 and returns a status; what it leaves alone is stored in the feature's slot. */
struct feature {
	uint8_t id;
	uint32_t reset, writable;
	uint32_t (*set)(struct nvme *n, struct nvme_command *c);
	uint32_t (*get)(const struct nvme *n, const struct nvme_command *c, bool reset, uint32_t *ret_status);
};

static uint32_t set_power(struct nvme *n, struct nvme_command *c)
{
	return c->sqe.cdw11 & 0x1f ? NVME_INVALID_FIELD : NVME_SUCCESS; /* one power state */
}

#define TEMPERATURE_SENSOR(cdw11) ((cdw11) >> 16 & 15)
#define TEMPERATURE_UNDER(cdw11)  ((cdw11) >> 20 & 3)
#define TEMPERATURE_RESET_OVER	  343

static uint32_t set_temperature(struct nvme *n, struct nvme_command *c)
{
	unsigned sensor = TEMPERATURE_SENSOR(c->sqe.cdw11), under = TEMPERATURE_UNDER(c->sqe.cdw11);

	if ((sensor != 0 && sensor != 15) || under > 1)
		return NVME_INVALID_FIELD;
	n->temperature[under] = c->sqe.cdw11 & 0xffff;
	return NVME_SUCCESS;
}

static uint32_t get_temperature(const struct nvme *n, const struct nvme_command *c, bool reset,
				uint32_t *ret_status)
{
	unsigned under = TEMPERATURE_UNDER(c->sqe.cdw11);

	if (TEMPERATURE_SENSOR(c->sqe.cdw11) != 0 || under > 1)
		*ret_status = NVME_INVALID_FIELD;
	else if (!reset)
		return n->temperature[under];
	return under ? 0 : TEMPERATURE_RESET_OVER;
}

static uint32_t set_error_recovery(struct nvme *n, struct nvme_command *c)
{
	return c->sqe.cdw11 & 1u << 16 ? NVME_INVALID_FIELD
				       : NVME_SUCCESS; /* NSFEAT: no deallocated errors */
}

/* What was written while the cache was on must be durable before writes count as such. */
static uint32_t set_write_cache(struct nvme *n, struct nvme_command *c)
{
	return c->sqe.cdw11 & 1 ? NVME_SUCCESS : nvme_io_flush(n, c);
}

static uint32_t grant(const struct nvme *n, uint32_t asked)
{
	return asked < n->io_queues ? asked : n->io_queues - 1; /* 0's based */
}

static uint32_t set_queues(struct nvme *n, struct nvme_command *c)
{
	uint32_t sqs = c->sqe.cdw11 & 0xffff, cqs = c->sqe.cdw11 >> 16;

	if (sqs == 0xffff || cqs == 0xffff)
		return NVME_INVALID_FIELD;
	if (n->queues_created)
		return NVME_COMMAND_SEQUENCE;
	c->sqe.cdw11 = c->result = grant(n, cqs) << 16 | grant(n, sqs);
	return NVME_SUCCESS;
}

static uint32_t get_queues(const struct nvme *n, const struct nvme_command *c, bool reset,
			   uint32_t *ret_status)
{
	uint32_t most = (n->io_queues - 1) << 16 | (n->io_queues - 1);

	return reset ? most : n->features[NVME_FEATURE_QUEUES];
}

#define VECTOR(cdw11)	     ((cdw11)&0xffff)
#define VECTOR_NO_COALESCING (1u << 16)

static uint32_t set_vector(struct nvme *n, struct nvme_command *c)
{
	unsigned v = VECTOR(c->sqe.cdw11);
	uint64_t bit = 1ull << v % 64;

	if (v >= NVME_MSIX_VECTORS)
		return NVME_INVALID_FIELD;
	if (c->sqe.cdw11 & VECTOR_NO_COALESCING)
		n->vector_no_coalescing[v / 64] |= bit;
	else
		n->vector_no_coalescing[v / 64] &= ~bit;
	return NVME_SUCCESS;
}

static uint32_t get_vector(const struct nvme *n, const struct nvme_command *c, bool reset,
			   uint32_t *ret_status)
{
	unsigned v = VECTOR(c->sqe.cdw11);

	if (v >= NVME_MSIX_VECTORS) {
		*ret_status = NVME_INVALID_FIELD;
		return 0;
	}
	return v | (!reset && n->vector_no_coalescing[v / 64] >> v % 64 & 1 ? VECTOR_NO_COALESCING : 0);
}

static const struct feature table[] = {
	{.id = NVME_FEATURE_ARBITRATION, .writable = 0xffffff07},
	{.id = NVME_FEATURE_POWER, .writable = 0xff, .set = set_power},
	{.id = NVME_FEATURE_TEMPERATURE, .set = set_temperature, .get = get_temperature},
	{.id = NVME_FEATURE_ERROR_RECOVERY, .writable = 0xffff, .set = set_error_recovery},
	{.id = NVME_FEATURE_WRITE_CACHE, .reset = 1, .writable = 1, .set = set_write_cache},
	{.id = NVME_FEATURE_QUEUES, .writable = 0xffffffff, .set = set_queues, .get = get_queues},
	{.id = NVME_FEATURE_COALESCING, .writable = 0xffff},
	{.id = NVME_FEATURE_VECTOR, .set = set_vector, .get = get_vector},
	{.id = NVME_FEATURE_ATOMICITY, .writable = 1},
	{.id = NVME_FEATURE_ASYNC_EVENTS, .writable = 0x1ff},
};

static const struct feature *find(uint8_t id)
{
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		if (table[i].id == id)
			return &table[i];
	}
	return NULL;
}

void nvme_features_reset(struct nvme *n)
{
	memset(n->features, 0, sizeof(n->features));
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
		n->features[table[i].id] = table[i].reset;
	n->features[NVME_FEATURE_QUEUES] = (n->io_queues - 1) << 16 | (n->io_queues - 1);
	n->temperature[0] = TEMPERATURE_RESET_OVER;
	n->temperature[1] = 0;
	memset(n->vector_no_coalescing, 0, sizeof(n->vector_no_coalescing));
}

/* What a saved state says; a slot that is no feature is 0. */
bool nvme_features_are_possible(const uint32_t features[NVME_FEATURE_SLOTS], uint32_t io_queues)
{
	const uint32_t queues = features[NVME_FEATURE_QUEUES];

	for (unsigned i = 0; i < NVME_FEATURE_SLOTS; i++) {
		const struct feature *f = find((uint8_t)i);

		if (features[i] & ~(f ? f->writable : 0))
			return false;
	}
	return queues >> 16 < io_queues && (queues & 0xffff) < io_queues;
}

bool nvme_features_write_cache(const struct nvme *n)
{
	return n->features[NVME_FEATURE_WRITE_CACHE] & 1;
}

uint32_t nvme_features_set(struct nvme *n, struct nvme_command *c)
{
	const struct feature *f = find(c->sqe.cdw10 & 0xff);
	uint32_t status = NVME_SUCCESS;

	if (!f)
		return NVME_INVALID_FIELD;
	if (c->sqe.cdw10 & SAVE)
		return NVME_NOT_SAVEABLE;
	if (f->set)
		status = f->set(n, c);
	if (status == NVME_SUCCESS || status == NVME_PENDING)
		n->features[f->id] = c->sqe.cdw11 & f->writable;
	return status;
}

uint32_t nvme_features_get(struct nvme *n, struct nvme_command *c)
{
	const struct feature *f = find(c->sqe.cdw10 & 0xff);
	unsigned select = c->sqe.cdw10 >> 8 & 7;
	uint32_t status = NVME_SUCCESS;
	bool reset = select != SELECT_CURRENT;

	if (!f || select > SELECT_CAPABILITIES)
		return NVME_INVALID_FIELD;
	if (select == SELECT_CAPABILITIES)
		c->result = CAPABILITY_CHANGEABLE;
	else if (f->get)
		c->result = f->get(n, c, reset, &status);
	else
		c->result = reset ? f->reset : n->features[f->id];
	return status;
}
