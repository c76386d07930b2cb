/* SPDX-License-Identifier: BSD-3-Clause */
#include "daemon/descriptors.h"

#include <stdio.h>
#include <sys/resource.h>

#include "control/protocol.h"
#include "daemon/log.h"
#include "daemon/options.h"
#include "devices/nvme/nvme.h"
#include "vfio_user/connection.h"

/* stdio, signals, epoll, the waker, folders, and what the C library and sanitizers have. */
#define OF_PROCESS 32
/* What the kernel gives us with one message, before we close what is too much. */
#define OF_MESSAGE 253
/* Listener, epoll, wake, spare and connection of a server, and a message that has come in part. */
#define OF_SERVER (5 + VFU_MAX_MSG_FDS)
/* Besides MSI-X: INTx with its mask and unmask, errors, requests. */
#define OF_OTHER_IRQS 5
/* The file twice, the ring, its eventfd, the kernel's queue for interrupts. */
#define OF_DISK 5
/* Listener, epoll and callers. */
#define OF_CONTROL (2 + CONTROL_CLIENTS_MAX)

static unsigned of_vm(const struct vm_options *vm)
{
	unsigned controller = OF_SERVER + NVME_MSIX_VECTORS + OF_OTHER_IRQS + OF_DISK;

	return OF_CONTROL + 1 + (vm->iommu.vtd ? OF_SERVER + OF_OTHER_IRQS + 1 : 0) +
	       vm->nvme_count * controller;
}

static rlim_t raise_limit(void)
{
	struct rlimit l;

	if (getrlimit(RLIMIT_NOFILE, &l))
		return RLIM_INFINITY;
	if (l.rlim_cur < l.rlim_max) {
		l.rlim_cur = l.rlim_max;
		if (setrlimit(RLIMIT_NOFILE, &l))
			getrlimit(RLIMIT_NOFILE, &l);
	}
	return l.rlim_cur;
}

int descriptors_reserve(const struct daemon_options *options, char *why, size_t why_size)
{
	unsigned needed = OF_PROCESS + OF_MESSAGE;
	rlim_t limit = raise_limit();

	for (unsigned i = 0; i < options->vm_count; i++)
		needed += of_vm(&options->vms[i]);
	if (limit >= needed)
		return 0;
	if (options->vm_count > 1) {
		snprintf(why, why_size,
			 "these VMs may need %u file descriptors, and this process may have %llu: one VM "
			 "could "
			 "take those of another; raise the hard limit (ulimit -Hn %u), or serve fewer",
			 needed, (unsigned long long)limit, needed);
		return -1;
	}
	log_line("guests that use all interrupt vectors need %u file descriptors, and this process may have "
		 "%llu: interrupts beyond that are refused; raise the hard limit (ulimit -Hn %u)",
		 needed, (unsigned long long)limit, needed);
	return 0;
}
