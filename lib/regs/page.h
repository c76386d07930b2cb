/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A page of registers that a guest accesses by traps, or writes directly without
 * our noticing ("polled"). It holds a copy of what the model knows: the page is
 * how the guest sees the model, and the model believes no word of it but those
 * that the guest may write.
 *
 * The model describes the page by a table with a row for each 32-bit word. Words
 * that make something happen are "watched": the page remembers what was last put
 * there (`shown`), and a look that finds something else takes it as a write. So
 * each of them has a rule that makes each write visible, since a look sees neither
 * two writes nor a write of the value that is shown:
 *
 *   COMMAND  a write is a command, and the same one may come twice. A look takes it
 *            by atomic exchange and leaves a sentinel, a reserved bit that no
 *            driver writes.
 *   CLEAR    status bits that a write of 1 clears. A driver writes the very bits
 *            that are set, so a reserved bit is shown with them. A driver that
 *            writes what it has read, the reserved bit too, is not seen until it
 *            writes another value.
 *   LEVEL    masks, tails, busy bits: the last value counts, so a write of the
 *            same value means nothing. A request is one if the model shows its
 *            busy bit as 0 before the next may come.
 *
 * The others are PLAIN, which the model reads when it needs them, and READ_ONLY.
 * Words that the model watches by a rule of its own (`is_own`) are left alone.
 *
 * No write is lost to the model's own. vi_regs_show() puts a value there by one
 * exchange. A write of the guest lands before it and is returned by it, so it is
 * taken; or after it and differs from `shown`, so the next look takes it, or means
 * nothing by the rule. vi_regs_store32() overwrites unread what the guest wrote,
 * so it is for words that the guest does not write, and for those where the
 * guest may not write now, as its last request is under way.
 *
 * What hardware would not let a guest change comes back on a polled page, as the
 * guest reads it: read-only words at each look, reserved words and the reserved
 * bits of plain ones at one look in a thousand, by a compare-and-exchange that
 * loses no write.
 *
 * Trapped accesses use the same words and the same rules; whoever carries one out
 * looks at the page first, so that what the guest wrote before counts before.
 *
 * A page belongs to the unit lock.
 */
#ifndef REGS_PAGE_H
#define REGS_PAGE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/endian.h"
#include "core/state.h"

#define VI_REGS_PAGE_SIZE 4096
#define VI_REGS_MOST	  32 /* watched words, and read-only ones, of a page */

enum vi_regs_rule { VI_REGS_READ_ONLY, VI_REGS_PLAIN, VI_REGS_COMMAND, VI_REGS_CLEAR, VI_REGS_LEVEL };

/* 32 bits of a register; the second word of a 64-bit one has a row of its own. */
struct vi_regs_word {
	uint16_t offset; /* in the page */
	enum vi_regs_rule rule;
	uint32_t writable; /* bits that a write changes or that mean something when written */
	uint32_t readable; /* bits that a trapped read returns */
	void (*on_write)(void *model, uint32_t value); /* NULL: the model reads it when it looks */
	uint32_t sentinel; /* of COMMAND and CLEAR: reserved bits that no driver writes */
	/* Of COMMAND: one is under way, and the next stays on the page until its turn comes. NULL: never. */
	bool (*is_busy)(const void *model);
};

struct vi_regs_layout {
	const struct vi_regs_word *words; /* looked at in this order */
	unsigned count;
	/* Is this a word that the model shows and watches itself? NULL: none. */
	bool (*is_own)(const void *model, unsigned offset);
};

struct vi_regs_page {
	const struct vi_regs_layout *layout;
	void *model;	/* handed to what the layout calls */
	uint8_t *bytes; /* what the guest sees: `own`, or a page that it writes directly */
	uint16_t watched[VI_REGS_MOST], read_only[VI_REGS_MOST]; /* offsets */
	uint16_t watched_count, read_only_count;
	uint16_t looked_at; /* offset of the word that is looked at next for what the guest may not change */
	uint32_t shown[VI_REGS_PAGE_SIZE / 4];
	_Alignas(VI_REGS_PAGE_SIZE) uint8_t own[VI_REGS_PAGE_SIZE];
};

/* All of it is 0 before. */
void vi_regs_init(struct vi_regs_page *p, const struct vi_regs_layout *layout, void *model);
/* Every word is 0, and the sentinels are in their places. */
void vi_regs_reset(struct vi_regs_page *p);
/* All words of it, of a saved state. */
void vi_regs_state(struct vi_regs_page *p, struct vi_state *s);
/*
 * The page was loaded from anywhere: nothing stays in it that a guest cannot have
 * written. Read-only words, and those that clear, are 0 until they are shown.
 */
void vi_regs_loaded(struct vi_regs_page *p);

/* Serve it from this page from now on, with what it holds; NULL: from our own again. */
void vi_regs_share(struct vi_regs_page *p, void *bytes);

static inline bool vi_regs_is_shared(const struct vi_regs_page *p)
{
	return p->bytes != p->own;
}

/* Look at every watched word once. Returns how many had been written, and were acted on. */
int vi_regs_poll(struct vi_regs_page *p);
/* At one of them. True: it had been written, and was acted on. */
bool vi_regs_poll_word(struct vi_regs_page *p, unsigned offset);

/* A trapped access, after a look. */
uint32_t vi_regs_read(const struct vi_regs_page *p, unsigned offset);
void vi_regs_write(struct vi_regs_page *p, unsigned offset, uint32_t value);

/*
 * Put value(arg) into a watched word that the guest may be writing. What it wrote
 * since the word was last shown goes to take(arg, written) first.
 */
void vi_regs_show(struct vi_regs_page *p, unsigned offset, uint32_t (*value)(void *arg),
		  void (*take)(void *arg, uint32_t written), void *arg);

/* A word that `is_own`: what was found there has been acted on. */
static inline void vi_regs_took(struct vi_regs_page *p, unsigned offset, uint32_t found)
{
	p->shown[offset / 4] = found;
}

/* What the page holds, which the guest may have put there. */
static inline uint32_t vi_regs_load32(const struct vi_regs_page *p, unsigned offset)
{
	return vi_load_le32(p->bytes + offset);
}

static inline uint64_t vi_regs_load64(const struct vi_regs_page *p, unsigned offset)
{
	return vi_load_le64(p->bytes + offset);
}

/* For words that the guest does not write, or not now. */
static inline void vi_regs_store32(struct vi_regs_page *p, unsigned offset, uint32_t value)
{
	p->shown[offset / 4] = value;
	vi_store_le32(p->bytes + offset, value);
}

static inline void vi_regs_store64(struct vi_regs_page *p, unsigned offset, uint64_t value)
{
	p->shown[offset / 4] = (uint32_t)value;
	p->shown[offset / 4 + 1] = (uint32_t)(value >> 32);
	vi_store_le64(p->bytes + offset, value);
}

#endif
