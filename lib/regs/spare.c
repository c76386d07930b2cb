/* SPDX-License-Identifier: BSD-3-Clause */
#include "regs/spare.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int vi_regs_load(void *model, const struct vi_regs_loading *l, const uint8_t *numbers, size_t length)
{
	struct vi_state s = {.bytes = (uint8_t *)(uintptr_t)numbers, .size = length, .loading = true};
	void *spare = aligned_alloc(l->alignment, l->size);
	int ret;

	if (!spare)
		return -ENOMEM;
	memcpy(spare, model, l->size);
	l->separate(spare);
	l->state(spare, &s);
	ret = l->judge(model, spare);
	if (ret == 0 && (s.bad || s.used != length))
		ret = -EBADMSG;
	free(spare);
	if (ret == 0) {
		s.used = 0;
		l->state(model, &s);
	}
	return ret;
}
