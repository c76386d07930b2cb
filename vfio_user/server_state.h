/* SPDX-License-Identifier: BSD-3-Clause */
/* What the parts of the server share. Not for its users. */
#ifndef VFIO_USER_SERVER_STATE_H
#define VFIO_USER_SERVER_STATE_H

#include <pthread.h>
#include <stdatomic.h>

#include "vfio_user/connection.h"
#include "vfio_user/dma_table.h"
#include "vfio_user/fd_map.h"
#include "vfio_user/irq.h"
#include "vfio_user/server.h"
#include "vfio_user/sigbus.h"
#include "vfio_user/version.h"

struct vfu_dma_wait; /* dma_message.c */

/* Cancelled requests whose replies may still come. A client that owes more is cut off. */
#define VFU_MAX_CANCELLED 64

/* What goes back to the client. The header comes first in `bytes`. */
struct vfu_reply {
	uint8_t *bytes;
	size_t size;	    /* with header */
	int fd;		    /* borrowed; -1: none */
	bool begin_session; /* after it is sent */
	bool end_session;
	bool resumed;  /* the handler was here before, and has left off with VFU_UNFINISHED */
	uint64_t done; /* how far it came: the handler's own */
	_Alignas(8) uint8_t small[512];
};

/*
 * What one vfu_server_process() may do before its caller looks around: units of
 * work, and time, whichever ends first. A message is a unit, and each thing that
 * it makes us do beside: a write of a region, a range that is unmapped. The first
 * unit of a turn is always granted, so however slow the machine is, work goes on.
 */
struct vfu_turn {
	unsigned left;
	bool begun; /* something was done */
	uint64_t end_ns;
};

/*
 * Two kinds of thread meet here. The processing thread (P) calls
 * vfu_server_process() and owns whatever is not marked; its callbacks run
 * without a lock. Any other thread (A) may trigger interrupts, send
 * DMA_READ/WRITE and wait for the reply, or ask for the end of the session.
 */
struct vfu_server {
	/* constant after create() */
	struct vfu_device_ops ops;
	void *device;
	struct vfu_region regions[VFU_NUM_REGIONS];
	struct vfu_mmap_area *areas[VFU_NUM_REGIONS];
	size_t max_dma_maps;
	uint64_t max_lent_bytes;
	const struct vfu_unmapper *unmapper;
	unsigned reply_timeout_ms;
	char *path;
	dev_t path_dev;
	ino_t path_ino;
	int epoll, listener, wake;
	int spare; /* P; given up for a moment when descriptors run out */

	struct vfu_sigbus_owner sigbus; /* atomic, see there */
	struct vfu_irqs irqs;		/* has its own lock */

	/* P */
	bool in_session;
	bool negotiated;
	bool unfinished; /* the connection's message is partly done; `reply` is what it comes to */
	bool ending;	 /* the connection is closed, what it left is taken away piece by piece */
	char ended_why[128];
	struct vfu_reply reply;
	struct vfu_turn turn;
	unsigned log_lines; /* of this session */
	struct vfu_dma_table dma;
	struct vfu_fd_maps files;
	atomic_bool processing; /* P is inside process(); `processor` is valid */
	_Atomic(pthread_t) processor;

	/*
	 * Guards what stands below, and the sending half of `connection`. Taken
	 * by P and A for short: nobody waits for the client under it, nor calls
	 * the device.
	 */
	pthread_mutex_t lock;
	struct vfu_connection connection; /* its receiving half is P's */
	bool connected;			  /* negotiated and not doomed: A may send */
	bool open;			  /* there is a session, negotiated or not */
	bool doomed;			  /* P is to end the session */
	char why[128];			  /* of doomed */
	struct vfu_capabilities peer;
	struct vfu_dma_wait *waits;
	unsigned wait_count;
	pthread_cond_t no_waits; /* wait_count fell to 0 */
	uint16_t next_id;
	bool held;			       /* nobody may begin to wait */
	uint16_t cancelled[VFU_MAX_CANCELLED]; /* ids, not to be used again yet */
	unsigned cancelled_count;
};

