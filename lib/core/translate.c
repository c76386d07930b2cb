/* SPDX-License-Identifier: BSD-3-Clause */
/* From (requester, iova) to memory: IOTLB hit, else the guest's tables, else a fault. */
#include "core/translate.h"

#include <assert.h>
#include <errno.h>

#include "base/bits.h"
#include "core/context.h"
#include "core/domain.h"
#include "core/host.h"
#include "core/requester.h"
#include "core/thread.h"
#include "core/unit.h"

_Static_assert(VIOMMU_READ == VI_IOTLB_READ && VIOMMU_WRITE == VI_IOTLB_WRITE &&
		       VIOMMU_READ * VI_IOTLB_MEM_READ == VI_IOTLB_MEM_READ &&
		       VIOMMU_WRITE * VI_IOTLB_MEM_READ == VI_IOTLB_MEM_WRITE,
	       "compared as masks");

#define RIGHTS (VIOMMU_READ | VIOMMU_WRITE)

/* What begins below the interrupt range ends there, whatever the tables say. */
static uint64_t room_before_messages(uint64_t iova, uint64_t room)
{
	return iova < VI_MESSAGE_FIRST ? vi_min(room, VI_MESSAGE_FIRST - iova) : room;
}

static void count_refusal(struct viommu_thread *t, const struct vi_context *c, unsigned access,
			  vi_reason reason)
{
	if (access & VIOMMU_QUIET)
		return;
	vi_count_access(t, c->counters, VI_COUNT_blocked, 1);
	vi_fault_count(&t->unit->history, reason);
}

static bool is_silent(const struct vi_model_ops *model, const struct vi_context *c, vi_reason reason)
{
	return c->t.silent && !(model->is_never_silent && model->is_never_silent(reason));
}

/* `entry`: see struct vi_fault. */
static void report(struct viommu_thread *t, struct viommu_requester *r, const struct vi_context *c,
		   uint64_t iova, uint64_t entry, unsigned access, vi_reason reason)
{
	struct viommu *v = t->unit;
	struct vi_fault fault = {.iova = iova,
				 .entry = entry,
				 .rid = r->rid,
				 .pasid = r->pasid,
				 .domain_id = c->t.domain_id,
				 .reason = reason,
				 .write = access & VIOMMU_WRITE};

	count_refusal(t, c, access, reason);
	if (access & VIOMMU_QUIET || is_silent(v->model, c, reason))
		return;
	if (vi_fault_queue_push(&v->faults, &fault))
		vi_kick(v);
}

/* Fill in what a gpa means to the host. -EFAULT: no memory there, or not for this access. */
static int place_by_map(struct viommu *v, uint64_t gpa, uint64_t last, unsigned access,
			struct vi_place *ret_place)
{
	const struct vi_region *region = vi_guestmem_find(&v->mem, gpa);
	unsigned need =
		(access & VIOMMU_READ ? VIOMMU_MEM_READ : 0) | (access & VIOMMU_WRITE ? VIOMMU_MEM_WRITE : 0);

	if (vi_is_message(gpa) || !region || (need & ~region->flags))
		return -EFAULT;
	if (gpa < VI_MESSAGE_FIRST)
		last = vi_min(last, VI_MESSAGE_FIRST - 1);
	ret_place->gpa = gpa;
	ret_place->host = region->host ? region->host + (gpa - region->first) : NULL;
	ret_place->room = vi_min(last, region->last) - gpa + 1;
	return 0;
}

/* Where the device's entry ends, and what it grants at all: a zero-length read needs one right. Returns a
 * reason, or 0. */
static vi_reason check_entry(const struct viommu *v, const struct vi_translation *t, uint64_t iova,
			     bool zero_length, unsigned access)
{
	if (iova < t->first || iova > t->last)
		return v->model->out_of_bounds;
	if (zero_length ? !(t->rights & RIGHTS) : (access & RIGHTS & ~t->rights) != 0)
		return v->model->walk_reason(&(struct vi_walk){.result = VI_WALK_DENIED},
					     access & VIOMMU_WRITE);
	return 0;
}

