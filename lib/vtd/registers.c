/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The register set. The first page may be memory that the guest writes without
 * our noticing; words that make something happen are "watched": the model
 * remembers what it last put there (`shown`) and acts when it finds something
 * else. A watched word needs a rule that makes each write visible:
 *
 *   COMMAND  GCMD: a sentinel is left in it, so that the same command written
 *            twice is seen twice. Read trapped it is 0.
 *   CLEAR    FSTS, ICS: write 1 to clear. Writing exactly the bits that are
 *            set must be seen, so a reserved bit is shown with them. Drivers
 *            write constants; one that echoes what it read, reserved bit
 *            included, is not seen on a polled page until it writes another
 *            value. Linux does that once, at start, when nothing is set.
 *   LEVEL    masks, tails, busy bits: the last value counts, so a write of the
 *            same value means nothing. Requests for an invalidation are so too:
 *            ICC and IVT are shown as 0 before the next may come.
 *   fault records: fault_record.c.
 *
 * Trapped accesses use the same words and the same rules.
 */
#include <string.h>

#include "base/bits.h"
#include "base/endian.h"
#include "vtd/vtd.h"

/* Reserved bits (11.4.4.1, 11.4.7.1, 11.4.9.6) that no driver writes. */
#define COMMAND_SENTINEL 0x00000001u
#define CLEAR_SENTINEL	 0x40000000u

enum rule { READ_ONLY, PLAIN, COMMAND, CLEAR, LEVEL };

/* A register as 32-bit words; the second word of a 64-bit one has an entry of its own. */
struct word {
	uint16_t offset;
	enum rule rule;
	uint32_t writable; /* bits that a write changes or that mean something when written */
	uint32_t readable;
	void (*on_write)(struct vi_vtd *m, uint32_t value);
};

static void fault_control_write(struct vi_vtd *m, uint32_t value)
{
	vi_vtd_event_control_write(&m->fault_event, value);
}

static void queue_control_write(struct vi_vtd *m, uint32_t value)
{
	vi_vtd_event_control_write(&m->queue_event, value);
}

#define ALL 0xffffffffu

