/* SPDX-License-Identifier: BSD-3-Clause */
#include "daemon/functions/hidden_config.h"

#include <string.h>

/* PCI Local Bus 3.0, 6.1: the type 0 header. */
enum {
	PCI_VENDOR = 0x00,
	PCI_DEVICE = 0x02,
	PCI_COMMAND = 0x04,
	PCI_CLASS = 0x09, /* three bytes */
	PCI_CACHE_LINE = 0x0c,
	PCI_LATENCY = 0x0d,
	PCI_BAR0 = 0x10,
	PCI_SUBSYSTEM_VENDOR = 0x2c,
	PCI_SUBSYSTEM = 0x2e,
	PCI_INTERRUPT_LINE = 0x3c,
};

#define PCI_COMMAND_MEMORY 0x02
#define PCI_COMMAND_MASTER 0x04

static void put(uint8_t *to, uint32_t value, unsigned size)
{
	for (unsigned i = 0; i < size; i++)
		to[i] = (uint8_t)(value >> (8 * i));
}

static uint32_t get32(const uint8_t *from)
{
	return from[0] | from[1] << 8 | from[2] << 16 | (uint32_t)from[3] << 24;
}

void hidden_config_reset(struct hidden_config *c)
{
	memset(c, 0, sizeof(*c));
	put(&c->bytes[PCI_VENDOR], HIDDEN_VENDOR_ID, 2);
	put(&c->bytes[PCI_DEVICE], HIDDEN_DEVICE_ID, 2);
	put(&c->bytes[PCI_COMMAND], PCI_COMMAND_MASTER, 2);
	put(&c->bytes[PCI_CLASS], HIDDEN_CLASS, 3);
	put(&c->bytes[PCI_SUBSYSTEM_VENDOR], HIDDEN_VENDOR_ID, 2);
	put(&c->bytes[PCI_SUBSYSTEM], HIDDEN_DEVICE_ID, 2);
}

void hidden_config_read(const struct hidden_config *c, size_t offset, void *buf, size_t len)
{
	if (c->hidden)
		memset(buf, 0xff, len);
	else
		memcpy(buf, &c->bytes[offset], len);
}

/* Which bits of a byte can be written. */
static uint8_t writable(size_t offset)
{
	switch (offset) {
	case PCI_COMMAND:
		return PCI_COMMAND_MEMORY;
	case PCI_BAR0 + 2:
	case PCI_BAR0 + 3: /* the low 16 bits are 0: 64 KiB, 32-bit, not prefetchable */
	case PCI_CACHE_LINE:
	case PCI_LATENCY:
	case PCI_INTERRUPT_LINE:
		return 0xff;
	default:
		return 0;
	}
}

bool hidden_config_write(struct hidden_config *c, size_t offset, const void *buf, size_t len)
{
	const uint8_t *from = buf;

	if (c->hidden)
		return false;
	for (size_t i = 0; i < len; i++) {
		uint8_t mask = writable(offset + i), *byte = &c->bytes[offset + i];

		*byte = (uint8_t)((*byte & ~mask) | (from[i] & mask));
		if (offset + i == PCI_COMMAND)
			c->masters = from[i] & PCI_COMMAND_MASTER;
	}
	if (!(c->bytes[PCI_COMMAND] & PCI_COMMAND_MEMORY))
		return false;
	c->base = get32(&c->bytes[PCI_BAR0]);
	c->hidden = true;
	return true;
}

bool hidden_config_has_address(const struct hidden_config *c)
{
	return get32(&c->bytes[PCI_BAR0]);
}

void hidden_config_save(const struct hidden_config *c, struct hidden_state *ret_state)
{
	*ret_state = (struct hidden_state){.hidden = c->hidden, .masters = c->masters};
	memcpy(ret_state->bytes, c->bytes, sizeof(c->bytes));
}

bool hidden_config_is_possible(const struct hidden_state *s)
{
	struct hidden_config fixed;

	hidden_config_reset(&fixed);
	for (size_t i = 0; i < HIDDEN_CONFIG_SIZE; i++) {
		if ((s->bytes[i] ^ fixed.bytes[i]) & ~writable(i))
			return false;
	}
	if (s->hidden > 1 || s->masters > 1)
		return false;
	/* It hides as soon as memory decoding is on. */
	return s->hidden == ((s->bytes[PCI_COMMAND] & PCI_COMMAND_MEMORY) != 0);
}

void hidden_config_restore(struct hidden_config *c, const struct hidden_state *s)
{
	memcpy(c->bytes, s->bytes, sizeof(c->bytes));
	c->hidden = s->hidden;
	c->masters = s->masters;
	c->base = c->hidden ? get32(&c->bytes[PCI_BAR0]) : 0;
}
