/* SPDX-License-Identifier: BSD-3-Clause */
#include "daemon/sidecore/turns.h"

#include <string.h>

#define DEEP_NS_MAX (4 * TURNS_DEEP_NS)

void turns_init(struct turns *t, unsigned count)
{
	*t = (struct turns){.count = count};
}

bool turns_is_heavy(const struct turns *t, unsigned who)
{
	return t->of[who].deep_ns >= TURNS_DEEP_NS;
}

static bool worked_within(const struct turn *turn, uint64_t now, uint64_t ns)
{
	return turn->worked_ns && (now < turn->worked_ns || now - turn->worked_ns < ns);
}

bool turns_is_quiet(const struct turns *t, unsigned who, uint64_t now)
{
	return !worked_within(&t->of[who], now, TURNS_QUIET_NS);
}

/* Does `payer` owe `other` what it takes from it? */
static bool owes(const struct turns *t, unsigned payer, unsigned other)
{
	return payer != other && (turns_is_heavy(t, payer) || !turns_is_heavy(t, other));
}

static bool somebody_waits(const struct turns *t, unsigned who, uint64_t now)
{
	for (unsigned i = 0; i < t->count; i++) {
		if (owes(t, who, i) && worked_within(&t->of[i], now, TURNS_ACTIVE_NS))
			return true;
	}
	return false;
}

/* The part of the time that goes into paying back, as its denominator. */
static unsigned part(const struct turns *t, unsigned who, uint64_t now)
{
	unsigned others = 0;

	for (unsigned i = 0; i < t->count; i++) {
		if (i == who || !worked_within(&t->of[i], now, TURNS_ACTIVE_NS))
			continue;
		if (turns_is_heavy(t, who) && !turns_is_heavy(t, i))
			return TURNS_HEAVY_PART;
		others++;
	}
	return others ? others : 1;
}

static void pay_back(struct turns *t, unsigned who, uint64_t now)
{
	struct turn *turn = &t->of[who];

	if (now <= turn->paid_back_ns)
		return;
	turn->debt -= (int64_t)((now - turn->paid_back_ns) / part(t, who, now));
	turn->debt = turn->debt < 0 ? 0 : turn->debt;
	turn->paid_back_ns = now;
}

bool turns_may_begin(struct turns *t, unsigned who, uint64_t now)
{
	if (!t->of[who].debt)
		return true;
	pay_back(t, who, now);
	return !t->of[who].debt || !somebody_waits(t, who, now);
}

static void forget_waiting(struct turns *t, unsigned who)
{
	memset(t->of[who].kept, 0, sizeof(t->of[who].kept));
}

static void get_lighter(struct turn *turn, uint64_t ns)
{
	turn->deep_ns -= turn->deep_ns < ns ? turn->deep_ns : ns;
}

static void get_heavier(struct turn *turn, uint64_t ns)
{
	turn->deep_ns += ns;
	turn->deep_ns = turn->deep_ns < DEEP_NS_MAX ? turn->deep_ns : DEEP_NS_MAX;
}

void turns_idle(struct turns *t, unsigned who)
{
	get_lighter(&t->of[who], TURNS_IDLE_NS);
	forget_waiting(t, who);
}

/* Once for each turn, however many were kept waiting by it. */
static void pay(struct turns *t, unsigned payer, uint64_t ns, uint64_t now)
{
	struct turn *turn = &t->of[payer];

	pay_back(t, payer, now);
	turn->debt += (int64_t)ns;
	turn->debt = turn->debt < TURNS_DEBT_MAX_NS ? turn->debt : TURNS_DEBT_MAX_NS;
	for (unsigned i = 0; i < t->count; i++)
		t->of[i].kept[payer] = 0;
}

void turns_begun(struct turns *t, unsigned who, uint64_t now)
{
	for (unsigned i = 0; i < t->count; i++) {
		if (t->of[who].kept[i] && owes(t, i, who))
			pay(t, i, t->of[who].kept[i], now);
	}
	forget_waiting(t, who);
}

void turns_ended(struct turns *t, unsigned who, uint64_t began, uint64_t ended, bool deep)
{
	struct turn *turn = &t->of[who];
	uint64_t ns = ended > began ? ended - began : 0;

	turn->worked_ns = ended;
	if (deep)
		get_heavier(turn, ns);
	else
		get_lighter(turn, ns);
	for (unsigned i = 0; i < t->count; i++) {
		if (i != who)
			t->of[i].kept[who] += ns;
	}
}
