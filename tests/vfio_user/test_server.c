/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A toy device behind vfu_server, for test_protocol.py.
 *
 *   vfu_test_server SOCKET [--max-maps N] [--max-lent BYTES] [--timeout MS] [--no-dma]
 *
 * BAR0 memory, page 1 can be mapped      BAR1 read-only     BAR2 control registers
 * BAR3 write-only                        BAR4 fails         BAR5 2 MiB buffer
 * ROM  memory that can be mapped whole   CONFIG 256 bytes
 */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "vfio_user/server.h"

#define BAR0_SIZE   0x4000u
#define SMALL_SIZE  0x1000u
#define BUFFER_SIZE 0x200000u
#define ROM_SIZE    0x2000u
#define MAX_KNOWN   1024

/* Byte offsets of 8-byte registers in BAR2; protocol_client.py has the same list. */
enum reg {
	REG_MAP_CALLS,
	REG_UNMAP_CALLS,
	REG_MAPPED_BYTES,
	REG_MAPPED_COUNT,
	REG_RESETS,
	REG_CONNECTS,
	REG_DISCONNECTS,
	REG_MASK_CALLS,
	REG_LAST_MASK,
	REG_LAST_UNMAP,
	REG_LAST_UNMAP_SIZE,
	REG_MOST_CALLS, /* writes and unmaps of one vfu_server_process() */
	REG_ADDRESS = 16,
	REG_LENGTH,
	REG_VALUE,
	REG_COMMAND,
	REG_BUSY,
	REG_RESULT,
	REG_REFUSE_MAP,
	REG_RETRIGGER, /* trigger INTx again at its unmask, so often */
	NUM_REGS,
};

enum command {
	COMMAND_DMA_READ = 1, /* in the helper thread */
	COMMAND_DMA_WRITE,
	COMMAND_HOST_READ,
	COMMAND_HOST_WRITE,
	COMMAND_INLINE = 16, /* in the callback */
	COMMAND_POSTED = COMMAND_INLINE,
	COMMAND_TRIGGER,
	COMMAND_DISCONNECT,
	COMMAND_DMA_READ_INLINE,
	COMMAND_MAP_FLAGS,
};

struct known_map {
	uint64_t first, last;
	uint8_t *host;
	bool readable, writable;
};

struct toy {
	struct vfu_server *server;
	uint8_t *bar0, *rom, *buffer;
	uint8_t small[SMALL_SIZE], config[256];
	/* Guards what stands below. Held over accesses to host memory, so that an unmap waits for them. */
	pthread_mutex_t lock;
	pthread_cond_t work;
	uint64_t regs[NUM_REGS];
	struct known_map known[MAX_KNOWN];
	unsigned known_count;
	uint64_t calls; /* of this vfu_server_process() */
};

static atomic_bool stop;

static void know(struct toy *t, struct known_map map)
{
	if (t->known_count < MAX_KNOWN)
		t->known[t->known_count++] = map;
}

static int toy_dma_map(void *device, const struct vfu_dma_map *map)
{
	struct toy *t = device;
	int err;

	pthread_mutex_lock(&t->lock);
	err = -(int)t->regs[REG_REFUSE_MAP];
	t->regs[REG_REFUSE_MAP] = 0;
	if (!err) {
		t->regs[REG_MAP_CALLS]++;
		t->regs[REG_MAPPED_BYTES] += map->size;
		t->regs[REG_MAPPED_COUNT]++;
		know(t, (struct known_map){map->iova, map->iova + map->size - 1, map->host, map->readable,
					   map->writable});
	}
	pthread_mutex_unlock(&t->lock);
	return err;
}

static void forget(struct toy *t, uint64_t first, uint64_t last)
{
	unsigned i = 0;

	while (i < t->known_count) {
		struct known_map k = t->known[i], high = k;

		if (k.last < first || k.first > last) {
			i++;
			continue;
		}
		t->known[i] = t->known[--t->known_count];
		if (k.first < first) {
			k.last = first - 1;
			know(t, k);
		}
		if (high.last > last) {
			if (high.host)
				high.host += last + 1 - high.first;
			high.first = last + 1;
			know(t, high);
		}
	}
}

static void toy_dma_unmap(void *device, uint64_t iova, uint64_t size)
{
	struct toy *t = device;

	pthread_mutex_lock(&t->lock);
	t->regs[REG_UNMAP_CALLS]++;
	t->calls++;
	t->regs[REG_MAPPED_BYTES] -= size;
	t->regs[REG_LAST_UNMAP] = iova;
	t->regs[REG_LAST_UNMAP_SIZE] = size;
	if (t->regs[REG_MAPPED_BYTES] == 0)
		t->regs[REG_MAPPED_COUNT] = 0;
	forget(t, iova, iova + size - 1);
	pthread_mutex_unlock(&t->lock);
}

