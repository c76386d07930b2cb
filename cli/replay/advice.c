/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The table in words. The safest is the one that leaves the least reachable,
 * stale time first; the cheapest takes the least time for a buffer, and of those that
 * take hardly more it is the safest. Between the two the choice is the
 * cheapest of those that keep nothing for longer than BEARABLE_US, unless the
 * safest costs hardly more.
 *
 * What costs hardly more is not told apart, so that the choice does not follow the
 * last digits of a measurement. Where the rounds differ by so much that
 * another one may have been chosen, or are too few to tell, that is said.
 */
#include <stdarg.h>
#include <string.h>

#include "cli/replay/output.h"

#define BEARABLE_US   100000.0
#define HARDLY_MORE   1.25 /* times the cost */
#define SAME_EXCESS   1.001
#define ANY	      1e300
#define ROUNDS_ENOUGH 3 /* to trust what a strategy was found too dear by */

struct field {
	const struct replay_result *results;
	size_t count;
};

static bool is_candidate(const struct replay_result *r)
{
	return !*r->why_not && !r->refused && !r->reaches_all;
}

static bool is_safer(const struct replay_result *a, const struct replay_result *b)
{
	if (a->stale_max_us != b->stale_max_us)
		return a->stale_max_us < b->stale_max_us;
	if (a->excess_byte_seconds * SAME_EXCESS < b->excess_byte_seconds ||
	    b->excess_byte_seconds * SAME_EXCESS < a->excess_byte_seconds)
		return a->excess_byte_seconds < b->excess_byte_seconds;
	return a->buffer_mean_ns * HARDLY_MORE < b->buffer_mean_ns;
}

static double mean_of(const struct replay_result *r)
{
	return r->buffer_mean_ns;
}

static double median_of(const struct replay_result *r)
{
	return r->buffer_median_ns;
}

/* The least cost of the candidates, by one of the two, but for `other`. */
static double least_cost(const struct field *f, double stale_most_us, const struct replay_result *other,
			 double (*cost_of)(const struct replay_result *r))
{
	double least = ANY;

	for (size_t i = 0; i < f->count; i++) {
		const struct replay_result *r = &f->results[i];

		if (is_candidate(r) && r != other && r->stale_max_us <= stale_most_us && cost_of(r) < least)
			least = cost_of(r);
	}
	return least;
}

/* The safest of the candidates that cost at most so much; NULL: there is none. */
static const struct replay_result *find_safest(const struct field *f, double stale_most_us, double cost_most)
{
	const struct replay_result *first = NULL;

	for (size_t i = 0; i < f->count; i++) {
		const struct replay_result *r = &f->results[i];

		if (is_candidate(r) && r->stale_max_us <= stale_most_us && r->buffer_mean_ns <= cost_most &&
		    (!first || is_safer(r, first)))
			first = r;
	}
	return first;
}

static const struct replay_result *find_cheapest(const struct field *f, double stale_most_us)
{
	return find_safest(f, stale_most_us, HARDLY_MORE * least_cost(f, stale_most_us, NULL, mean_of));
}

/*
 * One whose time decided, and was measured in too few rounds to be trusted: the choice, or one that
 * is safer and was called too dear. NULL: there is none.
 */
static const struct replay_result *find_barely_timed(const struct field *f,
						     const struct replay_result *choice)
{
	if (choice->rounds < 2)
		return choice;
	for (size_t i = 0; i < f->count; i++) {
		const struct replay_result *r = &f->results[i];

		if (is_candidate(r) && r->rounds < ROUNDS_ENOUGH && is_safer(r, choice))
			return r;
	}
	return NULL;
}

/* Is there another one that could have been chosen, whatever it costs? */
static bool is_a_choice(const struct field *f, const struct replay_result *choice)
{
	return least_cost(f, BEARABLE_US, choice, mean_of) < ANY;
}

