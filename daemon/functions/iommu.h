/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The PCI function that carries the registers of the VT-d unit. Its client's
 * memory is the memory of the unit. All functions: main thread.
 */
#ifndef DAEMON_FUNCTIONS_IOMMU_H
#define DAEMON_FUNCTIONS_IOMMU_H

#include <stdbool.h>
#include <stdint.h>

#include <json-c/json.h>

#include "daemon/functions/hidden_config.h"
#include "daemon/functions/unit.h"

struct iommu_function;

/* 0 or a negative errno; *ret_why then says in words what failed. */
int iommu_function_create(struct vm *vm, struct iommu_function **ret_function, const char **ret_why);
/* The work thread has ended and no requester is left. NULL is fine. */
void iommu_function_destroy(struct iommu_function *f);

struct unit *iommu_function_unit(struct iommu_function *f);
struct vfu_server *iommu_function_server(struct iommu_function *f);

/*
 * The DMAR table of this machine says that the registers are at `base`:
 * complain, and remember, when firmware places them elsewhere from now on.
 */
void iommu_function_expect(struct iommu_function *f, uint64_t base);
/* A controller begins to master the bus. */
void iommu_function_device_used(struct iommu_function *f);
/* Is a client there that may write to the shared page? [any thread] */
bool iommu_function_is_polled(const struct iommu_function *f);
/* The PCI function's own state; the main thread waits meanwhile. [work thread] */
void iommu_function_save(const struct iommu_function *f, struct hidden_state *ret_state);
/* `state` is a struct hidden_state of `length` bytes, from anywhere. [any thread] */
bool iommu_function_can_be(const void *state, size_t length);
/* Take over one that can be. [work thread] */
void iommu_function_restore(struct iommu_function *f, const void *state);
/* Fill in what `status` tells about it, and about the expectation. */
void iommu_function_describe(const struct iommu_function *f, struct json_object *function,
			     struct json_object *status);

#endif
