/* SPDX-License-Identifier: BSD-3-Clause */
/* A few looks at a drain. In a file of its own, so that a test can break what it calls by the linker's
 * --wrap. */
#include "core/drain.h"

/* Before an active drain is left for the next round. */
#define SOON_LOOKS 64

bool vi_drain_soon(struct viommu *v, struct vi_drain *d)
{
	for (unsigned i = 0; i < SOON_LOOKS; i++) {
		if (vi_drain_poll(v, d))
			return true;
		if (d->sections_over) /* pins take their time */
			return false;
	}
	return false;
}
