/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The file descriptors of this process. Each VM has a number that its clients
 * cannot exceed, whatever they send; as long as all of them fit no VM can take
 * what another one needs.
 */
#ifndef DAEMON_DESCRIPTORS_H
#define DAEMON_DESCRIPTORS_H

#include <stddef.h>

struct daemon_options;

/*
 * Raise the soft limit (RLIMIT_NOFILE) to the hard one. 0, or -1 and a sentence
 * in `why`: several VMs do not fit. A single VM may go on with less, since few
 * guests use all of their vectors; that is said on stderr.
 */
int descriptors_reserve(const struct daemon_options *options, char *why, size_t why_size);

#endif
