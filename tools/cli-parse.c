/* SPDX-License-Identifier: MIT */
#include "cli.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <shmkv/expiry.h>

#include "cli-huge.h"
#include "durations.h"
#include "option-blame.h"
#include "sizes.h"
#include "top-sample.h"

int cli_usage(struct cli_call *call, const char *format, ...)
{
	char detail[512], hint[80];
	va_list ap;

	va_start(ap, format);
	vsnprintf(detail, sizeof(detail), format, ap);
	va_end(ap);
	if (call->cli->in_shell)
		snprintf(hint, sizeof(hint), "see \"help %s\"", call->verb->name);
	else
		snprintf(hint, sizeof(hint), "see \"shmkv %s --help\"", call->verb->name);
	return report_problem(&call->rep, TOOL_USAGE, "EINVAL", hint, "%s", detail);
}

/* ---- negative numbers ------------------------------------------------------------ */

/*
 * To argp "-5" is an option. Words like it are handed over without their sign and get it
 * back when they come out: the character before the word is still there.
 */
static bool is_negative_number(const char *word)
{
	return word[0] == '-' && (isdigit((unsigned char)word[1]) ||
				  (word[1] == '.' && isdigit((unsigned char)word[2])) ||
				  strcmp(word, "-inf") == 0);
}

static char *with_sign(const struct cli_call *call, char *arg)
{
	for (int i = 1; arg && i < call->argc; i++)
		if (arg == call->argv[i] + 1 && is_negative_number(call->argv[i]))
			return call->argv[i];
	return arg;
}

/* ---- one option ------------------------------------------------------------------ */

static error_t complain(struct cli_call *call, int exit_code)
{
	call->exit = exit_code;
	return EINVAL;
}

static error_t set_kind(struct cli_call *call, enum value_kind kind)
{
	if (call->kind != VALUE_UNSAID && call->kind != kind)
		return complain(call, cli_usage(call, "a value has one type, but two were given"));
	call->kind = kind;
	return 0;
}

static error_t set_path(struct cli_call *call, const char *path)
{
	if (call->value_path)
		return complain(call, cli_usage(call, "--bin and --from exclude each other"));
	if (strcmp(path, "-") == 0 && call->cli->in_shell)
		return complain(call, cli_usage(call, "standard input belongs to the shell here"));
	call->value_path = path;
	return 0;
}

static error_t set_uint(struct cli_call *call, const char *option, const char *text, uint64_t least,
			uint64_t most, uint64_t *ret)
{
	if (!uint_parse(text, ret) || *ret < least || *ret > most)
		return complain(call, cli_usage(call,
						"%s needs a number from %llu to %llu, not \"%s\"",
						option, (unsigned long long)least,
						(unsigned long long)most, text));
	return 0;
}

static error_t set_mode(struct cli_call *call, const char *text)
{
	size_t len = strlen(text);

	if (len == 0 || strspn(text, "01234567") != len || strtoul(text, NULL, 8) > 0777 ||
	    strtoul(text, NULL, 8) == 0)
		return complain(call, cli_usage(call,
						"--mode needs octal permission bits such as 0644, "
						"not \"%s\"", text));
	call->create.mode = (uint32_t)strtoul(text, NULL, 8);
	return 0;
}

static error_t set_hash(struct cli_call *call, const char *text)
{
	if (strcmp(text, "siphash13") == 0)
		call->create.hash = SHMKV_HASH_SIPHASH13;
	else if (strcmp(text, "xxh3") == 0)
		call->create.hash = SHMKV_HASH_XXH3;
	else
		return complain(call, cli_usage(call, "--hash needs siphash13 or xxh3, not \"%s\"",
						text));
	return 0;
}

static error_t set_evict(struct cli_call *call, const char *text)
{
	static const char *const policies[] = {
		[SHMKV_EVICT_NONE] = "none",
		[SHMKV_EVICT_LRU] = "lru",
		[SHMKV_EVICT_LFU] = "lfu",
	};
	uint32_t i;

	for (i = 0; i < sizeof(policies) / sizeof(policies[0]); i++) {
		if (strcmp(text, policies[i]) == 0) {
			call->create.evict = i;
			return 0;
		}
	}
	return complain(call, cli_usage(call, "--evict needs none, lru or lfu, not \"%s\"", text));
}

static error_t set_ttl(struct cli_call *call, const char *text, const char *what)
{
	if (!ttl_parse(text, &call->ttl_ms))
		return complain(call, cli_usage(call, "%s is a time such as 500ms, 90s, 15m, 12h or 7d, "
						      "or never, keep or default, not \"%s\"",
						what, text));
	return 0;
}

