/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Registers of AMD-Vi in memory space: AMD I/O Virtualization Technology (IOMMU)
 * Specification, publication 48882, revision 3, section 3.4. 64 bits each.
 */
#ifndef SPEC_AMDVI_REGISTERS_H
#define SPEC_AMDVI_REGISTERS_H

#include "base/bits.h"

/* Offsets. */
#define AMDVI_DEV_TAB_BASE	    0x00
#define AMDVI_CMD_BASE		    0x08
#define AMDVI_EVT_BASE		    0x10
#define AMDVI_CONTROL		    0x18
#define AMDVI_EXCL_BASE		    0x20
#define AMDVI_EXCL_LIMIT	    0x28
#define AMDVI_EFR		    0x30
#define AMDVI_DEV_TAB_SEGMENT(i)    (0x100 + ((i)-1) * 8) /* of segments 1 to 7; segment 0 has DEV_TAB_BASE */
#define AMDVI_MSI_ADDRESS	    0x15c		  /* 32 bits each: address, its high half, data */
#define AMDVI_MSI_UPPER_ADDRESS	    0x160
#define AMDVI_MSI_DATA		    0x164
#define AMDVI_XT_INTERRUPT	    0x170 /* XT IOMMU general interrupt control */
#define AMDVI_EFR2		    0x1a0
#define AMDVI_POINTERS		    0x2000 /* the page with the registers below */
#define AMDVI_CMD_HEAD		    0x00   /* these relative to it */
#define AMDVI_CMD_TAIL		    0x08
#define AMDVI_EVT_HEAD		    0x10
#define AMDVI_EVT_TAIL		    0x18
#define AMDVI_STATUS		    0x20
#define AMDVI_DEV_TAB_SEGMENTS_MOST 8

/* AMDVI_DEV_TAB_BASE and the segments. */
#define AMDVI_DEV_TAB_ADDR	   VI_BITS(51, 12)
#define AMDVI_DEV_TAB_SIZE	   VI_BITS(8, 0) /* (SIZE + 1) * 4096 bytes */
#define AMDVI_DEV_TAB_SEGMENT_SIZE VI_BITS(7, 0)

/* AMDVI_CMD_BASE and AMDVI_EVT_BASE: 2^LEN entries of 16 bytes, LEN 8 to 15. */
#define AMDVI_RING_ADDR	   VI_BITS(51, 12)
#define AMDVI_RING_LEN	   VI_BITS(59, 56)
#define AMDVI_RING_LEN_MIN 8
#define AMDVI_RING_LEN_MAX 15
#define AMDVI_RING_ENTRY   16
#define AMDVI_RING_POINTER VI_BITS(18, 4) /* of heads and tails: bytes */

/* AMDVI_CONTROL */
#define AMDVI_CONTROL_IOMMU_EN	      VI_BIT(0)
#define AMDVI_CONTROL_EVENT_LOG_EN    VI_BIT(2)
#define AMDVI_CONTROL_EVENT_INT_EN    VI_BIT(3)
#define AMDVI_CONTROL_COM_WAIT_INT_EN VI_BIT(4)
#define AMDVI_CONTROL_INV_TIMEOUT     VI_BITS(7, 5) /* 0: none */
#define AMDVI_CONTROL_CMD_BUF_EN      VI_BIT(12)
#define AMDVI_CONTROL_GT_EN	      VI_BIT(16)
#define AMDVI_CONTROL_GA_EN	      VI_BIT(17)
#define AMDVI_CONTROL_DEV_TAB_SEG_EN  VI_BITS(35, 34) /* 2^n segments; bit 36 is for more than 8 */
#define AMDVI_CONTROL_XT_EN	      VI_BIT(50)
#define AMDVI_CONTROL_INT_CAP_XT_EN   VI_BIT(51)

/* AMDVI_EXCL_BASE; AMDVI_EXCL_LIMIT has the address alone, of the last page. */
#define AMDVI_EXCL_EN	 VI_BIT(0)
#define AMDVI_EXCL_ALLOW VI_BIT(1) /* for all devices, not those with EX alone */
#define AMDVI_EXCL_ADDR	 VI_BITS(51, 12)

/* AMDVI_EFR */
#define AMDVI_EFR_PREF_SUP	  VI_BIT(0)
#define AMDVI_EFR_PPR_SUP	  VI_BIT(1)
#define AMDVI_EFR_XT_SUP	  VI_BIT(2)
#define AMDVI_EFR_GT_SUP	  VI_BIT(4)
#define AMDVI_EFR_IA_SUP	  VI_BIT(6)
#define AMDVI_EFR_GA_SUP	  VI_BIT(7)
#define AMDVI_EFR_HATS		  VI_BITS(11, 10) /* 4 + n levels */
#define AMDVI_EFR_GATS		  VI_BITS(13, 12) /* 4 + n levels */
#define AMDVI_EFR_GLX_SUP	  VI_BITS(15, 14) /* 1 + n levels */
#define AMDVI_EFR_PAS_MAX	  VI_BITS(36, 32) /* n + 1 bits */
#define AMDVI_EFR_DEV_TAB_SEG_SUP VI_BITS(39, 38)
#define AMDVI_EFR_GIO_SUP	  VI_BIT(48)
#define AMDVI_EFR_HATS_LEVELS	  4
#define AMDVI_EFR_SEGMENTS_8	  3

/* AMDVI_STATUS: those that are set by the unit and cleared by writing 1, and those that tell what runs. */
#define AMDVI_STATUS_EVENT_OVERFLOW 0x01u
#define AMDVI_STATUS_EVENT_INT	    0x02u
#define AMDVI_STATUS_COM_WAIT_INT   0x04u
#define AMDVI_STATUS_EVENT_LOG_RUN  0x08u
#define AMDVI_STATUS_CMD_BUF_RUN    0x10u
#define AMDVI_STATUS_RW1C	    (AMDVI_STATUS_EVENT_OVERFLOW | AMDVI_STATUS_EVENT_INT | AMDVI_STATUS_COM_WAIT_INT)
#define AMDVI_STATUS_RSVD	    0xfff80000u /* of the low word */

/* AMDVI_XT_INTERRUPT */
#define AMDVI_XT_DEST_MODE     VI_BIT(2)
#define AMDVI_XT_DEST_LO       VI_BITS(31, 8)
#define AMDVI_XT_VECTOR	       VI_BITS(39, 32)
#define AMDVI_XT_DELIVERY_MODE VI_BIT(40)
#define AMDVI_XT_DEST_HI       VI_BITS(63, 56)
#define AMDVI_XT_LEAST_VECTOR  16 /* vectors below are of exceptions, and send nothing */

#endif