static int place_identity(struct viommu_thread *t, struct viommu_requester *r, const struct vi_context *c,
			  uint64_t iova, uint64_t len, unsigned access, struct vi_place *ret_place)
{
	struct viommu *v = t->unit;
	vi_reason reason = check_entry(v, &c->t, iova, len == 0, access);
	int ret;

	if (reason) {
		report(t, r, c, iova, 0, access, reason);
		return -EACCES;
	}
	ret_place->pin_space = vi_pin_space(&c->t);
	ret_place->counters = c->counters;
	ret = place_by_map(v, iova, c->t.last, access, ret_place);
	if (ret == 0 && c->t.guarded) {
		len = vi_max(len, 1);
		ret_place->room = vi_min(ret_place->room, vi_min(len, VI_PAGE_SIZE - iova % VI_PAGE_SIZE));
		if (v->model->is_protected(v->model_state, iova, iova + ret_place->room - 1)) {
			count_refusal(t, c, access, VIOMMU_REASON_PROTECTED);
			return -EACCES;
		}
	}
	return ret;
}

/* An entry of the IOTLB that covers iova and allows the access; without the right the tables decide. */
static inline __attribute__((always_inline)) bool find_cached(const struct viommu *v,
							      const struct vi_domain *d, uint64_t iova,
							      unsigned access, uint64_t *ret_value,
							      unsigned *ret_class)
{
	uint32_t asid = atomic_load_explicit(&d->space.asid, memory_order_acquire);
	uint32_t classes = atomic_load_explicit(&d->space.classes, memory_order_relaxed);

	for (unsigned class = 0; class < VI_IOTLB_CLASSES; class ++) {
		if (!(classes & (1u << class)) || !vi_iotlb_lookup(&v->iotlb, asid, iova, class, ret_value))
			continue;
		*ret_class = class;
		return (access & ~*ret_value) == 0;
	}
	return false;
}

/*
 * The host side of a leaf that starts at `gpa`, if it lies in one region. A leaf
 * that reaches into the interrupt range has none, so that hit() leaves each
 * access to place_paged(), which looks at the final address.
 */
static uint64_t host_bits(const struct viommu *v, uint64_t gpa, uint64_t size)
{
	const struct vi_region *region = vi_guestmem_find(&v->mem, gpa);

	if (!region || !region->slot || region->last - gpa < size - 1 ||
	    (gpa <= VI_MESSAGE_LAST && gpa + (size - 1) >= VI_MESSAGE_FIRST))
		return 0;
	return (uint64_t)region->slot << VI_IOTLB_SLOT_SHIFT |
	       (region->flags & VIOMMU_MEM_READ ? VI_IOTLB_MEM_READ : 0) |
	       (region->flags & VIOMMU_MEM_WRITE ? VI_IOTLB_MEM_WRITE : 0);
}

static uint64_t page_size(unsigned class)
{
	return UINT64_C(1) << vi_iotlb_shift(class);
}

/* The final address counts, not the page: a superpage beside the interrupt range is good for the rest of it.
 */
static bool leads_to_message(uint64_t value, unsigned class, uint64_t iova)
{
	return vi_is_message((value & VI_IOTLB_GPA) + (iova & (page_size(class) - 1)));
}

/* The largest class whose pages fit into the leaf, and into the memory that it leads to. */
static unsigned class_of(const struct vi_walk *w)
{
	unsigned aligned = (unsigned)__builtin_ctzll(w->address | VI_BIT(63));

	assert(w->size_lg2 >= VI_PAGE_SHIFT && w->size_lg2 < 64 && aligned >= VI_PAGE_SHIFT);
	return vi_iotlb_class_of((unsigned)vi_min(w->size_lg2, aligned));
}

/* Of the page of this class that holds iova, in a leaf that may be larger. */
static uint64_t value_of(const struct viommu *v, const struct vi_walk *w, uint64_t iova, unsigned class)
{
	uint64_t leaf = UINT64_C(1) << w->size_lg2, page = page_size(class);
	uint64_t address = w->address + (vi_align_down(iova, page) - vi_align_down(iova, leaf));

	return (address & VI_IOTLB_GPA) | (w->access & VI_PGTABLE_READ ? VI_IOTLB_READ : 0) |
	       (w->access & VI_PGTABLE_WRITE ? VI_IOTLB_WRITE : 0) | host_bits(v, address, page);
}

/* A zero-length read needs any right. */
static unsigned rights_needed(unsigned access, bool zero_length)
{
	if (zero_length)
		return VI_PGTABLE_READ | VI_PGTABLE_WRITE;
	return (access & VIOMMU_READ ? VI_PGTABLE_READ : 0) | (access & VIOMMU_WRITE ? VI_PGTABLE_WRITE : 0);
}

