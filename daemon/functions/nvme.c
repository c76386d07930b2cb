/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * An NVMe controller as a PCI function on its own socket. Main thread, unless a
 * function says otherwise.
 */
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/message.h"
#include "daemon/functions/function.h"
#include "daemon/functions/host.h"
#include "daemon/functions/kind.h"
#include "daemon/functions/unit.h"
#include "devices/nvme/nvme.h"
#include "os/clock.h"
#include "os/sentence.h"
#include "vfio_user/server.h"

#define CONFIG_SIZE	   256
#define PCI_COMMAND	   0x04
#define PCI_COMMAND_MEMORY 0x02
#define PCI_COMMAND_MASTER 0x04
#define PCI_BAR0	   0x10

#define DEEP 8 /* commands that wait in the queues: as many as it likes */

struct nvme_function {
	struct function base;
	const struct nvme_choice *choice;
	struct nvme *nvme;

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

static struct nvme_function *of(struct function *function)
{
	return (struct nvme_function *)function;
}

/* --------------------------------------------------------------- interrupts */

static void deliver_pin(struct nvme_function *f)
{
	if (f->pin_high)
		vfu_irq_raise(f->base.server, VFU_IRQ_INTX, 0);
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
	waker_kick(f->base.host->waker);
}

static void hold(struct function *function, unsigned ms)
{
	struct nvme_function *f = of(function);

	f->held_until_ns = os_now_ns() + ms * UINT64_C(1000000);
	nvme_hold(f->nvme, true);
}

/* A hold ends by time, and then there may be work. */
static bool is_held(const struct function *function)
{
	return ((const struct nvme_function *)function)->held_until_ns;
}

static void release_when_due(struct nvme_function *f)
{
	if (os_now_ns() < f->held_until_ns)
		return;
	f->held_until_ns = 0;
	nvme_hold(f->nvme, false);
}

static void poll_controller(struct function *function, unsigned budget, struct function_look *look)
{
	struct nvme_function *f = of(function);
	/* Looked at before the poll: the doorbells before it are seen by that poll. */
	bool unmask = f->unmask_asked && atomic_exchange(&f->unmask_asked, false);

	if (function->owns_unit)
		unit_poll(function->unit, budget, look);
	if (f->held_until_ns)
		release_when_due(f);
	look->steps += nvme_poll(f->nvme, budget);
	look->deep = look->deep || nvme_backlog(f->nvme) >= DEEP;
	if (unmask)
		deliver_pin(f);
}

static bool arm(struct function *function)
{
	return nvme_arm(of(function)->nvme);
}

static void msix(void *opaque, unsigned vector)
{
	struct nvme_function *f = opaque;

	vfu_irq_trigger(f->base.server, VFU_IRQ_MSIX, vector);
}

static bool send_message(struct function *function, uint64_t address, uint32_t data)
{
	struct nvme_function *f = of(function);

	return f->bus_master && vfu_server_connected(f->base.server) &&
	       !vfu_dma_write_posted(f->base.server, address, &data, sizeof(data));
}

/* ------------------------------------------- what the controller asks for */

static void kick(void *opaque)
{
	struct nvme_function *f = opaque;

	waker_kick(f->base.host->waker);
}

/* A VMM that ends takes the memory away before its last connection ends. */
static bool memory_gone(void *opaque)
{
	struct nvme_function *f = opaque;

	return !vfu_server_connected(f->base.unit->memory);
}

static const struct nvme_host_ops host_ops = {
	.msix = msix,
	.intx = intx,
	.kick = kick,
	.log = function_log,
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
	if (f->bus_master && !was_master)
		unit_device_used(f->base.unit);
	return err;
}

static void reset(void *device)
{
	struct nvme_function *f = device;

	f->bus_master = false;
	nvme_reset(f->nvme);
	f->pin_high = false;
	f->base.host->frozen = false;
}

/* -------------------------------------------------------- what others ask for */

static int64_t save(struct function *function, void *buf, size_t size)
{
	return nvme_save(of(function)->nvme, buf, size);
}

static int restore_check(struct function *function, const void *state, size_t length)
{
	return nvme_restore_check(of(function)->nvme, state, length);
}

static void restore(struct function *function, const void *state, size_t length)
{
	struct nvme_function *f = of(function);

	nvme_restore(f->nvme, state, length);
	f->bus_master = config_get(f, PCI_COMMAND) & PCI_COMMAND_MASTER;
}

static void describe(struct function *function, struct json_object *object)
{
	struct nvme_function *f = of(function);
	bool decode = config_get(f, PCI_COMMAND) & PCI_COMMAND_MEMORY;

	control_set_string(object, "kind", function->ops->kind);
	control_set_string(object, "name", function->name);
	control_set_string(object, "file", f->choice->path);
	control_set_string(object, "serial", f->choice->serial);
	function_describe_socket(function, object);
	control_set_bool(object, "bus_master", f->bus_master);
	control_set_bool(object, "memory_decode", decode);
	if (decode)
		control_set_u64(object, "bar",
				(config_get(f, PCI_BAR0) & ~0xfu) | (uint64_t)config_get(f, PCI_BAR0 + 4)
									    << 32);
}

static void destroy(struct function *function)
{
	struct nvme_function *f = of(function);

	vfu_server_destroy(function->server);
	if (f->nvme)
		nvme_destroy(f->nvme);
	viommu_requester_remove(function->requester);
	if (function->owns_unit)
		unit_destroy(function->unit);
	free(f);
}

static const struct function_ops function_ops = {
	.kind = "nvme",
	.state_kind = 3,
	.poll = poll_controller,
	.arm = arm,
	.has_silent_work = is_held,
	.hold = hold,
	.save = save,
	.restore_check = restore_check,
	.restore = restore,
	.send = send_message,
	.describe = describe,
	.destroy = destroy,
};

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
		.dma_map = f->base.owns_unit ? function_lend : NULL,
		.dma_unmap = f->base.owns_unit ? function_take_back : NULL,
		.irq_masked = irq_masked,
		.connected = function_connected,
		.disconnected = function_disconnected,
		.log = function_log,
	};
	struct vfu_server_options opts = {.path = f->base.socket,
					  .regions = regions,
					  .irq_counts = irqs,
					  .ops = &ops,
					  .device = f,
					  .unmapper = &f->base.host->unmapper.of_servers};

	return vfu_server_create(&opts, &f->base.server);
}

