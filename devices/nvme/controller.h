/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The inside of the controller, shared by its files.
 *
 * Threads. The register thread posts: register values under `lock` (held for
 * one register access, never over a DMA or a system call), doorbells as
 * atomics. The work thread takes what was posted, at the start of a poll, and
 * owns all the rest. A controller reset is a posting too: it closes the gate of
 * all DMA at once (dma.c) and the work thread tidies up when it comes by.
 */
#ifndef DEVICES_NVME_CONTROLLER_H
#define DEVICES_NVME_CONTROLLER_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "nvme/disk.h"
#include "nvme/nvme.h"
#include "nvme/spec.h"

#define NVME_MAX_QUEUES	   65 /* admin and 64 I/O pairs */
#define NVME_MAX_ENTRIES   1024
#define NVME_MDTS_LG2	   7 /* 512 KiB, in pages */
#define NVME_MAX_TRANSFER  (NVME_PAGE_SIZE << NVME_MDTS_LG2)
#define NVME_MAX_PAGES	   ((1u << NVME_MDTS_LG2) + 1)
#define NVME_COMMANDS	   256 /* fetched and not yet completed */
#define NVME_ADMIN_RESERVE 16  /* of these, what I/O queues leave to the admin queue */
#define NVME_STAGING_SIZE  (8u << 20)
#define NVME_STAGING_PAGES (NVME_STAGING_SIZE / NVME_PAGE_SIZE)
#define NVME_AER_LIMIT	   4
#define NVME_ABORT_LIMIT   4
#define NVME_ERROR_ENTRIES 16
#define NVME_FEATURE_SLOTS 16

/* A handler's answers beside a status of spec.h: */
#define NVME_PENDING  0x10000u /* a disk request is under way */
#define NVME_NO_ROOM  0x20000u /* no staging memory yet: call again */
#define NVME_DEFERRED 0x30000u /* somebody keeps it and calls nvme_command_complete() */

struct nvme_command;

/* Where a command's data is in the device's address space. */
struct nvme_data {
	uint32_t len;
	unsigned count;
	uint64_t page[NVME_MAX_PAGES]; /* only the first may have an offset */
};

typedef uint32_t (*nvme_handler)(struct nvme *n, struct nvme_command *c);

struct nvme_command {
	struct disk_request disk; /* first: the disk hands back its address */
	struct nvme_command *next;
	struct nvme_sqe sqe; /* the one copy; the guest's is never looked at again */
	uint16_t sqid;
	bool busy, at_disk;
	bool no_reply; /* the controller's own (flush at shutdown) */
	bool aborted;
	struct nvme_command *abort; /* an Abort command that waits for the end of this one */
	uint32_t generation;
	uint32_t result; /* dword 0 of the completion */
	uint32_t status;
	nvme_handler step; /* after a disk request: what now */
	unsigned index;	   /* progress of multi-request commands */
	void *staging;
	size_t staging_len;
	struct nvme_data data;
};

struct nvme_sq {
	bool exists;
	uint16_t cqid;
	uint32_t size, head, tail;
	uint64_t base;
	unsigned in_flight;
	struct nvme_command *deletion; /* a Delete command that waits until nothing is in flight */
	uint32_t event_tail;	       /* the tail for which EventIdx was last written */
	uint32_t bad_tail;	       /* a shadow value that was reported; UINT32_MAX: none */
};

struct nvme_cq {
	bool exists, interrupts, phase;
	uint16_t vector;
	uint32_t size, head, tail;
	uint32_t reserved; /* entries promised to commands that were fetched */
	uint64_t base;
	unsigned sq_count;
	uint32_t event_head, bad_head; /* as in struct nvme_sq */
	bool event_armed;	       /* EventIdx asks for the next move of the head */
	bool rung;		       /* each move of the head is rung for, and taken then only */
};

struct nvme_counters {
	uint64_t read_blocks, written_blocks, reads, writes, media_errors, errors;
};

#define NVME_DOORBELLS	     (2 * NVME_MAX_QUEUES)
#define NVME_DOORBELL_WORDS  ((NVME_DOORBELLS + 63) / 64)
#define NVME_PCI_CONFIG_SIZE 256

enum nvme_life { NVME_LIFE_OFF, NVME_LIFE_ON, NVME_LIFE_FATAL };
enum nvme_shutdown { NVME_SHUTDOWN_NONE, NVME_SHUTDOWN_QUIESCE, NVME_SHUTDOWN_FLUSH, NVME_SHUTDOWN_DONE };

struct nvme {
	/* Constant. */
	struct nvme_host_ops ops;
	void *opaque;
	struct viommu_requester *requester;
	struct viommu_thread *thread;
	struct disk *disk;
	uint64_t blocks;
	unsigned io_queues;
	bool read_only, rogue, no_dbbuf;
	bool full_told; /* since the last reset; the operator need not hear of each write */
	char serial[21];
	uint8_t identity[16];

