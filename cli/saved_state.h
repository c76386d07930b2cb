/* SPDX-License-Identifier: BSD-3-Clause */
/* What `viommu save` and `viommu restore` have in common: states on their way, as text. */
#ifndef CLI_SAVED_STATE_H
#define CLI_SAVED_STATE_H

#include <json-c/json.h>

#include "cli/query.h"

/*
 * query_ask() for a request that may find the daemon busy: again and again for
 * SAVED_STATE_PATIENCE_MS. Takes `request` over. 0 and *ret_reply, which the
 * caller puts, or the exit status, said on stderr.
 */
#define SAVED_STATE_PATIENCE_MS 10000
int saved_state_ask(const struct query *q, struct json_object *request, struct json_object **ret_reply);

/* Of how many units the state in the reply is, to be said behind its size; "": of one. */
const char *saved_state_units(struct json_object *reply, char text[32]);

#endif
