/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One of the VMs that this daemon serves: its IOMMU and its controllers. What
 * is here is made before the work thread starts and stays until that has ended.
 */
#ifndef DAEMON_VM_H
#define DAEMON_VM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "daemon/counters.h"
#include "daemon/directory.h"
#include "daemon/functions/iommu.h"
#include "daemon/log.h"
#include "daemon/loop.h"
#include "daemon/functions/nvme.h"
#include "daemon/options.h"
#include "daemon/functions/unit.h"
#include "daemon/unmapper.h"
#include "daemon/sidecore/waker.h"

/* A state that comes in pieces. */
struct incoming_state {
	uint8_t *bytes; /* NULL: nothing has come */
	size_t size;
};

struct vm {
	const struct vm_options *options;
	const struct directory *directory;
	struct loop *loop;	  /* the main thread's */
	struct waker *waker;	  /* the work thread's */
	struct work_thread *work; /* once it runs */
	struct unmapper_share unmapper;
	const struct sidecore_counters *sidecore;
	bool verbose;
	char label[VM_NAME_MAX + 3]; /* "NAME: ", which begins its log lines; "" for the only VM */
	struct log_bucket guest_errors;
	struct vm_counters counters;
	struct iommu_function *iommu; /* NULL: no remapping */
	struct incoming_state incoming;
	unsigned nvme_count;
	struct nvme_function *nvme[NVME_MAX];
	/*
	 * Its state was saved, and nothing may change behind that: the work thread leaves
	 * it alone until it is restored or reset.
	 */
	_Atomic bool frozen;
	_Atomic bool was_restored_on; /* translation was on in a state that was restored */
	unsigned unit_count;	      /* one with VT-d, else one for each controller */
	struct unit *units[NVME_MAX];
};

/* Open the files of the disks, which vm_start() takes. 0, or -1 and a sentence in `why`. */
int vm_open_disks(struct vm_options *options, char *why, size_t why_size);
/*
 * The sockets are there when it returns. `vm` has the fields up to `verbose`
 * set, all else zero. 0, or -1 and a sentence in `why`.
 */
int vm_start(struct vm *vm, char *why, size_t why_size);
/* Sessions end, and no client is waited for any more. The work thread still runs: taking memory back may wait
 * for it. */
void vm_disconnect(struct vm *vm);
/* What the disks were given is written, sockets go. The work thread has ended. Also after a vm_start() that
 * failed. */
void vm_stop(struct vm *vm);

/* What has come of a state is forgotten. */
void incoming_state_drop(struct incoming_state *in);

/* Deliver an interrupt message of `rid`, or of the IOMMU itself (0), without waiting. [any thread] */
void vm_send_interrupt(struct vm *vm, uint16_t rid, uint64_t address, uint32_t data);
/* May a guest be writing to a register page that only polling looks at? [any thread] */
bool vm_registers_are_polled(const struct vm *vm);

/* "on", "off" by now, or "never" turned on since this process runs, nor in a state that it has restored.
 * NULL: there is no IOMMU. */
const char *vm_translation_text(struct vm *vm);
/* A state was restored, and nothing has happened since. */
void vm_restored(struct vm *vm);

#endif
