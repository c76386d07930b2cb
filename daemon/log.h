/* SPDX-License-Identifier: BSD-3-Clause */
/* Lines on stderr. Never waits: a line that stderr cannot take now is lost. Any thread. */
#ifndef DAEMON_LOG_H
#define DAEMON_LOG_H

#include <pthread.h>
#include <stdint.h>

/* "viommud: " and the text as one line; control characters of a guest's or peer's text are replaced. */
void log_line(const char *format, ...) __attribute__((format(printf, 1, 2)));

/*
 * Something that a guest or a client can cause at will: at most LOG_BURST
 * lines at once and LOG_PER_SECOND in the long run; the next line that gets
 * through tells how many did not.
 */
#define LOG_BURST      10
#define LOG_PER_SECOND 2

struct log_bucket {
	const char *label;    /* what its lines begin with; constant */
	pthread_mutex_t lock; /* of all below; never held over a system call */
	uint64_t filled_ns;   /* when tokens were added last */
	unsigned tokens;
	uint64_t lost;
};

void log_bucket_init(struct log_bucket *b, const char *label);
void log_limited(struct log_bucket *b, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
