/* SPDX-License-Identifier: MIT */
#include "dump.h"

#include <argp.h>
#include <errno.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <shmkv/expiry.h>

#include "durations.h"
#include "entries.h"
#include "option-blame.h"
#include "pack-walk.h"
#include "progress.h"
#include "text-escape.h"
#include "value-json.h"

static const char program[] = "shmkv-dump";

/* Widths of the table's columns; the value takes what is left. */
#define TYPE_COLUMNS 5
#define SIZE_COLUMNS 10
#define TTL_COLUMNS 8
#define KEY_COLUMNS_MIN 8
#define KEY_COLUMNS 24
/* What can be shown of a value on the widest terminal, in bytes of its JSON text. */
#define SHOWN_MAX 4096

/* Of the entry that was given last; one that has expired meanwhile has nothing left. */
static uint64_t ttl_of(const struct shmkv_scan *scan)
{
	uint64_t ttl_ms;

	return shmkv_scan_ttl(scan, &ttl_ms) < 0 ? 0 : ttl_ms;
}

/* ---- one entry as JSON ----------------------------------------------------------- */

static void emit_entry(struct dump *d, const struct shmkv_entry *entry, uint64_t ttl_ms)
{
	struct emitter *e = &d->emitter;

	emit_object_begin(e);
	if (d->hex) {
		emit_key(e, "key_hex");
		emit_hex(e, entry->key, entry->key_len);
		emit_key(e, "value_hex");
		emit_hex(e, entry->value, entry->value_len);
	} else {
		emit_key(e, "key");
		emit_bytes_or_string(e, entry->key, entry->key_len);
		emit_key(e, "value");
		value_emit(e, entry->value, entry->value_len);
	}
	if (ttl_ms != SHMKV_TTL_NEVER)
		emit_member_uint(e, "ttl_ms", ttl_ms);
	emit_object_end(e);
	if (d->form == DUMP_NDJSON)
		out_char(&d->out, '\n');
}

/* ---- one entry as a row ---------------------------------------------------------- */

static size_t key_columns(const struct dump *d)
{
	size_t third = d->columns / 3;

	if (third >= KEY_COLUMNS)
		return KEY_COLUMNS;
	return third > KEY_COLUMNS_MIN ? third : KEY_COLUMNS_MIN;
}

static void print_heading(struct dump *d)
{
	out_format(&d->out, "%-*s  %-*s  %*s  ", (int)key_columns(d), "KEY", TYPE_COLUMNS, "TYPE",
		   SIZE_COLUMNS, "BYTES");
	if (d->ttl)
		out_format(&d->out, "%*s  ", TTL_COLUMNS, "TTL");
	out_text(&d->out, "VALUE\n");
}

/* Text that is safe already (JSON, digits), cut to the columns that are left. */
static void print_shortened(struct dump *d, const char *text, size_t len, bool more, size_t used)
{
	size_t left = d->columns > used ? d->columns - used : 1;

	text_put_fit(&d->out, text, len, more, left, d->text_flags | TEXT_BLOCK);
}

static void print_value(struct dump *d, const struct shmkv_entry *entry, size_t used)
{
	bool shorten = d->columns != SIZE_MAX;
	char shown[SHOWN_MAX];
	struct emitter e;
	struct out o;

	out_init_memory(&o, shown, sizeof(shown));
	emit_init(&e, shorten ? &o : &d->out, d->text_flags & TEXT_ASCII);
	if (d->hex)
		out_hex(e.out, entry->value, entry->value_len);
	else
		value_emit(&e, entry->value, entry->value_len);
	if (shorten)
		print_shortened(d, shown, o.len, o.full, used);
}

/* Returns the columns that were used. */
static size_t print_key(struct dump *d, const struct shmkv_entry *entry, size_t width)
{
	char hex[64];
	struct out o;

	/* Without a terminal a long key pushes its row to the right, whole. */
	if (d->columns == SIZE_MAX)
		width = SIZE_MAX;
	if (!d->hex)
		return text_put_fit(&d->out, entry->key, entry->key_len, false, width,
				    d->text_flags);
	if (width == SIZE_MAX) {
		out_hex(&d->out, entry->key, entry->key_len);
		return 2 * entry->key_len;
	}
	out_init_memory(&o, hex, sizeof(hex));
	out_hex(&o, entry->key, entry->key_len);
	return text_put_fit(&d->out, hex, o.len, o.full, width, d->text_flags);
}

