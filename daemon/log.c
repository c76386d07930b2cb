/* SPDX-License-Identifier: BSD-3-Clause */
#include "daemon/log.h"

#include <inttypes.h>
#include <poll.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "os/clock.h"
#include "os/sentence.h"

#define NS_PER_TOKEN (1000000000ull / LOG_PER_SECOND)

/* False: nobody takes it, and it is not waited for. */
static bool emit(const char *label, const char *suffix, const char *format, va_list args)
{
	struct pollfd p = {.fd = STDERR_FILENO, .events = POLLOUT};
	char line[1024];
	size_t len = (size_t)snprintf(line, sizeof(line) / 2, "viommud: %s", label);

	os_say_v(line + len, sizeof(line) - 64 - len, format, args);
	len = strlen(line);
	for (size_t i = 0; i < len; i++) {
		if ((unsigned char)line[i] < ' ' || line[i] == 0x7f)
			line[i] = '?';
	}
	len += (size_t)snprintf(line + len, sizeof(line) - len, "%s\n", suffix);
	/* A pipe that is ready takes at least PIPE_BUF bytes without waiting, which is more than a line. */
	if (poll(&p, 1, 0) != 1 || !(p.revents & POLLOUT))
		return false;
	return write(STDERR_FILENO, line, len) >= 0;
}

void log_line(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	emit("", "", format, args);
	va_end(args);
}

void log_bucket_init(struct log_bucket *b, const char *label)
{
	*b = (struct log_bucket){.label = label, .tokens = LOG_BURST};
	pthread_mutex_init(&b->lock, NULL);
}

static void refill(struct log_bucket *b)
{
	uint64_t now = os_now_ns(), fresh = (now - b->filled_ns) / NS_PER_TOKEN;

	if (fresh >= LOG_BURST - b->tokens) {
		b->tokens = LOG_BURST;
		b->filled_ns = now;
	} else {
		b->tokens += (unsigned)fresh;
		b->filled_ns += fresh * NS_PER_TOKEN;
	}
}

static bool take_token(struct log_bucket *b, uint64_t *ret_lost)
{
	bool got;

	pthread_mutex_lock(&b->lock);
	refill(b);
	got = b->tokens > 0;
	if (got) {
		b->tokens--;
		*ret_lost = b->lost;
		b->lost = 0;
	} else {
		b->lost++;
	}
	pthread_mutex_unlock(&b->lock);
	return got;
}

void log_limited(struct log_bucket *b, const char *format, ...)
{
	char suffix[64] = "";
	uint64_t lost;
	va_list args;
	bool said;

	if (!take_token(b, &lost))
		return;
	if (lost)
		snprintf(suffix, sizeof(suffix), " (%" PRIu64 " such lines were left out)", lost);
	va_start(args, format);
	said = emit(b->label, suffix, format, args);
	va_end(args);
	if (said)
		return;
	pthread_mutex_lock(&b->lock);
	b->lost += lost + 1;
	pthread_mutex_unlock(&b->lock);
}