/*
 * Read the guest's tables; cache what they say, unless that is a fault. Returns a reason when they refuse;
 * *ret_value is the address of the entry that is not in memory then, or 0.
 */
static vi_reason walk(struct viommu_thread *t, const struct vi_context *c, uint64_t iova, bool zero_length,
		      unsigned access, uint64_t changes, uint32_t asid, uint64_t *ret_value,
		      unsigned *ret_class)
{
	struct viommu *v = t->unit;
	struct vi_walk w = c->t.translator.ops->walk(&c->t.translator, &v->mem, iova,
						     rights_needed(access, zero_length), zero_length);

	vi_count_access(t, c->counters, VI_COUNT_walks, 1);
	vi_count_access(t, c->counters, VI_COUNT_walk_reads, w.reads);
	if (w.result == VI_WALK_OK && (w.address + (VI_BIT(w.size_lg2) - 1)) >> VI_IOVA_BITS) {
		w.result = VI_WALK_RESERVED;
		w.top = false;
	}
	if (w.result != VI_WALK_OK) {
		*ret_value = w.result == VI_WALK_TABLE_ACCESS ? w.address : 0;
		return v->model->walk_reason(&w, access & VIOMMU_WRITE);
	}
	*ret_class = class_of(&w);
	*ret_value = value_of(v, &w, iova, *ret_class);
	if (leads_to_message(*ret_value, *ret_class, iova)) {
		*ret_value = 0;
		return v->model->leads_to_message;
	}
	if (c->domain && (w.piece || w.size_lg2 != vi_iotlb_shift(*ret_class)))
		vi_iotlb_note_pieces(&c->domain->space);
	if (asid)
		vi_iotlb_insert(&v->iotlb, &c->domain->space, changes, asid, iova, *ret_class, *ret_value);
	return 0;
}

static int place_by_value(struct viommu *v, uint64_t value, unsigned class, uint64_t iova, unsigned access,
			  struct vi_place *ret_place)
{
	uint64_t size = page_size(class), offset = iova & (size - 1);
	uint64_t gpa = (value & VI_IOTLB_GPA) + offset;
	unsigned slot = value >> VI_IOTLB_SLOT_SHIFT;

	if (!slot)
		return place_by_map(v, gpa, gpa - offset + size - 1, access, ret_place);
	if ((access & VIOMMU_READ && !(value & VI_IOTLB_MEM_READ)) ||
	    (access & VIOMMU_WRITE && !(value & VI_IOTLB_MEM_WRITE)))
		return -EFAULT;
	ret_place->gpa = gpa;
	ret_place->host = vi_guestmem_host(&v->mem, slot, gpa);
	ret_place->room = size - offset;
	return 0;
}

/* What the domain's entries of the IOTLB or else the tables say of iova. Returns a reason when they refuse,
 * as walk(). */
static vi_reason look_up(struct viommu_thread *t, const struct viommu_requester *r,
			 const struct vi_context *c, uint64_t iova, bool zero_length, unsigned access,
			 uint64_t *ret_value, unsigned *ret_class)
{
	struct viommu *v = t->unit;
	bool cached = c->domain && iova <= VI_IOVA_CACHED_LAST;
	uint64_t changes = 0;
	uint32_t asid = 0;

	if (cached) {
		changes = atomic_load_explicit(&c->domain->space.changes, memory_order_acquire);
		asid = atomic_load_explicit(&c->domain->space.asid, memory_order_acquire);
		/*
		 * The guest invalidates a context before what is cached of its domain (VT-d 6.5.2.1). When
		 * `changes` is of after that second invalidation, the context that is looked at here is
		 * dropped already, and what its tables say is not for the cache.
		 */
		if (atomic_load_explicit(&r->context, memory_order_acquire) != c)
			asid = 0;
	}
	/* Memory without a host offset of its own, or rights that hit() left to be judged here. */
	if (cached && !zero_length) {
		if (find_cached(v, c->domain, iova, access & RIGHTS, ret_value, ret_class)) {
			vi_count_access(t, c->counters, VI_COUNT_iotlb_hits, 1);
			if (!leads_to_message(*ret_value, *ret_class, iova))
				return 0;
			*ret_value = 0;
			return v->model->leads_to_message;
		}
		vi_count_access(t, c->counters, VI_COUNT_iotlb_misses, 1);
	}
	return walk(t, c, iova, zero_length, access, changes, asid, ret_value, ret_class);
}

