/* SPDX-License-Identifier: BSD-3-Clause */
/* The JSON of a VERSION message: what each side can do. */
#ifndef VFIO_USER_VERSION_H
#define VFIO_USER_VERSION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct vfu_capabilities {
	uint64_t max_msg_fds;
	uint64_t max_data_xfer_size;
	uint64_t max_dma_maps;
	uint64_t pgsizes;
	bool write_multiple;
};

/* What a side has that says nothing. */
extern const struct vfu_capabilities vfu_capabilities_default;

/*
 * Reads the text behind the version header. Capabilities that are not named
 * keep their default, names that are not known are passed over. -EINVAL: not
 * JSON, not NUL-terminated, or a value of the wrong type or range. -ENOMEM.
 */
int vfu_capabilities_parse(const char *text, size_t size, struct vfu_capabilities *ret_caps);
/* Compact JSON. Returns its bytes, with the NUL. */
#define VFU_CAPABILITIES_MAX 256
size_t vfu_capabilities_format(const struct vfu_capabilities *caps, char text[VFU_CAPABILITIES_MAX]);

#endif
