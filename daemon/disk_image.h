/* SPDX-License-Identifier: BSD-3-Clause */
/* What the file of a disk tells before it is served: that it is no raw disk, and a serial number. */
#ifndef DAEMON_DISK_IMAGE_H
#define DAEMON_DISK_IMAGE_H

#include <stddef.h>

/*
 * 0 and *ret_format: the name of the image format whose header the file begins
 * with, NULL when it is none that hides a disk in it. Or a negative errno.
 *
 * LUKS is none of them: a guest that encrypts its whole disk writes that header.
 */
int disk_image_format(const char *path, const char **ret_format);

/*
 * A serial number from the file's name, which stays when the file is moved to
 * another folder or machine, copied, grown or restored: the name as it is when it
 * fits into `size` - 1 characters and has none but letters, digits and ".-_";
 * else its beginning and a checksum of all of it. size >= 16.
 */
void disk_image_serial(const char *path, char *ret_serial, size_t size);

#endif
