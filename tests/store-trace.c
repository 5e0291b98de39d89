/* SPDX-License-Identifier: MIT */
#include "tests/store-trace.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>

struct store_trace *store_trace_new(uint64_t n_max)
{
	size_t bytes = sizeof(struct store_trace) + n_max * sizeof(struct store);
	struct store_trace *trace = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
					 MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (trace == MAP_FAILED)
		return NULL;
	trace->n_max = n_max;
	return trace;
}

struct store_trace *store_trace_free(struct store_trace *trace)
{
	if (trace)
		munmap(trace, sizeof(*trace) + trace->n_max * sizeof(struct store));
	return NULL;
}

#if defined(__x86_64__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)

#define PAGE 4096u
#define TRAP_FLAG 0x100

/* An instruction changes bytes at the address that faulted and behind it, at most so many
 * (a string instruction traps after each element). */
#define REACH 64u

static struct {
	struct store_trace *trace;
	uint8_t *base, *shadow;
	size_t len;
	size_t at;         /* of the store under way */
	uint64_t rip, last_rip;
	struct sigaction old_segv, old_trap;
} traced;

bool store_trace_works(void)
{
	return true;
}

static void note(size_t from, size_t to)
{
	struct store_trace *trace = traced.trace;
	struct store *store;
	size_t n;

	for (; from < to; from += n) {
		n = to - from < STORE_BYTES_MAX ? to - from : STORE_BYTES_MAX;
		if (trace->n == trace->n_max) {
			trace->overflow = true;
			return;
		}
		store = &trace->stores[trace->n++];
		store->off = (uint32_t)from;
		store->len = (uint8_t)n;
		store->more = from + n < to;
		memcpy(store->bytes, traced.base + from, n);
		memcpy(traced.shadow + from, traced.base + from, n);
	}
}

/* A store to the stretch: let it happen, and stop right behind it. */
static void on_fault(int sig, siginfo_t *info, void *arg)
{
	ucontext_t *context = arg;
	uint8_t *addr = info->si_addr;

	if (addr < traced.base || addr >= traced.base + traced.len) {
		sigaction(sig, &traced.old_segv, NULL);
		return; /* faults again, and is somebody else's */
	}
	traced.at = (size_t)(addr - traced.base);
	traced.rip = (uint64_t)context->uc_mcontext.gregs[REG_RIP];
	context->uc_mcontext.gregs[REG_EFL] |= TRAP_FLAG;
	if (mprotect(traced.base, traced.len, PROT_READ | PROT_WRITE) < 0)
		abort();
}

static void on_trap(int sig, siginfo_t *info, void *arg)
{
	ucontext_t *context = arg;
	size_t from = traced.at, to, end = traced.at + REACH;

	(void)sig;
	(void)info;
	context->uc_mcontext.gregs[REG_EFL] &= ~(greg_t)TRAP_FLAG;
	/* The page behind may be a hole of the file; only a store that crosses touches it. */
	if (end > (traced.at / PAGE + 1) * PAGE && traced.at % PAGE < PAGE - 32)
		end = (traced.at / PAGE + 1) * PAGE;
	if (end > traced.len)
		end = traced.len;
	while (from < end && traced.base[from] == traced.shadow[from])
		from++;
	for (to = end; to > from && traced.base[to - 1] == traced.shadow[to - 1]; to--)
		;
	/* The same instruction once more is an element of a string copy. */
	if (traced.trace->n > 0 && traced.rip == traced.last_rip &&
	    (uint64_t)context->uc_mcontext.gregs[REG_RIP] == traced.rip)
		traced.trace->stores[traced.trace->n - 1].more = true;
	traced.last_rip = traced.rip;
	if (from < to)
		note(from, to);
	if (mprotect(traced.base, traced.len, PROT_READ) < 0)
		abort();
}

bool store_trace_begin(struct store_trace *trace, void *base, size_t len)
{
	struct sigaction act = { .sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_NODEFER };

	traced.trace = trace;
	traced.base = base;
	traced.len = len;
	traced.last_rip = 0;
	traced.shadow = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (traced.shadow == MAP_FAILED)
		return false;
	memcpy(traced.shadow, base, len);
	sigfillset(&act.sa_mask);
	sigaction(SIGSEGV, &act, &traced.old_segv);
	act.sa_sigaction = on_trap;
	sigaction(SIGTRAP, &act, &traced.old_trap);
	return mprotect(base, len, PROT_READ) == 0;
}

void store_trace_end(void)
{
	sigaction(SIGSEGV, &traced.old_segv, NULL);
	sigaction(SIGTRAP, &traced.old_trap, NULL);
	mprotect(traced.base, traced.len, PROT_READ | PROT_WRITE);
	munmap(traced.shadow, traced.len);
	traced.shadow = NULL;
}

#else

bool store_trace_works(void)
{
	return false;
}

bool store_trace_begin(struct store_trace *trace, void *base, size_t len)
{
	(void)trace;
	(void)base;
	(void)len;
	return false;
}

void store_trace_end(void)
{
}

#endif
