/* SPDX-License-Identifier: BSD-3-Clause */
#include "cli/firmware_pass.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/child.h"
#include "cli/command.h"
#include "cli/qemu_arguments.h"
#include "cli/signals.h"
#include "os/clock.h"

#define STEP_MS		5
#define GONE_MS		5000
#define SLOW_MS		10000 /* then the user is told what is waited for */
#define COMPLAINT_BYTES 600   /* of what QEMU said last */

struct pass {
	struct daemon_process *daemon;
	pid_t qemu;  /* 0: it has ended */
	pid_t group; /* its own, with what a script around QEMU has started; 0: it never began */
	int signals;
	int complaints; /* what QEMU says on stderr, read only when it fails; -1: unknown */
	int64_t began;
	bool said_slow;
};

static int start(struct pass *p, const struct argument_list *line)
{
	struct argument_list all = {0};
	struct child_plan plan = {.own_group = true};
	int err;

	qemu_arguments_for_firmware(line->items, &all);
	argument_list_add(&all, "-display");
	argument_list_add(&all, "none");
	argument_list_add(&all, "-snapshot");
	p->complaints = memfd_create("qemu-stderr", MFD_CLOEXEC);
	plan.argv = all.items;
	plan.in = plan.out = child_open_null();
	plan.err = p->complaints >= 0 ? p->complaints : plan.out;
	err = child_start(&plan, &p->qemu);
	if (plan.in >= 0)
		close(plan.in);
	argument_list_finish(&all);
	if (err)
		return failure("%s cannot be started: %s", line->items[0], strerror(-err));
	p->group = p->qemu;
	return 0;
}

/* What QEMU said last, as one line. */
static void read_complaint(struct pass *p, char text[COMPLAINT_BYTES])
{
	off_t size = p->complaints >= 0 ? lseek(p->complaints, 0, SEEK_END) : 0;
	off_t from = size > COMPLAINT_BYTES - 1 ? size - (COMPLAINT_BYTES - 1) : 0;
	ssize_t n = size > 0 ? pread(p->complaints, text, COMPLAINT_BYTES - 1, from) : 0;

	text[n > 0 ? n : 0] = '\0';
	for (; n > 0 && text[n - 1] == '\n'; n--)
		text[n - 1] = '\0';
}

static const char *hint(const char *complaint)
{
	if (strstr(complaint, "not available for vfio-user-pci"))
		return "; choose another slot with addr= in viommud's --iommu or --nvme, or for the other "
		       "device";
	return "";
}

static int qemu_ended(struct pass *p, int wait_status)
{
	char text[COMPLAINT_BYTES];

	read_complaint(p, text);
	p->qemu = 0;
	if (*text)
		return failure("QEMU ended while firmware was being watched: %s%s", text, hint(text));
	return failure("QEMU ended with status %d while firmware was being watched; "
		       "try the command without viommu",
		       child_exit_status(wait_status));
}

static int daemon_ended(struct pass *p, int wait_status)
{
	p->daemon->pid = 0;
	return failure("viommud has ended (status %d) while firmware was being watched",
		       child_exit_status(wait_status));
}

/* 0: the addresses are known. Otherwise the exit status, said; -1: go on. */
static int step(struct pass *p, struct unit_places *ret_places)
{
	int sig = signals_wait(p->signals, STEP_MS), status;

	if (sig && sig != SIGCHLD)
		return 128 + sig;
	if (daemon_process_places(p->daemon, ret_places))
		return 0;
	if (child_ended(p->daemon->pid, &status))
		return daemon_ended(p, status);
	if (child_ended(p->qemu, &status))
		return qemu_ended(p, status);
	if (os_now_ms() - p->began > SLOW_MS && !p->said_slow) {
		p->said_slow = true;
		fprintf(stderr,
			"viommu: firmware has not placed the IOMMU's registers yet; it has %d seconds\n",
			FIRMWARE_DEADLINE_MS / 1000);
	}
	if (os_now_ms() - p->began > FIRMWARE_DEADLINE_MS)
		return failure(
			"firmware did not place the IOMMU's registers within %d seconds; does QEMU wait for "
			"something (a socket with wait=on, say)?",
			FIRMWARE_DEADLINE_MS / 1000);
	return -1;
}

static int end(struct pass *p)
{
	if (p->group)
		kill(-p->group, SIGKILL);
	if (p->qemu)
		waitpid(p->qemu, NULL, 0);
	if (p->complaints >= 0)
		close(p->complaints);
	for (unsigned waited = 0; waited < GONE_MS; waited += STEP_MS) {
		if (!daemon_process_has_client(p->daemon))
			return 0;
		child_pause(STEP_MS);
	}
	return failure("viommud did not notice that QEMU has gone; please report this");
}

static void tell(const struct unit_places *places, int64_t ms)
{
	fprintf(stderr, "viommu:");
	for (unsigned i = 0; i < places->count; i++) {
		if (places->count > 1)
			fprintf(stderr, "%s %s", i ? "," : "", places->of[i].name);
		fprintf(stderr, " at 0x%" PRIx64, places->of[i].base);
	}
	fprintf(stderr, " (%.1f s)\n", (double)ms / 1000);
}

int firmware_pass(struct daemon_process *d, const struct argument_list *line, int signals,
		  struct unit_places *ret_places)
{
	struct pass p = {.daemon = d, .signals = signals, .complaints = -1, .began = os_now_ms()};
	struct unit_places places;
	int err, gone;

	fprintf(stderr, "viommu: looking where firmware places the IOMMU's registers ...\n");
	err = start(&p, line);
	if (!err) {
		do
			err = step(&p, &places);
		while (err < 0);
	}
	gone = end(&p);
	if (err || gone)
		return err ? err : gone;
	tell(&places, os_now_ms() - p.began);
	*ret_places = places;
	return 0;
}
