/* SPDX-License-Identifier: BSD-3-Clause */
/* Main thread, unless a function says otherwise. */
#include "daemon/functions/hidden_unit.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/message.h"
#include "daemon/functions/host.h"
#include "daemon/functions/unit.h"
#include "os/sentence.h"
#include "vfio_user/server.h"

static struct hidden_unit *of(struct function *function)
{
	return (struct hidden_unit *)function;
}

/* --------------------------------------------------------------- interrupts */

/* Behind each change of the configuration. */
static void look_who_sends(struct hidden_unit *f)
{
	f->sends = f->config.hidden && f->config.masters;
}

bool hidden_unit_send(struct function *function, uint64_t address, uint32_t data)
{
	const struct hidden_unit *f = of(function);

	return f->sends && vfu_server_connected(function->server) &&
	       !vfu_dma_write_posted(function->server, address, &data, sizeof(data));
}

/* ------------------------------------------------------------ configuration */

static void check_placement(struct hidden_unit *f)
{
	f->placements++;
	if (!f->expected || f->config.base == f->expected_base)
		return;
	f->mismatch = true;
	log_limited(&f->placement,
		    "%sWRONG REGISTER ADDRESS: firmware placed the IOMMU's registers at 0x%" PRIx32
		    ", but the guest's %s table says 0x%" PRIx64
		    "; the guest has no working IOMMU. Start again with 'viommu run' and the same devices",
		    f->base.unit->label, f->config.base, f->model->table, f->expected_base);
}

/*
 * A client may have announced the page to any unit before it told us that it is
 * one of registers: it was lent as memory then. Nobody waits for memory messages
 * meanwhile.
 */
static void take_back_registers(struct hidden_unit *f)
{
	const struct host *h = f->base.host;

	for (unsigned i = 0; f->config.base && i < h->unit_count; i++)
		unit_take_back(h->units[i], f->config.base, HIDDEN_BAR_SIZE);
}

static void became_hidden(struct hidden_unit *f)
{
	const struct host *h = f->base.host;

	for (unsigned i = 0; i < h->unit_count; i++)
		vfu_dma_hold(h->units[i]->memory);
	take_back_registers(f);
	for (unsigned i = 0; i < h->unit_count; i++)
		vfu_dma_release(h->units[i]->memory);
	check_placement(f);
}

static int config_access_fits(uint64_t offset, size_t len)
{
	return len <= HIDDEN_CONFIG_SIZE && offset <= HIDDEN_CONFIG_SIZE - len ? 0 : -EINVAL;
}

/* ---------------------------------------------------------------- registers */

/* Registers are accessed as 4 or 8 aligned bytes; anything else finds nothing there. */
static bool is_register_access(uint64_t offset, size_t len)
{
	return (len == 4 || len == 8) && offset % len == 0;
}

static void registers_read(struct hidden_unit *f, uint64_t offset, void *buf, size_t len)
{
	uint64_t value;

	memset(buf, 0xff, len);
	if (!is_register_access(offset, len))
		return;
	vm_count(&f->base.host->counters, VM_COUNT_register_reads);
	/* The BAR is larger than the register set: zeros, as reserved registers read. */
	if (viommu_regs_read(f->base.unit->v, offset, (unsigned)len, &value))
		value = 0;
	memcpy(buf, &value, len);
}

static void registers_write(struct hidden_unit *f, uint64_t offset, const void *buf, size_t len)
{
	uint64_t value = 0;

	if (!is_register_access(offset, len))
		return;
	memcpy(&value, buf, len);
	vm_count(&f->base.host->counters, VM_COUNT_register_writes);
	viommu_regs_write(f->base.unit->v, offset, (unsigned)len, value);
	/* What was left of the work is for the work thread. */
	waker_kick(f->base.host->waker);
}

/* --------------------------------------------------------------- the device */

static int region_read(void *device, unsigned region, uint64_t offset, void *buf, size_t len)
{
	struct hidden_unit *f = device;

	if (region == VFU_REGION_BAR0) {
		registers_read(f, offset, buf, len);
		return 0;
	}
	if (region != VFU_REGION_CONFIG || config_access_fits(offset, len))
		return -EINVAL;
	hidden_config_read(&f->config, offset, buf, len);
	return 0;
}

