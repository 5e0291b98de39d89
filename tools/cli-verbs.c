/* SPDX-License-Identifier: MIT */
#include "cli.h"

#include <string.h>

/* ---- options that several verbs share -------------------------------------------- */

#define COMMON                                                                                  \
	{ "json", OPT_JSON, NULL, 0, "Answer in JSON, complaints included", -1 },               \
	{ "help", OPT_HELP, NULL, 0, "Show this text", -1 },                                    \
	{ "version", OPT_VERSION, NULL, 0, "Show the version", -1 },                            \
	{ 0 }

#define COMMON_VALUE                                                                            \
	{ "json", OPT_JSON, NULL, 0,                                                            \
	  "Answer in JSON; VALUE is JSON too unless another option says what it is", -1 },      \
	{ "help", OPT_HELP, NULL, 0, "Show this text", -1 },                                    \
	{ "version", OPT_VERSION, NULL, 0, "Show the version", -1 },                            \
	{ 0 }

#define KEY_OPTION { "key-hex", OPT_KEY_HEX, "HEX", 0, "The key as hexadecimal bytes, in place of KEY", 1 }

#define TEXT_OPTIONS                                                                            \
	{ "str", OPT_STR, NULL, 0, "VALUE is text (the default without --json)", 2 },           \
	{ "bin", OPT_BIN, "FILE", 0, "Bytes from FILE, or - for standard input, as bin", 2 },   \
	{ "from", OPT_FROM, "FILE", 0, "Take VALUE from FILE, or - for standard input", 2 }

#define VALUE_OPTIONS                                                                           \
	TEXT_OPTIONS,                                                                           \
	{ "int", OPT_INT, NULL, 0, "VALUE is an integer, decimal or 0x", 2 },                   \
	{ "float", OPT_FLOAT, NULL, 0, "VALUE is a floating-point number", 2 },                 \
	{ "bool", OPT_BOOL, NULL, 0, "VALUE is true or false", 2 },                             \
	{ "nil", OPT_NIL, NULL, 0, "Store nil; there is no VALUE", 2 }

#define TTL_OPTION                                                                              \
	{ "ttl", OPT_TTL, "TIME", 0,                                                            \
	  "Expire after TIME: 500ms, 90s, 15m, 12h, 7d; never; keep (the deadline it has)", 3 }

#define TOKEN_OPTION { "token", OPT_TOKEN, NULL, 0, "Print the token of the new version", 3 }

static const struct argp_option plain_options[] = { COMMON };

static const struct argp_option key_options[] = { KEY_OPTION, COMMON };

static const struct argp_option get_options[] = {
	KEY_OPTION,
	{ "raw", OPT_RAW, NULL, 0,
	  "Payload bytes without a newline; msgpack bytes if it is neither str nor bin", 2 },
	{ "hex", OPT_HEX, NULL, 0, "The same bytes in hexadecimal", 2 },
	{ "token", OPT_TOKEN, NULL, 0, "Only the token of the version, for cas; with --json the value too", 2 },
	COMMON
};

static const struct argp_option take_options[] = {
	KEY_OPTION,
	{ "raw", OPT_RAW, NULL, 0,
	  "Payload bytes without a newline; msgpack bytes if it is neither str nor bin", 2 },
	{ "hex", OPT_HEX, NULL, 0, "The same bytes in hexadecimal", 2 },
	COMMON
};

static const struct argp_option put_options[] = {
	KEY_OPTION, VALUE_OPTIONS, TTL_OPTION, TOKEN_OPTION, COMMON_VALUE
};

static const struct argp_option append_options[] = {
	KEY_OPTION, TEXT_OPTIONS, COMMON_VALUE
};

static const struct argp_option incr_options[] = {
	KEY_OPTION,
	{ "initial", OPT_INITIAL, "N", 0, "What an absent key counts as; default 0", 2 },
	COMMON
};

