/* SPDX-License-Identifier: BSD-3-Clause */
#include "cli/replay/meter.h"

void meter_init(struct meter *m, uint64_t end_ns)
{
	*m = (struct meter){.end_ns = end_ns};
	m->series.point_ns = end_ns / REPLAY_POINTS + 1;
	m->series.count = (unsigned)(end_ns / m->series.point_ns) + 1;
}

/* The averages are sums until a point is over, and then divided by its length, which the last may not reach.
 */
static void add_to_point(struct meter *m, unsigned i, uint64_t from, uint64_t to)
{
	struct replay_series *s = &m->series;
	struct replay_point *p = &s->points[i];
	uint64_t begin = i * s->point_ns, end = begin + s->point_ns;
	double part;

	if (end > m->end_ns)
		end = m->end_ns > begin ? m->end_ns : begin + 1;
	part = (double)(to - from) / (double)(end - begin);
	p->mapped_pages += part * (double)m->mapped.now;
	p->excess_bytes += part * (double)m->excess.now;
	if (m->mapped.now > p->most_mapped_pages)
		p->most_mapped_pages = m->mapped.now;
}

static void add_to_series(struct meter *m, uint64_t from, uint64_t to)
{
	struct replay_series *s = &m->series;

	while (from < to) {
		unsigned i = (unsigned)(from / s->point_ns);
		uint64_t end = (i + 1) * s->point_ns;

		if (i >= s->count)
			return;
		if (end > to)
			end = to;
		add_to_point(m, i, from, end);
		from = end;
	}
}

void meter_advance(struct meter *m, uint64_t now_ns)
{
	double elapsed = (double)(now_ns - m->now_ns);

	if (now_ns <= m->now_ns)
		return;
	m->mapped.total += elapsed * (double)m->mapped.now;
	m->pinned.total += elapsed * (double)m->pinned.now;
	m->excess.total += elapsed * (double)m->excess.now;
	add_to_series(m, m->now_ns, now_ns);
	m->now_ns = now_ns;
}

double meter_mean(const struct meter *m, const struct gauge *g)
{
	return m->now_ns ? g->total / (double)m->now_ns : (double)g->now;
}
