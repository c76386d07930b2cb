/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The client against the test server: test_client VFU_TEST_SERVER. One line
 * per property, and the round trip of a REGION_READ.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "vfio_user/client.h"

#define ROUND_TRIPS 20000
#define REG(n)	    ((n)*8)

static uint8_t memory[4096];
static int failures;

static void expect(bool ok, const char *what)
{
	printf("%s %s\n", ok ? "ok  " : "FAIL", what);
	failures += !ok;
}

static int dma_read(void *opaque, uint64_t address, void *buf, size_t len)
{
	if (address > sizeof(memory) || len > sizeof(memory) - address)
		return -EFAULT;
	memcpy(buf, memory + address, len);
	return 0;
}

static int dma_write(void *opaque, uint64_t address, const void *buf, size_t len)
{
	if (address > sizeof(memory) || len > sizeof(memory) - address)
		return -EFAULT;
	memcpy(memory + address, buf, len);
	return 0;
}

static int set(struct vfu_client *c, unsigned reg, uint64_t value)
{
	return vfu_client_region_write(c, 2, REG(reg), &value, sizeof(value));
}

/* The toy's registers: 16 address, 17 length, 19 command, 20 busy, 21 result. */
static int64_t command(struct vfu_client *c, uint64_t what, uint64_t address, uint64_t len)
{
	int64_t busy = 1, result = 0;

	if (set(c, 16, address) || set(c, 17, len) || set(c, 19, what))
		return -EIO;
	while (busy) {
		if (vfu_client_region_read(c, 2, REG(20), &busy, sizeof(busy)))
			return -EIO;
	}
	vfu_client_region_read(c, 2, REG(21), &result, sizeof(result));
	return result;
}

static void test_regions(struct vfu_client *c)
{
	struct vfu_client_region r;
	uint32_t value = 0x12345678, got = 0;

	expect(!vfu_client_region_info(c, 0, &r) && r.size == 0x4000 && r.fd >= 0 && r.area_count == 1 &&
		       r.areas[0].offset == 0x1000,
	       "region info with a sparse area");
	close(r.fd);
	expect(!vfu_client_region_write(c, 0, 8, &value, 4) && !vfu_client_region_read(c, 0, 8, &got, 4) &&
		       got == value,
	       "region write and read");
	value++;
	expect(!vfu_client_region_post(c, 0, 8, &value, 4) && !vfu_client_region_read(c, 0, 8, &got, 4) &&
		       got == value,
	       "posted write");
	expect(vfu_client_region_read(c, 4, 0, &got, 4) == -EIO, "the device's error");
	expect(!vfu_client_reset(c), "reset");
}

static void test_dma(struct vfu_client *c)
{
	int fd = memfd_create("guest", MFD_CLOEXEC);
	char text[6] = "";

	expect(fd >= 0 && !ftruncate(fd, 8192) && !vfu_client_dma_map(c, 0x10000, 8192, fd, 0, true, true),
	       "dma map");
	expect(pwrite(fd, "hello", 5, 4096) == 5 && command(c, 3, 0x11000, 5) == 0 &&
		       !vfu_client_region_read(c, 5, 0, text, 5) && !strcmp(text, "hello"),
	       "the device reads what was lent");
	expect(!vfu_client_dma_unmap(c, 0x10000, 4096) && !vfu_client_dma_unmap_all(c), "dma unmap");
	close(fd);
	memcpy(memory + 64, "by message", 10);
	expect(command(c, 1, 64, 10) == 0, "dma read by message");
	expect(command(c, 2, 256, 10) == 0 && !memcmp(memory + 256, "by message", 10),
	       "dma write by message");
	expect(command(c, 1, 1 << 20, 10) == -EFAULT, "the client's error");
}

static void test_irqs(struct vfu_client *c)
{
	int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	uint64_t count = 0;

	expect(!vfu_client_set_irq_eventfds(c, 2, 5, 1, &fd) && command(c, 17, 2, 5) == 1 &&
		       read(fd, &count, sizeof(count)) == 8 && count == 1,
	       "an interrupt");
	expect(!vfu_client_set_irq_eventfds(c, 2, 5, 1, NULL) && command(c, 17, 2, 5) == 0, "taken away");
	expect(!vfu_client_unmask_irq(c, 0, 0), "unmask");
	close(fd);
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static void measure(struct vfu_client *c)
{
	static double us[ROUND_TRIPS];
	uint32_t value;
	int i;

	for (i = 0; i < ROUND_TRIPS; i++) {
		struct timespec a, b;

		clock_gettime(CLOCK_MONOTONIC, &a);
		if (vfu_client_region_read(c, 7, 0, &value, 4))
			return;
		clock_gettime(CLOCK_MONOTONIC, &b);
		us[i] = (double)(b.tv_sec - a.tv_sec) * 1e6 + (double)(b.tv_nsec - a.tv_nsec) / 1e3;
	}
	qsort(us, ROUND_TRIPS, sizeof(us[0]), compare);
	printf("     round trip of a 4-byte REGION_READ: p50 %.1f us, p99 %.1f us\n", us[ROUND_TRIPS / 2],
	       us[ROUND_TRIPS * 99 / 100]);
}

int main(int argc, char **argv)
{
	static const struct vfu_client_ops ops = {dma_read, dma_write};
	char path[64];
	struct vfu_client *c = NULL;
	int i, status;
	pid_t child;

	snprintf(path, sizeof(path), "/tmp/vfu-client-%d", (int)getpid());
	child = argc > 1 ? fork() : -1;
	if (child < 0)
		return 2;
	if (child == 0) {
		execl(argv[1], argv[1], path, (char *)NULL);
		_exit(127);
	}
	for (i = 0; i < 1000 && vfu_client_connect(path, &ops, NULL, &c); i++)
		poll(NULL, 0, 10);
	expect(c, "connect");
	if (c) {
		test_regions(c);
		test_dma(c);
		test_irqs(c);
		measure(c);
	}
	vfu_client_close(c);
	kill(child, SIGTERM);
	expect(waitpid(child, &status, 0) == child && status == 0, "the server ends with status 0");
	return failures != 0;
}
