/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Registers of Intel VT-d (11.4), and fault reasons (7.1.3).
 *
 * The sections that comments of this project name are those of the Intel
 * Virtualization Technology for Directed I/O Architecture Specification, revision
 * 5.10 of November 2025, document D51397-018.
 */
#ifndef SPEC_VTD_REGISTERS_H
#define SPEC_VTD_REGISTERS_H

#include "base/bits.h"

/* Offsets. */
#define VTD_VER	     0x00
#define VTD_CAP	     0x08
#define VTD_ECAP     0x10
#define VTD_GCMD     0x18
#define VTD_GSTS     0x1c
#define VTD_RTADDR   0x20
#define VTD_CCMD     0x28
#define VTD_FSTS     0x34
#define VTD_FECTL    0x38
#define VTD_FEDATA   0x3c
#define VTD_FEADDR   0x40
#define VTD_FEUADDR  0x44
#define VTD_PMEN     0x64
#define VTD_PLMBASE  0x68
#define VTD_PLMLIMIT 0x6c
#define VTD_PHMBASE  0x70
#define VTD_PHMLIMIT 0x78
#define VTD_IQH	     0x80
#define VTD_IQT	     0x88
#define VTD_IQA	     0x90
#define VTD_ICS	     0x9c
#define VTD_IECTL    0xa0
#define VTD_IEDATA   0xa4
#define VTD_IEADDR   0xa8
#define VTD_IEUADDR  0xac
#define VTD_IQERCD   0xb0
/* Relative to ECAP.IRO * 16 and CAP.FRO * 16. */
#define VTD_IVA	      0x0
#define VTD_IOTLB     0x8
#define VTD_FRCD_LO   0x0
#define VTD_FRCD_HI   0x8
#define VTD_FRCD_SIZE 16

/* VER: major 7..4, minor 3..0. */
#define VTD_VER_1_0 0x10

/* CAP */
#define VTD_CAP_ND    VI_BITS(2, 0) /* domains: 2^(4 + 2 * ND) */
#define VTD_CAP_AFL   VI_BIT(3)
#define VTD_CAP_RWBF  VI_BIT(4)
#define VTD_CAP_PLMR  VI_BIT(5)
#define VTD_CAP_PHMR  VI_BIT(6)
#define VTD_CAP_CM    VI_BIT(7)
#define VTD_CAP_SAGAW VI_BITS(12, 8)
#define VTD_CAP_MGAW  VI_BITS(21, 16)
#define VTD_CAP_ZLR   VI_BIT(22)
#define VTD_CAP_FRO   VI_BITS(33, 24)
#define VTD_CAP_SSLPS VI_BITS(37, 34)
#define VTD_CAP_PSI   VI_BIT(39)
#define VTD_CAP_NFR   VI_BITS(47, 40)
#define VTD_CAP_MAMV  VI_BITS(53, 48)
#define VTD_CAP_DWD   VI_BIT(54)
#define VTD_CAP_DRD   VI_BIT(55)

#define VTD_SAGAW_39BIT 0x2
#define VTD_SAGAW_48BIT 0x4
#define VTD_SSLPS_2MIB	0x1
#define VTD_SSLPS_1GIB	0x2

/* ECAP */
#define VTD_ECAP_C   VI_BIT(0)
#define VTD_ECAP_QI  VI_BIT(1)
#define VTD_ECAP_DT  VI_BIT(2)
#define VTD_ECAP_IR  VI_BIT(3)
#define VTD_ECAP_PT  VI_BIT(6)
#define VTD_ECAP_SC  VI_BIT(7)
#define VTD_ECAP_IRO VI_BITS(17, 8)

/* GCMD and GSTS share their layout. */
#define VTD_GCMD_TE   0x80000000u
#define VTD_GCMD_SRTP 0x40000000u
#define VTD_GCMD_QIE  0x04000000u
#define VTD_GSTS_TES  VTD_GCMD_TE
#define VTD_GSTS_RTPS VTD_GCMD_SRTP
#define VTD_GSTS_QIES VTD_GCMD_QIE

/* RTADDR: TTM 0 is legacy mode, the only one here. */
#define VTD_RTADDR_RTA VI_BITS(63, 12)
#define VTD_RTADDR_TTM VI_BITS(11, 10)

