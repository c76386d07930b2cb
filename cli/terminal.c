/* SPDX-License-Identifier: BSD-3-Clause */
#include "cli/terminal.h"

#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include "cli/signals.h"
#include "os/clock.h"

static struct termios before;

bool terminal_is_there(void)
{
	return isatty(STDIN_FILENO) && isatty(STDOUT_FILENO);
}

void terminal_begin(void)
{
	struct termios keys;

	tcgetattr(STDIN_FILENO, &before);
	keys = before;
	keys.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
	tcsetattr(STDIN_FILENO, TCSANOW, &keys);
	/* An empty screen without a cursor. */
	fputs("\033[2J\033[?25l", stdout);
	fflush(stdout);
}

void terminal_end(void)
{
	fputs("\033[?25h", stdout);
	fflush(stdout);
	tcsetattr(STDIN_FILENO, TCSANOW, &before);
}

void terminal_size(unsigned *ret_rows, unsigned *ret_columns)
{
	struct winsize size = {0};

	ioctl(STDOUT_FILENO, TIOCGWINSZ, &size);
	*ret_rows = size.ws_row ? size.ws_row : 24;
	*ret_columns = size.ws_col ? size.ws_col : 80;
}

void terminal_show(const char *text)
{
	unsigned rows, columns;

	terminal_size(&rows, &columns);
	fputs("\033[H", stdout);
	for (unsigned row = 1; row < rows && *text; row++) {
		size_t len = strcspn(text, "\n");

		printf("%.*s\033[K\n", (int)(len < columns ? len : columns), text);
		text += len + (text[len] == '\n');
	}
	fputs("\033[J", stdout);
	fflush(stdout);
}

static bool is_end_key(void)
{
	char key;

	/* No more input: the terminal is gone. */
	return read(STDIN_FILENO, &key, 1) != 1 || key == 'q' || key == 'Q';
}

bool terminal_wait(int signals, int ms)
{
	struct pollfd p[] = {{.fd = signals, .events = POLLIN}, {.fd = STDIN_FILENO, .events = POLLIN}};
	int64_t deadline = os_now_ms() + ms, left;

	while ((left = deadline - os_now_ms()) > 0) {
		if (poll(p, 2, (int)left) <= 0)
			continue;
		if (p[0].revents && signals_wait(signals, 0))
			return true;
		if (p[1].revents && is_end_key())
			return true;
	}
	return false;
}