static error_t set_default_ttl(struct cli_call *call, const char *text)
{
	uint64_t ttl_ms;

	if (!ttl_parse(text, &ttl_ms) || ttl_ms == SHMKV_TTL_KEEP)
		return complain(call, cli_usage(call, "--ttl needs a time such as 500ms, 90s, 15m, 12h "
						      "or 7d, or never, not \"%s\"", text));
	call->create.default_ttl_ms = ttl_ms == SHMKV_TTL_NEVER ? 0 : ttl_ms;
	return 0;
}

static error_t set_huge_pages(struct cli_call *call, const char *text)
{
	for (uint32_t i = SHMKV_HUGE_NEVER; i <= SHMKV_HUGE_EAGER; i++) {
		if (strcmp(text, cli_huge_name(i)) == 0) {
			call->create.huge_pages = i;
			return 0;
		}
	}
	return complain(call, cli_usage(call, "--huge-pages needs never, lazy or eager, not \"%s\"",
					text));
}

static error_t set_key_hex(struct cli_call *call, const char *text)
{
	size_t len = strlen(text);
	uint8_t *key = malloc(len / 2 + 1);

	if (!key)
		return complain(call, cli_fail(call, -ENOMEM));
	free(call->key_owned);
	call->key = call->key_owned = key;
	call->key_len = len / 2;
	call->key_hex = true;
	for (size_t i = 0; i < len; i += 2) {
		if (hex_digit(text[i]) < 0 || hex_digit(text[i + 1]) < 0)
			return complain(call, cli_usage(call, "--key-hex needs pairs of hexadecimal "
							      "digits"));
		key[i / 2] = (uint8_t)(hex_digit(text[i]) << 4 | hex_digit(text[i + 1]));
	}
	return 0;
}

static error_t set_timeout(struct cli_call *call, const char *text)
{
	char *end;
	double seconds = strtod(text, &end);

	/* Also refuses what is no number at all. */
	if (end == text || *end != '\0' || !(seconds >= 0 && seconds <= 1e9))
		return complain(call, cli_usage(call, "--timeout needs seconds from 0 to 1000000000, "
						      "not \"%s\"", text));
	call->timeout_said = true;
	call->timeout_ms = (uint64_t)(seconds * 1000);
	return 0;
}

static error_t set_create(int key, const char *arg, struct cli_call *call)
{
	uint64_t n = 0;
	error_t error = 0;

	switch (key) {
	case OPT_SIZE:
		if (!size_parse(arg, &n) || n < SHMKV_SIZE_MIN || n > SHMKV_SIZE_MAX)
			return complain(call, cli_usage(call, "--size needs 1M to 1024G, such as "
							      "64M, not \"%s\"", arg));
		call->create.max_bytes = n;
		break;
	case OPT_CAPACITY:
		error = set_uint(call, "--capacity", arg, 0, UINT64_MAX, &call->create.capacity);
		break;
	case OPT_MODE:
		return set_mode(call, arg);
	case OPT_HASH:
		return set_hash(call, arg);
	case OPT_EVICT:
		return set_evict(call, arg);
	case OPT_HUGE_PAGES:
		return set_huge_pages(call, arg);
	case OPT_MAX_PROCESSES:
		error = set_uint(call, "--max-processes", arg, 1, 4095, &n);
		call->create.max_processes = (uint32_t)n;
		break;
	case OPT_MAX_THREADS:
		error = set_uint(call, "--max-threads", arg, 1, 4095, &n);
		call->create.max_threads = (uint32_t)n;
		break;
	}
	return error;
}

static error_t set_interval(struct cli_call *call, const char *text)
{
	if (!float_parse(text, &call->interval_s) || !(call->interval_s >= 0.1) ||
	    call->interval_s > 3600)
		return complain(call, cli_usage(call, "--interval needs 0.1 to 3600 seconds, not \"%s\"",
						text));
	return 0;
}

static error_t set_sort(struct cli_call *call, const char *text)
{
	for (int i = 0; i < TOP_SORT_N; i++) {
		if (strcmp(text, top_sort_names[i]) == 0) {
			call->sort = i;
			return 0;
		}
	}
	return complain(call, cli_usage(call, "--sort needs rate, calls, pid, pins or state, not "
					      "\"%s\"", text));
}

static error_t set_compress(struct cli_call *call, const char *text)
{
	uint64_t level = 3;
	error_t error = text ? set_uint(call, "--compress", text, 1, 19, &level) : 0;

	call->compression = (uint32_t)level;
	return error;
}

