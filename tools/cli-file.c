/* SPDX-License-Identifier: MIT */
#include "cli-file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int cli_file_problem(struct cli_call *call, const char *what, int error)
{
	const char *name = strerrorname_np(error);

	return report_problem(&call->rep, error == ENOSPC ? TOOL_NO_SPACE : TOOL_OTHER,
			      name ? name : "EIO",
			      error == ENOSPC ? "make room, or give another path" :
						"check the path; - is standard input or output",
			      "cannot %s \"%s\": %s", what, call->path, strerror(error));
}

int cli_file_open(const struct cli_call *call)
{
	struct stat st;
	int fd;

	if (strcmp(call->path, "-") == 0)
		return STDIN_FILENO;
	fd = open(call->path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) == 0 && S_ISDIR(st.st_mode)) {
		close(fd);
		return -EISDIR;
	}
	return fd;
}

void cli_file_close(int fd)
{
	if (fd != STDIN_FILENO)
		close(fd);
}
