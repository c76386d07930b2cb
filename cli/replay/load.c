/* SPDX-License-Identifier: BSD-3-Clause */
#include "cli/replay/load.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "os/sentence.h"

#define TELL_EVERY 4096 /* steps */

static bool is_wished(const struct replay_wish *wish, const char *name)
{
	for (size_t i = 0; i < wish->device_count; i++)
		if (!strcmp(wish->devices[i], name))
			return true;
	return !wish->device_count;
}

/* By device of the trace: is it wished, which is asked once for each; and does it have steps? */
struct chosen {
	struct choice {
		bool yes, any_step;
	} * devices;
	unsigned count;
};

static int choose(struct chosen *c, const struct trace *t, const struct replay_wish *wish, unsigned device)
{
	struct choice *devices = c->devices;

	if (device >= c->count) {
		devices = realloc(devices, (device + 1) * sizeof(*devices));
		if (!devices)
			return -ENOMEM;
		c->devices = devices;
	}
	for (; c->count <= device; c->count++)
		devices[c->count] = (struct choice){.yes = is_wished(wish, trace_device_name(t, c->count))};
	devices[device].any_step = true;
	return 0;
}

static int refuse_step(int err, char *why, size_t why_size)
{
	if (err == -EFBIG)
		os_say(why, why_size,
		       "the buffers lie in more than 64 GiB of memory; replay fewer devices with "
		       "--device, or a shorter trace");
	else if (err == -ENFILE)
		os_say(why, why_size, "replay takes %u devices at a time; say which with --device",
		       REPLAY_DEVICES_MOST);
	else
		os_say(why, why_size,
		       "the steps cannot be kept in a temporary file: %s; set TMPDIR to a folder with more "
		       "room",
		       strerror(-err));
	return err;
}

static int add_all(struct replay_steps *s, struct trace *t, const struct replay_wish *wish, struct chosen *c,
		   char *why, size_t why_size)
{
	struct trace_step step;
	uint64_t count = 0, done, of;
	int got, err = 0;

	while ((got = trace_next(t, &step, why, why_size)) > 0) {
		err = choose(c, t, wish, step.device);
		if (!err && c->devices[step.device].yes)
			err = replay_steps_add(s, &step);
		if (err)
			return refuse_step(err, why, why_size);
		if (wish->progress && ++count % TELL_EVERY == 0) {
			trace_progress(t, &done, &of);
			wish->progress(wish->arg, done, of);
		}
	}
	if (got < 0)
		return got;
	err = replay_steps_end(s);
	return err ? refuse_step(err, why, why_size) : 0;
}

/* The names of those that do something, as far as there is room. */
static void list_devices(const struct trace *t, const struct chosen *c, char *to, size_t size)
{
	static const char more[] = ", ...";
	size_t used = 0;

	to[0] = '\0';
	for (unsigned i = 0; i < c->count; i++) {
		const char *name = trace_device_name(t, i), *before = used ? ", " : "";

		if (!c->devices[i].any_step)
			continue;
		if (used + strlen(before) + strlen(name) + sizeof(more) > size) {
			snprintf(to + used, size - used, "%s", more);
			return;
		}
		used += (size_t)snprintf(to + used, size - used, "%s%s", before, name);
	}
}

static bool is_there(const struct trace *t, const char *name)
{
	for (unsigned i = 0; i < trace_device_count(t); i++)
		if (!strcmp(trace_device_name(t, i), name))
			return true;
	return false;
}

static int check_devices(const struct trace *t, const struct chosen *c, const struct replay_wish *wish,
			 char *why, size_t why_size)
{
	char names[OS_WHY_SIZE / 2];

	for (size_t i = 0; i < wish->device_count; i++) {
		if (is_there(t, wish->devices[i]))
			continue;
		list_devices(t, c, names, sizeof(names));
		os_say(why, why_size, "the trace has no device %s; it has %s", wish->devices[i],
		       *names ? names : "none");
		return -ENODEV;
	}
	return 0;
}

/* Why there is nothing to be executed, from what is found first. */
static int refuse_empty(const struct replay_steps *s, const struct trace *t, const struct replay_wish *wish,
			char *why, size_t why_size)
{
	const char *whose = wish->device_count ? "of the devices that are asked for" : "in this trace";
	unsigned long long left_out = s->facts.left_out;

	if (left_out)
		os_say(why, why_size, "each map %s, %llu in all, is %s; 'viommu trace show' tells sizes",
		       whose, left_out, REPLAY_LEFT_OUT);
	else if (!trace_missing(t, why, why_size))
		os_say(why, why_size,
		       "no buffer is mapped %s; record the events dma:dma_map_* and dma:dma_unmap_* while "
		       "the devices work",
		       whose);
	return -ENODATA;
}

int replay_load(struct replay_steps *s, struct trace *t, const struct replay_wish *wish, char *why,
		size_t why_size)
{
	struct chosen c = {0};
	int err = add_all(s, t, wish, &c, why, why_size);

	if (!err)
		err = check_devices(t, &c, wish, why, why_size);
	free(c.devices);
	if (!err && !s->facts.maps)
		err = refuse_empty(s, t, wish, why, why_size);
	return err;
}
