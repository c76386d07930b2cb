/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One hostile guest: the input writes registers, memory that holds tables and
 * queue, lets devices access memory, and switches between trapped and polled
 * registers. An oracle that shares no code with the library interprets the same
 * tables, straight from the specification.
 *
 * The rule: an access that succeeds leads where the tables lead now, from a
 * context entry of this device that was there at one of its accesses, or where
 * a page was led before, as caches may be stale. After a proper global
 * invalidation the tables alone count, for refusals too.
 */
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <viommu/access.h>

#include "base/crc32.h"
#include "fuzz/input.h"

#define RAM_SIZE  (1u << 16)
#define RAM_PAGES (RAM_SIZE / 4096)
#define DEVICES	  3
#define SERVED	  256
#define CONTEXTS  64
#define COPY	  100 /* bytes */

static const uint16_t rids[DEVICES] = {0x0008, 0x0009, 0x0110};

struct served {
	unsigned device;
	uint64_t page, gpa;
};

/* A context entry that a device's access may have found, and cached. */
struct seen_context {
	unsigned device;
	uint64_t lo, hi;
};

struct fuzz {
	struct input in;
	uint8_t *ram;
	void *page; /* shared registers; NULL: trapped */
	struct viommu *v;
	struct viommu_requester *devices[DEVICES];
	struct viommu_thread *thread;
	struct viommu_pin pin; /* held over steps, so that invalidations wait */
	bool pinned;
	uint64_t built;		       /* iova that step_build() made tables for */
	uint64_t gone_first, gone_len; /* pages that were taken away, in bytes; 0: none */
	bool protecting;	       /* a protected memory region covers all memory */
	struct served served[SERVED];
	unsigned served_count;
	struct seen_context contexts[CONTEXTS];
	unsigned context_count;
	bool overflow; /* more than these arrays remember: no judgement until the next proper start */
};

/* ------------------------------------------------------------ the oracle */

static bool is_memory(const struct fuzz *f, uint64_t gpa)
{
	return gpa < RAM_SIZE && gpa - f->gone_first >= f->gone_len;
}

static bool load(const struct fuzz *f, uint64_t gpa, uint64_t *ret)
{
	if (gpa > RAM_SIZE - 8 || !is_memory(f, gpa))
		return false;
	memcpy(ret, f->ram + gpa, 8);
	return true;
}

static uint64_t reg64(const struct fuzz *f, uint64_t offset)
{
	uint64_t value = 0;

	viommu_regs_read(f->v, offset, 8, &value);
	return value;
}

/* RTADDR is only written together with SRTP, so it is what was latched. */
struct expectation {
	bool allowed;
	uint64_t gpa;
	bool untranslated; /* as the context entry says */
};

/* Bits 51..46 of an address are beyond the host's 46; SNP and TM are not offered. */
#define ENTRY_RESERVED 0x400fc00000000800ull

static struct expectation walk(const struct fuzz *f, uint64_t table, unsigned levels, uint64_t iova,
			       bool write)
{
	struct expectation no = {0};

	for (unsigned level = levels; level >= 1; level--) {
		unsigned shift = 12 + 9 * (level - 1);
		uint64_t entry, offset = ((uint64_t)1 << shift) - 1;

		if (!load(f, (table & ~0xfffull) + ((iova >> shift) & 511) * 8, &entry))
			return no;
		if (!(entry & (write ? 2 : 1)) || (entry & ENTRY_RESERVED))
			return no;
		if (level > 1 && !(entry & 0x80)) {
			table = entry & 0x000ffffffffff000ull;
			continue;
		}
		if (level == 4 || (entry & 0x000ffffffffff000ull & offset))
			return no;
		return (struct expectation){true, (entry & 0x000ffffffffff000ull) | (iova & offset), false};
	}
	return no;
}

static bool find_context(const struct fuzz *f, uint64_t root, uint16_t rid, uint64_t *ret_lo,
			 uint64_t *ret_hi)
{
	uint64_t lo, hi, at;

	if (!load(f, root + (rid >> 8) * 16u, &lo) || !load(f, root + (rid >> 8) * 16u + 8, &hi))
		return false;
	if (!(lo & 1) || (lo & 0xffffc00000000ffeull) || hi)
		return false;
	at = (lo & ~0xfffull) + (rid & 0xff) * 16u;
	return load(f, at, ret_lo) && load(f, at + 8, ret_hi);
}

