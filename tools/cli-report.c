/* SPDX-License-Identifier: MIT */
#include "cli-report.h"

#include "sizes.h"

void cli_show_text(struct cli_call *call, struct emitter *e, const char *name, const char *words,
		   const char *value)
{
	if (call->json)
		emit_member_string(e, name, value);
	else
		out_format(&call->cli->out, "%-22s %s\n", words, value);
}

void cli_show_lines(struct cli_call *call, struct emitter *e, const struct cli_line *lines,
		    size_t n_lines)
{
	struct out *out = &call->cli->out;
	char count[32], size[24];

	for (const struct cli_line *line = lines; line < lines + n_lines; line++) {
		if (call->json) {
			emit_member_uint(e, line->name, line->value);
			continue;
		}
		count_text(line->value, count);
		size_text(line->value, size);
		if (line->kind == LINE_COUNT)
			out_format(out, "%-22s %s\n", line->words, count);
		else if (line->value < 1024)
			out_format(out, "%-22s %s\n", line->words, size);
		else
			out_format(out, "%-22s %s (%s bytes)\n", line->words, size, count);
	}
}

void cli_section_begin(struct cli_call *call, struct emitter *e, const char *name,
		       const char *words)
{
	if (call->json) {
		emit_key(e, name);
		emit_object_begin(e);
	} else {
		out_format(&call->cli->out, "\n%s\n", words);
	}
}

void cli_section_end(struct cli_call *call, struct emitter *e)
{
	if (call->json)
		emit_object_end(e);
}
