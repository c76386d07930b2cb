/* SPDX-License-Identifier: BSD-3-Clause */
/* Descriptors of the invalidation queue in legacy mode, 128 bits each (6.5.2); vtd_registers.h says of which
 * revision. */
#ifndef SPEC_VTD_QUEUE_H
#define SPEC_VTD_QUEUE_H

#include "base/bits.h"

#define VTD_QI_SIZE 16

/* Low half: the type is bits 3..0 with 11..9 above them. */
#define VTD_QI_TYPE_LO VI_BITS(3, 0)
#define VTD_QI_TYPE_HI VI_BITS(11, 9)

enum {
	VTD_QI_CONTEXT_CACHE = 1,
	VTD_QI_IOTLB = 2,
	VTD_QI_DEVICE_TLB = 3,
	VTD_QI_INTERRUPT_ENTRY_CACHE = 4,
	VTD_QI_WAIT = 5,
};

#define VTD_QI_GRANULARITY VI_BITS(5, 4)

#define VTD_QI_CC_DID	  VI_BITS(31, 16)
#define VTD_QI_CC_SID	  VI_BITS(47, 32)
#define VTD_QI_CC_FM	  VI_BITS(49, 48)
#define VTD_QI_CC_RSVD_LO (VI_BITS(63, 50) | VI_BITS(15, 12) | VI_BITS(8, 6))
#define VTD_QI_CC_RSVD_HI VI_BITS(63, 0)

#define VTD_QI_IOTLB_DW	     VI_BIT(6)
#define VTD_QI_IOTLB_DR	     VI_BIT(7)
#define VTD_QI_IOTLB_DID     VI_BITS(31, 16)
#define VTD_QI_IOTLB_RSVD_LO (VI_BITS(63, 32) | VI_BITS(15, 12) | VI_BIT(8))
#define VTD_QI_IOTLB_ADDR    VI_BITS(63, 12) /* high half, as IVA */
#define VTD_QI_IOTLB_IH	     VI_BIT(6)
#define VTD_QI_IOTLB_AM	     VI_BITS(5, 0)
#define VTD_QI_IOTLB_RSVD_HI VI_BITS(11, 7)

#define VTD_QI_WAIT_IF	    VI_BIT(4)
#define VTD_QI_WAIT_SW	    VI_BIT(5)
#define VTD_QI_WAIT_FN	    VI_BIT(6)
#define VTD_QI_WAIT_DATA    VI_BITS(63, 32)
#define VTD_QI_WAIT_RSVD_LO (VI_BITS(31, 12) | VI_BITS(8, 7))
#define VTD_QI_WAIT_ADDR    VI_BITS(63, 2)
#define VTD_QI_WAIT_RSVD_HI VI_BITS(1, 0)

#endif
