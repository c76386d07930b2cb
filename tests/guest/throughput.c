/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * throughput DEVICE SECONDS random|sequential SIZE DEPTH
 *
 * Reads with O_DIRECT for a while, DEPTH requests of SIZE bytes in flight
 * (Linux's own asynchronous I/O, one thread), and prints rates and latencies.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <linux/fs.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { DEPTH_MAX = 64, SAMPLES_MAX = 1 << 20 };

static struct {
	int fd;
	bool random;
	uint32_t size;
	uint64_t blocks; /* of size bytes on the device */
	uint64_t last;	 /* the block read last, or the generator's state */
	aio_context_t context;
	uint64_t started[DEPTH_MAX];
	struct iocb requests[DEPTH_MAX];
	uint64_t done;
	uint32_t *latencies; /* ns, of the first SAMPLES_MAX */
} load;

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void fail(const char *what)
{
	perror(what);
	exit(1);
}

static uint64_t next_block(void)
{
	if (!load.random)
		return load.last++ % load.blocks;
	load.last = load.last * 6364136223846793005u + 1442695040888963407u;
	return (load.last >> 33) % load.blocks;
}

static void submit(unsigned int slot)
{
	struct iocb *request = &load.requests[slot];

	request->aio_offset = next_block() * load.size;
	load.started[slot] = now_ns();
	if (syscall(SYS_io_submit, load.context, 1, &request) != 1)
		fail("throughput: io_submit");
}

static void complete(const struct io_event *event)
{
	if (event->res != load.size) {
		fprintf(stderr, "throughput: a read returned %lld\n", (long long)event->res);
		exit(1);
	}
	if (load.done < SAMPLES_MAX)
		load.latencies[load.done] = now_ns() - load.started[event->data];
	load.done++;
}

static void prepare(const char *device, unsigned int depth)
{
	uint64_t bytes;

	load.fd = open(device, O_RDONLY | O_DIRECT);
	if (load.fd < 0 || ioctl(load.fd, BLKGETSIZE64, &bytes))
		fail(device);
	load.blocks = bytes / load.size;
	load.latencies = calloc(SAMPLES_MAX, sizeof(*load.latencies));
	if (!load.blocks || !load.latencies)
		fail("throughput: the device is too small, or memory is short");
	if (syscall(SYS_io_setup, depth, &load.context))
		fail("throughput: io_setup");
	for (unsigned int i = 0; i < depth; i++) {
		void *buffer = aligned_alloc(4096, load.size);

		if (!buffer)
			fail("throughput: buffer");
		memset(buffer, 0, load.size);
		load.requests[i] = (struct iocb){
			.aio_lio_opcode = IOCB_CMD_PREAD,
			.aio_fildes = load.fd,
			.aio_data = i,
			.aio_buf = (uintptr_t)buffer,
			.aio_nbytes = load.size,
		};
	}
}

/* Nanoseconds from the first submission to the last completion. */
static uint64_t run(unsigned int depth, uint64_t duration)
{
	struct io_event events[DEPTH_MAX];
	uint64_t start = now_ns();
	unsigned int in_flight = depth;

	for (unsigned int i = 0; i < depth; i++)
		submit(i);
	while (in_flight > 0) {
		long n = syscall(SYS_io_getevents, load.context, 1, depth, events, NULL);

		if (n < 0)
			fail("throughput: io_getevents");
		for (long i = 0; i < n; i++) {
			complete(&events[i]);
			if (now_ns() - start < duration)
				submit(events[i].data);
			else
				in_flight--;
		}
	}
	return now_ns() - start;
}

static int by_value(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

static double percentile_us(double part)
{
	uint64_t n = load.done < SAMPLES_MAX ? load.done : SAMPLES_MAX;

	return load.latencies[(uint64_t)((n - 1) * part)] / 1e3;
}

int main(int argc, char **argv)
{
	unsigned int depth;
	char name[64];
	double seconds;

	if (argc != 6) {
		fputs("usage: throughput DEVICE SECONDS random|sequential SIZE DEPTH\n", stderr);
		return 2;
	}
	load.random = strcmp(argv[3], "random") == 0;
	load.size = strtoul(argv[4], NULL, 0);
	depth = strtoul(argv[5], NULL, 0);
	if (load.size % 512 || !load.size || !depth || depth > DEPTH_MAX) {
		fputs("throughput: SIZE is a multiple of 512, DEPTH 1 to 64\n", stderr);
		return 2;
	}
	prepare(argv[1], depth);
	seconds = run(depth, strtoull(argv[2], NULL, 0) * 1000000000) / 1e9;
	qsort(load.latencies, load.done < SAMPLES_MAX ? load.done : SAMPLES_MAX, sizeof(*load.latencies),
	      by_value);
	snprintf(name, sizeof(name), "bench.%s_%u_depth%u", argv[3], load.size, depth);
	printf("VIOMMU: %s_iops=%.0f\n", name, load.done / seconds);
	printf("VIOMMU: %s_mb_per_s=%.2f\n", name, load.done / seconds * load.size / 1e6);
	printf("VIOMMU: %s_p50_us=%.1f\n", name, percentile_us(0.5));
	printf("VIOMMU: %s_p99_us=%.1f\n", name, percentile_us(0.99));
	return 0;
}
