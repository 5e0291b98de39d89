/* SPDX-License-Identifier: MIT */

/* runner-samples: tests that end in every way a test can end; shell/runner.sh looks how the
 * front ends report them. */

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "tests/test.h"

static void passes(void)
{
	CHECK(1 + 1 == 2);
	CHECK_EQ(-1, -1L);
	CHECK_MEM("abc", 3, "abcd", 3);
	CHECK_STR("abc", "abc");
}

static void fails_a_check(void)
{
	CHECK(1 + 1 == 3);
}

static void tells_minus_one_from_the_largest(void)
{
	CHECK_EQ(-1, UINT64_MAX);
}

static void finds_the_byte_that_differs(void)
{
	CHECK_MEM("abcd", 4, "abxd", 4);
}

static void compares_text(void)
{
	CHECK_STR("left", "right");
}

static void is_skipped(void)
{
	skv_test_skip("no moon tonight");
}

static void crashes(void)
{
	abort();
}

static void hangs_with_a_child(void)
{
	FILE *file;
	pid_t pid = fork();

	if (pid > 0) {
		file = fopen(getenv("SAMPLES_PID_FILE"), "w");
		CHECK(file);
		fprintf(file, "%d\n", (int)pid);
		fclose(file);
	}
	for (;;)
		pause();
}

static void fails_in_a_child(void)
{
	pid_t pid = fork();

	if (pid == 0)
		CHECK(!"the child");
	skv_test_wait_ok(pid);
}

static void wants_a_kill(void)
{
	pid_t pid = fork();

	if (pid == 0) {
		for (;;)
			pause();
	}
	kill(pid, SIGKILL);
	skv_test_wait_killed(pid, SIGKILL);
}

const struct skv_test skv_tests_samples[] = {
	{ "samples", "passes", passes, 10 },
	{ "samples", "fails a check", fails_a_check, 10 },
	{ "samples", "tells minus one from the largest", tells_minus_one_from_the_largest, 10 },
	{ "samples", "finds the byte that differs", finds_the_byte_that_differs, 10 },
	{ "samples", "compares text", compares_text, 10 },
	{ "samples", "is skipped", is_skipped, 10 },
	{ "samples", "crashes", crashes, 10 },
	{ "samples", "hangs with a child", hangs_with_a_child, 1 },
	{ "samples", "fails in a child", fails_in_a_child, 10 },
	{ "samples", "wants a kill", wants_a_kill, 10 },
	{ 0 },
};
