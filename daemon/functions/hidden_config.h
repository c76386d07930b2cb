/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The configuration space of the PCI function that carries the IOMMU's
 * registers: a plain function with one 32-bit memory BAR, which hides.
 *
 * Firmware needs it to give the registers an address. An operating system must
 * not find it: Linux reserves the unit's registers as a firmware table says,
 * sees that a PCI function has the same range, and moves the function's BAR
 * away. So from the moment that memory decoding is enabled every read answers
 * all ones, as if nothing were there, and writes are ignored; the BAR stays
 * mapped. A reset brings the function back.
 *
 * The bus master bit is always 1, for what reads the command register, changes
 * another bit and writes it back, as firmware does: so the VMM lets the function
 * write interrupt messages, and no device has to be there for that.
 */
#ifndef DAEMON_FUNCTIONS_HIDDEN_CONFIG_H
#define DAEMON_FUNCTIONS_HIDDEN_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * The identity, here and nowhere else. 0x1234 is the id without an owner that
 * emulators use; no driver binds to it by id, and no system sees it for long.
 */
#define HIDDEN_VENDOR_ID 0x1234
#define HIDDEN_DEVICE_ID 0x7d10
#define HIDDEN_CLASS	 0x080600 /* system peripheral, IOMMU */

#define HIDDEN_CONFIG_SIZE 256
#define HIDDEN_BAR_SIZE	   0x10000u

/* Main thread only. */
struct hidden_config {
	uint8_t bytes[HIDDEN_CONFIG_SIZE];
	bool hidden;  /* memory decoding is on; `base` is where */
	bool masters; /* the command register was written with the bus master bit */
	uint32_t base;
};

void hidden_config_reset(struct hidden_config *c);

/* As it is saved. */
struct hidden_state {
	uint8_t bytes[HIDDEN_CONFIG_SIZE];
	uint8_t hidden, masters, zero[6];
};

/* Has it been given an address since the reset? QEMU writes 0 into each BAR at a reset, which is none. */
bool hidden_config_has_address(const struct hidden_config *c);

void hidden_config_save(const struct hidden_config *c, struct hidden_state *ret_state);
/* Can a guest have made it like this? */
bool hidden_config_is_possible(const struct hidden_state *s);
void hidden_config_restore(struct hidden_config *c, const struct hidden_state *s);

/* offset + len <= HIDDEN_CONFIG_SIZE */
void hidden_config_read(const struct hidden_config *c, size_t offset, void *buf, size_t len);
/* True: this write has enabled memory decoding. */
bool hidden_config_write(struct hidden_config *c, size_t offset, const void *buf, size_t len);

#endif
