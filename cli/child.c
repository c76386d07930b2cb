/* SPDX-License-Identifier: BSD-3-Clause */
#include "cli/child.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define STEP_MS 5

static void give(int fd, int as)
{
	if (fd >= 0)
		dup2(fd, as);
}

/* In the child: does not return. What exec says goes through `report`, which a successful exec closes. */
static void become(const struct child_plan *plan, pid_t parent, int report)
{
	sigset_t none;
	ssize_t ignored;
	int err;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGPIPE, SIG_DFL);
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	if (getppid() != parent)
		_exit(127);
	if (plan->own_group)
		setpgid(0, 0);
	give(plan->in, STDIN_FILENO);
	give(plan->out, STDOUT_FILENO);
	give(plan->err, STDERR_FILENO);
	execvp(plan->argv[0], plan->argv);
	err = errno;
	ignored = write(report, &err, sizeof(err));
	(void)ignored;
	_exit(127);
}

int child_start(const struct child_plan *plan, pid_t *ret_pid)
{
	int report[2], err = 0;
	pid_t parent = getpid(), pid;
	ssize_t n;

	if (pipe2(report, O_CLOEXEC))
		return -errno;
	pid = fork();
	if (pid == 0)
		become(plan, parent, report[1]);
	close(report[1]);
	n = pid > 0 ? read(report[0], &err, sizeof(err)) : 0;
	close(report[0]);
	if (pid < 0)
		return -EAGAIN;
	if (n == (ssize_t)sizeof(err)) {
		waitpid(pid, NULL, 0);
		return -err;
	}
	*ret_pid = pid;
	return 0;
}

bool child_ended(pid_t pid, int *ret_status)
{
	return waitpid(pid, ret_status, WNOHANG) == pid;
}

void child_pause(unsigned ms)
{
	struct timespec t = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L};

	nanosleep(&t, NULL);
}

bool child_wait(pid_t pid, unsigned ms, int *ret_status)
{
	for (unsigned waited = 0; waited <= ms; waited += STEP_MS) {
		if (child_ended(pid, ret_status))
			return true;
		child_pause(STEP_MS);
	}
	return false;
}

void child_stop(pid_t pid, unsigned ms)
{
	int status;

	kill(pid, SIGTERM);
	if (child_wait(pid, ms, &status))
		return;
	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
}

void child_adopt_orphans(void)
{
	prctl(PR_SET_CHILD_SUBREAPER, 1);
}

/* Send `sig`, 0 for none, to each child but `keep`, except those that have ended. How many there are. */
static unsigned signal_others(pid_t keep, int sig)
{
	char path[64];
	unsigned count = 0;
	FILE *children;
	int pid, status;

	snprintf(path, sizeof(path), "/proc/self/task/%d/children", getpid());
	children = fopen(path, "re");
	while (children && fscanf(children, "%d", &pid) == 1) {
		if (pid == keep || child_ended(pid, &status))
			continue;
		kill(pid, sig);
		count++;
	}
	if (children)
		fclose(children);
	return count;
}

void child_stop_others(pid_t keep, unsigned ms)
{
	unsigned count = signal_others(keep, SIGTERM);

	for (unsigned waited = 0; count && waited <= ms; waited += STEP_MS) {
		child_pause(STEP_MS);
		count = signal_others(keep, 0);
	}
	if (count)
		signal_others(keep, SIGKILL);
}

int child_exit_status(int wait_status)
{
	return WIFSIGNALED(wait_status) ? 128 + WTERMSIG(wait_status) : WEXITSTATUS(wait_status);
}

int child_open_null(void)
{
	int fd = open("/dev/null", O_RDWR | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}
