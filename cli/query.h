/* SPDX-License-Identifier: BSD-3-Clause */
/* Commands that ask a running daemon one thing and show the answer. */
#ifndef CLI_QUERY_H
#define CLI_QUERY_H

#include <stdbool.h>
#include <stdint.h>

#include <json-c/json.h>

struct query {
	const char *dir;
	bool json;	     /* show the reply as it is */
	const char *operand; /* NULL when the command takes none */
	const char *iommu;   /* the unit that is asked about; NULL: all */
};

/*
 * Take --dir DIR, --json and, when `operand` names one, exactly one operand.
 * 0, or the exit status, said on stderr.
 */
int query_parse(struct query *q, int argc, char **argv, const char *operand);

/*
 * Ask. 0 and *ret_reply, which the caller puts; NULL there: the reply has been
 * printed as JSON and nothing is left to do. Or the exit status, said on stderr.
 */
int query_ask(const struct query *q, const char *command, const char *operand_key,
	      struct json_object **ret_reply);

/* One request and its reply, whatever it says. 0 and *ret_reply, which the caller puts, or the exit status,
 * said on stderr. */
int query_call(const struct query *q, struct json_object *request, struct json_object **ret_reply);

/* A number of 4 KiB pages in words, as "12.5 MiB". */
const char *query_size_text(uint64_t pages, char text[32]);

#endif
