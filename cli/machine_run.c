/* SPDX-License-Identifier: BSD-3-Clause */
#include "cli/machine_run.h"

#include <inttypes.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#include "cli/child.h"
#include "cli/command.h"
#include "cli/signals.h"

#define WATCH_MS       250
#define QEMU_STOP_MS   10000
#define UNPROTECTED_MS 20000 /* firmware, boot loader and an early kernel have their time */
#define NO_DRIVER_MS   60000 /* a module of an initrd comes later */
#define GONE_MS	       1000  /* for viommud to notice that QEMU has gone */

struct machine {
	struct daemon_process *daemon;
	pid_t qemu;
	int status; /* to exit with, once ended */
	bool ended;
	unsigned unprotected_ms; /* without a break */
	bool warned;
	unsigned no_driver_ms; /* from the start on */
	bool has_driver;       /* or it was told that there is none */
};

/* Before the reason is told: what QEMU has to say of its end must not stand below it. */
static void stop(struct machine *m)
{
	child_stop(m->qemu, QEMU_STOP_MS);
	m->ended = true;
}

static void daemon_has_ended(struct machine *m, int wait_status)
{
	char how[64];

	if (WIFSIGNALED(wait_status))
		snprintf(how, sizeof(how), "was killed by signal %d (%s)", WTERMSIG(wait_status),
			 strsignal(WTERMSIG(wait_status)));
	else
		snprintf(how, sizeof(how), "has ended (status %d)", WEXITSTATUS(wait_status));
	m->daemon->pid = 0;
	stop(m);
	m->status = failure("viommud %s, so the guest's devices are gone; QEMU was stopped. What the guest "
			    "had flushed is in its disk files",
			    how);
}

/* viommud first: an end of QEMU may come of its end, and is then not the reason to tell. */
static void look_at_children(struct machine *m)
{
	int status;

	if (child_ended(m->daemon->pid, &status)) {
		daemon_has_ended(m, status);
	} else if (child_ended(m->qemu, &status)) {
		m->ended = true;
		m->status = child_exit_status(status);
	}
}

static void look_at_registers(struct machine *m)
{
	struct unit_place place;

	if (!m->daemon->iommu || !daemon_process_base_is_wrong(m->daemon, &place))
		return;
	stop(m);
	m->status = failure("firmware placed the registers of the IOMMU '%s' at 0x%" PRIx64 ", which is not "
			    "where the guest's firmware table says; QEMU was stopped. Run the command again",
			    place.name, place.base);
}

/* What makes Linux use a unit of each model, and what a guest without it leaves open. */
static const struct remedy {
	const char *model, *what, *needs;
} remedies[] = {
	{"vtd", "so they reach all of its memory", "intel_iommu=on and ACPI"},
	{"amdvi", "so they reach all of its memory",
	 "CONFIG_AMD_IOMMU, which kernels for clouds lack, a processor with cmpxchg16b (not -cpu qemu64), "
	 "and "
	 "ACPI"},
	{"virtio", "so they reach all of its memory",
	 "the driver virtio_iommu, in the kernel or in the initrd (a line virtio_iommu in "
	 "/etc/initramfs-tools/modules, then update-initramfs -u), and ACPI"},
	{"gart", "and a GART keeps them from none of its memory",
	 "iommu=force, CONFIG_GART_IOMMU and a processor of AMD (-cpu qemu64,vendor=AuthenticAMD)"},
};

static const struct remedy *remedy_of(const char *model)
{
	size_t last = sizeof(remedies) / sizeof(remedies[0]) - 1, i = 0;

	while (i < last && strcmp(remedies[i].model, model))
		i++;
	return &remedies[i];
}

static void tell_unprotected(const struct machine *m, const struct table_unit *unit)
{
	const struct remedy *r = remedy_of(unit->model);

	fprintf(stderr,
		"viommu: NOT PROTECTED: the guest has used its devices behind the IOMMU '%s' for %u s "
		"without "
		"turning translation on, %s. Linux needs %s; 'viommu status --dir %s' tells when it is on\n",
		unit->name, UNPROTECTED_MS / 1000, r->what, r->needs, m->daemon->dir);
}

/* Who started this wants an IOMMU, and nothing in the guest says that it has none. */
static void look_at_translation(struct machine *m)
{
	struct table_unit unit;

	if (!m->daemon->iommu || m->warned)
		return;
	m->unprotected_ms =
		daemon_process_is_unprotected(m->daemon, &unit) ? m->unprotected_ms + WATCH_MS : 0;
	if (m->unprotected_ms < UNPROTECTED_MS)
		return;
	m->warned = true;
	tell_unprotected(m, &unit);
}

/*
 * Devices behind a unit that a firmware table tells of, and that no driver takes, Linux leaves alone: the
 * guest finds no disk, and no line of its own says why.
 */
static void look_at_driver(struct machine *m)
{
	struct table_unit unit;

	if (!m->daemon->iommu || m->has_driver)
		return;
	m->no_driver_ms += WATCH_MS;
	m->has_driver = !daemon_process_awaits_driver(m->daemon, &unit);
	if (m->has_driver || m->no_driver_ms < NO_DRIVER_MS)
		return;
	m->has_driver = true;
	fprintf(stderr,
		"viommu: for %u s no driver of the guest has taken the IOMMU '%s'. Linux leaves the devices "
		"behind it alone until one does: it needs %s\n",
		NO_DRIVER_MS / 1000, unit.name, remedy_of(unit.model)->needs);
}

/* A script around QEMU that did not exec it may have ended before it, without passing a signal on. */
static void stop_what_is_left(const struct daemon_process *d)
{
	for (unsigned waited = 0; d->pid && waited < GONE_MS; waited += WATCH_MS / 10) {
		if (!daemon_process_has_client(d))
			return;
		child_pause(WATCH_MS / 10);
	}
	child_stop_others(d->pid, QEMU_STOP_MS);
}

int machine_run(struct daemon_process *d, const struct argument_list *line, int signals)
{
	struct machine m = {.daemon = d};
	struct child_plan plan = {.argv = line->items, .in = -1, .out = -1, .err = -1};
	int err, sig;

	child_adopt_orphans();
	err = child_start(&plan, &m.qemu);
	if (err)
		return failure("%s cannot be started: %s", line->items[0], strerror(-err));
	while (!m.ended) {
		sig = signals_wait(signals, WATCH_MS);
		if (sig && sig != SIGCHLD)
			kill(m.qemu, sig);
		look_at_children(&m);
		if (!m.ended && !sig)
			look_at_registers(&m);
		if (!m.ended && !sig)
			look_at_translation(&m);
		if (!m.ended && !sig)
			look_at_driver(&m);
	}
	stop_what_is_left(d);
	return m.status;
}
