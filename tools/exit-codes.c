/* SPDX-License-Identifier: MIT */
#include "exit-codes.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <shmkv/shmkv.h>

#include "json-write.h"
#include "text-escape.h"

enum tool_exit tool_exit_of(int r, enum stage stage)
{
	switch (-r) {
	case 0:
		return TOOL_OK;
	case ENOENT:
		return stage == STAGE_SEGMENT ? TOOL_NO_SEGMENT : TOOL_NO;
	case EEXIST:
	case ESTALE:
		return TOOL_NO;
	case EINVAL:
	case EMSGSIZE:
	case EILSEQ:
		return TOOL_USAGE;
	case EMEDIUMTYPE:
	case EPROTONOSUPPORT:
		return TOOL_NO_SEGMENT;
	case EACCES:
	case EROFS:
		return TOOL_DENIED;
	case ENOSPC:
	case EFBIG:
	case EXFULL:
	case EUSERS:
	case ENOMEM:
		return TOOL_NO_SPACE;
	case EBADMSG:
		return TOOL_DAMAGED;
	default:
		return TOOL_OTHER;
	}
}

/* Where a command says it better than the library, which does not know there is one. */
static const struct advice {
	int error;
	enum stage stage;
	const char *detail; /* NULL: the library's text */
	const char *hint;
} advices[] = {
	{ ENOENT, STAGE_SEGMENT, "no such segment",
	  "see \"shmkv list\", or make it with \"shmkv create NAME\"" },
	{ ENOENT, STAGE_DATA, "no such key", "see \"shmkv scan NAME\" for the keys there are" },
	{ EEXIST, STAGE_SEGMENT, "the segment exists already",
	  "use it, choose another name, or remove it with \"shmkv unlink NAME\"" },
	{ EEXIST, STAGE_DATA, "the key exists already", "use put or replace to store another value" },
	{ EINVAL, STAGE_SEGMENT, NULL,
	  "names have 1 to 200 of A-Z a-z 0-9 . _ - and do not begin with a dot" },
	{ ESTALE, STAGE_DATA, NULL, "read it and its token again with \"get --token\", then retry" },
	{ EPROTOTYPE, STAGE_DATA, NULL, "see with \"get --json\" what is stored" },
	{ EROFS, STAGE_DATA, NULL, "attach without --read-only" },
	{ EMEDIUMTYPE, STAGE_SEGMENT, NULL, "check the name; the file was left alone" },
	{ EUSERS, STAGE_SEGMENT, NULL,
	  "end a process that uses it, only read, or create one with larger --max-processes" },
	{ EUSERS, STAGE_DATA, NULL,
	  "end a process that uses it, only read, or create one with larger --max-threads" },
	{ EBADMSG, STAGE_SEGMENT, NULL, "make a new one; what this one held cannot be trusted" },
	{ EBADMSG, STAGE_DATA, NULL,
	  "see \"shmkv check NAME\", and save what can be read with \"shmkv-dump NAME\"" },
};

static const struct advice *advice_for(int r, enum stage stage)
{
	for (size_t i = 0; i < sizeof(advices) / sizeof(advices[0]); i++)
		if (advices[i].error == -r && advices[i].stage == stage)
			return &advices[i];
	return NULL;
}

static void say(const struct reporter *rep, const char *name, const char *detail,
		size_t detail_len, const char *hint)
{
	char buf[4096], text[4096];
	struct emitter e;
	struct out o, clean;

	out_init_file(&o, STDERR_FILENO, buf, sizeof(buf));
	if (rep->json) {
		emit_init(&e, &o, true);
		emit_object_begin(&e);
		emit_member_string(&e, "error", name);
		/* Words of the user, perhaps cut, may not be UTF-8. */
		out_init_memory(&clean, text, sizeof(text));
		text_put(&clean, detail, detail_len, TEXT_BLOCK | TEXT_ASCII);
		emit_key(&e, "detail");
		emit_string_n(&e, clean.buf, clean.len);
		emit_member_string(&e, "hint", hint ? hint : "");
		if (rep->verb)
			emit_member_string(&e, "verb", rep->verb);
		if (rep->segment) {
			emit_key(&e, "segment");
			emit_bytes_or_string(&e, rep->segment, strlen(rep->segment));
		}
		emit_object_end(&e);
	} else {
		out_format(&o, "%s: ", rep->program);
		if (rep->verb)
			out_format(&o, "%s: ", rep->verb);
		if (rep->segment) {
			out_text(&o, "segment \"");
			text_put(&o, rep->segment, strlen(rep->segment), text_ascii_needed());
			out_text(&o, "\": ");
		}
		text_put(&o, detail, detail_len, text_ascii_needed() | TEXT_BLOCK);
		if (hint && hint[0])
			out_format(&o, "; %s", hint);
	}
	out_char(&o, '\n');
	/* Nobody is left to tell if standard error itself fails; the exit code remains. */
	out_flush(&o);
}

enum tool_exit report_code(const struct reporter *rep, enum stage stage, int r)
{
	const struct advice *advice = advice_for(r, stage);
	/* The library's texts are "what it means: what to do". */
	const char *detail = shmkv_strerror(r);
	const char *split = strstr(detail, ": ");
	const char *hint = split ? split + 2 : "";
	size_t detail_len = split ? (size_t)(split - detail) : strlen(detail);

	if (advice && advice->hint)
		hint = advice->hint;
	if (advice && advice->detail) {
		detail = advice->detail;
		detail_len = strlen(detail);
	}
	say(rep, shmkv_errname(r), detail, detail_len, hint);
	return tool_exit_of(r, stage);
}

enum tool_exit report_problem(const struct reporter *rep, enum tool_exit code, const char *name,
			      const char *hint, const char *format, ...)
{
	char detail[1024];
	va_list ap;

	va_start(ap, format);
	vsnprintf(detail, sizeof(detail), format, ap);
	va_end(ap);
	say(rep, name, detail, strlen(detail), hint);
	return code;
}