	/* Posted: written by the register thread, taken by the work thread. */
	atomic_bool control;	      /* CC or the reset epoch changed */
	atomic_uint epoch;	      /* +1 at each reset; changes under lock */
	atomic_bool dma_enabled;      /* bus master and D0; changes under lock */
	atomic_bool msix_enabled;     /* changes under lock */
	atomic_bool doorbell_invalid; /* a doorbell that does not exist was written */
	atomic_uint_fast64_t doorbell_rung[NVME_DOORBELL_WORDS];
	atomic_uint doorbell_value[NVME_DOORBELLS];

	/* Under lock. */
	pthread_mutex_t lock;
	uint32_t cc, csts, aqa, intms;
	uint64_t asq, acq;
	uint32_t intx_pending; /* by vector; those beyond 31 share the last */
	bool intx_level;
	uint8_t config[NVME_PCI_CONFIG_SIZE];
	uint8_t msix_table[NVME_BAR4_SIZE];

	/* The work thread's. */
	enum nvme_life life;
	enum nvme_shutdown shutdown;
	uint32_t current_cc;
	bool unsettled; /* lifecycle.c waits for the disk */
	bool held;	/* no command is begun */
	unsigned current_epoch;
	uint32_t generation; /* of commands: +1 when queues are torn down */
	struct nvme_sq sq[NVME_MAX_QUEUES];
	struct nvme_cq cq[NVME_MAX_QUEUES];
	unsigned next_sq;	 /* round robin */
	uint64_t notify[2];	 /* completion queues with something new */
	bool intx_stale;	 /* intx_pending is to be computed again */
	unsigned disk_in_flight; /* commands at the disk, of any generation */

	struct nvme_command *commands, *free_commands;
	unsigned free_count;
	struct nvme_command *no_room; /* the one command that waits for staging memory */
	struct nvme_command *unposted, **unposted_end;
	uint8_t *staging;
	uint64_t staging_used[NVME_STAGING_PAGES / 64];

	bool armed, dbbuf;
	bool dbbuf_sleeping; /* EventIdx of all queues asks to be rung */
	uint64_t dbbuf_shadow, dbbuf_event;
	/* Of the admin queue's tail and head: the shadow when it was given, and has it changed since? */
	uint32_t dbbuf_admin_first[2];
	bool dbbuf_admin[2];

	struct nvme_command *aer[NVME_AER_LIMIT]; /* oldest first */
	unsigned aer_count, abort_count;
	uint32_t event_pending[NVME_EVENT_TYPES]; /* bit per info */
	uint32_t event_masked;			  /* bit per type, until its log page was read */
	uint32_t features[NVME_FEATURE_SLOTS];
	uint32_t temperature[2]; /* over, under */
	uint64_t vector_no_coalescing[2];
	bool queues_created;
	struct nvme_error_entry error_log[NVME_ERROR_ENTRIES];
	struct nvme_counters counters;
};

/* controller.c */
int nvme_controller_create(const struct nvme_options *opts, enum disk_engine engine,
			   const struct nvme_host_ops *ops, void *opaque, struct nvme **ret_nvme, char *why,
			   size_t why_size);

/* lifecycle.c: CC and resets, on the work thread. True: something changed. */
bool nvme_lifecycle_run(struct nvme *n);
/* Call with the lock. */
void nvme_lifecycle_request_reset(struct nvme *n);
/* The controller cannot go on (CSTS.CFS). */
void nvme_lifecycle_fail(struct nvme *n, const char *why);
/* The same because memory could not be accessed, which is not told when it has gone with the guest. */
void nvme_lifecycle_fail_dma(struct nvme *n, const char *why);

/* dma.c: 0 or negative errno; -ESHUTDOWN when the function must not do DMA now. */
int nvme_dma_read(struct nvme *n, uint64_t iova, void *buf, size_t len);
int nvme_dma_write(struct nvme *n, uint64_t iova, const void *buf, size_t len);
bool nvme_dma_allowed(struct nvme *n);

/* pci_config.c. Call with the lock. */
void nvme_pci_config_reset(struct nvme *n);

/* registers.c */
void nvme_registers_reset(struct nvme *n);

/* interrupt.c */
void nvme_interrupt_update_intx(struct nvme *n); /* with the lock */
void nvme_interrupt_flush(struct nvme *n);	 /* work thread */

/* queue.c */
void nvme_queue_reset(struct nvme *n);
unsigned nvme_queue_take_doorbells(struct nvme *n);
void nvme_queue_set_tail(struct nvme *n, unsigned qid, uint32_t tail);
void nvme_queue_set_head(struct nvme *n, unsigned qid, uint32_t head);
bool nvme_queue_can_fetch(struct nvme *n, unsigned qid);
unsigned nvme_queue_fetch(struct nvme *n, unsigned budget);
/* An entry of the completion queue is set aside. False: it is full. */
bool nvme_queue_reserve(struct nvme *n, unsigned cqid);
/* Uses up a reserved entry. 0, or -ESHUTDOWN: not now. Other errors have ended the controller. */
int nvme_queue_post(struct nvme *n, unsigned sqid, uint16_t cid, uint32_t status, uint32_t result);

