/* SPDX-License-Identifier: BSD-3-Clause */
#include "vfio_user/version.h"

#include <errno.h>
#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>

#include "vfio_user/protocol.h"

/* Nesting that the parser follows: ours is three deep, and QEMU's too. */
#define MAX_DEPTH 8
#define MAX_TEXT  (64u << 10)

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

static struct json_object *parse_text(const char *text, size_t size)
{
	struct json_tokener *tokener = json_tokener_new_ex(MAX_DEPTH);
	struct json_object *root;

	if (!tokener)
		return NULL;
	root = json_tokener_parse_ex(tokener, text, (int)size);
	if (json_tokener_get_error(tokener) != json_tokener_success) {
		json_object_put(root);
		root = NULL;
	}
	json_tokener_free(tokener);
	return root;
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
	root = parse_text(text, size);
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

char *vfu_capabilities_format(const struct vfu_capabilities *caps)
{
	struct json_object *root = json_object_new_object(), *object = json_object_new_object();
	char *text = NULL;
	uint64_t v;
	size_t i;

	if (!root || !object)
		goto out;
	for (i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
		memcpy(&v, (const char *)caps + numbers[i].offset, sizeof(v));
		json_object_object_add(object, numbers[i].name, json_object_new_uint64(v));
	}
	if (caps->write_multiple)
		json_object_object_add(object, "write_multiple", json_object_new_boolean(1));
	json_object_object_add(root, "capabilities", json_object_get(object));
	text = strdup(json_object_to_json_string_ext(root, JSON_C_TO_STRING_PLAIN));
out:
	json_object_put(object);
	json_object_put(root);
	return text;
}
