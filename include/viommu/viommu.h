/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Units: memory, requesters, registers and counters of an IOMMU in software.
 *
 * A struct viommu is one remapping unit with its registers, its caches and the
 * guest memory that its tables live in. Devices behind it are requesters; their
 * accesses are in viommu/access.h.
 *
 * Return values: 0 or a positive count on success, a negative errno when the
 * program asked for something impossible; nothing has changed then. What a
 * guest does wrong is never an error here: it is recorded where the
 * specification says and counted.
 *
 * Threads: every function may be called from any thread unless it says
 * otherwise; the library serialises what needs to be. viommu_create() and
 * viommu_destroy() must not run beside any other call on the same unit.
 */
#ifndef VIOMMU_VIOMMU_H
#define VIOMMU_VIOMMU_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <viommu/host.h>

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

struct viommu;
struct viommu_requester;

/* ------------------------------------------------------------------- units */

/* What a unit pretends to be. */
enum viommu_model {
	VIOMMU_MODEL_NONE, /* no remapping: a device address is a guest physical address */
	VIOMMU_MODEL_VTD,  /* Intel VT-d, legacy mode */
	VIOMMU_MODEL_GART, /* AMD's graphics address remapping table: remaps one aperture, protects nothing */
	VIOMMU_MODEL_VIRTIO, /* virtio-iommu: no registers, but requests (viommu/request.h) */
	VIOMMU_MODEL_AMDVI,  /* AMD-Vi: device table, command buffer, event log */
};

/* Options of VIOMMU_MODEL_VTD, as those below. */
struct viommu_vtd_options {
	size_t sz;	       /* sizeof(struct viommu_vtd_options) of the program */
	uint8_t fault_records; /* fault recording registers, 1..255; 0: 16; over 222: a second page */
	bool caching_mode;     /* CAP.CM: the guest announces new mappings too */
	bool no_1gib;	       /* hide 1 GiB pages */
	bool no_2mib;	       /* hide 2 MiB and 1 GiB pages */
	bool no_pass_through;  /* hide ECAP.PT */
	bool only_39bit;       /* hide 4-level tables */
};

/* Options of VIOMMU_MODEL_VIRTIO. */
struct viommu_virtio_options {
	size_t sz;	     /* sizeof(struct viommu_virtio_options) of the program */
	bool blocked;	     /* endpoints in no domain are blocked from power-on; else all memory is theirs */
	uint8_t input_width; /* bits of an iova that can be mapped, 32..52; 0: 48 */
	uint32_t domain_last;	/* the largest number of a domain; 0: 65535 */
	uint32_t mappings_most; /* mappings at a time, of all domains; 0: 1,048,576 (80 MiB) */
};

/*
 * Options of VIOMMU_MODEL_AMDVI, as those below.
 *
 * The interrupt of the unit goes to the host's `msi` with requester id 0. With
 * `x2apic`, and once the guest has enabled IntCapXT, address and data are made of
 * the registers for that. Otherwise they are what the 32-bit registers at 0x15c
 * (address), 0x160 (its high half) and 0x164 (data) hold, which are 0 until somebody
 * writes them: the function that has the MSI capability is the program's, which
 * copies there what the guest writes into it, or sends the message by means of its
 * own, whatever the address.
 */
struct viommu_amdvi_options {
	size_t sz;	    /* sizeof(struct viommu_amdvi_options) of the program */
	bool x2apic;	    /* offer EFR.XTSup: interrupts by IntCapXT, destinations of 32 bits */
	bool only_4_levels; /* hide tables of 5 and 6 levels */
};

/*
 * Options. Fill with zeros, set `sz` and what should differ from the default:
 * 0 always means the default. Members that this library does not know must be
 * zero.
 */
