/* SPDX-License-Identifier: BSD-3-Clause */
/* The PCI function (virtio 1.3, 4.1): configuration space with its capabilities, and the two BARs. */
#include <errno.h>
#include <string.h>

#include "virtio/device.h"
#include "virtio/spec.h"

enum {
	DEVICE_ID = 0x02,
	COMMAND = 0x04,
	STATUS = 0x06,
	CLASS = 0x09,
	CAP_MSIX = 0x40,
	MSIX_CONTROL = CAP_MSIX + 2,
	CAP_COMMON = 0x4c,
	CAP_ISR = 0x5c,
	CAP_DEVICE = 0x6c,
	CAP_NOTIFY = 0x7c,
	CAP_WINDOW = 0x90,
	WINDOW_BAR = CAP_WINDOW + 4,
	WINDOW_OFFSET = CAP_WINDOW + 8,
	WINDOW_LENGTH = CAP_WINDOW + 12,
	WINDOW_DATA = CAP_WINDOW + 16,
};

#define COMMAND_MASTER	    (1u << 2)
#define STATUS_CAPABILITIES (1u << 4)
#define MSIX_ENABLE	    (1u << 15)
#define PBA		    0x1000u

/* 4.1.4: id of vendor-specific capabilities, the next one, length, type; then BAR, offset and length. */
#define CAPABILITY(at, next, length, type, offset, size)                                                     \
	{(at), 4, 0x09u | (next) << 8 | (length) << 16 | (uint32_t)(type) << 24, 0},                         \
		{(at) + 8, 4, (offset), 0},                                                                  \
	{                                                                                                    \
		(at) + 12, 4, (size), 0                                                                      \
	}

/* No INTx: without MSI-X no interrupt comes. What the options decide is filled in. */
static const struct pci_field template[] = {
	{0x00, 2, VIRTIO_PCI_VENDOR, 0},
	{DEVICE_ID, 2, 0, 0},
	{COMMAND, 2, 0, 0x0546}, /* memory, master, parity, SERR, INTx disable */
	{STATUS, 2, STATUS_CAPABILITIES, 0},
	{0x08, 1, 1, 0}, /* revision: without the legacy interface */
	{CLASS, 3, 0, 0},
	{0x0c, 1, 0, 0xff}, /* cache line size */
	{0x10, 4, 0x4, ~(VIRTIO_BAR0_SIZE - 1u)},
	{0x14, 4, 0, 0xffffffff},
	{0x20, 4, 0x4, ~(VIRTIO_BAR4_SIZE - 1u)},
	{0x24, 4, 0, 0xffffffff},
	{0x2c, 2, VIRTIO_PCI_VENDOR, 0},
	{0x2e, 2, 0x1100, 0},
	{0x34, 1, CAP_MSIX, 0},
	{0x3c, 1, 0, 0xff}, /* interrupt line */

	{CAP_MSIX, 2, 0x11 | CAP_COMMON << 8, 0},
	{MSIX_CONTROL, 2, 0, 0xc000},  /* enable, function mask */
	{CAP_MSIX + 4, 4, 4, 0},       /* table: BAR 4, offset 0 */
	{CAP_MSIX + 8, 4, PBA | 4, 0}, /* PBA: BAR 4 */

	CAPABILITY(CAP_COMMON, CAP_ISR, 16, VIRTIO_PCI_CAP_COMMON, BAR0_COMMON, VIRTIO_COMMON_SIZE),
	CAPABILITY(CAP_ISR, CAP_DEVICE, 16, VIRTIO_PCI_CAP_ISR, BAR0_ISR, 1),
	CAPABILITY(CAP_DEVICE, CAP_NOTIFY, 16, VIRTIO_PCI_CAP_DEVICE, BAR0_DEVICE, 0),
	CAPABILITY(CAP_NOTIFY, CAP_WINDOW, 20, VIRTIO_PCI_CAP_NOTIFY, VIRTIO_BAR0_NOTIFY, 0x1000),
	{CAP_NOTIFY + 16, 4, VIRTIO_NOTIFY_MULTIPLIER, 0},

	{CAP_WINDOW, 4, 0x09 | 20u << 16 | VIRTIO_PCI_CAP_PCI << 24, 0},
	{WINDOW_BAR, 1, 0, 0xff},
	{WINDOW_OFFSET, 4, 0, 0xffffffff},
	{WINDOW_LENGTH, 4, 0, 0xffffffff},
	{0},
};