/*
 * Might another one have been chosen? The choice may cost too much beside a
 * cheaper one, or one that is safer may cost hardly more than the cheapest, when it is the
 * median of the rounds that is right.
 */
static bool is_doubtful(const struct field *f, const struct replay_result *choice)
{
	double enough = HARDLY_MORE * least_cost(f, BEARABLE_US, NULL, median_of);
	const struct replay_result *safer = find_safest(f, BEARABLE_US, enough);

	return choice->buffer_median_ns > HARDLY_MORE * least_cost(f, BEARABLE_US, choice, mean_of) ||
	       (safer && is_safer(safer, choice));
}

/* -------------------------------------------------------------------- sentences */

/* Words as they come, in lines. */
struct text {
	FILE *to;
	int column, width;
};

static void say(struct text *t, const char *words)
{
	while (*words) {
		int length = (int)strcspn(words, " ");

		if (t->column && t->column + 1 + length > t->width) {
			fputc('\n', t->to);
			t->column = 0;
		}
		t->column += fprintf(t->to, "%s%.*s", t->column ? " " : "", length, words);
		words += length;
		words += strspn(words, " ");
	}
}

static __attribute__((format(printf, 2, 3))) void sayf(struct text *t, const char *format, ...)
{
	char line[512];
	va_list args;

	va_start(args, format);
	vsnprintf(line, sizeof(line), format, args);
	va_end(args);
	say(t, line);
}

static void end(struct text *t)
{
	fputc('\n', t->to);
	t->column = 0;
}

/* A number or time as the table has it; the places are reused after four. */
static const char *number(double value)
{
	static char texts[4][32];
	static unsigned next;
	char *text = texts[next++ % 4];

	replay_format_number(value, text, sizeof(texts[0]));
	return text;
}

static const char *duration(double us)
{
	static char texts[2][32];
	static unsigned next;
	char *text = texts[next++ % 2];

	replay_format_time(us, text, sizeof(texts[0]));
	return text;
}

static double a_second(const struct replay_result *r, double amount)
{
	return r->duration_s > 0 ? amount / r->duration_s : amount;
}

static void say_cost(struct text *t, const struct replay_result *r)
{
	sayf(t, "at %s", duration(r->buffer_mean_ns / 1e3));
	if (r->buffer_median_ns > HARDLY_MORE * r->buffer_mean_ns)
		sayf(t, "to %s", duration(r->buffer_median_ns / 1e3));
	sayf(t, "a buffer and %s invalidations a second", number(a_second(r, (double)r->invalidations)));
	if (r->bytes_copied)
		sayf(t, "and %s bytes copied a second", number(a_second(r, (double)r->bytes_copied)));
}

static void say_exposure(struct text *t, const struct replay_result *r)
{
	if (r->stale_max_us == 0)
		say(t, "Nothing stays reachable after its unmap;");
	else
		sayf(t, "A page stays reachable for up to %s after its unmap;", duration(r->stale_max_us));
	if (r->excess_byte_seconds == 0)
		say(t, "no byte that is not in a mapped buffer ever is.");
	else
		sayf(t, "on average %s bytes are reachable that are in no mapped buffer%s.",
		     number(r->excess_mean_bytes), r->stale_max_us == 0 ? ", but in the pages of one" : "");
}

static void say_one(struct text *t, const char *title, const struct replay_result *r)
{
	char first[128];

	snprintf(first, sizeof(first), "%s: %s,", title, r->strategy);
	say(t, first);
	say_cost(t, r);
	t->column += fprintf(t->to, ".");
	say_exposure(t, r);
	end(t);
}