static int place_paged(struct viommu_thread *t, struct viommu_requester *r, const struct vi_context *c,
		       uint64_t iova, bool zero_length, unsigned access, struct vi_place *ret_place)
{
	struct viommu *v = t->unit;
	uint64_t value = 0;
	unsigned class = 0;
	vi_reason reason;
	int ret;

	ret_place->pin_space = vi_pin_space(&c->t);
	ret_place->counters = c->counters;
	reason = check_entry(v, &c->t, iova, zero_length, access);
	if (!reason)
		reason = look_up(t, r, c, iova, zero_length, access, &value, &class);
	if (reason) {
		report(t, r, c, iova, value, access, reason);
		return -EACCES;
	}
	if (zero_length)
		return 0;
	ret = place_by_value(v, value, class, iova, access, ret_place);
	if (ret == 0)
		ret_place->room = vi_min(ret_place->room - 1, c->t.last - iova) + 1;
	return ret;
}

/*
 * The way that nearly all accesses go: a cached context, a cached page in
 * memory with a host pointer, rights for it. False decides nothing. An entry
 * is never found under asid 0.
 */
static inline __attribute__((always_inline)) bool hit(struct viommu_thread *t, struct viommu_requester *r,
						      uint64_t iova, uint64_t len, unsigned access,
						      struct vi_place *ret_place)
{
	struct viommu *v = t->unit;
	const struct vi_context *c = atomic_load_explicit(&r->context, memory_order_acquire);
	uint64_t value, last;
	unsigned class;

	if (!c || !c->fast || iova > c->fast_last || len == 0 || access & ~RIGHTS)
		return false;
	if (!find_cached(v, c->fast, iova, access, &value, &class))
		return false;
	if (!(value >> VI_IOTLB_SLOT_SHIFT) || access & ~(value / VI_IOTLB_MEM_READ))
		return false;
	last = VI_BITS(vi_iotlb_shift(class) - 1, 0);
	ret_place->gpa = (value & VI_IOTLB_GPA) | (iova & last);
	ret_place->host = vi_guestmem_host(&v->mem, value >> VI_IOTLB_SLOT_SHIFT, ret_place->gpa);
	ret_place->room = vi_min(len, last - (iova & last) + 1);
	if (class > 0)
		ret_place->room = room_before_messages(iova, ret_place->room);
	ret_place->pin_space = c->t.domain_id;
	ret_place->counters = c->counters;
	vi_count_access(t, c->counters, VI_COUNT_iotlb_hits, 1);
	return true;
}

static __attribute__((noinline)) int translate_slowly(struct viommu_thread *t, struct viommu_requester *r,
						      uint64_t iova, uint64_t len, unsigned access,
						      struct vi_place *ret_place)
{
	const struct vi_model_ops *model = vi_requester_model(r);
	struct viommu *v = t->unit;
	const struct vi_context *c;
	struct vi_context scratch;
	vi_reason reason;
	int ret;

	reason = vi_context_get(t, r, &scratch, &c);
	if (!reason && model && model->check_request &&
	    access & (VIOMMU_TRANSLATED | VIOMMU_TRANSLATION_REQUEST))
		reason = model->check_request(v->model_state, &c->t, access);
	if (reason) {
		report(t, r, c, iova, 0, access, reason);
		return -EACCES;
	}
	if (c->t.kind == VI_TRANSLATION_BY_TRANSLATOR)
		ret = place_paged(t, r, c, iova, len == 0, access, ret_place);
	else
		ret = place_identity(t, r, c, iova, len, access, ret_place);
	if (ret == 0 && len > 0)
		ret_place->room = vi_min(room_before_messages(iova, ret_place->room), len);
	return ret;
}

int vi_translate(struct viommu_thread *t, struct viommu_requester *r, uint64_t iova, uint64_t len,
		 unsigned access, struct vi_place *ret_place)
{
	if (__builtin_expect(vi_is_message(iova), 0))
		return -EFAULT;
	if (__builtin_expect(hit(t, r, iova, len, access, ret_place), 1))
		return 0;
	return translate_slowly(t, r, iova, len, access, ret_place);
}
