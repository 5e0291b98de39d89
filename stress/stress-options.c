/* SPDX-License-Identifier: MIT */
#include "stress/stress-options.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include <shmkv/shmkv.h>

#include "stress/aim.h"
#include "stress/payload.h"
#include "stress/stress-keys.h"

enum {
	OPT_PROCS = 256,
	OPT_THREADS,
	OPT_SECONDS,
	OPT_OPS,
	OPT_SEED,
	OPT_KEYS,
	OPT_GROW,
	OPT_NO_GROW,
	OPT_VALUE_SIZE,
	OPT_MIX,
	OPT_KILL,
	OPT_STOP,
	OPT_AIM,
	OPT_JITTER,
	OPT_SIZE,
	OPT_HASH,
	OPT_EVICT,
	OPT_HUGE,
	OPT_WATCHDOG,
	OPT_SEGMENT,
	OPT_KEEP,
	OPT_HISTORY,
	OPT_JSON,
	OPT_HELP,
	OPT_VERSION,
};

static const struct option long_options[] = {
	{ "procs", required_argument, NULL, OPT_PROCS },
	{ "threads", required_argument, NULL, OPT_THREADS },
	{ "seconds", required_argument, NULL, OPT_SECONDS },
	{ "ops", required_argument, NULL, OPT_OPS },
	{ "seed", required_argument, NULL, OPT_SEED },
	{ "keys", required_argument, NULL, OPT_KEYS },
	{ "grow", no_argument, NULL, OPT_GROW },
	{ "no-grow", no_argument, NULL, OPT_NO_GROW },
	{ "value-size", required_argument, NULL, OPT_VALUE_SIZE },
	{ "mix", required_argument, NULL, OPT_MIX },
	{ "kill", required_argument, NULL, OPT_KILL },
	{ "stop", required_argument, NULL, OPT_STOP },
	{ "aim", no_argument, NULL, OPT_AIM },
	{ "jitter", required_argument, NULL, OPT_JITTER },
	{ "size", required_argument, NULL, OPT_SIZE },
	{ "hash", required_argument, NULL, OPT_HASH },
	{ "evict", required_argument, NULL, OPT_EVICT },
	{ "huge-pages", required_argument, NULL, OPT_HUGE },
	{ "watchdog", required_argument, NULL, OPT_WATCHDOG },
	{ "segment", required_argument, NULL, OPT_SEGMENT },
	{ "keep", no_argument, NULL, OPT_KEEP },
	{ "history", required_argument, NULL, OPT_HISTORY },
	{ "json", no_argument, NULL, OPT_JSON },
	{ "help", no_argument, NULL, OPT_HELP },
	{ "version", no_argument, NULL, OPT_VERSION },
	{ NULL, 0, NULL, 0 },
};

static const char help_text[] =
	"Usage: shmkv-stress [OPTION]...\n"
	"Kill, stop and start many writers of one shared map, and check that nothing is lost.\n"
	"\n"
	"load\n"
	"  --procs N            writing processes, 1..1000 (4)\n"
	"  --threads N          threads in each, sharing one handle, 1..64 (1)\n"
	"  --seconds S          how long (10, or no bound when --ops is given)\n"
	"  --ops N              end after this many operations\n"
	"  --keys K             keys in play, 16..100000000 (1000000; with --history 1.. and 8)\n"
	"  --grow, --no-grow    let the keys in play grow from 1000 to K (yes when K > 1000)\n"
	"  --value-size A..B    bytes of a value, 40..268435456 (40..256)\n"
	"  --mix W:W:W...       weights of get:put:del:add:cas:incr:view:reserve:batch:lease:wait,\n"
	"                       at least six (36:26:8:8:6:6:4:4:2:3:1)\n"
	"  --hash KIND          siphash13 or xxh3\n"
	"  --seed X             of every choice (drawn from the system)\n"
	"trouble\n"
	"  --kill RATE          SIGKILLs per second (0)\n"
	"  --stop RATE          SIGSTOPs per second; a third of those stopped is killed (0)\n"
	"  --aim                at the library's fault points (builds for tests only)\n"
	"  --jitter N           one of N passages of a fault point sleeps (likewise)\n"
	"  --watchdog S         seconds without any progress that count as waiting (60)\n"
	"segment\n"
	"  --size BYTES         limit of the segment, K, M, G allowed (twice the need; with --evict\n"
	"                       a quarter)\n"
	"  --evict KIND         a cache: lru or lfu; keys may go, nothing else may happen (none)\n"
	"  --huge-pages WHEN    never, lazy or eager; segments of 64M or more (lazy)\n"
	"  --segment NAME       create it, or use it if it is empty, and leave it in place\n"
	"  --keep               leave the segment in place\n"
	"output\n"
	"  --history DIR        record every operation for a linearizability checker\n"
	"  --json               one JSON document on standard output\n"
	"  --help, --version\n"
	"\n"
	"Exit status: 0 passed, 1 failed, 2 wrong usage, 77 cannot run here.\n";