/* CCMD */
/* FM and SID are write-only; bits 58..34 are reserved. */
#define VTD_CCMD_ICC  VI_BIT(63)
#define VTD_CCMD_CIRG VI_BITS(62, 61)
#define VTD_CCMD_CAIG VI_BITS(60, 59)
#define VTD_CCMD_FM   VI_BITS(33, 32)
#define VTD_CCMD_SID  VI_BITS(31, 16)
#define VTD_CCMD_DID  VI_BITS(15, 0)

/* Granularities of CIRG, IIRG and the queue's descriptors. */
enum { VTD_GRANULARITY_GLOBAL = 1, VTD_GRANULARITY_DOMAIN = 2, VTD_GRANULARITY_SELECTIVE = 3 };

/* FSTS */
#define VTD_FSTS_PFO 0x01u
#define VTD_FSTS_PPF 0x02u
#define VTD_FSTS_IQE 0x10u
#define VTD_FSTS_ICE 0x20u
#define VTD_FSTS_ITE 0x40u
#define VTD_FSTS_FRI VI_BITS(15, 8)

/* FECTL and IECTL: interrupt mask, interrupt pending. */
#define VTD_ECTL_IM 0x80000000u
#define VTD_ECTL_IP 0x40000000u

/* PMEN */
#define VTD_PMEN_EPM 0x80000000u
#define VTD_PMEN_PRS 0x00000001u

/* IQA, IQH, IQT */
#define VTD_IQA_IQA VI_BITS(63, 12)
#define VTD_IQA_DW  VI_BIT(11)	  /* reserved without scalable mode */
#define VTD_IQA_QS  VI_BITS(2, 0) /* 2^QS pages of 256 descriptors */
#define VTD_IQT_QT  VI_BITS(18, 4)

#define VTD_ICS_IWC 0x1u

/* IQERCD.IQEI */
#define VTD_IQERCD_IQEI VI_BITS(3, 0)
enum {
	VTD_IQEI_TAIL = 1,     /* tail outside of the queue */
	VTD_IQEI_FETCH = 2,    /* descriptor not in memory */
	VTD_IQEI_TYPE = 3,     /* invalid descriptor type */
	VTD_IQEI_RESERVED = 4, /* reserved field set */
	VTD_IQEI_TTM = 7,      /* RTADDR.TTM not legal */
};

/* IOTLB */
#define VTD_IOTLB_IVT  VI_BIT(63)
#define VTD_IOTLB_IIRG VI_BITS(61, 60)
#define VTD_IOTLB_IAIG VI_BITS(58, 57)
#define VTD_IOTLB_DR   VI_BIT(49)
#define VTD_IOTLB_DW   VI_BIT(48)
#define VTD_IOTLB_DID  VI_BITS(47, 32)

/* IVA */
#define VTD_IVA_ADDR VI_BITS(63, 12)
#define VTD_IVA_IH   VI_BIT(6)
#define VTD_IVA_AM   VI_BITS(5, 0)

/* Fault record, high half. */
#define VTD_FRCD_HI_F	VI_BIT(63)
#define VTD_FRCD_HI_T1	VI_BIT(62) /* request type: with T2 (28), 0 write, 1 read */
#define VTD_FRCD_HI_AT	VI_BITS(61, 60)
#define VTD_FRCD_HI_FR	VI_BITS(39, 32)
#define VTD_FRCD_HI_SID VI_BITS(15, 0)
#define VTD_FRCD_LO_FI	VI_BITS(63, 12)

/* Fault reasons of legacy mode. */
enum {
	VTD_FR_ROOT_NOT_PRESENT = 0x1,
	VTD_FR_CONTEXT_NOT_PRESENT = 0x2,
	VTD_FR_CONTEXT_INVALID = 0x3,
	VTD_FR_BEYOND_MGAW = 0x4,
	VTD_FR_WRITE = 0x5,
	VTD_FR_READ = 0x6,
	VTD_FR_TABLE_ACCESS = 0x7,
	VTD_FR_ROOT_TABLE_ACCESS = 0x8,
	VTD_FR_CONTEXT_TABLE_ACCESS = 0x9,
	VTD_FR_ROOT_RESERVED = 0xa,
	VTD_FR_CONTEXT_RESERVED = 0xb,
	VTD_FR_PTE_RESERVED = 0xc,
	VTD_FR_TT_BLOCKED = 0xd,
	VTD_FR_INTERRUPT_ADDRESS = 0xe, /* LGN.4: the translated address lies in 0xFEEx_xxxx */
	VTD_FR_ROOT_TABLE_MODE = 0x30,	/* RTA.1: RTADDR.TTM names a mode that is not offered */
};

#endif