struct viommu_options {
	size_t sz;		    /* sizeof(struct viommu_options) of the program */
	enum viommu_model model;    /* what the unit pretends to be; default: no remapping */
	uint16_t segment;	    /* PCI segment of all its requesters */
	uint8_t host_address_width; /* bits of guest physical address, 32..52; 0: 46 */
	uint8_t max_threads_lg2;    /* device threads at a time, 1..10; 0: 6 (64 threads) */
	uint8_t iotlb_lg2;	    /* IOTLB entries, 6..24; 0: 17 (131,072 entries, 2 MiB) */

	/*
	 * The model's own, a struct viommu_vtd_options for VT-d, a struct
	 * viommu_virtio_options for virtio-iommu, a struct viommu_amdvi_options for
	 * AMD-Vi; read during the call. NULL: its defaults, and all there is for a model
	 * that has none.
	 */
	const void *model_options;
};

/*
 * Create a unit in its power-on state.
 *
 * `ops` is copied; `opaque` is handed to each callback. *ret_viommu is owned
 * by the caller, who ends it with viommu_destroy().
 *
 * -EINVAL: a value out of range, a pointer other than `opaque` and
 * `model_options` is NULL, or options of a model that has none.
 * -E2BIG: an option or a callback that this library does not know is set.
 * -ENOMEM.
 */
int viommu_create(const struct viommu_host_ops *ops, void *opaque, const struct viommu_options *opts,
		  struct viommu **ret_viommu);

/*
 * End a unit. No thread may be inside it and no pin held; its requesters and
 * threads go with it. NULL is fine.
 */
void viommu_destroy(struct viommu *v);

/* ------------------------------------------------------------------ memory */

#define VIOMMU_MEM_READ	 (1u << 0) /* devices may read it */
#define VIOMMU_MEM_WRITE (1u << 1) /* devices may write it */

/*
 * Register guest physical memory gpa .. gpa + len - 1 (bytes, no alignment
 * asked). With `host` the memory is there, contiguous, and stays valid until
 * viommu_mem_remove() of it has returned. With NULL each access goes through
 * `mem_read` and `mem_write` of the host's callbacks. `flags` is
 * VIOMMU_MEM_READ or VIOMMU_MEM_WRITE or both.
 *
 * -EINVAL: len 0, the range wraps or exceeds the host address width, unknown
 * flags, or no callbacks for memory without a pointer. -EEXIST: it overlaps
 * memory that is registered. -ENOMEM.
 */
int viommu_mem_add(struct viommu *v, uint64_t gpa, uint64_t len, void *host, unsigned flags);

/*
 * Take away whatever is registered in gpa .. gpa + len - 1; a region that
 * reaches out of the range keeps its rest. When it returns no thread of this
 * process touches the memory through the unit any more: short accesses have
 * ended, pins have been revoked and unpinned. (A `mem_read` or `mem_write` of
 * the host that is running is the host's own.) Must not be called by a thread
 * that holds a pin or is between viommu_enter() and viommu_exit().
 *
 * Returns the bytes taken away, 0 when there were none.
 *
 * -EINVAL: len 0 or the range wraps. -ENOMEM: a region had to be split and there
 * is no memory for that; nothing was taken away.
 */
int64_t viommu_mem_remove(struct viommu *v, uint64_t gpa, uint64_t len);

/* -------------------------------------------------------------- requesters */

/*
 * Put a device with requester id `rid` (bus 15..8, device 7..3, function 2..0)
 * behind the unit. *ret_requester belongs to the unit and lives until
 * viommu_requester_remove() or viommu_destroy().
 *
 * -EEXIST: that id is there already. -ENOMEM.
 */
int viommu_requester_add(struct viommu *v, uint16_t rid, struct viommu_requester **ret_requester);

/*
 * The same for a device that the unit does not stand before: its accesses are
 * neither translated nor refused by what the guest says, and no request of the guest can name it. So
 * a paravirtual unit's own function, say, reads what the guest asks the unit for.
 * Memory that is taken away is waited for as ever. It has no handles with a PASID.
 */
int viommu_requester_bypass_add(struct viommu *v, uint16_t rid, struct viommu_requester **ret_requester);

#define VIOMMU_NO_PASID UINT32_MAX /* an access that carries none */