const char *stress_op_name(enum stress_op op)
{
	static const char *const names[STRESS_OPS] = {
		[STRESS_OP_GET] = "get",       [STRESS_OP_PUT] = "put",
		[STRESS_OP_DEL] = "del",       [STRESS_OP_ADD] = "add",
		[STRESS_OP_CAS] = "cas",       [STRESS_OP_INCR] = "incr",
		[STRESS_OP_VIEW] = "view",     [STRESS_OP_RESERVE] = "reserve",
		[STRESS_OP_BATCH] = "batch",   [STRESS_OP_LEASE] = "lease",
		[STRESS_OP_WAIT] = "wait",
		[STRESS_OP_ATTACH] = "attach", [STRESS_OP_RECOVER] = "recover",
		[STRESS_OP_SCAN] = "scan",     [STRESS_OP_VERIFY] = "verify",
	};

	return (unsigned int)op < STRESS_OPS ? names[op] : "nothing";
}

__attribute__((format(printf, 1, 2))) static bool refuse(const char *format, ...)
{
	va_list args;

	fputs("shmkv-stress: ", stderr);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputs("\nTry 'shmkv-stress --help'.\n", stderr);
	return false;
}

/* A number with an optional K, M or G (powers of 1024); @end gets the first byte after. */
static bool parse_number(const char *text, const char **ret_end, uint64_t *ret)
{
	uint64_t number;
	char *end;
	unsigned int shift = 0;

	if (*text < '0' || *text > '9')
		return false;
	errno = 0;
	number = strtoull(text, &end, 0);
	if (errno != 0 || end == text)
		return false;
	if (*end == 'K' || *end == 'k')
		shift = 10;
	else if (*end == 'M' || *end == 'm')
		shift = 20;
	else if (*end == 'G' || *end == 'g')
		shift = 30;
	if (shift) {
		if (number > UINT64_MAX >> shift)
			return false;
		end++;
	}
	*ret_end = end;
	*ret = number << shift;
	return true;
}

static bool parse_uint(const char *name, const char *text, uint64_t min, uint64_t max,
		       uint64_t *ret)
{
	const char *end;
	uint64_t number;

	if (!parse_number(text, &end, &number) || *end || number < min || number > max)
		return refuse("--%s %s: expected a whole number from %" PRIu64 " to %" PRIu64, name,
			      text, min, max);
	*ret = number;
	return true;
}

static bool parse_small(const char *name, const char *text, unsigned int min, unsigned int max,
			unsigned int *ret)
{
	uint64_t number;

	if (!parse_uint(name, text, min, max, &number))
		return false;
	*ret = (unsigned int)number;
	return true;
}

static bool parse_real(const char *name, const char *text, double min, double max, double *ret)
{
	double number;
	char *end;

	errno = 0;
	number = strtod(text, &end);
	/* Written so that "nan" fails too. */
	if (end == text || *end || errno != 0 || !(number >= min && number <= max))
		return refuse("--%s %s: expected a number from %g to %g", name, text, min, max);
	*ret = number;
	return true;
}

static bool parse_value_size(const char *text, uint64_t *ret_min, uint64_t *ret_max)
{
	const char *end;
	uint64_t min, max;

	if (!parse_number(text, &end, &min))
		goto wrong;
	max = min;
	if (end[0] == '.' && end[1] == '.' && !parse_number(end + 2, &end, &max))
		goto wrong;
	if (*end || min > max || max > PAYLOAD_MAX)
		goto wrong;
	if (min < PAYLOAD_MIN)
		return refuse("--value-size %s: at least %u bytes, a value carries its key, writer, "
			      "sequence number and checksum", text, PAYLOAD_MIN);
	*ret_min = min;
	*ret_max = max;
	return true;
wrong:
	return refuse("--value-size %s: expected A..B with %u <= A <= B <= %u bytes", text,
		      PAYLOAD_MIN, PAYLOAD_MAX);
}