static int region_write(void *device, unsigned region, uint64_t offset, const void *buf, size_t len)
{
	struct hidden_unit *f = device;

	if (region == VFU_REGION_BAR0) {
		registers_write(f, offset, buf, len);
		return 0;
	}
	if (region != VFU_REGION_CONFIG || config_access_fits(offset, len))
		return -EINVAL;
	if (hidden_config_write(&f->config, offset, buf, len))
		became_hidden(f);
	look_who_sends(f);
	if (hidden_config_has_address(&f->config))
		lost_registers_found(&f->lost);
	return 0;
}

static void reset(void *device)
{
	struct hidden_unit *f = device;

	if (f->config.hidden)
		lost_registers_await(&f->lost);
	hidden_config_reset(&f->config);
	look_who_sends(f);
	f->base.host->frozen = false;
	unit_reset(f->base.unit);
}

static void connected(void *device)
{
	struct hidden_unit *f = device;

	/* A sleeping work thread must learn that there is a page to poll. */
	waker_kick(f->base.host->waker);
	function_connected(device);
}

static void disconnected(void *device, const char *why)
{
	struct hidden_unit *f = device;

	lost_registers_forget(&f->lost);
	function_disconnected(device, why);
}

static const struct vfu_device_ops device_ops = {
	.region_read = region_read,
	.region_write = region_write,
	.reset = reset,
	.dma_map = function_lend,
	.dma_unmap = function_take_back,
	.connected = connected,
	.disconnected = disconnected,
	.log = function_log,
};

/* -------------------------------------------------------- what others ask for */

void hidden_unit_poll(struct function *function, unsigned budget, struct function_look *look)
{
	unit_poll(function->unit, budget, look);
}

/* Is a client there that may write to the shared page? */
bool hidden_unit_has_silent_work(const struct function *function)
{
	return function->polled && vfu_server_connected(function->server);
}

void hidden_unit_expect(struct function *function, uint64_t base)
{
	struct hidden_unit *f = of(function);

	f->expected = true;
	f->expected_base = base;
	f->mismatch = false;
	if (f->config.hidden && f->config.base != base)
		f->mismatch = true;
}

bool hidden_unit_has_registers_in(const struct function *function, uint64_t first, uint64_t size)
{
	const struct hidden_config *c = &((const struct hidden_unit *)function)->config;

	return c->hidden && first >= c->base && first - c->base < HIDDEN_BAR_SIZE && size <= HIDDEN_BAR_SIZE;
}

void hidden_unit_device_used(struct function *function)
{
	lost_registers_device_used(&of(function)->lost);
}

int64_t hidden_unit_save(struct function *function, void *buf, size_t size)
{
	struct hidden_state s;

	if (!buf)
		return sizeof(s);
	if (size < sizeof(s))
		return -ENOSPC;
	hidden_config_save(&of(function)->config, &s);
	memcpy(buf, &s, sizeof(s));
	return sizeof(s);
}

int hidden_unit_restore_check(struct function *function, const void *state, size_t length)
{
	struct hidden_state s;

	(void)function;
	if (length != sizeof(s))
		return -EBADMSG;
	memcpy(&s, state, sizeof(s));
	return hidden_config_is_possible(&s) ? 0 : -EBADMSG;
}

void hidden_unit_restore(struct function *function, const void *state, size_t length)
{
	struct hidden_unit *f = of(function);
	struct hidden_state s;

	(void)length;
	memcpy(&s, state, sizeof(s));
	hidden_config_restore(&f->config, &s);
	look_who_sends(f);
	lost_registers_forget(&f->lost);
	if (!f->config.hidden)
		return;
	take_back_registers(f);
	check_placement(f);
}

void hidden_unit_describe(struct function *function, struct json_object *object)
{
	struct hidden_unit *f = of(function);

	control_set_string(object, "kind", function->ops->kind);
	control_set_string(object, "name", function->name);
	control_set_string(object, "model", function->ops->model);
	control_set_bool(object, "protects", function->ops->protects);
	function_describe_socket(function, object);
	control_set_string(object, "registers", function->polled ? "sidecore" : "trap");
	control_set_bool(object, "memory_decode", f->config.hidden);
	control_set_bool(object, "bus_master", f->sends);
	if (f->config.hidden)
		control_set_u64(object, "bar", f->config.base);
	control_set_u64(object, "placements", f->placements);
	control_set_bool(object, "registers_lost", f->lost.told);
	if (f->expected) {
		control_set_u64(object, "expected_base", f->expected_base);
		control_set_bool(object, "base_mismatch", f->mismatch);
	}
}

