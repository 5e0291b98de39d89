/* SPDX-License-Identifier: MIT */

/*
 * shmkv-history-check: is there one order of all operations that explains every answer?
 *
 * A history (shmkv-stress --history) is linearizable if each operation can be given one
 * instant between its start and its end so that, done one after another in the order of
 * those instants, every operation gives the answer it gave. Keys do not influence each
 * other, so each key is judged alone: a register that holds a number or is absent.
 *
 * The search is the one of Wing and Gong in the form of Lowe ("Testing for
 * linearizability", 2017): walk over starts and ends in time order and keep the set of
 * configurations - state of the register, and which of the open operations took effect
 * already. At the end of an operation each configuration in which it has no effect yet is
 * extended by open operations until it has; configurations that cannot be are dropped, and
 * when none is left the history is wrong. Equal configurations are kept once.
 *
 * Three reductions keep the set small, each without changing the verdict:
 *
 *   reads       An operation that changes nothing (get, failed add, failed del) takes effect
 *               as soon as the state fits: later cannot be better, for the state is the same.
 *   unread      A value that no get returned only matters as "some value": all are ANY.
 *   cut off     An operation whose process died inside may have happened at any time after
 *               its start, or never. If its value was read it happened before that get ended
 *               and is treated as one that succeeded and ended then. Otherwise it is one of
 *               so many unread puts and adds, or dels, that may be drawn on once each, right
 *               before an operation that needs the key present or absent. Who drew fewer is
 *               better off, so of two equal configurations only those are kept that drew
 *               less of one or the other.
 */

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "stress/history.h"

#define ABSENT 0u
#define ANY UINT64_MAX    /* a value that nobody read */
#define OPEN_MAX 64u      /* operations on one key at one time: a bit each */
#define CONFIGS_MAX 2000000u

enum {
	EXIT_GOOD = 0,
	EXIT_BAD = 1,
	EXIT_USAGE = 2,
};

/* One operation as it is judged. */
struct op {
	uint64_t start_ns, end_ns;
	uint64_t value; /* put, add: stored; get: returned, ABSENT for none */
	bool success;   /* add, del */
	uint8_t kind;   /* enum history_op */
	const struct history_record *record; /* as it was written */
};

/* A point in time at which something becomes possible, or has to have happened. */
enum event_kind {
	EVENT_START,      /* first at equal times: touching operations may overlap */
	EVENT_WILD_PUT,   /* a cut off put or add of an unread value can be drawn on */
	EVENT_WILD_DEL,
	EVENT_END,
};

struct event {
	uint64_t at_ns;
	enum event_kind kind;
	uint32_t op;
};

/* All of one key. */
struct key_history {
	struct op *ops;
	struct event *events;
	size_t n_ops, n_events;
};

struct config {
	uint64_t state;
	uint64_t done; /* of the open operations, by place */
	uint32_t drawn_puts, drawn_dels;
};

struct configs {
	struct config *items;
	size_t n, cap;
	uint32_t *table; /* index + 1 of the first with that hash, chained */
	uint32_t *next;
	size_t table_cap;
};

/* ---- the set of configurations --------------------------------------------------- */

static void *must(void *memory)
{
	if (!memory) {
		fputs("shmkv-history-check: no memory\n", stderr);
		exit(EXIT_USAGE);
	}
	return memory;
}

static void configs_clear(struct configs *set)
{
	/* Small sets, the common case, are cheaper to search from end to end. */
	if (set->table && set->n > 16)
		memset(set->table, 0, set->table_cap * sizeof(*set->table));
	set->n = 0;
}

static void configs_free(struct configs *set)
{
	free(set->items);
	free(set->table);
	free(set->next);
	memset(set, 0, sizeof(*set));
}

static size_t config_hash(const struct config *config)
{
	uint64_t h = config->state * 0x9e3779b97f4a7c15u ^ config->done * 0xc2b2ae3d27d4eb4fu;

	return (size_t)(h ^ h >> 29);
}

static void configs_index(struct configs *set, size_t i)
{
	size_t at = config_hash(&set->items[i]) & (set->table_cap - 1);

	set->next[i] = set->table[at];
	set->table[at] = (uint32_t)i + 1;
}

