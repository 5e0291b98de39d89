/* SPDX-License-Identifier: MIT */
#ifndef TOOLS_CLI_REPORT_H
#define TOOLS_CLI_REPORT_H

/* cli-report: reports of many numbers, as lines for people or as members of a JSON object. */

#include "cli.h"

/* One member: a name for JSON, words for people, and how to show the number. */
struct cli_line {
	const char *name;
	const char *words;
	enum { LINE_COUNT, LINE_BYTES } kind;
	uint64_t value;
};

#define COUNT_OF(lines) (sizeof(lines) / sizeof((lines)[0]))

void cli_show_text(struct cli_call *call, struct emitter *e, const char *name, const char *words,
		   const char *value);
void cli_show_lines(struct cli_call *call, struct emitter *e, const struct cli_line *lines,
		    size_t n_lines);

/* A heading for people, or the begin of an object that is a member. */
void cli_section_begin(struct cli_call *call, struct emitter *e, const char *name,
		       const char *words);
void cli_section_end(struct cli_call *call, struct emitter *e);

#endif
