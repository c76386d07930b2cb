/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Counters, declared once with their documentation: this table is what
 * viommu_counters_describe(), the tool and the tests are made from.
 */
#ifndef CORE_COUNTERS_H
#define CORE_COUNTERS_H

#include <stdatomic.h>
#include <stdint.h>

#define VI_COUNTERS(X)                                                                                       \
	X(iotlb_hits, "events", "translations answered by the IOTLB")                                        \
	X(iotlb_misses, "events", "translations that had to read the guest's tables")                        \
	X(context_misses, "events", "accesses that had to read the device's root and context entry")         \
	X(bytes_read, "bytes", "bytes devices read from guest memory")                                       \
	X(bytes_written, "bytes", "bytes devices wrote to guest memory")                                     \
	X(blocked, "events", "device accesses that the IOMMU refused")                                       \
	X(faults_recorded, "events", "faults put into a fault recording register or log")                    \
	X(faults_lost, "events", "faults that found no free place and were only counted")                    \
	X(context_invalidations, "events", "context-cache invalidations")                                    \
	X(iotlb_global_invalidations, "events", "invalidations of the whole IOTLB")                          \
	X(iotlb_domain_invalidations, "events", "invalidations of one domain")                               \
	X(iotlb_page_invalidations, "events", "invalidations of a range of pages")                           \
	X(queue_descriptors, "events", "descriptors taken from the invalidation queue")                      \
	X(queue_waits, "events", "wait descriptors completed")                                               \
	X(queue_errors, "events", "times the invalidation queue stopped on an error")                        \
	X(drains, "events", "times an invalidation waited for accesses in flight")                           \
	X(drains_deferred, "events", "drains that did not end at the first look")                            \
	X(drain_ns_total, "ns", "time spent between beginning and end of drains")                            \
	X(drain_ns_max, "ns", "longest drain")                                                               \
	X(pins, "events", "ranges pinned")                                                                   \
	X(pins_revoked, "events", "pins that an invalidation asked back")                                    \
	X(commands, "events", "global commands carried out")                                                 \
	X(interrupts, "events", "interrupt messages sent for the unit itself")                               \
	X(interrupt_messages, "events", "interrupt messages of devices passed on")

enum vi_counter {
#define X(name, unit, doc) VI_COUNT_##name,
	VI_COUNTERS(X)
#undef X
		VI_COUNTER_COUNT
};

/* One writer (a thread's own, or the unit lock's holder), any number of readers. */
struct vi_counters {
	_Atomic uint64_t values[VI_COUNTER_COUNT];
};

static inline void vi_count(struct vi_counters *c, enum vi_counter which, uint64_t amount)
{
	uint64_t value = atomic_load_explicit(&c->values[which], memory_order_relaxed);

	atomic_store_explicit(&c->values[which], value + amount, memory_order_relaxed);
}

static inline void vi_count_max(struct vi_counters *c, enum vi_counter which, uint64_t value)
{
	if (value > atomic_load_explicit(&c->values[which], memory_order_relaxed))
		atomic_store_explicit(&c->values[which], value, memory_order_relaxed);
}

#endif