static struct expectation from_context(const struct fuzz *f, uint64_t lo, uint64_t hi, uint64_t iova,
				       bool write)
{
	struct expectation no = {0};
	uint64_t width = hi & 7;

	if (!(lo & 1) || (lo & 0xff0) || (hi & 0xffffffffff000080ull) || (width != 1 && width != 2))
		return no;
	if (iova >> (30 + 9 * width))
		return no;
	switch (lo >> 2 & 3) {
	case 0:
		return lo >> 46 ? no : walk(f, lo, 2 + (unsigned)width, iova, write);
	case 2:
		return (struct expectation){true, iova, true};
	default:
		return no;
	}
}

static struct expectation interpret(const struct fuzz *f, uint64_t root, uint16_t rid, uint64_t iova,
				    bool write)
{
	uint64_t lo, hi;

	if (!find_context(f, root, rid, &lo, &hi))
		return (struct expectation){0};
	return from_context(f, lo, hi, iova, write);
}

static void see_context(struct fuzz *f, unsigned device)
{
	struct seen_context *c = &f->contexts[f->context_count];

	if (f->context_count == CONTEXTS) {
		f->overflow = true;
		return;
	}
	c->device = device;
	if (find_context(f, reg64(f, 0x20) & ~0xfffull, rids[device], &c->lo, &c->hi))
		f->context_count++;
}

static bool leads_from_a_seen_context(const struct fuzz *f, unsigned device, uint64_t iova, bool write,
				      uint64_t gpa)
{
	for (unsigned i = 0; i < f->context_count; i++) {
		const struct seen_context *c = &f->contexts[i];
		struct expectation e = from_context(f, c->lo, c->hi, iova, write);

		if (c->device == device && e.allowed && e.gpa == gpa)
			return true;
	}
	return f->overflow;
}

/* ------------------------------------------------------------- the steps */

static void process(struct fuzz *f)
{
	for (unsigned i = 0; i < 64 && viommu_process(f->v, 256) != 0; i++)
		;
}

static void remember(struct fuzz *f, unsigned device, uint64_t iova, uint64_t gpa)
{
	if (f->served_count == SERVED) {
		f->overflow = true;
		return;
	}
	f->served[f->served_count++] = (struct served){device, iova >> 12, gpa >> 12};
}

static bool was_served(const struct fuzz *f, uint64_t iova, uint64_t gpa)
{
	/* Any device: they may share a domain, and large pages are shared by all their 4 KiB. */
	for (unsigned i = 0; i < f->served_count; i++)
		if (f->served[i].page - f->served[i].gpa == (iova >> 12) - (gpa >> 12))
			return true;
	return f->overflow;
}

/* A translation to where no memory is may be cached all the same: a large page has other parts. */
static void remember_refused(struct fuzz *f, unsigned device, uint64_t iova, bool write)
{
	for (unsigned i = 0; i < f->context_count; i++) {
		const struct seen_context *c = &f->contexts[i];
		struct expectation e = from_context(f, c->lo, c->hi, iova, write);

		if (c->device == device && e.allowed)
			remember(f, device, iova, e.gpa);
	}
}

/* One byte; returns where it went. */
static bool access_byte(struct fuzz *f, unsigned device, uint64_t iova, bool write, uint64_t *ret_gpa)
{
	struct viommu_span span;
	bool ok;

	viommu_enter(f->thread);
	ok = viommu_translate(f->thread, f->devices[device], iova, 1, write ? VIOMMU_WRITE : VIOMMU_READ,
			      &span) == 0;
	if (ok) {
		require(is_memory(f, span.gpa), "a translation outside of memory");
		require((uint8_t *)span.host == f->ram + span.gpa, "host and guest address disagree");
		*ret_gpa = span.gpa;
		if (write)
			*(volatile uint8_t *)span.host ^=
				1; /* tables may change under the guest's own hands */
	}
	viommu_exit(f->thread);
	return ok;
}

/* Addresses that a small table reaches, with a chance for strange ones. */
static uint64_t take_iova(struct fuzz *f)
{
	uint64_t shape = take(&f->in, 1), small = take(&f->in, 2);

	if (shape == 0xff)
		return take(&f->in, 8);
	if (shape >= 0x80) /* near what was built last */
		return f->built + (small & 0x1fff);
	return (small & 0x3f) << 12 | (shape & 3) << 21 | (shape >> 2 & 3) << 30 | (shape >> 4 & 3) << 39 |
	       (small >> 6 & 0xfff);
}