static void print_row(struct dump *d, const struct shmkv_entry *entry, uint64_t ttl_ms)
{
	struct pack_walk walk = pack_walk_over(entry->value, entry->value_len);
	struct pack_item item;
	size_t width = key_columns(d);
	size_t used = print_key(d, entry, width);
	const char *type = "?";
	char middle[96], ttl[32];
	int n;

	if (pack_next(&walk, &item) == 0)
		type = pack_type_name(item.type);
	if (used < width) {
		out_repeat(&d->out, ' ', width - used);
		used = width;
	}
	n = snprintf(middle, sizeof(middle), "  %-*s  %*zu  ", TYPE_COLUMNS, type, SIZE_COLUMNS,
		     entry->value_len);
	if (d->ttl) {
		duration_text(ttl_ms, ttl);
		n += snprintf(middle + n, sizeof(middle) - (size_t)n, "%*s  ", TTL_COLUMNS, ttl);
	}
	out_write(&d->out, middle, (size_t)n);
	print_value(d, entry, used + (size_t)n);
	out_char(&d->out, '\n');
}

/* ---- the walk -------------------------------------------------------------------- */

static void dump_one(struct dump *d, const struct shmkv_entry *entry,
		     const struct shmkv_scan *scan)
{
	size_t prefix_len = strlen(d->prefix);

	if (entry->key_len < prefix_len || memcmp(entry->key, d->prefix, prefix_len) != 0)
		return;
	if (d->form == DUMP_TABLE)
		print_row(d, entry, ttl_of(scan));
	else
		emit_entry(d, entry, ttl_of(scan));
}

static int walk_entries(struct dump *d)
{
	struct shmkv_entry entry;
	struct shmkv_scan *scan;
	struct progress progress;
	uint64_t total = 0, seen = 0, damaged = 0;
	int r;

	r = shmkv_scan_begin(d->kv, 0, &scan);
	if (r < 0)
		return r;
	/* Only for the progress line. */
	if (shmkv_count(d->kv, &total) < 0)
		total = 0;
	progress_begin(&progress, d->out.fd, "keys", total);
	while ((r = entries_next(scan, &entry, &damaged)) > 0) {
		dump_one(d, &entry, scan);
		if (out_stopped(&d->out))
			break;
		progress_step(&progress, ++seen);
	}
	progress_end(&progress);
	shmkv_scan_end(scan);
	if (r >= 0 && damaged > 0)
		return -EBADMSG; /* the others were shown all the same */
	return r < 0 ? r : 0;
}

static int dump_entries(struct dump *d)
{
	int r;

	if (d->form == DUMP_TABLE) {
		print_heading(d);
	} else if (d->form == DUMP_JSON) {
		emit_object_begin(&d->emitter);
		emit_member_string(&d->emitter, "segment", d->segment);
		emit_key(&d->emitter, "entries");
		emit_array_begin(&d->emitter);
	}
	r = walk_entries(d);
	if (d->form == DUMP_JSON) {
		emit_array_end(&d->emitter);
		/* Whoever reads the document finds in it that something is missing. */
		if (r < 0)
			emit_member_string(&d->emitter, "error", shmkv_errname(r));
		emit_object_end(&d->emitter);
		out_char(&d->out, '\n');
	}
	return r < 0 ? (int)report_code(&d->rep, STAGE_DATA, r) : TOOL_OK;
}

/* ---- the command line ------------------------------------------------------------ */

enum {
	OPT_HELP = 'h',
	OPT_VERSION = 'V',
	OPT_JSON = 256,
	OPT_NDJSON,
	OPT_KEYS,
	OPT_HEX,
	OPT_TTL,
	OPT_LAYOUT,
};

static const struct argp_option options[] = {
	{ "keys", OPT_KEYS, "PREFIX", 0, "Only keys that begin with PREFIX", 1 },
	{ "hex", OPT_HEX, NULL, 0, "Keys and values as hexadecimal bytes, values as msgpack", 1 },
	{ "ttl", OPT_TTL, NULL, 0, "A column for the time each key has still to live, or never", 1 },
	{ "layout", OPT_LAYOUT, NULL, 0, "Leaves, chunks, processes and threads instead of keys", 1 },
	{ "json", OPT_JSON, NULL, 0, "One JSON document, complaints in JSON too", 2 },
	{ "ndjson", OPT_NDJSON, NULL, 0, "One JSON object a line, complaints in JSON too", 2 },
	{ "help", OPT_HELP, NULL, 0, "Show this text", -1 },
	{ "version", OPT_VERSION, NULL, 0, "Show the version", -1 },
	{ 0 },
};

struct request {
	struct dump *dump;
	bool help, version, two_forms;
	int stopped_at;
	const char *extra_word;
};

static void set_form(struct request *request, enum dump_form form)
{
	if (request->dump->form != DUMP_TABLE && request->dump->form != form)
		request->two_forms = true;
	request->dump->form = form;
	request->dump->rep.json = true;
}