static void configs_grow(struct configs *set)
{
	size_t i;

	set->cap = set->cap ? set->cap * 2 : 64;
	set->items = must(realloc(set->items, set->cap * sizeof(*set->items)));
	set->next = must(realloc(set->next, set->cap * sizeof(*set->next)));
	set->table_cap = set->cap * 2;
	free(set->table);
	set->table = must(calloc(set->table_cap, sizeof(*set->table)));
	if (set->n > 16)
		for (i = 0; i < set->n; i++)
			configs_index(set, i);
}

/* After items were changed in place. */
static void configs_reindex(struct configs *set)
{
	size_t i;

	if (set->n <= 16)
		return;
	memset(set->table, 0, set->table_cap * sizeof(*set->table));
	for (i = 0; i < set->n; i++)
		configs_index(set, i);
}

static bool covers(const struct config *have, const struct config *config)
{
	return have->state == config->state && have->done == config->done &&
	       have->drawn_puts <= config->drawn_puts && have->drawn_dels <= config->drawn_dels;
}

/* True if it is new: nothing in the set is as good or better. */
static bool configs_add(struct configs *set, const struct config *config)
{
	size_t i;

	if (set->n == set->cap)
		configs_grow(set);
	if (set->n <= 16) {
		for (i = 0; i < set->n; i++)
			if (covers(&set->items[i], config))
				return false;
	} else {
		i = set->table[config_hash(config) & (set->table_cap - 1)];
		for (; i; i = set->next[i - 1])
			if (covers(&set->items[i - 1], config))
				return false;
	}
	set->items[set->n++] = *config;
	/* From here on the table is used, so those before have to be in it. */
	if (set->n == 17)
		for (i = 0; i < 17; i++)
			configs_index(set, i);
	else if (set->n > 17)
		configs_index(set, set->n - 1);
	return true;
}

/* ---- the register ---------------------------------------------------------------- */

static bool changes_nothing(const struct op *op)
{
	return op->kind == HISTORY_GET ||
	       ((op->kind == HISTORY_DEL || op->kind == HISTORY_ADD) && !op->success);
}

/* Does the answer fit if the operation takes effect in this state? */
static bool fits(const struct op *op, uint64_t state)
{
	switch (op->kind) {
	case HISTORY_GET:
		return state == op->value;
	case HISTORY_DEL:
		return (state != ABSENT) == op->success;
	case HISTORY_ADD:
		return (state == ABSENT) == op->success;
	default:
		return true;
	}
}

static uint64_t after(const struct op *op, uint64_t state)
{
	if (op->kind == HISTORY_PUT || (op->kind == HISTORY_ADD && op->success))
		return op->value;
	return op->kind == HISTORY_DEL ? ABSENT : state;
}

/* The state that a drawn operation would have to make for this one to fit. */
static bool wants_present(const struct op *op)
{
	return (op->kind == HISTORY_DEL && op->success) ||
	       (op->kind == HISTORY_ADD && !op->success);
}

static bool wants_absent(const struct op *op)
{
	return (op->kind == HISTORY_DEL && !op->success) ||
	       (op->kind == HISTORY_ADD && op->success) ||
	       (op->kind == HISTORY_GET && op->value == ABSENT);
}

/* ---- the search ------------------------------------------------------------------ */

struct search {
	const struct op *ops;
	uint32_t open[OPEN_MAX]; /* operation in each place */
	uint64_t used;           /* places in use */
	uint32_t wild_puts, wild_dels; /* started so far */
	struct configs now, next;
	size_t largest; /* set of configurations, for information */
};

enum outcome {
	LINEARIZABLE,
	NOT_LINEARIZABLE,
	TOO_MANY_OPEN,
	TOO_MANY_CONFIGS,
};

/* Reads take effect wherever they fit. */
static void settle_reads(const struct search *search, struct config *config)
{
	uint64_t left = search->used & ~config->done;
	const struct op *op;
	unsigned int place;

	while (left) {
		place = (unsigned int)__builtin_ctzll(left);
		left &= left - 1;
		op = &search->ops[search->open[place]];
		if (changes_nothing(op) && fits(op, config->state))
			config->done |= (uint64_t)1 << place;
	}
}

