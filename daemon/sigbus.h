/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef DAEMON_SIGBUS_H
#define DAEMON_SIGBUS_H

/* A client that truncates the memory it lent ends its own session and not the daemon. */
void sigbus_install(void);

#endif
