/* SPDX-License-Identifier: BSD-3-Clause */
#include "daemon/descriptors.h"

#include <stdio.h>
#include <sys/resource.h>

#include "control/protocol.h"
#include "daemon/functions/kind.h"
#include "daemon/log.h"
#include "daemon/options.h"
#include "os/sentence.h"

/* stdio, signals, epoll, the waker, the folder, and what the C library and sanitizers have. */
#define OF_PROCESS 32
/* What the kernel gives us with one message, before we close what is too much. */
#define OF_MESSAGE 253
/* Listener, epoll, timer, spare and again, and callers. */
#define OF_CONTROL (5 + CONTROL_CLIENTS_MAX)

/* With the folder of a VM that has a name. */
static unsigned of_vm(const struct vm_options *vm)
{
	unsigned needed = OF_CONTROL + 1;

	for (unsigned k = 0; function_kinds[k]; k++)
		needed += function_kinds[k]->count(vm) * function_kinds[k]->descriptors;
	return needed;
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
	if (options->vm_count > 1)
		return os_say(
			why, why_size,
			"these VMs may need %u file descriptors, and this process may have %llu: one VM "
			"could take those of another; raise the hard limit (ulimit -Hn %u), or serve fewer",
			needed, (unsigned long long)limit, needed);
	log_line("guests that use all interrupt vectors need %u file descriptors, and this process may have "
		 "%llu: interrupts beyond that are refused; raise the hard limit (ulimit -Hn %u)",
		 needed, (unsigned long long)limit, needed);
	return 0;
}
