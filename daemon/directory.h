/* SPDX-License-Identifier: BSD-3-Clause */
/* The folder that a daemon's sockets live in. One daemon per folder. */
#ifndef DAEMON_DIRECTORY_H
#define DAEMON_DIRECTORY_H

#include <stdbool.h>
#include <stddef.h>

#define DIRECTORY_PATH_MAX 94  /* so that a socket's path fits into a sockaddr_un */
#define SOCKET_PATH_MAX	   108 /* with the final zero */

struct directory {
	char path[DIRECTORY_PATH_MAX + 1]; /* absolute */
	int fd;				   /* holds the lock */
	bool made;			   /* by us, so we remove it */
	bool has_folders;		   /* of VMs, which are made and removed with it */
};

/*
 * Use `wanted`, made when it is missing, or a fresh folder under
 * $XDG_RUNTIME_DIR or /tmp when NULL. 0, or -1 and a sentence in `why`.
 */
int directory_open(struct directory *d, const char *wanted, char *why, size_t why_size);
/* The folder `name` within `parent`, in the same way. */
int directory_open_within(struct directory *d, struct directory *parent, const char *name, char *why,
			  size_t why_size);
void directory_close(struct directory *d);
/* "path/name" */
void directory_socket(const struct directory *d, const char *name, char path[SOCKET_PATH_MAX]);

#endif
