/* SPDX-License-Identifier: BSD-3-Clause */
#include "bench/fail.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void bench_fail(const char *what, int err)
{
	fprintf(stderr, "viommu-bench: %s: %s\n", what, strerror(err < 0 ? -err : err));
	exit(1);
}
