/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The PCI function by which a guest knows an AMD-Vi unit (publication 48882, 3.2):
 * the IOMMU capability, and MSI for the unit's interrupt. It has no BAR: the IVRS
 * table tells where the registers are. Main thread, unless a function says otherwise.
 *
 * The bus master bit is always 1: Linux never sets it here, and QEMU would lose the
 * interrupt.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/message.h"
#include "daemon/functions/function.h"
#include "daemon/functions/hidden_config.h"
#include "daemon/functions/host.h"
#include "daemon/functions/kind.h"
#include "daemon/functions/unit.h"
#include "devices/pci/config_space.h"
#include "os/sentence.h"
#include "vfio_user/server.h"

enum { CAP_IOMMU = 0x40, CAP_MSI = 0x64 };

#define DEVICE_ID     (HIDDEN_DEVICE_ID + 1)
#define MULTIFUNCTION 0x80
#define CAPABILITIES  0x10
#define CAP_HEADER    0x180b0000u /* type IOMMU, revision 1; EFR and the extended header are there */
#define MISCELLANEOUS 0x00203040u /* widths: guest virtual 2, physical 48, virtual 64 bits */
#define NAME_SUFFIX   "-pci"

static const struct pci_field fields[] = {
	{0x00, 2, HIDDEN_VENDOR_ID, 0},
	{0x02, 2, DEVICE_ID, 0},
	{0x04, 2, 0x0004, 0x0542}, /* memory, parity, SERR, INTx disable; bus master is fixed */
	{0x06, 2, CAPABILITIES, 0},
	{0x09, 3, HIDDEN_CLASS, 0},
	{0x0c, 1, 0, 0xff},
	{0x0e, 1, MULTIFUNCTION, 0},
	{0x34, 1, CAP_IOMMU, 0},
	{0x3c, 1, 0, 0xff}, /* interrupt line */

	{CAP_IOMMU, 4, CAP_HEADER | CAP_MSI << 8 | 0x0f, 0},
	{CAP_IOMMU + 0x10, 4, MISCELLANEOUS, 0},

	{CAP_MSI, 2, 0x05, 0},		/* the last */
	{CAP_MSI + 2, 2, 0x80, 0x0001}, /* 64-bit addresses, one message; enable */
	{CAP_MSI + 4, 4, 0, 0xfffffffc},
	{CAP_MSI + 8, 4, 0, 0xffffffff},
	{CAP_MSI + 12, 2, 0, 0xffff},
	{0},
};

struct amdvi_pci {
	struct function base;
	uint8_t config[PCI_CONFIG_SIZE];
};

static struct amdvi_pci *of(struct function *function)
{
	return (struct amdvi_pci *)function;
}

/* Any thread. */
static bool raise_interrupt(struct function *function)
{
	return vfu_irq_trigger(function->server, VFU_IRQ_MSI, 0);
}

static int region_read(void *device, unsigned region, uint64_t offset, void *buf, size_t len)
{
	const struct amdvi_pci *f = device;

	if (region != VFU_REGION_CONFIG || !pci_config_has(offset, len))
		return -EINVAL;
	memcpy(buf, f->config + offset, len);
	return 0;
}

static int region_write(void *device, unsigned region, uint64_t offset, const void *buf, size_t len)
{
	struct amdvi_pci *f = device;

	if (region != VFU_REGION_CONFIG || !pci_config_has(offset, len))
		return -EINVAL;
	pci_config_write(fields, f->config, offset, buf, len);
	return 0;
}

static void reset(void *device)
{
	struct amdvi_pci *f = device;

	pci_config_reset(fields, f->config);
	f->base.host->frozen = false;
}

static const struct vfu_device_ops device_ops = {
	.region_read = region_read,
	.region_write = region_write,
	.reset = reset,
	.connected = function_connected,
	.disconnected = function_disconnected,
	.log = function_log,
};

/* -------------------------------------------------------- what others ask for */

/* The unit is polled by the function that has its registers. */
static void poll_nothing(struct function *function, unsigned budget, struct function_look *look)
{
	(void)function;
	(void)budget;
	(void)look;
}

