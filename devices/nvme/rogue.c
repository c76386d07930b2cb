/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a broken or malicious device would do, on request, to show what an IOMMU is for (--nvme
 * FILE,rogue=on).
 *
 * Admin command 0xc0: cdw10, cdw11 IOVA (low, high); cdw12 length 1..4096;
 * cdw13 0: the device reads there, 1: it writes the byte cdw14. Completes with
 * success, dword 0 of the completion is 0 when the access went through, else
 * the errno (13, EACCES: the IOMMU refused).
 */
#include "nvme/controller.h"

#include <string.h>

uint32_t nvme_rogue_execute(struct nvme *n, struct nvme_command *c)
{
	uint64_t iova = (uint64_t)c->sqe.cdw11 << 32 | c->sqe.cdw10;
	uint32_t len = c->sqe.cdw12;
	uint8_t bytes[NVME_PAGE_SIZE];
	int ret;

	if (!len || len > sizeof(bytes) || c->sqe.cdw13 > 1)
		return NVME_INVALID_FIELD;
	memset(bytes, (int)(c->sqe.cdw14 & 0xff), sizeof(bytes));
	if (c->sqe.cdw13)
		ret = nvme_dma_write(n, iova, bytes, len);
	else
		ret = nvme_dma_read(n, iova, bytes, len);
	c->result = (uint32_t)-ret;
	return NVME_SUCCESS;
}
