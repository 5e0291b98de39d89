/* SPDX-License-Identifier: MIT */
#include "base/fork.h"

#include <errno.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <unistd.h>

#ifndef MADV_WIPEONFORK
#define MADV_WIPEONFORK 18
#endif

uint64_t *skv_fork_word;

/* In ordinary memory, so that a child goes on from its parent's number: never the same twice. */
static uint64_t last_serial;

int skv_fork_enter(uint64_t *ret_serial)
{
	uint64_t *page, *none = NULL;
	uint64_t serial, zero = 0;
	long size = sysconf(_SC_PAGESIZE);

	page = __atomic_load_n(&skv_fork_word, __ATOMIC_ACQUIRE);
	if (!page) {
		page = mmap(NULL, (size_t)size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			    -1, 0);
		if (page == MAP_FAILED)
			return -ENOMEM;
		if (madvise(page, (size_t)size, MADV_WIPEONFORK) < 0) {
			munmap(page, (size_t)size);
			return -EOPNOTSUPP;
		}
		if (!__atomic_compare_exchange_n(&skv_fork_word, &none, page, false,
						 __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)) {
			munmap(page, (size_t)size);
			page = none;
		}
	}

	serial = __atomic_load_n(page, __ATOMIC_RELAXED);
	if (serial == 0) {
		serial = __atomic_add_fetch(&last_serial, 1, __ATOMIC_RELAXED);
		if (!__atomic_compare_exchange_n(page, &zero, serial, false, __ATOMIC_RELAXED,
						 __ATOMIC_RELAXED))
			serial = zero;
	}
	*ret_serial = serial;
	return 0;
}