static struct known_map *find_known(struct toy *t, uint64_t address, uint64_t len)
{
	unsigned i;

	for (i = 0; i < t->known_count; i++) {
		struct known_map *k = &t->known[i];

		if (address >= k->first && address <= k->last && len <= k->last - address + 1)
			return k;
	}
	return NULL;
}

static int host_access(struct toy *t, uint64_t address, uint64_t len, bool write)
{
	struct known_map *k;
	int err = -EFAULT;

	pthread_mutex_lock(&t->lock);
	k = find_known(t, address, len);
	if (k && k->host && len <= BUFFER_SIZE) {
		if (write)
			memcpy(k->host + (address - k->first), t->buffer, len);
		else
			memcpy(t->buffer, k->host + (address - k->first), len);
		err = 0;
	}
	pthread_mutex_unlock(&t->lock);
	return err;
}

static int run_command(struct toy *t, uint64_t command, uint64_t address, uint64_t len)
{
	if (len > BUFFER_SIZE)
		return -EINVAL;
	switch (command) {
	case COMMAND_DMA_READ:
		return vfu_dma_read(t->server, address, t->buffer, len);
	case COMMAND_DMA_WRITE:
		return vfu_dma_write(t->server, address, t->buffer, len);
	case COMMAND_HOST_READ:
	case COMMAND_HOST_WRITE:
		return host_access(t, address, len, command == COMMAND_HOST_WRITE);
	}
	return -ENOSYS;
}

static void *helper(void *arg)
{
	struct toy *t = arg;

	pthread_mutex_lock(&t->lock);
	while (!stop) {
		uint64_t command = t->regs[REG_COMMAND], address = t->regs[REG_ADDRESS];
		uint64_t len = t->regs[REG_LENGTH];
		int result;

		if (!t->regs[REG_BUSY]) {
			pthread_cond_wait(&t->work, &t->lock);
			continue;
		}
		pthread_mutex_unlock(&t->lock);
		result = run_command(t, command, address, len);
		pthread_mutex_lock(&t->lock);
		t->regs[REG_RESULT] = (uint64_t)(int64_t)result;
		t->regs[REG_BUSY] = 0;
	}
	pthread_mutex_unlock(&t->lock);
	return NULL;
}

static int64_t map_flags(struct toy *t, uint64_t address)
{
	struct known_map *k = find_known(t, address, 1);

	return k ? k->readable + 2 * k->writable + 4 * (k->host != NULL) : -ENOENT;
}

static int64_t run_inline(struct toy *t, uint64_t command)
{
	uint64_t address = t->regs[REG_ADDRESS], len = t->regs[REG_LENGTH];

	switch (command) {
	case COMMAND_POSTED:
		return vfu_dma_write_posted(t->server, address, &t->regs[REG_VALUE], len);
	case COMMAND_TRIGGER:
		return vfu_irq_trigger(t->server, (unsigned)address, (unsigned)len);
	case COMMAND_DISCONNECT:
		vfu_server_disconnect(t->server, "the device wants it");
		return 0;
	case COMMAND_DMA_READ_INLINE:
		return vfu_dma_read(t->server, address, t->buffer, 8);
	case COMMAND_MAP_FLAGS:
		return map_flags(t, address);
	}
	return -ENOSYS;
}

static int write_reg(struct toy *t, uint64_t offset, const void *buf, size_t len)
{
	uint64_t value;
	int err = 0;

	if (offset % 8 || len != 8 || offset / 8 >= NUM_REGS)
		return -EINVAL;
	memcpy(&value, buf, sizeof(value));
	pthread_mutex_lock(&t->lock);
	if (offset / 8 == REG_COMMAND && t->regs[REG_BUSY]) {
		err = -EBUSY;
	} else {
		t->regs[offset / 8] = value;
		if (offset / 8 == REG_COMMAND && value >= COMMAND_INLINE) {
			t->regs[REG_RESULT] = (uint64_t)run_inline(t, value);
		} else if (offset / 8 == REG_COMMAND) {
			t->regs[REG_BUSY] = 1;
			pthread_cond_signal(&t->work);
		}
	}
	pthread_mutex_unlock(&t->lock);
	return err;
}

