/* SPDX-License-Identifier: BSD-3-Clause */
/* A viommud of our own, and the guest's half on the other side of its socket. */
#ifndef BENCH_DAEMON_H
#define BENCH_DAEMON_H

#include <stdbool.h>
#include <sys/types.h>

#include "driver/virtio_iommu.h"
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
	struct vi_driver_virtio virtio;
};

/* Start it with an IOMMU of this model and connect as a VMM does. Ends the program on failure, as the next
 * two.
 */
void bench_daemon_start(struct bench_daemon *d, const char *viommud, const char *model, bool trap);
/* Bring a unit of VT-d up and map `pages` pages. */
void bench_daemon_drive(struct bench_daemon *d, uint32_t pages);
/* Bring a virtio-iommu up, with the device in domain RIG_DOMAIN. */
void bench_daemon_drive_virtio(struct bench_daemon *d);
void bench_daemon_stop(struct bench_daemon *d);

#endif
