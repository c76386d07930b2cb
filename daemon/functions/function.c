/* SPDX-License-Identifier: BSD-3-Clause */
#include "daemon/functions/function.h"

#include <stdio.h>

#include "control/message.h"
#include "vfio_user/server.h"

void function_describe_socket(const struct function *f, struct json_object *object)
{
	char address[32];

	snprintf(address, sizeof(address), "%x.%u", f->devfn >> 3, f->devfn & 7);
	control_set_string(object, "socket", f->socket);
	control_set_string(object, "address", address);
	control_set_bool(object, "connected", vfu_server_connected(f->server));
}
