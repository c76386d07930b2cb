/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Abort (5.1). A command that waits for memory is ended at once; one at the
 * disk is cancelled there, and the Abort completes after it, saying whether
 * that worked. One still in the guest's queue is not looked for: it has not
 * begun, and will be short.
 */
#include "nvme/controller.h"

#include <string.h>

#define NOT_ABORTED 1 /* dword 0, bit 0 */

/* True: `target` was such a request and is completed. */
static bool abort_async_event(struct nvme *n, struct nvme_command *target)
{
	for (unsigned i = 0; i < n->aer_count; i++) {
		if (n->aer[i] != target)
			continue;
		if (!nvme_queue_reserve(n, 0))
			return false;
		memmove(&n->aer[i], &n->aer[i + 1], (--n->aer_count - i) * sizeof(n->aer[0]));
		nvme_command_complete(n, target, NVME_ABORT_REQUESTED);
		return true;
	}
	return false;
}

uint32_t nvme_abort_execute(struct nvme *n, struct nvme_command *c)
{
	uint16_t sqid = c->sqe.cdw10 & 0xffff, cid = c->sqe.cdw10 >> 16;
	struct nvme_command *target = nvme_command_find(n, sqid, cid);

	c->result = NOT_ABORTED;
	if (!target || target == c || target->aborted)
		return NVME_SUCCESS;
	if (abort_async_event(n, target)) {
		c->result = 0;
		return NVME_SUCCESS;
	}
	if (!target->at_disk && target != n->no_room)
		return NVME_SUCCESS;
	if (n->abort_count == NVME_ABORT_LIMIT)
		return NVME_ABORT_LIMIT_EXCEEDED;
	n->abort_count++;
	target->aborted = true;
	target->abort = c;
	if (target->at_disk)
		disk_cancel(n->disk, &target->disk);
	return NVME_DEFERRED;
}

void nvme_abort_finish(struct nvme *n, struct nvme_command *target)
{
	n->abort_count--;
	target->abort->result = target->status == NVME_ABORT_REQUESTED ? 0 : NOT_ABORTED;
	nvme_command_complete(n, target->abort, NVME_SUCCESS);
}
