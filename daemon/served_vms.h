/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * All that this daemon serves: the VMs, each with a folder and a control socket
 * of its own, the one work thread, and the one that unmaps. Main thread.
 */
#ifndef DAEMON_SERVED_VMS_H
#define DAEMON_SERVED_VMS_H

#include "daemon/counters.h"
#include "daemon/directory.h"
#include "daemon/loop.h"
#include "daemon/options.h"
#include "daemon/vm.h"
#include "daemon/sidecore/waker.h"

struct control_server;
struct work_thread;

struct served_vms {
	struct loop *loop;
	struct waker waker;
	struct sidecore_counters sidecore;
	struct work_thread *work;
	struct unmapper *unmapper;
	unsigned count;
	struct served_vm {
		struct directory directory; /* of a VM with a name */
		struct vm vm;
		struct control_server *control;
	} vms[VM_MAX];
};

/* Disks and folders, before the sandbox closes. 0, or -1 and a sentence in `why`. */
int served_vms_open(struct served_vms *s, struct daemon_options *options, struct directory *directory,
		    char *why, size_t why_size);
/* The sockets are there when it returns. 0, or -1 and a sentence in `why`. */
int served_vms_start(struct served_vms *s, const struct daemon_options *options, char *why, size_t why_size);
/* All ends. Also after one of the two above that failed. */
void served_vms_stop(struct served_vms *s);

#endif
