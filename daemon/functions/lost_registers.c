/* SPDX-License-Identifier: BSD-3-Clause */
#include "daemon/functions/lost_registers.h"

#include <errno.h>
#include <stdint.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "daemon/functions/host.h"

static void set_timer(struct lost_registers *l, unsigned ms)
{
	struct itimerspec t = {.it_value = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L}};

	timerfd_settime(l->timer, 0, &t, NULL);
}

/* Repeated resets cause it at will, so it is limited. */
static void tell(struct lost_registers *l, const char *how)
{
	l->told = true;
	log_limited(&l->log,
		    "%sTHE GUEST HAS LOST ITS IOMMU: %s, and no firmware has given the IOMMU's registers an "
		    "address since. The guest was woken from S3 (suspend to RAM), which this IOMMU does not "
		    "outlive; reset the machine, and leave S3 off: -global ICH9-LPC.disable_s3=1, for -M pc "
		    "PIIX4_PM.disable_s3=1, as 'viommu run' adds",
		    l->unit_label, how);
}

static void on_timer(void *arg)
{
	struct lost_registers *l = arg;
	uint64_t times;

	if (read(l->timer, &times, sizeof(times)) != (ssize_t)sizeof(times))
		return;
	if (l->awaited && !l->told)
		tell(l, "the machine was reset 10 s ago (a paused one, or slow firmware, is no harm)");
}

int lost_registers_init(struct lost_registers *l, struct host *host, const char *unit_label)
{
	*l = (struct lost_registers){.host = host, .unit_label = unit_label};
	log_bucket_init(&l->log, host->label);
	l->timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	return l->timer < 0 ? -errno : loop_add(host->loop, l->timer, on_timer, l, &host->counters);
}

void lost_registers_finish(struct lost_registers *l)
{
	if (l->host && l->timer >= 0)
		close(l->timer);
}

void lost_registers_await(struct lost_registers *l)
{
	l->awaited = true;
	l->told = false;
	set_timer(l, LOST_REGISTERS_MS);
}

void lost_registers_forget(struct lost_registers *l)
{
	l->awaited = l->told = false;
	set_timer(l, 0);
}

void lost_registers_found(struct lost_registers *l)
{
	if (!l->awaited)
		return;
	if (l->told)
		log_limited(&l->log, "%sthe IOMMU's registers have an address again", l->unit_label);
	lost_registers_forget(l);
}

void lost_registers_device_used(struct lost_registers *l)
{
	if (l->awaited && !l->told)
		tell(l, "the machine was reset, a device goes on with DMA that nothing translates");
}
