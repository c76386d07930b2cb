/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef DRIVER_REGS_H
#define DRIVER_REGS_H

#include <stdbool.h>
#include <stdint.h>

/* How the driver reaches the registers. */
struct vi_driver_regs {
	uint64_t (*read)(void *arg, uint64_t offset, unsigned size);
	void (*write)(void *arg, uint64_t offset, unsigned size, uint64_t value);
	/* Called while waiting; false gives up. */
	bool (*relax)(void *arg);
	void *arg;
};

#endif