static const struct word words[] = {
	{VTD_VER, READ_ONLY, 0, ALL, NULL},
	{VTD_CAP, READ_ONLY, 0, ALL, NULL},
	{VTD_CAP + 4, READ_ONLY, 0, ALL, NULL},
	{VTD_ECAP, READ_ONLY, 0, ALL, NULL},
	{VTD_ECAP + 4, READ_ONLY, 0, ALL, NULL},
	{VTD_GCMD, COMMAND, ALL, 0, vi_vtd_command_write},
	{VTD_GSTS, READ_ONLY, 0, ALL, NULL},
	{VTD_RTADDR, PLAIN, 0xfffffc00u, ALL, NULL},
	{VTD_RTADDR + 4, PLAIN, ALL, ALL, NULL},
	{VTD_CCMD, PLAIN, ALL, (uint32_t)VTD_CCMD_DID, NULL},
	{VTD_CCMD + 4, LEVEL, 0xe0000003u, 0xf8000000u, vi_vtd_context_command_write},
	{VTD_FSTS, CLEAR, VTD_FSTS_PFO | VTD_FSTS_IQE | VTD_FSTS_ICE | VTD_FSTS_ITE, ~CLEAR_SENTINEL,
	 vi_vtd_fault_status_write},
	{VTD_FECTL, LEVEL, VTD_ECTL_IM, ALL, fault_control_write},
	{VTD_FEDATA, PLAIN, ALL, ALL, NULL},
	{VTD_FEADDR, PLAIN, ~3u, ALL, NULL},
	{VTD_FEUADDR, PLAIN, ALL, ALL, NULL},
	{VTD_PMEN, LEVEL, VTD_PMEN_EPM, ALL, vi_vtd_protect_write},
	{VTD_PLMBASE, PLAIN, 0xffe00000u, ALL, NULL},
	{VTD_PLMLIMIT, PLAIN, 0xffe00000u, ALL, NULL},
	{VTD_PHMBASE, PLAIN, 0xffe00000u, ALL, NULL},
	{VTD_PHMBASE + 4, PLAIN, ALL, ALL, NULL},
	{VTD_PHMLIMIT, PLAIN, 0xffe00000u, ALL, NULL},
	{VTD_PHMLIMIT + 4, PLAIN, ALL, ALL, NULL},
	{VTD_IQH, READ_ONLY, 0, ALL, NULL},
	{VTD_IQH + 4, READ_ONLY, 0, ALL, NULL},
	{VTD_IQT, LEVEL, (uint32_t)VTD_IQT_QT, (uint32_t)VTD_IQT_QT, NULL},
	{VTD_IQT + 4, READ_ONLY, 0, ALL, NULL},
	{VTD_IQA, PLAIN, 0xfffff007u, ALL, NULL},
	{VTD_IQA + 4, PLAIN, ALL, ALL, NULL},
	{VTD_ICS, CLEAR, VTD_ICS_IWC, ~CLEAR_SENTINEL, vi_vtd_wait_status_write},
	{VTD_IECTL, LEVEL, VTD_ECTL_IM, ALL, queue_control_write},
	{VTD_IEDATA, PLAIN, ALL, ALL, NULL},
	{VTD_IEADDR, PLAIN, ~3u, ALL, NULL},
	{VTD_IEUADDR, PLAIN, ALL, ALL, NULL},
	{VTD_IQERCD, READ_ONLY, 0, ALL, NULL},
	{VTD_IQERCD + 4, READ_ONLY, 0, ALL, NULL},
	{VTD_IRO_OFFSET + VTD_IVA, PLAIN, ALL, 0, NULL},
	{VTD_IRO_OFFSET + VTD_IVA + 4, PLAIN, ALL, 0, NULL},
	{VTD_IRO_OFFSET + VTD_IOTLB + 4, LEVEL, 0xb003ffffu, 0xb603ffffu, vi_vtd_iotlb_command_write},
};

/* Offsets of the watched words in the order of looking; the first is what a guest waits for most. */
static const uint16_t watched[] = {
	VTD_IQT,  VTD_GCMD, VTD_CCMD + 4, VTD_IRO_OFFSET + VTD_IOTLB + 4, VTD_FSTS, VTD_FECTL,
	VTD_PMEN, VTD_ICS,  VTD_IECTL,
};

static const struct word *find_word(unsigned offset)
{
	for (unsigned i = 0; i < VI_ARRAY_SIZE(words); i++)
		if (words[i].offset == offset)
			return &words[i];
	return NULL;
}

uint32_t vi_vtd_load32(const struct vi_vtd *m, unsigned offset)
{
	return vi_load_le32(m->page + offset);
}

uint64_t vi_vtd_load64(const struct vi_vtd *m, unsigned offset)
{
	return vi_load_le64(m->page + offset);
}

void vi_vtd_store32(struct vi_vtd *m, unsigned offset, uint32_t value)
{
	m->shown[offset / 4] = value;
	vi_store_le32(m->page + offset, value);
}

void vi_vtd_store64(struct vi_vtd *m, unsigned offset, uint64_t value)
{
	m->shown[offset / 4] = (uint32_t)value;
	m->shown[offset / 4 + 1] = (uint32_t)(value >> 32);
	vi_store_le64(m->page + offset, value);
}

static uint32_t exchange(struct vi_vtd *m, unsigned offset, uint32_t value)
{
	return le32toh(__atomic_exchange_n((uint32_t *)(void *)(m->page + offset), htole32(value),
					   __ATOMIC_SEQ_CST));
}

/*
 * The exchange is one step: a write of the guest lands before it and is
 * returned, or after it and differs from `shown` at the next look. A guest that
 * writes all the time gets its last word put back, for that next look.
 */
