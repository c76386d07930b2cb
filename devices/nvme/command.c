/* SPDX-License-Identifier: BSD-3-Clause */
/* The life of a command between its queues: begun, at the disk, completed. All on the work thread. */
#include "nvme/controller.h"

#include <errno.h>
#include <string.h>

static void release(struct nvme *n, struct nvme_command *c)
{
	nvme_staging_put(n, c);
	c->busy = c->at_disk = false;
	c->next = n->free_commands;
	n->free_commands = c;
	n->free_count++;
}

struct nvme_command *nvme_command_alloc(struct nvme *n, unsigned leave)
{
	struct nvme_command *c = n->free_commands;

	if (n->free_count <= leave)
		return NULL;
	n->free_commands = c->next;
	n->free_count--;
	/* All but the page list at its end. */
	memset(c, 0, offsetof(struct nvme_command, data));
	c->busy = true;
	c->generation = n->generation;
	return c;
}

/* What is at the disk stays busy until it is reaped. */
void nvme_command_reset(struct nvme *n)
{
	for (unsigned i = 0; i < NVME_COMMANDS; i++) {
		if (n->commands[i].busy && !n->commands[i].at_disk)
			release(n, &n->commands[i]);
	}
	n->no_room = NULL;
	n->unposted = NULL;
	n->unposted_end = &n->unposted;
}

/* The completion is in the queue, or never will be. */
static void retire(struct nvme *n, struct nvme_command *c)
{
	struct nvme_sq *sq = &n->sq[c->sqid];

	if (!c->no_reply)
		sq->in_flight--;
	if (c->abort)
		nvme_abort_finish(n, c);
	if (!c->no_reply && sq->deletion && !sq->in_flight)
		nvme_admin_queue_finish_delete(n, c->sqid);
	release(n, c);
}

static bool post(struct nvme *n, struct nvme_command *c)
{
	if (!c->no_reply && nvme_queue_post(n, c->sqid, c->sqe.cid, c->status, c->result) == -ESHUTDOWN)
		return false;
	retire(n, c);
	return true;
}

void nvme_command_complete(struct nvme *n, struct nvme_command *c, uint32_t status)
{
	c->status = status;
	if (status != NVME_SUCCESS)
		nvme_log_page_add_error(n, c, status);
	if (n->unposted || !post(n, c)) {
		c->next = NULL;
		*n->unposted_end = c;
		n->unposted_end = &c->next;
	}
}

static void settle(struct nvme *n, struct nvme_command *c, uint32_t answer)
{
	switch (answer) {
	case NVME_PENDING:
	case NVME_DEFERRED:
		break;
	case NVME_NO_ROOM:
		n->no_room = c;
		break;
	default:
		nvme_command_complete(n, c, answer);
		break;
	}
}

void nvme_command_start(struct nvme *n, struct nvme_command *c)
{
	uint32_t answer = NVME_ABORT_REQUESTED;

	if (!c->aborted)
		answer = c->sqid ? nvme_io_execute(n, c) : nvme_admin_execute(n, c);
	settle(n, c, answer);
}

uint32_t nvme_command_submit(struct nvme *n, struct nvme_command *c, nvme_handler step)
{
	c->step = step;
	c->at_disk = true;
	n->disk_in_flight++;
	disk_submit(n->disk, &c->disk);
	return NVME_PENDING;
}

unsigned nvme_command_reap(struct nvme *n, unsigned budget)
{
	unsigned done = 0;

	while (done < budget) {
		struct nvme_command *c = (struct nvme_command *)disk_reap(n->disk);

		if (!c)
			break;
		done++;
		n->disk_in_flight--;
		c->at_disk = false;
		if (c->generation != n->generation || (n->life == NVME_LIFE_FATAL && !c->no_reply))
			release(n, c);
		else
			settle(n, c, c->step(n, c));
	}
	return done;
}

static void put_back(struct nvme *n, struct nvme_command *c)
{
	c->next = n->unposted;
	n->unposted = c;
	if (!c->next)
		n->unposted_end = &c->next;
}

static struct nvme_command *take_unposted(struct nvme *n)
{
	struct nvme_command *c = n->unposted;

	if (c)
		n->unposted = c->next;
	if (!n->unposted)
		n->unposted_end = &n->unposted;
	return c;
}

unsigned nvme_command_retry(struct nvme *n)
{
	struct nvme_command *c;
	unsigned done = 0;

	/* Taken first: posting one may complete a command that waited for it, which goes to the list's end.
	 */
	while ((c = take_unposted(n))) {
		if (!post(n, c)) {
			put_back(n, c);
			return done;
		}
		done++;
	}
	c = n->no_room;
	if (c) {
		n->no_room = NULL;
		nvme_command_start(n, c);
		done += n->no_room != c;
	}
	return done;
}

struct nvme_command *nvme_command_find(struct nvme *n, uint16_t sqid, uint16_t cid)
{
	for (unsigned i = 0; i < NVME_COMMANDS; i++) {
		struct nvme_command *c = &n->commands[i];

		if (c->busy && !c->no_reply && c->generation == n->generation && c->sqid == sqid &&
		    c->sqe.cid == cid)
			return c;
	}
	return NULL;
}

uint32_t nvme_command_disk_status(const struct nvme_command *c)
{
	switch (c->disk.result) {
	case 0:
		return NVME_SUCCESS;
	case -ECANCELED:
		return NVME_ABORT_REQUESTED;
	case -ENOSPC:
	case -EDQUOT:
		return NVME_CAPACITY_EXCEEDED; /* NVM command set, 6.1.1 */
	default:
		return c->disk.op == DISK_READ ? NVME_UNRECOVERED_READ : NVME_WRITE_FAULT;
	}
}
