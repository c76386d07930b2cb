/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Pictures of a report, as SVG that takes its colours from the page: cost against
 * exposure, and mapped pages over time. Logarithmic where the values are, with a
 * place of its own for zero.
 */
#include <math.h>
#include <string.h>

#include "cli/replay/output.h"

#define WIDTH	940.0
#define LEFT	70.0
#define RIGHT	20.0
#define TOP	16.0
#define POINTS	64 /* strategies that are drawn */
#define ASCENT	4.0
#define CHAR	6.6 /* width of one, about */
#define COLOURS 12

/* From lowest to highest by powers of ten; zero, if there is one, lies below the lowest. */
struct axis {
	double lowest, highest; /* decades */
	bool has_zero;
	double from, to; /* pixels */
};

static void widen(struct axis *a, double value)
{
	if (value <= 0) {
		a->has_zero = true;
		return;
	}
	if (floor(log10(value)) < a->lowest)
		a->lowest = floor(log10(value));
	if (ceil(log10(value) + 0.02) > a->highest)
		a->highest = ceil(log10(value) + 0.02);
}

/* Zero gets the first seventh. */
static double place(const struct axis *a, double value)
{
	double begin = a->has_zero ? a->from + (a->to - a->from) / 7 : a->from;

	if (value <= 0)
		return a->from + (a->to - a->from) / 28;
	if (log10(value) < a->lowest)
		return begin;
	return begin + (log10(value) - a->lowest) / (a->highest - a->lowest) * (a->to - begin);
}

static struct axis axis_of(double from, double to)
{
	return (struct axis){.lowest = 99, .highest = -99, .from = from, .to = to};
}

static void settle(struct axis *a)
{
	if (a->lowest > a->highest) {
		a->lowest = 0;
		a->highest = 1;
	}
	if (a->highest - a->lowest < 1)
		a->highest = a->lowest + 1;
}

/* ------------------------------------------------------------------- the elements */

static void line(FILE *to, const char *class, double x1, double y1, double x2, double y2)
{
	fprintf(to, "<line class=\"%s\" x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\"/>\n", class, x1, y1,
		x2, y2);
}

static void label(FILE *to, const char *class, const char *anchor, double x, double y, const char *text)
{
	fprintf(to, "<text class=\"%s\" text-anchor=\"%s\" x=\"%.1f\" y=\"%.1f\">", class, anchor, x, y);
	replay_print_escaped(to, text);
	fprintf(to, "</text>\n");
}

static void begin(FILE *to, double height, const char *title)
{
	fprintf(to, "<svg viewBox=\"0 0 %.0f %.0f\" role=\"img\" aria-label=\"%s\">\n", WIDTH, height, title);
}

static void format_bytes(double value, char *text, size_t size)
{
	replay_format_number(value, text, size);
	strncat(text, "B", size - strlen(text) - 1);
}

static void format_ns(double value, char *text, size_t size)
{
	replay_format_time(value / 1e3, text, size);
}

static void draw_y(FILE *to, const struct axis *y, void (*format)(double, char *, size_t))
{
	char text[32];

	for (double decade = y->lowest; decade <= y->highest; decade++) {
		double at = place(y, pow(10, decade));

		format(pow(10, decade), text, sizeof(text));
		line(to, "grid", LEFT, at, WIDTH - RIGHT, at);
		label(to, "tick", "end", LEFT - 8, at + ASCENT, text);
	}
	if (y->has_zero) {
		line(to, "grid", LEFT, place(y, 0), WIDTH - RIGHT, place(y, 0));
		label(to, "tick", "end", LEFT - 8, place(y, 0) + ASCENT, "none");
	}
}

/* ------------------------------------------------------------- cost against exposure */

/* A strategy's place, and that of its name. */
struct mark {
	const struct replay_result *r;
	double x, y, median_x, label_x, label_y, width;
	const char *anchor;
};