static void step_access(struct fuzz *f)
{
	unsigned device = (unsigned)take(&f->in, 1) % DEVICES;
	uint64_t iova = take_iova(f), gpa = 0;
	bool write = take(&f->in, 1) & 1;
	bool may, translating, explained;
	struct fuzz before;

	process(f);
	translating = reg64(f, 0x18) >> 63;
	see_context(f, device);
	/* Judged by the tables as they were: a write may change them. */
	before = *f;
	before.ram = malloc(RAM_SIZE);
	if (!before.ram)
		abort();
	memcpy(before.ram, f->ram, RAM_SIZE);
	may = access_byte(f, device, iova, write, &gpa);
	explained = leads_from_a_seen_context(&before, device, iova, write, gpa) || was_served(f, iova, gpa);
	free(before.ram);
	/* While a pin holds up a switch of translation, GSTS tells of before and accesses go by after. */
	explained = explained || (f->pinned && gpa == iova);
	require(!may || !translating || explained, "an access that no table ever allowed");
	require(!may || translating || gpa == iova || f->pinned, "untranslated access went elsewhere");
	require(!may || translating || !f->protecting || f->pinned,
		"untranslated access to protected memory");
	if (may)
		remember(f, device, iova, gpa);
	else
		remember_refused(f, device, iova, write);
}

/* Is there a byte i of the copy that may have gone to gpa? */
static bool may_have_gone(const struct fuzz *f, const struct fuzz *before, unsigned device, uint64_t iova,
			  uint64_t gpa, unsigned i)
{
	if (!(reg64(f, 0x18) >> 63) || f->pinned)
		if (gpa == iova + i)
			return true;
	return leads_from_a_seen_context(before, device, iova + i, true, gpa) || was_served(f, iova + i, gpa);
}

/* Many bytes, which may cross pages: each that changed was allowed to, none has gone elsewhere. */
static void step_copy(struct fuzz *f)
{
	unsigned device = (unsigned)take(&f->in, 1) % DEVICES, len = 1 + (unsigned)take(&f->in, 1) % COPY;
	uint64_t iova = take_iova(f);
	uint8_t bytes[COPY];
	struct fuzz before;
	int ret;

	process(f);
	see_context(f, device);
	for (unsigned i = 0; i < len; i++)
		bytes[i] = (uint8_t)(0x80 + i);
	remember_refused(f, device, iova, true);
	remember_refused(f, device, iova + len - 1, true);
	before = *f;
	before.ram = malloc(RAM_SIZE);
	if (!before.ram)
		abort();
	memcpy(before.ram, f->ram, RAM_SIZE);
	ret = viommu_write(f->thread, f->devices[device], iova, bytes, len);
	require(ret == 0 || ret == -EACCES || ret == -EFAULT || (ret == -EINVAL && iova + len - 1 < iova),
		"a write with another error");
	for (uint64_t gpa = 0; gpa < RAM_SIZE; gpa++) {
		unsigned i = f->ram[gpa] - 0x80u;

		if (f->ram[gpa] != before.ram[gpa])
			require(i < len && is_memory(f, gpa) &&
					may_have_gone(f, &before, device, iova, gpa, i),
				"a byte that no table ever let through");
	}
	free(before.ram);
}

static void step_register(struct fuzz *f)
{
	static const uint16_t interesting[] = {0x18, 0x28, 0x2c, 0x34, 0x38, 0x3c,  0x40,  0x64,
					       0x68, 0x6c, 0x70, 0x78, 0x88, 0x90,  0x9c,  0xa0,
					       0xa4, 0xa8, 0xf0, 0xf8, 0xfc, 0x220, 0x228, 0x22c};
	uint64_t offset = interesting[take(&f->in, 1) % (sizeof(interesting) / sizeof(interesting[0]))];
	unsigned size = offset % 8 == 0 && take(&f->in, 1) & 1 ? 8 : 4;
	uint64_t value = take(&f->in, size);

	if (offset >= 0x60 && offset < 0x80)
		return; /* step_protect() */
	if (offset == 0x18)
		size = 4; /* the oracle reads GSTS behind it */
	if (f->page && offset < 4096 && take(&f->in, 1) & 1) {
		memcpy((uint8_t *)f->page + offset, &value, size);
		return;
	}
	viommu_regs_write(f->v, offset, size, value);
}

static void step_memory(struct fuzz *f)
{
	uint64_t gpa = (take(&f->in, 2) * 8) % RAM_SIZE, value = take(&f->in, 8);

	memcpy(f->ram + gpa, &value, 8);
}

