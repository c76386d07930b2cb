/* SPDX-License-Identifier: BSD-3-Clause */
#include "cli/progress.h"

#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include "os/clock.h"

#define EVERY_NS  100000000 /* not more often than eyes follow */
#define BAR_WIDTH 30

void progress_begin(struct progress *p)
{
	*p = (struct progress){.is_wanted = isatty(STDERR_FILENO)};
}

static void show_bar(const char *what, double share)
{
	int filled = (int)(share * BAR_WIDTH);

	fprintf(stderr, "\r\033[K%-40.40s [%.*s%*s] %3.0f %%", what, filled, "##############################",
		BAR_WIDTH - filled, "", share * 100);
}

void progress_show(struct progress *p, const char *what, uint64_t done, uint64_t of)
{
	uint64_t now;

	if (!p->is_wanted)
		return;
	now = os_now_ns();
	if (p->is_shown && now - p->shown_ns < EVERY_NS)
		return;
	if (of)
		show_bar(what, done < of ? (double)done / (double)of : 1);
	else
		fprintf(stderr, "\r\033[K%-40.40s %" PRIu64 " MB", what, done / 1000000);
	fflush(stderr);
	p->shown_ns = now;
	p->is_shown = true;
}

void progress_end(struct progress *p)
{
	if (p->is_shown)
		fputs("\r\033[K", stderr);
	p->is_shown = false;
}
