/* SPDX-License-Identifier: BSD-3-Clause */
/* What is served, to whom, and where the firmware tables say that it is. Main thread. */
#ifndef DAEMON_COMMANDS_STATUS_H
#define DAEMON_COMMANDS_STATUS_H

#include <json-c/json.h>

struct vm;

struct json_object *status_tell(struct vm *vm, struct json_object *request);
/* {"base"}, and {"iommu"} of another unit than the first: as function_ops.expect. */
struct json_object *status_expect(struct vm *vm, struct json_object *request);

#endif
