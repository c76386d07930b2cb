/* SPDX-License-Identifier: BSD-3-Clause */
#include "core/requester_table.h"

#include <errno.h>
#include <stdlib.h>

#include "base/bits.h"
#include "core/requester.h"

static struct viommu_requester *of_sibling(struct vi_list *node)
{
	return VI_CONTAINER_OF(node, struct viommu_requester, sibling);
}

static int put_pasid(struct viommu_requester *r)
{
	struct vi_list *node;

	vi_list_for_each (node, &r->device->pasids)
		if (of_sibling(node)->pasid == r->pasid)
			return -EEXIST;
	vi_list_append(&r->device->pasids, &r->sibling);
	return 0;
}

static int put_device(struct vi_requesters *t, struct viommu_requester *r)
{
	struct viommu_requester ***bus = &t->buses[r->rid >> 8], **place;

	if (!*bus)
		*bus = calloc(VI_FUNCTIONS_OF_A_BUS, sizeof(**bus));
	if (!*bus)
		return -ENOMEM;
	place = &(*bus)[r->rid & 0xff];
	if (*place)
		return -EEXIST;
	*place = r;
	return 0;
}

int vi_requesters_put(struct vi_requesters *t, struct viommu_requester *r)
{
	return r->device == r ? put_device(t, r) : put_pasid(r);
}

void vi_requesters_take(struct vi_requesters *t, struct viommu_requester *r)
{
	if (r->device == r)
		t->buses[r->rid >> 8][r->rid & 0xff] = NULL;
	else
		vi_list_remove(&r->sibling);
}

struct viommu_requester *vi_requesters_find(const struct vi_requesters *t, uint16_t rid)
{
	struct viommu_requester **functions = t->buses[rid >> 8];

	return functions ? functions[rid & 0xff] : NULL;
}

struct viommu_requester *vi_requesters_next(const struct vi_requesters *t, const struct viommu_requester *r)
{
	struct vi_list *sibling = !r ? NULL : r->device == r ? r->pasids.next : r->sibling.next;
	unsigned rid = r ? r->rid + 1u : 0;

	if (r && sibling != &r->device->pasids)
		return of_sibling(sibling);
	while (rid < VI_BUSES * VI_FUNCTIONS_OF_A_BUS) {
		struct viommu_requester **functions = t->buses[rid >> 8];

		if (!functions)
			rid = (rid | 0xff) + 1;
		else if (functions[rid & 0xff])
			return functions[rid & 0xff];
		else
			rid++;
	}
	return NULL;
}

void vi_requesters_finish(struct vi_requesters *t)
{
	for (unsigned bus = 0; bus < VI_BUSES; bus++)
		free(t->buses[bus]);
}
