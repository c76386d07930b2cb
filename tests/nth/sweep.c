/* SPDX-License-Identifier: BSD-3-Clause */
#include "sweep.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "failing_alloc.h"
#include "failing_calls.h"
#include "testing.h"

#define POINTS_MAX 20000 /* a sequence that never gets through is one that does not end */

/* What a process can leak. */
struct holdings {
	long allocations, mappings;
	unsigned descriptors, files_mapped, threads;
};

static unsigned entries_of(const char *folder)
{
	DIR *d = opendir(folder);
	unsigned n = 0;

	assert_non_null(d);
	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

/* Of files and rings: what of anonymous memory is mapped is the allocator's and the sanitizers' affair. */
static unsigned files_mapped(void)
{
	FILE *maps = fopen("/proc/self/maps", "r");
	char line[512];
	unsigned long inode;
	unsigned n = 0;

	assert_non_null(maps);
	while (fgets(line, sizeof(line), maps))
		n += sscanf(line, "%*s %*s %*s %*s %lu", &inode) == 1 && inode && !strstr(line, ".so");
	fclose(maps);
	return n;
}

static struct holdings count_holdings(void)
{
	return (struct holdings){
		.allocations = alloc_live(),
		.mappings = calls_mapped(),
		.descriptors = entries_of("/proc/self/fd"),
		.files_mapped = files_mapped(),
		.threads = entries_of("/proc/self/task"),
	};
}

/* `keeps`: the other end of a connection may have been closed meanwhile, too. */
static bool is_same(const struct holdings *a, const struct holdings *b, bool keeps)
{
	return (keeps || a->allocations == b->allocations) && a->mappings == b->mappings &&
	       (keeps ? a->descriptors >= b->descriptors : a->descriptors == b->descriptors) &&
	       a->files_mapped == b->files_mapped && a->threads == b->threads;
}

struct run {
	const struct nth_sequence *sequence;
	const struct nth_step *step;
	unsigned n;
	bool lasting, fired;
	char failed[64]; /* the call */
};

static void complain(const struct run *r, const char *what)
{
	fail_msg("sequence '%s', step '%s', %s %u (%s): %s", r->sequence->name, r->step->name,
		 r->lasting ? "from call" : "call", r->n, r->fired ? r->failed : "nothing failed", what);
}

/* A thread that was joined, and the kernel's own for a ring, may be seen for a moment after. */
static void expect_holdings(const struct run *r, const struct holdings *before, bool keeps)
{
	struct holdings now = count_holdings();
	char text[160];

	for (unsigned i = 0; i < 2000 && !is_same(before, &now, keeps); i++) {
		nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
		now = count_holdings();
	}
	if (is_same(before, &now, keeps))
		return;
	snprintf(text, sizeof(text),
		 "left behind: %ld allocations, %ld mappings, %d descriptors, %d mapped files, %d threads",
		 now.allocations - before->allocations, now.mappings - before->mappings,
		 (int)now.descriptors - (int)before->descriptors,
		 (int)now.files_mapped - (int)before->files_mapped, (int)now.threads - (int)before->threads);
	complain(r, text);
}

static void note_failure(struct run *r)
{
	const char *name;
	int error;

	name = alloc_failed(&error);
	if (!name)
		return;
	r->fired = true;
	snprintf(r->failed, sizeof(r->failed), "%s", name);
	alloc_fail_at(0);
}

static void after_failure(struct run *r, void *world, int err, int expected, const struct holdings *before)
{
	char text[80];

	if (r->step->examine) {
		r->step->examine(world, err);
	} else if (err != expected) {
		snprintf(text, sizeof(text), "the result is %d, and not %d", err, expected);
		complain(r, text);
	}
	expect_holdings(r, before, r->step->keeps);
	err = r->step->run(world);
	if (err) {
		snprintf(text, sizeof(text), "done again without a failure, the result is %d", err);
		complain(r, text);
	}
}

static void do_step(struct run *r, void *world)
{
	struct holdings before = count_holdings();
	bool fired_before = r->fired;
	int err = r->step->run(world), error = 0;

	alloc_failed(&error);
	note_failure(r);
	if (err && (fired_before || !r->fired))
		complain(r, "it fails though no call did");
	if (err)
		after_failure(r, world, err, -error, &before);
}

static void undo(struct run *r, void *world)
{
	for (size_t i = r->sequence->count; i-- > 0;) {
		r->step = &r->sequence->steps[i];
		if (r->step->undo)
			r->step->undo(world);
	}
}

/* True: there was a call to fail. */
static bool run_once(struct run *r)
{
	struct holdings before;
	void *world;

	alloc_fail_at(0); /* a sweep that failed has left it where it was */
	alloc_pause(false);
	world = calloc(1, r->sequence->world_size);
	assert_non_null(world);
	before = count_holdings();
	if (r->lasting)
		alloc_fail_from(r->n);
	else
		alloc_fail_at(r->n);
	for (size_t i = 0; i < r->sequence->count; i++) {
		r->step = &r->sequence->steps[i];
		do_step(r, world);
	}
	alloc_fail_at(0);
	undo(r, world);
	expect_holdings(r, &before, false);
	free(world);
	return r->fired;
}

void nth_sweep(const struct nth_sequence *q)
{
	unsigned points = 0;

	for (unsigned lasting = 0; lasting < 2; lasting++) {
		for (unsigned n = 1;; n++, points++) {
			struct run r = {.sequence = q, .n = n, .lasting = lasting};

			assert_in_range(n, 1, POINTS_MAX);
			if (!run_once(&r))
				break;
		}
	}
	print_message("[ swept    ] %s: %u points\n", q->name, points);
	assert_true(points > 0);
}
