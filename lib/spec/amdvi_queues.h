/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Entries of the command buffer (2.4) and of the event log (2.5) of AMD-Vi: 128
 * bits each. amdvi_registers.h says of which specification.
 */
#ifndef SPEC_AMDVI_QUEUES_H
#define SPEC_AMDVI_QUEUES_H

#include "base/bits.h"

/* Low half of a command. */
#define AMDVI_CMD_OPCODE VI_BITS(63, 60)

enum {
	AMDVI_COMPLETION_WAIT = 1,
	AMDVI_INVALIDATE_DEVTAB_ENTRY = 2,
	AMDVI_INVALIDATE_IOMMU_PAGES = 3,
	AMDVI_INVALIDATE_IOTLB_PAGES = 4,
	AMDVI_INVALIDATE_INTERRUPT_TABLE = 5,
	AMDVI_PREFETCH_IOMMU_PAGES = 6,
	AMDVI_COMPLETE_PPR_REQUEST = 7,
	AMDVI_INVALIDATE_IOMMU_ALL = 8,
};

#define AMDVI_CMD_DEVICE_ID	    VI_BITS(15, 0)
#define AMDVI_CMD_OF_DEVICE_RSVD_LO VI_BITS(59, 16) /* of 2 and 5; their high half is reserved */

#define AMDVI_WAIT_S	   VI_BIT(0) /* store */
#define AMDVI_WAIT_I	   VI_BIT(1) /* interrupt */
#define AMDVI_WAIT_F	   VI_BIT(2) /* flush queue */
#define AMDVI_WAIT_ADDR	   VI_BITS(51, 3)
#define AMDVI_WAIT_RSVD_LO VI_BITS(59, 52)

#define AMDVI_PAGES_PASID   VI_BITS(19, 0)
#define AMDVI_PAGES_DOMAIN  VI_BITS(47, 32)
#define AMDVI_PAGES_RSVD_LO (VI_BITS(31, 20) | VI_BITS(59, 48))
#define AMDVI_PAGES_S	    VI_BIT(0) /* these of the high half */
#define AMDVI_PAGES_PDE	    VI_BIT(1)
#define AMDVI_PAGES_GN	    VI_BIT(2)
#define AMDVI_PAGES_ADDR    VI_BITS(63, 12)
#define AMDVI_PAGES_RSVD_HI VI_BITS(11, 3)
#define AMDVI_PAGES_ALL	    VI_BITS(62, 12) /* with S: all addresses */

#define AMDVI_IOTLB_RSVD_HI (VI_BIT(1) | VI_BIT(3) | VI_BITS(11, 6))
#define AMDVI_IOTLB_TYPE    VI_BITS(5, 4) /* with EFR.InvIotlbTypeSup */

#define AMDVI_ALL_RSVD_LO VI_BITS(59, 0)

/* Low half of an event. */
#define AMDVI_EVENT_CODE	 VI_BITS(63, 60)
#define AMDVI_EVENT_DEVICE_ID	 VI_BITS(15, 0)
#define AMDVI_EVENT_PASID_HI	 VI_BITS(19, 16)
#define AMDVI_EVENT_DOMAIN	 VI_BITS(47, 32) /* or the low bits of the PASID */
#define AMDVI_EVENT_GN		 VI_BIT(48)
#define AMDVI_EVENT_I		 VI_BIT(51) /* of an interrupt */
#define AMDVI_EVENT_PR		 VI_BIT(52)
#define AMDVI_EVENT_RW		 VI_BIT(53) /* write */
#define AMDVI_EVENT_PE		 VI_BIT(54)
#define AMDVI_EVENT_RZ		 VI_BIT(55)
#define AMDVI_EVENT_TR		 VI_BIT(56)	 /* of a translation request */
#define AMDVI_EVENT_TYPE	 VI_BITS(58, 57) /* of a hardware error */
#define AMDVI_EVENT_REQUEST_TYPE VI_BITS(59, 57) /* of INVALID_DEVICE_REQUEST */

enum {
	AMDVI_ILLEGAL_DEV_TABLE_ENTRY = 1,
	AMDVI_IO_PAGE_FAULT = 2,
	AMDVI_DEV_TAB_HARDWARE_ERROR = 3,
	AMDVI_PAGE_TAB_HARDWARE_ERROR = 4,
	AMDVI_ILLEGAL_COMMAND_ERROR = 5,
	AMDVI_COMMAND_HARDWARE_ERROR = 6,
	AMDVI_IOTLB_INV_TIMEOUT = 7,
	AMDVI_INVALID_DEVICE_REQUEST = 8,
};

/* AMDVI_EVENT_TYPE: there is nothing at the address. */
#define AMDVI_HARDWARE_MASTER_ABORT 1

/* AMDVI_EVENT_REQUEST_TYPE, without TR and with it. */
#define AMDVI_REQUEST_PRETRANSLATED 1
#define AMDVI_REQUEST_TR_DISABLED   0

#endif
