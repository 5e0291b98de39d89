/* SPDX-License-Identifier: MIT */
#ifndef TOOLS_EXIT_CODES_H
#define TOOLS_EXIT_CODES_H

/*
 * exit-codes: what a tool answers and says when something went wrong.
 *
 * The numbers are part of the interface and are documented in shmkv(1).
 */

#include <stdbool.h>

enum tool_exit {
	TOOL_OK = 0,
	TOOL_NO = 1,         /* absent, false, or the condition was not met */
	TOOL_USAGE = 2,      /* the command line or a value on it is wrong */
	TOOL_NO_SEGMENT = 3, /* no such segment, or it is not one of ours */
	TOOL_DENIED = 4,     /* permissions, or the handle is read-only */
	TOOL_NO_SPACE = 5,   /* segment, memory or slots are used up */
	TOOL_DAMAGED = 6,    /* the segment contradicts itself */
	TOOL_OTHER = 7,      /* everything else, the tool's own input and output included */
};

/* Whether a library code came from finding the segment or from working on a key. */
enum stage {
	STAGE_SEGMENT,
	STAGE_DATA,
};

enum tool_exit tool_exit_of(int r, enum stage stage);

/* Who reports: everything is borrowed; @verb and @segment may be NULL. */
struct reporter {
	const char *program;
	const char *verb;
	const char *segment;
	bool json;
};

/* report_code - say on standard error what a library code means; returns the exit code */
enum tool_exit report_code(const struct reporter *rep, enum stage stage, int r);

/*
 * report_problem - say something of the tool's own
 * @name: the symbolic name for JSON, such as "EINVAL"
 * @hint: what to do next
 *
 * Returns @code.
 */
enum tool_exit report_problem(const struct reporter *rep, enum tool_exit code, const char *name,
			      const char *hint, const char *format, ...)
	__attribute__((format(printf, 5, 6)));

#endif
