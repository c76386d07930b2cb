/* SPDX-License-Identifier: BSD-3-Clause */
/* Between disk.c, which knows what a request means, and the engines, which run one system call each. */
#ifndef DEVICES_NVME_DISK_ENGINE_H
#define DEVICES_NVME_DISK_ENGINE_H

#include "nvme/disk.h"

#define DISK_ZEROES_SIZE 65536u

/* One system call on the file: what a request does next. */
enum disk_call { DISK_CALL_READ, DISK_CALL_WRITE, DISK_CALL_SYNC, DISK_CALL_FALLOCATE };
struct disk_step {
	enum disk_call call;
	int mode; /* FALLOCATE */
	bool durable;
	void *buf;
	uint64_t offset, len;
};

struct disk_engine_ops {
	/* `eventfd` is to be signalled at completions while armed. 0 or negative errno. */
	int (*open)(int fd, int eventfd, unsigned depth, void **ret_engine);
	/* Nothing is in flight. */
	void (*close)(void *engine);
	void (*submit)(void *engine, struct disk_request *r);
	void (*kick)(void *engine);
	void (*cancel)(void *engine, struct disk_request *r);
	/* A request whose step ended, and what the system call returned (or negative errno). */
	struct disk_request *(*reap)(void *engine, int64_t *ret_result);
	void (*wait)(void *engine); /* until reap() has something; only at the end */
	/* False: nothing to reap or to kick. */
	bool (*ready)(void *engine);
	void (*arm)(void *engine, bool on);
};

extern const struct disk_engine_ops disk_uring_ops, disk_threads_ops;

/* What the engine has to do for this request now. Any thread that holds the request. */
struct disk_step disk_next_step(const struct disk_request *r);

#endif