/* Room for `size` bytes behind the header, zeroed; NULL: no memory. At most once per reply. */
void *vfu_reply_payload(struct vfu_reply *reply, size_t size);

/* One line to the device's log; a session has a limited number of them. P */
void vfu_server_log(struct vfu_server *s, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Marks the session for its end; the first reason counts. Under the lock. */
void vfu_server_doom(struct vfu_server *s, const char *why);
/* Makes the server's fd readable. A */
void vfu_server_wake(struct vfu_server *s);

/* Nothing more is to be begun in this turn. P */
bool vfu_turn_is_over(struct vfu_server *s);
/* Nothing can be done now that was to be done. P */
void vfu_turn_end(struct vfu_server *s);
/* So much was done. P */
void vfu_turn_spend(struct vfu_server *s, unsigned units);

/*
 * Handlers: 0 or the negative errno that the client gets; or VFU_UNFINISHED, and
 * the handler is called again with the same message and reply in the next turn.
 * Until then no other message is looked at, so replies keep their order. A session
 * that ends meanwhile just never calls again: all that a handler has under way
 * lies in `reply`, and in tables that the end of a session empties. P
 */
#define VFU_UNFINISHED 1
int vfu_handle_dma_map(struct vfu_server *s, struct vfu_message *m, struct vfu_reply *reply);
int vfu_handle_dma_unmap(struct vfu_server *s, struct vfu_message *m, struct vfu_reply *reply);
int vfu_handle_device_info(struct vfu_server *s, struct vfu_message *m, struct vfu_reply *reply);
int vfu_handle_region_info(struct vfu_server *s, struct vfu_message *m, struct vfu_reply *reply);
int vfu_handle_region_io_fds(struct vfu_server *s, struct vfu_message *m, struct vfu_reply *reply);
int vfu_handle_region_read(struct vfu_server *s, struct vfu_message *m, struct vfu_reply *reply);
int vfu_handle_region_write(struct vfu_server *s, struct vfu_message *m, struct vfu_reply *reply);
int vfu_handle_region_write_multi(struct vfu_server *s, struct vfu_message *m, struct vfu_reply *reply);
int vfu_handle_irq_info(struct vfu_server *s, struct vfu_message *m, struct vfu_reply *reply);
int vfu_handle_set_irqs(struct vfu_server *s, struct vfu_message *m, struct vfu_reply *reply);

/* dma.c: take out what lies in first..last, which no range reaches over, and tell the device, as long as the
 * turn lasts. False: some is left. *io_bytes grows by what was taken. P */
bool vfu_dma_remove_some(struct vfu_server *s, uint64_t first, uint64_t last, uint64_t *io_bytes);
/* irq_request.c: an INTx control eventfd fired. P */
void vfu_irq_control(struct vfu_server *s, enum vfu_irq_control which);
/* dispatch.c: one complete message, reply included. False: it is `unfinished`, call again with it. P */
bool vfu_dispatch(struct vfu_server *s, struct vfu_message *m);
/* dispatch.c: nobody waits for the unfinished message's reply any more. P */
void vfu_dispatch_forget(struct vfu_server *s);
/* dma_message.c: a reply came. P */
void vfu_dma_message_reply(struct vfu_server *s, const struct vfu_message *m);
/* All who wait get -ENOTCONN. Under the lock. */
void vfu_dma_message_fail_all(struct vfu_server *s);

/* listen.c: 0 or negative errno. */
int vfu_listen(const char *path, int *ret_fd, dev_t *ret_dev, ino_t *ret_ino);
/* Removes the socket, unless somebody else's is there by now. */
void vfu_unlisten(const char *path, dev_t dev, ino_t ino);

#endif