/*
 * A handle for those accesses of a device that carry a process address space id
 * (PASID, 0 to 0xfffff; PCI Express 6.20). `device` is its handle without one,
 * whose accesses stay as they are. *ret_requester is used as any requester's and
 * belongs to the unit; it lives until viommu_requester_remove() of it or of the
 * device, or viommu_destroy().
 *
 * -EINVAL: a larger number, or `device` has none: a handle with a PASID itself, or one that bypasses.
 * -EEXIST: it is there already. -ENOMEM.
 */
int viommu_requester_pasid_add(struct viommu_requester *device, uint32_t pasid,
			       struct viommu_requester **ret_requester);

/*
 * Take a device out, and its handles with a PASID; or one of those alone. Asks its pins back and waits for
 * them and for calls that are running for it; no new one may begin. Must not be called by a thread that holds
 * a pin or is between viommu_enter() and viommu_exit(). NULL is fine.
 */
void viommu_requester_remove(struct viommu_requester *r);

/* How the accesses of a device are translated. */
enum viommu_translation {
	VIOMMU_TRANSLATION_OFF,		 /* the unit translates for nobody: an iova is a gpa */
	VIOMMU_TRANSLATION_BLOCKED,	 /* the guest's entries refuse every access */
	VIOMMU_TRANSLATION_PASS_THROUGH, /* they say: no translation for this device */
	VIOMMU_TRANSLATION_PAGED,	 /* they lead to page tables */
	VIOMMU_TRANSLATION_APERTURE,	 /* an aperture is remapped by a table; elsewhere an iova is a gpa */
	VIOMMU_TRANSLATION_MAPPED,	 /* by mappings that the unit was asked for, and keeps itself */
};

/* An entry of the guest's that was read on the way to a device's translation, as it lies in memory. */
struct viommu_entry {
	const char *name;  /* the specification's: "root entry", say. Lives as long as the program */
	uint64_t gpa;	   /* where it lies */
	unsigned bytes;	   /* how long it is, a multiple of 8 */
	uint64_t words[4]; /* what it holds, as 64-bit words, and 0 beyond its length */
};

#define VIOMMU_ENTRIES_MOST 4 /* of a device */

/* What the guest's tables say about a device. `sz` is set by the caller, the rest by the library. */
struct viommu_requester_info {
	size_t sz;			     /* sizeof(struct viommu_requester_info) of the program */
	uint16_t rid;			     /* requester id */
	enum viommu_translation translation; /* how its accesses are translated */
	bool cached;	       /* accesses use a cached copy, which may be older than what is told here */
	bool faults_silent;    /* the guest wants no faults of this device recorded (VT-d FPD) */
	uint8_t reason;	       /* of what is BLOCKED: the specification's own code; 0 otherwise */
	const char *text;      /* the same in words; "" otherwise. Lives as long as the program */
	uint16_t domain_id;    /* of what is PASS_THROUGH, PAGED or MAPPED: the domain's number */
	uint8_t address_width; /* of the same: bits of an iova that are translated at all */
	uint8_t levels;	       /* of what is PAGED: how many levels of tables */
	uint64_t table;	       /* of the same, and of APERTURE: gpa of the table at the top */
	uint64_t aperture_first, aperture_last;		  /* of what is APERTURE: iovas */
	unsigned entry_count;				  /* how many entries were read on the way */
	struct viommu_entry entries[VIOMMU_ENTRIES_MOST]; /* those, in the order in which they were read */
	uint32_t pasid;					  /* or VIOMMU_NO_PASID */
};

/*
 * Read what the guest's tables say about this device now; accesses may still
 * go by what they said before, until the guest invalidates (`cached`). Members
 * beyond `ret_info->sz` are left out, those that this library does not know
 * untouched.
 *
 * -EINVAL: sz is less than its own size.
 *
 * The number of a domain is the guest's own. VIOMMU_MODEL_VIRTIO, whose numbers have 32 bits, gives each
 * domain one of 16 bits: the guest's where that one is below 65,536 and free, else another.
 */
