/* SPDX-License-Identifier: BSD-3-Clause */
/* The PCI function that carries the registers of a VT-d unit. Its fault interrupt goes out through it. */
#include "daemon/functions/hidden_unit.h"

static const struct function_ops function_ops = {
	.kind = "iommu",
	.model = "vtd",
	.protects = true,
	.state_kind = 1,
	.poll = hidden_unit_poll,
	.has_silent_work = hidden_unit_has_silent_work,
	.save = hidden_unit_save,
	.restore_check = hidden_unit_restore_check,
	.restore = hidden_unit_restore,
	.send = hidden_unit_send,
	.describe = hidden_unit_describe,
	.expect = hidden_unit_expect,
	.has_registers_in = hidden_unit_has_registers_in,
	.device_used = hidden_unit_device_used,
	.destroy = hidden_unit_destroy,
};

static void set_options(union hidden_options *ret_options, const struct iommu_choice *choice)
{
	ret_options->vtd = (struct viommu_vtd_options){
		.sz = sizeof(ret_options->vtd),
		.caching_mode = choice->caching_mode,
		.only_39bit = choice->width == 39,
	};
}

static int create(struct host *host, const struct vm_options *o, unsigned index,
		  struct function **ret_function, char *why, size_t why_size)
{
	static const struct hidden_model model = {
		.ops = &function_ops,
		.model = VIOMMU_MODEL_VTD,
		.choice = IOMMU_VTD,
		.table = "DMAR",
		.set_options = set_options,
	};

	return hidden_unit_create(&model, host, o, index, ret_function, why, why_size);
}

static unsigned count(const struct vm_options *o)
{
	return options_iommu_count(o, IOMMU_VTD);
}

const struct function_kind vtd_kind = {
	.max = IOMMU_MAX,
	.descriptors = HIDDEN_UNIT_DESCRIPTORS,
	.count = count,
	.create = create,
};
