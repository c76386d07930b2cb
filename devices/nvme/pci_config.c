/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * PCI configuration space. Sections are those of PCI 3.0, PCI power management 1.2,
 * and PCI Express 4.0 for the capabilities.
 */
#include "nvme/pci_config.h"

#include <errno.h>
#include <string.h>

#include "pci/config_space.h"

enum {
	COMMAND = 0x04,
	STATUS = 0x06,
	CAP_PM = 0x40,
	PMCSR = CAP_PM + 4,
	CAP_MSIX = 0x50,
	MSIX_CONTROL = CAP_MSIX + 2,
	CAP_EXPRESS = 0x60,
	DEVICE_CONTROL = CAP_EXPRESS + 8,
};

#define COMMAND_MASTER	    (1u << 2)
#define COMMAND_INTX_OFF    (1u << 10)
#define STATUS_INTX	    (1u << 3)
#define STATUS_CAPABILITIES (1u << 4)
#define PMCSR_STATE	    3u
#define PMCSR_NO_SOFT_RESET (1u << 3)
#define MSIX_ENABLE	    (1u << 15)
#define EXPRESS_FLR	    (1u << 28) /* device capabilities */
#define CONTROL_FLR	    (1u << 15) /* device control */

static const struct pci_field fields[] = {
	{0x00, 2, NVME_PCI_VENDOR, 0},
	{0x02, 2, NVME_PCI_DEVICE, 0},
	{COMMAND, 2, 0, 0x0546}, /* memory, master, parity, SERR, INTx disable */
	{STATUS, 2, STATUS_CAPABILITIES, 0},
	{0x08, 4, 0x01080201, 0}, /* NVM Express, revision 1 */
	{0x0c, 1, 0, 0xff},	  /* cache line size */
	{0x10, 4, 0x4, ~(NVME_BAR0_SIZE - 1u)},
	{0x14, 4, 0, 0xffffffff},
	{0x20, 4, 0x4, ~(NVME_BAR4_SIZE - 1u)},
	{0x24, 4, 0, 0xffffffff},
	{0x2c, 2, NVME_PCI_VENDOR, 0},
	{0x2e, 2, NVME_PCI_DEVICE, 0},
	{0x34, 1, CAP_PM, 0},
	{0x3c, 1, 0, 0xff}, /* interrupt line */
	{0x3d, 1, 1, 0},    /* INTA */

	{CAP_PM, 2, 0x01 | CAP_MSIX << 8, 0},
	{CAP_PM + 2, 2, 0x0003, 0}, /* version 1.2, D0 and D3 */
	{PMCSR, 2, PMCSR_NO_SOFT_RESET, PMCSR_STATE},

	{CAP_MSIX, 2, 0x11 | CAP_EXPRESS << 8, 0},
	{MSIX_CONTROL, 2, NVME_MSIX_VECTORS - 1, 0xc000}, /* enable, function mask */
	{CAP_MSIX + 4, 4, 4, 0},			  /* table: BAR 4, offset 0 */
	{CAP_MSIX + 8, 4, 0x1000 | 4, 0},		  /* PBA: BAR 4, offset 4096 */

	{CAP_EXPRESS, 2, 0x10, 0},			     /* the last */
	{CAP_EXPRESS + 2, 2, 0x0002, 0},		     /* version 2, endpoint */
	{CAP_EXPRESS + 4, 4, EXPRESS_FLR | 0x8000 | 0x1, 0}, /* role-based errors, 256 byte payload */
	{DEVICE_CONTROL, 2, 0x2810, 0x7fff},
	{CAP_EXPRESS + 12, 4, 0x0011, 0}, /* link: x1, 2.5 GT/s */
	{CAP_EXPRESS + 16, 2, 0, 0x01fb},
	{CAP_EXPRESS + 18, 2, 0x0011, 0},
	{CAP_EXPRESS + 0x24, 4, 0x10, 0}, /* completion timeout disable supported */
	{CAP_EXPRESS + 0x28, 2, 0, 0x1f},
	{CAP_EXPRESS + 0x2c, 4, 0x2, 0},
	{CAP_EXPRESS + 0x30, 2, 0x1, 0xf},
	{0},
};

/* What others look at without the lock. */
static void publish(struct nvme *n)
{
	bool master = pci_config_get(n->config, COMMAND, 2) & COMMAND_MASTER;
	bool d0 = (pci_config_get(n->config, PMCSR, 2) & PMCSR_STATE) == 0;

	atomic_store(&n->dma_enabled, master && d0);
	atomic_store(&n->msix_enabled, (pci_config_get(n->config, MSIX_CONTROL, 2) & MSIX_ENABLE) != 0);
	nvme_interrupt_update_intx(n);
}

void nvme_pci_config_reset(struct nvme *n)
{
	pci_config_reset(fields, n->config);
	publish(n);
}

bool nvme_pci_config_is_possible(const uint8_t config[NVME_PCI_CONFIG_SIZE])
{
	return pci_config_is_possible(fields, config);
}

void nvme_pci_config_set(struct nvme *n, const uint8_t config[NVME_PCI_CONFIG_SIZE])
{
	memcpy(n->config, config, NVME_PCI_CONFIG_SIZE);
	publish(n);
}

bool nvme_pci_config_intx_allowed(const struct nvme *n)
{
	return !(pci_config_get(n->config, COMMAND, 2) & COMMAND_INTX_OFF) &&
	       !(pci_config_get(n->config, MSIX_CONTROL, 2) & MSIX_ENABLE) &&
	       (pci_config_get(n->config, PMCSR, 2) & PMCSR_STATE) == 0;
}

int nvme_config_read(struct nvme *n, uint64_t offset, void *buf, size_t len)
{
	uint8_t copy[NVME_PCI_CONFIG_SIZE];

	if (!pci_config_has(offset, len))
		return -EINVAL;
	pthread_mutex_lock(&n->lock);
	memcpy(copy, n->config, sizeof(copy));
	/*
	 * Interrupt status tells of an INTx condition, whether or not INTx is disabled (PCI Express 4.0,
	 * 7.5.1.1.4). A function whose MSI-X is enabled has no INTx (7.7.2.2), and no such condition.
	 */
	if ((n->intx_pending & ~n->intms) && !atomic_load(&n->msix_enabled))
		copy[STATUS] |= STATUS_INTX;
	pthread_mutex_unlock(&n->lock);
	memcpy(buf, copy + offset, len);
	return 0;
}

static bool asks_for_flr(uint64_t offset, const uint8_t *bytes, size_t len)
{
	uint64_t high = DEVICE_CONTROL + 1;

	return offset <= high && high < offset + len && (bytes[high - offset] & CONTROL_FLR >> 8);
}

int nvme_config_write(struct nvme *n, uint64_t offset, const void *buf, size_t len)
{
	const uint8_t *bytes = buf;

	if (!pci_config_has(offset, len))
		return -EINVAL;
	if (asks_for_flr(offset, bytes, len)) {
		nvme_reset(n);
		return 0;
	}
	pthread_mutex_lock(&n->lock);
	pci_config_write(fields, n->config, offset, buf, len);
	publish(n);
	pthread_mutex_unlock(&n->lock);
	n->ops.kick(n->opaque);
	return 0;
}
