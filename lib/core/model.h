/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What core asks of an IOMMU model (vtd, ...). Core never knows a model except
 * through this table.
 */
#ifndef CORE_MODEL_H
#define CORE_MODEL_H

#include <stdbool.h>
#include <stdint.h>

#include <viommu/viommu.h>

#include "base/list.h"
#include "core/translation.h"

/*
 * A translation as core keeps it. Immutable once published; readers hold it for
 * the length of their section.
 */
struct vi_context {
	/* `domain`, where a cached page is all that an access needs: every iova up to `fast_last`, both
	 * rights.
	 */
	_Alignas(64) struct vi_domain *fast;
	uint64_t fast_last;		     /* t.last, as far as the IOTLB holds addresses */
	struct vi_device_counters *counters; /* what accesses by this context are charged to */
	struct vi_domain *domain;	     /* NULL: do not cache */
	struct vi_account *account;	     /* whose counters those are; NULL: the device's own */
	struct vi_translation t;	     /* its first half in the cache line of the above */
	struct vi_list retired;
	uint64_t retired_epoch;
};

/* Why an access was refused, in the model's own code; 0: it was not. */
typedef uint8_t vi_reason;

/* A fault on its way from a device thread to the model. */
struct vi_fault {
	uint64_t iova;
	uint64_t entry; /* gpa of the page-table entry that is not in memory; 0: of another reason */
	uint32_t pasid; /* or VIOMMU_NO_PASID */
	uint16_t rid;
	uint16_t domain_id; /* of the translation; 0: it has none */
	vi_reason reason;
	bool write;
};

/* An interrupt message on its way to the host. */
struct vi_message {
	uint64_t address;
	uint32_t data;
	bool posted; /* it was noted where the guest looks for it: nothing is to be sent */
	bool silent; /* a refusal is not to be recorded */
};

/* Pages of a register set in a row; whole pages. */
struct vi_regs_pollable {
	uint64_t offset, length;
	bool writable;
};

struct viommu;
struct vi_account;
struct vi_device_counters;
struct vi_domain;
struct vi_state;

/* Of a model that is asked by requests: what viommu/request.h promises. All with the unit lock. */
struct vi_request_ops {
	uint64_t features; /* offered */
	void (*accept)(void *state, uint64_t features);
	/* One byte of the configuration space, whatever the offset. */
	uint8_t (*config_read)(const void *state, size_t offset);
	void (*config_write)(void *state, size_t offset, uint8_t value);
	int (*submit)(void *state, uint64_t token, const uint8_t *request, size_t length, size_t room);
	int64_t (*answer)(void *state, uint64_t *ret_token, uint8_t *buf, size_t size);
	int64_t (*event)(void *state, uint8_t *buf, size_t size);
	/* True: accesses in flight are waited for. */
	bool (*restart)(void *state, bool keep);
};

struct vi_model_ops {
	/* `options` are the program's, of this model, or NULL. *ret_state belongs to the model until
	 * finish(). Negative errno. */
	int (*init)(struct viommu *v, const void *options, void **ret_state);
	void (*finish)(void *state);

	/* With the unit lock held. */
	void (*reset)(void *state);
	/* For saved states; never reused. */
	uint64_t state_number;
	/* Go through all numbers of the state (core/state.h), while nothing is under way. */
	void (*state)(void *state, struct vi_state *s);
	/* Take over such numbers. -EBADMSG when one is out of range, or there are more or fewer than the
	 * state has; -ENOTSUP for other capabilities; nothing changed. */
	int (*restore)(void *state, const uint8_t *numbers, size_t length);
	/* Bytes of the register set; fixed at init(). */
	size_t (*regs_size)(const void *state);
	void (*regs_read)(void *state, uint64_t offset, unsigned size, uint64_t *ret_value);
	void (*regs_write)(void *state, uint64_t offset, unsigned size, uint64_t value);
	/* The pages of the set that can be polled, ascending. */
	const struct vi_regs_pollable *regs_pollable;
	unsigned regs_pollable_count;
	/* Serve one of these, by its index, from `pages`, which the guest writes directly where the entry
	 * says writable; NULL: from the model's own memory again. */
	void (*regs_share)(void *state, unsigned which, void *pages);
	const struct vi_request_ops *requests; /* NULL: the model takes none */
	/* With the unit lock; NULL: the model keeps nothing of devices. This one has been taken out; its
	 * contexts are dropped, its accesses over. */
	void (*requester_gone)(void *state, uint16_t rid);
	/* As viommu_process(). */
	int (*process)(void *state, unsigned budget);
	/*
	 * Complete what has begun, and publish the faults that are queued; what waits in guest memory stays
	 * there, as a guest can make that endless. True: call again, accesses in flight are waited for.
	 */
	bool (*settle)(void *state);

	/*
	 * Any thread, inside a section or with the unit lock: read the
	 * entries of the device and the PASID (or VIOMMU_NO_PASID) and fill in *ret_translation, which comes
	 * as that of a device for which nothing translates. When a reason is returned only `silent` and
	 * `domain_id` count.
	 */
	vi_reason (*resolve)(void *state, uint16_t rid, uint32_t pasid,
			     struct vi_translation *ret_translation);
	/* As resolve, with the unit lock; the entries that were read on the way go to ret_info->entries,
	 * the tables to levels and table. */
	vi_reason (*describe)(void *state, uint16_t rid, uint32_t pasid,
			      struct vi_translation *ret_translation, struct viommu_requester_info *ret_info);
	/* Any thread: may this kind of request pass (ATS flags), before translation? NULL: each may. */
	vi_reason (*check_request)(void *state, const struct vi_translation *t, unsigned access);
	/* Any thread: is this address out of bounds though nothing translates (protected memory)? Asked where
	 * a translation is `guarded`. */
	bool (*is_protected)(void *state, uint64_t first, uint64_t last);
	/* Any thread, inside a section: what becomes of a device's interrupt message, or why it is refused.
	 * NULL: all pass as they are. */
	vi_reason (*remap)(void *state, uint16_t rid, struct vi_message *io_message);
	/* The codes for a walk that was refused (DENIED is also for rights of the device's entry: of stage 0
	 * then, not at the top; RESERVED is also for a leaf, of the stage that the walk tells, whose
	 * physical addresses have more than VI_IOVA_BITS bits; BEYOND comes from two stages alone), for an
	 * address outside of first..last, and for a translation that leads to interrupt messages. */
	vi_reason (*walk_reason)(const struct vi_walk *w, bool write);
	vi_reason out_of_bounds;
	vi_reason leads_to_message;
	/* Any thread: is this recorded also of a device that is `silent`? NULL: nothing is. */
	bool (*is_never_silent)(vi_reason reason);
	const char *(*reason_text)(vi_reason reason);
};

extern const struct vi_model_ops vi_vtd_model;
extern const struct vi_model_ops vi_gart_model;
extern const struct vi_model_ops vi_virtio_model;
extern const struct vi_model_ops vi_amdvi_model;

#endif