/* An entry that is likely to mean something: a low address with flags. */
static void step_entry(struct fuzz *f)
{
	uint64_t page = take(&f->in, 1) % RAM_PAGES, index = take(&f->in, 1) % 64,
		 target = take(&f->in, 1) % RAM_PAGES, flags = take(&f->in, 1), value = target << 12 | flags;

	memcpy(f->ram + page * 4096 + index * 8, &value, 8);
}

static void put(struct fuzz *f, unsigned page, uint64_t index, uint64_t value)
{
	memcpy(f->ram + page * 4096 + index * 8, &value, 8);
}

/* Where the pages of a well-formed set of tables lie. */
enum { ROOT = 1, CONTEXTS_0, CONTEXTS_1, TABLE_4, TABLE_3, TABLE_2, TABLE_1, QUEUE };

/* All that leads a device to a page, right but for the flags that the input asks to change. */
static void step_build(struct fuzz *f)
{
	unsigned device = (unsigned)take(&f->in, 1) % DEVICES,
		 context = rids[device] >> 8 ? CONTEXTS_1 : CONTEXTS_0;
	uint64_t iova = take_iova(f), width = 1 + (take(&f->in, 1) & 1), page = take(&f->in, 1) % RAM_PAGES;
	uint64_t rights[4];

	f->built = iova & ~0xfffull;
	for (unsigned i = 0; i < 4; i++) {
		uint64_t flips = take(&f->in, 1);

		/* Mostly both rights; now and then one less, a large page, or any one bit. */
		rights[i] = flips < 200	  ? 3
			    : flips < 220 ? flips & 3
			    : flips < 230 ? 0x83
					  : 3 | (uint64_t)1 << (flips & 63);
	}
	put(f, ROOT, (rids[device] >> 8) * 2u, context << 12 | 1);
	put(f, ROOT, (rids[device] >> 8) * 2u + 1, 0);
	put(f, context, (rids[device] & 0xff) * 2u, (width == 2 ? TABLE_4 : TABLE_3) << 12 | 1);
	put(f, context, (rids[device] & 0xff) * 2u + 1, width | (1 + device / 2) << 8);
	put(f, TABLE_4, iova >> 39 & 511, TABLE_3 << 12 | rights[3]);
	put(f, TABLE_3, iova >> 30 & 511, (rights[2] & 0x80 ? 0 : TABLE_2 << 12) | rights[2]);
	put(f, TABLE_2, iova >> 21 & 511, (rights[1] & 0x80 ? 0 : TABLE_1 << 12) | rights[1]);
	put(f, TABLE_1, iova >> 12 & 511, page << 12 | rights[0]);
}

/* A queue of 256 descriptors of types that exist, some of them spoilt; the head may be anywhere. */
static void step_post(struct fuzz *f)
{
	static const uint64_t descriptors[] = {0x11, 0x21, 0x31, 0x12, 0x22, 0x32, 0x25, 0x35, 0x05, 0x15};
	uint32_t status = (uint32_t)(reg64(f, 0x18) >> 32), enabled = status & 0x04000000u;
	uint64_t at = enabled ? reg64(f, 0x88) >> 4 & 255 : 0, count = take(&f->in, 1) % 4;

	for (uint64_t i = 0; i < count; i++) {
		uint64_t kind = take(&f->in, 1), index = (at + i + (kind >> 4 & 1)) % 256;

		index = kind & 8 ? reg64(f, 0x80) >> 4 & 255 : index; /* now and then the one that waits */
		put(f, QUEUE, index * 2, descriptors[kind % 10] | (kind & 0xe0) << 11);
		put(f, QUEUE, index * 2 + 1, kind & 0x80 ? take(&f->in, 2) : 0xf000);
	}
	if (!enabled) {
		viommu_regs_write(f->v, 0x88, 8, 0);
		viommu_regs_write(f->v, 0x90, 8, QUEUE << 12);
		viommu_regs_write(f->v, 0x18, 4, (status & 0x80000000u) | 0x04000000u);
	}
	viommu_regs_write(f->v, 0x34, 4, 0x10);
	viommu_regs_write(f->v, 0x88, 8, (at + count) % 256 << 4);
}

static void unpin(struct fuzz *f)
{
	if (f->pinned)
		viommu_unpin(&f->pin);
	f->pinned = false;
}

