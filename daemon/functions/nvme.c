/* SPDX-License-Identifier: BSD-3-Clause */
#include "daemon/functions/nvme.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "control/message.h"
#include "daemon/vm.h"

#define CONFIG_SIZE	   256
#define PCI_COMMAND	   0x04
#define PCI_COMMAND_MEMORY 0x02
#define PCI_COMMAND_MASTER 0x04
#define PCI_BAR0	   0x10

struct nvme_function {
	struct vm *vm;
	const struct nvme_choice *choice;
	struct nvme *nvme;
	struct vfu_server *server;
	struct unit *unit;
	bool own_unit;
	struct viommu_requester *requester;
	struct log_bucket log; /* what client and guest do wrong */
	struct log_bucket sessions;
	char name[12];
	char socket[SOCKET_PATH_MAX];

	_Atomic bool bus_master; /* main thread writes, senders of interrupts read */

	/*
	 * The pin is a level, the client takes edges: each one masks it (in the
	 * server) until the client unmasks, and then it is told again if still
	 * high. That is judged by the work thread, after a round: QEMU unmasks right
	 * behind the guest's write to a doorbell, which must have lowered the
	 * pin first. An edge too many would keep the guest in its interrupt
	 * handler until it touches a register again.
	 */
	_Atomic bool pin_high, unmask_asked;

	uint64_t held_until_ns; /* the work thread's; 0: not held */
};

/* --------------------------------------------------------------- interrupts */

static void deliver_pin(struct nvme_function *f)
{
	if (f->pin_high)
		vfu_irq_raise(f->server, VFU_IRQ_INTX, 0);
}

static void intx(void *opaque, bool level)
{
	struct nvme_function *f = opaque;

	f->pin_high = level;
	deliver_pin(f);
}

static void irq_masked(void *device, unsigned index, unsigned first, unsigned count, bool masked)
{
	struct nvme_function *f = device;

	(void)first;
	(void)count;
	if (index != VFU_IRQ_INTX || masked)
		return;
	f->unmask_asked = true;
	waker_kick(f->vm->waker);
}

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

void nvme_function_hold(struct nvme_function *f, unsigned ms)
{
	f->held_until_ns = now_ns() + ms * UINT64_C(1000000);
	nvme_hold(f->nvme, true);
}

bool nvme_function_is_held(const struct nvme_function *f)
{
	return f->held_until_ns;
}

static void release_when_due(struct nvme_function *f)
{
	if (now_ns() < f->held_until_ns)
		return;
	f->held_until_ns = 0;
	nvme_hold(f->nvme, false);
}

unsigned nvme_function_poll(struct nvme_function *f, unsigned budget)
{
	/* Looked at before the poll: the doorbells before it are seen by that poll. */
	bool unmask = f->unmask_asked && atomic_exchange(&f->unmask_asked, false);
	unsigned steps;

	if (f->held_until_ns)
		release_when_due(f);
	steps = nvme_poll(f->nvme, budget);
	if (unmask)
		deliver_pin(f);
	return steps;
}

static void msix(void *opaque, unsigned vector)
{
	struct nvme_function *f = opaque;

	vfu_irq_trigger(f->server, VFU_IRQ_MSIX, vector);
}

bool nvme_function_send(struct nvme_function *f, uint64_t address, uint32_t data)
{
	return f->bus_master && vfu_server_connected(f->server) &&
	       !vfu_dma_write_posted(f->server, address, &data, sizeof(data));
}

/* ------------------------------------------- what the controller asks for */

static void kick(void *opaque)
{
	struct nvme_function *f = opaque;

	waker_kick(f->vm->waker);
}

static void log_op(void *opaque, const char *line)
{
	struct nvme_function *f = opaque;

	log_limited(&f->log, "%s: %s", f->name, line);
}

/* A VMM that ends takes the memory away before its last connection ends. */
static bool memory_gone(void *opaque)
{
	struct nvme_function *f = opaque;

	return !vfu_server_connected(f->unit->memory);
}

static const struct nvme_host_ops host_ops = {
	.msix = msix,
	.intx = intx,
	.kick = kick,
	.log = log_op,
	.memory_gone = memory_gone,
};