_Static_assert(sizeof(template) == sizeof(((struct virtio *)0)->fields), "each field has its place");

static void fill_in(struct virtio *d, unsigned offset, uint32_t value)
{
	for (struct pci_field *f = d->fields; f->size; f++) {
		if (f->offset == offset)
			f->reset = value;
	}
}

void virtio_pci_init(struct virtio *d)
{
	memcpy(d->fields, template, sizeof(template));
	fill_in(d, DEVICE_ID, VIRTIO_PCI_DEVICE_OF(d->options.device_id));
	fill_in(d, CLASS, d->options.class_code);
	fill_in(d, MSIX_CONTROL, d->options.queues); /* one vector less than there are */
	fill_in(d, CAP_DEVICE + 12, (uint32_t)d->options.config_size);
}

void virtio_pci_reset(struct virtio *d)
{
	pci_config_reset(d->fields, d->config);
	memset(d->msix_table, 0, sizeof(d->msix_table));
	for (unsigned i = 0; i < VIRTIO_VECTORS_MOST; i++)
		d->msix_table[16 * i + 12] = 1; /* masked */
	virtio_publish(d);
}

void virtio_publish(struct virtio *d)
{
	const struct common_registers *c = &d->common;

	d->masters = pci_config_get(d->config, COMMAND, 2) & COMMAND_MASTER;
	d->msix_on = pci_config_get(d->config, MSIX_CONTROL, 2) & MSIX_ENABLE;
	for (unsigned i = 0; i < d->options.queues; i++)
		d->vectors[i] = c->queues[i].vector;
	d->has_driver = virtio_common_is_started(c);
	d->broken = c->status & (VIRTIO_STATUS_FAILED | VIRTIO_STATUS_NEEDS_RESET);
	d->runs = d->masters && !d->resetting && virtio_common_is_started(c) && !d->broken;
}

/* -------------------------------------------------------------------------- BARs */

static bool bar_has(unsigned bar, uint64_t offset, size_t len)
{
	uint64_t size = bar == 0 ? VIRTIO_BAR0_SIZE : bar == 4 ? VIRTIO_BAR4_SIZE : 0;

	return len && len <= size && offset <= size - len;
}

static bool is_natural(uint64_t offset, size_t len)
{
	return (len == 1 || len == 2 || len == 4) && offset % len == 0;
}

static void read_common(struct virtio *d, uint64_t offset, void *buf, size_t len)
{
	uint32_t value;

	pthread_mutex_lock(&d->lock);
	value = virtio_common_read(d, offset, len);
	pthread_mutex_unlock(&d->lock);
	for (size_t i = 0; i < len; i++)
		((uint8_t *)buf)[i] = (uint8_t)(value >> 8 * i);
}

/* What is not there reads as 0. No interrupt is one of INTx, so the ISR status says of none. */
static void read_registers(struct virtio *d, uint64_t offset, void *buf, size_t len)
{
	memset(buf, 0, len);
	if (!is_natural(offset, len))
		return;
	if (offset < BAR0_ISR)
		read_common(d, offset, buf, len);
	else if (offset >= BAR0_DEVICE && offset - BAR0_DEVICE < d->options.config_size)
		d->ops.config_read(d->opaque, offset - BAR0_DEVICE, buf, len);
}

static void write_common(struct virtio *d, uint64_t offset, const uint8_t *bytes, size_t len)
{
	uint32_t value = 0;

	for (size_t i = 0; i < len; i++)
		value |= (uint32_t)bytes[i] << 8 * i;
	pthread_mutex_lock(&d->lock);
	if (virtio_common_write(d, offset, len, value))
		virtio_tell_features(d);
	pthread_mutex_unlock(&d->lock);
	d->ops.kick(d->opaque);
}

