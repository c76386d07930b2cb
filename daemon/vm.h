/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The one VM that this daemon serves: its IOMMU, its controllers, the work
 * thread. What is here is made before that thread starts and stays until it
 * has ended.
 */
#ifndef DAEMON_VM_H
#define DAEMON_VM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "daemon/directory.h"
#include "daemon/iommu_function.h"
#include "daemon/log.h"
#include "daemon/loop.h"
#include "daemon/nvme_function.h"
#include "daemon/options.h"
#include "daemon/unit.h"
#include "daemon/waker.h"

struct work_thread;

struct vm {
	const struct daemon_options *options;
	const struct directory *directory;
	struct loop *loop; /* the main thread's */
	struct waker waker;
	struct log_bucket guest_errors;
	struct iommu_function *iommu; /* NULL: no remapping */
	unsigned nvme_count;
	struct nvme_function *nvme[NVME_MAX];
	unsigned unit_count; /* one with VT-d, else one for each controller */
	struct unit *units[NVME_MAX];
	struct work_thread *work;
};

/* Open the files of the disks, which vm_start() takes. 0, or -1 and a sentence in `why`. */
int vm_open_disks(struct daemon_options *options, char *why, size_t why_size);
/* Serve; the sockets are there when it returns. 0, or -1 and a sentence in `why`. */
int vm_start(struct vm *vm, const struct daemon_options *options, const struct directory *directory,
	     struct loop *loop, char *why, size_t why_size);
/* Sessions end, what the disks were given is written, sockets go. Also after a vm_start() that failed. */
void vm_stop(struct vm *vm);

/* Deliver an interrupt message of `rid`, or of the IOMMU itself (0), without waiting. [any thread] */
void vm_send_interrupt(struct vm *vm, uint16_t rid, uint64_t address, uint32_t data);
/* May a guest be writing to a register page that only polling looks at? [any thread] */
bool vm_registers_are_polled(const struct vm *vm);

#endif
