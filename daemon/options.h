/* SPDX-License-Identifier: BSD-3-Clause */
/* What the user asked viommud for. */
#ifndef DAEMON_OPTIONS_H
#define DAEMON_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#define VM_MAX	     8
#define VM_NAME_MAX  32
#define NVME_MAX     12 /* controllers of one VM */
#define IOMMU_MAX    4	/* units of one VM */
#define IOMMU_ID_MAX 16
#define IOMMU_SLOT_USUAL                                                                                     \
	0x10 /* high slots, so that -device options of the user find theirs free; further units              \
		take those below */
#define GART_SLOT	  0x18 /* where systems look for the first northbridge, */
#define GART_FUNCTION	  3    /* and for the GART in it */
#define NVME_SLOT_USUAL	  0x11 /* the first; the others follow */
#define IDLE_US_USUAL	  200
#define IDLE_US_MAX	  1000000
#define SERIAL_LENGTH_MAX 20

enum iommu_model { IOMMU_VTD, IOMMU_GART, IOMMU_VIRTIO, IOMMU_AMDVI };

/* A remapping unit. */
struct iommu_choice {
	enum iommu_model model;
	char id[IOMMU_ID_MAX + 1]; /* "" only until all options are read */
	bool caching_mode;
	bool trap;	  /* its registers; once all options are read */
	bool boot_bypass; /* of virtio: devices reach all memory until the guest says otherwise */
	unsigned width;	  /* of guest tables: 39 or 48 */
	unsigned devfn;
	uint64_t expected_base; /* of the registers; 0: nobody knows yet */
};

/* Where the DMAR table says that a unit's registers are. */
struct expectation {
	uint64_t base;
	char unit_id[IOMMU_ID_MAX + 1]; /* "": of the first */
};

struct nvme_choice {
	char *path;
	uint64_t identity[2];		/* the same for two paths to one file */
	char *serial;			/* NULL only until all options are read */
	unsigned devfn;			/* 0 only until all options are read */
	char unit_id[IOMMU_ID_MAX + 1]; /* that it stands behind; "": the first */
	unsigned unit;			/* its number, once all options are read */
	unsigned queues;		/* 0: the controller's usual */
	bool rogue, readonly;
	bool raw; /* whatever it begins with */
	int fd;	  /* of the file, once vm_open_files() has been called */
};

struct vm_options {
	const char *name;     /* also of its folder; NULL: the only VM, whose sockets are in --dir itself */
	bool no_iommu;	      /* nothing is remapped */
	unsigned iommu_count; /* 0 when all options are read: nothing is remapped */
	struct iommu_choice iommus[IOMMU_MAX];
	unsigned expectation_count;
	struct expectation expectations[IOMMU_MAX + 1]; /* of each name, and without one */
	bool trap, sidecore; /* what was said last of --registers; neither: auto, or nothing */
	unsigned nvme_count;
	struct nvme_choice nvme[NVME_MAX];
};

struct daemon_options {
	const char *dir; /* NULL: a fresh one */
	bool verbose;
	bool sandbox;
	unsigned idle_us; /* busy polling goes on for so long without work */
	int cpu;	  /* of the work thread; -1: any */
	unsigned vm_count;
	struct vm_options vms[VM_MAX];
};

enum options_verdict {
	OPTIONS_SERVE,
	OPTIONS_ANSWERED, /* --help or --version, printed */
	OPTIONS_BAD,	  /* said on stderr, one line */
};

enum options_verdict options_parse(struct daemon_options *o, int argc, char **argv);
void options_finish(struct daemon_options *o);

/* How many units are of this model, and the number among all of the unit that is number `index` of its model.
 */
unsigned options_iommu_count(const struct vm_options *o, enum iommu_model model);
unsigned options_iommu_number(const struct vm_options *o, enum iommu_model model, unsigned index);

#endif
