/* SPDX-License-Identifier: BSD-3-Clause */
/* What `viommu trace` does, one file each. argv[0] is the word. Each returns the exit status. */
#ifndef CLI_TRACE_COMMAND_H
#define CLI_TRACE_COMMAND_H

int trace_show(int argc, char **argv);
int trace_record(int argc, char **argv);

#endif
