/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Counters, declared once with their documentation: this table is what
 * viommu_counters_describe(), the tool, the man pages and the tests are made
 * from.
 */
#ifndef CORE_COUNTERS_H
#define CORE_COUNTERS_H

#include <viommu/viommu.h>

#include "base/counter.h"

/*
 * In this order: what accesses do, counted for each device and each domain;
 * what is counted for each device, where no domain is known; what the guest
 * asks for, counted for each domain; what is counted for the unit.
 */
#define VI_COUNTER_OF_ACCESS (VIOMMU_COUNTER_OF_DEVICE | VIOMMU_COUNTER_OF_DOMAIN)
#define VI_COUNTERS(X)                                                                                       \
	X(iotlb_hits, "events", "translations answered by the IOTLB", VI_COUNTER_OF_ACCESS)                  \
	X(iotlb_misses, "events", "translations that the IOTLB had no answer for", VI_COUNTER_OF_ACCESS)     \
	X(walks, "events", "walks through the guest's page tables", VI_COUNTER_OF_ACCESS)                    \
	X(walk_reads, "events", "page-table entries that walks read", VI_COUNTER_OF_ACCESS)                  \
	X(bytes_read, "bytes", "bytes devices read from guest memory", VI_COUNTER_OF_ACCESS)                 \
	X(bytes_written, "bytes", "bytes devices wrote to guest memory", VI_COUNTER_OF_ACCESS)               \
	X(blocked, "events", "device accesses that the IOMMU refused", VI_COUNTER_OF_ACCESS)                 \
	X(pins, "events", "ranges pinned", VI_COUNTER_OF_ACCESS)                                             \
	X(context_misses, "events", "accesses that had to read the device's root and context entry",         \
	  VIOMMU_COUNTER_OF_DEVICE)                                                                          \
	X(interrupt_messages, "events", "interrupt messages of devices passed on", VIOMMU_COUNTER_OF_DEVICE) \
	X(iotlb_domain_invalidations, "events", "invalidations of one domain", VIOMMU_COUNTER_OF_DOMAIN)     \
	X(iotlb_page_invalidations, "events", "invalidations of a range of pages", VIOMMU_COUNTER_OF_DOMAIN) \
	X(faults_recorded, "events", "faults put into a fault recording register or log", 0)                 \
	X(faults_lost, "events", "faults that found no free place and were only counted", 0)                 \
	X(context_invalidations, "events", "context-cache invalidations", 0)                                 \
	X(iotlb_global_invalidations, "events", "invalidations of the whole IOTLB", 0)                       \
	X(queue_descriptors, "events", "descriptors taken from the invalidation queue", 0)                   \
	X(queue_waits, "events", "wait descriptors completed", 0)                                            \
	X(queue_errors, "events", "times the invalidation queue stopped on an error", 0)                     \
	X(drains, "events", "times an invalidation waited for accesses in flight", 0)                        \
	X(drains_deferred, "events", "drains that did not end at the first look", 0)                         \
	X(drain_ns_total, "ns", "time spent between beginning and end of drains", 0)                         \
	X(pins_revoked, "events", "pins that an invalidation asked back", 0)                                 \
	X(translation_enables, "events", "times that the guest turned translation on", 0)                    \
	X(commands, "events", "global commands carried out", 0)                                              \
	X(interrupts, "events", "interrupt messages sent for the unit itself", 0)                            \
	X(drain_ns_max, "ns", "longest drain", VIOMMU_COUNTER_MAXIMUM)

enum vi_counter {
#define X(name, unit, doc, flags) VI_COUNT_##name,
	VI_COUNTERS(X)
#undef X
		VI_COUNTER_COUNT
};

/* How many are the first of the table. */
enum {
#define X(name, unit, doc, flags) +((flags) == VI_COUNTER_OF_ACCESS)
	VI_ACCESS_COUNTER_COUNT = VI_COUNTERS(X),
#undef X
#define X(name, unit, doc, flags) +(((flags)&VIOMMU_COUNTER_OF_DEVICE) != 0)
	VI_DEVICE_COUNTER_COUNT = VI_COUNTERS(X),
#undef X
#define X(name, unit, doc, flags) +(((flags)&VI_COUNTER_OF_ACCESS) != 0)
	VI_DOMAIN_COUNTER_END = VI_COUNTERS(X),
#undef X
};

/* One writer, who holds the unit lock; any number of readers. */
struct vi_counters {
	_Atomic uint64_t values[VI_COUNTER_COUNT];
};

/*
 * One writer, a device thread. There is an array with a place for each thread,
 * so that each writes to lines of its own; CPUs fetch lines in pairs.
 */
struct vi_device_counters {
	_Alignas(128) _Atomic uint64_t values[VI_DEVICE_COUNTER_COUNT];
};

static inline void vi_count(struct vi_counters *c, enum vi_counter which, uint64_t amount)
{
	vi_counter_add(&c->values[which], amount);
}

/* What all threads counted. Any thread, as long as the counters are there. */
uint64_t vi_sum(const struct vi_device_counters *counters, unsigned threads, unsigned which);
/* With the unit lock, asserted: a drain took so long. */
void vi_count_drain(struct viommu *v, uint64_t ns);

#endif
