/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A function that reads a file nobody vouches for, in a process of its own: no new
 * privileges, system calls by a list (none that opens, makes or sends anything), no
 * writing to files, bounded memory and time. It has `in` to read and `out` to write,
 * a pipe, and what comes through that is to be read as from a stranger.
 */
#ifndef CLI_TRACE_CAGE_H
#define CLI_TRACE_CAGE_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define CAGE_IN	 0
#define CAGE_OUT 3

struct cage_limits {
	uint64_t memory;	 /* bytes of address space, beside what we have now */
	unsigned cpu_s, quiet_s; /* time on the processor; and of silence, in which nothing comes out */
};

struct cage {
	pid_t pid; /* 0: it has ended */
	int out, status;
	unsigned quiet_s, cpu_s, used_s; /* used_s: on the processor, once it has ended */
};

/*
 * Runs `run(CAGE_IN, CAGE_OUT)`, whose value is the exit status. `in` stays the
 * caller's. The caller has no other thread. 0, or a negative errno: nothing runs.
 */
int cage_start(struct cage *c, int in, int (*run)(int in, int out), const struct cage_limits *limits);
/*
 * Up to `size` bytes of what it wrote. 0: it ended, with status 0. -ETIMEDOUT: it was
 * ended, as its time was over. -EFAULT: a signal ended it, cage_signal(). -ECANCELED: it
 * gave up, cage_code(). -errno of reading.
 */
ssize_t cage_read(struct cage *c, void *to, size_t size);
int cage_signal(const struct cage *c);
int cage_code(const struct cage *c);
/* Ends it, whatever it does. */
void cage_stop(struct cage *c);

#endif