/* With @op taking effect, with the help of a cut off operation if that is what it takes. */
static bool apply(const struct search *search, const struct config *config, unsigned int place,
		  struct config *ret)
{
	const struct op *op = &search->ops[search->open[place]];

	*ret = *config;
	if (!fits(op, ret->state)) {
		if (wants_present(op) && ret->drawn_puts < search->wild_puts) {
			ret->drawn_puts++;
			ret->state = ANY;
		} else if (wants_absent(op) && ret->drawn_dels < search->wild_dels) {
			ret->drawn_dels++;
			ret->state = ABSENT;
		} else {
			return false;
		}
		settle_reads(search, ret);
	}
	ret->done |= (uint64_t)1 << place;
	ret->state = after(op, ret->state);
	settle_reads(search, ret);
	return true;
}

static void search_start(struct search *search, uint32_t op)
{
	unsigned int place = (unsigned int)__builtin_ctzll(~search->used);
	size_t i;

	search->open[place] = op;
	search->used |= (uint64_t)1 << place;
	for (i = 0; i < search->now.n; i++)
		settle_reads(search, &search->now.items[i]);
	configs_reindex(&search->now);
}

static unsigned int place_of(const struct search *search, uint32_t op)
{
	uint64_t left = search->used;
	unsigned int place = 0;

	for (; left; left &= left - 1) {
		place = (unsigned int)__builtin_ctzll(left);
		if (search->open[place] == op)
			break;
	}
	return place; /* it is always found: an end follows its start */
}

/*
 * At its end the operation in @place must have taken effect: extend those configurations
 * where it has not, breadth first. Every step marks one more operation as done, so this
 * ends after as many steps as there are open ones.
 */
static enum outcome search_end(struct search *search, uint32_t op)
{
	unsigned int place = place_of(search, op), other;
	uint64_t bit = (uint64_t)1 << place, left;
	struct configs swap;
	struct config config, extended;
	size_t i;

	configs_clear(&search->next);
	for (i = 0; i < search->now.n; i++) {
		config = search->now.items[i];
		if (config.done & bit) {
			config.done &= ~bit;
			configs_add(&search->next, &config);
			continue;
		}
		for (left = search->used & ~config.done; left; left &= left - 1) {
			other = (unsigned int)__builtin_ctzll(left);
			if (!apply(search, &config, other, &extended))
				continue;
			/* Found at the end of this very list, later in the loop. */
			configs_add(&search->now, &extended);
		}
		if (search->now.n > CONFIGS_MAX)
			return TOO_MANY_CONFIGS;
	}
	if (search->now.n > search->largest)
		search->largest = search->now.n;
	search->used &= ~bit;
	swap = search->now;
	search->now = search->next;
	search->next = swap;
	return search->now.n ? LINEARIZABLE : NOT_LINEARIZABLE;
}

/* What is open, or cut off, in front of an event; without asking how it came to that. */
static void search_skip(struct search *search, const struct event *events, size_t to)
{
	unsigned int place;
	size_t i;

	for (i = 0; i < to; i++) {
		switch (events[i].kind) {
		case EVENT_START:
			/* More than fit do not happen: the search from the beginning came by here. */
			place = (unsigned int)__builtin_ctzll(~search->used);
			search->open[place] = events[i].op;
			search->used |= (uint64_t)1 << place;
			break;
		case EVENT_WILD_PUT:
			search->wild_puts++;
			break;
		case EVENT_WILD_DEL:
			search->wild_dels++;
			break;
		case EVENT_END:
			search->used &= ~((uint64_t)1 << place_of(search, events[i].op));
			break;
		}
	}
}

/* Every state with every choice of open operations that took effect already. */
static void search_begin(struct search *search, const uint64_t *states, size_t n_states)
{
	struct config config;
	uint64_t done;
	size_t i;

	for (i = 0; i < n_states; i++) {
		done = search->used;
		for (;;) {
			config = (struct config){ .state = states[i], .done = done };
			settle_reads(search, &config);
			configs_add(&search->now, &config);
			if (!done)
				break;
			done = (done - 1) & search->used;
		}
	}
}