/* command.c */
void nvme_command_reset(struct nvme *n);
void nvme_command_start(struct nvme *n, struct nvme_command *c);
struct nvme_command *nvme_command_alloc(struct nvme *n, unsigned leave);
uint32_t nvme_command_submit(struct nvme *n, struct nvme_command *c, nvme_handler step);
unsigned nvme_command_reap(struct nvme *n, unsigned budget);
unsigned nvme_command_retry(struct nvme *n);
struct nvme_command *nvme_command_find(struct nvme *n, uint16_t sqid, uint16_t cid);
void nvme_command_complete(struct nvme *n, struct nvme_command *c, uint32_t status);
uint32_t nvme_command_disk_status(const struct nvme_command *c);

/* staging.c: contiguous, page granular. False: come again when something was given back. */
bool nvme_staging_get(struct nvme *n, struct nvme_command *c, size_t len);
void nvme_staging_put(struct nvme *n, struct nvme_command *c);

/* prp.c: NVME_SUCCESS or a status. */
uint32_t nvme_prp_resolve(struct nvme *n, uint64_t prp1, uint64_t prp2, uint32_t len,
			  struct nvme_data *ret_data);
uint32_t nvme_prp_copy_in(struct nvme *n, const struct nvme_data *data, void *buf, size_t len);
uint32_t nvme_prp_copy_out(struct nvme *n, const struct nvme_data *data, const void *buf, size_t len);
/* A whole answer of an admin command to where its PRPs point. */
uint32_t nvme_prp_reply(struct nvme *n, struct nvme_command *c, const void *buf, uint32_t len);

/* admin.c, io.c */
extern const struct nvme_opcode {
	uint8_t opcode;
	bool needs_namespace, rogue_only, dbbuf_only;
	uint32_t effects;
	nvme_handler handler;
} nvme_admin_opcodes[], nvme_io_opcodes[];
uint32_t nvme_admin_execute(struct nvme *n, struct nvme_command *c);
uint32_t nvme_io_execute(struct nvme *n, struct nvme_command *c);
uint32_t nvme_io_flush(struct nvme *n, struct nvme_command *c);

/* admin_queue.c: Create and Delete I/O queue */
uint32_t nvme_admin_queue_create_sq(struct nvme *n, struct nvme_command *c);
uint32_t nvme_admin_queue_create_cq(struct nvme *n, struct nvme_command *c);
uint32_t nvme_admin_queue_delete_sq(struct nvme *n, struct nvme_command *c);
uint32_t nvme_admin_queue_delete_cq(struct nvme *n, struct nvme_command *c);
void nvme_admin_queue_finish_delete(struct nvme *n, unsigned sqid);

/* abort.c */
uint32_t nvme_abort_execute(struct nvme *n, struct nvme_command *c);
void nvme_abort_finish(struct nvme *n, struct nvme_command *target);

uint32_t nvme_identify_execute(struct nvme *n, struct nvme_command *c);
uint32_t nvme_features_set(struct nvme *n, struct nvme_command *c);
uint32_t nvme_features_get(struct nvme *n, struct nvme_command *c);
void nvme_features_reset(struct nvme *n);
bool nvme_features_are_possible(const uint32_t features[NVME_FEATURE_SLOTS], uint32_t io_queues);
bool nvme_features_write_cache(const struct nvme *n);
uint32_t nvme_log_page_execute(struct nvme *n, struct nvme_command *c);
void nvme_log_page_add_error(struct nvme *n, const struct nvme_command *c, uint32_t status);
uint32_t nvme_rogue_execute(struct nvme *n, struct nvme_command *c);

/* async_event.c */
uint32_t nvme_async_event_execute(struct nvme *n, struct nvme_command *c);
void nvme_async_event_report(struct nvme *n, unsigned type, unsigned info);
unsigned nvme_async_event_deliver(struct nvme *n);
void nvme_async_event_log_read(struct nvme *n, unsigned log_page);
void nvme_async_event_reset(struct nvme *n);

/* doorbell_buffer.c */
uint32_t nvme_doorbell_buffer_execute(struct nvme *n, struct nvme_command *c);
unsigned nvme_doorbell_buffer_poll(struct nvme *n);
void nvme_doorbell_buffer_refresh_head(struct nvme *n, unsigned cqid);
void nvme_doorbell_buffer_head_rung(struct nvme *n, unsigned cqid);
/* The tail or head of the admin queue, with shadow doorbells. */
void nvme_doorbell_buffer_admin_rung(struct nvme *n, bool cq, uint32_t value);
void nvme_doorbell_buffer_disarm(struct nvme *n);
bool nvme_doorbell_buffer_arm(struct nvme *n);
void nvme_doorbell_buffer_queue_created(struct nvme *n, unsigned qid, bool cq);

#endif
