/* SPDX-License-Identifier: BSD-3-Clause */
#include "daemon/sigbus.h"

#include <signal.h>
#include <stddef.h>

#include "vfio_user/server.h"

static void handle(int number, siginfo_t *info, void *context)
{
	struct sigaction standard = {.sa_handler = SIG_DFL};

	(void)context;
	/* A positive si_code comes from the kernel: the address is that of an access. */
	if (info->si_code > 0 && vfu_handle_sigbus(info->si_addr))
		return;
	/* Not memory of a client: die of it as usual. Delivered when this handler returns. */
	sigaction(SIGBUS, &standard, NULL);
	raise(number);
}

void sigbus_install(void)
{
	struct sigaction action = {.sa_sigaction = handle, .sa_flags = SA_SIGINFO};

	sigemptyset(&action.sa_mask);
	sigaction(SIGBUS, &action, NULL);
}