#define STRADDLERS_MAX 8u

/*
 * search_run - walk over events
 * @from, @to: the first event and the one behind the last
 * @states: that the register may have in front of @from
 * @largest: raised to the largest set of configurations
 * @ret_at: the event at which it failed
 *
 * With @from above 0 nothing is known of what was before: any state in @states, and of the
 * operations that are open then any may have taken effect.
 */
static enum outcome search_run(const struct key_history *history, size_t from, size_t to,
			       const uint64_t *states, size_t n_states, size_t *largest,
			       size_t *ret_at)
{
	const struct event *events = history->events;
	struct search search = { .ops = history->ops };
	enum outcome outcome = LINEARIZABLE;
	size_t i;

	search_skip(&search, events, from);
	if (__builtin_popcountll(search.used) > (int)STRADDLERS_MAX)
		return TOO_MANY_OPEN;
	search_begin(&search, states, n_states);
	for (i = from; i < to && outcome == LINEARIZABLE; i++) {
		switch (events[i].kind) {
		case EVENT_START:
			if (search.used == UINT64_MAX)
				outcome = TOO_MANY_OPEN;
			else
				search_start(&search, events[i].op);
			break;
		case EVENT_WILD_PUT:
			search.wild_puts++;
			break;
		case EVENT_WILD_DEL:
			search.wild_dels++;
			break;
		case EVENT_END:
			outcome = search_end(&search, events[i].op);
			break;
		}
		*ret_at = i;
	}
	if (search.largest > *largest)
		*largest = search.largest;
	configs_free(&search.now);
	configs_free(&search.next);
	return outcome;
}

/* ---- one key --------------------------------------------------------------------- */

/* When a value was first known to be there: the earliest end of a get that returned it. */
struct seen {
	uint64_t value;
	uint64_t end_ns;
};

static int compare_seen(const void *a, const void *b)
{
	const struct seen *x = a, *y = b;

	if (x->value != y->value)
		return x->value < y->value ? -1 : 1;
	return x->end_ns < y->end_ns ? -1 : x->end_ns > y->end_ns;
}

static const struct seen *find_seen(const struct seen *seen, size_t n, uint64_t value)
{
	size_t low = 0, high = n, middle;

	while (low < high) {
		middle = low + (high - low) / 2;
		if (seen[middle].value < value)
			low = middle + 1;
		else
			high = middle;
	}
	return low < n && seen[low].value == value ? &seen[low] : NULL;
}

static int compare_events(const void *a, const void *b)
{
	const struct event *x = a, *y = b;

	if (x->at_ns != y->at_ns)
		return x->at_ns < y->at_ns ? -1 : 1;
	if ((x->kind == EVENT_END) != (y->kind == EVENT_END))
		return x->kind == EVENT_END ? 1 : -1;
	return x->op < y->op ? -1 : x->op > y->op;
}