/* --------------------------------------------------------------- the device */

static uint32_t config_get(struct nvme_function *f, uint64_t offset)
{
	uint32_t value = 0;

	nvme_config_read(f->nvme, offset, &value, sizeof(value));
	return value;
}

static int region_read(void *device, unsigned region, uint64_t offset, void *buf, size_t len)
{
	struct nvme_function *f = device;

	if (region != VFU_REGION_CONFIG)
		return nvme_bar_read(f->nvme, region, offset, buf, len);
	return nvme_config_read(f->nvme, offset, buf, len);
}

static int region_write(void *device, unsigned region, uint64_t offset, const void *buf, size_t len)
{
	struct nvme_function *f = device;
	bool was_master = f->bus_master;
	int err;

	if (region != VFU_REGION_CONFIG)
		return nvme_bar_write(f->nvme, region, offset, buf, len);
	err = nvme_config_write(f->nvme, offset, buf, len);
	f->bus_master = config_get(f, PCI_COMMAND) & PCI_COMMAND_MASTER;
	if (f->vm->iommu && f->bus_master && !was_master)
		iommu_function_device_used(f->vm->iommu);
	return err;
}

static void reset(void *device)
{
	struct nvme_function *f = device;

	f->bus_master = false;
	nvme_reset(f->nvme);
	f->pin_high = false;
	f->vm->frozen = false;
}

void nvme_function_restored(struct nvme_function *f)
{
	f->bus_master = config_get(f, PCI_COMMAND) & PCI_COMMAND_MASTER;
}

static int dma_map(void *device, const struct vfu_dma_map *map)
{
	struct nvme_function *f = device;

	return unit_lend(f->unit, map);
}

static void dma_unmap(void *device, uint64_t iova, uint64_t size)
{
	struct nvme_function *f = device;

	unit_take_back(f->unit, iova, size);
}

static void connected(void *device)
{
	struct nvme_function *f = device;

	if (f->vm->verbose)
		log_limited(&f->sessions, "%s: a client is there", f->name);
}

static void disconnected(void *device, const char *why)
{
	struct nvme_function *f = device;

	if (f->vm->verbose)
		log_limited(&f->sessions, "%s: the client is gone: %s", f->name,
			    why ? why : "no reason known");
}

/* ------------------------------------------------------------ begin and end */

static int open_server(struct nvme_function *f)
{
	static const struct vfu_region regions[VFU_NUM_REGIONS] = {
		[VFU_REGION_BAR0] = {.size = NVME_BAR0_SIZE, .readable = true, .writable = true, .fd = -1},
		[4] = {.size = NVME_BAR4_SIZE, .readable = true, .writable = true, .fd = -1},
		[VFU_REGION_CONFIG] = {.size = CONFIG_SIZE, .readable = true, .writable = true, .fd = -1},
	};
	static const unsigned irqs[VFU_NUM_IRQS] = {
		[VFU_IRQ_INTX] = 1, [VFU_IRQ_MSIX] = NVME_MSIX_VECTORS, [VFU_IRQ_ERR] = 1, /* never fires;
											      without it QEMU
											      warns at each
											      start */
	};
	struct vfu_device_ops ops = {
		.region_read = region_read,
		.region_write = region_write,
		.reset = reset,
		/* Behind the VT-d unit the IOMMU function's client lends the memory, once for all. */
		.dma_map = f->own_unit ? dma_map : NULL,
		.dma_unmap = f->own_unit ? dma_unmap : NULL,
		.irq_masked = irq_masked,
		.connected = connected,
		.disconnected = disconnected,
		.log = log_op,
	};
	struct vfu_server_options opts = {.path = f->socket,
					  .regions = regions,
					  .irq_counts = irqs,
					  .ops = &ops,
					  .device = f,
					  .unmapper = &f->vm->unmapper.of_servers};

	return vfu_server_create(&opts, &f->server);
}

