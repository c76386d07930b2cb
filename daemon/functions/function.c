/* SPDX-License-Identifier: BSD-3-Clause */
#include "daemon/functions/function.h"

#include <stdio.h>

#include "control/message.h"
#include "daemon/functions/host.h"
#include "daemon/functions/unit.h"
#include "vfio_user/server.h"

void function_describe_socket(const struct function *f, struct json_object *object)
{
	char address[32];

	snprintf(address, sizeof(address), "%x.%u", f->devfn >> 3, f->devfn & 7);
	control_set_string(object, "socket", f->socket);
	control_set_string(object, "address", address);
	control_set_bool(object, "connected", vfu_server_connected(f->server));
}

void function_socket_of_unit(struct function *f, unsigned number)
{
	char name[28] = "iommu.sock";

	if (number)
		snprintf(name, sizeof(name), "iommu%u.sock", number);
	directory_socket(f->host->directory, name, f->socket);
}

void function_init_logs(struct function *f)
{
	log_bucket_init(&f->log, f->host->label);
	log_bucket_init(&f->sessions, f->host->label);
}

void function_connected(void *device)
{
	struct function *f = device;

	if (f->host->verbose)
		log_limited(&f->sessions, "%s: a client is there", f->name);
}

void function_disconnected(void *device, const char *why)
{
	struct function *f = device;

	if (f->host->verbose)
		log_limited(&f->sessions, "%s: the client is gone: %s", f->name,
			    why ? why : "no reason known");
}

void function_log(void *device, const char *line)
{
	struct function *f = device;

	log_limited(&f->log, "%s: %s", f->name, line);
}

int function_lend(void *device, const struct vfu_dma_map *map)
{
	struct function *f = device;

	return unit_lend(f->unit, map);
}

void function_take_back(void *device, uint64_t iova, uint64_t size)
{
	struct function *f = device;

	unit_take_back(f->unit, iova, size);
}
