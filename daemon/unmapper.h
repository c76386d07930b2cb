/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The thread that gives back the memory that clients had lent. To unmap the memory
 * of a guest, and to free it where its client is dead, takes 0.1 s for each GiB,
 * and the main thread has other VMs to serve meanwhile.
 */
#ifndef DAEMON_UNMAPPER_H
#define DAEMON_UNMAPPER_H

#include "vfio_user/server.h"

struct unmapper;

/* A VM's: however much a client of one makes wait, those of others do not. */
struct unmapper_share {
	struct vfu_unmapper of_servers; /* what the VM's servers are to be given */
	struct unmapper *unmapper;
	unsigned count; /* of its mappings that wait */
};

/* 0 or a negative errno. */
int unmapper_start(struct unmapper **ret_unmapper);
/* Waits until all that it was given is unmapped. NULL is fine. */
void unmapper_stop(struct unmapper *u);

/* The share outlives the unmapper. */
void unmapper_share_init(struct unmapper_share *share, struct unmapper *u);

#endif
