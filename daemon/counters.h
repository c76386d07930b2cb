/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What viommud counts beside its units. Declared once with its documentation,
 * as the library's own (viommu_counters_describe()): `viommu stat`, `viommu
 * counters`, the manual and the tests are made from these tables.
 */
#ifndef DAEMON_COUNTERS_H
#define DAEMON_COUNTERS_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

/* Of the work thread, which all VMs share. */
#define SIDECORE_COUNTERS(X)                                                                                 \
	X(sidecore_polls, "events", "rounds in which the sidecore looked for work", 0)                       \
	X(sidecore_busy_polls, "events", "rounds in which it found some", 0)                                 \
	X(sidecore_busy_ns, "ns", "time the sidecore spent in rounds with work", 0)                          \
	X(sidecore_idle_ns, "ns", "time the sidecore spent in rounds without", 0)                            \
	X(sidecore_sleep_ns, "ns", "time the sidecore slept, without the sleep that is not over yet", 0)     \
	X(sidecore_sleeps, "events", "times the sidecore fell asleep", 0)

/* Of a VM. */
#define VM_COUNTERS(X)                                                                                       \
	X(register_reads, "events", "trapped reads of the IOMMU's registers", 0)                             \
	X(register_writes, "events", "trapped writes of the IOMMU's registers", 0)                           \
	X(memory_requests, "events", "accesses to memory that came without a file, which the VMM is asked",  \
	  0)                                                                                                 \
	X(interrupts_lost, "events", "interrupt messages that no device could send", 0)                      \
	X(main_step_ns_max, "ns", "longest that one step for this VM held the thread that serves all VMs",   \
	  VIOMMU_COUNTER_MAXIMUM)                                                                            \
	X(main_step_cpu_ns_max, "ns", "the most processor time that one such step took",                     \
	  VIOMMU_COUNTER_MAXIMUM)

#define X(name, unit, doc, flags) SIDECORE_COUNT_##name,
enum sidecore_counter { SIDECORE_COUNTERS(X) SIDECORE_COUNTER_COUNT };
#undef X

#define X(name, unit, doc, flags) VM_COUNT_##name,
enum vm_counter { VM_COUNTERS(X) VM_COUNTER_COUNT };
#undef X

/* The work thread writes, any thread reads. */
struct sidecore_counters {
	_Atomic uint64_t values[SIDECORE_COUNTER_COUNT];
};

/* Any thread writes. */
struct vm_counters {
	_Atomic uint64_t values[VM_COUNTER_COUNT];
};

static inline void sidecore_count(struct sidecore_counters *c, enum sidecore_counter which, uint64_t amount)
{
	uint64_t value = atomic_load_explicit(&c->values[which], memory_order_relaxed);

	atomic_store_explicit(&c->values[which], value + amount, memory_order_relaxed);
}

static inline void vm_count(struct vm_counters *c, enum vm_counter which)
{
	atomic_fetch_add_explicit(&c->values[which], 1, memory_order_relaxed);
}

/* One thread writes this one. */
static inline void vm_count_maximum(struct vm_counters *c, enum vm_counter which, uint64_t value)
{
	if (value > atomic_load_explicit(&c->values[which], memory_order_relaxed))
		atomic_store_explicit(&c->values[which], value, memory_order_relaxed);
}

enum counter_scope {
	COUNTER_UNIT, /* the IOMMU's, from the library */
	COUNTER_SIDECORE,
	COUNTER_VM,
};

struct counter_info {
	const char *name, *unit, *doc;
	enum counter_scope scope;
	unsigned flags; /* VIOMMU_COUNTER_... */
};

#define COUNTERS_MAX 128

/* All that there are, in the order of counters_read(). Returns how many. */
size_t counters_describe(struct counter_info ret_infos[COUNTERS_MAX]);

/* On stdout, a line for each: name, unit, where it is counted, and what, with tabs in between. */
void counters_print(void);

#endif