static int compare_u64(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

static bool is_stored(const uint64_t *stored, size_t n, uint64_t value)
{
	return n && bsearch(&value, stored, n, sizeof(*stored), compare_u64);
}

static void add_event(struct key_history *history, uint64_t at_ns, enum event_kind kind, size_t op)
{
	history->events[history->n_events].at_ns = at_ns;
	history->events[history->n_events].kind = kind;
	history->events[history->n_events].op = (uint32_t)op;
	history->n_events++;
}

/* Reduce the records of one key to operations and events. */
static void key_history_init(struct key_history *history, const struct history_record *const *records,
			     size_t n)
{
	struct seen *seen = must(calloc(n + 1, sizeof(*seen)));
	const struct history_record *record;
	const struct seen *first;
	size_t i, n_seen = 0;
	struct op *op;

	memset(history, 0, sizeof(*history));
	history->ops = must(calloc(n + 1, sizeof(*history->ops)));
	history->events = must(calloc(2 * n + 1, sizeof(*history->events)));
	for (i = 0; i < n; i++)
		if (records[i]->op == HISTORY_GET && records[i]->end_ns != HISTORY_NEVER &&
		    records[i]->ret != ABSENT) {
			seen[n_seen].value = records[i]->ret;
			seen[n_seen++].end_ns = records[i]->end_ns;
		}
	qsort(seen, n_seen, sizeof(*seen), compare_seen);

	for (i = 0; i < n; i++) {
		record = records[i];
		op = &history->ops[history->n_ops];
		op->record = record;
		op->kind = (uint8_t)record->op;
		op->start_ns = record->start_ns;
		op->end_ns = record->end_ns;
		op->success = record->ret != 0;
		op->value = record->op == HISTORY_GET ? record->ret : record->arg;
		if (record->op == HISTORY_PUT || record->op == HISTORY_ADD) {
			first = find_seen(seen, n_seen, record->arg);
			if (!first) {
				op->value = ANY;
			} else if (record->end_ns == HISTORY_NEVER) {
				/* Read by somebody, so it has happened, and by then. */
				op->success = true;
				op->end_ns = first->end_ns > op->start_ns ? first->end_ns :
									    op->start_ns;
			}
		}
		if (op->end_ns == HISTORY_NEVER) {
			if (record->op == HISTORY_PUT || record->op == HISTORY_ADD)
				add_event(history, op->start_ns, EVENT_WILD_PUT, history->n_ops++);
			else if (record->op == HISTORY_DEL)
				add_event(history, op->start_ns, EVENT_WILD_DEL, history->n_ops++);
			continue; /* a get that gave no answer tells nothing */
		}
		add_event(history, op->start_ns, EVENT_START, history->n_ops);
		add_event(history, op->end_ns, EVENT_END, history->n_ops);
		history->n_ops++;
	}
	free(seen);
	qsort(history->events, history->n_events, sizeof(*history->events), compare_events);
}

static void key_history_deinit(struct key_history *history)
{
	free(history->ops);
	free(history->events);
}

/* ---- what to show ---------------------------------------------------------------- */

static const char *op_name(uint16_t op)
{
	static const char *const names[] = { "none", "get", "put", "del", "add" };

	return op < sizeof(names) / sizeof(names[0]) ? names[op] : "unknown";
}

static void print_record(const struct history_record *record, uint64_t origin_ns)
{
	printf("  client %5u  %12.3f us ", record->client,
	       (double)(int64_t)(record->start_ns - origin_ns) / 1e3);
	if (record->end_ns == HISTORY_NEVER)
		printf("..     cut off    ");
	else
		printf(".. %12.3f us ", (double)(int64_t)(record->end_ns - origin_ns) / 1e3);
	printf(" %s", op_name(record->op));
	if (record->op == HISTORY_PUT || record->op == HISTORY_ADD)
		printf(" %" PRIu64, record->arg);
	if (record->end_ns != HISTORY_NEVER) {
		if (record->op == HISTORY_GET && record->ret == ABSENT)
			printf(" -> absent");
		else if (record->op == HISTORY_GET)
			printf(" -> %" PRIu64, record->ret);
		else if (record->op == HISTORY_DEL)
			printf(" -> %s", record->ret ? "removed" : "not found");
		else if (record->op == HISTORY_ADD)
			printf(" -> %s", record->ret ? "added" : "exists");
	}
	putchar('\n');
}

#define WINDOW_TRIES 400u
#define WINDOW_SHOWN 40u

/* Is the operation open, or begun, between two events? */
static bool is_in_window(const struct key_history *history, const struct op *op, size_t from,
			 size_t to)
{
	return op->start_ns <= history->events[to].at_ns &&
	       (op->end_ns >= history->events[from].at_ns || from == 0);
}

/* The states that can matter in a window: those its gets returned, absent, and any other. */
static size_t window_states(const struct key_history *history, size_t from, size_t to,
			    uint64_t *states)
{
	const struct op *op;
	size_t i, n = 0;

	states[n++] = ABSENT;
	states[n++] = ANY;
	for (i = 0; i < history->n_ops; i++) {
		op = &history->ops[i];
		if (op->kind == HISTORY_GET && op->value != ABSENT &&
		    is_in_window(history, op, from, to))
			states[n++] = op->value;
	}
	return n;
}

/*
 * The smallest tail of the history up to the failure that is wrong whatever was before it.
 * Beginning later than that allows for more, so going back one start after the other finds it.
 */
static size_t find_window(const struct key_history *history, size_t fail_at)
{
	uint64_t *states = must(calloc(history->n_ops + 2, sizeof(*states)));
	size_t i, n, tries = 0, largest = 0, at, from = 0;

	for (i = fail_at; i > 0 && tries < WINDOW_TRIES && from == 0; i--) {
		if (history->events[i].kind != EVENT_START)
			continue;
		tries++;
		n = window_states(history, i, fail_at, states);
		if (search_run(history, i, fail_at + 1, states, n, &largest, &at) ==
		    NOT_LINEARIZABLE)
			from = i;
	}
	free(states);
	return from;
}

static void print_violation(const struct key_history *history, uint32_t key, size_t fail_at)
{
	const struct op *bad = &history->ops[history->events[fail_at].op];
	size_t from = find_window(history, fail_at), i, n = 0, skip;

	for (i = 0; i < history->n_ops; i++)
		n += is_in_window(history, &history->ops[i], from, fail_at);
	printf("key %" PRIu32 ": no order explains these %zu operations; the last line is where it "
	       "fails\n", key, n);
	skip = n > WINDOW_SHOWN ? n - WINDOW_SHOWN : 0;
	if (skip)
		printf("  (the first %zu are left out)\n", skip);
	for (i = 0; i < history->n_ops; i++) {
		if (&history->ops[i] == bad ||
		    !is_in_window(history, &history->ops[i], from, fail_at))
			continue;
		if (skip)
			skip--;
		else
			print_record(history->ops[i].record, history->events[from].at_ns);
	}
	print_record(bad->record, history->events[from].at_ns);
}

/* ---- checking -------------------------------------------------------------------- */

struct totals {
	size_t keys, bad_keys, cut_off, largest;
};

/* Values that appear from nowhere, or were stored twice, make the search meaningless. */
static bool values_make_sense(const struct history_record *const *records, size_t n, uint32_t key)
{
	uint64_t *stored = must(calloc(n + 1, sizeof(*stored)));
	size_t n_stored = 0, i;
	bool fine = true;

	for (i = 0; i < n; i++)
		if (records[i]->op == HISTORY_PUT || records[i]->op == HISTORY_ADD)
			stored[n_stored++] = records[i]->arg;
	qsort(stored, n_stored, sizeof(*stored), compare_u64);
	for (i = 0; i < n_stored && fine; i++)
		if (stored[i] == ABSENT || stored[i] == ANY || (i && stored[i] == stored[i - 1])) {
			printf("key %" PRIu32 ": the value %" PRIu64 " is stored twice, or reserved: "
			       "this is no history of unique values\n", key, stored[i]);
			fine = false;
		}
	for (i = 0; i < n && fine; i++)
		if (records[i]->op == HISTORY_GET && records[i]->end_ns != HISTORY_NEVER &&
		    records[i]->ret != ABSENT && !is_stored(stored, n_stored, records[i]->ret)) {
			printf("key %" PRIu32 ": a value that nobody stored was read\n", key);
			print_record(records[i], records[i]->start_ns);
			fine = false;
		}
	free(stored);
	return fine;
}

static bool check_key(const struct history_record *const *records, size_t n, struct totals *totals)
{
	static const uint64_t initial[] = { ABSENT };
	uint32_t key = records[0]->key;
	struct key_history history;
	enum outcome outcome;
	size_t at = 0, i;

	totals->keys++;
	for (i = 0; i < n; i++)
		totals->cut_off += records[i]->end_ns == HISTORY_NEVER;
	if (!values_make_sense(records, n, key)) {
		totals->bad_keys++;
		return true;
	}
	key_history_init(&history, records, n);
	outcome = search_run(&history, 0, history.n_events, initial, 1, &totals->largest, &at);
	if (outcome == NOT_LINEARIZABLE) {
		totals->bad_keys++;
		print_violation(&history, key, at);
	}
	key_history_deinit(&history);
	if (outcome == TOO_MANY_OPEN)
		fprintf(stderr, "shmkv-history-check: key %" PRIu32 " has more than %u operations at one "
				"time: record with fewer processes\n", key, OPEN_MAX);
	if (outcome == TOO_MANY_CONFIGS)
		fprintf(stderr, "shmkv-history-check: key %" PRIu32 " needs more than %u "
				"configurations: record with fewer processes\n", key, CONFIGS_MAX);
	return outcome == LINEARIZABLE || outcome == NOT_LINEARIZABLE;
}

static int compare_records(const void *a, const void *b)
{
	const struct history_record *x = *(const struct history_record *const *)a;
	const struct history_record *y = *(const struct history_record *const *)b;

	if (x->key != y->key)
		return x->key < y->key ? -1 : 1;
	return x->start_ns < y->start_ns ? -1 : x->start_ns > y->start_ns;
}

struct records {
	struct history_record *items;
	size_t n, cap;
};

static void records_reserve(struct records *records, size_t more)
{
	if (records->n + more <= records->cap)
		return;
	records->cap = (records->n + more) * 2;
	records->items = must(realloc(records->items, records->cap * sizeof(*records->items)));
}

static int check_all(const struct records *records)
{
	const struct history_record **sorted = must(calloc(records->n + 1, sizeof(*sorted)));
	struct totals totals = { 0 };
	size_t from, to;
	bool fine = true;

	for (from = 0; from < records->n; from++)
		sorted[from] = &records->items[from];
	qsort(sorted, records->n, sizeof(*sorted), compare_records);
	for (from = 0; from < records->n && fine; from = to) {
		for (to = from; to < records->n && sorted[to]->key == sorted[from]->key; to++)
			;
		fine = check_key(sorted + from, to - from, &totals);
	}
	free(sorted);
	if (!fine)
		return EXIT_USAGE;
	printf("%s: %zu operations on %zu keys, %zu cut off by a death, at most %zu configurations"
	       "; %zu keys are not linearizable\n", totals.bad_keys ? "FAIL" : "PASS", records->n,
	       totals.keys, totals.cut_off, totals.largest, totals.bad_keys);
	return totals.bad_keys ? EXIT_BAD : EXIT_GOOD;
}

/* ---- input ----------------------------------------------------------------------- */

static bool refuse_file(const char *path, const char *why)
{
	fprintf(stderr, "shmkv-history-check: %s: %s\n", path, why);
	return false;
}

static bool is_sound(const struct history_record *record)
{
	return record->op >= HISTORY_GET && record->op <= HISTORY_ADD &&
	       record->start_ns <= record->end_ns;
}

static bool load_file(const char *path, struct records *records)
{
	const struct history_record *items;
	struct stat st;
	size_t n, i;
	int fd;

	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0) {
		if (fd >= 0)
			close(fd);
		return refuse_file(path, strerror(errno));
	}
	if (st.st_size == 0) {
		close(fd); /* its process was killed before the first operation */
		return true;
	}
	n = (size_t)st.st_size / sizeof(*items);
	if ((size_t)st.st_size % sizeof(*items)) {
		close(fd);
		return refuse_file(path, "is not a whole number of 40-byte records");
	}
	items = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	close(fd);
	if (items == MAP_FAILED)
		return refuse_file(path, strerror(errno));
	records_reserve(records, n);
	for (i = 0; i < n && is_sound(&items[i]); i++)
		records->items[records->n++] = items[i];
	munmap((void *)(uintptr_t)items, (size_t)st.st_size);
	return i == n || refuse_file(path, "holds a record that no history has");
}

