/* SPDX-License-Identifier: BSD-3-Clause */
#include "daemon/counters.h"

#include <assert.h>
#include <stdio.h>

#include <viommu/viommu.h>

static const struct counter_info own[] = {
#define X(name, unit, doc, flags) {#name, unit, doc, COUNTER_SIDECORE, flags},
	SIDECORE_COUNTERS(X)
#undef X
#define X(name, unit, doc, flags) {#name, unit, doc, COUNTER_VM, flags},
		VM_COUNTERS(X)
#undef X
};

#define OWN_COUNT (sizeof(own) / sizeof(own[0]))

size_t counters_describe(struct counter_info ret_infos[COUNTERS_MAX])
{
	const struct viommu_counter_info *infos;
	size_t count;

	infos = viommu_counters_describe(&count);
	assert(count + OWN_COUNT <= COUNTERS_MAX);
	for (size_t i = 0; i < count; i++)
		ret_infos[i] = (struct counter_info){infos[i].name, infos[i].unit, infos[i].doc, COUNTER_UNIT,
						     infos[i].flags};
	for (size_t i = 0; i < OWN_COUNT; i++)
		ret_infos[count + i] = own[i];
	return count + OWN_COUNT;
}

void counters_print(void)
{
	static const char *const scopes[] = {
		[COUNTER_UNIT] = "iommu", [COUNTER_SIDECORE] = "sidecore", [COUNTER_VM] = "vm"};
	struct counter_info infos[COUNTERS_MAX];
	size_t count = counters_describe(infos);

	for (size_t i = 0; i < count; i++)
		printf("%s\t%s\t%s%s%s%s\t%s\n", infos[i].name, infos[i].unit, scopes[infos[i].scope],
		       infos[i].flags & VIOMMU_COUNTER_OF_DEVICE ? ",device" : "",
		       infos[i].flags & VIOMMU_COUNTER_OF_DOMAIN ? ",domain" : "",
		       infos[i].flags & VIOMMU_COUNTER_MAXIMUM ? ",maximum" : "", infos[i].doc);
}
