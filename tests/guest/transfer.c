/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * transfer write|read DEVICE MIB SEED
 *
 * Moves the first MIB mebibytes of a block device with O_DIRECT, in pieces of
 * mixed sizes, in a mixed order, by several threads at once. The data follow
 * from the seed alone: write puts them there, read checks every byte. Both
 * put the data that they moved on the standard output.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { SECTOR = 512, LARGEST_LG2 = 19, THREADS = 8 };

struct piece {
	uint64_t offset;
	uint32_t length;
};

static struct {
	int fd;
	bool writing;
	uint8_t *data;
	struct piece *pieces;
	size_t count;
	atomic_size_t next;
	atomic_int error;
} job;

static uint64_t mix(uint64_t x)
{
	x += 0x9e3779b97f4a7c15;
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
	x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
	return x ^ (x >> 31);
}

static uint64_t word_at(uint64_t seed, uint64_t index)
{
	return mix(mix(seed) ^ index);
}

static void *xcalloc(size_t n, size_t size)
{
	void *p = calloc(n, size);

	if (!p) {
		perror("transfer: calloc");
		exit(1);
	}
	return p;
}

/* Cuts the range into pieces of 512 bytes to 512 KiB and shuffles them. */
static void cut(uint64_t total, uint64_t seed)
{
	uint64_t offset = 0, random = mix(seed + 1);

	job.pieces = xcalloc(total / SECTOR, sizeof(*job.pieces));
	while (offset < total) {
		uint64_t scale = (uint64_t)SECTOR << (random % (LARGEST_LG2 - 8));
		uint64_t length = scale - (random >> 32) % (scale / SECTOR) * SECTOR / 2;

		length -= length % SECTOR;
		if (length > total - offset)
			length = total - offset;
		job.pieces[job.count++] = (struct piece){offset, length};
		offset += length;
		random = mix(random);
	}
	for (size_t i = job.count - 1; i > 0; i--) {
		size_t other = random % (i + 1);
		struct piece piece = job.pieces[i];

		job.pieces[i] = job.pieces[other];
		job.pieces[other] = piece;
		random = mix(random);
	}
}

static void *move_pieces(void *unused)
{
	size_t i;

	(void)unused;
	while ((i = atomic_fetch_add(&job.next, 1)) < job.count && !job.error) {
		struct piece p = job.pieces[i];
		uint8_t *at = job.data + p.offset;
		ssize_t moved = job.writing ? pwrite(job.fd, at, p.length, p.offset)
					    : pread(job.fd, at, p.length, p.offset);

		if (moved != (ssize_t)p.length) {
			job.error = moved < 0 ? errno : EIO;
			fprintf(stderr, "transfer: %u bytes at %#llx: %s\n", p.length,
				(unsigned long long)p.offset, strerror(job.error));
		}
	}
	return NULL;
}

static void move_all(void)
{
	pthread_t threads[THREADS];

	for (int i = 0; i < THREADS; i++)
		if (pthread_create(&threads[i], NULL, move_pieces, NULL))
			exit(1);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
}

static void fill(uint64_t *words, size_t count, uint64_t seed)
{
	for (size_t i = 0; i < count; i++)
		words[i] = word_at(seed, i);
}

static int check(const uint64_t *words, size_t count, uint64_t seed)
{
	size_t wrong = 0;

	for (size_t i = 0; i < count; i++) {
		if (words[i] == word_at(seed, i))
			continue;
		if (wrong++ == 0)
			fprintf(stderr, "transfer: first wrong byte near %#zx: %#llx\n", i * 8,
				(unsigned long long)words[i]);
	}
	if (wrong)
		fprintf(stderr, "transfer: %zu of %zu words are wrong\n", wrong, count);
	return wrong ? 1 : 0;
}

static int put(const uint8_t *data, size_t left)
{
	while (left > 0) {
		ssize_t n = write(STDOUT_FILENO, data, left);

		if (n <= 0) {
			perror("transfer: standard output");
			return 1;
		}
		data += n;
		left -= n;
	}
	return 0;
}

int main(int argc, char **argv)
{
	uint64_t total, seed;
	int status = 0;

	if (argc != 5) {
		fputs("usage: transfer write|read DEVICE MIB SEED\n", stderr);
		return 2;
	}
	job.writing = strcmp(argv[1], "write") == 0;
	total = strtoull(argv[3], NULL, 0) << 20;
	seed = strtoull(argv[4], NULL, 0);
	job.fd = open(argv[2], (job.writing ? O_RDWR : O_RDONLY) | O_DIRECT);
	job.data = mmap(NULL, total, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (job.fd < 0 || job.data == MAP_FAILED) {
		perror("transfer");
		return 1;
	}
	cut(total, seed);
	if (job.writing)
		fill((uint64_t *)job.data, total / 8, seed);
	move_all();
	if (job.writing && fsync(job.fd)) {
		perror("transfer: fsync");
		return 1;
	}
	if (!job.writing)
		status = check((uint64_t *)job.data, total / 8, seed);
	return job.error || status || put(job.data, total);
}
