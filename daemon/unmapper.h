/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The thread that gives back the memory that clients had lent. To unmap the memory
 * of a guest, and to free it where its client is dead, takes 0.1 s for each GiB,
 * and the main thread has other VMs to serve meanwhile.
 */
#ifndef DAEMON_UNMAPPER_H
#define DAEMON_UNMAPPER_H

struct unmapper;
struct vfu_unmapper;

/* 0 or a negative errno. */
int unmapper_start(struct unmapper **ret_unmapper);
/* Waits until all that it was given is unmapped. NULL is fine. */
void unmapper_stop(struct unmapper *u);

/* What servers are to be given; NULL for NULL. Owned by the unmapper. */
const struct vfu_unmapper *unmapper_of_servers(const struct unmapper *u);

#endif