static bool overlaps(const struct mark *m, double x, double y, const struct mark *other)
{
	double left = other->anchor[0] == 'e' ? other->label_x - other->width : other->label_x;

	if (x < left + other->width && left < x + m->width && fabs(y - other->label_y) < 13)
		return true;
	return other->x > x - 8 && other->x < x + m->width + 8 && fabs(other->y - y + ASCENT) < 10;
}

static bool is_free(const struct mark *marks, unsigned count, unsigned i, double x, double y)
{
	if (x < LEFT || x + marks[i].width > WIDTH)
		return false;
	for (unsigned k = 0; k < count; k++) {
		if (k < i && overlaps(&marks[i], x, y, &marks[k]))
			return false;
		if (k > i && marks[k].x > x - 8 && marks[k].x < x + marks[i].width + 8 &&
		    fabs(marks[k].y - y + ASCENT) < 9)
			return false;
	}
	return true;
}

/* Beside its point, where no other name or point is; else further up or down. */
static void find_label_place(struct mark *marks, unsigned count, unsigned i)
{
	struct mark *m = &marks[i];

	for (unsigned away = 0; away < 14; away++) {
		double dy = (away + 1) / 2 * 13.0 * (away % 2 ? -1 : 1);

		for (unsigned left = 0; left < 2; left++) {
			double x = left ? m->x - 13 - m->width : m->x + 13, y = m->y + ASCENT + dy;

			if (y < TOP || !is_free(marks, count, i, x, y))
				continue;
			m->label_x = left ? x + m->width : x;
			m->label_y = y;
			m->anchor = left ? "end" : "start";
			return;
		}
	}
}

static void draw_mark(FILE *to, const struct mark *m, bool chosen)
{
	if (fabs(m->label_y - ASCENT - m->y) > 6)
		line(to, "leader", m->x, m->y, m->anchor[0] == 'e' ? m->label_x + 2 : m->label_x - 2,
		     m->label_y - ASCENT);
	line(to, "spread", m->x, m->y, m->median_x, m->y);
	if (chosen)
		fprintf(to, "<circle class=\"chosen\" cx=\"%.1f\" cy=\"%.1f\" r=\"11\"/>\n", m->x, m->y);
	fprintf(to, "<circle class=\"point %s\" cx=\"%.1f\" cy=\"%.1f\" r=\"6\"/>\n", replay_kind(m->r), m->x,
		m->y);
	label(to, chosen ? "name choice" : "name", m->anchor, m->label_x, m->label_y, m->r->strategy);
}

/* Half and double between the powers of ten. */
static void draw_cost_axis(FILE *to, const struct axis *x, double bottom)
{
	static const double steps[] = {1, 2, 5};
	char text[32];

	for (double decade = x->lowest; decade <= x->highest; decade++) {
		for (unsigned i = 0; i < 3; i++) {
			double value = pow(10, decade) * steps[i];

			if (value > pow(10, x->highest) * 1.001)
				break;
			format_ns(value, text, sizeof(text));
			line(to, i ? "grid faint" : "grid", place(x, value), TOP, place(x, value), bottom);
			label(to, "tick", "middle", place(x, value), bottom + 18, text);
		}
	}
	label(to, "title", "end", WIDTH - RIGHT, bottom + 38, "cost: time for a buffer, from map to unmap");
}

void replay_print_costs_chart(FILE *to, const struct replay_report *r)
{
	const double height = 420, bottom = height - 50;
	const struct replay_result *choice = replay_choice(r->results, r->count);
	struct axis x = axis_of(LEFT, WIDTH - RIGHT), y = axis_of(bottom, TOP + 14);
	struct mark marks[POINTS];
	unsigned count = 0;

	for (size_t i = 0; i < r->count && count < POINTS; i++) {
		if (*r->results[i].why_not)
			continue;
		marks[count++] = (struct mark){.r = &r->results[i],
					       .width = CHAR * (double)strlen(r->results[i].strategy),
					       .anchor = "start"};
		widen(&x, r->results[i].buffer_mean_ns);
		widen(&x, r->results[i].buffer_median_ns);
		widen(&y, r->results[i].excess_mean_bytes);
	}
	settle(&x);
	settle(&y);
	begin(to, height, "cost against exposure");
	draw_y(to, &y, format_bytes);
	draw_cost_axis(to, &x, bottom);
	label(to, "title", "start", 0, TOP, "exposure: bytes in reach that no buffer needs");
	for (unsigned i = 0; i < count; i++) {
		marks[i].x = place(&x, marks[i].r->buffer_mean_ns);
		marks[i].median_x = place(&x, marks[i].r->buffer_median_ns);
		marks[i].y = place(&y, marks[i].r->excess_mean_bytes);
		marks[i].label_x = marks[i].x + 13;
		marks[i].label_y = marks[i].y + ASCENT;
	}
	for (unsigned i = 0; i < count; i++)
		find_label_place(marks, count, i);
	for (unsigned i = 0; i < count; i++)
		draw_mark(to, &marks[i], marks[i].r == choice);
	fprintf(to, "</svg>\n");
}