static error_t parse_option(int key, char *arg, struct argp_state *state)
{
	struct cli_call *call = state->input;

	arg = with_sign(call, arg);
	switch (key) {
	case OPT_HELP:
		call->help = true;
		return 0;
	case OPT_VERSION:
		call->version = true;
		return 0;
	case OPT_JSON:
		call->json = call->json_said = true;
		return 0;
	case OPT_KEY_HEX:
		return set_key_hex(call, arg);
	case OPT_RAW:
		call->raw = true;
		return 0;
	case OPT_HEX:
		call->hex = true;
		return 0;
	case OPT_TOKEN:
		call->token = true;
		return 0;
	case OPT_STR:
		return set_kind(call, VALUE_STR);
	case OPT_INT:
		return set_kind(call, VALUE_INT);
	case OPT_FLOAT:
		return set_kind(call, VALUE_FLOAT);
	case OPT_BOOL:
		return set_kind(call, VALUE_BOOL);
	case OPT_NIL:
		return set_kind(call, VALUE_NIL);
	case OPT_BIN:
		return set_kind(call, VALUE_BIN) || set_path(call, arg) ? EINVAL : 0;
	case OPT_FROM:
		return set_path(call, arg);
	case OPT_INITIAL:
		if (!int_parse(arg, &call->initial))
			return complain(call, cli_usage(call, "--initial needs a 64-bit integer, not "
							      "\"%s\"", arg));
		return 0;
	case OPT_PREFIX:
		call->prefix = arg;
		return 0;
	case OPT_LIMIT:
		return set_uint(call, "--limit", arg, 1, UINT64_MAX, &call->limit);
	case OPT_CURSOR:
		call->paged = true;
		return set_uint(call, "--cursor", arg, 0, UINT64_MAX, &call->cursor);
	case OPT_KEYS_ONLY:
		call->keys_only = true;
		return 0;
	case OPT_TTL:
		return call->verb->flags & VERB_KEY ? set_ttl(call, arg, "--ttl") :
						      set_default_ttl(call, arg);
	case OPT_SHOW_TTL:
		call->show_ttl = true;
		return 0;
	case OPT_ALL:
		call->all = true;
		return 0;
	case OPT_NOW:
		call->now = true;
		return 0;
	case OPT_COUNT:
		return set_uint(call, "--count", arg, 1, UINT64_MAX, &call->count);
	case OPT_TIMEOUT:
		return set_timeout(call, arg);
	case OPT_READ_ONLY:
		call->read_only = true;
		return 0;
	case OPT_ONCE:
		call->once = true;
		return 0;
	case OPT_INTERVAL:
		return set_interval(call, arg);
	case OPT_SORT:
		return set_sort(call, arg);
	case OPT_COMPRESS:
		return set_compress(call, arg);
	case OPT_SIZE:
	case OPT_CAPACITY:
	case OPT_MODE:
	case OPT_HASH:
	case OPT_EVICT:
	case OPT_HUGE_PAGES:
	case OPT_MAX_PROCESSES:
	case OPT_MAX_THREADS:
		return set_create(key, arg, call);
	case ARGP_KEY_ARG:
		if (call->n_words == CLI_WORDS_MAX)
			return complain(call, cli_usage(call, "unexpected word \"%s\"", arg));
		call->words[call->n_words++] = arg;
		return 0;
	case ARGP_KEY_ERROR:
		call->stopped_at = state->next;
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

/* ---- the words ------------------------------------------------------------------- */

/* The next word under its name in the usage line, or NULL after a complaint. */
static const char *take_word(struct cli_call *call, int *at, const char *name)
{
	if (*at == call->n_words) {
		call->exit = cli_usage(call, "%s is missing", name);
		return NULL;
	}
	return call->words[(*at)++];
}

static int assign_words(struct cli_call *call)
{
	unsigned int flags = call->verb->flags;
	const char *word;
	int at = 0;

	if ((flags & VERB_SEGMENT) && !call->cli->in_shell) {
		call->segment = take_word(call, &at, "NAME");
		if (!call->segment)
			return call->exit;
		call->rep.segment = call->segment;
	}
	if ((flags & VERB_KEY) && !call->key_hex && !((flags & VERB_MAYBE) && at == call->n_words)) {
		call->key = word = take_word(call, &at, "KEY");
		if (!word)
			return call->exit;
		call->key_len = strlen(word);
	}
	if (flags & VERB_TOKEN) {
		word = take_word(call, &at, "TOKEN");
		if (!word)
			return call->exit;
		if (!uint_parse(word, &call->cas_token))
			return cli_usage(call, "TOKEN is a number that \"get --token\" printed, not "
					       "\"%s\"", word);
	}
	if ((flags & VERB_VALUE) && !call->value_path && call->kind != VALUE_NIL) {
		call->value_word = take_word(call, &at, "VALUE");
		if (!call->value_word)
			return call->exit;
	}
	if ((flags & VERB_BY) && at < call->n_words) {
		word = call->words[at++];
		if (!int_parse(word, &call->by))
			return cli_usage(call, "BY is a 64-bit integer, not \"%s\"", word);
	}
	if ((flags & VERB_TTL) && at < call->n_words &&
	    set_ttl(call, call->words[at++], "TIME") != 0)
		return call->exit;
	if ((flags & VERB_TOPIC) && at < call->n_words)
		call->topic = call->words[at++];
	if (flags & VERB_FILE) {
		call->path = (flags & VERB_MAYBE) && at == call->n_words ? "-" :
									   take_word(call, &at, "FILE");
		if (!call->path)
			return call->exit;
	}
	if (at < call->n_words)
		return cli_usage(call, "unexpected word \"%s\"; text with blanks needs quotes",
				 call->words[at]);
	return 0;
}

/* ---- the whole call -------------------------------------------------------------- */

/* The words of the usage line, each with a blank before it. */
static void synopsis(const struct cli *cli, const struct cli_verb *verb, char *ret, size_t cap)
{
	snprintf(ret, cap, "%s%s%s%s%s%s%s%s",
		 (verb->flags & VERB_SEGMENT) && !cli->in_shell ? " NAME" : "",
		 !(verb->flags & VERB_KEY) ? "" : verb->flags & VERB_MAYBE ? " [KEY]" : " KEY",
		 verb->flags & VERB_TOKEN ? " TOKEN" : "",
		 verb->flags & VERB_VALUE ? " VALUE" : "",
		 verb->flags & VERB_BY ? " [BY]" : "",
		 verb->flags & VERB_TTL ? " [TIME]" : "",
		 verb->flags & VERB_TOPIC ? " [VERB]" : "",
		 !(verb->flags & VERB_FILE) ? "" : verb->flags & VERB_MAYBE ? " [FILE]" : " FILE");
}

void cli_verb_help(struct cli *cli, const struct cli_verb *verb)
{
	char args[64], doc[1024], name[64];
	struct argp argp = { .options = verb->options, .parser = parse_option };

	synopsis(cli, verb, args, sizeof(args));
	snprintf(doc, sizeof(doc), "%s: %s.\v%s%s%s", verb->name, verb->summary,
		 verb->more ? verb->more : "", verb->more ? " " : "",
		 verb->flags & VERB_KEY ? "Put -- before words that begin with a dash." : "");
	snprintf(name, sizeof(name), "%s%s", cli->in_shell ? "" : "shmkv ", verb->name);
	argp.args_doc = args[0] ? args + 1 : NULL;
	argp.doc = doc;
	out_flush(&cli->out);
	argp_help(&argp, stdout, ARGP_HELP_SHORT_USAGE | ARGP_HELP_PRE_DOC | ARGP_HELP_LONG |
		  ARGP_HELP_POST_DOC, name);
}

/* Options that cannot be meant together. */
static int check_options(struct cli_call *call)
{
	if (call->raw + call->hex + (call->token && (call->verb->flags & VERB_VALUE) == 0) > 1)
		return cli_usage(call, "--raw, --hex and --token exclude each other");
	if (call->json_said && (call->raw || call->hex))
		return cli_usage(call, "--json excludes --raw and --hex");
	if (call->kind == VALUE_UNSAID && (call->verb->flags & VERB_VALUE))
		call->kind = call->json_said ? VALUE_JSON : VALUE_STR;
	if (call->kind == VALUE_NIL && call->value_path)
		return cli_usage(call, "--nil excludes --from");
	return 0;
}

int cli_parse(struct cli_call *call)
{
	struct argp argp = { .options = call->verb->options, .parser = parse_option };
	char **argv;
	error_t error;
	int r;

	/* Complaints know the wanted form before the option for it is reached. */
	for (int i = 1; i < call->argc && strcmp(call->argv[i], "--") != 0; i++)
		if (strcmp(call->argv[i], "--json") == 0)
			call->rep.json = true;

	argv = calloc((size_t)call->argc + 1, sizeof(*argv));
	if (!argv)
		return cli_fail(call, -ENOMEM);
	for (int i = 0; i < call->argc; i++)
		argv[i] = call->argv[i] + (i > 0 && is_negative_number(call->argv[i]) ? 1 : 0);
	call->by = 1;
	error = argp_parse(&argp, call->argc, argv, ARGP_NO_EXIT | ARGP_NO_ERRS | ARGP_NO_HELP, NULL,
			   call);
	r = call->exit;
	if (error && r == TOOL_OK)
		r = cli_usage(call, "\"%s\" is not an option here, not a clear abbreviation of one, or "
				    "its value is missing",
			      option_blamed(call->argc, call->argv, call->stopped_at));
	free(argv);
	if (r != TOOL_OK || call->help || call->version)
		return r;

	r = assign_words(call);
	if (r == TOOL_OK)
		r = check_options(call);
	return r;
}
