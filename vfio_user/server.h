/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The server side of vfio-user: one UNIX socket, one PCI device, one client
 * (a VMM) at a time.
 *
 * A server is driven by one thread, which polls vfu_server_fd() and calls
 * vfu_server_process(); the device's callbacks run in that thread. Functions
 * marked [any thread] may be called from elsewhere too.
 *
 * Every byte that comes from the client is hostile.
 */
#ifndef VFIO_USER_SERVER_H
#define VFIO_USER_SERVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct vfu_server;

/* PCI regions and interrupts by their VFIO index. */
enum {
	VFU_REGION_BAR0 = 0,
	VFU_REGION_BAR5 = 5,
	VFU_REGION_ROM = 6,
	VFU_REGION_CONFIG = 7,
	VFU_REGION_VGA = 8,
	VFU_NUM_REGIONS = 9,
};
enum {
	VFU_IRQ_INTX = 0,
	VFU_IRQ_MSI = 1,
	VFU_IRQ_MSIX = 2,
	VFU_IRQ_ERR = 3,
	VFU_IRQ_REQ = 4,
	VFU_NUM_IRQS = 5,
};

struct vfu_mmap_area {
	uint64_t offset, size; /* within the region, page aligned */
};

struct vfu_region {
	uint64_t size; /* 0: the device does not have it */
	bool readable, writable;
	int fd;				   /* what the client may mmap; -1: nothing. Owned by the caller */
	uint64_t fd_offset;		   /* where the region begins in fd */
	const struct vfu_mmap_area *areas; /* which parts of it (sparse mmap) */
	size_t area_count;
};

/* Device memory that the client lends (DMA_MAP). */
struct vfu_dma_map {
	uint64_t iova, size; /* bytes, page aligned, size >= 1 page */
	bool readable, writable;
	void *host; /* NULL: no fd came with it, use vfu_dma_read/write */
};

struct vfu_device_ops {
	/*
	 * Read or write `len` bytes (1 .. the transfer limit) of a region, in
	 * range of its size. Returns 0 or a negative errno, which the client gets.
	 */
	int (*region_read)(void *device, unsigned region, uint64_t offset, void *buf, size_t len);
	int (*region_write)(void *device, unsigned region, uint64_t offset, const void *buf, size_t len);
	/* DEVICE_RESET, and once when a client has gone that had agreed on a version. May be NULL. */
	void (*reset)(void *device);
	/*
	 * Memory comes and goes. A negative errno refuses the map. When unmap
	 * returns the device must not touch [iova, iova + size) any more: the
	 * server unmaps the host memory next. unmap is called with ranges that
	 * are mapped in full (the server splits), so each byte is unmapped as
	 * often as it was mapped. NULL: the device has no use for client
	 * memory, the server then maps nothing either.
	 *
	 * The host memory of a read-only map is mapped read-only. An identical
	 * map again is granted without a call.
	 */
	int (*dma_map)(void *device, const struct vfu_dma_map *map);
	void (*dma_unmap)(void *device, uint64_t iova, uint64_t size);
	/*
	 * The client (un)masked interrupts first .. first + count - 1 of an
	 * index. The server keeps the masks: what is triggered while masked is
	 * signalled at the unmask. INTx masks itself when it is triggered
	 * (without a call); when it is unmasked, a device whose line is still
	 * up triggers again from here. An eventfd that is set or taken away
	 * unmasks, too: no interrupt went out through the new one. May be NULL.
	 */
	void (*irq_masked)(void *device, unsigned index, unsigned first, unsigned count, bool masked);
	/* A client agreed on a version / has gone (after reset and unmaps). In pairs. May be NULL. */
	void (*connected)(void *device);
	void (*disconnected)(void *device, const char *why);
	/* One line for a log, e.g. why a message was refused. May be NULL. */
	void (*log)(void *device, const char *line);
};

/*
 * Who unmaps client memory: much of a guest's may go with one mapping, so that it is to be done elsewhere.
 * may_unmap() says whether unmap() of so many bytes would be taken now; while it is not, the session does not
 * go on and asks again in its next turn. At the end of a session nobody waits: what is not taken is unmapped
 * in place. Both are called by the thread of vfu_server_process() and of vfu_server_destroy().
 */
