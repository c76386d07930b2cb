/* SPDX-License-Identifier: BSD-3-Clause */
#include "pci/config_space.h"

#include <string.h>

/* The writable bits of each byte. */
static uint8_t writable_byte(const struct pci_field *fields, unsigned offset)
{
	for (const struct pci_field *f = fields; f->size; f++) {
		if (offset >= f->offset && offset < (unsigned)f->offset + f->size)
			return (uint8_t)(f->writable >> 8 * (offset - f->offset));
	}
	return 0;
}

void pci_config_reset(const struct pci_field *fields, uint8_t config[PCI_CONFIG_SIZE])
{
	memset(config, 0, PCI_CONFIG_SIZE);
	for (const struct pci_field *f = fields; f->size; f++) {
		for (unsigned i = 0; i < f->size; i++)
			config[f->offset + i] = (uint8_t)(f->reset >> 8 * i);
	}
}

bool pci_config_is_possible(const struct pci_field *fields, const uint8_t config[PCI_CONFIG_SIZE])
{
	uint8_t fixed[PCI_CONFIG_SIZE];

	pci_config_reset(fields, fixed);
	for (unsigned i = 0; i < PCI_CONFIG_SIZE; i++) {
		if ((config[i] ^ fixed[i]) & ~writable_byte(fields, i))
			return false;
	}
	return true;
}

bool pci_config_has(uint64_t offset, size_t len)
{
	return len && len <= PCI_CONFIG_SIZE && offset <= PCI_CONFIG_SIZE - len;
}

void pci_config_write(const struct pci_field *fields, uint8_t config[PCI_CONFIG_SIZE], uint64_t offset,
		      const void *buf, size_t len)
{
	const uint8_t *bytes = buf;

	for (size_t i = 0; i < len; i++) {
		uint8_t mask = writable_byte(fields, (unsigned)(offset + i)), *at = &config[offset + i];

		*at = (uint8_t)((*at & ~mask) | (bytes[i] & mask));
	}
}

uint32_t pci_config_get(const uint8_t config[PCI_CONFIG_SIZE], unsigned offset, unsigned size)
{
	uint32_t value = 0;

	for (unsigned i = 0; i < size; i++)
		value |= (uint32_t)config[offset + i] << 8 * i;
	return value;
}
