/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the guest's tables let a device do, as the commands `reach` and `dump`
 * tell it. Main thread.
 */
#ifndef DAEMON_COMMANDS_DEVICE_TABLES_H
#define DAEMON_COMMANDS_DEVICE_TABLES_H

#include <json-c/json.h>

#include <viommu/viommu.h>

struct control_work;
struct function;
struct vm;

struct json_object *device_reach(struct vm *vm, struct json_object *request, struct control_work **ret_work);
struct json_object *device_dump(struct vm *vm, struct json_object *request, struct control_work **ret_work);

/* As "paged". */
const char *device_translation_text(enum viommu_translation translation);
/* Fill in what the device's entries say now. */
void device_describe(struct function *f, struct json_object *ret_info);

#endif
