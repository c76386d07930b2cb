/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Page tables in memory of AMD-Vi. AMD I/O Virtualization Technology (IOMMU)
 * Specification, publication 48882, revision 3: host page tables (2.2.3), guest
 * page tables (2.2.6). Those are the tables of long mode, AMD64 Architecture
 * Programmer's Manual, volume 2, publication 24593, 5.3.
 */
#ifndef SPEC_AMDVI_TABLES_H
#define SPEC_AMDVI_TABLES_H

#include "base/bits.h"

/* Entry of a host page table (2.2.3): of a directory, which leads to a table, or of a page. Bits 8..1 but for
 * A and D are ignored, as is bit 63. */
#define AMDVI_PTE_PR	     VI_BIT(0)
#define AMDVI_PTE_A	     VI_BIT(5)
#define AMDVI_PTE_D	     VI_BIT(6)
#define AMDVI_PTE_NEXT_LEVEL VI_BITS(11, 9)
#define AMDVI_PTE_ADDR	     VI_BITS(51, 12)
#define AMDVI_PTE_U	     VI_BIT(59) /* of a page: for answers to translation requests */
#define AMDVI_PTE_FC	     VI_BIT(60) /* of a page: accesses are coherent, whatever the device says */
#define AMDVI_PTE_IR	     VI_BIT(61)
#define AMDVI_PTE_IW	     VI_BIT(62)
#define AMDVI_PTE_PAGE_RSVD  VI_BITS(58, 52)
#define AMDVI_PTE_TABLE_RSVD VI_BITS(60, 52)

/* AMDVI_PTE_NEXT_LEVEL: 1 to 6 is the level of the next table, and these are pages. */
enum {
	AMDVI_NEXT_LEVEL_PAGE = 0,	 /* of the default size of the entry's level */
	AMDVI_NEXT_LEVEL_SIZED_PAGE = 7, /* the lowest bit of the address that is 0 is half of the size */
};

#define AMDVI_LEVEL_WITHOUT_PAGES 6

/* Entry of a guest page table (2.2.6). PWT (3), PCD (4), PAT, NX (63) are of no concern to what a device
 * reaches. */
#define AMDVI_GUEST_P  VI_BIT(0)
#define AMDVI_GUEST_RW VI_BIT(1)
#define AMDVI_GUEST_US VI_BIT(2)
#define AMDVI_GUEST_A  VI_BIT(5)
#define AMDVI_GUEST_D  VI_BIT(6)
#define AMDVI_GUEST_PS VI_BIT(7)
#define AMDVI_GUEST_G  VI_BIT(8)
#define AMDVI_GUEST_LARGE_PAT                                                                                \
	VI_BIT(12) /* of a page that is larger than 4 KiB, in place of an address bit                        \
		    */
#define AMDVI_GUEST_ADDR VI_BITS(51, 12)

/* From this level on no entry is a page: PS and G must be 0. */
#define AMDVI_GUEST_LEVEL_WITHOUT_PAGES 4

#endif
