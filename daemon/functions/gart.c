/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The PCI function that carries the registers of the GART: function 3 of a
 * northbridge, whose configuration space has them. An operating system finds the
 * function by its identity and its place, so nothing hides and no firmware table
 * tells of it. Its client's memory is the memory of the unit. Main thread, unless
 * a function says otherwise.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "control/message.h"
#include "daemon/functions/function.h"
#include "daemon/functions/host.h"
#include "daemon/functions/kind.h"
#include "daemon/functions/unit.h"
#include "os/sentence.h"
#include "vfio_user/server.h"

#define CONFIG_SIZE 256

/* Publication 26094, function 3: identity, and the registers of the GART among those of the northbridge. */
#define VENDOR_ID     0x1022
#define DEVICE_ID     0x1103
#define CLASS	      0x060000 /* host bridge */
#define MULTIFUNCTION 0x80
#define REGISTERS     0x90
#define REGISTERS_END 0xa0
#define CACHE_CONTROL 0x9c

struct gart_function {
	struct function base;
	struct viommu_options options; /* of the unit */
};

/* ------------------------------------------------------------ configuration */

static uint32_t read_register(struct gart_function *f, uint64_t offset)
{
	uint64_t value = 0;

	vm_count(&f->base.host->counters, VM_COUNT_register_reads);
	viommu_regs_read(f->base.unit->v, offset, 4, &value);
	return (uint32_t)value;
}

/* A word of configuration space, little-endian. */
static uint32_t word_at(struct gart_function *f, uint64_t offset)
{
	switch (offset) {
	case 0x00:
		return DEVICE_ID << 16 | VENDOR_ID;
	case 0x08:
		return (uint32_t)CLASS << 8;
	case 0x0c:
		return MULTIFUNCTION << 16;
	}
	return offset >= REGISTERS && offset < REGISTERS_END ? read_register(f, offset) : 0;
}

static void config_read(struct gart_function *f, uint64_t offset, uint8_t *buf, size_t len)
{
	uint32_t word = 0;

	for (size_t i = 0; i < len; i++) {
		if (i == 0 || (offset + i) % 4 == 0)
			word = word_at(f, (offset + i) & ~UINT64_C(3));
		buf[i] = (uint8_t)(word >> 8 * ((offset + i) % 4));
	}
}

/* Bytes of a register that are not written keep their value; those of the cache control do nothing as 0. */
static void write_register(struct gart_function *f, uint64_t offset, const uint8_t *buf, size_t first,
			   size_t len)
{
	uint32_t value = offset != CACHE_CONTROL && len < 4 ? read_register(f, offset) : 0;

	for (size_t i = 0; i < len; i++) {
		unsigned shift = 8 * (unsigned)(first + i);

		value = (value & ~(UINT32_C(0xff) << shift)) | (uint32_t)buf[i] << shift;
	}
	vm_count(&f->base.host->counters, VM_COUNT_register_writes);
	viommu_regs_write(f->base.unit->v, offset, 4, value);
}

/* All else is read-only. */
static void config_write(struct gart_function *f, uint64_t offset, const uint8_t *buf, size_t len)
{
	while (len) {
		uint64_t word = offset & ~UINT64_C(3);
		size_t first = offset % 4, n = len < 4 - first ? len : 4 - first;

		if (word >= REGISTERS && word < REGISTERS_END)
			write_register(f, word, buf, first, n);
		offset += n;
		buf += n;
		len -= n;
	}
	/* What was left of an invalidation is for the work thread. */
	waker_kick(f->base.host->waker);
}

/* --------------------------------------------------------------- the device */

static bool fits(unsigned region, uint64_t offset, size_t len)
{
	return region == VFU_REGION_CONFIG && len <= CONFIG_SIZE && offset <= CONFIG_SIZE - len;
}

static int region_read(void *device, unsigned region, uint64_t offset, void *buf, size_t len)
{
	if (!fits(region, offset, len))
		return -EINVAL;
	config_read(device, offset, buf, len);
	return 0;
}

