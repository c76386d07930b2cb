/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Interrupt messages: writes of 4 bytes into the window of addresses that is no
 * memory (VI_MESSAGE_FIRST). The model looks them up and they are sent inside a
 * section, so that a drain is over only when what was looked up before is sent.
 */
#ifndef CORE_MESSAGE_H
#define CORE_MESSAGE_H

#include <stdbool.h>
#include <stdint.h>

#include "guestmem/guestmem.h"

struct viommu_requester;
struct viommu_thread;

static inline bool vi_message_is_one(uint64_t iova, uint64_t len)
{
	return len == 4 && iova % 4 == 0 && vi_is_message(iova);
}

/* 0, or -EACCES: the model refused it, which was reported as any fault. */
int vi_message_write(struct viommu_thread *t, struct viommu_requester *r, uint64_t address, uint32_t data);

#endif
