/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One of the VMs that this daemon serves: the functions that its options ask for,
 * whatever they are. What is here is made before the work thread starts and stays
 * until that has ended.
 */
#ifndef DAEMON_VM_H
#define DAEMON_VM_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "daemon/counters.h"
#include "daemon/directory.h"
#include "daemon/functions/function.h"
#include "daemon/functions/host.h"
#include "daemon/functions/unit.h"
#include "daemon/loop.h"
#include "daemon/options.h"

#define FUNCTIONS_MAX (2 * IOMMU_MAX + NVME_MAX) /* a unit may need two */

/* A state that comes in pieces. */
struct incoming_state {
	uint8_t *bytes; /* NULL: nothing has come */
	size_t size;
};

struct vm {
	struct host host; /* of its functions; the first member */
	const struct vm_options *options;
	struct work_thread *work; /* once it runs */
	const struct sidecore_counters *sidecore;
	unsigned function_count; /* units come before what stands behind them */
	struct function *functions[FUNCTIONS_MAX];
	struct incoming_state incoming;
};

/* Open the files that the functions need, which vm_start() takes. 0, or -1 and a sentence in `why`. */
int vm_open_files(struct vm_options *options, char *why, size_t why_size);
/*
 * The sockets are there when it returns. `vm` has options, sidecore and, of its
 * host, directory, loop, waker, unmapper and verbose set, all else zero. 0, or -1
 * and a sentence in `why`.
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

/* Is there a unit that remaps? */
bool vm_remaps(const struct vm *vm);
/* The model, as --iommu names it: "vtd", "gart", or "none" when nothing is remapped. */
const char *vm_iommu_text(const struct vm *vm);
/* The unit of this name, or NULL. */
struct unit *vm_find_unit(struct vm *vm, const char *name);
bool vm_has_devices_behind(const struct vm *vm, const struct unit *u);
/* Of a unit: "on", "off" by now, or "never" turned on since this process runs, nor in a state that it has
 * restored. NULL: it remaps nothing. */
const char *vm_translation_text(struct vm *vm, const struct unit *u);
/* A state was restored, and nothing has happened since. */
void vm_restored(struct vm *vm);

#endif
