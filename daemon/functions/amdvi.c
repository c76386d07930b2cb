/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The PCI function that carries the registers of an AMD-Vi unit, function 1 of its
 * slot. Function 0, which the guest sees (amdvi_pci.c), has the capabilities and
 * raises the unit's interrupt.
 */
#include "daemon/functions/hidden_unit.h"

#include "control/message.h"
#include "daemon/functions/unit.h"

#define EFR  0x30
#define EFR2 0x1a0

/* What the IVRS table repeats of the registers. */
static void describe(struct function *function, struct json_object *object)
{
	uint64_t efr = 0, efr2 = 0;

	hidden_unit_describe(function, object);
	viommu_regs_read(function->unit->v, EFR, 8, &efr);
	viommu_regs_read(function->unit->v, EFR2, 8, &efr2);
	control_set_u64(object, "efr", efr);
	control_set_u64(object, "efr2", efr2);
}

static const struct function_ops function_ops = {
	.kind = "iommu",
	.model = "amdvi",
	.protects = true,
	.state_kind = 6,
	.poll = hidden_unit_poll,
	.has_silent_work = hidden_unit_has_silent_work,
	.save = hidden_unit_save,
	.restore_check = hidden_unit_restore_check,
	.restore = hidden_unit_restore,
	.describe = describe,
	.expect = hidden_unit_expect,
	.has_registers_in = hidden_unit_has_registers_in,
	.device_used = hidden_unit_device_used,
	.destroy = hidden_unit_destroy,
};

static void set_options(union hidden_options *ret_options, const struct iommu_choice *choice)
{
	(void)choice;
	ret_options->amdvi = (struct viommu_amdvi_options){.sz = sizeof(ret_options->amdvi)};
}

static int create(struct host *host, const struct vm_options *o, unsigned index,
		  struct function **ret_function, char *why, size_t why_size)
{
	static const struct hidden_model model = {
		.ops = &function_ops,
		.model = VIOMMU_MODEL_AMDVI,
		.choice = IOMMU_AMDVI,
		.table = "IVRS",
		.number = 1,
		.answers_writes = true,
		.set_options = set_options,
	};

	return hidden_unit_create(&model, host, o, index, ret_function, why, why_size);
}

static unsigned count(const struct vm_options *o)
{
	return options_iommu_count(o, IOMMU_AMDVI);
}

const struct function_kind amdvi_kind = {
	.max = IOMMU_MAX,
	.descriptors = HIDDEN_UNIT_DESCRIPTORS,
	.count = count,
	.create = create,
};