/* A device that holds on to memory: waits stay unfinished while the guest goes on writing. */
static void step_pin(struct fuzz *f)
{
	unsigned device = (unsigned)take(&f->in, 1) % DEVICES;
	uint64_t iova = take_iova(f);

	if (f->pinned) {
		unpin(f);
		return;
	}
	memset(&f->pin, 0, sizeof(f->pin));
	f->pinned = viommu_pin(f->thread, f->devices[device], iova, 64, VIOMMU_READ, &f->pin) == 0;
	f->overflow = true; /* it may have filled the cache with what we did not look at */
}

/* A guest that does everything right: afterwards the tables alone count. */
static void step_proper(struct fuzz *f)
{
	unsigned device = (unsigned)take(&f->in, 1) % DEVICES;
	uint64_t where = take(&f->in, 1), root = (where < 200 ? ROOT : where % RAM_PAGES) * 4096,
		 iova = take_iova(f), gpa = 0;
	bool write = take(&f->in, 1) & 1, ok;
	struct expectation e;

	unpin(f);
	viommu_regs_write(f->v, 0x18, 4, 0);
	process(f);
	viommu_regs_write(f->v, 0x20, 8, root);
	viommu_regs_write(f->v, 0x18, 4, 0x40000000u);
	viommu_regs_write(f->v, 0x28, 8, 0xa000000000000000ull);
	process(f);
	viommu_regs_write(f->v, 0x1008, 8, 0x9000000000000000ull);
	process(f);
	require(!(reg64(f, 0x28) >> 63) && !(reg64(f, 0x1008) >> 63), "an invalidation that does not end");
	viommu_regs_write(f->v, 0x18, 4, 0x80000000u);
	process(f);
	require(reg64(f, 0x18) >> 63, "translation does not come on");
	f->served_count = f->context_count = 0;
	f->overflow = false;
	see_context(f, device);
	e = interpret(f, root, rids[device], iova, write);
	if (iova >> 20 == 0xfee || (e.allowed && !is_memory(f, e.gpa)) || (e.untranslated && f->protecting))
		e.allowed = false;
	ok = access_byte(f, device, iova, write, &gpa);
	require(ok == e.allowed, ok ? "allowed what the tables refuse" : "refused what the tables allow");
	if (ok) {
		require(gpa == e.gpa, "led elsewhere than the tables");
		remember(f, device, iova, gpa);
	} else {
		remember_refused(f, device, iova, write);
	}
}

static void step_share(struct fuzz *f)
{
	static _Alignas(4096) uint8_t page[4096];

	f->page = f->page ? NULL : page;
	viommu_regs_share(f->v, 0, f->page);
}

static int reach_fn(void *arg, uint64_t first, uint64_t last, uint64_t gpa, unsigned access)
{
	const struct fuzz *f = arg;

	require(last >= first && gpa < RAM_SIZE && last - first < RAM_SIZE - gpa,
		"a range outside of memory");
	require(is_memory(f, gpa) && is_memory(f, gpa + (last - first)), "a range of memory that has gone");
	require(access && !(access & ~3u), "a range without rights");
	return 0;
}

/* Pages of the guest go, or come back. */
static void step_unplug(struct fuzz *f)
{
	uint64_t first = take(&f->in, 1) % RAM_PAGES * 4096, len = (1 + take(&f->in, 1) % 4) * 4096;

	unpin(f);
	if (f->gone_len) {
		require(!viommu_mem_add(f->v, f->gone_first, f->gone_len, f->ram + f->gone_first,
					VIOMMU_MEM_READ | VIOMMU_MEM_WRITE),
			"memory that does not come back");
		f->gone_len = 0;
		return;
	}
	len = len < RAM_SIZE - first ? len : RAM_SIZE - first;
	require(viommu_mem_remove(f->v, first, len) == (int64_t)len, "memory that does not go");
	f->gone_first = first;
	f->gone_len = len;
}

/* Both regions at once; memory is all in the first 2 MiB, which are the smallest piece. */
static void step_protect(struct fuzz *f)
{
	uint64_t low = take(&f->in, 1) % 3 << 20, high = take(&f->in, 1) % 3 << 20;
	bool on = take(&f->in, 1) & 1;

	unpin(f);
	viommu_regs_write(f->v, 0x64, 4, 0);
	process(f);
	viommu_regs_write(f->v, 0x68, 4, low);
	viommu_regs_write(f->v, 0x6c, 4, low + take(&f->in, 3));
	viommu_regs_write(f->v, 0x70, 8, high);
	viommu_regs_write(f->v, 0x78, 8, high + take(&f->in, 5));
	viommu_regs_write(f->v, 0x64, 4, on ? 0x80000000u : 0);
	process(f);
	require((reg64(f, 0x60) >> 32 & 1) == on, "protection does not come or go");
	f->protecting = on && (low < 0x200000 || high < 0x200000);
}

