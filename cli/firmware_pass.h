/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Where will firmware place the registers of the units? The guest's DMAR table must
 * say it before the guest starts, and firmware decides only then. But it
 * decides alike for the same command line: so that is started once, watched
 * until the address is known, and killed.
 *
 * What keeps the disks as they are: the address is known when firmware turns on
 * the memory decoding of the function with the registers, which it does while it sets up PCI, before it
 * runs a driver, an option ROM or a boot loader. viommu looks every few
 * milliseconds; where it cannot (it is stopped, or the machine is overloaded)
 * firmware goes on, and may boot the guest from any of its disks. Then
 * -snapshot still protects those given by -drive, -hda and the like. It does
 * not protect those given by -blockdev, nor viommud's.
 */
#ifndef CLI_FIRMWARE_PASS_H
#define CLI_FIRMWARE_PASS_H

#include "cli/argument_list.h"
#include "cli/daemon_process.h"

/* A second on a quiet machine; most of a minute was seen on a very busy one. */
#define FIRMWARE_DEADLINE_MS 120000

/*
 * `line` is the whole command line; `signals` of signals_open(). 0 and
 * *ret_places, or the exit status, said on stderr. When viommud ends first,
 * d->pid is 0 afterwards.
 */
int firmware_pass(struct daemon_process *d, const struct argument_list *line, int signals,
		  struct unit_places *ret_places);

#endif
