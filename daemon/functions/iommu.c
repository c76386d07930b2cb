/* SPDX-License-Identifier: BSD-3-Clause */
#include "daemon/functions/iommu.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "control/message.h"
#include "daemon/functions/lost_registers.h"
#include "daemon/vm.h"

#define PAGE_SIZE 4096

struct iommu_function {
	struct vm *vm;
	struct unit *unit;
	struct vfu_server *server;
	struct log_bucket log;	     /* what the client does wrong */
	struct log_bucket placement; /* what must not drown among that */
	struct log_bucket sessions;
	char socket[SOCKET_PATH_MAX];
	struct hidden_config config;

	/* Sidecore mode: page 0 of the registers, shared with the client. */
	int page_fd;
	void *page;

	/* Where the registers are, and should be. */
	uint64_t placements; /* times that firmware enabled decoding */
	bool expected, mismatch;
	uint64_t expected_base;
	struct lost_registers lost;
};

/* ------------------------------------------------------------ configuration */

static void check_placement(struct iommu_function *f)
{
	f->placements++;
	if (!f->expected || f->config.base == f->expected_base)
		return;
	f->mismatch = true;
	log_limited(&f->placement,
		    "WRONG REGISTER ADDRESS: firmware placed the IOMMU's registers at 0x%" PRIx32
		    ", but the guest's DMAR table says 0x%" PRIx64
		    "; the guest has no working IOMMU. Start again with 'viommu run' and the same devices",
		    f->config.base, f->expected_base);
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

static void registers_read(struct iommu_function *f, uint64_t offset, void *buf, size_t len)
{
	uint64_t value;

	memset(buf, 0xff, len);
	if (!is_register_access(offset, len))
		return;
	vm_count(&f->vm->counters, VM_COUNT_register_reads);
	/* The BAR is larger than the register set: zeros, as reserved registers read. */
	if (viommu_regs_read(f->unit->v, offset, (unsigned)len, &value))
		value = 0;
	memcpy(buf, &value, len);
}

static void registers_write(struct iommu_function *f, uint64_t offset, const void *buf, size_t len)
{
	uint64_t value = 0;

	if (!is_register_access(offset, len))
		return;
	memcpy(&value, buf, len);
	vm_count(&f->vm->counters, VM_COUNT_register_writes);
	viommu_regs_write(f->unit->v, offset, (unsigned)len, value);
	/* What was left of the work is for the work thread. */
	waker_kick(f->vm->waker);
}

/* --------------------------------------------------------------- the device */

static int region_read(void *device, unsigned region, uint64_t offset, void *buf, size_t len)
{
	struct iommu_function *f = device;

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
	struct iommu_function *f = device;

	if (region == VFU_REGION_BAR0) {
		registers_write(f, offset, buf, len);
		return 0;
	}
	if (region != VFU_REGION_CONFIG || config_access_fits(offset, len))
		return -EINVAL;
	if (hidden_config_write(&f->config, offset, buf, len))
		check_placement(f);
	if (hidden_config_has_address(&f->config))
		lost_registers_found(&f->lost);
	return 0;
}

static void reset(void *device)
{
	struct iommu_function *f = device;

	if (f->config.hidden)
		lost_registers_await(&f->lost);
	hidden_config_reset(&f->config);
	f->vm->frozen = false;
	/* It waits for accesses in flight, and their answers would have to come through here. */
	vfu_dma_hold(f->server);
	viommu_reset(f->unit->v);
	vfu_dma_release(f->server);
}

static bool is_own_page(const struct iommu_function *f, const struct vfu_dma_map *map)
{
	return f->config.hidden && map->iova >= f->config.base &&
	       map->iova - f->config.base < HIDDEN_BAR_SIZE && map->size <= HIDDEN_BAR_SIZE;
}

static int dma_map(void *device, const struct vfu_dma_map *map)
{
	struct iommu_function *f = device;

	/* QEMU announces whatever the guest has mapped, our own register page too. That is not memory. */
	return is_own_page(f, map) ? 0 : unit_lend(f->unit, map);
}

static void dma_unmap(void *device, uint64_t iova, uint64_t size)
{
	struct iommu_function *f = device;

	unit_take_back(f->unit, iova, size);
}

static void connected(void *device)
{
	struct iommu_function *f = device;

	/* A sleeping work thread must learn that there is a page to poll. */
	waker_kick(f->vm->waker);
	if (f->vm->verbose)
		log_limited(&f->sessions, "iommu: a client is there");
}

static void disconnected(void *device, const char *why)
{
	struct iommu_function *f = device;

	lost_registers_forget(&f->lost);
	if (f->vm->verbose)
		log_limited(&f->sessions, "iommu: the client is gone: %s", why ? why : "no reason known");
}

static void log_op(void *device, const char *line)
{
	struct iommu_function *f = device;

	log_limited(&f->log, "iommu: %s", line);
}

static const struct vfu_device_ops device_ops = {
	.region_read = region_read,
	.region_write = region_write,
	.reset = reset,
	.dma_map = dma_map,
	.dma_unmap = dma_unmap,
	.connected = connected,
	.disconnected = disconnected,
	.log = log_op,
};

/* ------------------------------------------------------------ begin and end */

/* A memfd of one page that no client can shrink under us. */
static int open_page(struct iommu_function *f)
{
	f->page_fd = memfd_create("viommu-registers", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (f->page_fd < 0 || ftruncate(f->page_fd, PAGE_SIZE) ||
	    fcntl(f->page_fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL))
		return -errno;
	f->page = mmap(NULL, PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, f->page_fd, 0);
	if (f->page == MAP_FAILED) {
		f->page = NULL;
		return -errno;
	}
	return viommu_regs_share(f->unit->v, f->page);
}

static int open_server(struct iommu_function *f)
{
	static const struct vfu_mmap_area shared_page = {.offset = 0, .size = PAGE_SIZE};
	/* It has no interrupt. Without the one for errors, which never fires, QEMU warns at each start. */
	static const unsigned irqs[VFU_NUM_IRQS] = {[VFU_IRQ_ERR] = 1};
	struct vfu_region regions[VFU_NUM_REGIONS] = {
		[VFU_REGION_BAR0] = {.size = HIDDEN_BAR_SIZE, .readable = true, .writable = true, .fd = -1},
		[VFU_REGION_CONFIG] = {.size = HIDDEN_CONFIG_SIZE,
				       .readable = true,
				       .writable = true,
				       .fd = -1},
	};
	struct vfu_server_options opts = {.path = f->socket,
					  .regions = regions,
					  .irq_counts = irqs,
					  .ops = &device_ops,
					  .device = f,
					  .unmapper = &f->vm->unmapper.of_servers};
	int err;

	if (f->page) {
		regions[VFU_REGION_BAR0].fd = f->page_fd;
		regions[VFU_REGION_BAR0].areas = &shared_page;
		regions[VFU_REGION_BAR0].area_count = 1;
	}
	err = vfu_server_create(&opts, &f->server);
	if (!err)
		f->unit->memory = f->server;
	return err;
}

static int open_unit(struct iommu_function *f)
{
	const struct iommu_choice *choice = &f->vm->options->iommu;
	const struct viommu_vtd_options vtd = {
		.sz = sizeof(vtd),
		.caching_mode = choice->caching_mode,
		.only_39bit = choice->width == 39,
	};
	const struct viommu_options opts = {
		.sz = sizeof(opts),
		.model = VIOMMU_MODEL_VTD,
		.host_address_width = UNIT_ADDRESS_WIDTH,
		.model_options = &vtd,
	};

	return unit_create(f->vm, &opts, &f->unit);
}

int iommu_function_create(struct vm *vm, struct iommu_function **ret_function, const char **ret_why)
{
	struct iommu_function *f = calloc(1, sizeof(*f));
	int err;

	*ret_why = "the IOMMU cannot be made";
	if (!f)
		return -ENOMEM;
	f->vm = vm;
	f->page_fd = -1;
	log_bucket_init(&f->log, vm->label);
	log_bucket_init(&f->placement, vm->label);
	log_bucket_init(&f->sessions, vm->label);
	hidden_config_reset(&f->config);
	if (vm->options->expected_base)
		iommu_function_expect(f, vm->options->expected_base);
	directory_socket(vm->directory, "iommu.sock", f->socket);
	err = lost_registers_init(&f->lost, vm);
	if (!err)
		err = open_unit(f);
	if (!err && !vm->options->trap) {
		*ret_why = "the IOMMU's registers cannot be shared";
		err = open_page(f);
	}
	if (!err) {
		*ret_why = "the socket iommu.sock cannot be opened";
		err = open_server(f);
	}
	if (err) {
		iommu_function_destroy(f);
		return err;
	}
	*ret_function = f;
	return 0;
}

void iommu_function_destroy(struct iommu_function *f)
{
	if (!f)
		return;
	vfu_server_destroy(f->server);
	unit_destroy(f->unit);
	lost_registers_finish(&f->lost);
	if (f->page)
		munmap(f->page, PAGE_SIZE);
	if (f->page_fd >= 0)
		close(f->page_fd);
	free(f);
}

/* -------------------------------------------------------- what others ask for */

struct unit *iommu_function_unit(struct iommu_function *f)
{
	return f->unit;
}

struct vfu_server *iommu_function_server(struct iommu_function *f)
{
	return f->server;
}

void iommu_function_expect(struct iommu_function *f, uint64_t base)
{
	f->expected = true;
	f->expected_base = base;
	f->mismatch = false;
	if (f->config.hidden && f->config.base != base)
		f->mismatch = true;
}

void iommu_function_device_used(struct iommu_function *f)
{
	lost_registers_device_used(&f->lost);
}

bool iommu_function_is_polled(const struct iommu_function *f)
{
	return f->page && vfu_server_connected(f->server);
}

void iommu_function_save(const struct iommu_function *f, struct hidden_state *ret_state)
{
	hidden_config_save(&f->config, ret_state);
}

bool iommu_function_can_be(const void *state, size_t length)
{
	struct hidden_state s;

	if (length != sizeof(s))
		return false;
	memcpy(&s, state, sizeof(s));
	return hidden_config_is_possible(&s);
}

void iommu_function_restore(struct iommu_function *f, const void *state)
{
	struct hidden_state s;

	memcpy(&s, state, sizeof(s));
	hidden_config_restore(&f->config, &s);
	lost_registers_forget(&f->lost);
	if (f->config.hidden)
		check_placement(f);
}

void iommu_function_describe(const struct iommu_function *f, struct json_object *function,
			     struct json_object *status)
{
	unsigned devfn = f->vm->options->iommu.devfn;
	char address[32];

	snprintf(address, sizeof(address), "%x.%u", devfn >> 3, devfn & 7);
	control_set_string(function, "kind", "iommu");
	control_set_string(function, "name", "iommu");
	control_set_string(function, "socket", f->socket);
	control_set_string(function, "address", address);
	control_set_bool(function, "connected", vfu_server_connected(f->server));
	control_set_bool(function, "memory_decode", f->config.hidden);
	if (f->config.hidden)
		control_set_u64(function, "bar", f->config.base);
	control_set_u64(status, "placements", f->placements);
	control_set_bool(status, "registers_lost", f->lost.told);
	if (f->expected) {
		control_set_u64(status, "expected_base", f->expected_base);
		control_set_bool(status, "base_mismatch", f->mismatch);
	}
}
