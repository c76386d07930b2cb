/* SPDX-License-Identifier: BSD-3-Clause */
/* Invalidation as the guest's half sees it: from the descriptor to the wait status. */
#include <stdio.h>

#include "bench/daemon.h"
#include "bench/micro.h"
#include "bench/rig.h"
#include "bench/sample.h"
#include "spec/virtio_iommu.h"
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

static void tell_as(struct sample *s, const char *name, const char *what, const char *how, const char *where)
{
	static const struct {
		const char *name;
		double percent;
	} told[] = {{"p50", 50}, {"p90", 90}, {"p99", 99}};
	char key[96], text[128];

	for (size_t i = 0; i < sizeof(told) / sizeof(told[0]); i++) {
		snprintf(key, sizeof(key), "%s_%s_%s_ns", name, how, told[i].name);
		snprintf(text, sizeof(text), "%s, %s, %s", what, where, told[i].name);
		report_number(key, (double)sample_percentile(s, told[i].percent), "ns", text);
	}
}

static void tell(struct sample *s, const struct kind *k, const char *how, const char *where)
{
	char name[64], what[64];

	snprintf(name, sizeof(name), "invalidate_%s", k->name);
	snprintf(what, sizeof(what), "%s invalidation", k->text);
	tell_as(s, name, what, how, where);
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
	bench_daemon_start(&d, viommud, "vtd", trap);
	bench_daemon_drive(&d, pages);
	measure(&d.driver, k, pages, trap ? TURNS_TRAPPED : TURNS, &s);
	tell(&s, k, how, where);
	bench_daemon_stop(&d);
	sample_finish(&s);
}

/* From the request in the ring to its answer. */
static uint64_t time_request(struct bench_daemon *d, struct vi_driver_virtio_request *r)
{
	uint64_t started = os_now_ns();

	if (vi_driver_virtio_submit(&d->virtio, r, 1) || r->status)
		bench_fail("a request was refused", 5);
	return os_now_ns() - started;
}

static void measure_requests(const char *viommud, bool trap, const char *how, const char *where)
{
	unsigned turns = trap ? TURNS_TRAPPED : TURNS;
	uint64_t clock = bench_clock_ns();
	struct sample map, unmap;
	struct bench_daemon d;

	sample_init(&map, TURNS);
	sample_init(&unmap, TURNS);
	bench_daemon_start(&d, viommud, "virtio", trap);
	bench_daemon_drive_virtio(&d);
	for (unsigned i = 0; i < turns + WARM_UP; i++) {
		uint64_t iova = RIG_IOVA + i % RIG_PAGES * UINT64_C(4096), ns;
		struct vi_driver_virtio_request r;

		vi_driver_virtio_map(&r, RIG_DOMAIN, iova, iova + 4095, iova - RIG_IOVA,
				     VIRTIO_IOMMU_MAP_F_READ | VIRTIO_IOMMU_MAP_F_WRITE);
		ns = time_request(&d, &r);
		if (i >= WARM_UP)
			sample_add(&map, ns > clock ? ns - clock : 0);
		vi_driver_virtio_unmap(&r, RIG_DOMAIN, iova, iova + 4095);
		ns = time_request(&d, &r);
		if (i >= WARM_UP)
			sample_add(&unmap, ns > clock ? ns - clock : 0);
	}
	tell_as(&map, "virtio_map", "virtio-iommu, MAP of a page", how, where);
	tell_as(&unmap, "virtio_unmap", "virtio-iommu, UNMAP of a page", how, where);
	bench_daemon_stop(&d);
	sample_finish(&map);
	sample_finish(&unmap);
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
	measure_requests(viommud, false, "sidecore", "polled by viommud");
	report_progress("invalidations, trapped by viommud");
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		measure_daemon(viommud, &kinds[i], true, RIG_PAGES, "trap", "trapped by viommud");
	measure_requests(viommud, true, "trap", "trapped by viommud");
}
