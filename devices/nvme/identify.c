/* SPDX-License-Identifier: BSD-3-Clause */
/* Identify (5.15). */
#include "nvme/controller.h"
#include "nvme/pci_config.h"

#include <stdio.h>
#include <string.h>

/* ASCII fields are padded with spaces, not terminated. */
static void set_text(char *field, size_t size, const char *text)
{
	size_t len = strlen(text);

	memset(field, ' ', size);
	memcpy(field, text, len < size ? len : size);
}

/* RFC 4122 name-based shape, from what makes the file unique on this machine. */
static void make_uuid(const struct nvme *n, uint8_t uuid[16])
{
	uint64_t half[2];

	memcpy(half, n->identity, sizeof(half));
	half[0] = half[0] * 0x9e3779b97f4a7c15ull ^ half[1];
	half[1] = half[1] * 0xc2b2ae3d27d4eb4full ^ half[0] >> 29;
	memcpy(uuid, half, sizeof(half));
	uuid[6] = (uuid[6] & 0x0f) | 0x80;
	uuid[8] = (uuid[8] & 0x3f) | 0x80;
}

static void set_subnqn(const struct nvme *n, char *subnqn, size_t size)
{
	uint8_t u[16];

	make_uuid(n, u);
	snprintf(subnqn, size,
		 "nqn.2014-08.org.nvmexpress:uuid:%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%"
		 "02x%02x%02x",
		 u[0], u[1], u[2], u[3], u[4], u[5], u[6], u[7], u[8], u[9], u[10], u[11], u[12], u[13],
		 u[14], u[15]);
}

static uint32_t identify_controller(struct nvme *n, const struct nvme_sqe *sqe, void *page)
{
	struct nvme_identify_controller *id = page;
	uint64_t bytes = n->blocks << NVME_BLOCK_LG2;

	id->vid = id->ssvid = NVME_PCI_VENDOR;
	set_text(id->sn, sizeof(id->sn), n->serial);
	set_text(id->mn, sizeof(id->mn), "viommu NVMe");
	set_text(id->fr, sizeof(id->fr), "0.1");
	id->mdts = NVME_MDTS_LG2;
	id->ver = NVME_VS_1_4;
	id->oaes = NVME_OAES_NAMESPACES;
	id->cntrltype = 1; /* I/O controller */
	id->oacs = n->no_dbbuf ? 0 : NVME_OACS_DBBUF;
	id->acl = NVME_ABORT_LIMIT - 1;
	id->aerl = NVME_AER_LIMIT - 1;
	id->frmw = 1 << 1 | 1; /* one slot, read-only */
	id->lpa = 1 << 1 | 1 << 2;
	id->elpe = NVME_ERROR_ENTRIES - 1;
	id->wctemp = 343;
	id->cctemp = 373;
	memcpy(id->tnvmcap, &bytes, sizeof(bytes));
	id->sqes = NVME_SQE_LG2 << 4 | NVME_SQE_LG2;
	id->cqes = NVME_CQE_LG2 << 4 | NVME_CQE_LG2;
	id->nn = 1;
	id->oncs = NVME_ONCS_COMPARE | NVME_ONCS_DSM | NVME_ONCS_ZEROES | NVME_ONCS_SELECT;
	id->vwc = 7; /* present; Flush takes NSID FFFFFFFFh */
	set_subnqn(n, id->subnqn, sizeof(id->subnqn));
	id->psd[0][0] = 0xc4; /* 25 W, in hundredths */
	id->psd[0][1] = 0x09;
	return NVME_SUCCESS;
}

static uint32_t identify_namespace(struct nvme *n, const struct nvme_sqe *sqe, void *page)
{
	struct nvme_identify_namespace *id = page;
	uint64_t bytes = n->blocks << NVME_BLOCK_LG2;

	if (sqe->nsid != 1)
		return NVME_INVALID_NAMESPACE;
	id->nsze = id->ncap = id->nuse = n->blocks;
	id->dlfeat = 1 << 3 | 1; /* Write Zeroes may deallocate; deallocated blocks read as zeroes */
	id->nsattr = n->read_only;
	memcpy(id->nvmcap, &bytes, sizeof(bytes));
	make_uuid(n, id->nguid);
	id->lbaf[0] = NVME_BLOCK_LG2 << 16;
	return NVME_SUCCESS;
}

static uint32_t identify_active_list(struct nvme *n, const struct nvme_sqe *sqe, void *page)
{
	uint32_t first = 1;

	if (sqe->nsid >= 0xfffffffe)
		return NVME_INVALID_NAMESPACE;
	if (sqe->nsid < 1)
		memcpy(page, &first, sizeof(first));
	return NVME_SUCCESS;
}

static uint32_t identify_descriptors(struct nvme *n, const struct nvme_sqe *sqe, void *page)
{
	uint8_t *at = page;

	if (sqe->nsid != 1)
		return NVME_INVALID_NAMESPACE;
	at[0] = 2; /* NGUID */
	at[1] = 16;
	make_uuid(n, at + 4);
	at[20] = 3; /* UUID */
	at[21] = 16;
	make_uuid(n, at + 24);
	return NVME_SUCCESS;
}

static uint32_t identify_controllers(struct nvme *n, const struct nvme_sqe *sqe, void *page)
{
	uint16_t list[2] = {1, 0}; /* one controller, id 0 */

	if (sqe->cdw10 >> 16 == 0)
		memcpy(page, list, sizeof(list));
	return NVME_SUCCESS;
}

/* Only the NVM command set is there, and its limits are those of the namespace: none more. */
static uint32_t identify_command_set(struct nvme *n, const struct nvme_sqe *sqe, void *page)
{
	return sqe->cdw11 >> 24 ? NVME_INVALID_FIELD : NVME_SUCCESS;
}

static const struct {
	uint8_t cns;
	uint32_t (*fill)(struct nvme *n, const struct nvme_sqe *sqe, void *page);
} structures[] = {
	{NVME_CNS_NAMESPACE, identify_namespace},	{NVME_CNS_CONTROLLER, identify_controller},
	{NVME_CNS_ACTIVE_LIST, identify_active_list},	{NVME_CNS_DESCRIPTORS, identify_descriptors},
	{NVME_CNS_CS_CONTROLLER, identify_command_set}, {NVME_CNS_CONTROLLERS_NS, identify_controllers},
	{NVME_CNS_CONTROLLERS, identify_controllers},
};

uint32_t nvme_identify_execute(struct nvme *n, struct nvme_command *c)
{
	uint8_t page[NVME_PAGE_SIZE] = {0};

	for (size_t i = 0; i < sizeof(structures) / sizeof(structures[0]); i++) {
		uint32_t status;

		if (structures[i].cns != (c->sqe.cdw10 & 0xff))
			continue;
		status = structures[i].fill(n, &c->sqe, page);
		return status ? status : nvme_prp_reply(n, c, page, sizeof(page));
	}
	return NVME_INVALID_FIELD;
}