static int read_reg(struct toy *t, uint64_t offset, void *buf, size_t len)
{
	if (offset % 8 || len != 8 || offset / 8 >= NUM_REGS)
		return -EINVAL;
	pthread_mutex_lock(&t->lock);
	memcpy(buf, &t->regs[offset / 8], 8);
	pthread_mutex_unlock(&t->lock);
	return 0;
}

static uint8_t *memory_of(struct toy *t, unsigned region)
{
	switch (region) {
	case VFU_REGION_BAR0:
		return t->bar0;
	case VFU_REGION_BAR5:
		return t->buffer;
	case VFU_REGION_ROM:
		return t->rom;
	case VFU_REGION_CONFIG:
		return t->config;
	default:
		return t->small;
	}
}

static int toy_read(void *device, unsigned region, uint64_t offset, void *buf, size_t len)
{
	struct toy *t = device;

	if (region == 4)
		return -EIO;
	if (region == 2)
		return read_reg(t, offset, buf, len);
	memcpy(buf, memory_of(t, region) + offset, len);
	return 0;
}

static int toy_write(void *device, unsigned region, uint64_t offset, const void *buf, size_t len)
{
	struct toy *t = device;

	t->calls++;
	if (region == 4)
		return -ENXIO;
	if (region == 2)
		return write_reg(t, offset, buf, len);
	memcpy(memory_of(t, region) + offset, buf, len);
	return 0;
}

static void bump(struct toy *t, enum reg reg)
{
	pthread_mutex_lock(&t->lock);
	t->regs[reg]++;
	pthread_mutex_unlock(&t->lock);
}

/* Waits for the helper, as a device may that must not be in the middle of an access afterwards. */
static void toy_reset(void *device)
{
	struct toy *t = device;
	struct timespec nap = {.tv_nsec = 100000};
	bool busy = true;

	bump(t, REG_RESETS);
	vfu_dma_hold(t->server);
	while (busy) {
		pthread_mutex_lock(&t->lock);
		busy = t->regs[REG_BUSY];
		pthread_mutex_unlock(&t->lock);
		nanosleep(&nap, NULL);
	}
	vfu_dma_release(t->server);
}

static void toy_connected(void *device)
{
	bump(device, REG_CONNECTS);
}

static void toy_disconnected(void *device, const char *why)
{
	bump(device, REG_DISCONNECTS);
}

static void toy_irq_masked(void *device, unsigned index, unsigned first, unsigned count, bool masked)
{
	struct toy *t = device;
	bool again = false;

	pthread_mutex_lock(&t->lock);
	t->regs[REG_MASK_CALLS]++;
	t->regs[REG_LAST_MASK] =
		index | (uint64_t)first << 8 | (uint64_t)count << 32 | (uint64_t)masked << 63;
	if (index == VFU_IRQ_INTX && !masked && t->regs[REG_RETRIGGER]) {
		t->regs[REG_RETRIGGER]--;
		again = true;
	}
	pthread_mutex_unlock(&t->lock);
	if (again)
		vfu_irq_trigger(t->server, VFU_IRQ_INTX, 0);
}

static void toy_log(void *device, const char *line)
{
	if (getenv("VFU_TEST_LOG"))
		fprintf(stderr, "log: %s\n", line);
}

static void on_sigbus(int signo, siginfo_t *info, void *context)
{
	if (vfu_handle_sigbus(info->si_addr))
		return;
	signal(SIGBUS, SIG_DFL);
	raise(SIGBUS);
}

static void on_sigterm(int signo)
{
	stop = true;
}

static void install_handlers(void)
{
	struct sigaction bus = {.sa_sigaction = on_sigbus, .sa_flags = SA_SIGINFO};
	struct sigaction term = {.sa_handler = on_sigterm};

	sigaction(SIGBUS, &bus, NULL);
	sigaction(SIGTERM, &term, NULL);
	signal(SIGPIPE, SIG_DFL); /* the library must never raise it */
}

static uint8_t *make_memory(const char *name, size_t size, int *ret_fd)
{
	int fd = memfd_create(name, MFD_CLOEXEC);
	void *at;

	if (fd < 0 || ftruncate(fd, (off_t)size) < 0)
		abort();
	at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (at == MAP_FAILED)
		abort();
	*ret_fd = fd;
	return at;
}

static void parse_arguments(int argc, char **argv, struct vfu_server_options *opts,
			    struct vfu_device_ops *ops)
{
	int i;

