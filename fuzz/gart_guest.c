/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One hostile guest behind a GART: the input writes registers and the table, and
 * lets devices access memory. An oracle that shares no code with the library
 * reads the same table, straight from the specification.
 *
 * The rule: after INV each access, and each refusal, is as the registers and the
 * table say. Once the table was written to without one, caches may be stale, and
 * an access only may not leave memory.
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <viommu/access.h>

#include "base/crc32.h"
#include "fuzz/input.h"

#define RAM_SIZE   (1u << 16)
#define PAGE	   4096u
#define CONTROL	   0x90
#define BASE	   0x94
#define TABLE	   0x98
#define CACHE	   0x9c
#define INV	   1u
#define BASE_UNIT  25 /* log2 of the bytes that a step of BASE stands for */
#define SIZE_MOST  6
#define STATE_ROOM (4u << 10)

struct fuzz {
	struct input in;
	uint8_t *ram;
	struct viommu *v;
	struct viommu_requester *device;
	struct viommu_thread *thread;
	bool stale; /* memory was written to since the last INV */
};

static uint32_t get(const struct fuzz *f, uint64_t offset)
{
	uint64_t value = 0;

	require(!viommu_regs_read(f->v, offset, 4, &value), "a register that cannot be read");
	return (uint32_t)value;
}

static void put(const struct fuzz *f, uint64_t offset, uint64_t value)
{
	require(!viommu_regs_write(f->v, offset, 4, value), "a register that cannot be written");
}

/* ------------------------------------------------------------ the oracle */

/* First and last address. False: nothing is remapped. */
static bool aperture(const struct fuzz *f, uint64_t *ret_first, uint64_t *ret_last)
{
	uint32_t control = get(f, CONTROL), size = control >> 1 & 7;

	if (!(control & 1) || control & 1u << 5 || size > SIZE_MOST)
		return false;
	*ret_first = (uint64_t)(get(f, BASE) & 0x7fff & ~((1u << size) - 1)) << BASE_UNIT;
	*ret_last = *ret_first + (UINT64_C(1) << (BASE_UNIT + size)) - 1;
	return true;
}

/* Where an access that crosses no page leads. False: it is refused. */
static bool leads_to(const struct fuzz *f, uint64_t iova, uint64_t *ret_gpa)
{
	uint64_t first, last, at;
	uint32_t entry;

	*ret_gpa = iova;
	if (aperture(f, &first, &last) && iova >= first && iova <= last) {
		at = ((uint64_t)(get(f, TABLE) & ~15u) << 8) + (iova - first) / PAGE * 4;
		if (at > RAM_SIZE - 4)
			return false;
		memcpy(&entry, f->ram + at, 4);
		if (!(entry & 1))
			return false;
		*ret_gpa = ((uint64_t)(entry >> 4 & 0xff) << 32 | (entry & 0xfffff000)) + iova % PAGE;
	}
	return *ret_gpa < RAM_SIZE;
}

/* -------------------------------------------------------------- the steps */

static void process(struct fuzz *f)
{
	for (unsigned i = 0; i < 64 && viommu_process(f->v, 64) > 0; i++)
		;
}

/* Also what was a write of another register: whatever changed, it drops what is cached. */
static void step_flush(struct fuzz *f)
{
	put(f, CACHE, INV);
	process(f);
	require(!(get(f, CACHE) & INV), "INV stays, and nothing is in flight");
	f->stale = false;
}

static void step_register(struct fuzz *f)
{
	static const uint16_t offsets[] = {CONTROL, BASE, TABLE, CACHE};

	put(f, offsets[take(&f->in, 1) % 4], take(&f->in, 4));
	process(f);
}

/* An aperture whose table is in memory. */
static void step_build(struct fuzz *f)
{
	put(f, TABLE, take(&f->in, 1) % (RAM_SIZE / PAGE) << 4);
	put(f, BASE, take(&f->in, 1) % 4);
	put(f, CONTROL, 1 | take(&f->in, 1) % 8 << 1);
	process(f);
}

static void step_entry(struct fuzz *f)
{
	uint32_t entry = (uint32_t)(take(&f->in, 1) % 20 * PAGE | take(&f->in, 1));
	uint64_t at = ((uint64_t)(get(f, TABLE) & ~15u) << 8) + take(&f->in, 1) % 64 * 4;

	if (at > RAM_SIZE - 4)
		return;
	memcpy(f->ram + at, &entry, 4);
	f->stale = true;
}

static uint64_t take_iova(struct fuzz *f)
{
	uint64_t first, last, page = take(&f->in, 1) % 64;

	if (take(&f->in, 1) % 4 && aperture(f, &first, &last))
		return first + page * PAGE;
	return page * PAGE;
}