static const struct argp_option scan_options[] = {
	{ "prefix", OPT_PREFIX, "TEXT", 0, "Only keys that begin with TEXT", 1 },
	{ "limit", OPT_LIMIT, "N", 0, "At most N keys; with --cursor, at least N where there are", 1 },
	{ "cursor", OPT_CURSOR, "C", 0, "Page by page: begin at C, 0 at first; see below", 1 },
	{ "keys-only", OPT_KEYS_ONLY, NULL, 0, "Leave the values out", 1 },
	{ "ttl", OPT_SHOW_TTL, NULL, 0, "Add the time each key has still to live, or never", 1 },
	COMMON
};

static const struct argp_option expire_options[] = {
	{ "limit", OPT_LIMIT, "N", 0, "Stop after N keys", 1 },
	COMMON
};

static const struct argp_option watch_options[] = {
	KEY_OPTION,
	{ "prefix", OPT_PREFIX, "TEXT", 0, "Every key that begins with TEXT, in place of KEY", 1 },
	{ "all", OPT_ALL, NULL, 0, "Every key, in place of KEY", 1 },
	{ "now", OPT_NOW, NULL, 0, "Begin with what is there already", 2 },
	{ "count", OPT_COUNT, "N", 0, "End after N lines", 2 },
	{ "timeout", OPT_TIMEOUT, "SECONDS", 0, "End after this time, with exit code 1", 2 },
	{ "read-only", OPT_READ_ONLY, NULL, 0,
	  "Attach without write permission, and look every 10 ms", 2 },
	COMMON
};

static const struct argp_option attach_options[] = {
	{ "read-only", OPT_READ_ONLY, NULL, 0, "Attach without write permission", 1 },
	COMMON
};

static const struct argp_option top_options[] = {
	{ "interval", OPT_INTERVAL, "SECONDS", 0, "Between two samples, 0.1 to 3600; default 1", 1 },
	{ "sort", OPT_SORT, "BY", 0, "Processes by rate (the default), calls, pid, pins or state", 1 },
	{ "once", OPT_ONCE, NULL, 0, "Print one sample, with the rates of one interval, and end", 1 },
	{ "json", OPT_JSON, NULL, 0, "With --once: answer in JSON, complaints included", -1 },
	{ "help", OPT_HELP, NULL, 0, "Show this text", -1 },
	{ "version", OPT_VERSION, NULL, 0, "Show the version", -1 },
	{ 0 }
};

static const struct argp_option create_options[] = {
	{ "size", OPT_SIZE, "SIZE", 0, "Most memory it may use, such as 64M or 2G; default 64M", 1 },
	{ "capacity", OPT_CAPACITY, "N", 0, "Lay the index out for N keys at once; it grows anyway", 1 },
	{ "mode", OPT_MODE, "MODE", 0, "Permission bits in octal; default 0600", 1 },
	{ "huge-pages", OPT_HUGE_PAGES, "WHEN", 0,
	  "never, lazy (the default) or eager, from 64M on; see huge", 1 },
	{ "hash", OPT_HASH, "KIND", 0,
	  "siphash13 (the default) or xxh3 (faster, only for keys from a trusted source)", 1 },
	{ "evict", OPT_EVICT, "POLICY", 0,
	  "When memory is full: none (the default) refuses; lru, lfu make it a cache, see below", 1 },
	{ "ttl", OPT_TTL, "TIME", 0,
	  "How long keys live that are stored without a time: 500ms, 90s, 15m, 12h, 7d; default never",
	  1 },
	{ "max-processes", OPT_MAX_PROCESSES, "N", 0, "That write at once, 1..4095; default 128", 1 },
	{ "max-threads", OPT_MAX_THREADS, "N", 0,
	  "That write at once over all processes, 1..4095; default 512, fewer below 4M", 1 },
	COMMON
};

static const struct argp_option save_options[] = {
	{ "compress", OPT_COMPRESS, "LEVEL", OPTION_ARG_OPTIONAL,
	  "Compress by zstd, level 1..19; without LEVEL 3", 1 },
	COMMON
};