int viommu_requester_describe(struct viommu_requester *r, struct viommu_requester_info *ret_info);

/*
 * Called for each range that a device can reach: ascending, neighbours joined,
 * both ends included. `access` is VIOMMU_READ or VIOMMU_WRITE or both, of
 * viommu/access.h. Return 0 to go on; viommu_reach() and viommu_reach_some() stop
 * at another value and return it, so one that is none of their own tells which of
 * the two it was. Must not call back into the library.
 */
typedef int (*viommu_reach_fn)(void *arg, uint64_t iova_first, uint64_t iova_last, uint64_t gpa_first,
			       unsigned access);

/*
 * Which memory can this device reach right now, by the tables that the guest
 * wrote (caches are not consulted)? `fn` is called with `arg` for each range.
 * Memory that is not registered is left out. A table walk of a running guest is
 * a moving picture, not a snapshot.
 *
 * Returns 0 when all was told.
 *
 * -ENOENT: the tables block this device entirely, and nothing was told. -E2BIG:
 * more than `max_entries` steps were needed, where each table entry that is read
 * is one, and each range of registered memory that a page is compared with (a
 * guest can make its tables refer to themselves, and many pages lead to the same
 * memory), or the guest blocked this device entirely after something was told;
 * what was told is right but not all.
 */
int viommu_reach(struct viommu_requester *r, uint64_t max_entries, viommu_reach_fn fn, void *arg);

/*
 * viommu_reach() in pieces, for a thread that has other things to do. *io_iova is
 * where the piece begins, 0 for the first one; it is set to where the next one
 * does. A piece ends after `budget` steps, of which each takes well below a
 * microsecond. The unit is locked meanwhile, and not between two pieces.
 *
 * A range that reaches from one piece into the next is told in two parts, which
 * touch; whoever wants one joins them. Each piece tells what tables and memory
 * say at its time. Between two the guest may change its tables, the device's
 * context entry too, and memory may come and go. So what is told all in all was
 * never true at one time: a page that moves to an address that was told already
 * is missed, one that moves the other way is told twice.
 *
 * When `fn` stops, the piece and all of the reading are over: *io_iova is no place
 * to go on at. `fn` must not stop with 1, which would say that there is more.
 *
 * Returns 1 when there may be more, 0 when the end was reached.
 *
 * -ENOENT: the tables block this device entirely, now. -EINVAL: budget 0.
 */
int viommu_reach_some(struct viommu_requester *r, uint64_t *io_iova, uint64_t budget, viommu_reach_fn fn,
		      void *arg);

/* --------------------------------------------------------------- registers */

/* Bytes of the register set, a multiple of 4096. 0 for VIOMMU_MODEL_NONE and VIOMMU_MODEL_VIRTIO. */
size_t viommu_regs_size(const struct viommu *v);

/*
 * A trapped access: `size` 4 or 8 bytes at `offset`, aligned to its size.
 * Little-endian value. Reserved offsets read as 0 and ignore writes, as the
 * specification says. A write that starts work (an invalidation, say) does a
 * bounded amount of it before it returns; the rest is left to
 * viommu_process(), announced by the `kick` callback.
 *
 * -EINVAL: another size, not aligned, or outside the register set.
 */
int viommu_regs_read(struct viommu *v, uint64_t offset, unsigned size, uint64_t *ret_value);
int viommu_regs_write(struct viommu *v, uint64_t offset, unsigned size, uint64_t value);

/*
 * Pages of the register set that can be polled, in a row. `sz` is set by the
 * caller, the rest by the library.
 */
struct viommu_regs_pages {
	size_t sz;	 /* sizeof(struct viommu_regs_pages) of the program */
	uint64_t offset; /* where they begin in the register set, a multiple of 4096 */
	uint64_t length; /* bytes, a multiple of 4096 */
	bool writable;	 /* the guest may write there; else it may only read, and its writes stay trapped */
};

