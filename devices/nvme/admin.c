/* SPDX-License-Identifier: BSD-3-Clause */
/* The admin command set (5). */
#include "nvme/controller.h"

#define SUPPORTED NVME_EFFECT_SUPPORTED

/* Ends with an entry without a handler. */
const struct nvme_opcode nvme_admin_opcodes[] = {
	{.opcode = NVME_ADMIN_DELETE_SQ, .effects = SUPPORTED, .handler = nvme_admin_queue_delete_sq},
	{.opcode = NVME_ADMIN_CREATE_SQ, .effects = SUPPORTED, .handler = nvme_admin_queue_create_sq},
	{.opcode = NVME_ADMIN_GET_LOG_PAGE, .effects = SUPPORTED, .handler = nvme_log_page_execute},
	{.opcode = NVME_ADMIN_DELETE_CQ, .effects = SUPPORTED, .handler = nvme_admin_queue_delete_cq},
	{.opcode = NVME_ADMIN_CREATE_CQ, .effects = SUPPORTED, .handler = nvme_admin_queue_create_cq},
	{.opcode = NVME_ADMIN_IDENTIFY, .effects = SUPPORTED, .handler = nvme_identify_execute},
	{.opcode = NVME_ADMIN_ABORT, .effects = SUPPORTED, .handler = nvme_abort_execute},
	{.opcode = NVME_ADMIN_SET_FEATURES, .effects = SUPPORTED, .handler = nvme_features_set},
	{.opcode = NVME_ADMIN_GET_FEATURES, .effects = SUPPORTED, .handler = nvme_features_get},
	{.opcode = NVME_ADMIN_ASYNC_EVENT, .effects = SUPPORTED, .handler = nvme_async_event_execute},
	{.opcode = NVME_ADMIN_DOORBELL_BUFFER,
	 .dbbuf_only = true,
	 .effects = SUPPORTED,
	 .handler = nvme_doorbell_buffer_execute},
	{.opcode = NVME_ADMIN_ROGUE, .rogue_only = true, .effects = SUPPORTED, .handler = nvme_rogue_execute},
	{0},
};

uint32_t nvme_admin_execute(struct nvme *n, struct nvme_command *c)
{
	for (const struct nvme_opcode *o = nvme_admin_opcodes; o->handler; o++) {
		if (o->opcode != c->sqe.opcode)
			continue;
		if ((o->rogue_only && !n->rogue) || (o->dbbuf_only && n->no_dbbuf))
			return NVME_INVALID_OPCODE;
		if (c->sqe.flags & (NVME_SQE_FUSE | NVME_SQE_PSDT))
			return NVME_INVALID_FIELD;
		return o->handler(n, c);
	}
	return NVME_INVALID_OPCODE;
}
