/* SPDX-License-Identifier: BSD-3-Clause */
/* Configuration space as a table of fields. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "pci/config_space.h"

static const struct pci_field fields[] = {
	{0x00, 4, 0x12345678, 0}, {0x04, 2, 0x0100, 0x0007}, {0x09, 3, 0x0a0b0c, 0x0000ff},
	{0x10, 4, 4, 0xfffff000}, {0xff, 1, 0x5a, 0xf0},     {0},
};

static void at_reset(void **state)
{
	uint8_t config[PCI_CONFIG_SIZE];

	memset(config, 0xee, sizeof(config));
	pci_config_reset(fields, config);
	assert_memory_equal(config, "\x78\x56\x34\x12\0\x01\0\0\0\x0c\x0b\x0a\0\0\0\0\x04\0\0\0", 20);
	assert_int_equal(config[0xfe], 0);
	assert_int_equal(config[0xff], 0x5a);
	assert_true(pci_config_is_possible(fields, config));
	assert_int_equal(pci_config_get(config, 0, 4), 0x12345678);
	assert_int_equal(pci_config_get(config, 1, 2), 0x3456);
	assert_int_equal(pci_config_get(config, 9, 3), 0x0a0b0c);
	assert_int_equal(pci_config_get(config, 0xff, 1), 0x5a);
}

/* Each bit by itself: it is written if its field says so, and possible if it can be written. */
static void writable_bits(void **state)
{
	uint8_t fresh[PCI_CONFIG_SIZE], config[PCI_CONFIG_SIZE], ones[PCI_CONFIG_SIZE];
	uint8_t zeros[PCI_CONFIG_SIZE] = {0};
	unsigned writable = 0;

	pci_config_reset(fields, fresh);
	memset(ones, 0xff, sizeof(ones));
	memcpy(config, fresh, sizeof(config));
	pci_config_write(fields, config, 0, ones, sizeof(ones));
	assert_true(pci_config_is_possible(fields, config));
	for (unsigned bit = 0; bit < 8 * PCI_CONFIG_SIZE; bit++) {
		uint8_t mask = (uint8_t)(1u << bit % 8), byte = fresh[bit / 8];

		memcpy(config, fresh, sizeof(config));
		pci_config_write(fields, config, bit / 8, byte & mask ? zeros : ones, 1);
		if ((config[bit / 8] ^ byte) & mask) {
			writable++;
			assert_true(pci_config_is_possible(fields, config));
		} else {
			config[bit / 8] ^= mask;
			assert_false(pci_config_is_possible(fields, config));
		}
	}
	assert_int_equal(writable, 3 + 8 + 20 + 4);
}

static void writes_of_any_length(void **state)
{
	uint8_t whole[PCI_CONFIG_SIZE], parts[PCI_CONFIG_SIZE], bytes[PCI_CONFIG_SIZE];

	for (unsigned i = 0; i < PCI_CONFIG_SIZE; i++)
		bytes[i] = (uint8_t)(i * 37 + 11);
	pci_config_reset(fields, whole);
	pci_config_write(fields, whole, 0, bytes, sizeof(bytes));
	for (size_t len = 1; len <= 8; len++) {
		pci_config_reset(fields, parts);
		for (size_t at = 0; at < PCI_CONFIG_SIZE; at += len) {
			size_t n = len < PCI_CONFIG_SIZE - at ? len : PCI_CONFIG_SIZE - at;

			pci_config_write(fields, parts, at, bytes + at, n);
		}
		assert_memory_equal(parts, whole, sizeof(parts));
	}
}

static void bounds(void **state)
{
	assert_true(pci_config_has(0, 1));
	assert_true(pci_config_has(0, 256));
	assert_true(pci_config_has(255, 1));
	assert_false(pci_config_has(0, 0));
	assert_false(pci_config_has(0, 257));
	assert_false(pci_config_has(255, 2));
	assert_false(pci_config_has(256, 1));
	assert_false(pci_config_has(UINT64_MAX, 1));
	assert_false(pci_config_has(UINT64_MAX, 2));
	assert_false(pci_config_has(0, SIZE_MAX));
	assert_false(pci_config_has(1, SIZE_MAX));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(at_reset),
		cmocka_unit_test(writable_bits),
		cmocka_unit_test(writes_of_any_length),
		cmocka_unit_test(bounds),
	};

	return cmocka_run_group_tests_name("configuration space", tests, NULL, NULL);
}
