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
 *   COMMAND  commands. Those that last until they are taken back are shown while
 *            they are asked for; one-shot commands and other bits are never shown.
 *   CLEAR    status bits that a write of 1 clears.
 *   LEVEL    masks, tails, busy bits: the last value counts, so a write of the
 *            same value means nothing. A request is one if the model shows its
 *            busy bit as 0 before the next may come.
 *
 * Drivers write constants, or the word that they have read, or that word with bits
 * set or cleared. The last two may leave no trace: when a driver reads and writes a
 * word between two looks, and writes what it has read, the page is as if the driver
 * had only read it. No rule can see such a write. The rules see to it that it means
 * nothing, or that nothing hangs on it.
 *
 * COMMAND: it means nothing. The page shows the lasting commands A that were asked
 * for last. A write W is not seen if W = A, and then no lasting command changes and
 * no one-shot command is in W. Every other W is seen, as is the same one-shot command
 * twice: a look takes W and leaves its lasting commands by one compare-and-exchange,
 * after which W differs from what is shown. (Two writes of the same value between two
 * looks are one. A driver waits for the first of them.)
 *
 * CLEAR: while there is something to clear, reserved bits are shown with it that hold
 * a number, the sentinel: neither 0 nor all ones, and another one after each look and
 * each time that the word is shown. So
 *  - a constant is seen, as it has no such number in its reserved bits;
 *  - a word that was read is seen if a look came between the read and the write, as
 *    the page shows another number by then (of 15 bits: the same one is shown again
 *    after 32,766 others);
 *  - a word that was read and written between the same two looks is not seen, nor is
 *    a write that another one has replaced before the look.
 * So a model never knows that status, once a polled page has shown it, is still to be
 * cleared, and whatever the status holds up has to go on in one of three ways:
 *  - at once, where that does no harm to a driver that has not cleared the status;
 *  - by an event, at once or after some looks (regs/reminder.h). A driver that has
 *    cleared the status waits for it, for another one it is spurious;
 *  - if neither will do, when a write is seen, and until then the driver gets its event
 *    again and again, so that it reads the status and clears it once more.
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
#define VI_REGS_CLEARS	  4  /* of those watched words that clear */

enum vi_regs_rule { VI_REGS_READ_ONLY, VI_REGS_PLAIN, VI_REGS_COMMAND, VI_REGS_CLEAR, VI_REGS_LEVEL };

/* 32 bits of a register; the second word of a 64-bit one has a row of its own. */
struct vi_regs_word {
	uint16_t offset; /* in the page */
	enum vi_regs_rule rule;
	uint32_t writable; /* bits that a write changes or that mean something when written */
	uint32_t readable; /* bits that a trapped read returns */
	void (*on_write)(void *model, uint32_t value); /* NULL: the model reads it when it looks */
	uint32_t sentinel; /* of CLEAR: reserved bits for the number, not the highest bit of the word */
	uint32_t lasting;  /* of COMMAND: commands that last until they are taken back */
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
	const struct vi_regs_word *clear[VI_REGS_CLEARS];
	uint16_t watched_count, read_only_count, clear_count;
	uint16_t number;    /* of the last sentinel */
	bool to_clear;	    /* a word shows a sentinel */
	uint16_t looked_at; /* offset of the word that is looked at next for what the guest may not change */
	uint32_t shown[VI_REGS_PAGE_SIZE / 4];
	_Alignas(VI_REGS_PAGE_SIZE) uint8_t own[VI_REGS_PAGE_SIZE];
};

/* All of it is 0 before. */
void vi_regs_init(struct vi_regs_page *p, const struct vi_regs_layout *layout, void *model);
/* Every word is 0. */
void vi_regs_reset(struct vi_regs_page *p);
/* All words of it, of a saved state. */
void vi_regs_state(struct vi_regs_page *p, struct vi_state *s);
/*
 * The page was loaded from anywhere: nothing stays in it that a guest cannot have
 * written. Read-only words, commands, and what clears, are 0 until they are shown.
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
