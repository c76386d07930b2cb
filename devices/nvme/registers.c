/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * BAR 0 (3.1: controller registers, doorbells) and BAR 4 (MSI-X), on the
 * register thread. Registers are stored and announced; what they ask for is
 * done by the work thread (lifecycle.c, queue.c).
 */
#include "nvme/controller.h"

#include <errno.h>
#include <string.h>

#define REGISTERS_END 0x38

static const uint64_t capabilities =
	NVME_CAP_MQES(NVME_MAX_ENTRIES - 1) | NVME_CAP_CQR | NVME_CAP_TO(60) | NVME_CAP_CSS_NVM;

void nvme_registers_reset(struct nvme *n)
{
	n->cc = n->csts = n->aqa = n->intms = 0;
	n->asq = n->acq = 0;
	n->intx_pending = 0;
	memset(n->msix_table, 0, sizeof(n->msix_table));
	for (unsigned v = 0; v < NVME_MSIX_VECTORS; v++)
		n->msix_table[16 * v + 12] = 1; /* vector control: masked */
}

static void set_half(uint64_t *reg, unsigned half, uint32_t value, uint64_t writable)
{
	uint64_t mask = 0xffffffffull << 32 * half;

	*reg = ((*reg & ~mask) | (uint64_t)value << 32 * half) & writable;
}

static void write_cc(struct nvme *n, uint32_t value)
{
	bool was_enabled = n->cc & NVME_CC_EN;

	n->cc = value & NVME_CC_WRITABLE;
	if (was_enabled && !(value & NVME_CC_EN))
		nvme_lifecycle_request_reset(n);
	atomic_store(&n->control, true);
}

static void write_register(struct nvme *n, uint64_t offset, uint32_t value)
{
	const uint64_t page = ~(uint64_t)(NVME_PAGE_SIZE - 1);

	switch (offset) {
	case NVME_REG_INTMS:
		n->intms |= value;
		nvme_interrupt_update_intx(n);
		break;
	case NVME_REG_INTMC:
		n->intms &= ~value;
		nvme_interrupt_update_intx(n);
		break;
	case NVME_REG_CC:
		write_cc(n, value);
		break;
	case NVME_REG_AQA:
		n->aqa = value & NVME_AQA_WRITABLE;
		break;
	case NVME_REG_ASQ:
	case NVME_REG_ASQ + 4:
		set_half(&n->asq, offset != NVME_REG_ASQ, value, page);
		break;
	case NVME_REG_ACQ:
	case NVME_REG_ACQ + 4:
		set_half(&n->acq, offset != NVME_REG_ACQ, value, page);
		break;
	default:
		break; /* read-only or reserved */
	}
}

/*
 * The release on `rung` pairs with the acquire in nvme_queue_take_doorbells():
 * who sees the bit sees this value or a later one.
 */
static void ring(struct nvme *n, uint64_t offset, uint32_t value)
{
	unsigned i = (unsigned)(offset - NVME_REG_DOORBELLS) / 4;

	if (i >= 2 * (n->io_queues + 1)) {
		atomic_store(&n->doorbell_invalid, true);
		return;
	}
	atomic_store_explicit(&n->doorbell_value[i], value, memory_order_relaxed);
	atomic_fetch_or_explicit(&n->doorbell_rung[i / 64], 1ull << i % 64, memory_order_release);
}

static int check(unsigned bar, uint64_t offset, size_t len)
{
	uint64_t size = bar == 0 ? NVME_BAR0_SIZE : bar == 4 ? NVME_BAR4_SIZE : 0;

	return size && len && len <= 256 && offset <= size - len ? 0 : -EINVAL;
}

static void read_registers(struct nvme *n, uint64_t offset, void *buf, size_t len)
{
	uint8_t image[REGISTERS_END + 256] = {0};
	uint32_t version = NVME_VS_1_4;

	memcpy(image + NVME_REG_CAP, &capabilities, 8);
	memcpy(image + NVME_REG_VS, &version, 4);
	pthread_mutex_lock(&n->lock);
	memcpy(image + NVME_REG_INTMS, &n->intms, 4);
	memcpy(image + NVME_REG_INTMC, &n->intms, 4);
	memcpy(image + NVME_REG_CC, &n->cc, 4);
	memcpy(image + NVME_REG_CSTS, &n->csts, 4);
	memcpy(image + NVME_REG_AQA, &n->aqa, 4);
	memcpy(image + NVME_REG_ASQ, &n->asq, 8);
	memcpy(image + NVME_REG_ACQ, &n->acq, 8);
	pthread_mutex_unlock(&n->lock);
	memcpy(buf, image + offset, len);
}

int nvme_bar_read(struct nvme *n, unsigned bar, uint64_t offset, void *buf, size_t len)
{
	if (check(bar, offset, len) < 0)
		return -EINVAL;
	memset(buf, 0, len);
	if (bar == 4) {
		pthread_mutex_lock(&n->lock);
		memcpy(buf, n->msix_table + offset, len);
		pthread_mutex_unlock(&n->lock);
	} else if (offset < REGISTERS_END) {
		read_registers(n, offset, buf, len);
	}
	return 0;
}

/* The table is the client's (it owns MSI-X); kept so that it reads back. The PBA is read-only. */
static void write_msix_table(struct nvme *n, uint64_t offset, const uint8_t *bytes, size_t len)
{
	pthread_mutex_lock(&n->lock);
	for (size_t i = 0; i < len && offset + i < 16 * NVME_MSIX_VECTORS; i++)
		n->msix_table[offset + i] = bytes[i];
	pthread_mutex_unlock(&n->lock);
}

int nvme_bar_write(struct nvme *n, unsigned bar, uint64_t offset, const void *buf, size_t len)
{
	const uint8_t *bytes = buf;

	if (check(bar, offset, len) < 0)
		return -EINVAL;
	if (bar == 4) {
		write_msix_table(n, offset, bytes, len);
		return 0;
	}
	if (offset % 4 || len % 4)
		return 0; /* 3.1: no defined result; nothing happens */
	for (size_t i = 0; i < len; i += 4) {
		uint32_t value;

		memcpy(&value, bytes + i, 4);
		if (offset + i >= NVME_REG_DOORBELLS) {
			ring(n, offset + i, value);
			continue;
		}
		pthread_mutex_lock(&n->lock);
		write_register(n, offset + i, value);
		pthread_mutex_unlock(&n->lock);
	}
	n->ops.kick(n->opaque);
	return 0;
}

void nvme_reset(struct nvme *n)
{
	pthread_mutex_lock(&n->lock);
	nvme_lifecycle_request_reset(n);
	nvme_registers_reset(n);
	nvme_pci_config_reset(n);
	pthread_mutex_unlock(&n->lock);
	n->ops.kick(n->opaque);
}