static void say_saving(struct text *t, const struct replay_result *choice, const struct replay_result *safest)
{
	double saved = safest->invalidations
			       ? 100 - 100.0 * (double)choice->invalidations / (double)safest->invalidations
			       : 0;

	sayf(t, "Choose %s:", choice->strategy);
	if (saved > 0)
		sayf(t, "it saves %.*f %% of the invalidations of %s", saved > 99 && saved < 100 ? 1 : 0,
		     saved, safest->strategy);
	else
		sayf(t, "it takes %.0f %% of the time of %s",
		     100 * choice->buffer_mean_ns / safest->buffer_mean_ns, safest->strategy);
	if (choice->stale_max_us > 0)
		sayf(t,
		     "and leaves %s byte-seconds in place of %s, each page for at most %s after its unmap.",
		     number(choice->excess_byte_seconds), number(safest->excess_byte_seconds),
		     duration(choice->stale_max_us));
	else
		sayf(t, "and leaves nothing reachable after unmap either.");
	sayf(t, "Where nothing may be left: %s.", safest->strategy);
	end(t);
}

static void say_choice(struct text *t, const struct replay_result *safest, const struct replay_result *choice)
{
	if (choice != safest) {
		say_saving(t, choice, safest);
		return;
	}
	sayf(t, "Choose %s: nothing that is less safe costs much less on this trace.", safest->strategy);
	end(t);
}

static void say_doubt(struct text *t, const struct field *f, const struct replay_result *choice)
{
	const struct replay_result *barely = find_barely_timed(f, choice);

	if (!is_a_choice(f, choice) || (!barely && !is_doubtful(f, choice)))
		return;
	if (barely)
		sayf(t,
		     "The calls of %s were timed in %s only, so too little tells how far their times can be "
		     "trusted:",
		     barely->strategy, barely->rounds == 1 ? "one round" : "two rounds");
	else
		say(t, "This run was too noisy to judge, as the rounds in which calls were timed differ too "
		       "much:");
	say(t, "another strategy may be the better choice.");
	say(t, barely ? "Run it again with --rounds 3 or more, while the machine does nothing else."
		      : "Run it again while the machine does nothing else.");
	end(t);
}

static bool is_open(const struct replay_result *r)
{
	return !*r->why_not && r->reaches_all;
}

static void say_open(struct text *t, const struct field *f)
{
	unsigned count = 0, said = 0;

	for (size_t i = 0; i < f->count; i++)
		count += is_open(&f->results[i]);
	if (!count)
		return;
	for (size_t i = 0; i < f->count; i++) {
		if (!is_open(&f->results[i]))
			continue;
		said++;
		sayf(t, "%s%s", f->results[i].strategy, said + 1 < count ? "," : said < count ? " and" : "");
	}
	say(t,
	    count > 1 ? "let devices reach all memory, always." : "lets devices reach all memory, always.");
	end(t);
}

const char *replay_kind(const struct replay_result *r)
{
	if (r->reaches_all)
		return "open";
	if (r->stale_max_us == 0)
		return "safe";
	return r->stale_max_us <= BEARABLE_US ? "limited" : "kept";
}

/* NULL: there is none. */
static const struct replay_result *choose(const struct field *f, const struct replay_result *safest)
{
	const struct replay_result *cheapest = find_cheapest(f, BEARABLE_US);

	return cheapest && cheapest->buffer_mean_ns < safest->buffer_mean_ns ? cheapest : safest;
}

const struct replay_result *replay_choice(const struct replay_result *results, size_t count)
{
	const struct field f = {results, count};

	return choose(&f, find_safest(&f, ANY, ANY));
}

void replay_print_advice(FILE *to, const struct replay_result *results, size_t count, int width)
{
	const struct field f = {results, count};
	const struct replay_result *safest = find_safest(&f, ANY, ANY), *cheapest = find_cheapest(&f, ANY),
				   *choice = choose(&f, safest);
	struct text t = {.to = to, .width = width};

	if (safest) {
		say_one(&t, "Safest", safest);
		if (cheapest != safest)
			say_one(&t, "Cheapest that protects at all", cheapest);
		if (count > 1) {
			say_choice(&t, safest, choice);
			say_doubt(&t, &f, choice);
		}
	}
	say_open(&t, &f);
}
