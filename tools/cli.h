/* SPDX-License-Identifier: MIT */
#ifndef TOOLS_CLI_H
#define TOOLS_CLI_H

/*
 * cli: the sub-commands of shmkv.
 *
 * Each verb is defined once, in cli-verbs.c, and serves both the command line, where it
 * opens the segment that is its first word, and the shell, which holds one open already.
 */

#include <argp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <shmkv/shmkv.h>

#include "exit-codes.h"
#include "json-write.h"
#include "out.h"

/* The process, or the shell inside it. */
struct cli {
	struct out out;
	bool json;               /* answer in JSON, whatever the verb's own options say */
	bool out_is_terminal;
	unsigned int text_flags; /* for text_put: what this output needs */
	/* The shell's segment; in_shell is false on the command line. */
	bool in_shell;
	bool leave; /* the shell was told to end */
	struct shmkv *kv;
	const char *segment;
};

/* What a verb is and which words it takes, in this order. */
enum {
	VERB_COMMAND = 1 << 0, /* available on the command line */
	VERB_SHELL = 1 << 1,   /* available in the shell */
	VERB_SEGMENT = 1 << 2, /* NAME, on the command line */
	VERB_OPENS = 1 << 3,   /* works on an open segment */
	VERB_WRITES = 1 << 4,  /* attaches read-write */
	VERB_KEY = 1 << 5,     /* KEY, or --key-hex */
	VERB_TOKEN = 1 << 6,   /* TOKEN */
	VERB_VALUE = 1 << 7,   /* VALUE, unless an option gives it */
	VERB_BY = 1 << 8,      /* [BY] */
	VERB_TOPIC = 1 << 9,   /* [VERB] */
	VERB_TTL = 1 << 10,    /* [TIME] */
	VERB_MAYBE = 1 << 11,  /* [KEY]: with VERB_KEY, it may be missing */
	VERB_WAITS = 1 << 12,  /* attaches read-write if it may, else read-only */
	VERB_FILE = 1 << 13,   /* FILE; [FILE] with VERB_MAYBE, standard input or output without it */
};

enum value_kind {
	VALUE_UNSAID, /* text, or JSON with --json */
	VALUE_STR,
	VALUE_INT,
	VALUE_FLOAT,
	VALUE_BOOL,
	VALUE_NIL,
	VALUE_JSON,
	VALUE_BIN,
};

#define CLI_WORDS_MAX 5

/* One verb with everything the user said. Texts are borrowed from the arguments. */
struct cli_call {
	struct cli *cli;
	const struct cli_verb *verb;
	struct reporter rep;
	char **argv;
	int argc;
	int exit; /* of a complaint that was printed while parsing */
	int stopped_at;
	bool help, version;

	char *words[CLI_WORDS_MAX];
	int n_words;
	struct shmkv *kv; /* with VERB_OPENS, while the verb runs */
	const char *segment;
	const void *key;
	size_t key_len;
	void *key_owned; /* freed after the call */
	uint64_t cas_token;
	const char *value_word; /* NULL: from value_path, or nil */
	int64_t by;
	const char *topic;
	const char *path; /* FILE */

	bool json, json_said;
	bool raw, hex, token, keys_only, read_only, key_hex;
	enum value_kind kind;
	const char *value_path;
	const char *prefix;
	uint64_t limit, cursor;
	bool paged; /* --cursor was given */
	uint64_t ttl_ms; /* as the library takes it */
	bool show_ttl;
	bool all, now;
	uint64_t count; /* 0: no end */
	bool timeout_said;
	uint64_t timeout_ms;
	int64_t initial;
	struct shmkv_options create;
	double interval_s; /* 0: not given */
	int sort;          /* enum top_sort */
	bool once;
	uint32_t compression; /* level, 0: none */
};

struct cli_verb {
	const char *name;
	unsigned int flags;
	const struct argp_option *options;
	int (*run)(struct cli_call *call); /* returns an exit code */
	const char *summary; /* one line, lower case */
	const char *more;    /* what --help adds below the options, or NULL */
};

/* Ends with an entry whose name is NULL. */
extern const struct cli_verb cli_verbs[];

const struct cli_verb *cli_verb_find(const char *name);