static int open_unit(struct nvme_function *f, struct unit *unit)
{
	struct viommu_options opts = {.sz = sizeof(opts),
				      .model = VIOMMU_MODEL_NONE,
				      .host_address_width = 52};

	f->unit = unit;
	f->own_unit = !unit;
	return unit ? 0 : unit_create(f->vm, &opts, &f->unit);
}

static int open_controller(struct nvme_function *f, const char **ret_why)
{
	struct nvme_options opts = {
		.fd = f->choice->fd,
		.serial = f->choice->serial,
		.io_queues = f->choice->queues,
		.read_only = f->choice->readonly,
		.rogue = f->choice->rogue,
	};

	return nvme_create(&opts, &host_ops, f, &f->nvme, ret_why);
}

static int open_all(struct nvme_function *f, struct unit *unit, const char **ret_why)
{
	int err = open_unit(f, unit);

	if (!err)
		err = viommu_requester_add(f->unit->v, nvme_function_rid(f), &f->requester);
	if (err)
		return err;
	err = open_controller(f, ret_why);
	if (err)
		return err;
	nvme_attach(f->nvme, f->requester, f->unit->thread);
	*ret_why = "its socket cannot be opened";
	err = open_server(f);
	if (!err && f->own_unit)
		f->unit->memory = f->server;
	return err;
}

int nvme_function_create(struct vm *vm, unsigned index, struct unit *unit,
			 struct nvme_function **ret_function, const char **ret_why)
{
	struct nvme_function *f = calloc(1, sizeof(*f));
	char socket_name[20];
	int err;

	*ret_why = "it cannot be made";
	if (!f)
		return -ENOMEM;
	f->vm = vm;
	f->choice = &vm->options->nvme[index];
	log_bucket_init(&f->log, vm->label);
	log_bucket_init(&f->sessions, vm->label);
	snprintf(f->name, sizeof(f->name), "nvme%u", index);
	snprintf(socket_name, sizeof(socket_name), "nvme%u.sock", index);
	directory_socket(vm->directory, socket_name, f->socket);
	err = open_all(f, unit, ret_why);
	if (err) {
		nvme_function_destroy(f);
		return err;
	}
	*ret_function = f;
	return 0;
}

void nvme_function_destroy(struct nvme_function *f)
{
	if (!f)
		return;
	vfu_server_destroy(f->server);
	if (f->nvme)
		nvme_destroy(f->nvme);
	viommu_requester_remove(f->requester);
	if (f->own_unit)
		unit_destroy(f->unit);
	free(f);
}

/* -------------------------------------------------------- what others ask for */

struct nvme *nvme_function_controller(struct nvme_function *f)
{
	return f->nvme;
}

struct viommu_requester *nvme_function_requester(struct nvme_function *f)
{
	return f->requester;
}

struct unit *nvme_function_unit(struct nvme_function *f)
{
	return f->unit;
}

struct vfu_server *nvme_function_server(struct nvme_function *f)
{
	return f->server;
}

const char *nvme_function_name(const struct nvme_function *f)
{
	return f->name;
}

uint16_t nvme_function_rid(const struct nvme_function *f)
{
	return (uint16_t)f->choice->devfn; /* bus 0 */
}

void nvme_function_describe(struct nvme_function *f, struct json_object *function)
{
	bool decode = config_get(f, PCI_COMMAND) & PCI_COMMAND_MEMORY;
	char address[32];

	snprintf(address, sizeof(address), "%x.%u", f->choice->devfn >> 3, f->choice->devfn & 7);
	control_set_string(function, "kind", "nvme");
	control_set_string(function, "name", f->name);
	control_set_string(function, "file", f->choice->path);
	control_set_string(function, "serial", f->choice->serial);
	control_set_string(function, "socket", f->socket);
	control_set_string(function, "address", address);
	control_set_bool(function, "connected", vfu_server_connected(f->server));
	control_set_bool(function, "bus_master", f->bus_master);
	control_set_bool(function, "memory_decode", decode);
	if (decode)
		control_set_u64(function, "bar",
				(config_get(f, PCI_BAR0) & ~0xfu) | (uint64_t)config_get(f, PCI_BAR0 + 4)
									    << 32);
}
