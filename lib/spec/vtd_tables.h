/* SPDX-License-Identifier: BSD-3-Clause */
/* Tables in memory of Intel VT-d: root entry (9.1), context entry (9.3), second-stage entry (9.8).
 * vtd_registers.h says of which revision. */
#ifndef SPEC_VTD_TABLES_H
#define SPEC_VTD_TABLES_H

#include "base/bits.h"

/* Root entry, 16 bytes, one for each bus. */
#define VTD_ROOT_ENTRY_SIZE 16
#define VTD_ROOT_LO_P	    VI_BIT(0)
#define VTD_ROOT_LO_CTP	    VI_BITS(63, 12)
#define VTD_ROOT_LO_RSVD    VI_BITS(11, 1)
#define VTD_ROOT_HI_RSVD    VI_BITS(63, 0)

/* Legacy-mode context entry, 16 bytes, one for each device and function. */
#define VTD_CONTEXT_ENTRY_SIZE 16
#define VTD_CONTEXT_LO_P       VI_BIT(0)
#define VTD_CONTEXT_LO_FPD     VI_BIT(1)
#define VTD_CONTEXT_LO_TT      VI_BITS(3, 2)
#define VTD_CONTEXT_LO_SSPTPTR VI_BITS(63, 12)
#define VTD_CONTEXT_LO_RSVD    VI_BITS(11, 4)
#define VTD_CONTEXT_HI_AW      VI_BITS(2, 0)
#define VTD_CONTEXT_HI_IGN     VI_BITS(6, 3)
#define VTD_CONTEXT_HI_DID     VI_BITS(23, 8)
#define VTD_CONTEXT_HI_RSVD    (VI_BITS(63, 24) | VI_BIT(7))

enum {
	VTD_TT_UNTRANSLATED = 0, /* multi-level tables for untranslated requests, others blocked */
	VTD_TT_DEVICE_TLB = 1,	 /* and translation requests of ATS */
	VTD_TT_PASS_THROUGH = 2,
};

#define VTD_AW_39BIT 1 /* AGAW and number of levels: 30 + 9 * AW bits, 2 + AW levels */
#define VTD_AW_48BIT 2

/* Second-stage paging entry. */
#define VTD_SS_R    VI_BIT(0)
#define VTD_SS_W    VI_BIT(1)
#define VTD_SS_PS   VI_BIT(7)
#define VTD_SS_SNP  VI_BIT(11)
#define VTD_SS_ADDR VI_BITS(51, 12)
#define VTD_SS_TM   VI_BIT(62)

#endif