/* Weights that must be given; those after them are 0 when they are not. */
#define MIX_MIN 6

static bool parse_mix(const char *text, unsigned int mix[STRESS_OPS_MIXED])
{
	const char *at = text;
	uint64_t weight, sum = 0;
	unsigned int n = 0;

	memset(mix, 0, STRESS_OPS_MIXED * sizeof(*mix));
	for (;;) {
		if (*at < '0' || *at > '9')
			break;
		if (!parse_number(at, &at, &weight) || weight > 10000)
			break;
		mix[n++] = (unsigned int)weight;
		sum += weight;
		if (*at == '\0' && n >= MIX_MIN && sum > 0)
			return true;
		if (*at != ':' || n == STRESS_OPS_MIXED)
			break;
		at++;
	}
	return refuse("--mix %s: expected at least six weights get:put:del:add:cas:incr:view:reserve:"
		      "batch:lease:wait of 0..10000, not all zero", text);
}

static bool parse_hash(const char *text, unsigned int *ret)
{
	if (strcmp(text, "siphash13") == 0)
		*ret = SHMKV_HASH_SIPHASH13;
	else if (strcmp(text, "xxh3") == 0)
		*ret = SHMKV_HASH_XXH3;
	else
		return refuse("--hash %s: expected siphash13 or xxh3", text);
	return true;
}

static const char *const huge_words[] = {
	[SHMKV_HUGE_NEVER] = "never",
	[SHMKV_HUGE_LAZY] = "lazy",
	[SHMKV_HUGE_EAGER] = "eager",
};

static bool parse_evict(const char *text, unsigned int *ret)
{
	if (strcmp(text, "none") == 0)
		*ret = SHMKV_EVICT_NONE;
	else if (strcmp(text, "lru") == 0)
		*ret = SHMKV_EVICT_LRU;
	else if (strcmp(text, "lfu") == 0)
		*ret = SHMKV_EVICT_LFU;
	else
		return refuse("--evict %s: expected none, lru or lfu", text);
	return true;
}

static bool parse_huge(const char *text, unsigned int *ret)
{
	unsigned int i;

	for (i = SHMKV_HUGE_NEVER; i <= SHMKV_HUGE_EAGER; i++) {
		if (strcmp(text, huge_words[i]) == 0) {
			*ret = i;
			return true;
		}
	}
	return refuse("--huge-pages %s: expected never, lazy or eager", text);
}

/* Names are checked again by the library; here only so that the message comes early. */
static bool parse_segment(const char *text, const char **ret)
{
	if (*text == '\0' || *text == '-')
		return refuse("--segment needs the name of a segment");
	*ret = text;
	return true;
}

