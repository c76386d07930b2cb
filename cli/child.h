/* SPDX-License-Identifier: BSD-3-Clause */
/* Programs that we start. They get SIGTERM when we die, however we die. */
#ifndef CLI_CHILD_H
#define CLI_CHILD_H

#include <stdbool.h>
#include <sys/types.h>

struct child_plan {
	char *const *argv; /* argv[0] is looked up in PATH when it has no slash */
	int in, out, err;  /* descriptors to give it; -1: ours */
	bool own_group;	   /* signals of the terminal do not reach it */
};

/* 0 and *ret_pid, or a negative errno, also of the exec itself: -ENOENT when there is no such program. */
int child_start(const struct child_plan *plan, pid_t *ret_pid);

/* Has it ended? True and the wait status. */
bool child_ended(pid_t pid, int *ret_status);
/* The same, waiting for at most `ms`. */
bool child_wait(pid_t pid, unsigned ms, int *ret_status);
/* SIGTERM, and SIGKILL when it is still there after `ms`. Waits for it. */
void child_stop(pid_t pid, unsigned ms);
/* From now on what our children leave behind is ours to end. */
void child_adopt_orphans(void);
/* The same as child_stop() for each child but `keep`. */
void child_stop_others(pid_t keep, unsigned ms);
/* As a shell gives it: the exit status, or 128 + the signal. */
int child_exit_status(int wait_status);

/* Sleep. */
void child_pause(unsigned ms);

/* A descriptor of /dev/null, open for reading and writing, or a negative errno. */
int child_open_null(void);

#endif
