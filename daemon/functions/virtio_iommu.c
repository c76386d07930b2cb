/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The PCI function of a virtio-iommu unit. Its own accesses bypass the unit, and its
 * client's memory is the memory of the unit. Main thread, unless a function says
 * otherwise.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/message.h"
#include "daemon/functions/function.h"
#include "daemon/functions/host.h"
#include "daemon/functions/kind.h"
#include "daemon/functions/unit.h"
#include "devices/virtio/iommu.h"
#include "os/clock.h"
#include "os/sentence.h"
#include "vfio_user/server.h"

#define CONFIG_SIZE 256

struct virtio_function {
	struct function base;
	struct viommu_virtio_options unit_options;
	struct viommu_options options; /* of the unit */
	struct virtio_iommu *device;
	struct virtio *virtio;		    /* its transport */
	struct viommu_requester *requester; /* of the function's own accesses */
	uint64_t held_until_ns;		    /* the work thread's; 0: not held */
};

static struct virtio_function *of(struct function *function)
{
	return (struct virtio_function *)function;
}

/* ----------------------------------------------------------------- work thread */

static void release_when_due(struct virtio_function *f)
{
	if (os_now_ns() >= f->held_until_ns)
		f->held_until_ns = 0;
}

static void poll_function(struct function *function, unsigned budget, struct function_look *look)
{
	struct virtio_function *f = of(function);
	struct virtio_iommu_look found = {0};
	unsigned steps = look->steps;

	if (f->held_until_ns)
		release_when_due(f);
	virtio_iommu_take(f->device, f->held_until_ns ? 0 : budget, &found);
	unit_poll(function->unit, budget, look);
	virtio_iommu_give(f->device, look->steps != steps, &found);
	look->steps += found.steps;
	look->deep = look->deep || found.deep;
	look->pending = look->pending || found.pending;
}

static bool arm(struct function *function)
{
	struct virtio_function *f = of(function);

	return f->held_until_ns || virtio_iommu_arm(f->device);
}

/* A hold ends by time, and then there may be requests. */
static bool is_held(const struct function *function)
{
	return ((const struct virtio_function *)function)->held_until_ns;
}

static void hold(struct function *function, unsigned ms)
{
	of(function)->held_until_ns = os_now_ns() + ms * UINT64_C(1000000);
}

/* ----------------------------------------------------- what the device asks for */

static void msix(void *opaque, unsigned vector)
{
	const struct virtio_function *f = opaque;

	vfu_irq_trigger(f->base.server, VFU_IRQ_MSIX, vector);
}

static void kick(void *opaque)
{
	const struct virtio_function *f = opaque;

	waker_kick(f->base.host->waker);
}

static const struct virtio_iommu_host_ops host_ops = {
	.msix = msix,
	.kick = kick,
	.log = function_log,
};

/* --------------------------------------------------------------- the device */

static int region_read(void *device, unsigned region, uint64_t offset, void *buf, size_t len)
{
	struct virtio_function *f = device;

	if (region == VFU_REGION_CONFIG)
		return virtio_config_read(f->virtio, offset, buf, len);
	vm_count(&f->base.host->counters, VM_COUNT_register_reads);
	return virtio_bar_read(f->virtio, region, offset, buf, len);
}

static int region_write(void *device, unsigned region, uint64_t offset, const void *buf, size_t len)
{
	struct virtio_function *f = device;

	if (region == VFU_REGION_CONFIG)
		return virtio_config_write(f->virtio, offset, buf, len);
	vm_count(&f->base.host->counters, VM_COUNT_register_writes);
	return virtio_bar_write(f->virtio, region, offset, buf, len);
}

static void reset(void *device)
{
	struct virtio_function *f = device;

	virtio_reset(f->virtio);
	f->base.host->frozen = false;
	unit_reset(f->base.unit);
}

static const struct vfu_device_ops device_ops = {
	.region_read = region_read,
	.region_write = region_write,
	.reset = reset,
	.dma_map = function_lend,
	.dma_unmap = function_take_back,
	.connected = function_connected,
	.disconnected = function_disconnected,
	.log = function_log,
};

/* -------------------------------------------------------- what others ask for */

static int64_t save(struct function *function, void *buf, size_t size)
{
	return virtio_iommu_save(of(function)->device, buf, size);
}

static int restore_check(struct function *function, const void *state, size_t length)
{
	return virtio_restore_check(of(function)->virtio, state, length);
}

static void restore(struct function *function, const void *state, size_t length)
{
	(void)length;
	virtio_iommu_restore(of(function)->device, state);
}

static void describe(struct function *function, struct json_object *object)
{
	control_set_string(object, "kind", function->ops->kind);
	control_set_string(object, "name", function->name);
	control_set_string(object, "model", function->ops->model);
	control_set_bool(object, "protects", function->ops->protects);
	function_describe_socket(function, object);
	control_set_bool(object, "bus_master", virtio_masters_bus(of(function)->virtio));
	control_set_string(object, "driver", virtio_has_driver(of(function)->virtio) ? "ready" : "none");
}

