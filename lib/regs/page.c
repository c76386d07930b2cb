/* SPDX-License-Identifier: BSD-3-Clause */
#include "regs/page.h"

#include <assert.h>
#include <string.h>

#include "base/bits.h"

static const struct vi_regs_word *find_word(const struct vi_regs_page *p, unsigned offset)
{
	const struct vi_regs_layout *l = p->layout;

	for (unsigned i = 0; i < l->count; i++)
		if (l->words[i].offset == offset)
			return &l->words[i];
	return NULL;
}

static bool is_own(const struct vi_regs_page *p, unsigned offset)
{
	return p->layout->is_own && p->layout->is_own(p->model, offset);
}

void vi_regs_init(struct vi_regs_page *p, const struct vi_regs_layout *layout, void *model)
{
	p->layout = layout;
	p->model = model;
	p->bytes = p->own;
	for (unsigned i = 0; i < layout->count; i++) {
		const struct vi_regs_word *w = &layout->words[i];

		assert(p->watched_count < VI_REGS_MOST && p->read_only_count < VI_REGS_MOST);
		if (w->rule == VI_REGS_READ_ONLY)
			p->read_only[p->read_only_count++] = w->offset;
		else if (w->rule != VI_REGS_PLAIN)
			p->watched[p->watched_count++] = w->offset;
		if (w->rule != VI_REGS_CLEAR)
			continue;
		assert(p->clear_count < VI_REGS_CLEARS);
		p->clear[p->clear_count++] = w;
	}
}

static uint32_t exchange(struct vi_regs_page *p, unsigned offset, uint32_t value)
{
	return le32toh(__atomic_exchange_n((uint32_t *)(void *)(p->bytes + offset), htole32(value),
					   __ATOMIC_SEQ_CST));
}