	if (argc < 2) {
		fprintf(stderr,
			"usage: %s SOCKET [--max-maps N] [--max-lent BYTES] [--timeout MS] [--no-dma]\n",
			argv[0]);
		exit(2);
	}
	opts->path = argv[1];
	for (i = 2; i < argc; i++) {
		if (!strcmp(argv[i], "--no-dma"))
			ops->dma_map = NULL;
		else if (!strcmp(argv[i], "--max-maps") && i + 1 < argc)
			opts->max_dma_maps = strtoul(argv[++i], NULL, 0);
		else if (!strcmp(argv[i], "--max-lent") && i + 1 < argc)
			opts->max_lent_bytes = strtoull(argv[++i], NULL, 0);
		else if (!strcmp(argv[i], "--timeout") && i + 1 < argc)
			opts->reply_timeout_ms = (unsigned)strtoul(argv[++i], NULL, 0);
	}
}

static void process(struct toy *t)
{
	t->calls = 0;
	vfu_server_process(t->server);
	pthread_mutex_lock(&t->lock);
	if (t->calls > t->regs[REG_MOST_CALLS])
		t->regs[REG_MOST_CALLS] = t->calls;
	pthread_mutex_unlock(&t->lock);
}

static void serve(struct toy *t)
{
	struct pollfd pfd = {.fd = vfu_server_fd(t->server), .events = POLLIN};

	while (!stop) {
		if (poll(&pfd, 1, 1000) > 0)
			process(t);
	}
}

int main(int argc, char **argv)
{
	static const struct vfu_mmap_area area = {.offset = 0x1000, .size = 0x1000};
	static const unsigned irq_counts[VFU_NUM_IRQS] = {1, 8, 64, 1, 1};
	static struct toy toy = {.lock = PTHREAD_MUTEX_INITIALIZER, .work = PTHREAD_COND_INITIALIZER};
	struct vfu_device_ops ops = {
		.region_read = toy_read,
		.region_write = toy_write,
		.reset = toy_reset,
		.dma_map = toy_dma_map,
		.dma_unmap = toy_dma_unmap,
		.irq_masked = toy_irq_masked,
		.connected = toy_connected,
		.disconnected = toy_disconnected,
		.log = toy_log,
	};
	struct vfu_region regions[VFU_NUM_REGIONS] = {
		[0] = {.size = BAR0_SIZE,
		       .readable = true,
		       .writable = true,
		       .areas = &area,
		       .area_count = 1},
		[1] = {.size = SMALL_SIZE, .readable = true, .fd = -1},
		[2] = {.size = NUM_REGS * 8, .readable = true, .writable = true, .fd = -1},
		[3] = {.size = SMALL_SIZE, .writable = true, .fd = -1},
		[4] = {.size = SMALL_SIZE, .readable = true, .writable = true, .fd = -1},
		[5] = {.size = BUFFER_SIZE, .readable = true, .writable = true, .fd = -1},
		[VFU_REGION_ROM] = {.size = ROM_SIZE, .readable = true, .fd_offset = 0x3000},
		[VFU_REGION_CONFIG] = {.size = sizeof(toy.config),
				       .readable = true,
				       .writable = true,
				       .fd = -1},
		[VFU_REGION_VGA] = {.fd = -1},
	};
	struct vfu_server_options opts = {
		.regions = regions, .irq_counts = irq_counts, .ops = &ops, .device = &toy};
	pthread_t thread;
	int err;

	toy.bar0 = make_memory("bar0", BAR0_SIZE, &regions[0].fd);
	toy.rom = make_memory("rom", 0x3000 + ROM_SIZE, &regions[VFU_REGION_ROM].fd) + 0x3000;
	toy.buffer = calloc(1, BUFFER_SIZE);
	memcpy(toy.rom, "ROM!", 4);
	parse_arguments(argc, argv, &opts, &ops);
	install_handlers();
	err = vfu_server_create(&opts, &toy.server);
	if (err) {
		fprintf(stderr, "%s: %s\n", opts.path, strerror(-err));
		return 1;
	}
	if (pthread_create(&thread, NULL, helper, &toy))
		abort();
	printf("ready\n");
	fflush(stdout);
	serve(&toy);
	pthread_mutex_lock(&toy.lock);
	pthread_cond_signal(&toy.work);
	pthread_mutex_unlock(&toy.lock);
	vfu_server_disconnect(toy.server, "the server ends"); /* lets the helper go, if it waits */
	pthread_join(thread, NULL);
	vfu_server_destroy(toy.server);
	free(toy.buffer);
	return 0;
}
