/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What NVM Express 1.4 (base specification) lays down: registers, entries,
 * data structures, status codes. All fields little-endian; this code runs on
 * little-endian hosts only, like the io_uring rings it shares with the kernel.
 */
#ifndef DEVICES_NVME_SPEC_H
#define DEVICES_NVME_SPEC_H

#include <stdint.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "wire structs are used in place");

/* 3.1 Register definition */
enum {
	NVME_REG_CAP = 0x00,
	NVME_REG_VS = 0x08,
	NVME_REG_INTMS = 0x0c,
	NVME_REG_INTMC = 0x10,
	NVME_REG_CC = 0x14,
	NVME_REG_CSTS = 0x1c,
	NVME_REG_AQA = 0x24,
	NVME_REG_ASQ = 0x28,
	NVME_REG_ACQ = 0x30,
	NVME_REG_DOORBELLS = 0x1000,
};

#define NVME_VS_1_4 0x00010400u

/* 3.1.1 CAP */
#define NVME_CAP_MQES(v) ((uint64_t)(v)) /* 0's based */
#define NVME_CAP_CQR	 (1ull << 16)
#define NVME_CAP_TO(v)	 ((uint64_t)(v) << 24) /* 500 ms units */
#define NVME_CAP_CSS_NVM (1ull << 37)

/* 3.1.5 CC */
#define NVME_CC_EN	   (1u << 0)
#define NVME_CC_CSS(cc)	   ((cc) >> 4 & 7)
#define NVME_CC_MPS(cc)	   ((cc) >> 7 & 15)
#define NVME_CC_AMS(cc)	   ((cc) >> 11 & 7)
#define NVME_CC_SHN(cc)	   ((cc) >> 14 & 3)
#define NVME_CC_IOSQES(cc) ((cc) >> 16 & 15)
#define NVME_CC_IOCQES(cc) ((cc) >> 20 & 15)
#define NVME_CC_WRITABLE   0x00fffff1u

/* 3.1.6 CSTS */
#define NVME_CSTS_RDY	   (1u << 0)
#define NVME_CSTS_CFS	   (1u << 1)
#define NVME_CSTS_SHST	   (3u << 2)
#define NVME_CSTS_SHST_ING (1u << 2)
#define NVME_CSTS_SHST_END (2u << 2)

/* 3.1.8 AQA */
#define NVME_AQA_ASQS(aqa) ((aqa)&0xfff)
#define NVME_AQA_ACQS(aqa) ((aqa) >> 16 & 0xfff)
#define NVME_AQA_WRITABLE  0x0fff0fffu

#define NVME_PAGE_SIZE 4096u /* CAP.MPSMIN = CAP.MPSMAX = 0 */
#define NVME_SQE_LG2   6
#define NVME_CQE_LG2   4
#define NVME_BLOCK_LG2 9

/* 4.2 Submission Queue Entry */
struct nvme_sqe {
	uint8_t opcode;
	uint8_t flags; /* FUSE 1:0, PSDT 7:6 */
	uint16_t cid;
	uint32_t nsid;
	uint64_t reserved;
	uint64_t mptr;
	uint64_t prp1;
	uint64_t prp2;
	uint32_t cdw10, cdw11, cdw12, cdw13, cdw14, cdw15;
};
_Static_assert(sizeof(struct nvme_sqe) == 64, "4.2");

#define NVME_SQE_FUSE 0x03
#define NVME_SQE_PSDT 0xc0

/* 4.6 Completion Queue Entry, as two halves that are stored one after the other */
struct nvme_cqe {
	uint32_t result;
	uint32_t reserved;
	uint16_t sq_head;
	uint16_t sqid;
	uint16_t cid;
	uint16_t status; /* phase in bit 0, status field above */
};
_Static_assert(sizeof(struct nvme_cqe) == 16, "4.6");

