/* SPDX-License-Identifier: BSD-3-Clause */
/* The function's PCI identity and what its configuration space says about interrupts. */
#ifndef DEVICES_NVME_PCI_CONFIG_H
#define DEVICES_NVME_PCI_CONFIG_H

#include "nvme/controller.h"

/*
 * No PCI-SIG member owns 0xfff1. Drivers bind to the class code (NVM Express),
 * and none has a quirk for this id.
 */
#define NVME_PCI_VENDOR 0xfff1
#define NVME_PCI_DEVICE 0x4e56

/* Call with the lock. */
bool nvme_pci_config_intx_allowed(const struct nvme *n);

/* Can a guest have made it like this? */
bool nvme_pci_config_is_possible(const uint8_t config[NVME_PCI_CONFIG_SIZE]);
/* Make it such, with all that follows. Call with the lock. */
void nvme_pci_config_set(struct nvme *n, const uint8_t config[NVME_PCI_CONFIG_SIZE]);

#endif
