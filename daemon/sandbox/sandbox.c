/* SPDX-License-Identifier: BSD-3-Clause */
#include "daemon/sandbox/sandbox.h"

#include <errno.h>
#include <linux/capability.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "daemon/sandbox/landlock.h"
#include "daemon/log.h"
#include "daemon/sandbox/syscalls.h"

static void tell(const char *part, int err)
{
	if (err)
		log_line("sandbox: %s: %s; going on without this part", part, strerror(-err));
}

static int forbid_new_privileges(void)
{
	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ? -errno : 0;
}

static int drop_capabilities(void)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = {{0}};

	/* The bounding set first, which takes a capability. It says EINVAL after the last one. */
	for (int cap = 0; !prctl(PR_CAPBSET_DROP, cap, 0, 0, 0); cap++)
		;
	prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
	return syscall(SYS_capset, &header, none) ? -errno : 0;
}

void sandbox_begin(const struct directory *d)
{
	tell("no_new_privs", forbid_new_privileges());
	tell("Landlock", landlock_restrict(d));
	tell("dropping capabilities", drop_capabilities());
}

void sandbox_enter(void)
{
	tell("seccomp", syscalls_restrict());
}