/* False: the guest has written it again. */
static bool replace(struct vi_regs_page *p, unsigned offset, uint32_t found, uint32_t value)
{
	uint32_t expected = htole32(found);

	return __atomic_compare_exchange_n((uint32_t *)(void *)(p->bytes + offset), &expected, htole32(value),
					   false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
}

/* The value as it is shown: with another sentinel, if there is something to clear. */
static uint32_t with_sentinel(struct vi_regs_page *p, const struct vi_regs_word *w, uint32_t value)
{
	if (!w || w->rule != VI_REGS_CLEAR || !(value & w->writable))
		return value;
	p->to_clear = true;
	p->number = (uint16_t)(p->number % (vi_field(w->sentinel, w->sentinel) - 1) + 1);
	return value | (uint32_t)vi_to_field(w->sentinel, p->number);
}

/* What the guest has written meanwhile is left to the next look. */
static void change_sentinels(struct vi_regs_page *p)
{
	p->to_clear = false;
	for (unsigned i = 0; i < p->clear_count; i++) {
		const struct vi_regs_word *w = p->clear[i];
		uint32_t shown = p->shown[w->offset / 4], now = with_sentinel(p, w, shown & ~w->sentinel);

		if (now != shown && replace(p, w->offset, shown, now))
			p->shown[w->offset / 4] = now;
	}
}

/*
 * A guest that writes all the time gets its last word put back, for the next
 * look, unless it has written yet another since: that one is the last.
 */
void vi_regs_show(struct vi_regs_page *p, unsigned offset, uint32_t (*value)(void *arg),
		  void (*take)(void *arg, uint32_t written), void *arg)
{
	const struct vi_regs_word *w = find_word(p, offset);
	uint32_t before, now, written = 0;

	for (unsigned i = 0; i < 2; i++) {
		now = with_sentinel(p, w, value(arg));
		before = p->shown[offset / 4];
		written = exchange(p, offset, now);
		p->shown[offset / 4] = now;
		if (written == before)
			return;
		take(arg, written);
	}
	replace(p, offset, p->shown[offset / 4], written);
}

static void act(const struct vi_regs_page *p, const struct vi_regs_word *w, uint32_t value)
{
	if (w->on_write)
		w->on_write(p->model, value);
}

/* False: the guest has written yet another command. */
static bool leave_command(struct vi_regs_page *p, const struct vi_regs_word *w, uint32_t found,
			  uint32_t command)
{
	if (!replace(p, w->offset, found, command & w->lasting))
		return false;
	p->shown[w->offset / 4] = command & w->lasting;
	return true;
}

void vi_regs_write(struct vi_regs_page *p, unsigned offset, uint32_t value)
{
	const struct vi_regs_word *w = find_word(p, offset);
	uint32_t kept;

	if (!w || w->rule == VI_REGS_READ_ONLY)
		return;
	if (w->rule == VI_REGS_COMMAND)
		leave_command(p, w, p->shown[offset / 4], value);
	if (w->rule == VI_REGS_COMMAND || w->rule == VI_REGS_CLEAR) {
		act(p, w, value & w->writable);
		return;
	}
	kept = p->shown[offset / 4] & ~w->writable; /* never what the guest has left on the page */
	vi_regs_store32(p, offset, kept | (value & w->writable));
	act(p, w, kept | (value & w->writable));
}

uint32_t vi_regs_read(const struct vi_regs_page *p, unsigned offset)
{
	const struct vi_regs_word *w = find_word(p, offset);

	return w ? vi_regs_load32(p, offset) & w->readable : 0;
}

/* What was found differs from what is shown. */
static bool take(struct vi_regs_page *p, unsigned offset, uint32_t found)
{
	const struct vi_regs_word *w = find_word(p, offset);

	if (w->rule != VI_REGS_COMMAND)
		p->shown[offset / 4] = found;
	else if ((w->is_busy && w->is_busy(p->model)) || !leave_command(p, w, found, found))
		return false;
	act(p, w, found);
	return true;
}

static inline bool look(struct vi_regs_page *p, unsigned offset)
{
	uint32_t found = vi_regs_load32(p, offset);

	return __builtin_expect(found != p->shown[offset / 4], 0) && take(p, offset, found);
}

bool vi_regs_poll_word(struct vi_regs_page *p, unsigned offset)
{
	return look(p, offset);
}

/*
 * Read-only and reserved words, and reserved bits of plain ones. A plain word keeps
 * what the guest may write.
 */
static void mend(struct vi_regs_page *p, unsigned offset, uint32_t found)
{
	uint32_t value = p->shown[offset / 4];
	const struct vi_regs_word *w = find_word(p, offset);

	if (is_own(p, offset) || (w && w->rule != VI_REGS_READ_ONLY && w->rule != VI_REGS_PLAIN))
		return;
	if (w && w->rule == VI_REGS_PLAIN)
		value = (value & ~w->writable) | (found & w->writable);
	if (found == value || replace(p, offset, found, value))
		p->shown[offset / 4] = value;
}

static inline void put_back(struct vi_regs_page *p, unsigned offset)
{
	uint32_t found = vi_regs_load32(p, offset);

	if (__builtin_expect(found != p->shown[offset / 4], 0))
		mend(p, offset, found);
}

/* Each read-only register at each look, as guests read them at any time; of the rest of the page one word. */
static void put_page_back(struct vi_regs_page *p)
{
	for (unsigned i = 0; i < p->read_only_count; i++)
		put_back(p, p->read_only[i]);
	put_back(p, p->looked_at);
	p->looked_at = (p->looked_at + 4) % VI_REGS_PAGE_SIZE;
}

int vi_regs_poll(struct vi_regs_page *p)
{
	int n = 0;

	for (unsigned i = 0; i < p->watched_count; i++)
		n += look(p, p->watched[i]);
	if (vi_regs_is_shared(p))
		put_page_back(p);
	if (vi_regs_is_shared(p) && p->to_clear)
		change_sentinels(p);
	return n;
}

void vi_regs_share(struct vi_regs_page *p, void *bytes)
{
	uint8_t *to = bytes ? bytes : p->own;

	if (to == p->bytes)
		return;
	for (unsigned i = 0; vi_regs_is_shared(p) && i < VI_REGS_PAGE_SIZE; i += 4)
		put_back(p, i);
	memcpy(to, p->bytes, VI_REGS_PAGE_SIZE);
	p->bytes = to;
}

void vi_regs_state(struct vi_regs_page *p, struct vi_state *s)
{
	for (unsigned offset = 0; offset < VI_REGS_PAGE_SIZE; offset += 8) {
		uint64_t value = vi_regs_load64(p, offset);

		vi_state_number(s, &value, UINT64_MAX);
		if (s->loading)
			vi_regs_store64(p, offset, value);
	}
}

static uint32_t loaded(const struct vi_regs_word *w, uint32_t value)
{
	if (w && w->rule == VI_REGS_PLAIN)
		return value & w->writable;
	return w && w->rule == VI_REGS_LEVEL ? value & w->readable : 0;
}

void vi_regs_loaded(struct vi_regs_page *p)
{
	for (unsigned i = 0; i < VI_REGS_PAGE_SIZE; i += 4)
		if (!is_own(p, i))
			vi_regs_store32(p, i, loaded(find_word(p, i), vi_regs_load32(p, i)));
}

void vi_regs_reset(struct vi_regs_page *p)
{
	for (unsigned i = 0; i < VI_REGS_PAGE_SIZE; i += 4)
		vi_regs_store32(p, i, 0);
}