void vi_vtd_show(struct vi_vtd *m, unsigned offset, uint32_t (*value)(void *arg),
		 void (*take)(void *arg, uint32_t written), void *arg)
{
	const struct word *w = find_word(offset);
	uint32_t before, now, written = 0;

	for (unsigned i = 0; i < 2; i++) {
		now = value(arg);

		if (w && w->rule == CLEAR && (now & w->writable))
			now |= CLEAR_SENTINEL;
		before = m->shown[offset / 4];
		written = exchange(m, offset, now);
		m->shown[offset / 4] = now;
		if (written == before)
			return;
		take(arg, written);
	}
	/* Unless it has written yet another since: that one is the last. */
	now = htole32(m->shown[offset / 4]);
	__atomic_compare_exchange_n((uint32_t *)(void *)(m->page + offset), &now, htole32(written), false,
				    __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
}

static void act(struct vi_vtd *m, const struct word *w, uint32_t value)
{
	if (w->on_write)
		w->on_write(m, value);
}

static void write_page_word(struct vi_vtd *m, unsigned offset, uint32_t value)
{
	const struct word *w = find_word(offset);
	uint32_t kept;

	if (!w || w->rule == READ_ONLY)
		return;
	if (w->rule == COMMAND || w->rule == CLEAR) {
		act(m, w, value & w->writable);
		return;
	}
	kept = m->shown[offset / 4] & ~w->writable; /* never what the guest has left on the page */
	vi_vtd_store32(m, offset, kept | (value & w->writable));
	act(m, w, kept | (value & w->writable));
}

static uint32_t read_page_word(const struct vi_vtd *m, unsigned offset)
{
	const struct word *w = find_word(offset);

	return w ? vi_vtd_load32(m, offset) & w->readable : 0;
}

static void write_word(struct vi_vtd *m, unsigned offset, uint32_t value)
{
	if (vi_vtd_is_fault_record(m, offset))
		vi_vtd_fault_record_write(m, offset, value);
	else if (offset < VTD_PAGE_SIZE)
		write_page_word(m, offset, value);
}

static uint32_t read_word(const struct vi_vtd *m, unsigned offset)
{
	if (vi_vtd_is_fault_record(m, offset))
		return vi_vtd_fault_record_read(m, offset);
	return offset < VTD_PAGE_SIZE ? read_page_word(m, offset) : 0;
}

/* The guest may have written the page just before it trapped: that comes first. */
void vi_vtd_regs_read(void *state, uint64_t offset, unsigned size, uint64_t *ret_value)
{
	struct vi_vtd *m = state;

	vi_lock_assert(&m->unit->lock);
	vi_vtd_regs_poll(m);
	*ret_value = read_word(m, (unsigned)offset);
	if (size == 8)
		*ret_value |= (uint64_t)read_word(m, (unsigned)offset + 4) << 32;
}

#define STEPS_OF_A_TRAP 256

void vi_vtd_regs_write(void *state, uint64_t offset, unsigned size, uint64_t value)
{
	struct vi_vtd *m = state;

	vi_lock_assert(&m->unit->lock);
	vi_vtd_regs_poll(m);
	write_word(m, (unsigned)offset, (uint32_t)value);
	if (size == 8)
		write_word(m, (unsigned)offset + 4, (uint32_t)(value >> 32));
	if (vi_vtd_model_process(m, STEPS_OF_A_TRAP) & VIOMMU_PROCESS_PENDING)
		vi_kick(m->unit);
}

bool vi_vtd_regs_poll_word(struct vi_vtd *m, unsigned offset)
{
	uint32_t value = vi_vtd_load32(m, offset);

	if (value == m->shown[offset / 4])
		return false;
	if (offset == VTD_GCMD) {
		if (m->command_drain.active) /* stays in the page until its turn comes */
			return false;
		value = exchange(m, offset, COMMAND_SENTINEL);
	} else {
		m->shown[offset / 4] = value;
	}
	act(m, find_word(offset), value);
	return true;
}

/* False: the guest has written it again. */
static bool replace(struct vi_vtd *m, unsigned offset, uint32_t found, uint32_t value)
{
	uint32_t expected = htole32(found);

	return __atomic_compare_exchange_n((uint32_t *)(void *)(m->page + offset), &expected, htole32(value),
					   false, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
}

/*
 * What hardware would not let the guest change on a page that it writes
 * directly: read-only and reserved words, and reserved bits of plain ones. The
 * model believes none of them, so that only what is shown has to be mended. The
 * exchange loses no write of the guest; a plain word keeps what may be written.
 */
static void put_back(struct vi_vtd *m, unsigned offset)
{
	uint32_t found = vi_vtd_load32(m, offset), value = m->shown[offset / 4];
	const struct word *w;

	if (found == value || vi_vtd_is_fault_record(m, offset))
		return;
	w = find_word(offset);
	if (w && w->rule != READ_ONLY && w->rule != PLAIN)
		return;
	if (w && w->rule == PLAIN)
		value = (value & ~w->writable) | (found & w->writable);
	if (found == value || replace(m, offset, found, value))
		m->shown[offset / 4] = value;
}

/* Each read-only register at each look, since guests read them at any time; of the rest of the page one word.
 */
static void put_page_back(struct vi_vtd *m)
{
	static const uint16_t read_only[] = {VTD_VER,	   VTD_CAP,    VTD_CAP + 4,   VTD_ECAP,
					     VTD_ECAP + 4, VTD_GSTS,   VTD_IQH,	      VTD_IQH + 4,
					     VTD_IQT + 4,  VTD_IQERCD, VTD_IQERCD + 4};

	for (unsigned i = 0; i < VI_ARRAY_SIZE(read_only); i++)
		put_back(m, read_only[i]);
	put_back(m, m->looked_at);
	m->looked_at = (m->looked_at + 4) % VTD_PAGE_SIZE;
}

int vi_vtd_regs_poll(struct vi_vtd *m)
{
	int n = 0;

	for (unsigned i = 0; i < VI_ARRAY_SIZE(watched); i++)
		n += vi_vtd_regs_poll_word(m, watched[i]);
	if (m->page != m->own_page)
		put_page_back(m);
	return n + vi_vtd_fault_records_poll(m);
}

void vi_vtd_regs_share(void *state, void *page)
{
	struct vi_vtd *m = state;
	uint8_t *to = page ? page : m->own_page;

	if (to == m->page)
		return;
	vi_vtd_regs_poll(m);
	for (unsigned i = 0; m->page != m->own_page && i < VTD_PAGE_SIZE; i += 4)
		put_back(m, i);
	memcpy(to, m->page, VTD_PAGE_SIZE);
	m->page = to;
}

/* What a word may hold that was loaded, from anywhere: read-only ones are the model's to show. */
static uint32_t loaded(const struct word *w, uint32_t value)
{
	if (w && w->rule == COMMAND)
		return COMMAND_SENTINEL;
	if (w && w->rule == PLAIN)
		return value & w->writable;
	return w && w->rule == LEVEL ? value & w->readable : 0;
}

void vi_vtd_regs_loaded(struct vi_vtd *m)
{
	for (unsigned i = 0; i < VTD_PAGE_SIZE; i += 4)
		if (!vi_vtd_is_fault_record(m, i))
			vi_vtd_store32(m, i, loaded(find_word(i), vi_vtd_load32(m, i)));
}

void vi_vtd_regs_reset(struct vi_vtd *m)
{
	for (unsigned i = 0; i < VTD_PAGE_SIZE; i += 4)
		vi_vtd_store32(m, i, 0);
	vi_vtd_store32(m, VTD_VER, VTD_VER_1_0);
	vi_vtd_store64(m, VTD_CAP, m->cap);
	vi_vtd_store64(m, VTD_ECAP, m->ecap);
	vi_vtd_store32(m, VTD_GCMD, COMMAND_SENTINEL);
	vi_vtd_store32(m, VTD_FECTL, VTD_ECTL_IM);
	vi_vtd_store32(m, VTD_IECTL, VTD_ECTL_IM);
}
