/* SPDX-License-Identifier: BSD-3-Clause */
/* What the guest's tables say about a device, for people. */
#include <errno.h>
#include <string.h>

#include "base/bits.h"
#include "core/requester.h"
#include "core/unit.h"

/* A model whose translator is none of page tables has said so. */
static enum viommu_translation kind(const struct vi_translation *t, const struct viommu_requester_info *info)
{
	if (info->reason)
		return VIOMMU_TRANSLATION_BLOCKED;
	if (info->translation != VIOMMU_TRANSLATION_OFF)
		return info->translation;
	if (t->kind == VI_TRANSLATION_BY_TRANSLATOR)
		return VIOMMU_TRANSLATION_PAGED;
	return t->has_domain ? VIOMMU_TRANSLATION_PASS_THROUGH : VIOMMU_TRANSLATION_OFF;
}

static void tell(struct viommu_requester_info *info, const struct vi_translation *t)
{
	if (info->translation == VIOMMU_TRANSLATION_OFF || info->translation == VIOMMU_TRANSLATION_BLOCKED)
		return;
	info->domain_id = t->domain_id;
	info->address_width = t->last ? (uint8_t)(64 - __builtin_clzll(t->last)) : 0;
}

int viommu_requester_describe(struct viommu_requester *r, struct viommu_requester_info *ret_info)
{
	struct viommu_requester_info info = {
		.sz = ret_info->sz, .rid = r->rid, .text = "", .pasid = r->pasid};
	const struct vi_model_ops *model = vi_requester_model(r);
	struct vi_translation t = vi_translation_none();
	struct viommu *v = r->unit;

	if (info.sz < sizeof(info.sz))
		return -EINVAL;
	vi_lock_take(&v->lock);
	if (model)
		info.reason = model->describe(v->model_state, r->rid, r->pasid, &t, &info);
	info.cached = atomic_load_explicit(&r->context, memory_order_relaxed) != NULL;
	vi_lock_give(&v->lock);
	info.translation = kind(&t, &info);
	info.faults_silent = t.silent && info.translation != VIOMMU_TRANSLATION_OFF;
	if (info.reason)
		info.text = model->reason_text(info.reason);
	tell(&info, &t);
	memcpy(ret_info, &info, vi_min(info.sz, sizeof(info)));
	return 0;
}
