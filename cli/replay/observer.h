/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What looks at a pass over the steps (pass.h). An observer stands below the
 * strategies, as their IOMMU, and beside the driver, whose calls it is told of.
 */
#ifndef CLI_REPLAY_OBSERVER_H
#define CLI_REPLAY_OBSERVER_H

#include <stddef.h>
#include <stdint.h>

#include <viommu/backing.h>
#include <viommu/dma.h>

enum replay_call_kind { REPLAY_MAP, REPLAY_UNMAP, REPLAY_SYNC, REPLAY_LATER, REPLAY_CALL_KINDS };

/* A call of the driver that is over. */
struct replay_call {
	enum replay_call_kind kind;
	unsigned device;
	uint64_t buffers, bytes; /* buffers of LATER: 1 */
};

/* Functions that an observer does not need are NULL, but for `open`. Errors are negative errnos, and end the
 * pass. */
struct replay_observer_ops {
	/* What the strategy of a device stands on, and its shadow memory. */
	int (*open)(void *observer, unsigned device, struct viommu_backing *ret_backing, void **ret_shadow);
	/* The trace's time goes on to now_ns. */
	void (*advance)(void *observer, uint64_t now_ns);
	/* A buffer, as an offset in the memory: about to be mapped, mapped. */
	void (*maps)(void *observer, uint64_t offset, uint64_t len);
	int (*mapped)(void *observer, unsigned device, uint64_t offset, uint64_t len);
	/* A buffer is about to be unmapped. */
	void (*unmaps)(void *observer, unsigned device, uint64_t offset,
		       const struct viommu_dma_mapping *mapping);
	/*
	 * Around each map, unmap and sync, and what is done later when it is due; `ends` is left out
	 * for one that was refused. Not around viommu_dma_process() behind a call, which replay asks
	 * when the next work is due, nor around what replay_pass_finish() unmaps.
	 */
	void (*call_begins)(void *observer);
	int (*call_ends)(void *observer, const struct replay_call *call);
};

struct replay_observer {
	const struct replay_observer_ops *ops;
	void *opaque;
};

#endif