static const struct argp_option load_options[] = {
	{ "size", OPT_SIZE, "SIZE", 0, "Most memory it may use; default as it was", 1 },
	{ "capacity", OPT_CAPACITY, "N", 0, "Lay the index out for N keys; default those of the file", 1 },
	{ "mode", OPT_MODE, "MODE", 0, "Permission bits in octal; default 0600", 1 },
	{ "huge-pages", OPT_HUGE_PAGES, "WHEN", 0, "never, lazy (the default) or eager", 1 },
	{ "hash", OPT_HASH, "KIND", 0, "siphash13 or xxh3; default as it was", 1 },
	{ "evict", OPT_EVICT, "POLICY", 0, "lru or lfu; default as it was", 1 },
	{ "ttl", OPT_TTL, "TIME", 0, "How long keys live that will be stored without a time; default as "
				     "it was", 1 },
	{ "max-processes", OPT_MAX_PROCESSES, "N", 0, "That write at once; default as it was", 1 },
	{ "max-threads", OPT_MAX_THREADS, "N", 0, "That write at once over all processes; default as it "
						  "was", 1 },
	COMMON
};

/* ---- the table -------------------------------------------------------------------- */

#define BOTH (VERB_COMMAND | VERB_SHELL)
#define READS (BOTH | VERB_SEGMENT | VERB_OPENS)
#define WRITES (READS | VERB_WRITES)