/* 4.6.1 Status field: SC 7:0, SCT 10:8, DNR 14 */
#define NVME_STATUS_DNR	     0x4000u
#define NVME_STATUS(sct, sc) ((sct) << 8 | (sc))
enum {
	NVME_SUCCESS = 0,
	NVME_INVALID_OPCODE = NVME_STATUS(0, 0x01) | NVME_STATUS_DNR,
	NVME_INVALID_FIELD = NVME_STATUS(0, 0x02) | NVME_STATUS_DNR,
	NVME_DATA_TRANSFER_ERROR = NVME_STATUS(0, 0x04),
	NVME_ABORT_REQUESTED = NVME_STATUS(0, 0x07),
	NVME_INVALID_NAMESPACE = NVME_STATUS(0, 0x0b) | NVME_STATUS_DNR,
	NVME_COMMAND_SEQUENCE = NVME_STATUS(0, 0x0c) | NVME_STATUS_DNR,
	NVME_PRP_OFFSET_INVALID = NVME_STATUS(0, 0x13) | NVME_STATUS_DNR,
	NVME_WRITE_PROTECTED = NVME_STATUS(0, 0x20) | NVME_STATUS_DNR,
	NVME_LBA_OUT_OF_RANGE = NVME_STATUS(0, 0x80) | NVME_STATUS_DNR,
	NVME_CAPACITY_EXCEEDED = NVME_STATUS(0, 0x81) | NVME_STATUS_DNR,
	NVME_CQ_INVALID = NVME_STATUS(1, 0x00) | NVME_STATUS_DNR,
	NVME_INVALID_QUEUE_ID = NVME_STATUS(1, 0x01) | NVME_STATUS_DNR,
	NVME_INVALID_QUEUE_SIZE = NVME_STATUS(1, 0x02) | NVME_STATUS_DNR,
	NVME_ABORT_LIMIT_EXCEEDED = NVME_STATUS(1, 0x03),
	NVME_AER_LIMIT_EXCEEDED = NVME_STATUS(1, 0x05) | NVME_STATUS_DNR,
	NVME_INVALID_VECTOR = NVME_STATUS(1, 0x08) | NVME_STATUS_DNR,
	NVME_INVALID_LOG_PAGE = NVME_STATUS(1, 0x09) | NVME_STATUS_DNR,
	NVME_INVALID_QUEUE_DELETION = NVME_STATUS(1, 0x0c) | NVME_STATUS_DNR,
	NVME_NOT_SAVEABLE = NVME_STATUS(1, 0x0d) | NVME_STATUS_DNR,
	NVME_WRITE_FAULT = NVME_STATUS(2, 0x80),
	NVME_UNRECOVERED_READ = NVME_STATUS(2, 0x81),
	NVME_COMPARE_FAILURE = NVME_STATUS(2, 0x85) | NVME_STATUS_DNR,
};

/* 5 Admin commands */
enum {
	NVME_ADMIN_DELETE_SQ = 0x00,
	NVME_ADMIN_CREATE_SQ = 0x01,
	NVME_ADMIN_GET_LOG_PAGE = 0x02,
	NVME_ADMIN_DELETE_CQ = 0x04,
	NVME_ADMIN_CREATE_CQ = 0x05,
	NVME_ADMIN_IDENTIFY = 0x06,
	NVME_ADMIN_ABORT = 0x08,
	NVME_ADMIN_SET_FEATURES = 0x09,
	NVME_ADMIN_GET_FEATURES = 0x0a,
	NVME_ADMIN_ASYNC_EVENT = 0x0c,
	NVME_ADMIN_DOORBELL_BUFFER = 0x7c,
	NVME_ADMIN_ROGUE = 0xc0, /* ours; see rogue.c */
};

/* 6 NVM command set */
enum {
	NVME_IO_FLUSH = 0x00,
	NVME_IO_WRITE = 0x01,
	NVME_IO_READ = 0x02,
	NVME_IO_COMPARE = 0x05,
	NVME_IO_WRITE_ZEROES = 0x08,
	NVME_IO_DATASET_MANAGEMENT = 0x09,
};
#define NVME_RW_NLB(cdw12) (((cdw12)&0xffff) + 1)
#define NVME_RW_FUA	   (1u << 30) /* cdw12 */
#define NVME_RW_DEAC	   (1u << 25) /* cdw12 of Write Zeroes */
#define NVME_DSM_AD	   (1u << 2)  /* cdw11 */

struct nvme_dsm_range {
	uint32_t attributes;
	uint32_t blocks;
	uint64_t first;
};

/* 5.3, 5.4 Create I/O queue, cdw11 */
#define NVME_QUEUE_PC  (1u << 0)
#define NVME_QUEUE_IEN (1u << 1)

/* 5.2 Asynchronous events */
enum {
	NVME_EVENT_ERROR = 0,
	NVME_EVENT_SMART = 1,
	NVME_EVENT_NOTICE = 2,
	NVME_EVENT_TYPES = 8,
};
enum {
	NVME_EVENT_ERROR_BAD_REGISTER = 0,
	NVME_EVENT_ERROR_BAD_VALUE = 1,
};

/* 5.14 Log pages */
enum {
	NVME_LOG_ERROR = 0x01,
	NVME_LOG_SMART = 0x02,
	NVME_LOG_FIRMWARE = 0x03,
	NVME_LOG_CHANGED_NS = 0x04,
	NVME_LOG_EFFECTS = 0x05,
};
#define NVME_LOG_RAE (1u << 15) /* cdw10 */

struct nvme_error_entry {
	uint64_t count;
	uint16_t sqid;
	uint16_t cid;
	uint16_t status;
	uint16_t parameter;
	uint64_t lba;
	uint32_t nsid;
	uint8_t vendor, transport;
	uint16_t reserved;
	uint64_t specific;
	uint8_t rest[24];
};
_Static_assert(sizeof(struct nvme_error_entry) == 64, "5.14.1.1");

/* 5.14.1.2; counters are 128 bits wide */
struct nvme_smart_log {
	uint8_t critical;
	uint8_t temperature[2];
	uint8_t spare, spare_threshold, used;
	uint8_t reserved0[26];
	uint64_t units_read[2], units_written[2];
	uint64_t reads[2], writes[2];
	uint64_t busy_minutes[2];
	uint64_t power_cycles[2], power_hours[2], unsafe_shutdowns[2];
	uint64_t media_errors[2], error_entries[2];
	uint32_t warning_minutes, critical_minutes;
	uint8_t reserved1[312];
};
_Static_assert(sizeof(struct nvme_smart_log) == 512, "5.14.1.2");

