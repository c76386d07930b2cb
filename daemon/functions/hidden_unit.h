/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A PCI function that carries a unit's registers in a BAR, and hides once firmware
 * has placed them, as a firmware table tells the guest where they are: what all
 * such units do in one way, whatever their model. Its client's memory is the memory
 * of the unit.
 */
#ifndef DAEMON_FUNCTIONS_HIDDEN_UNIT_H
#define DAEMON_FUNCTIONS_HIDDEN_UNIT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <viommu/viommu.h>

#include "daemon/functions/function.h"
#include "daemon/functions/hidden_config.h"
#include "daemon/functions/kind.h"
#include "daemon/functions/lost_registers.h"
#include "daemon/functions/register_pages.h"

/* Options of the library's model. */
union hidden_options {
	struct viommu_vtd_options vtd;
	struct viommu_amdvi_options amdvi;
};

/* What differs from model to model. */
struct hidden_model {
	const struct function_ops *ops;
	enum viommu_model model;
	enum iommu_model choice; /* as the user asks for it */
	const char *table;	 /* of firmware: "DMAR", say */
	unsigned number;	 /* of the function in its slot */
	/*
	 * A trapped write is to be over when the guest goes on. QEMU waits for writes
	 * only of a BAR of which a part can be mapped, so one that holds no register can.
	 */
	bool answers_writes;
	void (*set_options)(union hidden_options *ret_options, const struct iommu_choice *choice);
};

struct hidden_unit {
	struct function base;
	const struct hidden_model *model;
	struct log_bucket placement; /* of a wrong address, which must not drown among other lines */
	union hidden_options own;
	struct viommu_options options; /* of the unit */
	struct hidden_config config;

	struct register_pages pages; /* in sidecore mode */
	_Atomic bool sends;	     /* interrupts; main thread writes, senders of interrupts read */

	/* Where the registers are, and should be. */
	uint64_t placements; /* times that firmware enabled decoding */
	bool expected, mismatch;
	uint64_t expected_base;
	struct lost_registers lost;
};

/* As function_kind.create. */
int hidden_unit_create(const struct hidden_model *model, struct host *host, const struct vm_options *o,
		       unsigned index, struct function **ret_function, char *why, size_t why_size);

/* Members of function_ops. */
void hidden_unit_poll(struct function *function, unsigned budget, struct function_look *look);
bool hidden_unit_has_silent_work(const struct function *function);
bool hidden_unit_send(struct function *function, uint64_t address, uint32_t data);
int64_t hidden_unit_save(struct function *function, void *buf, size_t size);
int hidden_unit_restore_check(struct function *function, const void *state, size_t length);
void hidden_unit_restore(struct function *function, const void *state, size_t length);
void hidden_unit_describe(struct function *function, struct json_object *object);
void hidden_unit_expect(struct function *function, uint64_t base);
bool hidden_unit_has_registers_in(const struct function *function, uint64_t first, uint64_t size);
void hidden_unit_device_used(struct function *function);
void hidden_unit_destroy(struct function *function);

/* Errors, the pages of registers, and the timer of lost registers. */
#define HIDDEN_UNIT_DESCRIPTORS (SERVER_DESCRIPTORS + 3)

#endif