static void destroy(struct function *function)
{
	struct virtio_function *f = of(function);

	vfu_server_destroy(function->server);
	virtio_iommu_destroy(f->device);
	viommu_requester_remove(f->requester);
	unit_destroy(function->unit);
	free(f);
}

static const struct function_ops function_ops = {
	.kind = "iommu",
	.model = "virtio",
	.protects = true,
	.state_kind = 5,
	.poll = poll_function,
	.arm = arm,
	.has_silent_work = is_held,
	.hold = hold,
	.save = save,
	.restore_check = restore_check,
	.restore = restore,
	.describe = describe,
	.destroy = destroy,
};

/* ------------------------------------------------------------ begin and end */

static int open_server(struct virtio_function *f)
{
	static const unsigned irqs[VFU_NUM_IRQS] = {
		[VFU_IRQ_MSIX] = VIRTIO_IOMMU_VECTORS, [VFU_IRQ_ERR] = 1, /* never fires; without it QEMU
									     warns */
	};
	static const struct vfu_region regions[VFU_NUM_REGIONS] = {
		[VFU_REGION_BAR0] = {.size = VIRTIO_BAR0_SIZE, .readable = true, .writable = true, .fd = -1},
		[4] = {.size = VIRTIO_BAR4_SIZE, .readable = true, .writable = true, .fd = -1},
		[VFU_REGION_CONFIG] = {.size = CONFIG_SIZE, .readable = true, .writable = true, .fd = -1},
	};
	const struct vfu_server_options opts = {.path = f->base.socket,
						.regions = regions,
						.irq_counts = irqs,
						.ops = &device_ops,
						.device = f,
						.unmapper = &f->base.host->unmapper.of_servers};
	int err = vfu_server_create(&opts, &f->base.server);

	if (!err)
		f->base.unit->memory = f->base.server;
	return err;
}

static int open_unit(struct virtio_function *f, const struct vm_options *o)
{
	int err;

	f->unit_options = (struct viommu_virtio_options){
		.sz = sizeof(f->unit_options),
		.blocked = !o->iommus[options_iommu_number(o, IOMMU_VIRTIO, f->base.index)].boot_bypass,
	};
	f->options = (struct viommu_options){
		.sz = sizeof(f->options),
		.model = VIOMMU_MODEL_VIRTIO,
		.host_address_width = UNIT_ADDRESS_WIDTH,
		.model_options = &f->unit_options,
	};
	err = unit_create(f->base.host, &f->options, &f->base.unit);
	if (err)
		return err;
	f->base.unit->registers = &f->base;
	if (o->iommu_count > 1)
		snprintf(f->base.unit->label, sizeof(f->base.unit->label), "%s: ", f->base.name);
	return viommu_requester_bypass_add(f->base.unit->v, (uint16_t)f->base.devfn, &f->requester);
}

static int open_device(struct virtio_function *f)
{
	struct unit *u = f->base.unit;

	f->device = virtio_iommu_create(u->v, f->requester, u->thread, &host_ops, f);
	if (!f->device)
		return -ENOMEM;
	f->virtio = virtio_iommu_transport(f->device);
	return 0;
}

static void init(struct virtio_function *f, struct host *host, const struct vm_options *o, unsigned index)
{
	unsigned number = options_iommu_number(o, IOMMU_VIRTIO, index);
	const struct iommu_choice *choice = &o->iommus[number];

	f->base = (struct function){.ops = &function_ops,
				    .host = host,
				    .index = index,
				    .devfn = choice->devfn,
				    .owns_unit = true,
				    .wake_fd = -1};
	strcpy(f->base.name, choice->id);
	function_init_logs(&f->base);
	function_socket_of_unit(&f->base, number);
}

static int create(struct host *host, const struct vm_options *o, unsigned index,
		  struct function **ret_function, char *why, size_t why_size)
{
	struct virtio_function *f = calloc(1, sizeof(*f));
	const char *reason = "the IOMMU cannot be made";
	int err = -ENOMEM;

	if (f) {
		init(f, host, o, index);
		err = open_unit(f, o);
	}
	if (!err)
		err = open_device(f);
	if (!err) {
		reason = "the socket of the IOMMU cannot be opened";
		err = open_server(f);
	}
	if (err) {
		os_say(why, why_size, "%s in %s: %s", reason, host->directory->path, strerror(-err));
		if (f)
			destroy(&f->base);
		return err;
	}
	*ret_function = &f->base;
	return 0;
}

/* ----------------------------------------------------------------- the kind */

static unsigned count(const struct vm_options *o)
{
	return options_iommu_count(o, IOMMU_VIRTIO);
}

const struct function_kind virtio_iommu_kind = {
	.max = IOMMU_MAX,
	.descriptors = SERVER_DESCRIPTORS + VIRTIO_IOMMU_VECTORS + 1, /* MSI-X and errors */
	.count = count,
	.create = create,
};
