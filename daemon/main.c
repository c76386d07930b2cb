/* SPDX-License-Identifier: BSD-3-Clause */
/* viommud: serve an emulated IOMMU and devices behind it to one QEMU, or to several. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/descriptors.h"
#include "daemon/sandbox/sandbox.h"
#include "daemon/served_vms.h"
#include "daemon/sigbus.h"
#include "os/sentence.h"

#define EXIT_USAGE 2

struct daemon {
	struct daemon_options options;
	struct directory directory;
	struct loop loop;
	struct served_vms served;
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
	return d->signals < 0 ? -1 : loop_add(&d->loop, d->signals, on_signal, d, NULL);
}

static int start(struct daemon *d, char *why, size_t why_size)
{
	if (loop_init(&d->loop) || watch_signals(d))
		return os_say(why, why_size, "signals cannot be watched");
	if (served_vms_start(&d->served, &d->options, why, why_size))
		return -1;
	if (d->options.sandbox)
		sandbox_enter();
	return 0;
}

static int serve(struct daemon *d)
{
	char why[OS_WHY_SIZE];
	int err = start(d, why, sizeof(why));

	if (err) {
		log_line("%s", why);
	} else {
		printf("viommud: ready %s\n", d->directory.path);
		fflush(stdout);
		err = loop_run(&d->loop);
	}
	return err ? EXIT_FAILURE : EXIT_SUCCESS;
}

/* The sandbox closes behind us: other files go before the first thread comes, other system calls at last. */
static int open_files_and_serve(struct daemon *d)
{
	char why[OS_WHY_SIZE];

	if (served_vms_open(&d->served, &d->options, &d->directory, why, sizeof(why))) {
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
	char why[OS_WHY_SIZE];
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
	if (descriptors_reserve(&d.options, why, sizeof(why))) {
		log_line("%s", why);
		return EXIT_FAILURE;
	}
	if (directory_open(&d.directory, d.options.dir, why, sizeof(why))) {
		log_line("%s", why);
		return EXIT_USAGE;
	}
	d.served.loop = &d.loop;
	d.loop.epoll = -1;
	status = open_files_and_serve(&d);
	served_vms_stop(&d.served);
	loop_finish(&d.loop);
	directory_close(&d.directory);
	options_finish(&d.options);
	return status;
}
