/* SPDX-License-Identifier: MIT */
#include "cli-huge.h"

#include "cli-report.h"

/* cli-huge: huge pages, as a section of info and as a verb. */

const char *cli_huge_name(uint32_t policy)
{
	switch (policy) {
	case SHMKV_HUGE_NEVER:
		return "never";
	case SHMKV_HUGE_LAZY:
		return "lazy";
	case SHMKV_HUGE_EAGER:
		return "eager";
	default:
		return "default";
	}
}

void cli_show_huge(struct cli_call *call, struct emitter *e, const struct shmkv_huge *huge)
{
	const struct cli_line lines[] = {
		{ "page_bytes", "size of one", LINE_BYTES, huge->page_bytes },
		{ "full_bytes", "could be huge now", LINE_BYTES, huge->full_bytes },
		{ "huge_bytes", "obtained", LINE_BYTES, huge->huge_bytes },
		{ "file_bytes", "memory of the file", LINE_BYTES, huge->file_bytes },
	};

	cli_section_begin(call, e, "huge_pages", "huge pages");
	cli_show_text(call, e, "policy", "policy", cli_huge_name(huge->policy));
	cli_show_text(call, e, "kernel", "kernel's setting",
		      huge->kernel[0] ? huge->kernel : "unknown");
	cli_show_text(call, e, "mount", "file system's", huge->mount[0] ? huge->mount : "unknown");
	if (call->json) {
		emit_key(e, "at_once");
		emit_bool(e, huge->at_once);
	}
	cli_show_lines(call, e, lines, COUNT_OF(lines));
	cli_section_end(call, e);
}

int cli_huge(struct cli_call *call)
{
	struct shmkv_huge huge = { .size = sizeof(huge) };
	struct emitter e;
	uint64_t left;
	int r = shmkv_huge_collapse(call->kv, UINT64_MAX, &left);

	if (r == 0)
		r = shmkv_huge_info(call->kv, &huge);
	if (r < 0)
		return cli_fail(call, r);
	cli_emitter(call, &e);
	if (call->json)
		emit_object_begin(&e);
	cli_show_huge(call, &e, &huge);
	if (call->json) {
		emit_object_end(&e);
		cli_end_line(call);
	}
	return TOOL_OK;
}