/*
 * Tell which pages of the register set can be polled, that is, shared by
 * viommu_regs_share(): a list in ascending order, of which this is the entry
 * `index`, from 0 on. It is the same for as long as the unit lives. All other pages
 * stay trapped. Members beyond `ret_pages->sz` are left out, those that this
 * library does not know untouched.
 *
 * -ENOENT: the list has no more than `index` entries. -EINVAL: sz is less than its
 * own size.
 */
int viommu_regs_pollable(const struct viommu *v, unsigned index, struct viommu_regs_pages *ret_pages);

/*
 * Serve registers from shared memory: the pollable pages that begin at `offset`, an
 * entry of viommu_regs_pollable(). The guest reads `pages` (as many bytes as the
 * entry is long, aligned to 4096, writable for this process) without leaving guest
 * mode, and writes them so where the entry is `writable`; viommu_process() watches
 * them. Trapped accesses to the same registers go on working. NULL ends the
 * sharing of this entry alone. The memory must stay valid until then. What
 * registers hold is kept.
 *
 * -EINVAL: `pages` is not aligned, or no entry begins at `offset`. -ENOTSUP: the
 * model has no pollable pages.
 */
int viommu_regs_share(struct viommu *v, uint64_t offset, void *pages);

/* There is more to do, now or when accesses in flight have ended: come again. */
#define VIOMMU_PROCESS_PENDING (1 << 30)

/*
 * Do what registers and queue ask for, without ever waiting: at most `budget`
 * descriptors and faults, and the few commands that registers can hold. One
 * thread at a time works; a second that comes meanwhile returns
 * VIOMMU_PROCESS_PENDING at once.
 *
 * Returns the steps done, with VIOMMU_PROCESS_PENDING or-ed in when something
 * is begun and not complete, or left over.
 */
int viommu_process(struct viommu *v, unsigned budget);

/*
 * Back to the power-on state: registers, queues, pending faults and caches.
 * Registered memory and requesters stay. Asks pins back and waits for them and
 * for accesses in flight, as viommu_requester_remove() does.
 */
void viommu_reset(struct viommu *v);

/*
 * Save the unit: registers, queue and pending faults, in a form that has a
 * version; viommu_restore() of a library with the same one takes it. Memory,
 * requesters, threads, caches and counters are the program's to make again.
 *
 * Waits for what the guest has begun (accesses in flight, pins). Nobody should
 * write the shared register page meanwhile: stop the guest first.
 *
 * Returns the bytes of the state; with `buf` NULL that is all.
 *
 * -ENOSPC: `size` is smaller, nothing was written.
 */
int64_t viommu_save(struct viommu *v, void *buf, size_t size);

/*
 * Take over a saved state of the same version of the form: what the guest had
 * under way goes on here. Caches are dropped; waits for accesses in flight.
 *
 * -EBADMSG: not a saved state, or damaged. -ENOTSUP: of another version of the
 * form, of another model or set of capabilities. -ENOMEM.
 */
int viommu_restore(struct viommu *v, const void *buf, size_t size);

/* ---------------------------------------------------------------- counters */

/* One counter. */
struct viommu_counter_info {
	const char *name; /* stable, lower case, for machines */
	const char *unit; /* "events", "bytes" or "ns" */
	const char *doc;  /* what it counts, in a few words */
	unsigned flags;	  /* VIOMMU_COUNTER_..., or-ed */
};

#define VIOMMU_COUNTER_OF_DEVICE (1u << 0) /* also counted for each device */
#define VIOMMU_COUNTER_OF_DOMAIN (1u << 1) /* also counted for each domain */
#define VIOMMU_COUNTER_MAXIMUM	 (1u << 2) /* the highest value so far, no count */

/* Returns the counters there are: a table of *ret_count entries that lives as long as the program. */
const struct viommu_counter_info *viommu_counters_describe(size_t *ret_count);

/*
 * The values of a unit's counters, in the order of the table; at most `count`
 * are written. Returns how many. Each value is exact, the set of them is no
 * snapshot.
 */
