/* SPDX-License-Identifier: MIT */
#include "stress/ledger.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

/* Reserve @bytes on a line of its own; where it begins. */
static size_t take(size_t *at, size_t bytes)
{
	size_t start = (*at + 63) & ~(size_t)63;

	*at = start + bytes;
	return start;
}

int ledger_init(struct ledger *ledger, const struct stress_options *opts)
{
	size_t head, processes, writers, owned, incr, cas, adds, dels, leases, at = 0;
	size_t threads = (size_t)opts->procs * opts->threads;
	const struct key_plan *plan = &ledger->plan;
	char *map;

	memset(ledger, 0, sizeof(*ledger));
	ledger->procs = opts->procs;
	ledger->threads = opts->threads;
	ledger->n_processes = opts->procs + 3;
	ledger->n_writers = (unsigned int)threads + 2;
	key_plan_init(&ledger->plan, opts->history ? KEY_COUNT_MIN : opts->keys,
		      (unsigned int)threads);

	head = take(&at, sizeof(*ledger->head));
	processes = take(&at, ledger->n_processes * sizeof(*ledger->processes));
	writers = take(&at, ledger->n_writers * sizeof(*ledger->writers));
	incr = take(&at, threads * plan->n[KEY_INCR] * sizeof(*ledger->incr_sums));
	cas = take(&at, threads * plan->n[KEY_CAS] * sizeof(*ledger->cas_sums));
	adds = take(&at, threads * plan->n[KEY_PRESENCE] * sizeof(*ledger->adds));
	dels = take(&at, threads * plan->n[KEY_PRESENCE] * sizeof(*ledger->dels));
	leases = take(&at, threads * plan->n[KEY_LEASE] * sizeof(*ledger->leases));
	owned = take(&at, plan->n[KEY_OWNED] * sizeof(*ledger->owned));

	map = mmap(NULL, at, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1,
		   0);
	if (map == MAP_FAILED)
		return -ENOMEM;
	ledger->map = map;
	ledger->map_bytes = at;
	/* Fresh pages are zero, which is the right start for every part. */
	ledger->head = (void *)(map + head);
	ledger->processes = (void *)(map + processes);
	ledger->writers = (void *)(map + writers);
	ledger->incr_sums = (void *)(map + incr);
	ledger->cas_sums = (void *)(map + cas);
	ledger->adds = (void *)(map + adds);
	ledger->dels = (void *)(map + dels);
	ledger->leases = (void *)(map + leases);
	ledger->owned = (void *)(map + owned);
	return 0;
}

void ledger_deinit(struct ledger *ledger)
{
	if (ledger->map)
		munmap(ledger->map, ledger->map_bytes);
	ledger->map = NULL;
}

void ledger_fail(struct ledger *ledger, unsigned int place, const char *format, ...)
{
	struct ledger_process *process = &ledger->processes[place];
	uint32_t none = 0;
	va_list args;

	if (!atomic_compare_exchange_strong(&process->failed, &none, 1))
		return;
	process->failed_nth = atomic_fetch_add(&ledger->head->n_failed, 1);
	va_start(args, format);
	vsnprintf(process->failure, sizeof(process->failure), format, args);
	va_end(args);
	atomic_store_explicit(&process->failed, 2, memory_order_release);
}

/* Where a thread keeps the tally that an intent is about. */
static int64_t tally_of(const struct ledger *ledger, unsigned int writer, enum intent_kind kind,
			uint64_t idx)
{
	const _Atomic int64_t *rows;
	uint64_t n;

	switch (kind) {
	case INTENT_PRESENCE_ADD:
		rows = ledger->adds;
		n = ledger->plan.n[KEY_PRESENCE];
		break;
	case INTENT_PRESENCE_DEL:
		rows = ledger->dels;
		n = ledger->plan.n[KEY_PRESENCE];
		break;
	case INTENT_INCR:
		rows = ledger->incr_sums;
		n = ledger->plan.n[KEY_INCR];
		break;
	default:
		rows = ledger->cas_sums;
		n = ledger->plan.n[KEY_CAS];
		break;
	}
	return atomic_load_explicit(&rows[writer * n + idx], memory_order_acquire);
}

unsigned int ledger_collect(struct ledger *ledger, unsigned int place, struct unsettled *ret)
{
	struct ledger_writer *writer;
	unsigned int n, i, found = 0;
	enum intent_kind kind;
	uint64_t idx;

	writer = ledger_writers_of(ledger, place, &n);
	for (i = 0; i < n; i++, writer++) {
		atomic_store_explicit(&writer->op_start_ns, 0, memory_order_relaxed);
		kind = atomic_load_explicit(&writer->intent, memory_order_acquire);
		if (kind == INTENT_NONE || kind == INTENT_OWNED)
			continue;
		idx = atomic_load_explicit(&writer->intent_idx, memory_order_relaxed);
		if (tally_of(ledger, place * ledger->threads + i, kind, idx) ==
		    atomic_load_explicit(&writer->intent_base, memory_order_relaxed)) {
			ret[found].kind = kind;
			ret[found].idx = idx;
			ret[found].amount = atomic_load_explicit(&writer->intent_amount,
								 memory_order_relaxed);
			found++;
		}
		intent_end(writer);
	}
	return found;
}
