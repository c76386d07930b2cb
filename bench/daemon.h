/* SPDX-License-Identifier: BSD-3-Clause */
/* A viommud of our own, and the guest's half on the other side of its socket. */
#ifndef BENCH_DAEMON_H
#define BENCH_DAEMON_H

#include <stdbool.h>
#include <sys/types.h>

#include "driver/vtd.h"
#include "vfio_user/client.h"

struct bench_daemon {
	pid_t pid;
	char dir[64];
	struct vfu_client *client; /* of the IOMMU function */
	void *page;		   /* its polled registers; NULL: trapped */
	uint8_t *ram;
	uint64_t ram_size;
	struct vi_driver_memory memory;
	struct vi_driver_vtd driver;
	struct vi_driver_page_table table;
};

/* Start it, connect as a VMM does, bring the unit up and map `pages` pages. Ends the program on failure. */
void bench_daemon_start(struct bench_daemon *d, const char *viommud, bool trap, uint32_t pages);
void bench_daemon_stop(struct bench_daemon *d);

#endif
