/* SPDX-License-Identifier: BSD-3-Clause */
/* Making and ending a controller, and one turn of its work. */
#include "nvme/controller.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

static int check_options(const struct nvme_options *opts, const struct nvme_host_ops *ops, char *why,
			 size_t why_size)
{
	if (!ops || !ops->msix || !ops->intx || !ops->kick || !ops->log || !opts ||
	    (!opts->path && opts->fd < 0)) {
		snprintf(why, why_size, "a file and all host functions are needed");
		return -EINVAL;
	}
	if (opts->io_queues > NVME_MAX_QUEUES - 1) {
		snprintf(why, why_size, "a controller has 1 to 64 I/O queue pairs");
		return -EINVAL;
	}
	if (opts->serial && strlen(opts->serial) > 20) {
		snprintf(why, why_size, "a serial number has at most 20 characters");
		return -EINVAL;
	}
	return 0;
}

/* Different files get different names, or Linux would take two controllers for one. */
static void set_names(struct nvme *n, const char *serial)
{
	uint64_t id[2];

	disk_identity(n->disk, n->identity);
	memcpy(id, n->identity, sizeof(id));
	if (serial)
		snprintf(n->serial, sizeof(n->serial), "%s", serial);
	else
		snprintf(n->serial, sizeof(n->serial), "viommu-%013llx",
			 (unsigned long long)((id[0] * 0x9e3779b97f4a7c15ull ^ id[1]) & 0xfffffffffffffull));
}

static int allocate(struct nvme *n)
{
	void *staging =
		mmap(NULL, NVME_STAGING_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (staging != MAP_FAILED)
		n->staging = staging;
	n->commands = calloc(NVME_COMMANDS, sizeof(*n->commands));
	if (!n->commands || !n->staging)
		return -ENOMEM;
	for (unsigned i = 0; i < NVME_COMMANDS; i++) {
		n->commands[i].next = n->free_commands;
		n->free_commands = &n->commands[i];
	}
	n->free_count = NVME_COMMANDS;
	return 0;
}

int nvme_open_file(const char *path, bool read_only, char *why, size_t why_size)
{
	return disk_open_file(path, read_only, why, why_size);
}

static int open_disk(struct nvme *n, const struct nvme_options *opts, enum disk_engine engine, char *why,
		     size_t why_size)
{
	struct disk_options disk = {
		.path = opts->path,
		.fd = opts->fd,
		.read_only = opts->read_only,
		.engine = engine,
		.depth = NVME_COMMANDS,
	};
	int ret = disk_open(&disk, &n->disk, why, why_size);

	if (ret < 0)
		return ret;
	n->blocks = disk_size(n->disk) >> NVME_BLOCK_LG2;
	if (n->blocks)
		return 0;
	snprintf(why, why_size,
		 "the disk is smaller than one block of 512 bytes; make it larger with truncate -s 1G FILE");
	return -EINVAL;
}

static void init_registers(struct nvme *n)
{
	pthread_mutex_init(&n->lock, NULL);
	pthread_mutex_lock(&n->lock);
	nvme_registers_reset(n);
	nvme_pci_config_reset(n);
	pthread_mutex_unlock(&n->lock);
}

int nvme_controller_create(const struct nvme_options *opts, enum disk_engine engine,
			   const struct nvme_host_ops *ops, void *opaque, struct nvme **ret_nvme, char *why,
			   size_t why_size)
{
	struct nvme *n;
	int ret = check_options(opts, ops, why, why_size);

	if (ret < 0)
		return ret;
	snprintf(why, why_size, "out of memory");
	n = calloc(1, sizeof(*n));
	if (!n)
		return -ENOMEM;
	n->ops = *ops;
	n->opaque = opaque;
	n->io_queues = opts->io_queues ? opts->io_queues : 8;
	n->read_only = opts->read_only;
	n->rogue = opts->rogue;
	n->no_dbbuf = opts->no_dbbuf;
	init_registers(n);
	ret = allocate(n);
	if (ret == 0)
		ret = open_disk(n, opts, engine, why, why_size);
	if (ret < 0) {
		nvme_destroy(n);
		return ret;
	}
	set_names(n, opts->serial);
	nvme_command_reset(n);
	nvme_queue_reset(n);
	nvme_features_reset(n);
	*ret_nvme = n;
	return 0;
}

int nvme_create(const struct nvme_options *opts, const struct nvme_host_ops *ops, void *opaque,
		struct nvme **ret_nvme, char *why, size_t why_size)
{
	return nvme_controller_create(opts, DISK_ENGINE_ANY, ops, opaque, ret_nvme, why, why_size);
}

void nvme_destroy(struct nvme *n)
{
	if (!n)
		return;
	disk_close(n->disk);
	free(n->commands);
	if (n->staging)
		munmap(n->staging, NVME_STAGING_SIZE);
	pthread_mutex_destroy(&n->lock);
	free(n);
}

void nvme_attach(struct nvme *n, struct viommu_requester *requester, struct viommu_thread *thread)
{
	n->requester = requester;
	n->thread = thread;
}

static unsigned serve_queues(struct nvme *n, unsigned budget)
{
	unsigned steps = nvme_queue_take_doorbells(n);

	steps += nvme_doorbell_buffer_poll(n);
	steps += nvme_command_retry(n);
	steps += nvme_async_event_deliver(n);
	if (steps < budget)
		steps += nvme_queue_fetch(n, budget - steps);
	return steps;
}

/* While the guest has taken bus mastering away, what completed waits at the disk. */
static bool may_reap(struct nvme *n)
{
	return n->life != NVME_LIFE_ON || n->shutdown != NVME_SHUTDOWN_NONE || nvme_dma_allowed(n);
}

static void disarm(struct nvme *n)
{
	if (!n->armed)
		return;
	n->armed = false;
	disk_disarm(n->disk);
	nvme_doorbell_buffer_disarm(n);
}

unsigned nvme_poll(struct nvme *n, unsigned budget)
{
	unsigned steps = nvme_lifecycle_run(n);

	disarm(n);
	if (may_reap(n))
		steps += nvme_command_reap(n, budget);
	if (n->life == NVME_LIFE_ON && nvme_dma_allowed(n))
		steps += serve_queues(n, budget);
	disk_kick(n->disk);
	/* What the page cache had is complete by now. */
	if (n->disk_in_flight && steps < budget && may_reap(n))
		steps += nvme_command_reap(n, budget - steps);
	if (n->unsettled)
		steps += nvme_lifecycle_run(n);
	nvme_interrupt_flush(n);
	return steps;
}

static bool posted(struct nvme *n)
{
	if (atomic_load(&n->control))
		return true;
	if (n->life != NVME_LIFE_ON || !nvme_dma_allowed(n))
		return false;
	for (unsigned i = 0; i < NVME_DOORBELL_WORDS; i++) {
		if (atomic_load(&n->doorbell_rung[i]))
			return true;
	}
	return atomic_load(&n->doorbell_invalid);
}

static bool fetchable(struct nvme *n)
{
	if (!nvme_dma_allowed(n))
		return false;
	for (unsigned i = 0; i <= n->io_queues; i++) {
		if (nvme_queue_can_fetch(n, i))
			return true;
	}
	return n->unposted != NULL && n->life == NVME_LIFE_ON;
}

bool nvme_arm(struct nvme *n)
{
	bool idle = nvme_doorbell_buffer_arm(n);

	n->armed = true;
	if (!disk_arm(n->disk) && may_reap(n))
		idle = false;
	return idle && !posted(n) && !fetchable(n);
}

int nvme_completion_fd(const struct nvme *n)
{
	return disk_fd(n->disk);
}