size_t viommu_counters_read(struct viommu *v, uint64_t *ret_values, size_t count);

/*
 * The values of one device's counters, which are the first of the table: those
 * with VIOMMU_COUNTER_OF_DEVICE. At most `count` are written. Returns how many.
 * What a device that was removed has counted stays in the sums of the unit.
 */
size_t viommu_requester_counters_read(struct viommu_requester *r, uint64_t *ret_values, size_t count);

/*
 * The domains that are told apart: those that a device is in or was in last,
 * and of the others the 64 that were left last. At most `count` ids are
 * written, in no order; returns how many domains there are.
 */
size_t viommu_domains_list(struct viommu *v, uint16_t *ret_ids, size_t count);

#define VIOMMU_DOMAIN_REST 0x10000u /* what was counted for domains that are not told apart any more */
#define VIOMMU_DOMAIN_NONE 0x10001u /* accesses that no domain is charged with */

/*
 * The counters of one domain, or of the rest, in the order of the table, at
 * most `count` of them; those without VIOMMU_COUNTER_OF_DOMAIN are 0. Returns
 * how many were written.
 *
 * Each access is charged once: to the domain whose tables it went by, also
 * while its device moves to another; or to VIOMMU_DOMAIN_NONE when the unit
 * does not translate, when no valid context entry was found, and when the
 * entry was being invalidated at that time. So while nothing moves, the
 * domains, REST and NONE add up to the unit's counter.
 *
 * -ENOENT: no such domain is told apart. -EINVAL: no domain has such an id.
 */
int64_t viommu_domain_counters_read(struct viommu *v, uint32_t domain, uint64_t *ret_values, size_t count);

/* How many values viommu_drain_times_read() has. */
#define VIOMMU_DRAIN_BUCKETS 32

/*
 * How long drains (the wait of an invalidation for accesses in flight) took:
 * ret_counts[i] is how many took at most 2^i ns and more than 2^(i-1), the last
 * one how many took longer than that. At most `count` are written; returns how
 * many. Without the `now_ns` callback all of them are in the first.
 */
size_t viommu_drain_times_read(struct viommu *v, uint64_t *ret_counts, size_t count);

/* ------------------------------------------------------------------ refusals */

#define VIOMMU_REASONS		256 /* codes that there can be */
#define VIOMMU_REASON_PROTECTED 0   /* ours: protected memory; such refusals are no faults (VT-d 11.4.8.1) */

/*
 * How many accesses were refused for each reason: ret_counts[i] for the
 * specification's own code i. At most `count` are written; returns how many.
 * They add up to the counter `blocked`.
 */
size_t viommu_refusals_read(struct viommu *v, uint64_t *ret_counts, size_t count);

/* Returns such a code in words. Never NULL, lives as long as the program. */
const char *viommu_reason_text(const struct viommu *v, uint8_t reason);

/* How many faults viommu_fault_find() knows. */
#define VIOMMU_FAULTS_KEPT 64

/* One fault. `sz` is set by the caller, the rest by the library. */
struct viommu_fault {
	size_t sz;	  /* sizeof(struct viommu_fault) of the program */
	uint64_t number;  /* the first fault of this unit has 1 */
	uint64_t ns;	  /* when the unit took it up, by the `now_ns` callback; 0 without */
	uint64_t address; /* iova */
	uint16_t rid;	  /* requester id */
	uint8_t reason;	  /* the specification's own code */
	bool write;	  /* the device wanted to write */
	const char *text; /* the reason in words */
	uint32_t pasid;	  /* or VIOMMU_NO_PASID */
};

/*
 * Find the first fault with at least this number among the VIOMMU_FAULTS_KEPT that
 * came last. Faults that came faster than viommu_process() took them up, and
 * those that the guest wants no record of, are not among them.
 *
 * -ENOENT: none. -EINVAL: sz is less than its own size.
 */
int viommu_fault_find(struct viommu *v, uint64_t number, struct viommu_fault *ret_fault);

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif
#endif
