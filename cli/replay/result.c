/* SPDX-License-Identifier: BSD-3-Clause */
#include "cli/replay/result.h"

static const struct replay_column columns[] = {
#define X(name, type, format, doc)                                                                           \
	{#name, doc, REPLAY_##format,                                                                        \
	 _Generic((type)0, double                                                                            \
		  : true, default                                                                            \
		  : false),                                                                                  \
	 offsetof(struct replay_result, name)},
	REPLAY_COLUMNS(X)
#undef X
};

const struct replay_column *replay_columns(size_t *ret_count)
{
	*ret_count = sizeof(columns) / sizeof(columns[0]);
	return columns;
}

double replay_value(const struct replay_result *r, const struct replay_column *c)
{
	const void *at = (const uint8_t *)r + c->offset;

	return c->is_double ? *(const double *)at : (double)*(const uint64_t *)at;
}
