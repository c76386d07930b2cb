/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One hostile guest behind a virtio-iommu: the input makes requests, bent ones too, lets
 * devices access memory, and resets, saves and restores. An oracle that shares no code with
 * the library keeps the mappings in a list, straight from the specification.
 *
 * The rule: each answer is the one that the oracle gives, and each access lands or is
 * refused as the mappings say.
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <viommu/access.h>
#include <viommu/request.h>

#include "base/crc32.h"
#include "fuzz/input.h"

#define RAM_SIZE   (1u << 16)
#define PAGE	   4096u
#define ENDPOINTS  2u
#define DOMAINS	   4u
#define MOST	   6u /* mappings */
#define NONE	   UINT32_MAX
#define FEATURES   0x77u
#define WIDTH	   32
#define STATE_ROOM (8u << 10)

enum { OK = 0, UNSUPP = 2, INVAL = 4, RANGE, NOENT, FAULT, NOMEM, UNWRITTEN = 0x100 };

struct mapping {
	uint32_t domain;
	uint64_t first, last, address;
	uint32_t flags;
};

struct fuzz {
	struct input in;
	uint8_t *ram;
	struct viommu *v;
	struct viommu_requester *device[ENDPOINTS];
	struct viommu_thread *thread;
	/* The oracle's. */
	uint32_t in_domain[ENDPOINTS];
	bool bypass, is_bypass[DOMAINS];
	struct mapping mappings[MOST];
	unsigned count;
};

/* ------------------------------------------------------------ the oracle */

