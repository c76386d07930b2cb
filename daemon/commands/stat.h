/* SPDX-License-Identifier: BSD-3-Clause */
/* What was counted and refused so far, as the commands `stat` and `counters` tell it. Main thread. */
#ifndef DAEMON_COMMANDS_STAT_H
#define DAEMON_COMMANDS_STAT_H

#include <json-c/json.h>

struct vm;

/* Both take {"iommu": NAME}: of that unit, and of the devices behind it, alone. */

/* {"counters": {name: {"value", "unit", "doc"}}} */
struct json_object *stat_counters(struct vm *vm, struct json_object *request);

/* clang-format off: it would join the lines of the table */
/*
 * All, in one reply whose size is bounded:
 *
 *   time_ns           when, by the monotonic clock
 *   tables            what there is: [{name, unit, doc, scope, per_device, per_domain, maximum}]
 *   counters          {name: value} for the VM, its units together
 *   units             [{iommu, translation, counters}]: each apart, by its name
 *   sidecore          {name: value}, and busy_share since it started; all VMs of the daemon share it
 *   drains            p50_ns, p99_ns (upper bounds), worst_ns, buckets [{at_most_ns, count}]
 *   faults_by_reason  [{reason, text, count}]
 *   last_faults       [{number, ago_ns, iommu, device, address, write, iova, reason, text}],
 *                     the youngest at the end
 *   devices           [{iommu, device, address, translation, domain, counters}]
 *   domains           [{iommu, domain, devices, counters}], the most active first
 *   domains_rest      counters of domains that are not told apart any more
 *   no_domain         counters of accesses that no domain is charged with
 */
/* clang-format on */
struct json_object *stat_all(struct vm *vm, struct json_object *request);

#endif