static bool load_directory(const char *directory, struct records *records)
{
	size_t suffix = strlen(HISTORY_SUFFIX), len, n = 0;
	struct dirent *entry;
	bool fine = true;
	char path[4096];
	DIR *dir;

	dir = opendir(directory);
	if (!dir)
		return refuse_file(directory, strerror(errno));
	while (fine && (entry = readdir(dir))) {
		len = strlen(entry->d_name);
		if (len <= suffix || strcmp(entry->d_name + len - suffix, HISTORY_SUFFIX) != 0)
			continue;
		if (snprintf(path, sizeof(path), "%s/%s", directory, entry->d_name) >=
		    (int)sizeof(path))
			fine = refuse_file(directory, "the path is too long");
		else
			fine = load_file(path, records);
		n++;
	}
	closedir(dir);
	if (fine && n == 0)
		return refuse_file(directory, "holds no history");
	return fine;
}

/* "START END OP KEY ARG RET CLIENT" a line; END may be "-" for never, # begins a comment. */
static bool parse_line(const char *line, struct history_record *ret)
{
	unsigned int client, key;
	char end[32], op[8];
	char *rest;

	memset(ret, 0, sizeof(*ret));
	if (sscanf(line, "%" SCNu64 " %31s %7s %u %" SCNu64 " %" SCNu64 " %u", &ret->start_ns, end, op,
		   &key, &ret->arg, &ret->ret, &client) != 7 || client > UINT16_MAX)
		return false;
	ret->key = key;
	ret->client = (uint16_t)client;
	for (ret->op = HISTORY_ADD; ret->op > HISTORY_NONE && strcmp(op, op_name(ret->op)) != 0;
	     ret->op--)
		;
	ret->end_ns = HISTORY_NEVER;
	if (strcmp(end, "-") != 0) {
		ret->end_ns = strtoull(end, &rest, 10);
		if (*rest)
			return false;
	}
	return is_sound(ret);
}

