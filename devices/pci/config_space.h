/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Configuration space of a PCI function (PCI Local Bus 3.0, 6.1) as a table: what
 * each field is at reset, and which of its bits a guest may write.
 */
#ifndef DEVICES_PCI_CONFIG_SPACE_H
#define DEVICES_PCI_CONFIG_SPACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PCI_CONFIG_SIZE 256

/* A table of fields ends with one of size 0. What no field covers is 0 and read-only. */
struct pci_field {
	uint8_t offset, size; /* bytes; size 1 to 4 */
	uint32_t reset, writable;
};

void pci_config_reset(const struct pci_field *fields, uint8_t config[PCI_CONFIG_SIZE]);
/* Can a guest have made it like this? */
bool pci_config_is_possible(const struct pci_field *fields, const uint8_t config[PCI_CONFIG_SIZE]);
/* Is it an access of at least a byte that ends within configuration space? */
bool pci_config_has(uint64_t offset, size_t len);
/* What pci_config_has() has accepted. */
void pci_config_write(const struct pci_field *fields, uint8_t config[PCI_CONFIG_SIZE], uint64_t offset,
		      const void *buf, size_t len);
/* A little-endian field of 1 to 4 bytes. */
uint32_t pci_config_get(const uint8_t config[PCI_CONFIG_SIZE], unsigned offset, unsigned size);

#endif