static uint64_t draw_seed(void)
{
	struct timespec now;
	uint64_t seed;

	if (getrandom(&seed, sizeof(seed), 0) != (ssize_t)sizeof(seed)) {
		clock_gettime(CLOCK_REALTIME, &now);
		seed = (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec + (uint64_t)getpid();
	}
	return seed & 0xffffffffu; /* short enough to be typed */
}

/*
 * Twice what all keys need at their mean length: blocks are rounded up, the index takes up
 * to 56 bytes a key under churn, and every process may hold memory of an operation. A cache
 * has room for a quarter of the keys.
 */
static uint64_t estimate_bytes(const struct stress_options *opts)
{
	double ratio = (double)opts->value_max / (double)opts->value_min;
	double mean = opts->value_min;
	double need;

	/* Sizes are drawn evenly on a logarithmic scale, see payload_draw_len. */
	if (ratio > 1.0)
		mean = (double)(opts->value_max - opts->value_min) / log(ratio);
	need = (double)opts->keys / (opts->evict ? 4 : 1) * (mean * 1.25 + KEY_BYTES_MEAN + 128);
	need += (double)opts->procs * opts->threads *
		(double)(4 * opts->value_max + (opts->evict ? 1u << 16 : 1u << 20));
	if (opts->evict)
		need += SHMKV_SIZE_MIN;
	else
		need = need * 2 + (64u << 20);
	if (need > (double)SHMKV_SIZE_MAX)
		return SHMKV_SIZE_MAX;
	return (uint64_t)need & ~(uint64_t)0xffff;
}

struct given {
	bool seconds, seed, keys, mix, size, value_size;
	int grow; /* -1 not said */
};

static bool complete(struct stress_options *opts, const struct given *given)
{
	static const unsigned int mix_default[STRESS_OPS_MIXED] = { 36, 26, 8, 8, 6, 6, 4, 4, 2, 3,
								      1 };
	static const unsigned int mix_history[STRESS_OPS_MIXED] = { 40, 30, 15, 15 };

	if ((opts->aim || opts->jitter) && !aim_is_possible())
		return refuse("--aim, --jitter: this program was built without fault points; the source "
			      "tree builds shmkv-stress-fault and shmkv-stress-tiny with them");
	if (!given->seconds && opts->ops == 0)
		opts->seconds = 10;
	if (!given->seed)
		opts->seed = draw_seed();
	if (!given->keys)
		opts->keys = opts->history ? 8 : 1000000;
	if (!given->mix)
		memcpy(opts->mix, opts->history ? mix_history : mix_default, sizeof(opts->mix));
	if (opts->history) {
		unsigned int op;

		for (op = STRESS_OP_CAS; op < STRESS_OPS_MIXED && opts->mix[op] == 0; op++)
			;
		if (op < STRESS_OPS_MIXED)
			return refuse("--history records get, put, del and add: give the others the "
				      "weight 0");
		if (given->value_size || given->grow == 1)
			return refuse("--history stores 64-bit numbers under a fixed set of keys: leave "
				      "out --value-size and --grow");
		if (opts->evict)
			return refuse("--history and --evict: a history does not know why a key is gone");
		if (opts->keys > 1000000)
			return refuse("--history: at most 1000000 keys");
	} else if (opts->keys < KEY_COUNT_MIN) {
		return refuse("--keys %" PRIu64 ": at least %u are needed for every kind of key",
			      opts->keys, KEY_COUNT_MIN);
	}
	opts->keys_start = opts->keys;
	if (!opts->history && given->grow != 0 && opts->keys > 1000)
		opts->keys_start = 1000;
	if (!given->size) {
		opts->max_bytes = estimate_bytes(opts);
		opts->sized_here = !opts->evict;
	}
	return true;
}

bool stress_options_parse(struct stress_options *opts, int argc, char **argv, int *ret_exit)
{
	struct given given = { .grow = -1 };
	bool fine = true;
	int c;

	*opts = (struct stress_options){
		.program = "shmkv-stress",
		.procs = 4,
		.threads = 1,
		.value_min = 40,
		.value_max = 256,
		.watchdog_s = 60,
	};
	if (argc > 0 && argv[0][0])
		opts->program = argv[0];
	*ret_exit = STRESS_EXIT_USAGE;
	opterr = 0;

	while (fine && (c = getopt_long(argc, argv, ":", long_options, NULL)) != -1) {
		switch (c) {
		case OPT_PROCS:
			fine = parse_small("procs", optarg, 1, 1000, &opts->procs);
			break;
		case OPT_THREADS:
			fine = parse_small("threads", optarg, 1, 64, &opts->threads);
			break;
		case OPT_SECONDS:
			fine = parse_real("seconds", optarg, 0.01, 1e7, &opts->seconds);
			given.seconds = true;
			break;
		case OPT_OPS:
			fine = parse_uint("ops", optarg, 1, (uint64_t)1 << 60, &opts->ops);
			break;
		case OPT_SEED:
			fine = parse_uint("seed", optarg, 0, UINT64_MAX, &opts->seed);
			given.seed = true;
			break;
		case OPT_KEYS:
			fine = parse_uint("keys", optarg, 1, 100000000, &opts->keys);
			given.keys = true;
			break;
		case OPT_GROW:
			given.grow = 1;
			break;
		case OPT_NO_GROW:
			given.grow = 0;
			break;
		case OPT_VALUE_SIZE:
			fine = parse_value_size(optarg, &opts->value_min, &opts->value_max);
			given.value_size = true;
			break;
		case OPT_MIX:
			fine = parse_mix(optarg, opts->mix);
			given.mix = true;
			break;
		case OPT_KILL:
			fine = parse_real("kill", optarg, 0, 10000, &opts->kill_rate);
			break;
		case OPT_STOP:
			fine = parse_real("stop", optarg, 0, 10000, &opts->stop_rate);
			break;
		case OPT_AIM:
			opts->aim = true;
			break;
		case OPT_JITTER:
			fine = parse_small("jitter", optarg, 0, 1000000000, &opts->jitter);
			break;
		case OPT_SIZE:
			fine = parse_uint("size", optarg, SHMKV_SIZE_MIN, SHMKV_SIZE_MAX,
					  &opts->max_bytes);
			given.size = true;
			break;
		case OPT_HASH:
			fine = parse_hash(optarg, &opts->hash);
			break;
		case OPT_EVICT:
			fine = parse_evict(optarg, &opts->evict);
			break;
		case OPT_HUGE:
			fine = parse_huge(optarg, &opts->huge);
			break;
		case OPT_WATCHDOG:
			fine = parse_small("watchdog", optarg, 1, 86400, &opts->watchdog_s);
			break;
		case OPT_SEGMENT:
			fine = parse_segment(optarg, &opts->segment);
			break;
		case OPT_KEEP:
			opts->keep = true;
			break;
		case OPT_HISTORY:
			opts->history = optarg;
			break;
		case OPT_JSON:
			opts->json = true;
			break;
		case OPT_HELP:
			fputs(help_text, stdout);
			*ret_exit = STRESS_EXIT_PASS;
			return false;
		case OPT_VERSION:
			printf("shmkv-stress %s\n", shmkv_version());
			*ret_exit = STRESS_EXIT_PASS;
			return false;
		case ':':
			return refuse("%s needs a value", argv[optind - 1]);
		default:
			return refuse("unknown option %s", argv[optind - 1]);
		}
	}
	if (!fine)
		return false;
	if (optind < argc)
		return refuse("unexpected argument %s", argv[optind]);
	return complete(opts, &given);
}

/* A word as a shell reads it. */
static void print_quoted(const char *text, FILE *out)
{
	const char *p;

	if (*text && strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
				  "_-./:=,+@%") == strlen(text)) {
		fputs(text, out);
		return;
	}
	fputc('\'', out);
	for (p = text; *p; p++) {
		if (*p == '\'')
			fputs("'\\''", out);
		else
			fputc(*p, out);
	}
	fputc('\'', out);
}