static bool load_text(const char *path, struct records *records)
{
	FILE *in = strcmp(path, "-") == 0 ? stdin : fopen(path, "re");
	struct history_record record;
	char line[256], why[64];
	unsigned int n = 0;
	bool fine = true;

	if (!in)
		return refuse_file(path, strerror(errno));
	while (fine && fgets(line, sizeof(line), in)) {
		n++;
		if (line[strspn(line, " \t\n")] == '\0' || line[0] == '#')
			continue;
		fine = parse_line(line, &record);
		if (!fine) {
			snprintf(why, sizeof(why), "line %u is not START END OP KEY ARG RET CLIENT", n);
			refuse_file(path, why);
			break;
		}
		records_reserve(records, 1);
		records->items[records->n++] = record;
	}
	if (in != stdin)
		fclose(in);
	return fine;
}

static void print_text(const struct records *records)
{
	const struct history_record *record;
	size_t i;

	for (i = 0; i < records->n; i++) {
		record = &records->items[i];
		printf("%" PRIu64 " ", record->start_ns);
		if (record->end_ns == HISTORY_NEVER)
			printf("-");
		else
			printf("%" PRIu64, record->end_ns);
		printf(" %s %" PRIu32 " %" PRIu64 " %" PRIu64 " %u\n", op_name(record->op), record->key,
		       record->arg, record->ret, record->client);
	}
}