static bool has_silent_work(const struct function *function)
{
	(void)function;
	return false;
}

static int64_t save(struct function *function, void *buf, size_t size)
{
	if (!buf)
		return PCI_CONFIG_SIZE;
	if (size < PCI_CONFIG_SIZE)
		return -ENOSPC;
	memcpy(buf, of(function)->config, PCI_CONFIG_SIZE);
	return PCI_CONFIG_SIZE;
}

static int restore_check(struct function *function, const void *state, size_t length)
{
	(void)function;
	return length == PCI_CONFIG_SIZE && pci_config_is_possible(fields, state) ? 0 : -EBADMSG;
}

static void restore(struct function *function, const void *state, size_t length)
{
	memcpy(of(function)->config, state, length);
}

static void describe(struct function *function, struct json_object *object)
{
	control_set_string(object, "kind", function->ops->kind);
	control_set_string(object, "name", function->name);
	control_set_string(object, "of", unit_name(function->unit));
	function_describe_socket(function, object);
}

static void destroy(struct function *function)
{
	vfu_server_destroy(function->server);
	free(function);
}

static const struct function_ops function_ops = {
	.kind = "iommu-pci",
	.state_kind = 7,
	.poll = poll_nothing,
	.has_silent_work = has_silent_work,
	.save = save,
	.restore_check = restore_check,
	.restore = restore,
	.raise = raise_interrupt,
	.describe = describe,
	.destroy = destroy,
};

/* ------------------------------------------------------------ begin and end */

static int open_server(struct amdvi_pci *f)
{
	static const unsigned irqs[VFU_NUM_IRQS] = {
		[VFU_IRQ_MSI] = 1, [VFU_IRQ_ERR] = 1, /* never fires; without it QEMU warns at each start */
	};
	static const struct vfu_region regions[VFU_NUM_REGIONS] = {
		[VFU_REGION_CONFIG] = {.size = PCI_CONFIG_SIZE, .readable = true, .writable = true, .fd = -1},
	};
	const struct vfu_server_options opts = {.path = f->base.socket,
						.regions = regions,
						.irq_counts = irqs,
						.ops = &device_ops,
						.device = f,
						.unmapper = &f->base.host->unmapper.of_servers};

	return vfu_server_create(&opts, &f->base.server);
}

static void init(struct amdvi_pci *f, struct host *host, const struct vm_options *o, unsigned index)
{
	unsigned number = options_iommu_number(o, IOMMU_AMDVI, index);
	const struct iommu_choice *choice = &o->iommus[number];
	char name[24];

	f->base = (struct function){.ops = &function_ops,
				    .host = host,
				    .index = index,
				    .devfn = choice->devfn,
				    .unit = host_find_unit(host, choice->id),
				    .wake_fd = -1};
	snprintf(f->base.name, sizeof(f->base.name), "%s" NAME_SUFFIX, choice->id);
	snprintf(name, sizeof(name), "pci%u.sock", number);
	directory_socket(host->directory, name, f->base.socket);
	function_init_logs(&f->base);
	pci_config_reset(fields, f->config);
}

static int create(struct host *host, const struct vm_options *o, unsigned index,
		  struct function **ret_function, char *why, size_t why_size)
{
	struct amdvi_pci *f = calloc(1, sizeof(*f));
	int err = -ENOMEM;

	if (f) {
		init(f, host, o, index);
		err = open_server(f);
	}
	if (err) {
		os_say(why, why_size, "the socket of the IOMMU's PCI function cannot be opened in %s: %s",
		       host->directory->path, strerror(-err));
		free(f);
		return err;
	}
	*ret_function = &f->base;
	return 0;
}

static unsigned count(const struct vm_options *o)
{
	return options_iommu_count(o, IOMMU_AMDVI);
}

const struct function_kind amdvi_pci_kind = {
	.max = IOMMU_MAX,
	.descriptors = SERVER_DESCRIPTORS + 2, /* MSI and errors */
	.count = count,
	.create = create,
};
