/* SPDX-License-Identifier: MIT */
#ifndef SKV_TESTS_TEST_H
#define SKV_TESTS_TEST_H

/*
 * test: what every test file sees of the runner.
 *
 * A test is a plain function that returns when all is well. Each tests/test-XXX.c ends with
 * a table
 *
 *	const struct skv_test skv_tests_XXX[] = {
 *		{ "module", "what holds, as a sentence", function, 10 },
 *		{ 0 },
 *	};
 *
 * and two front ends run the same tables: plain-runner.c (any sanitizer, valgrind, TAP) and
 * criterion-runner.c. Each test runs in a process of its own and is killed with its whole
 * process group when its time is over.
 *
 * Checks work in forked children of a test too: the message goes to standard error and the
 * child exits with 1, which the parent must look at (skv_test_wait_ok does).
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct skv_test {
	const char *suite;
	const char *name;
	void (*fn)(void);
	unsigned timeout_s; /* seconds; 0 means 10 */
};

/* Say why and end this process as failed, or as skipped. */
_Noreturn void skv_test_fail(const char *file, int line, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
_Noreturn void skv_test_skip(const char *why);

/*
 * Wait for a forked child; the test fails unless it exited with 0. The second form wants
 * it killed by @sig.
 */
#define skv_test_wait_ok(pid) skv_test_wait(__FILE__, __LINE__, (pid), 0)
#define skv_test_wait_killed(pid, sig) skv_test_wait(__FILE__, __LINE__, (pid), (sig))
void skv_test_wait(const char *file, int line, pid_t pid, int sig);

/*
 * A number for random tests: SKV_TEST_SEED from the environment, or a fresh one. It is
 * printed to standard error, so that a failure can be repeated.
 */
uint64_t skv_test_seed(void);

/* Is this a build whose speed or memory says nothing (a sanitizer, valgrind)? */
bool skv_test_is_slow(void);

#define CHECK(expr)                                                                        \
	do {                                                                               \
		if (!(expr))                                                               \
			skv_test_fail(__FILE__, __LINE__, "does not hold: %s", #expr);     \
	} while (0)

/* Integers of any type, compared by value: -1 is not equal to UINT64_MAX. */
#define CHECK_EQ(a, b)                                                                     \
	skv_test_check_eq(__FILE__, __LINE__, #a, (skv_test_wide)(a), #b, (skv_test_wide)(b))

#define CHECK_MEM(a, alen, b, blen)                                                        \
	skv_test_check_mem(__FILE__, __LINE__, #a, (a), (alen), #b, (b), (blen))

#define CHECK_STR(a, b) skv_test_check_str(__FILE__, __LINE__, #a, (a), #b, (b))

/* What the macros call. Every 64-bit integer, signed or not, fits the wide one. */
__extension__ typedef __int128 skv_test_wide;

void skv_test_check_eq(const char *file, int line, const char *a_text, skv_test_wide a,
		       const char *b_text, skv_test_wide b);
void skv_test_check_mem(const char *file, int line, const char *a_text, const void *a,
			size_t a_len, const char *b_text, const void *b, size_t b_len);
void skv_test_check_str(const char *file, int line, const char *a_text, const char *a,
			const char *b_text, const char *b);

#endif