static const char help_text[] =
	"Usage: shmkv-history-check DIR\n"
	"       shmkv-history-check --text FILE|-\n"
	"       shmkv-history-check --print DIR\n"
	"Check that the operations recorded by shmkv-stress --history are linearizable.\n"
	"\n"
	"  --text   read lines START END OP KEY ARG RET CLIENT; END - when it never ended\n"
	"  --print  write such lines and check nothing\n"
	"\n"
	"Exit status: 0 linearizable, 1 not, 2 wrong usage or unreadable.\n";

int main(int argc, char **argv)
{
	struct records records = { 0 };
	int status = EXIT_USAGE;

	if (argc == 2 && strcmp(argv[1], "--help") == 0) {
		fputs(help_text, stdout);
		return EXIT_GOOD;
	}
	if (argc == 3 && strcmp(argv[1], "--text") == 0) {
		if (load_text(argv[2], &records))
			status = check_all(&records);
	} else if (argc == 3 && strcmp(argv[1], "--print") == 0) {
		if (load_directory(argv[2], &records)) {
			print_text(&records);
			status = EXIT_GOOD;
		}
	} else if (argc == 2 && argv[1][0] != '-') {
		if (load_directory(argv[1], &records))
			status = check_all(&records);
	} else {
		fputs(help_text, stderr);
	}
	free(records.items);
	return status;
}
