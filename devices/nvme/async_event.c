/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Asynchronous events (5.2). An event waits until the guest has left a request
 * for it; after it was reported its type is masked until the log page that
 * belongs to it was read.
 */
#include "nvme/controller.h"

#include <errno.h>
#include <string.h>

static const uint8_t log_page_of[] = {
	[NVME_EVENT_ERROR] = NVME_LOG_ERROR,
	[NVME_EVENT_SMART] = NVME_LOG_SMART,
	[NVME_EVENT_NOTICE] = NVME_LOG_CHANGED_NS,
};
#define TYPES (sizeof(log_page_of) / sizeof(log_page_of[0]))

void nvme_async_event_reset(struct nvme *n)
{
	n->aer_count = 0;
	n->event_masked = 0;
	memset(n->event_pending, 0, sizeof(n->event_pending));
}

uint32_t nvme_async_event_execute(struct nvme *n, struct nvme_command *c)
{
	if (n->aer_count == NVME_AER_LIMIT)
		return NVME_AER_LIMIT_EXCEEDED;
	n->aer[n->aer_count++] = c;
	/* It may stay for ever, and must not hold an entry of the completion queue so long. */
	n->cq[0].reserved--;
	return NVME_DEFERRED;
}

/* The same event again before it was reported is the same event. */
void nvme_async_event_report(struct nvme *n, unsigned type, unsigned info)
{
	n->event_pending[type] |= 1u << info;
}

static int next_type(const struct nvme *n)
{
	for (unsigned type = 0; type < TYPES; type++) {
		if (n->event_pending[type] && !(n->event_masked & 1u << type))
			return (int)type;
	}
	return -1;
}

unsigned nvme_async_event_deliver(struct nvme *n)
{
	unsigned done = 0;
	int type;

	while (n->aer_count && (type = next_type(n)) >= 0 && nvme_queue_reserve(n, 0)) {
		unsigned info = (unsigned)__builtin_ctz(n->event_pending[type]);
		struct nvme_command *c = n->aer[0];

		n->aer_count--;
		memmove(n->aer, n->aer + 1, n->aer_count * sizeof(n->aer[0]));
		n->event_pending[type] &= ~(1u << info);
		n->event_masked |= 1u << type;
		c->result = (uint32_t)type | info << 8 | (uint32_t)log_page_of[type] << 16;
		nvme_command_complete(n, c, NVME_SUCCESS);
		done++;
	}
	return done;
}

void nvme_async_event_log_read(struct nvme *n, unsigned log_page)
{
	for (unsigned type = 0; type < TYPES; type++) {
		if (log_page_of[type] == log_page)
			n->event_masked &= ~(1u << type);
	}
}
