/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * viommud without memory, descriptors, mappings or threads at any point: starting
 * and ending, memory that a client lends, and each command of the control socket.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "control/message.h"
#include "control/server.h"
#include "daemon/commands/commands.h"
#include "daemon/served_vms.h"
#include "failing_alloc.h"
#include "sweep.h"
#include "testing.h"

#define RAM_SIZE (1u << 20)

static char folder[64], disk[96], nvme[128];

struct world {
	struct daemon_options options;
	struct directory directory;
	struct loop loop;
	struct served_vms served;
	char why[256];
	/* of the memory */
	uint8_t *ram;
	unsigned mapped;
};

/* -------------------------------------------------------------- start and end */

static void read_options(struct world *w)
{
	static char name[] = "viommud", disks[] = "--nvme", idle[] = "--idle-us", soon[] = "0";
	char *argv[] = {name, disks, nvme, idle, soon, NULL};

	optind = 1;
	assert_int_equal(options_parse(&w->options, 5, argv), OPTIONS_SERVE);
}

static int prepare(void *world)
{
	struct world *w = world;

	alloc_pause(true);
	w->loop.epoll = -1;
	read_options(w);
	assert_int_equal(directory_open(&w->directory, folder, w->why, sizeof(w->why)), 0);
	assert_int_equal(loop_init(&w->loop), 0);
	alloc_pause(false);
	return 0;
}

static void finish(void *world)
{
	struct world *w = world;

	loop_finish(&w->loop);
	directory_close(&w->directory);
	options_finish(&w->options);
}

/* All that there is after a failure is ended as after a life. */
static int start(void *world)
{
	struct world *w = world;
	int err;

	w->served = (struct served_vms){.loop = &w->loop};
	w->why[0] = '\0';
	err = served_vms_open(&w->served, &w->options, &w->directory, w->why, sizeof(w->why));
	if (!err)
		err = served_vms_start(&w->served, &w->options, w->why, sizeof(w->why));
	if (!err)
		return 0;
	alloc_pause(true);
	served_vms_stop(&w->served);
	/* The loop has descriptors that are closed now. */
	loop_finish(&w->loop);
	assert_int_equal(loop_init(&w->loop), 0);
	options_finish(&w->options);
	read_options(w);
	alloc_pause(false);
	return -ENOMEM;
}

/* In a sentence. */
static void expect_words(void *world, int err)
{
	struct world *w = world;

	assert_int_equal(err, -ENOMEM);
	if (strlen(w->why) < 10)
		fail_msg("all that is said of it is '%s'", w->why);
}

static void stop(void *world)
{
	struct world *w = world;

	served_vms_stop(&w->served);
}

static void start_and_end(void **test)
{
	static const struct nth_step steps[] = {
		{.name = "prepare", .run = prepare, .undo = finish},
		{.name = "start", .run = start, .undo = stop, .examine = expect_words},
	};
	static const struct nth_sequence q = NTH_SEQUENCE("viommud", struct world, steps);

	nth_sweep(&q);
}

/* ------------------------------------------------- one daemon, for what follows */

static struct world one;

static int start_one(void **test)
{
	alloc_fail_at(0);
	return prepare(&one) || start(&one);
}

static int stop_one(void **test)
{
	alloc_fail_at(0);
	stop(&one);
	finish(&one);
	return 0;
}

static struct vm *vm(void)
{
	return &one.served.vms[0].vm;
}

/* ---------------------------------------------------------------------- memory */

static int make_memory(void *world)
{
	struct world *w = world;

	alloc_pause(true);
	w->ram = aligned_alloc(4096, RAM_SIZE);
	assert_non_null(w->ram);
	alloc_pause(false);
	return 0;
}

static void free_memory(void *world)
{
	struct world *w = world;

	unit_take_back(vm()->host.units[0], 0, RAM_SIZE);
	free(w->ram);
}

static struct vfu_dma_map part(struct world *w, uint64_t first, uint64_t size)
{
	return (struct vfu_dma_map){
		.iova = first, .size = size, .host = w->ram + first, .readable = true, .writable = true};
}

static int lend(void *world)
{
	struct vfu_dma_map map = part(world, 0, RAM_SIZE / 2);

	return unit_lend(vm()->host.units[0], &map);
}

static int lend_more(void *world)
{
	struct vfu_dma_map map = part(world, RAM_SIZE / 2, RAM_SIZE / 2);

	return unit_lend(vm()->host.units[0], &map);
}

