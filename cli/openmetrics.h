/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A reply to the control command `stat` as OpenMetrics text, which ends in
 * "# EOF". Counters become viommu_NAME, of each device viommu_device_NAME and
 * of each domain viommu_domain_NAME, with the help of the daemon's table; ns
 * become seconds. Each sample says which daemon by dir="...". With several units
 * devices and domains have the label iommu="...". In a reply about one unit alone all samples of the
 * unit have it; those of the VM and of the sidecore are not the unit's and never do.
 *
 * Only types that the older Prometheus text format has too are used, so that
 * node_exporter's textfile collector reads it.
 */
#ifndef CLI_OPENMETRICS_H
#define CLI_OPENMETRICS_H

#include <stdio.h>

#include <json-c/json.h>

#define OPENMETRICS_CONTENT_TYPE "application/openmetrics-text; version=1.0.0; charset=utf-8"

/* `unit`: the one that the reply is about; NULL: all. */
void openmetrics_write(FILE *out, struct json_object *stat, const char *unit);

#endif