static int open_unit(struct nvme_function *f, const struct vm_options *o)
{
	static const struct viommu_options opts = {.sz = sizeof(opts),
						   .model = VIOMMU_MODEL_NONE,
						   .host_address_width = 52};

	f->base.owns_unit = !o->iommu_count;
	if (f->base.owns_unit)
		return unit_create(f->base.host, &opts, &f->base.unit);
	f->base.unit = host_find_unit(f->base.host, o->iommus[f->choice->unit].id);
	return f->base.unit ? 0 : -ENOENT;
}

static int open_controller(struct nvme_function *f, char *why, size_t why_size)
{
	struct nvme_options opts = {
		.fd = f->choice->fd,
		.serial = f->choice->serial,
		.io_queues = f->choice->queues,
		.read_only = f->choice->readonly,
		.rogue = f->choice->rogue,
	};
	int err = nvme_create(&opts, &host_ops, f, &f->nvme, why, why_size);

	if (err)
		return err;
	nvme_attach(f->nvme, f->base.requester, f->base.unit->thread);
	f->base.wake_fd = nvme_completion_fd(f->nvme);
	return 0;
}

static int open_all(struct nvme_function *f, const struct vm_options *o, char *why, size_t why_size)
{
	int err = open_unit(f, o);

	if (!err)
		err = viommu_requester_add(f->base.unit->v, (uint16_t)f->base.devfn, &f->base.requester);
	if (!err)
		err = open_controller(f, why, why_size);
	if (err)
		return err;
	err = open_server(f);
	if (err)
		os_say(why, why_size, "its socket cannot be opened");
	else if (f->base.owns_unit)
		f->base.unit->memory = f->base.server;
	return err;
}

static void init(struct nvme_function *f, struct host *host, const struct nvme_choice *choice, unsigned index)
{
	char socket_name[20];

	f->base = (struct function){
		.ops = &function_ops, .host = host, .index = index, .devfn = choice->devfn, .wake_fd = -1};
	f->choice = choice;
	function_init_logs(&f->base);
	snprintf(f->base.name, sizeof(f->base.name), "nvme%u", index);
	snprintf(socket_name, sizeof(socket_name), "nvme%u.sock", index);
	directory_socket(host->directory, socket_name, f->base.socket);
}

static int create(struct host *host, const struct vm_options *o, unsigned index,
		  struct function **ret_function, char *why, size_t why_size)
{
	struct nvme_function *f = calloc(1, sizeof(*f));
	char reason[OS_WHY_SIZE] = "it cannot be made";
	int err = -ENOMEM;

	if (f) {
		init(f, host, &o->nvme[index], index);
		err = open_all(f, o, reason, sizeof(reason));
	}
	if (err) {
		os_say(why, why_size, "--nvme %s: %s (%s)", o->nvme[index].path, reason, strerror(-err));
		if (f)
			destroy(&f->base);
		return err;
	}
	*ret_function = &f->base;
	return 0;
}

/* ----------------------------------------------------------------- the kind */

static int open_disk(struct vm_options *o, unsigned index, char *why, size_t why_size)
{
	struct nvme_choice *choice = &o->nvme[index];
	char reason[OS_WHY_SIZE];

	choice->fd = nvme_open_file(choice->path, choice->readonly, reason, sizeof(reason));
	if (choice->fd >= 0)
		return 0;
	return os_say(why, why_size, "--nvme %s: %s (%s)", choice->path, reason, strerror(-choice->fd));
}

static unsigned count(const struct vm_options *o)
{
	return o->nvme_count;
}

/* Of interrupts: errors, INTx with its mask and unmask, MSI-X. Of a disk: the file twice, the ring and its
 * eventfd. */
#define IRQ_DESCRIPTORS	 (4 + NVME_MSIX_VECTORS)
#define DISK_DESCRIPTORS 4

const struct function_kind nvme_kind = {
	.max = NVME_MAX,
	.descriptors = SERVER_DESCRIPTORS + IRQ_DESCRIPTORS + DISK_DESCRIPTORS,
	.count = count,
	.open = open_disk,
	.create = create,
};
