/* SPDX-License-Identifier: MIT */
#ifndef TOOLS_CLI_FILE_H
#define TOOLS_CLI_FILE_H

/* cli-file: the FILE word of a call, where - means standard input or output. */

#include "cli.h"

/* cli_file_problem - say that FILE could not be read or written ("read", "write") */
int cli_file_problem(struct cli_call *call, const char *what, int error);

/* cli_file_open - FILE for reading, or a negative errno */
int cli_file_open(const struct cli_call *call);
void cli_file_close(int fd);

#endif