static error_t parse_option(int key, char *arg, struct argp_state *state)
{
	struct request *request = state->input;

	switch (key) {
	case OPT_KEYS:
		request->dump->prefix = arg;
		return 0;
	case OPT_HEX:
		request->dump->hex = true;
		return 0;
	case OPT_TTL:
		request->dump->ttl = true;
		return 0;
	case OPT_LAYOUT:
		request->dump->layout = true;
		return 0;
	case OPT_JSON:
		set_form(request, DUMP_JSON);
		return 0;
	case OPT_NDJSON:
		set_form(request, DUMP_NDJSON);
		return 0;
	case OPT_HELP:
		request->help = true;
		return 0;
	case OPT_VERSION:
		request->version = true;
		return 0;
	case ARGP_KEY_ARG:
		if (request->dump->segment)
			request->extra_word = arg;
		else
			request->dump->segment = arg;
		return 0;
	case ARGP_KEY_ERROR:
		request->stopped_at = state->next;
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static const struct argp argp = {
	.options = options,
	.parser = parse_option,
	.args_doc = "NAME",
	.doc = "shmkv-dump: show what a shared-memory key-value segment holds, while it is in use."
	       "\vNumbers in the table are bytes of the stored msgpack value. Exit codes as shmkv(1): "
	       "0 ok, 2 usage, 3 no such segment, 4 permission, 6 damaged, 7 anything else.",
};

static int usage(struct dump *d, const char *format, const char *word)
{
	return (int)report_problem(&d->rep, TOOL_USAGE, "EINVAL", "see \"shmkv-dump --help\"", format,
				   word);
}

/* Returns 0, or an exit code after a report. */
static int parse_line(struct request *request, int argc, char **argv)
{
	struct dump *d = request->dump;

	for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++)
		if (strcmp(argv[i], "--json") == 0 || strcmp(argv[i], "--ndjson") == 0)
			d->rep.json = true;
	if (argp_parse(&argp, argc, argv, ARGP_NO_EXIT | ARGP_NO_ERRS | ARGP_NO_HELP, NULL, request))
		return usage(d, "\"%s\" is not an option here, not a clear abbreviation of one, or its "
				"value is missing", option_blamed(argc, argv, request->stopped_at));
	if (request->help || request->version)
		return TOOL_OK;
	if (!d->segment)
		return usage(d, "%s is missing", "NAME");
	d->rep.segment = d->segment;
	if (request->extra_word)
		return usage(d, "unexpected word \"%s\"", request->extra_word);
	if (request->two_forms)
		return usage(d, "%s exclude each other", "--json and --ndjson");
	if (d->layout && (d->hex || d->ttl || d->prefix[0]))
		return usage(d, "--layout shows no keys: %s has no meaning with it",
			     d->hex ? "--hex" : d->ttl ? "--ttl" : "--keys");
	return TOOL_OK;
}

static size_t terminal_columns(int fd)
{
	const char *text = getenv("COLUMNS");
	struct winsize size;

	if (!isatty(fd))
		return SIZE_MAX;
	if (ioctl(fd, TIOCGWINSZ, &size) == 0 && size.ws_col > 0)
		return size.ws_col;
	return text && atoi(text) > 0 ? (size_t)atoi(text) : 80;
}

static int finish_output(struct dump *d, int exit_code)
{
	int r = out_flush(&d->out);

	if (r == 0 && fflush(stdout) != 0)
		r = -errno;
	if (r == 0)
		return exit_code;
	return (int)report_problem(&d->rep, TOOL_OTHER, strerrorname_np(-r),
				   "send the output elsewhere and repeat",
				   "cannot write the result: %s", strerror(-r));
}

int main(int argc, char **argv)
{
	static char buffer[1 << 16];
	struct dump d = { .rep = { .program = program }, .prefix = "" };
	struct request request = { .dump = &d };
	int r;

	/* Only characters: numbers keep their points and messages stay English. */
	setlocale(LC_CTYPE, "");
	out_init_file(&d.out, STDOUT_FILENO, buffer, sizeof(buffer));
	d.columns = terminal_columns(STDOUT_FILENO);
	d.text_flags = d.columns == SIZE_MAX ? 0 : text_ascii_needed();
	emit_init(&d.emitter, &d.out, d.text_flags & TEXT_ASCII);

	r = parse_line(&request, argc, argv);
	if (r != TOOL_OK)
		return r;
	if (request.help) {
		argp_help(&argp, stdout, ARGP_HELP_SHORT_USAGE | ARGP_HELP_PRE_DOC | ARGP_HELP_LONG |
			  ARGP_HELP_POST_DOC, (char[]){ "shmkv-dump" });
		return finish_output(&d, TOOL_OK);
	}
	if (request.version) {
		out_format(&d.out, "%s %s\n", program, shmkv_version());
		return finish_output(&d, TOOL_OK);
	}

	r = shmkv_attach(d.segment, SHMKV_READ_ONLY, &d.kv);
	if (r < 0)
		return (int)report_code(&d.rep, STAGE_SEGMENT, r);
	r = d.layout ? dump_layout(&d) : dump_entries(&d);
	shmkv_detach(d.kv);
	return finish_output(&d, r);
}
