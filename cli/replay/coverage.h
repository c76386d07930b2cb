/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Which bytes of one page belong to a buffer that is mapped, with buffers that
 * share bytes, or the page, counted once.
 */
#ifndef CLI_REPLAY_COVERAGE_H
#define CLI_REPLAY_COVERAGE_H

#define COVERAGE_PAGE 4096u

/* NULL: nothing is covered. */
struct coverage;

/* Bytes first..last of the page are covered once more. -ENOMEM: and nothing has changed. */
int coverage_add(struct coverage **c, unsigned first, unsigned last);
/* And once less; exactly what was added. */
void coverage_remove(struct coverage **c, unsigned first, unsigned last);
/* How many bytes are covered. */
unsigned coverage_bytes(const struct coverage *c);
void coverage_free(struct coverage *c);

#endif
