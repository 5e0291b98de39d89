/* SPDX-License-Identifier: MIT */
#ifndef TOOLS_NEW_FILE_H
#define TOOLS_NEW_FILE_H

/*
 * new-file: a file that is there as a whole or not at all.
 *
 * It is written without a name, or under a temporary one where the file system cannot do
 * that, and takes its name when everything is on the disk. What had the name before stays until
 * then. A tool that is killed leaves nothing, or "NAME.XXXXXX" where unnamed files are not to be
 * had. A path that leads to no regular file (a pipe, a device) is written directly.
 */

#include <limits.h>
#include <stdbool.h>

struct new_file {
	int fd;
	bool direct; /* nothing to be renamed: "-", or what is no regular file */
	bool named;  /* under the temporary name */
	const char *path;
	char temporary[PATH_MAX];
};

/* new_file_begin - "-" is standard output; 0 or a negative errno */
int new_file_begin(struct new_file *file, const char *path);

/* new_file_commit - sync it and give it its name; it is closed in any case */
int new_file_commit(struct new_file *file);

/* new_file_drop - as if it had never been; for a direct one what was written is written */
void new_file_drop(struct new_file *file);

#endif
