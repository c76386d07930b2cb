/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Counters, declared once with their documentation: this table is what
 * viommu_counters_describe(), the tool, the man pages and the tests are made
 * from.
 */
#ifndef CORE_COUNTERS_H
#define CORE_COUNTERS_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

/* What accesses do: counted for each device and each domain. */
#define VI_ACCESS_COUNTERS(X)                                                                                \
	X(iotlb_hits, "events", "translations answered by the IOTLB")                                        \
	X(iotlb_misses, "events", "translations that the IOTLB had no answer for")                           \
	X(walks, "events", "walks through the guest's page tables")                                          \
	X(walk_reads, "events", "page-table entries that walks read")                                        \
	X(bytes_read, "bytes", "bytes devices read from guest memory")                                       \
	X(bytes_written, "bytes", "bytes devices wrote to guest memory")                                     \
	X(blocked, "events", "device accesses that the IOMMU refused")                                       \
	X(pins, "events", "ranges pinned")

/* Counted for each device, where no domain is known. */
#define VI_DEVICE_COUNTERS(X)                                                                                \
	X(context_misses, "events", "accesses that had to read the device's root and context entry")         \
	X(interrupt_messages, "events", "interrupt messages of devices passed on")

/* What the guest asks for: counted for each domain. */
#define VI_DOMAIN_COUNTERS(X)                                                                                \
	X(iotlb_domain_invalidations, "events", "invalidations of one domain")                               \
	X(iotlb_page_invalidations, "events", "invalidations of a range of pages")

/* Counted for the unit. */
#define VI_UNIT_COUNTERS(X)                                                                                  \
	X(faults_recorded, "events", "faults put into a fault recording register or log")                    \
	X(faults_lost, "events", "faults that found no free place and were only counted")                    \
	X(context_invalidations, "events", "context-cache invalidations")                                    \
	X(iotlb_global_invalidations, "events", "invalidations of the whole IOTLB")                          \
	X(queue_descriptors, "events", "descriptors taken from the invalidation queue")                      \
	X(queue_waits, "events", "wait descriptors completed")                                               \
	X(queue_errors, "events", "times the invalidation queue stopped on an error")                        \
	X(drains, "events", "times an invalidation waited for accesses in flight")                           \
	X(drains_deferred, "events", "drains that did not end at the first look")                            \
	X(drain_ns_total, "ns", "time spent between beginning and end of drains")                            \
	X(pins_revoked, "events", "pins that an invalidation asked back")                                    \
	X(translation_enables, "events", "times that the guest turned translation on")                       \
	X(commands, "events", "global commands carried out")                                                 \
	X(interrupts, "events", "interrupt messages sent for the unit itself")

/* Of the unit, and no count but the highest value so far. */
#define VI_UNIT_MAXIMA(X) X(drain_ns_max, "ns", "longest drain")

#define VI_COUNTERS(X)                                                                                       \
	VI_ACCESS_COUNTERS(X)                                                                                \
	VI_DEVICE_COUNTERS(X) VI_DOMAIN_COUNTERS(X) VI_UNIT_COUNTERS(X) VI_UNIT_MAXIMA(X)

enum vi_counter {
#define X(name, unit, doc) VI_COUNT_##name,
	VI_COUNTERS(X)
#undef X
		VI_COUNTER_COUNT
};

#define X(name, unit, doc) +1
enum {
	VI_ACCESS_COUNTER_COUNT = VI_ACCESS_COUNTERS(X),
	VI_DEVICE_COUNTER_COUNT = VI_ACCESS_COUNTER_COUNT VI_DEVICE_COUNTERS(X),
	VI_DOMAIN_COUNTER_END = VI_DEVICE_COUNTER_COUNT VI_DOMAIN_COUNTERS(X),
};
#undef X

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

static inline void vi_add(_Atomic uint64_t *value, uint64_t amount)
{
	atomic_store_explicit(value, atomic_load_explicit(value, memory_order_relaxed) + amount,
			      memory_order_relaxed);
}

static inline void vi_count(struct vi_counters *c, enum vi_counter which, uint64_t amount)
{
	vi_add(&c->values[which], amount);
}

static inline void vi_count_max(struct vi_counters *c, enum vi_counter which, uint64_t value)
{
	if (value > atomic_load_explicit(&c->values[which], memory_order_relaxed))
		atomic_store_explicit(&c->values[which], value, memory_order_relaxed);
}

struct viommu;

/* What all threads counted. Any thread, as long as the counters are there. */
uint64_t vi_sum(const struct vi_device_counters *counters, unsigned threads, unsigned which);
/* With the unit lock, asserted: a drain took so long. */
void vi_count_drain(struct viommu *v, uint64_t ns);

#endif
