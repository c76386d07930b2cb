/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Tables in memory of AMD-Vi. AMD I/O Virtualization Technology (IOMMU)
 * Specification, publication 48882, revision 3: device table (2.2.2), host page
 * tables (2.2.3), interrupt tables (2.2.5), guest page tables (2.2.6). The latter
 * are the tables of long mode, AMD64 Architecture Programmer's Manual, volume 2,
 * publication 24593, 5.3.
 */
#ifndef SPEC_AMDVI_TABLES_H
#define SPEC_AMDVI_TABLES_H

#include "base/bits.h"

/* Device table entry, 32 bytes: words 0 and 1 are about memory, 2 and 3 about interrupts. */
#define AMDVI_DTE_SIZE	      32
#define AMDVI_DTE_V	      VI_BIT(0) /* these of word 0 */
#define AMDVI_DTE_TV	      VI_BIT(1)
#define AMDVI_DTE_HAD	      VI_BITS(8, 7)  /* with EFR.HASup */
#define AMDVI_DTE_MODE	      VI_BITS(11, 9) /* levels of the host page tables; 0: none, 7 is reserved */
#define AMDVI_DTE_ROOT	      VI_BITS(51, 12)
#define AMDVI_DTE_PPR	      VI_BITS(53, 52) /* PPR and GPRP, with EFR.EPHSup */
#define AMDVI_DTE_GIOV	      VI_BIT(54)      /* with EFR.GIoSup */
#define AMDVI_DTE_GV	      VI_BIT(55)      /* with EFR.GTSup, as what follows */
#define AMDVI_DTE_GLX	      VI_BITS(57, 56)
#define AMDVI_DTE_GCR3_14_12  VI_BITS(60, 58)
#define AMDVI_DTE_IR	      VI_BIT(61)
#define AMDVI_DTE_IW	      VI_BIT(62)
#define AMDVI_DTE_RSVD0	      (VI_BITS(6, 2) | VI_BIT(63))
#define AMDVI_DTE_DOMAIN      VI_BITS(15, 0) /* these of word 1 */
#define AMDVI_DTE_GCR3_30_15  VI_BITS(31, 16)
#define AMDVI_DTE_I	      VI_BIT(32)
#define AMDVI_DTE_SE	      VI_BIT(33) /* one event of a page fault, until the entry is invalidated */
#define AMDVI_DTE_SA	      VI_BIT(34) /* none */
#define AMDVI_DTE_IO_CTL      VI_BITS(36, 35)
#define AMDVI_DTE_EX	      VI_BIT(39)
#define AMDVI_DTE_SYS_MGT     VI_BITS(41, 40)
#define AMDVI_DTE_GCR3_51_31  VI_BITS(63, 43)
#define AMDVI_DTE_RSVD1	      VI_BIT(42)
#define AMDVI_DTE_IV	      VI_BIT(0)	    /* these of word 2 */
#define AMDVI_DTE_INT_TAB_LEN VI_BITS(4, 1) /* 2^n entries */
#define AMDVI_DTE_IG	      VI_BIT(5)
#define AMDVI_DTE_INT_ROOT    VI_BITS(51, 6)
#define AMDVI_DTE_INIT_PASS   VI_BIT(56)
#define AMDVI_DTE_EINT_PASS   VI_BIT(57)
#define AMDVI_DTE_NMI_PASS    VI_BIT(58)
#define AMDVI_DTE_INT_CTL     VI_BITS(61, 60)
#define AMDVI_DTE_RSVD2	      (VI_BITS(55, 52) | VI_BIT(59))
#define AMDVI_DTE_RSVD3	      VI_BITS(53, 0) /* of word 3 */

#define AMDVI_MODE_RESERVED    7
#define AMDVI_IO_CTL_RESERVED  3
#define AMDVI_INT_TAB_LEN_MOST 11

/* AMDVI_DTE_INT_CTL */
enum { AMDVI_INT_CTL_ABORT = 0, AMDVI_INT_CTL_FORWARD = 1, AMDVI_INT_CTL_REMAP = 2 };

/* Entry of an interrupt table: 4 bytes, or 16 with CONTROL.GAEn. Bits 7..0 are those of both. */
#define AMDVI_IRTE_SIZE	      4
#define AMDVI_IRTE_REMAP_EN   VI_BIT(0)
#define AMDVI_IRTE_SUP_IOPF   VI_BIT(1) /* no event of a page fault */
#define AMDVI_IRTE_INT_TYPE   VI_BITS(4, 2)
#define AMDVI_IRTE_DM	      VI_BIT(6)
#define AMDVI_IRTE_GUEST_MODE VI_BIT(7)
#define AMDVI_IRTE_DEST	      VI_BITS(15, 8)
#define AMDVI_IRTE_VECTOR     VI_BITS(23, 16)
#define AMDVI_IRTE_RSVD	      VI_BITS(31, 24)
#define AMDVI_IRTE128_SIZE    16
#define AMDVI_IRTE128_DEST_LO VI_BITS(31, 8) /* of the low half */
#define AMDVI_IRTE128_RSVD_LO VI_BITS(63, 32)
#define AMDVI_IRTE128_VECTOR  VI_BITS(7, 0) /* of the high half */
#define AMDVI_IRTE128_DEST_HI VI_BITS(63, 56)
#define AMDVI_IRTE128_RSVD_HI VI_BITS(55, 8)
#define AMDVI_INT_TYPE_LAST   1 /* fixed and arbitrated */

/* An interrupt message of a device: delivery mode, and the index that it has in place of a vector. */
#define AMDVI_MESSAGE_MODE  VI_BITS(10, 8)
#define AMDVI_MESSAGE_INDEX VI_BITS(10, 0)

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
