/* SPDX-License-Identifier: BSD-3-Clause */
#include "vfio_user/version.h"

#include <errno.h>
#include <inttypes.h>
#include <json-c/json.h>
#include <stdio.h>
#include <string.h>

#include "vfio_user/protocol.h"

/* Nesting that the parser follows: ours is three deep, and QEMU's too. */
#define MAX_DEPTH 8
#define MAX_TEXT  (8u << 10) /* QEMU sends 300 bytes; what is parsed at once takes a millisecond or two */

const struct vfu_capabilities vfu_capabilities_default = {
	.max_msg_fds = VFIO_USER_DEFAULT_MAX_MSG_FDS,
	.max_data_xfer_size = VFIO_USER_DEFAULT_MAX_DATA_XFER,
	.max_dma_maps = VFIO_USER_DEFAULT_MAX_DMA_MAPS,
	.pgsizes = VFIO_USER_PAGE_SIZE,
};

static const struct number {
	const char *name;
	size_t offset;
	uint64_t min;
} numbers[] = {
	{"max_msg_fds", offsetof(struct vfu_capabilities, max_msg_fds), 0},
	{"max_data_xfer_size", offsetof(struct vfu_capabilities, max_data_xfer_size), 1},
	{"max_dma_maps", offsetof(struct vfu_capabilities, max_dma_maps), 0},
	{"pgsizes", offsetof(struct vfu_capabilities, pgsizes), 1},
};

static int read_number(struct json_object *object, const struct number *n, struct vfu_capabilities *caps)
{
	struct json_object *value;
	uint64_t v;

	if (!json_object_object_get_ex(object, n->name, &value))
		return 0;
	if (!json_object_is_type(value, json_type_int) || json_object_get_int64(value) < 0)
		return -EINVAL;
	v = json_object_get_uint64(value);
	if (v < n->min)
		return -EINVAL;
	memcpy((char *)caps + n->offset, &v, sizeof(v));
	return 0;
}

static int read_capabilities(struct json_object *object, struct vfu_capabilities *caps)
{
	struct json_object *value;
	size_t i;

	for (i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
		int err = read_number(object, &numbers[i], caps);

		if (err)
			return err;
	}
	if (!json_object_object_get_ex(object, "write_multiple", &value))
		return 0;
	if (!json_object_is_type(value, json_type_boolean))
		return -EINVAL;
	caps->write_multiple = json_object_get_boolean(value);
	return 0;
}

/* NULL: it is no JSON; or there is no memory for it, which errno tells. */
static struct json_object *parse_text(const char *text, size_t size)
{
	struct json_tokener *tokener = json_tokener_new_ex(MAX_DEPTH);
	struct json_object *root;
	bool whole;

	if (!tokener)
		return NULL;
	root = json_tokener_parse_ex(tokener, text, (int)size);
	/* json-c leaves out what it finds no memory for, and says nothing. */
	whole = json_tokener_get_error(tokener) == json_tokener_success && errno != ENOMEM;
	json_tokener_free(tokener);
	if (whole)
		return root;
	json_object_put(root);
	return NULL;
}

int vfu_capabilities_parse(const char *text, size_t size, struct vfu_capabilities *ret_caps)
{
	struct vfu_capabilities caps = vfu_capabilities_default;
	struct json_object *root, *object;
	int err = -EINVAL;

	if (size == 0) {
		*ret_caps = caps;
		return 0;
	}
	if (size > MAX_TEXT || text[size - 1] != '\0')
		return -EINVAL;
	errno = 0;
	root = parse_text(text, size);
	if (!root && errno == ENOMEM)
		return -ENOMEM;
	if (!json_object_is_type(root, json_type_object))
		goto out;
	if (!json_object_object_get_ex(root, "capabilities", &object))
		err = 0;
	else if (json_object_is_type(object, json_type_object))
		err = read_capabilities(object, &caps);
	if (!err)
		*ret_caps = caps;
out:
	json_object_put(root);
	return err;
}

size_t vfu_capabilities_format(const struct vfu_capabilities *caps, char text[VFU_CAPABILITIES_MAX])
{
	size_t used = (size_t)snprintf(text, VFU_CAPABILITIES_MAX, "{\"capabilities\":{");
	uint64_t v;
	size_t i;

	for (i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
		memcpy(&v, (const char *)caps + numbers[i].offset, sizeof(v));
		used += (size_t)snprintf(text + used, VFU_CAPABILITIES_MAX - used, "%s\"%s\":%" PRIu64,
					 i ? "," : "", numbers[i].name, v);
	}
	used += (size_t)snprintf(text + used, VFU_CAPABILITIES_MAX - used, "%s}}",
				 caps->write_multiple ? ",\"write_multiple\":true" : "");
	return used + 1;
}