const struct cli_verb cli_verbs[] = {
	{ "create", VERB_COMMAND | VERB_SEGMENT, create_options, cli_create,
	  "make a new segment",
	  "Memory is taken from the system as it is needed, up to the size. With --evict lru keys "
	  "that were not used for long make room for new ones, with --evict lfu keys that are used "
	  "seldom; both about." },
	{ "attach", VERB_COMMAND | VERB_SEGMENT, attach_options, cli_attach,
	  "work on a segment in an interactive shell",
	  "The same verbs without NAME, one a line; \"help\" lists them. From a pipe or file it runs "
	  "every line and exits with the code of the first one that failed." },
	{ "unlink", VERB_COMMAND | VERB_SEGMENT, plain_options, cli_unlink,
	  "remove the name of a segment",
	  "Processes that are attached go on with the memory until they detach." },
	{ "list", BOTH, plain_options, cli_list, "list the segments of this machine", NULL },
	{ "info", READS, plain_options, cli_info, "show limits, memory and counters", NULL },
	{ "top", VERB_COMMAND | VERB_SEGMENT | VERB_OPENS, top_options, cli_top,
	  "watch rates, memory, processes and leaves",
	  "The keys that work stand on the last line of the screen. It only reads." },
	{ "get", READS | VERB_KEY, get_options, cli_get, "print a value",
	  "Scalars and text are printed plainly, everything else as JSON; with --json all of them, as "
	  "\"put --json\" takes them." },
	{ "put", WRITES | VERB_KEY | VERB_VALUE, put_options, cli_put, "store a value", NULL },
	{ "add", WRITES | VERB_KEY | VERB_VALUE, put_options, cli_add,
	  "store a value if the key is absent", NULL },
	{ "replace", WRITES | VERB_KEY | VERB_VALUE, put_options, cli_replace,
	  "store a value if the key is present", NULL },
	{ "cas", WRITES | VERB_KEY | VERB_TOKEN | VERB_VALUE, put_options, cli_cas,
	  "store a value if the key still has the version of TOKEN",
	  "\"get --token\" and \"put --token\" print tokens." },
	{ "append", WRITES | VERB_KEY | VERB_VALUE, append_options, cli_append,
	  "lengthen text or bytes", NULL },
	{ "incr", WRITES | VERB_KEY | VERB_BY, incr_options, cli_incr,
	  "add BY (default 1) to an integer and print it",
	  "BY may be negative. An absent key becomes the initial value plus BY." },
	{ "del", WRITES | VERB_KEY, key_options, cli_del, "remove a key", NULL },
	{ "take", WRITES | VERB_KEY, take_options, cli_take, "remove a key and print its value", NULL },
	{ "ttl", READS | VERB_KEY, key_options, cli_ttl, "print how long a key has still to live",
	  "Milliseconds, as in 4213ms, or never; touch and --ttl take both." },
	{ "touch", WRITES | VERB_KEY | VERB_TTL, key_options, cli_touch,
	  "give a key another time to live",
	  "TIME is 500ms, 90s, 15m, 12h, 7d or never, counted from now; without it the segment's "
	  "default." },
	{ "persist", WRITES | VERB_KEY, key_options, cli_persist, "let a key live for ever", NULL },
	{ "expire", WRITES, expire_options, cli_expire, "take the memory of expired keys back now",
	  "Expired keys are absent at once; their memory comes back as others write, or now." },
	{ "exists", READS | VERB_KEY, key_options, cli_exists,
	  "say true (exit 0) or false (exit 1)", NULL },
	{ "count", READS, plain_options, cli_count, "print how many keys there are", NULL },
	{ "clear", WRITES, plain_options, cli_clear, "remove every key", NULL },
	{ "scan", READS, scan_options, cli_scan, "print keys and values, one pair a line",
	  "A line is the key, a tab, and the value as JSON; in keys, control bytes and backslashes are "
	  "escaped. With --cursor a page ends where another scan can go on; where that is is printed "
	  "on standard error, or as \"cursor\" in JSON." },
	{ "watch", READS | VERB_KEY | VERB_MAYBE | VERB_WAITS, watch_options, cli_watch,
	  "print changes as they come",
	  "A line is put, the key and the value as JSON, or del and the key, with tabs between; with "
	  "--json an object a line. Of several changes between two looks the last one is shown. "
	  "Ctrl-C or SIGTERM end it with exit code 0." },
	{ "huge", WRITES, plain_options, cli_huge,
	  "make huge pages of what is in use, and say what was obtained",
	  "Others keep working. Takes one to three seconds for each GiB." },
	{ "save", READS | VERB_FILE, save_options, cli_save, "write every key to a file",
	  "Others may go on writing: each key is saved with a value that it had meanwhile. FILE appears "
	  "whole or not at all; - is standard output." },
	{ "load", VERB_COMMAND | VERB_SEGMENT | VERB_FILE, load_options, cli_load,
	  "make a new segment from a saved file",
	  "The segment appears with every key, or not at all. Keys have as long to live as they had "
	  "when they were saved. - is standard input." },
	{ "peek", BOTH | VERB_FILE, plain_options, cli_peek,
	  "say what a saved file holds, and whether it is whole", NULL },
	{ "export", READS | VERB_FILE | VERB_MAYBE, plain_options, cli_export,
	  "write every key as a line of JSON",
	  "A line is {\"key\":...,\"value\":...}, with \"ttl_ms\" if the key expires. Without FILE "
	  "the lines go to standard output." },
	{ "import", WRITES | VERB_FILE | VERB_MAYBE, plain_options, cli_import,
	  "store what lines of JSON say",
	  "Takes what export writes. Nothing is stored unless every line is right." },
	{ "recover", WRITES, plain_options, cli_recover,
	  "find dead processes and give back what they held",
	  "Then every block is looked at for what nobody owns any more. Nobody waits meanwhile." },
	{ "verify", READS, plain_options, cli_verify, "hold every invariant against the segment",
	  "Also while others write: what is named then is really violated. Exits with 0 when all is well, "
	  "1 when something is lost that \"recover\" gives back, 6 when something is violated." },
	{ "check", READS, plain_options, cli_verify, "the same as verify", NULL },
	{ "help", BOTH | VERB_TOPIC, plain_options, cli_help, "list the verbs, or explain one", NULL },
	{ "exit", VERB_SHELL, plain_options, cli_leave, "leave the shell", NULL },
	{ 0 },
};

const struct cli_verb *cli_verb_find(const char *name)
{
	for (const struct cli_verb *verb = cli_verbs; verb->name; verb++)
		if (strcmp(verb->name, name) == 0)
			return verb;
	return NULL;
}
