/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * AMD's graphics address remapping table: registers in the configuration space
 * of function 3 of the northbridge, and the entries of the table. BIOS and Kernel
 * Developer's Guide for AMD Athlon 64 and AMD Opteron Processors, publication
 * 26094, revision 3.30, function 3, offsets 90h to 9Ch.
 */
#ifndef SPEC_GART_H
#define SPEC_GART_H

#include "base/bits.h"

#define GART_CONTROL	   0x90 /* GART aperture control */
#define GART_APERTURE_BASE 0x94
#define GART_TABLE_BASE	   0x98
#define GART_CACHE_CONTROL 0x9c

/* GART_CONTROL */
#define GART_CONTROL_EN	      VI_BIT(0)
#define GART_CONTROL_SIZE     VI_BITS(3, 1) /* 32 MiB << SIZE; 7 is reserved */
#define GART_CONTROL_DIS_CPU  VI_BIT(4)	    /* accesses of processors are not remapped */
#define GART_CONTROL_DIS_IO   VI_BIT(5)	    /* accesses of devices are not remapped */
#define GART_CONTROL_DIS_PRB  VI_BIT(6)	    /* table walks do not probe caches */
#define GART_CONTROL_WRITABLE VI_BITS(6, 0)
#define GART_SIZE_SMALLEST    25 /* log2 of bytes, with SIZE 0 */
#define GART_SIZE_FIELD_LIMIT 6

#define GART_APERTURE_BASE_ADDR VI_BITS(14, 0) /* bits 39..25 of the address */
#define GART_TABLE_BASE_ADDR	VI_BITS(31, 4) /* bits 39..12 of the address */

/* GART_CACHE_CONTROL */
#define GART_CACHE_INV	   VI_BIT(0) /* written 1: drop what is cached; reads 1 until that is done */
#define GART_CACHE_PTE_ERR VI_BIT(1) /* an entry that was needed is not valid; write 1 to clear */

/* An entry of 32 bits for each page of 4096 bytes of the aperture. */
#define GART_PTE_VALID	   VI_BIT(0)
#define GART_PTE_COHERENT  VI_BIT(1)
#define GART_PTE_ADDR_HIGH VI_BITS(11, 4)  /* bits 39..32 of the address */
#define GART_PTE_ADDR_LOW  VI_BITS(31, 12) /* bits 31..12 of it */
#define GART_PTE_SIZE	   4

#endif
