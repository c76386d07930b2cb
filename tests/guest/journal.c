/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * journal write DEVICE SEED
 * journal read DEVICE SEED LAST
 *
 * write: pages of 4 KiB, one after the other, O_DIRECT, until a call fails. A
 * line "VIOMMU: crash.flushed=N" says that page N was flushed: even ones by
 * fdatasync(), odd ones as they are written, by O_DSYNC. Word i of page N is
 * SEED * 2^56 + N * 2^16 + i, so whoever has the disk can check it. At the
 * failure, for which it waits, "VIOMMU: crash.error=WHAT ERRNO after N ms" and
 * status 0.
 *
 * read: checks the pages 0 to LAST, "VIOMMU: recovered.pages=COUNT".
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

enum { PAGE = 4096, WORDS = PAGE / 8 };

static uint64_t seed, size, *page;

static uint64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static uint64_t word_of(uint64_t number, uint64_t i)
{
	return seed << 56 | number << 16 | i;
}

static int open_disk(const char *path, int flags)
{
	int fd = open(path, flags | O_DIRECT);

	if (fd >= 0 && !ioctl(fd, BLKGETSIZE64, &size))
		return fd;
	perror(path);
	exit(1);
}

/* What failed, or NULL. */
static const char *write_flushed(int fd, int synchronous, uint64_t number)
{
	for (uint64_t i = 0; i < WORDS; i++)
		page[i] = word_of(number, i);
	if (pwrite(number % 2 ? synchronous : fd, page, PAGE, (off_t)(number * PAGE)) != PAGE)
		return "write";
	return number % 2 == 0 && fdatasync(fd) ? "flush" : NULL;
}

static int write_all(const char *path)
{
	int fd = open_disk(path, O_RDWR), synchronous = open_disk(path, O_RDWR | O_DSYNC);

	for (uint64_t number = 0; number < size / PAGE; number++) {
		uint64_t begun = now_ms();
		const char *failed = write_flushed(fd, synchronous, number);

		if (failed) {
			printf("VIOMMU: crash.error=%s %s after %llu ms\n", failed, strerrorname_np(errno),
			       (unsigned long long)(now_ms() - begun));
			return 0;
		}
		printf("VIOMMU: crash.flushed=%llu\n", (unsigned long long)number);
		fflush(stdout);
	}
	fputs("journal: the disk is full and nothing has failed\n", stderr);
	return 1;
}

static int read_all(const char *path, uint64_t last)
{
	int fd = open_disk(path, O_RDONLY);

	for (uint64_t number = 0; number <= last; number++) {
		if (pread(fd, page, PAGE, (off_t)(number * PAGE)) != PAGE) {
			perror(path);
			return 1;
		}
		for (uint64_t i = 0; i < WORDS; i++) {
			if (page[i] == word_of(number, i))
				continue;
			fprintf(stderr, "journal: page %llu was flushed and is not there\n",
				(unsigned long long)number);
			return 1;
		}
	}
	printf("VIOMMU: recovered.pages=%llu\n", (unsigned long long)last + 1);
	return 0;
}

int main(int argc, char **argv)
{
	int reads = argc == 5 && !strcmp(argv[1], "read");

	page = aligned_alloc(PAGE, PAGE);
	if (!page || (!reads && (argc != 4 || strcmp(argv[1], "write")))) {
		fputs("usage: journal write DEVICE SEED | journal read DEVICE SEED LAST\n", stderr);
		return 2;
	}
	seed = strtoull(argv[3], NULL, 0);
	return reads ? read_all(argv[2], strtoull(argv[4], NULL, 0)) : write_all(argv[2]);
}
