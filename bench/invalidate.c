/* SPDX-License-Identifier: BSD-3-Clause */
/* Invalidation as the guest's half sees it: from the descriptor to the wait status. */
#include <stdio.h>

#include "bench/daemon.h"
#include "bench/micro.h"
#include "bench/rig.h"
#include "bench/sample.h"
#include "spec/vtd_registers.h"

#define WARM_UP	      1000
#define TURNS	      50000
#define TURNS_TRAPPED 5000
#define FEW	      64

struct kind {
	const char *name, *text;
	unsigned granularity;
};

static const struct kind kinds[] = {
	{"page", "page-selective", VTD_GRANULARITY_SELECTIVE},
	{"domain", "domain-selective", VTD_GRANULARITY_DOMAIN},
	{"global", "global", VTD_GRANULARITY_GLOBAL},
};

static void tell(struct sample *s, const struct kind *k, const char *how, const char *where)
{
	static const struct {
		const char *name;
		double percent;
	} told[] = {{"p50", 50}, {"p90", 90}, {"p99", 99}};
	char key[96], text[128];

	for (size_t i = 0; i < sizeof(told) / sizeof(told[0]); i++) {
		snprintf(key, sizeof(key), "invalidate_%s_%s_%s_ns", k->name, how, told[i].name);
		snprintf(text, sizeof(text), "%s invalidation, %s, %s", k->text, where, told[i].name);
		report_number(key, (double)sample_percentile(s, told[i].percent), "ns", text);
	}
}

static void measure(struct vi_driver_vtd *d, const struct kind *k, uint32_t pages, unsigned turns,
		    struct sample *s)
{
	uint64_t clock = bench_clock_ns();

	for (unsigned i = 0; i < turns + WARM_UP; i++) {
		uint64_t iova = RIG_IOVA + i % pages * UINT64_C(4096), started = os_now_ns(), ns;

		if (vi_driver_vtd_flush_iotlb(d, k->granularity, RIG_DOMAIN, iova, 0) != 0)
			bench_fail("the queue stopped", 5);
		ns = os_now_ns() - started;
		if (i >= WARM_UP)
			sample_add(s, ns > clock ? ns - clock : 0);
	}
}

static void measure_daemon(const char *viommud, const struct kind *k, bool trap, uint32_t pages,
			   const char *how, const char *where)
{
	struct bench_daemon d;
	struct sample s;

	sample_init(&s, TURNS);
	bench_daemon_start(&d, viommud, trap, pages);
	measure(&d.driver, k, pages, trap ? TURNS_TRAPPED : TURNS, &s);
	tell(&s, k, how, where);
	bench_daemon_stop(&d);
	sample_finish(&s);
}

static void measure_thread(const struct kind *k)
{
	struct sample s;
	struct rig r;

	sample_init(&s, TURNS);
	rig_init(&r, 0, true);
	measure(&r.driver, k, RIG_PAGES, TURNS, &s);
	tell(&s, k, "thread", "polled by a thread of this process");
	rig_finish(&r);
	sample_finish(&s);
}

void bench_invalidate(const char *viommud)
{
	report_progress("invalidations, polled by a thread");
	measure_thread(&kinds[0]);
	report_progress("invalidations, polled by viommud");
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		measure_daemon(viommud, &kinds[i], false, RIG_PAGES, "sidecore", "polled by viommud");
	measure_daemon(viommud, &kinds[0], false, FEW, "sidecore_64pages",
		       "polled by viommud, 64 pages mapped");
	report_progress("invalidations, trapped by viommud");
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		measure_daemon(viommud, &kinds[i], true, RIG_PAGES, "trap", "trapped by viommud");
}
