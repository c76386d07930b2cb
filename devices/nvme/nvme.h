/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * An NVMe 1.4 controller with one namespace, a file behind it, its DMA through
 * libviommu.
 *
 * Two threads use it: the register thread calls the config and bar functions,
 * the work thread calls nvme_poll(), nvme_arm() and owns the viommu_thread.
 * They never wait for each other longer than one register access or one
 * command's parsing takes.
 */
#ifndef DEVICES_NVME_NVME_H
#define DEVICES_NVME_NVME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <viommu/access.h>

struct nvme;

/* What the controller asks of its host. All but the last required, none may block, any thread. */
struct nvme_host_ops {
	/* MSI-X vector fires (only called while the client enabled MSI-X). */
	void (*msix)(void *opaque, unsigned vector);
	/* INTx level changed. */
	void (*intx)(void *opaque, bool level);
	/* nvme_poll() has work: a register was written. */
	void (*kick)(void *opaque);
	void (*log)(void *opaque, const char *line);
	/* Has the guest's memory gone, with the guest? That DMA fails then is not worth a line. May be NULL.
	 */
	bool (*memory_gone)(void *opaque);
};

/*
 * The namespace is as large as the file is now, in whole blocks. When the file
 * is made shorter later, what is behind its end can be neither read nor written.
 */
struct nvme_options {
	const char *path; /* regular file or block device; locked against others */
	int fd;		  /* path NULL: that file, open; it stays the caller's */
	const char
		*serial; /* up to 20 characters; NULL: "viommu-" and a number made from the file's identity */
	unsigned io_queues; /* 1..64 queue pairs; 0: 8 */
	bool read_only;
	bool rogue;    /* admin command 0xc0 reads or writes at any IOVA */
	bool no_dbbuf; /* hide shadow doorbells */
};

/* 0 or negative errno; on error `why` says what is wrong and what to do; else it means nothing. */
int nvme_create(const struct nvme_options *opts, const struct nvme_host_ops *ops, void *opaque,
		struct nvme **ret_nvme, char *why, size_t why_size);
void nvme_destroy(struct nvme *n);
/*
 * Opens and locks the file now for a controller that is made later. An fd, or as nvme_create(). -EBUSY:
 * another program uses it, or it is to be written and is open already.
 */
int nvme_open_file(const char *path, bool read_only, char *why, size_t why_size);

/* Where its DMA goes. Before the first poll; the requester and thread outlive the controller. */
void nvme_attach(struct nvme *n, struct viommu_requester *requester, struct viommu_thread *thread);

#define NVME_BAR0_SIZE	  0x4000 /* registers and doorbells */
#define NVME_BAR4_SIZE	  0x2000 /* MSI-X table and PBA */
#define NVME_MSIX_VECTORS 65

/* Register thread. PCI configuration space, 256 bytes; bars 0 and 4. len 1..256. 0 or negative errno. */
int nvme_config_read(struct nvme *n, uint64_t offset, void *buf, size_t len);
int nvme_config_write(struct nvme *n, uint64_t offset, const void *buf, size_t len);
int nvme_bar_read(struct nvme *n, unsigned bar, uint64_t offset, void *buf, size_t len);
int nvme_bar_write(struct nvme *n, unsigned bar, uint64_t offset, const void *buf, size_t len);
/*
 * Function-level reset: config space, controller, queues. When it returns no
 * DMA begins any more; one copy that has begun may still end. Requests at the
 * disk are waited for by the work thread before the controller is ready again,
 * their results are dropped.
 */
void nvme_reset(struct nvme *n);

/*
 * Work thread. Fetch and finish about `budget` commands; returns how many steps
 * were done, 0 when idle. Never waits for the disk or for the register thread;
 * an access of memory without a host pointer takes as long as the host's
 * mem_read and mem_write do.
 */
unsigned nvme_poll(struct nvme *n, unsigned budget);
/* Work thread. Commands that were waiting in the submission queues at the last poll. */
unsigned nvme_backlog(const struct nvme *n);
/*
 * About to sleep: ask the guest to ring doorbells (DBBUF event index) and look
 * once more. False: there is work after all. Any later poll disarms. Until
 * this was called completions need not make nvme_completion_fd() readable, and
 * only this makes it unreadable again: call it before each sleep.
 */
bool nvme_arm(struct nvme *n);
/* Work thread. While held, no command is fetched; those that were fetched go on, by nvme_poll(). */
void nvme_hold(struct nvme *n, bool hold);
/*
 * Work thread, and the register thread waits. The controller's state as bytes, for nvme_restore() in
 * another process: registers, PCI configuration, queues, features, events, logs and counters. Nothing of the
 * disk's contents, nor of guest memory, where the queues are. `buf` NULL: nothing is written. Returns how
 * many bytes it takes, or
 *
 * -EBUSY: commands are under way; nvme_hold(), and again after polls. A guest that took bus mastering away
 * can keep it so. -ENOSPC: `size` is too small.
 */
int64_t nvme_save(struct nvme *n, void *buf, size_t size);
/*
 * Likewise. Take over what nvme_save() of this version wrote, whoever may have
 * changed it since; all or nothing. `buf` is aligned to 8 bytes. What this controller was doing is forgotten.
 *
 * -EBADMSG: these bytes are no state. -ENOTSUP: of another version, or of a controller with another disk size
 * or other options. -EBUSY: requests are at the disk.
 */
int nvme_restore(struct nvme *n, const void *buf, size_t size);
/* What nvme_restore() would return; nothing changes. */
int nvme_restore_check(struct nvme *n, const void *buf, size_t size);
/* Readable when disk requests completed: poll it while asleep, then call nvme_poll(). */
int nvme_completion_fd(const struct nvme *n);

#endif