/* Keys of the options, with the letters of the short ones. */
enum {
	OPT_HELP = 'h',
	OPT_VERSION = 'V',
	OPT_JSON = 256,
	OPT_KEY_HEX,
	OPT_RAW,
	OPT_HEX,
	OPT_TOKEN,
	OPT_STR,
	OPT_INT,
	OPT_FLOAT,
	OPT_BOOL,
	OPT_NIL,
	OPT_BIN,
	OPT_FROM,
	OPT_INITIAL,
	OPT_PREFIX,
	OPT_LIMIT,
	OPT_CURSOR,
	OPT_KEYS_ONLY,
	OPT_ALL,
	OPT_COUNT,
	OPT_TIMEOUT,
	OPT_NOW,
	OPT_READ_ONLY,
	OPT_SIZE,
	OPT_CAPACITY,
	OPT_MODE,
	OPT_HASH,
	OPT_EVICT,
	OPT_TTL,
	OPT_SHOW_TTL,
	OPT_HUGE_PAGES,
	OPT_MAX_PROCESSES,
	OPT_MAX_THREADS,
	OPT_ONCE,
	OPT_INTERVAL,
	OPT_SORT,
	OPT_COMPRESS,
};

/*
 * cli_run - parse and run one verb, its output flushed at the end
 * @argv: the verb and what follows it
 *
 * Returns an exit code; every failure has been reported.
 */
int cli_run(struct cli *cli, int argc, char **argv);

/* cli_parse - fill the call from its argv; 0, or an exit code after a report */
int cli_parse(struct cli_call *call);

void cli_verb_help(struct cli *cli, const struct cli_verb *verb);
void cli_overview(struct cli *cli);

/* cli_usage - complain about the words of a call; returns the exit code */
int cli_usage(struct cli_call *call, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* cli_fail - report a library code about data of the call's segment */
int cli_fail(struct cli_call *call, int r);

/* cli_emitter - begin JSON on the call's output */
void cli_emitter(struct cli_call *call, struct emitter *ret_emitter);

/* cli_end_line - end one line or document of output */
void cli_end_line(struct cli_call *call);

/*
 * cli_value - the value that the call's words and options describe
 * @ret_owned: memory the value points into, ended with free()
 *
 * Returns 0, or an exit code after a report.
 */
int cli_value(struct cli_call *call, struct shmkv_value *ret_value, void **ret_owned);

/* cli_emit_ttl - the member "ttl_ms": a number, or null for a key that does not expire */
void cli_emit_ttl(struct emitter *e, uint64_t ttl_ms);

/* cli_print_key - a key on one line, harmless to terminals */
void cli_print_key(struct cli_call *call, const void *key, size_t key_len);

/* The verbs. */
int cli_create(struct cli_call *call);
int cli_unlink(struct cli_call *call);
int cli_list(struct cli_call *call);
int cli_info(struct cli_call *call);
int cli_huge(struct cli_call *call);
int cli_recover(struct cli_call *call);
int cli_verify(struct cli_call *call);
int cli_top(struct cli_call *call);
int cli_get(struct cli_call *call);
int cli_take(struct cli_call *call);
int cli_put(struct cli_call *call);
int cli_add(struct cli_call *call);
int cli_replace(struct cli_call *call);
int cli_cas(struct cli_call *call);
int cli_append(struct cli_call *call);
int cli_del(struct cli_call *call);
int cli_exists(struct cli_call *call);
int cli_incr(struct cli_call *call);
int cli_count(struct cli_call *call);
int cli_clear(struct cli_call *call);
int cli_scan(struct cli_call *call);
int cli_touch(struct cli_call *call);
int cli_persist(struct cli_call *call);
int cli_ttl(struct cli_call *call);
int cli_expire(struct cli_call *call);
int cli_watch(struct cli_call *call);
int cli_save(struct cli_call *call);
int cli_load(struct cli_call *call);
int cli_peek(struct cli_call *call);
int cli_export(struct cli_call *call);
int cli_import(struct cli_call *call);
int cli_attach(struct cli_call *call);
int cli_help(struct cli_call *call);
int cli_leave(struct cli_call *call);

/* cli_interrupted - whether Ctrl-C was pressed in the shell since the verb began */
bool cli_interrupted(void);

#endif