void hidden_unit_destroy(struct function *function)
{
	struct hidden_unit *f = of(function);

	vfu_server_destroy(f->base.server);
	unit_destroy(f->base.unit);
	lost_registers_finish(&f->lost);
	register_pages_finish(&f->pages);
	free(f);
}

/* ------------------------------------------------------------ begin and end */

static int open_server(struct hidden_unit *f)
{
	/* It has no interrupt. Without the one for errors, which never fires, QEMU warns at each start. */
	static const unsigned irqs[VFU_NUM_IRQS] = {[VFU_IRQ_ERR] = 1};
	struct vfu_region regions[VFU_NUM_REGIONS] = {
		[VFU_REGION_BAR0] = {.size = HIDDEN_BAR_SIZE, .readable = true, .writable = true, .fd = -1},
		[VFU_REGION_CONFIG] = {.size = HIDDEN_CONFIG_SIZE,
				       .readable = true,
				       .writable = true,
				       .fd = -1},
	};
	struct vfu_server_options opts = {.path = f->base.socket,
					  .regions = regions,
					  .irq_counts = irqs,
					  .ops = &device_ops,
					  .device = f,
					  .unmapper = &f->base.host->unmapper.of_servers};
	int err;

	register_pages_offer(&f->pages, &regions[VFU_REGION_BAR0]);
	err = vfu_server_create(&opts, &f->base.server);
	if (!err)
		f->base.unit->memory = f->base.server;
	return err;
}

static int open_unit(struct hidden_unit *f, const struct vm_options *o, const struct iommu_choice *choice)
{
	int err;

	f->options = (struct viommu_options){
		.sz = sizeof(f->options),
		.model = f->model->model,
		.host_address_width = UNIT_ADDRESS_WIDTH,
		.model_options = &f->own,
	};
	f->model->set_options(&f->own, choice);
	err = unit_create(f->base.host, &f->options, &f->base.unit);
	if (err)
		return err;
	f->base.unit->registers = &f->base;
	if (o->iommu_count > 1)
		snprintf(f->base.unit->label, sizeof(f->base.unit->label), "%s: ", f->base.name);
	return 0;
}

static int open_all(struct hidden_unit *f, const struct vm_options *o, const struct iommu_choice *choice,
		    char *why, size_t why_size)
{
	int err = open_unit(f, o, choice);

	if (!err)
		err = lost_registers_init(&f->lost, f->base.host, f->base.unit->label);
	if (!err && !choice->trap) {
		os_say(why, why_size, "the IOMMU's registers cannot be shared");
		err = register_pages_open(&f->pages, f->base.unit->v);
		f->base.polled = !err;
	} else if (!err && f->model->answers_writes) {
		err = register_pages_open_empty(&f->pages, HIDDEN_BAR_SIZE - 4096);
	}
	if (!err) {
		os_say(why, why_size, "the socket %s cannot be opened", strrchr(f->base.socket, '/') + 1);
		err = open_server(f);
	}
	return err;
}

static void init(struct hidden_unit *f, const struct hidden_model *model, struct host *host,
		 const struct iommu_choice *choice, unsigned index, unsigned number)
{
	f->model = model;
	f->base = (struct function){.ops = model->ops,
				    .host = host,
				    .index = index,
				    .devfn = choice->devfn | model->number,
				    .owns_unit = true,
				    .wake_fd = -1};
	strcpy(f->base.name, choice->id);
	function_socket_of_unit(&f->base, number);
	register_pages_init(&f->pages);
	log_bucket_init(&f->placement, host->label);
	function_init_logs(&f->base);
	hidden_config_reset(&f->config);
	if (choice->expected_base)
		hidden_unit_expect(&f->base, choice->expected_base);
}

int hidden_unit_create(const struct hidden_model *model, struct host *host, const struct vm_options *o,
		       unsigned index, struct function **ret_function, char *why, size_t why_size)
{
	unsigned number = options_iommu_number(o, model->choice, index);
	const struct iommu_choice *choice = &o->iommus[number];
	struct hidden_unit *f = calloc(1, sizeof(*f));
	char reason[OS_WHY_SIZE] = "the IOMMU cannot be made";
	int err = -ENOMEM;

	if (f) {
		init(f, model, host, choice, index, number);
		err = open_all(f, o, choice, reason, sizeof(reason));
	}
	if (err) {
		os_say(why, why_size, "%s in %s: %s", reason, host->directory->path, strerror(-err));
		if (f)
			hidden_unit_destroy(&f->base);
		return err;
	}
	*ret_function = &f->base;
	return 0;
}