void stress_options_print(const struct stress_options *opts, FILE *out)
{
	unsigned int op;

	print_quoted(opts->program, out);
	fprintf(out, " --procs %u --threads %u", opts->procs, opts->threads);
	if (opts->seconds > 0)
		fprintf(out, " --seconds %g", opts->seconds);
	if (opts->ops)
		fprintf(out, " --ops %" PRIu64, opts->ops);
	fprintf(out, " --seed %" PRIu64 " --keys %" PRIu64, opts->seed, opts->keys);
	if (!opts->history) {
		fprintf(out, " --value-size %" PRIu64 "..%" PRIu64, opts->value_min,
			opts->value_max);
		if (opts->keys > 1000)
			fputs(opts->keys_start < opts->keys ? " --grow" : " --no-grow", out);
	}
	for (op = 0; op < STRESS_OPS_MIXED; op++)
		fprintf(out, "%s%u", op ? ":" : " --mix ", opts->mix[op]);
	fprintf(out, " --kill %g --stop %g", opts->kill_rate, opts->stop_rate);
	if (opts->aim)
		fputs(" --aim", out);
	if (opts->jitter)
		fprintf(out, " --jitter %u", opts->jitter);
	if (!opts->sized_here)
		fprintf(out, " --size %" PRIu64, opts->max_bytes);
	if (opts->hash)
		fprintf(out, " --hash %s", opts->hash == SHMKV_HASH_XXH3 ? "xxh3" : "siphash13");
	if (opts->evict)
		fprintf(out, " --evict %s", opts->evict == SHMKV_EVICT_LRU ? "lru" : "lfu");
	if (opts->huge)
		fprintf(out, " --huge-pages %s", huge_words[opts->huge]);
	if (opts->watchdog_s != 60)
		fprintf(out, " --watchdog %u", opts->watchdog_s);
	if (opts->segment) {
		fputs(" --segment ", out);
		print_quoted(opts->segment, out);
	}
	if (opts->keep)
		fputs(" --keep", out);
	if (opts->history) {
		fputs(" --history ", out);
		print_quoted(opts->history, out);
	}
	if (opts->json)
		fputs(" --json", out);
}