static void step_access(struct fuzz *f)
{
	uint8_t buf[8] = {0};
	uint64_t iova = take_iova(f) + take(&f->in, 1) * 8, gpa;
	bool write = take(&f->in, 1) % 3 == 0, allowed = leads_to(f, iova, &gpa);
	int err;

	for (unsigned i = 0; i < sizeof(buf) && write; i++)
		buf[i] = (uint8_t)take(&f->in, 1);
	err = write ? viommu_write(f->thread, f->device, iova, buf, sizeof(buf))
		    : viommu_read(f->thread, f->device, iova, buf, sizeof(buf));
	if (!f->stale) {
		require(allowed == !err, allowed ? "an access is refused" : "an access goes through");
		require(err || !memcmp(f->ram + gpa, buf, sizeof(buf)), "an access leads elsewhere");
	}
	f->stale = f->stale || (write && !err);
	process(f);
}

static int reach_fn(void *arg, uint64_t first, uint64_t last, uint64_t gpa, unsigned access)
{
	(void)arg;
	require(last >= first && gpa < RAM_SIZE && last - first < RAM_SIZE && access, "reach leaves memory");
	return 0;
}

static void step_look(struct fuzz *f)
{
	struct viommu_requester_info info = {.sz = sizeof(info)};
	uint64_t first, last;

	require(!viommu_requester_describe(f->device, &info), "a device that nothing is known of");
	if (aperture(f, &first, &last))
		require(info.translation == VIOMMU_TRANSLATION_APERTURE && info.aperture_first == first &&
				info.aperture_last == last,
			"another aperture is told");
	else
		require(info.translation == VIOMMU_TRANSLATION_OFF, "an aperture is told that is off");
	viommu_reach(f->device, 2000, reach_fn, f);
}

static void step_reset(struct fuzz *f)
{
	viommu_reset(f->v);
	require(!get(f, CONTROL) && !get(f, BASE) && !get(f, TABLE) && !get(f, CACHE),
		"a reset that leaves something");
	f->stale = false;
}

static void step_save(struct fuzz *f)
{
	static uint8_t state[STATE_ROOM];
	int64_t length = viommu_save(f->v, state, sizeof(state));

	require(length > 0, "a unit that cannot be saved");
	require(!viommu_restore(f->v, state, (size_t)length), "its own state is refused");
	f->stale = false;
}

static void run(struct fuzz *f)
{
	static void (*const steps[])(struct fuzz * f) = {step_access, step_access, step_access, step_register,
							 step_build,  step_entry,  step_entry,	step_flush,
							 step_flush,  step_look,   step_reset,	step_save};

	for (unsigned i = 0; i < 400 && f->in.left > 0; i++)
		steps[take(&f->in, 1) % (sizeof(steps) / sizeof(steps[0]))](f);
}

/* Each word tells its place, so that an access that leads elsewhere is seen; as an entry it is not valid. */
static uint8_t *make_memory(void)
{
	uint32_t *ram = malloc(RAM_SIZE);

	for (uint32_t i = 0; ram && i < RAM_SIZE / sizeof(*ram); i++)
		ram[i] = i << 1;
	return (uint8_t *)ram;
}

/* The unit's state, changed by who keeps it: refused, or a unit that can be used. */
static void forge(struct fuzz *f, const uint8_t *data, size_t size)
{
	static uint8_t state[STATE_ROOM];
	int64_t length = viommu_save(f->v, state, sizeof(state));
	size_t body = (size_t)length - sizeof(uint32_t);
	uint32_t crc;

	require(length > 0, "a unit that cannot be saved");
	for (size_t i = 0; i + 2 <= size && i < 16; i += 2)
		state[data[i] % body] = data[i + 1];
	crc = vi_crc32c(0, state, body);
	memcpy(state + body, &crc, sizeof(crc));
	if (!viommu_restore(f->v, state, (size_t)length)) {
		f->stale = false;
		step_access(f);
		step_look(f);
	}
	viommu_reset(f->v);
	require(viommu_save(f->v, state, sizeof(state)) == length,
		"its state has another length after a reset");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct viommu_host_ops ops = {.sz = sizeof(ops)};
	struct viommu_options options = {.sz = sizeof(options), .model = VIOMMU_MODEL_GART, .iotlb_lg2 = 6};
	struct fuzz f = {.in = {data, size}};

	f.ram = make_memory();
	if (!f.ram || viommu_create(&ops, NULL, &options, &f.v) ||
	    viommu_mem_add(f.v, 0, RAM_SIZE, f.ram, VIOMMU_MEM_READ | VIOMMU_MEM_WRITE) ||
	    viommu_requester_add(f.v, 8, &f.device) || viommu_thread_create(f.v, &f.thread))
		abort();
	run(&f);
	forge(&f, data, size);
	viommu_thread_destroy(f.thread);
	viommu_destroy(f.v);
	free(f.ram);
	return 0;
}