static int region_write(void *device, unsigned region, uint64_t offset, const void *buf, size_t len)
{
	if (!fits(region, offset, len))
		return -EINVAL;
	config_write(device, offset, buf, len);
	return 0;
}

static void reset(void *device)
{
	struct gart_function *f = device;

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

static void poll_unit(struct function *function, unsigned budget, struct function_look *look)
{
	unit_poll(function->unit, budget, look);
}

static bool has_silent_work(const struct function *function)
{
	(void)function;
	return false;
}

/* The function has no state beside the unit's. */
static int64_t save(struct function *function, void *buf, size_t size)
{
	(void)function;
	(void)buf;
	(void)size;
	return 0;
}

static int restore_check(struct function *function, const void *state, size_t length)
{
	(void)function;
	(void)state;
	return length ? -EBADMSG : 0;
}

static void restore(struct function *function, const void *state, size_t length)
{
	(void)function;
	(void)state;
	(void)length;
}

static void describe(struct function *function, struct json_object *object)
{
	control_set_string(object, "kind", function->ops->kind);
	control_set_string(object, "name", function->name);
	control_set_string(object, "model", function->ops->model);
	control_set_bool(object, "protects", function->ops->protects);
	function_describe_socket(function, object);
}

static void destroy(struct function *function)
{
	vfu_server_destroy(function->server);
	unit_destroy(function->unit);
	free(function);
}

static const struct function_ops function_ops = {
	.kind = "iommu",
	.model = "gart",
	.state_kind = 4,
	.poll = poll_unit,
	.has_silent_work = has_silent_work,
	.save = save,
	.restore_check = restore_check,
	.restore = restore,
	.describe = describe,
	.destroy = destroy,
};

/* ------------------------------------------------------------ begin and end */

static int open_server(struct gart_function *f)
{
	/* It has no interrupt. Without the one for errors, which never fires, QEMU warns at each start. */
	static const unsigned irqs[VFU_NUM_IRQS] = {[VFU_IRQ_ERR] = 1};
	static const struct vfu_region regions[VFU_NUM_REGIONS] = {
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

static int open_unit(struct gart_function *f)
{
	int err;

	f->options = (struct viommu_options){
		.sz = sizeof(f->options),
		.model = VIOMMU_MODEL_GART,
		.host_address_width = UNIT_ADDRESS_WIDTH,
	};
	err = unit_create(f->base.host, &f->options, &f->base.unit);
	if (!err)
		f->base.unit->registers = &f->base;
	return err;
}

static void init(struct gart_function *f, struct host *host, const struct iommu_choice *choice)
{
	f->base = (struct function){
		.ops = &function_ops, .host = host, .devfn = choice->devfn, .owns_unit = true, .wake_fd = -1};
	strcpy(f->base.name, choice->id);
	function_socket_of_unit(&f->base, 0);
	function_init_logs(&f->base);
}

static int create(struct host *host, const struct vm_options *o, unsigned index,
		  struct function **ret_function, char *why, size_t why_size)
{
	struct gart_function *f = calloc(1, sizeof(*f));
	const char *reason = "the GART cannot be made";
	int err = -ENOMEM;

	if (f) {
		init(f, host, &o->iommus[index]);
		err = open_unit(f);
	}
	if (!err) {
		reason = "the socket iommu.sock cannot be opened";
		err = open_server(f);
	}
	if (err) {
		os_say(why, why_size, "%s in %s: %s", reason, host->directory->path, strerror(-err));
		if (f)
			destroy(&f->base);
		return err;
	}
	log_line("%sNOT PROTECTED: the GART remaps an aperture, and keeps devices from no memory; --iommu "
		 "vtd does",
		 host->label);
	*ret_function = &f->base;
	return 0;
}

/* ----------------------------------------------------------------- the kind */

static unsigned count(const struct vm_options *o)
{
	return options_iommu_count(o, IOMMU_GART);
}

const struct function_kind gart_kind = {
	.max = 1,			       /* one for all devices of a machine */
	.descriptors = SERVER_DESCRIPTORS + 1, /* errors */
	.count = count,
	.create = create,
};
