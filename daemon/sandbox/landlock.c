/* SPDX-License-Identifier: BSD-3-Clause */
/* By hand, as headers and C libraries are older than the kernels that we may run on. */
#include "daemon/sandbox/landlock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* The same numbers on all architectures. */
#define SYS_LANDLOCK_CREATE   444
#define SYS_LANDLOCK_ADD      445
#define SYS_LANDLOCK_RESTRICT 446

#define CREATE_VERSION	  1u /* flag: ask for the version of the ABI */
#define RULE_PATH_BENEATH 1

#define FS_REMOVE_DIR  (UINT64_C(1) << 4)
#define FS_REMOVE_FILE (UINT64_C(1) << 5)
#define FS_MAKE_SOCK   (UINT64_C(1) << 9)
#define FS_FIRST_ABI   ((UINT64_C(1) << 13) - 1)
#define FS_REFER       (UINT64_C(1) << 13) /* ABI 2 */
#define FS_TRUNCATE    (UINT64_C(1) << 14) /* ABI 3 */
#define FS_IOCTL_DEV   (UINT64_C(1) << 15) /* ABI 5 */
#define NET_TCP	       UINT64_C(3)	   /* ABI 4: bind, connect */
#define SCOPE_ALL      UINT64_C(3)	   /* ABI 6: abstract sockets, signals */

struct ruleset {
	uint64_t fs, net, scoped;
};

struct path_beneath {
	uint64_t allowed;
	int32_t parent;
} __attribute__((packed));

static size_t size_for(long abi)
{
	if (abi < 4)
		return sizeof(uint64_t);
	return abi < 6 ? 2 * sizeof(uint64_t) : sizeof(struct ruleset);
}

/* A ruleset that takes away all that this kernel knows and we do. An fd or a negative errno. */
static int create_ruleset(void)
{
	long abi = syscall(SYS_LANDLOCK_CREATE, NULL, 0, CREATE_VERSION);
	struct ruleset r = {.fs = FS_FIRST_ABI, .net = NET_TCP, .scoped = SCOPE_ALL};
	long fd;

	if (abi < 0)
		return -errno;
	if (abi >= 2)
		r.fs |= FS_REFER;
	if (abi >= 3)
		r.fs |= FS_TRUNCATE;
	if (abi >= 5)
		r.fs |= FS_IOCTL_DEV;
	fd = syscall(SYS_LANDLOCK_CREATE, &r, size_for(abi), 0);
	return fd < 0 ? -errno : (int)fd;
}

static int allow(int ruleset, const char *path, uint64_t rights)
{
	struct path_beneath rule = {.allowed = rights};
	int err = 0;

	rule.parent = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (rule.parent < 0)
		return -errno;
	if (syscall(SYS_LANDLOCK_ADD, ruleset, RULE_PATH_BENEATH, &rule, 0))
		err = -errno;
	close(rule.parent);
	return err;
}

static int allow_parent(int ruleset, const struct directory *d)
{
	char parent[sizeof(d->path)];
	char *slash;

	memcpy(parent, d->path, sizeof(parent));
	slash = strrchr(parent, '/');
	slash[slash == parent] = '\0';
	return allow(ruleset, parent, FS_REMOVE_DIR);
}

int landlock_restrict(const struct directory *d)
{
	int ruleset = create_ruleset(), err;

	if (ruleset < 0)
		return ruleset;
	err = allow(ruleset, d->path, FS_MAKE_SOCK | FS_REMOVE_FILE | (d->has_folders ? FS_REMOVE_DIR : 0));
	if (!err && d->made)
		err = allow_parent(ruleset, d);
	if (!err && syscall(SYS_LANDLOCK_RESTRICT, ruleset, 0))
		err = -errno;
	close(ruleset);
	return err;
}