/* ----------------------------------------------------------------- pages over time */

static void draw_series(FILE *to, const struct replay_result *r, unsigned colour, const struct axis *y,
			double duration_ns)
{
	const struct replay_series *s = &r->series;
	double width = WIDTH - LEFT - RIGHT;

	fprintf(to, "<polyline class=\"series c%u\" points=\"", colour);
	for (unsigned i = 0; i < s->count; i++) {
		double at = ((double)i + 0.5) * (double)s->point_ns / duration_ns;

		fprintf(to, "%.1f,%.1f ", LEFT + (at < 1 ? at : 1) * width,
			place(y, s->points[i].mapped_pages));
	}
	fprintf(to, "\"><title>");
	replay_print_escaped(to, r->strategy);
	fprintf(to, "</title></polyline>\n");
}

static void draw_time_axis(FILE *to, double seconds, double bottom)
{
	double step = pow(10, floor(log10(seconds)));
	char text[32];

	if (seconds / step < 2.5)
		step /= 5;
	else if (seconds / step < 5)
		step /= 2;
	for (unsigned i = 0; i * step <= seconds; i++) {
		double x = LEFT + i * step / seconds * (WIDTH - LEFT - RIGHT);

		replay_format_time(i * step * 1e6, text, sizeof(text));
		line(to, "grid faint", x, TOP, x, bottom);
		label(to, "tick", "middle", x, bottom + 18, text);
	}
}

static void draw_legend(FILE *to, const struct replay_report *r, double top)
{
	unsigned drawn = 0;

	for (size_t i = 0; i < r->count; i++) {
		double x = LEFT + drawn % 5 * 170.0, y = top + drawn / 5 * 20.0;

		if (*r->results[i].why_not)
			continue;
		fprintf(to, "<line class=\"series c%zu\" x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\"/>\n",
			i % COLOURS, x, y, x + 26, y);
		label(to, "name", "start", x + 32, y + ASCENT, r->results[i].strategy);
		drawn++;
	}
}

void replay_print_pages_chart(FILE *to, const struct replay_report *r)
{
	const double height = 330, bottom = 240;
	struct axis y = axis_of(bottom, TOP + 14);
	double seconds = 0;

	for (size_t i = 0; i < r->count; i++) {
		const struct replay_series *s = &r->results[i].series;

		for (unsigned k = 0; k < s->count; k++)
			widen(&y, s->points[k].mapped_pages);
		if (r->results[i].duration_s > seconds)
			seconds = r->results[i].duration_s;
	}
	settle(&y);
	if (y.lowest < 0)
		y.lowest = 0; /* less than a page on average */
	settle(&y);
	if (seconds <= 0)
		seconds = 1e-9;
	begin(to, height, "mapped pages over time");
	draw_y(to, &y, replay_format_number);
	draw_time_axis(to, seconds, bottom);
	label(to, "title", "start", 0, TOP, "pages mapped");
	for (size_t i = 0; i < r->count; i++)
		if (!*r->results[i].why_not)
			draw_series(to, &r->results[i], (unsigned)(i % COLOURS), &y, seconds * 1e9);
	draw_legend(to, r, bottom + 42);
	fprintf(to, "</svg>\n");
}