/* It cannot fail: the client unmaps behind it. Without memory to cut a region all of it is gone. */
static int take_back(void *world)
{
	unit_take_back(vm()->host.units[0], 4096, 4096);
	return 0;
}

static void memory_of_a_client(void **test)
{
	static const struct nth_step steps[] = {
		{.name = "make memory", .run = make_memory, .undo = free_memory},
		{.name = "lend", .run = lend, .keeps = true},
		{.name = "lend more", .run = lend_more, .keeps = true},
		{.name = "take a page back", .run = take_back, .keeps = true},
	};
	static const struct nth_sequence q = NTH_SEQUENCE("memory of a client", struct world, steps);

	nth_sweep(&q);
}

/* -------------------------------------------------------------------- commands */

static struct json_object *request_of(const char *command, const char *device)
{
	struct json_object *request = control_object();

	control_set_string(request, "command", command);
	if (device)
		control_set_string(request, "device", device);
	return request;
}

/* The whole reply, or none, or words. */
static int line_of(struct json_object *reply)
{
	size_t len;
	char *line = control_line(reply, &len);
	int err = -ENOMEM;

	if (line && control_get_bool(reply, "ok"))
		err = 0;
	free(line);
	json_object_put(reply);
	return err;
}

static int ask(const char *command, const char *device)
{
	struct control_reply reply = {.object = NULL};
	struct control_work *work = NULL;
	struct json_object *request;
	int err;

	alloc_pause(true);
	request = request_of(command, device);
	alloc_pause(false);
	reply.object = commands_handle(vm(), request, &work);
	while (work && !work->step(work, &reply))
		;
	if (work)
		work->drop(work);
	free(reply.rest);
	err = line_of(reply.object);
	alloc_pause(true);
	json_object_put(request);
	alloc_pause(false);
	return err;
}

static int ask_status(void *world)
{
	return ask("status", NULL);
}

static int ask_counters(void *world)
{
	return ask("counters", NULL);
}

static int ask_stat(void *world)
{
	return ask("stat", NULL);
}

static int ask_dump(void *world)
{
	return ask("dump", "nvme0");
}

static int ask_reach(void *world)
{
	return ask("reach", "nvme0");
}

/* What failed may be of the work thread, whose failures do not count: it is asked again. */
static int ask_save(void *world)
{
	return ask("save", NULL);
}

static void expect_failure(void *world, int err)
{
	assert_int_equal(err, -ENOMEM);
}

#define ASKED(what)                                                                                          \
	static void what##_without_memory(void **test)                                                       \
	{                                                                                                    \
		static const struct nth_step steps[] = {                                                     \
			{.name = #what, .run = ask_##what, .examine = expect_failure, .keeps = true}};       \
		static const struct nth_sequence q = NTH_SEQUENCE(#what, struct world, steps);               \
                                                                                                             \
		nth_sweep(&q);                                                                               \
	}

ASKED(status)
ASKED(counters)
ASKED(stat)
ASKED(dump)
ASKED(reach)
ASKED(save)

/* ------------------------------------------------------------------------ main */

static int make_folder(void **test)
{
	snprintf(folder, sizeof(folder), "/tmp/nth-daemon-XXXXXX");
	if (!mkdtemp(folder))
		return -1;
	snprintf(disk, sizeof(disk), "%s.disk", folder);
	snprintf(nvme, sizeof(nvme), "%s,serial=nth", disk);
	close(open(disk, O_CREAT | O_RDWR, 0600));
	return truncate(disk, 1 << 20);
}

static int remove_folder(void **test)
{
	return unlink(disk) | rmdir(folder);
}

int main(void)
{
	const struct CMUnitTest whole[] = {cmocka_unit_test(start_and_end)};
	const struct CMUnitTest running[] = {
		cmocka_unit_test(memory_of_a_client),	   cmocka_unit_test(status_without_memory),
		cmocka_unit_test(counters_without_memory), cmocka_unit_test(stat_without_memory),
		cmocka_unit_test(dump_without_memory),	   cmocka_unit_test(reach_without_memory),
		cmocka_unit_test(save_without_memory),
	};
	int failed;

	if (make_folder(NULL))
		return 1;
	failed = cmocka_run_group_tests_name("nth daemon, start and end", whole, NULL, NULL);
	failed += cmocka_run_group_tests_name("nth daemon, running", running, start_one, stop_one);
	return failed + (remove_folder(NULL) != 0);
}
