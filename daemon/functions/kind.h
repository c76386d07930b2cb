/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The kinds of function that can be served. A new one is a file here, a row in
 * kind.c, and what the user writes for it in the options. Main thread.
 */
#ifndef DAEMON_FUNCTIONS_KIND_H
#define DAEMON_FUNCTIONS_KIND_H

#include <stddef.h>

#include "vfio_user/connection.h"

struct function;
struct host;
struct vm_options;

/* File descriptors of a server: listener, epoll, wake, spare, the signaller's file and the connection, and a
 * message that has come in part. */
#define SERVER_DESCRIPTORS (6 + VFU_MAX_MSG_FDS)

struct function_kind {
	unsigned max;	      /* functions of this kind in a VM; FUNCTIONS_MAX is the sum of all */
	unsigned descriptors; /* file descriptors that one function has at most, whatever its clients send */
	/* How many functions of this kind the user asked for. */
	unsigned (*count)(const struct vm_options *o);
	/* Open the files of function number `index`, which create() takes. 0, or -1 and a sentence in `why`.
	 * NULL: the kind has no files. */
	int (*open)(struct vm_options *o, unsigned index, char *why, size_t why_size);
	/* The socket is there when create() returns. 0, or a negative errno and a sentence in `why`. */
	int (*create)(struct host *host, const struct vm_options *o, unsigned index,
		      struct function **ret_function, char *why, size_t why_size);
};

extern const struct function_kind vtd_kind, amdvi_kind, amdvi_pci_kind, virtio_iommu_kind, gart_kind,
	nvme_kind;

/* In the order in which they are made, and in which `status` tells them: a unit comes before what stands
 * behind it. Ends with NULL. */
extern const struct function_kind *const function_kinds[];

#endif
