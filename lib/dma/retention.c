/* SPDX-License-Identifier: BSD-3-Clause */
#include "dma/retention.h"

#include "base/bits.h"

void vi_retention_init(struct vi_retention *r, uint64_t limit_ns, uint64_t quota)
{
	*r = (struct vi_retention){.limit_ns = limit_ns, .quota = quota};
	vi_list_init(&r->dead);
}

static struct vi_retained *item_of(struct vi_list *link)
{
	return VI_CONTAINER_OF(link, struct vi_retained, link);
}

void vi_retention_add(struct vi_retention *r, struct vi_retained *item, uint64_t weight, uint64_t now_ns)
{
	if (!vi_list_is_empty(&r->dead))
		now_ns = vi_max(now_ns, item_of(r->dead.prev)->since_ns);
	item->since_ns = now_ns;
	item->weight = weight;
	r->weight += weight;
	r->count++;
	vi_list_append(&r->dead, &item->link);
}

void vi_retention_remove(struct vi_retention *r, struct vi_retained *item)
{
	vi_list_remove(&item->link);
	r->weight -= item->weight;
	r->count--;
}

bool vi_retention_is_due(const struct vi_retention *r, uint64_t now_ns)
{
	return r->weight > r->quota || vi_retention_next_ns(r) <= now_ns;
}

struct vi_retained *vi_retention_take_due(struct vi_retention *r, uint64_t now_ns)
{
	return vi_retention_is_due(r, now_ns) ? vi_retention_take_oldest(r) : NULL;
}

struct vi_retained *vi_retention_take_oldest(struct vi_retention *r)
{
	struct vi_retained *item;

	if (vi_list_is_empty(&r->dead))
		return NULL;
	item = item_of(r->dead.next);
	vi_retention_remove(r, item);
	return item;
}

uint64_t vi_retention_next_ns(const struct vi_retention *r)
{
	uint64_t due;

	if (vi_list_is_empty(&r->dead) ||
	    __builtin_add_overflow(item_of(r->dead.next)->since_ns, r->limit_ns, &due))
		return UINT64_MAX;
	return due;
}
