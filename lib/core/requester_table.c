/* SPDX-License-Identifier: BSD-3-Clause */
#include "core/requester_table.h"

#include <errno.h>
#include <stdlib.h>

#include "core/requester.h"

int vi_requesters_put(struct vi_requesters *t, struct viommu_requester *r)
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

void vi_requesters_take(struct vi_requesters *t, const struct viommu_requester *r)
{
	t->buses[r->rid >> 8][r->rid & 0xff] = NULL;
}

struct viommu_requester *vi_requesters_find(const struct vi_requesters *t, uint16_t rid)
{
	struct viommu_requester **functions = t->buses[rid >> 8];

	return functions ? functions[rid & 0xff] : NULL;
}

struct viommu_requester *vi_requesters_next(const struct vi_requesters *t, const struct viommu_requester *r)
{
	unsigned rid = r ? r->rid + 1u : 0;

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