static uint32_t le32(const uint8_t *at)
{
	return (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

static uint64_t le64(const uint8_t *at)
{
	return le32(at) | (uint64_t)le32(at + 4) << 32;
}

static bool exists(const struct fuzz *f, uint32_t domain)
{
	return domain != NONE && (f->in_domain[0] == domain || f->in_domain[1] == domain);
}

static void take_out(struct fuzz *f, uint32_t domain, uint64_t first, uint64_t last)
{
	unsigned kept = 0;

	for (unsigned i = 0; i < f->count; i++) {
		const struct mapping *m = &f->mappings[i];

		if (m->domain != domain || m->last < first || m->first > last)
			f->mappings[kept++] = *m;
	}
	f->count = kept;
}

static void enter(struct fuzz *f, uint32_t endpoint, uint32_t domain)
{
	uint32_t before = f->in_domain[endpoint];

	f->in_domain[endpoint] = domain;
	if (!exists(f, before))
		take_out(f, before, 0, UINT64_MAX);
}

static unsigned attach(struct fuzz *f, const uint8_t *at)
{
	uint32_t domain = le32(at + 4), endpoint = le32(at + 8), flags = le32(at + 12);

	if (flags & ~1u || le32(at + 16))
		return INVAL;
	if (endpoint >= ENDPOINTS)
		return NOENT;
	if (domain >= DOMAINS)
		return RANGE;
	if (exists(f, domain) && f->is_bypass[domain] != (flags & 1))
		return INVAL;
	f->is_bypass[domain] = flags & 1;
	enter(f, endpoint, domain);
	return OK;
}

static unsigned detach(struct fuzz *f, const uint8_t *at)
{
	uint32_t domain = le32(at + 4), endpoint = le32(at + 8);

	if (endpoint >= ENDPOINTS)
		return NOENT;
	if (domain == NONE || f->in_domain[endpoint] != domain)
		return INVAL;
	enter(f, endpoint, NONE);
	return OK;
}

static unsigned map(struct fuzz *f, const uint8_t *at)
{
	struct mapping m = {le32(at + 4), le64(at + 8), le64(at + 16), le64(at + 24), le32(at + 32)};

	if (m.flags & ~7u)
		return INVAL;
	if (!exists(f, m.domain))
		return NOENT;
	if (f->is_bypass[m.domain])
		return INVAL;
	if (m.first % PAGE || m.last % PAGE != PAGE - 1 || m.address % PAGE)
		return RANGE;
	if (m.last < m.first)
		return INVAL;
	if (m.last >> WIDTH)
		return RANGE;
	if (m.first <= 0xfeefffff && m.last >= 0xfee00000)
		return INVAL;
	if (m.address >> 40 || (m.address + (m.last - m.first)) >> 40)
		return FAULT;
	if (f->count == MOST)
		return NOMEM;
	for (unsigned i = 0; i < f->count; i++)
		if (f->mappings[i].domain == m.domain && f->mappings[i].first <= m.last &&
		    f->mappings[i].last >= m.first)
			return INVAL;
	f->mappings[f->count++] = m;
	return OK;
}

static unsigned unmap(struct fuzz *f, const uint8_t *at)
{
	uint32_t domain = le32(at + 4);
	uint64_t first = le64(at + 8), last = le64(at + 16);

	if (le32(at + 24) || last < first)
		return INVAL;
	if (!exists(f, domain))
		return NOENT;
	if (f->is_bypass[domain])
		return INVAL;
	for (unsigned i = 0; i < f->count; i++) {
		const struct mapping *m = &f->mappings[i];

		if (m->domain == domain && m->first <= last && m->last >= first &&
		    (m->first < first || m->last > last))
			return RANGE;
	}
	take_out(f, domain, first, last);
	return OK;
}

static unsigned expected(struct fuzz *f, const uint8_t *at, size_t length, size_t room)
{
	static const uint8_t sizes[] = {0, 20, 20, 36, 28, 72};

	if (length < 4 || at[0] < 1 || at[0] > 5 || length < sizes[at[0]] || room < 4)
		return UNWRITTEN;
	switch (at[0]) {
	case 1:
		return attach(f, at);
	case 2:
		return detach(f, at);
	case 3:
		return map(f, at);
	case 4:
		return unmap(f, at);
	}
	return room < 516 ? INVAL : le32(at + 4) >= ENDPOINTS ? NOENT : OK;
}

/* Where an access that crosses no page leads. False: it is refused, or leads to no memory. */
static bool leads_to(const struct fuzz *f, unsigned endpoint, uint64_t iova, bool write, uint64_t *ret_gpa)
{
	uint32_t domain = f->in_domain[endpoint];

	*ret_gpa = iova;
	if (domain == NONE || f->is_bypass[domain])
		return (domain != NONE || f->bypass) && iova < RAM_SIZE;
	for (unsigned i = 0; i < f->count; i++) {
		const struct mapping *m = &f->mappings[i];

		if (m->domain == domain && m->first <= iova && m->last >= iova) {
			*ret_gpa = m->address + (iova - m->first);
			return m->flags & (write ? 2 : 1) && *ret_gpa < RAM_SIZE;
		}
	}
	return false;
}

/* -------------------------------------------------------------- the steps */

static void ask(struct fuzz *f, const uint8_t *request, size_t length, size_t room)
{
	unsigned status = expected(f, request, length, room), budget = 1 + (unsigned)take(&f->in, 1) % 4;
	uint8_t answer[VIOMMU_ANSWER_BYTES];
	int64_t used = -1;
	uint64_t token;

	require(!viommu_request_submit(f->v, length, request, length, room), "a request is not taken");
	for (unsigned i = 0; i < 100 && used < 0; i++) {
		viommu_process(f->v, budget);
		used = viommu_request_answer(f->v, &token, answer, sizeof(answer));
	}
	require(used >= 0 && (size_t)used <= room && token == length, "no answer");
	require((used == 0) == (status == UNWRITTEN), "an answer for what is none, or none");
	require(used == 0 || answer[used - 4] == status, "another status");
}

static unsigned put_pages(struct fuzz *f, uint8_t *at)
{
	uint64_t first = take(&f->in, 1) % 16, length = 1 + take(&f->in, 1) % 4;
	uint64_t last = (first + length) * PAGE - 1;

	first *= PAGE;
	memcpy(at, &first, 8);
	memcpy(at + 8, &last, 8);
	return 16;
}

/* One that makes sense, and then a byte of it that may not. */
static void step_request(struct fuzz *f)
{
	uint8_t request[72] = {(uint8_t)(1 + take(&f->in, 1) % 5)};
	size_t length = sizeof(request), room = 516;
	uint64_t address;

	request[4] = (uint8_t)(take(&f->in, 1) % (request[0] == 5 ? 3 : DOMAINS));
	if (request[0] <= 2) {
		request[8] = (uint8_t)(take(&f->in, 1) % 3);
		request[12] = request[0] == 1 ? take(&f->in, 1) % 8 == 0 : 0;
	} else if (request[0] < 5) {
		put_pages(f, request + 8);
	}
	if (request[0] == 3) {
		address = take(&f->in, 1) % 20 * PAGE;
		memcpy(request + 24, &address, 8);
		request[32] = (uint8_t)(take(&f->in, 1) % 8);
	}
	if (take(&f->in, 1) % 4 == 0)
		request[take(&f->in, 1) % sizeof(request)] = (uint8_t)take(&f->in, 1);
	if (take(&f->in, 1) % 16 == 0) {
		length = take(&f->in, 1) % (sizeof(request) + 1);
		room = take(&f->in, 2) % 600;
	}
	ask(f, request, length, room);
}

static void step_access(struct fuzz *f)
{
	uint8_t buf[8] = {0};
	unsigned endpoint = take(&f->in, 1) % ENDPOINTS;
	uint64_t iova = take(&f->in, 1) % 24 * PAGE + take(&f->in, 1) * 8, gpa;
	bool write = take(&f->in, 1) % 3 == 0, allowed = leads_to(f, endpoint, iova, write, &gpa);
	int err;

	buf[0] = write ? (uint8_t)take(&f->in, 1) : 0;
	err = write ? viommu_write(f->thread, f->device[endpoint], iova, buf, sizeof(buf))
		    : viommu_read(f->thread, f->device[endpoint], iova, buf, sizeof(buf));
	require(allowed == !err, allowed ? "an access is refused" : "an access goes through");
	require(err || !memcmp(f->ram + gpa, buf, sizeof(buf)), "an access leads elsewhere");
}

static void step_event(struct fuzz *f)
{
	uint8_t event[32];
	int64_t length = viommu_event_take(f->v, event, take(&f->in, 1) % (sizeof(event) + 1));

	require(length < 0 || (length == 24 && event[0] <= 2 && le32(event + 8) < ENDPOINTS), "a bad event");
}

static void step_config(struct fuzz *f)
{
	uint8_t byte = (uint8_t)(take(&f->in, 1) % 4), shown;
	size_t offset = take(&f->in, 1) % 4 ? 36 : take(&f->in, 1);

	viommu_config_write(f->v, offset, &byte, 1);
	if (offset == 36 && byte < 2)
		f->bypass = byte;
	viommu_config_read(f->v, 36, &shown, 1);
	require(shown == f->bypass, "another bypass");
}

static void forget(struct fuzz *f)
{
	for (unsigned i = 0; i < ENDPOINTS; i++)
		f->in_domain[i] = NONE;
	f->count = 0;
}

static void step_reset(struct fuzz *f)
{
	if (take(&f->in, 1) % 2) {
		viommu_reset(f->v);
		f->bypass = true;
	} else {
		require(!viommu_driver_reset(f->v, false), "a reset waits for nobody");
	}
	require(!viommu_features_accept(f->v, FEATURES), "features that were offered");
	forget(f);
}

static void step_save(struct fuzz *f)
{
	static uint8_t state[STATE_ROOM];
	int64_t length = viommu_save(f->v, state, sizeof(state));

	require(length > 0, "a unit that cannot be saved");
	require(!viommu_restore(f->v, state, (size_t)length), "its own state is refused");
}

static void run(struct fuzz *f)
{
	static void (*const steps[])(struct fuzz * f) = {step_access,  step_access,  step_access,
							 step_request, step_request, step_request,
							 step_request, step_request, step_event,
							 step_config,  step_reset,   step_save};

	for (unsigned i = 0; i < 400 && f->in.left > 0; i++)
		steps[take(&f->in, 1) % (sizeof(steps) / sizeof(steps[0]))](f);
}

/* The unit's state, changed by who keeps it: refused, or a unit that can be used. */
static void forge(struct fuzz *f, const uint8_t *data, size_t size)
{
	static uint8_t state[STATE_ROOM];
	int64_t length = viommu_save(f->v, state, sizeof(state));
	size_t body = (size_t)length - sizeof(uint32_t);
	uint8_t buf[8];
	uint32_t crc;

	require(length > 0, "a unit that cannot be saved");
	for (size_t i = 0; i + 2 <= size && i < 16; i += 2)
		state[data[i] % body] = data[i + 1];
	crc = vi_crc32c(0, state, body);
	memcpy(state + body, &crc, sizeof(crc));
	if (!viommu_restore(f->v, state, (size_t)length))
		for (unsigned i = 0; i < 16; i++)
			viommu_read(f->thread, f->device[i % ENDPOINTS], i * PAGE, buf, sizeof(buf));
	viommu_process(f->v, 64);
}

/* Each word tells its place, so that an access that leads elsewhere is seen. */
static uint8_t *make_memory(void)
{
	uint32_t *ram = malloc(RAM_SIZE);

	for (uint32_t i = 0; ram && i < RAM_SIZE / sizeof(*ram); i++)
		ram[i] = i << 1;
	return (uint8_t *)ram;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct viommu_host_ops ops = {.sz = sizeof(ops)};
	struct viommu_virtio_options own = {
		.sz = sizeof(own), .input_width = WIDTH, .domain_last = DOMAINS - 1, .mappings_most = MOST};
	struct viommu_options options = {.sz = sizeof(options),
					 .model = VIOMMU_MODEL_VIRTIO,
					 .host_address_width = 40,
					 .iotlb_lg2 = 6,
					 .model_options = &own};
	struct fuzz f = {.in = {data, size}, .bypass = true};

	f.ram = make_memory();
	if (!f.ram || viommu_create(&ops, NULL, &options, &f.v) ||
	    viommu_mem_add(f.v, 0, RAM_SIZE, f.ram, VIOMMU_MEM_READ | VIOMMU_MEM_WRITE) ||
	    viommu_requester_add(f.v, 0, &f.device[0]) || viommu_requester_add(f.v, 1, &f.device[1]) ||
	    viommu_thread_create(f.v, &f.thread) || viommu_features_accept(f.v, FEATURES))
		abort();
	forget(&f);
	run(&f);
	forge(&f, data, size);
	viommu_thread_destroy(f.thread);
	viommu_destroy(f.v);
	free(f.ram);
	return 0;
}