static void write_registers(struct virtio *d, uint64_t offset, const uint8_t *bytes, size_t len)
{
	if (!is_natural(offset, len))
		return;
	if (offset < BAR0_ISR)
		write_common(d, offset, bytes, len);
	else if (offset >= VIRTIO_BAR0_NOTIFY)
		d->ops.kick(d->opaque);
	else if (offset >= BAR0_DEVICE && offset - BAR0_DEVICE < d->options.config_size)
		d->ops.config_write(d->opaque, offset - BAR0_DEVICE, bytes, len);
}

/* The client delivers interrupts itself; the table is kept for the guest to read. No interrupt is pending. */
static void access_msix(struct virtio *d, uint64_t offset, uint8_t *read, const uint8_t *write, size_t len)
{
	pthread_mutex_lock(&d->lock);
	for (size_t i = 0; i < len && offset + i < sizeof(d->msix_table); i++) {
		if (write)
			d->msix_table[offset + i] = write[i];
		else
			read[i] = d->msix_table[offset + i];
	}
	pthread_mutex_unlock(&d->lock);
}

int virtio_bar_read(struct virtio *d, unsigned bar, uint64_t offset, void *buf, size_t len)
{
	if (!bar_has(bar, offset, len))
		return -EINVAL;
	memset(buf, 0, len);
	if (bar == 0)
		read_registers(d, offset, buf, len);
	else
		access_msix(d, offset, buf, NULL, len);
	return 0;
}

int virtio_bar_write(struct virtio *d, unsigned bar, uint64_t offset, const void *buf, size_t len)
{
	if (!bar_has(bar, offset, len))
		return -EINVAL;
	if (bar == 0)
		write_registers(d, offset, buf, len);
	else
		access_msix(d, offset, NULL, buf, len);
	return 0;
}

/* ------------------------------------------------------------ configuration space */

/* Where the driver has the window lead to. */
struct window {
	uint64_t offset;
	uint32_t length;
	uint8_t bar;
};

/*
 * 4.1.4.9: an access of the window's data is one of the length that the driver has named there, which a wider
 * one begins with. False: this is none, or there is nothing.
 */
static bool is_window(struct virtio *d, uint64_t offset, size_t len, struct window *ret_window)
{
	struct window w;

	if (offset != WINDOW_DATA)
		return false;
	pthread_mutex_lock(&d->lock);
	w = (struct window){pci_config_get(d->config, WINDOW_OFFSET, 4),
			    pci_config_get(d->config, WINDOW_LENGTH, 4), d->config[WINDOW_BAR]};
	pthread_mutex_unlock(&d->lock);
	*ret_window = w;
	return is_natural(w.offset, w.length) && w.length <= len && bar_has(w.bar, w.offset, w.length);
}

int virtio_config_read(struct virtio *d, uint64_t offset, void *buf, size_t len)
{
	struct window w;

	if (!pci_config_has(offset, len))
		return -EINVAL;
	pthread_mutex_lock(&d->lock);
	memcpy(buf, d->config + offset, len);
	pthread_mutex_unlock(&d->lock);
	return is_window(d, offset, len, &w) ? virtio_bar_read(d, w.bar, w.offset, buf, w.length) : 0;
}

int virtio_config_write(struct virtio *d, uint64_t offset, const void *buf, size_t len)
{
	struct window w;

	if (!pci_config_has(offset, len))
		return -EINVAL;
	if (is_window(d, offset, len, &w))
		return virtio_bar_write(d, w.bar, w.offset, buf, w.length);
	pthread_mutex_lock(&d->lock);
	pci_config_write(d->fields, d->config, offset, buf, len);
	virtio_publish(d);
	pthread_mutex_unlock(&d->lock);
	d->ops.kick(d->opaque);
	return 0;
}
