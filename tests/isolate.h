/* SPDX-License-Identifier: MIT */
#ifndef SKV_TESTS_ISOLATE_H
#define SKV_TESTS_ISOLATE_H

/*
 * isolate: runs one test in a process of its own and says how it ended.
 *
 * The child leads a process group; when its time is over the whole group is killed, and
 * what a test leaves running is killed after it in any case. Both front ends use this, so
 * a test behaves the same under either.
 */

#include "tests/test.h"

#define SKV_TEST_NOTE_LEN 1024u
#define SKV_TEST_EXIT_SKIPPED 77

enum skv_test_outcome {
	SKV_TEST_PASSED,
	SKV_TEST_FAILED,
	SKV_TEST_SKIPPED,
};

/*
 * skv_test_isolate - run a test in a child process
 * @leak_check: let the child run its exit handlers, where LeakSanitizer looks
 * @note: why it failed or was skipped, without a line end; empty when it passed
 */
enum skv_test_outcome skv_test_isolate(const struct skv_test *test, bool leak_check,
				       char note[SKV_TEST_NOTE_LEN]);

/*
 * skv_test_direct - run a test in this process, for debuggers and ThreadSanitizer
 *
 * A failed check ends the process.
 */
enum skv_test_outcome skv_test_direct(const struct skv_test *test, char note[SKV_TEST_NOTE_LEN]);

/* For check.c: leave a note for the runner; come back to skv_test_direct if it runs. */
void skv_test_note_set(const char *text);
void skv_test_skip_direct(void);

#endif