struct vfu_unmapper {
	bool (*may_unmap)(void *opaque, size_t size);
	void (*unmap)(void *opaque, void *base, size_t size);
	void *opaque;
};

struct vfu_server_options {
	const char *path; /* of the socket; a stale socket there is replaced, anything else refused */
	const struct vfu_region *regions; /* VFU_NUM_REGIONS; copied */
	const unsigned *irq_counts;	  /* VFU_NUM_IRQS; copied */
	const struct vfu_device_ops *ops; /* copied */
	void *device;
	size_t max_dma_maps;	 /* 0: 65535, which is also the most */
	uint64_t max_lent_bytes; /* of files, together; 0: four times this machine's memory, also the most */
	unsigned reply_timeout_ms;	     /* for an answer to DMA_READ/WRITE; 0: 5000 */
	const struct vfu_unmapper *unmapper; /* outlives the server; NULL: munmap(), in place */
};

/* Listen. 0 or a negative errno (of socket, bind, ...; -EADDRINUSE: somebody serves there). */
int vfu_server_create(const struct vfu_server_options *opts, struct vfu_server **ret_server);
/* End the session if there is one (with its callbacks), remove the socket. No other thread uses the server
 * any more; those in vfu_dma_read/write get -ENOTCONN and are waited for. NULL is fine. */
void vfu_server_destroy(struct vfu_server *s);

/* Readable when vfu_server_process() has something to do (an epoll fd). Owned by the server. */
int vfu_server_fd(const struct vfu_server *s);
/*
 * Accept, read, answer: what can be done without waiting, and in about a
 * millisecond and one call of a device_ops more. The fd stays readable when
 * something is left, were it the rest of a message.
 */
void vfu_server_process(struct vfu_server *s);
/* End the session, keep listening. [any thread]: what remains is done by the next process(), which is made
 * ready. */
void vfu_server_disconnect(struct vfu_server *s, const char *why);
/* The same now, with all callbacks, however much the client has left to be taken away. */
void vfu_server_end(struct vfu_server *s, const char *why);
bool vfu_server_connected(const struct vfu_server *s); /* [any thread] */

/* Signal the eventfd that the client gave for this interrupt, if any. False: none is set. [any thread] */
bool vfu_irq_trigger(struct vfu_server *s, unsigned index, unsigned vector);
/* The same for a line that is up. While it is masked nothing happens, and nothing is kept for the unmask. */
bool vfu_irq_raise(struct vfu_server *s, unsigned index, unsigned vector);

/*
 * Memory of the client by message [any thread but the one in process()].
 * Blocks until the answer is here. Splits by the client's transfer limit.
 * 0, -ENOTCONN, -ETIMEDOUT (the session is ended then), -EPROTO (an answer
 * that is none), -EDEADLK (called inside process()), -ECANCELED (by
 * vfu_dma_hold()), or the client's error.
 * What was transferred before an error stays.
 */
int vfu_dma_read(struct vfu_server *s, uint64_t address, void *buf, size_t len);
int vfu_dma_write(struct vfu_server *s, uint64_t address, const void *buf, size_t len);
/*
 * From hold to release vfu_dma_read/write return -ECANCELED at once, also to
 * those who wait by then. For a callback that has to wait for such a thread:
 * the answer would be received by the callback's own. [any thread]
 */
void vfu_dma_hold(struct vfu_server *s);
void vfu_dma_release(struct vfu_server *s);
/*
 * Like vfu_dma_write() without waiting, at most 8 bytes: for interrupt messages [any
 * thread, also from callbacks]. -EAGAIN: the client reads too slowly, lost.
 */
int vfu_dma_write_posted(struct vfu_server *s, uint64_t address, const void *buf, size_t len);

/*
 * If `address` lies in memory that a client lent, replace that mapping by
 * zeroes and mark its session for disconnection. For a SIGBUS handler: a
 * client may truncate its memfd. Async-signal-safe. True: handled, the access
 * may be repeated. Works for all servers of the process.
 */
bool vfu_handle_sigbus(const void *address);

#endif