static void step_replug(struct fuzz *f)
{
	unsigned device = (unsigned)take(&f->in, 1) % DEVICES;

	unpin(f);
	viommu_requester_remove(f->devices[device]);
	if (viommu_requester_add(f->v, rids[device], &f->devices[device]))
		abort();
}

/* What only looks, and must not change anything. */
static void step_look(struct fuzz *f)
{
	struct viommu_requester_info info = {.sz = sizeof(info)};
	unsigned device = (unsigned)take(&f->in, 1) % DEVICES;
	uint64_t offset = take(&f->in, 2) % viommu_regs_size(f->v) & ~7ull, value;

	require(!viommu_requester_describe(f->devices[device], &info), "a device that nothing is known of");
	require(!viommu_regs_read(f->v, offset, 8, &value), "a register that cannot be read");
	viommu_regs_read(f->v, offset + 4, 4, &value);
}

static void step_others(struct fuzz *f)
{
	uint8_t buf[64];
	unsigned device = (unsigned)take(&f->in, 1) % DEVICES;

	switch (take(&f->in, 1) % 4) {
	case 0:
		unpin(f);
		viommu_reset(f->v);
		f->protecting = false;
		f->served_count = f->context_count = 0;
		f->overflow = false;
		break;
	case 1:
		viommu_reach(f->devices[device], 2000, reach_fn, f);
		break;
	case 2:
		viommu_read(f->thread, f->devices[device], take_iova(f), buf, sizeof(buf));
		f->overflow = true; /* it may have filled the cache with what we did not look at */
		break;
	default:
		step_share(f);
	}
}

static void run(struct fuzz *f)
{
	static void (*const steps[])(struct fuzz * f) = {
		step_access, step_access, step_register, step_memory, step_entry,  step_build,
		step_build,  step_build,  step_proper,	 step_proper, process,	   step_others,
		step_pin,    step_pin,	  step_post,	 step_post,   step_unplug, step_protect,
		step_replug, step_look,	  step_copy,	 step_copy};

	for (unsigned i = 0; i < 400 && f->in.left > 0; i++)
		steps[take(&f->in, 1) % (sizeof(steps) / sizeof(steps[0]))](f);
	process(f);
}

/* The unit's state, changed by who keeps it: refused, or a unit that can be used, and is as new after a
 * reset. */
static void forge(struct fuzz *f, const uint8_t *data, size_t size)
{
	static uint8_t state[64 << 10];
	int64_t length = viommu_save(f->v, state, sizeof(state));
	size_t body = (size_t)length - sizeof(uint32_t);
	uint32_t crc;

	require(length > 0, "a unit that cannot be saved");
	for (size_t i = 0; i + 3 <= size && i < 24; i += 3)
		state[(data[i] << 8 | data[i + 1]) % body] = data[i + 2];
	crc = vi_crc32c(0, state, body);
	memcpy(state + body, &crc, sizeof(crc));
	if (viommu_restore(f->v, state, (size_t)length) == 0) {
		for (uint64_t iova = 0; iova < RAM_SIZE; iova += 3 << 12)
			viommu_read(f->thread, f->devices[0], iova, &crc, sizeof(crc));
		viommu_process(f->v, 64);
		viommu_regs_write(f->v, 0x18, 4, 1u << 31);
		viommu_process(f->v, 64);
	}
	viommu_reset(f->v);
	require(viommu_save(f->v, state, sizeof(state)) == length,
		"its state has another length after a reset");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct viommu_host_ops ops = {.sz = sizeof(ops)};
	struct viommu_options options = {.sz = sizeof(options), .model = VIOMMU_MODEL_VTD, .iotlb_lg2 = 6};
	struct fuzz f = {.in = {data, size}};

	f.ram = calloc(1, RAM_SIZE);
	if (!f.ram || viommu_create(&ops, NULL, &options, &f.v) != 0)
		abort();
	viommu_mem_add(f.v, 0, RAM_SIZE, f.ram, VIOMMU_MEM_READ | VIOMMU_MEM_WRITE);
	for (unsigned i = 0; i < DEVICES; i++)
		viommu_requester_add(f.v, rids[i], &f.devices[i]);
	viommu_thread_create(f.v, &f.thread);
	run(&f);
	unpin(&f);
	forge(&f, data, size);
	viommu_thread_destroy(f.thread);
	viommu_destroy(f.v);
	free(f.ram);
	return 0;
}
