/* SPDX-License-Identifier: BSD-3-Clause */
/* The signals that end a run, taken when we look for them and not in between. */
#ifndef CLI_SIGNALS_H
#define CLI_SIGNALS_H

/*
 * From now on they wait: SIGINT, SIGTERM, SIGCHLD, and unless they are ignored SIGHUP and
 * SIGQUIT. A descriptor, or a negative errno.
 */
int signals_open(void);
/* Wait up to `ms` for one; its number, or 0. */
int signals_wait(int fd, int ms);

#endif
