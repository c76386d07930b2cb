/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * erase DEVICE MIB
 *
 * Flush, write-zeroes and discard on a range that "transfer write" filled:
 * each must change its own blocks and nothing beside them. A discarded range
 * may read as zeros or as before, but not as anything else.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/fs.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { LENGTH = 192 * 1024, GUARD = 4096, WINDOW = LENGTH + 2 * GUARD };

static int read_window(int fd, uint64_t start, uint8_t *window)
{
	if (pread(fd, window, WINDOW, start) == WINDOW)
		return 0;
	perror("erase: pread");
	return -1;
}

static int all_zero(const uint8_t *data)
{
	static const uint8_t zeros[LENGTH];

	return memcmp(data, zeros, LENGTH) == 0;
}

static int same_guards(const uint8_t *before, const uint8_t *after)
{
	return memcmp(before, after, GUARD) == 0 &&
	       memcmp(before + GUARD + LENGTH, after + GUARD + LENGTH, GUARD) == 0;
}

/* Erases the middle of the window at start; says how it reads afterwards. */
static const char *erase(int fd, uint64_t start, unsigned long request, uint8_t *before, uint8_t *after)
{
	uint64_t range[2] = {start + GUARD, LENGTH};

	if (read_window(fd, start, before))
		return "error";
	if (ioctl(fd, request, range) || fsync(fd)) {
		perror("erase: ioctl");
		return "error";
	}
	if (read_window(fd, start, after))
		return "error";
	if (!same_guards(before, after))
		return "neighbours_changed";
	if (all_zero(after + GUARD))
		return "zeros";
	return memcmp(before, after, WINDOW) == 0 ? "unchanged" : "other";
}

int main(int argc, char **argv)
{
	uint8_t *before, *after;
	const char *zeroed, *discarded;
	uint64_t middle;
	int fd;

	if (argc != 3) {
		fputs("usage: erase DEVICE MIB\n", stderr);
		return 2;
	}
	middle = strtoull(argv[2], NULL, 0) << 19;
	fd = open(argv[1], O_RDWR | O_DIRECT);
	before = aligned_alloc(4096, WINDOW);
	after = aligned_alloc(4096, WINDOW);
	if (fd < 0 || !before || !after) {
		perror("erase");
		return 1;
	}
	zeroed = erase(fd, 0, BLKZEROOUT, before, after);
	discarded = erase(fd, middle, BLKDISCARD, before, after);
	printf("VIOMMU: integrity.write_zeroes=%s\n", zeroed);
	printf("VIOMMU: integrity.discard=%s\n", discarded);
	return strcmp(zeroed, "zeros") || (strcmp(discarded, "zeros") && strcmp(discarded, "unchanged"));
}
