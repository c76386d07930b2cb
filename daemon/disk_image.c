/* SPDX-License-Identifier: BSD-3-Clause */
#include "daemon/disk_image.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define HEADER_SIZE  512
#define CHECKSUM_LEN 9 /* "-" and 8 digits */

static const struct {
	const char *name, *magic;
	size_t length, offset;
} formats[] = {
	{"qcow2", "QFI\xfb", 4, 0},
	{"qed", "QED\0", 4, 0},
	{"vmdk", "KDMV", 4, 0},
	{"vmdk", "COWD", 4, 0},
	{"vmdk", "# Disk DescriptorFile", 21, 0},
	{"vhdx", "vhdxfile", 8, 0},
	{"vhd", "conectix", 8, 0},
	{"vdi", "\x7f\x10\xda\xbe", 4, 64},
	{"parallels", "WithoutFreeSpace", 16, 0},
	{"parallels", "WithouFreSpacExt", 16, 0},
};

int disk_image_format(const char *path, const char **ret_format)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	char header[HEADER_SIZE] = {0};
	ssize_t n;

	if (fd < 0)
		return -errno;
	n = pread(fd, header, sizeof(header), 0);
	if (n < 0)
		n = -errno;
	close(fd);
	if (n < 0)
		return (int)n;
	*ret_format = NULL;
	for (size_t i = 0; i < sizeof(formats) / sizeof(formats[0]); i++) {
		if (!memcmp(header + formats[i].offset, formats[i].magic, formats[i].length))
			*ret_format = formats[i].name;
	}
	return 0;
}

/* What udev leaves as it is in the names of its links, and no shell takes for anything else. */
static int is_plain(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '.' ||
	       c == '-' || c == '_';
}

static uint32_t fnv1a(const char *text)
{
	uint32_t hash = 0x811c9dc5;

	for (; *text; text++)
		hash = (hash ^ (uint8_t)*text) * 0x01000193;
	return hash;
}

void disk_image_serial(const char *path, char *ret_serial, size_t size)
{
	const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
	size_t length = strlen(name), plain = 0, room = size - 1 - CHECKSUM_LEN;

	while (is_plain(name[plain]))
		plain++;
	if (plain == length && length < size) {
		memcpy(ret_serial, name, length + 1);
		return;
	}
	if (length < room)
		room = length;
	for (size_t i = 0; i < room; i++)
		ret_serial[i] = is_plain(name[i]) ? name[i] : '_';
	snprintf(ret_serial + room, size - room, "-%08x", fnv1a(name));
}
