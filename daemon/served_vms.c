/* SPDX-License-Identifier: BSD-3-Clause */
#include "daemon/served_vms.h"

#include <string.h>

#include "control/protocol.h"
#include "control/server.h"
#include "daemon/commands/commands.h"
#include "daemon/sidecore/work_thread.h"
#include "os/sentence.h"

/* --------------------------------------------------------------------- open */

static int open_vm(struct served_vms *s, struct vm_options *options, struct directory *directory, char *why,
		   size_t why_size)
{
	struct served_vm *served = &s->vms[s->count];

	served->directory.fd = -1;
	if (vm_open_files(options, why, why_size))
		return -1;
	if (options->name &&
	    directory_open_within(&served->directory, directory, options->name, why, why_size))
		return -1;
	served->vm = (struct vm){.host = {.directory = options->name ? &served->directory : directory,
					  .loop = s->loop,
					  .waker = &s->waker},
				 .options = options,
				 .sidecore = &s->sidecore};
	s->count++;
	return 0;
}

int served_vms_open(struct served_vms *s, struct daemon_options *options, struct directory *directory,
		    char *why, size_t why_size)
{
	s->waker.fd = -1;
	for (unsigned i = 0; i < options->vm_count; i++) {
		if (open_vm(s, &options->vms[i], directory, why, why_size))
			return -1;
	}
	return 0;
}

/* -------------------------------------------------------------------- start */

static void process_control(void *arg)
{
	control_server_process(arg);
}

static int open_control(struct served_vms *s, struct served_vm *served, char *why, size_t why_size)
{
	char path[SOCKET_PATH_MAX];
	int err;

	directory_socket(served->vm.host.directory, CONTROL_SOCKET_NAME, path);
	err = control_server_create(path, commands_handle, &served->vm, &served->control);
	if (!err)
		err = loop_add(s->loop, control_server_fd(served->control), process_control, served->control,
			       &served->vm.host.counters);
	if (err)
		os_say(why, why_size, "%s cannot be opened: %s", path, strerror(-err));
	return err;
}

static int start_vms(struct served_vms *s, const struct daemon_options *options, char *why, size_t why_size)
{
	int err = 0;

	for (unsigned i = 0; i < s->count && !err; i++) {
		s->vms[i].vm.host.verbose = options->verbose;
		unmapper_share_init(&s->vms[i].vm.host.unmapper, s->unmapper);
		err = vm_start(&s->vms[i].vm, why, why_size);
	}
	return err;
}

static int start_thread(struct served_vms *s, const struct daemon_options *options, char *why,
			size_t why_size)
{
	struct work_options work = {.waker = &s->waker,
				    .counters = &s->sidecore,
				    .idle_us = options->idle_us,
				    .cpu = options->cpu};
	int err;

	for (unsigned i = 0; i < s->count; i++)
		work.vms[work.vm_count++] = &s->vms[i].vm;
	err = work_thread_start(&work, &s->work);
	if (err)
		os_say(why, why_size, "the work thread cannot be started: %s", strerror(-err));
	for (unsigned i = 0; i < s->count; i++)
		s->vms[i].vm.work = s->work;
	return err;
}

int served_vms_start(struct served_vms *s, const struct daemon_options *options, char *why, size_t why_size)
{
	int err = waker_init(&s->waker);

	if (err)
		os_say(why, why_size, "the work thread cannot be woken: %s", strerror(-err));
	if (!err) {
		err = unmapper_start(&s->unmapper);
		if (err)
			os_say(why, why_size, "the thread that unmaps cannot be started: %s", strerror(-err));
	}
	if (!err)
		err = start_vms(s, options, why, why_size);
	if (!err)
		err = start_thread(s, options, why, why_size);
	for (unsigned i = 0; i < s->count && !err; i++)
		err = open_control(s, &s->vms[i], why, why_size);
	return err ? -1 : 0;
}

/* --------------------------------------------------------------------- stop */

/* Sessions first: taking memory back may wait for the work thread. Then the thread, as long as what it uses
 * is there; what it does not use any more is unmapped to the end. */
void served_vms_stop(struct served_vms *s)
{
	for (unsigned i = 0; i < s->count; i++) {
		control_server_destroy(s->vms[i].control);
		vm_disconnect(&s->vms[i].vm);
	}
	work_thread_stop(s->work);
	for (unsigned i = 0; i < s->count; i++) {
		vm_stop(&s->vms[i].vm);
		if (s->vms[i].vm.options->name)
			directory_close(&s->vms[i].directory);
	}
	unmapper_stop(s->unmapper);
	waker_finish(&s->waker);
}
