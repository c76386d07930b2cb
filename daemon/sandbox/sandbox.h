/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What viommud cannot do any more, whatever a guest or a client makes of it.
 *
 * Two steps, since what the first one takes away must be gone before there is
 * a second thread, and what the second one takes away is needed to start.
 *
 * A part that this system does not have is said in one line, and it goes on
 * without: each part stands alone.
 */
#ifndef DAEMON_SANDBOX_SANDBOX_H
#define DAEMON_SANDBOX_SANDBOX_H

#include "daemon/directory.h"

/* Sanitizers look into /proc, start threads and trace themselves: their builds have it off until asked. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANDBOX_USUAL false
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || __has_feature(memory_sanitizer)
#define SANDBOX_USUAL false
#endif
#endif
#ifndef SANDBOX_USUAL
#define SANDBOX_USUAL true
#endif

/*
 * While there is one thread, with all files open. From now on: no new
 * privileges, no capabilities, and of the file system only the making and
 * removing of sockets in the directory (and the removing of empty folders
 * beside it, when it is ours to remove); no TCP, no signals to others.
 */
void sandbox_begin(const struct directory *d);

/*
 * When all has started. From now on all threads have the system calls that
 * serving takes. Another one fails with EPERM and is told to the audit log, as
 * a C library of tomorrow may try one and do without it; one that only an
 * attacker makes ends the process.
 */
void sandbox_enter(void);

#endif
