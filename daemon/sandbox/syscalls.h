/* SPDX-License-Identifier: BSD-3-Clause */
/* The system calls that viommud makes once it serves. */
#ifndef DAEMON_SANDBOX_SYSCALLS_H
#define DAEMON_SANDBOX_SYSCALLS_H

/* For all threads of the process, and for good. 0 or a negative errno: nothing has changed. */
int syscalls_restrict(void);

#endif
