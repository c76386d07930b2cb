/* SPDX-License-Identifier: BSD-3-Clause */
/* viommud: serve an emulated IOMMU and devices behind it to one QEMU. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "control/protocol.h"
#include "control/server.h"
#include "daemon/commands.h"
#include "daemon/sandbox.h"
#include "daemon/sigbus.h"
#include "daemon/vm.h"

#define EXIT_USAGE 2
#define WHY_SIZE   512

struct daemon {
	struct daemon_options options;
	struct directory directory;
	struct loop loop;
	struct vm vm;
	struct control_server *control;
	int signals;
};

static void on_signal(void *arg)
{
	struct daemon *d = arg;

	d->loop.stop = true;
}

static bool is_ignored(int sig)
{
	struct sigaction action;

	return !sigaction(sig, NULL, &action) && action.sa_handler == SIG_IGN;
}

/* Before there is something to leave behind, and before any thread is there, so that all inherit the mask. */
static int block_signals(void)
{
	static const int ends[] = {SIGTERM, SIGINT, SIGHUP, SIGQUIT};
	sigset_t set;

	sigemptyset(&set);
	for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
		/* nohup is heard; shells ignore SIGINT for what they start with &. */
		if (ends[i] == SIGINT || !is_ignored(ends[i]))
			sigaddset(&set, ends[i]);
	}
	sigprocmask(SIG_BLOCK, &set, NULL);
	return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

static int watch_signals(struct daemon *d)
{
	signal(SIGPIPE, SIG_IGN);
	sigbus_install();
	return d->signals < 0 ? -1 : loop_add(&d->loop, d->signals, on_signal, d);
}

static void process_control(void *arg)
{
	control_server_process(arg);
}

static int open_control(struct daemon *d, char *why)
{
	char path[SOCKET_PATH_MAX];
	int err;

	directory_socket(&d->directory, CONTROL_SOCKET_NAME, path);
	err = control_server_create(path, commands_handle, &d->vm, &d->control);
	if (!err)
		err = loop_add(&d->loop, control_server_fd(d->control), process_control, d->control);
	if (err)
		snprintf(why, WHY_SIZE, "%s cannot be opened: %s", path, strerror(-err));
	return err;
}

static int start(struct daemon *d, char *why)
{
	if (loop_init(&d->loop) || watch_signals(d)) {
		snprintf(why, WHY_SIZE, "signals cannot be watched");
		return -1;
	}
	if (vm_start(&d->vm, &d->options, &d->directory, &d->loop, why, WHY_SIZE))
		return -1;
	if (open_control(d, why))
		return -1;
	if (d->options.sandbox)
		sandbox_enter();
	return 0;
}

static int serve(struct daemon *d)
{
	char why[WHY_SIZE];
	int err = start(d, why);

	if (err) {
		log_line("%s", why);
	} else {
		printf("viommud: ready %s\n", d->directory.path);
		fflush(stdout);
		err = loop_run(&d->loop);
	}
	control_server_destroy(d->control);
	vm_stop(&d->vm);
	loop_finish(&d->loop);
	return err ? EXIT_FAILURE : EXIT_SUCCESS;
}

/* The sandbox closes behind us: other files go before the first thread comes, other system calls at last. */
static int open_disks_and_serve(struct daemon *d)
{
	char why[WHY_SIZE];

	if (vm_open_disks(&d->options, why, sizeof(why))) {
		log_line("%s", why);
		return EXIT_FAILURE;
	}
	if (d->options.sandbox)
		sandbox_begin(&d->directory);
	return serve(d);
}

int main(int argc, char **argv)
{
	static struct daemon d;
	char why[WHY_SIZE];
	int status;

	switch (options_parse(&d.options, argc, argv)) {
	case OPTIONS_ANSWERED:
		return EXIT_SUCCESS;
	case OPTIONS_BAD:
		return EXIT_USAGE;
	default:
		break;
	}
	umask(077);
	d.signals = block_signals();
	if (directory_open(&d.directory, d.options.dir, why, sizeof(why))) {
		log_line("%s", why);
		return EXIT_USAGE;
	}
	status = open_disks_and_serve(&d);
	directory_close(&d.directory);
	options_finish(&d.options);
	return status;
}