/* 5.14.1.5 Commands supported and effects */
#define NVME_EFFECT_SUPPORTED (1u << 0)
#define NVME_EFFECT_CONTENT   (1u << 1) /* logical block content change */

/* 5.15 Identify */
enum {
	NVME_CNS_NAMESPACE = 0x00,
	NVME_CNS_CONTROLLER = 0x01,
	NVME_CNS_ACTIVE_LIST = 0x02,
	NVME_CNS_DESCRIPTORS = 0x03,
	NVME_CNS_CS_CONTROLLER = 0x06, /* of NVMe 2.0; Linux asks a 1.4 controller for it too */
	NVME_CNS_CONTROLLERS_NS = 0x12,
	NVME_CNS_CONTROLLERS = 0x13,
};
#define NVME_NSID_ALL 0xffffffffu

struct nvme_identify_controller {
	uint16_t vid, ssvid;
	char sn[20], mn[40], fr[8];
	uint8_t rab, ieee[3], cmic, mdts;
	uint16_t cntlid;
	uint32_t ver, rtd3r, rtd3e, oaes, ctratt;
	uint16_t rrls;
	uint8_t reserved102[9];
	uint8_t cntrltype; /* 111 */
	uint8_t fguid[16];
	uint8_t reserved128[128];
	uint16_t oacs; /* 256 */
	uint8_t acl, aerl, frmw, lpa, elpe, npss, avscc, apsta;
	uint16_t wctemp, cctemp, mtfa;
	uint32_t hmpre, hmmin;
	uint8_t tnvmcap[16], unvmcap[16];
	uint32_t rpmbs;
	uint16_t edstt;
	uint8_t dsto, fwug;
	uint16_t kas, hctma, mntmt, mxtmt;
	uint32_t sanicap;
	uint8_t reserved332[180];
	uint8_t sqes, cqes; /* 512 */
	uint16_t maxcmd;
	uint32_t nn;
	uint16_t oncs, fuses;
	uint8_t fna, vwc;
	uint16_t awun, awupf;
	uint8_t nvscc, nwpc;
	uint16_t acwu;
	uint8_t reserved534[2];
	uint32_t sgls, mnan;
	uint8_t reserved544[224];
	char subnqn[256]; /* 768 */
	uint8_t reserved1024[1024];
	uint8_t psd[32][32]; /* 2048 */
	uint8_t vendor[1024];
} __attribute__((packed));
_Static_assert(sizeof(struct nvme_identify_controller) == 4096, "figure 247");
_Static_assert(__builtin_offsetof(struct nvme_identify_controller, oacs) == 256, "figure 247");
_Static_assert(__builtin_offsetof(struct nvme_identify_controller, sqes) == 512, "figure 247");
_Static_assert(__builtin_offsetof(struct nvme_identify_controller, subnqn) == 768, "figure 247");

#define NVME_OACS_DBBUF	     (1u << 8)
#define NVME_ONCS_COMPARE    (1u << 0)
#define NVME_ONCS_DSM	     (1u << 2)
#define NVME_ONCS_ZEROES     (1u << 3)
#define NVME_ONCS_SELECT     (1u << 4)
#define NVME_OAES_NAMESPACES (1u << 8)

struct nvme_identify_namespace {
	uint64_t nsze, ncap, nuse;
	uint8_t nsfeat, nlbaf, flbas, mc, dpc, dps, nmic, rescap, fpi, dlfeat;
	uint16_t nawun, nawupf, nacwu, nabsn, nabo, nabspf, noiob;
	uint8_t nvmcap[16];
	uint16_t npwg, npwa, npdg, npda, nows;
	uint8_t reserved74[25];
	uint8_t nsattr; /* 99 */
	uint16_t nvmsetid, endgid;
	uint8_t nguid[16], eui64[8];
	uint32_t lbaf[16]; /* 128 */
	uint8_t rest[3904];
} __attribute__((packed));
_Static_assert(sizeof(struct nvme_identify_namespace) == 4096, "figure 245");
_Static_assert(__builtin_offsetof(struct nvme_identify_namespace, lbaf) == 128, "figure 245");

/* 5.21.1 Feature identifiers */
enum {
	NVME_FEATURE_ARBITRATION = 0x01,
	NVME_FEATURE_POWER = 0x02,
	NVME_FEATURE_TEMPERATURE = 0x04,
	NVME_FEATURE_ERROR_RECOVERY = 0x05,
	NVME_FEATURE_WRITE_CACHE = 0x06,
	NVME_FEATURE_QUEUES = 0x07,
	NVME_FEATURE_COALESCING = 0x08,
	NVME_FEATURE_VECTOR = 0x09,
	NVME_FEATURE_ATOMICITY = 0x0a,
	NVME_FEATURE_ASYNC_EVENTS = 0x0b,
};

#endif
