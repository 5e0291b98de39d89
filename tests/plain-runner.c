/* SPDX-License-Identifier: MIT */

/*
 * plain-runner: runs one table of tests and reports in TAP. Needs nothing but libc, so it
 * works under every sanitizer, under valgrind and in an emulator. It also writes the
 * source of the Criterion front end for the same table.
 *
 * usage: test-XXX [--list | --criterion] [--no-fork] [PART-OF-A-NAME...]
 * exit status: 0 all passed or were skipped, 1 something failed, 2 usage
 */

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/isolate.h"

/* The table's name comes from the build. */
extern const struct skv_test SKV_TEST_TABLE[];

static bool is_selected(const struct skv_test *test, char **words, int n_words)
{
	char full[512];
	int i;

	snprintf(full, sizeof(full), "%s: %s", test->suite, test->name);
	for (i = 0; i < n_words; i++) {
		if (strstr(full, words[i]))
			return true;
	}
	return n_words == 0;
}

/* A sentence as an identifier: letters and digits stay, the rest becomes one underscore. */
static void print_identifier(const char *text)
{
	bool gap = false;

	for (; *text; text++) {
		if (isalnum((unsigned char)*text)) {
			if (gap)
				putchar('_');
			putchar(*text);
			gap = false;
		} else {
			gap = true;
		}
	}
}

/*
 * Criterion knows its tests at compile time; one Test for each row makes it count, filter
 * and name them like any other. Its time limit is only there for a runner that hangs.
 */
static void print_criterion(void)
{
	const struct skv_test *test;

	printf("/* Written by plain-runner.c --criterion. */\n"
	       "#include <criterion/criterion.h>\n"
	       "#include \"tests/criterion-case.h\"\n");
	for (test = SKV_TEST_TABLE; test->fn; test++) {
		printf("\nTest(");
		print_identifier(test->suite);
		printf(", ");
		print_identifier(test->name);
		printf(", .timeout = %u)\n{\n\tskv_criterion_case(%u);\n}\n",
		       (test->timeout_s ? test->timeout_s : 10) + 20,
		       (unsigned int)(test - SKV_TEST_TABLE));
	}
}

static int run(char **words, int n_words, bool no_fork)
{
	static char note[SKV_TEST_NOTE_LEN];
	enum skv_test_outcome outcome;
	const struct skv_test *test;
	int n = 0, n_selected = 0, n_failed = 0;

	for (test = SKV_TEST_TABLE; test->fn; test++)
		n_selected += is_selected(test, words, n_words);
	if (n_selected == 0) {
		fprintf(stderr, "no test has such a name; --list prints them all\n");
		return 1;
	}

	printf("1..%d\n", n_selected);
	for (test = SKV_TEST_TABLE; test->fn; test++) {
		if (!is_selected(test, words, n_words))
			continue;
		n++;
		fflush(stdout);
		outcome = no_fork ? skv_test_direct(test, note) :
				    skv_test_isolate(test, true, note);
		printf("%s %d - %s: %s", outcome == SKV_TEST_FAILED ? "not ok" : "ok", n,
		       test->suite, test->name);
		if (outcome == SKV_TEST_SKIPPED)
			printf(" # SKIP %s", note);
		printf("\n");
		if (outcome == SKV_TEST_FAILED) {
			printf("# %s\n", note);
			n_failed++;
		}
	}
	return n_failed ? 1 : 0;
}

int main(int argc, char **argv)
{
	const struct skv_test *test;
	bool list = false, criterion = false, no_fork = false;
	int i;

	for (i = 1; i < argc && argv[i][0] == '-'; i++) {
		if (strcmp(argv[i], "--list") == 0) {
			list = true;
		} else if (strcmp(argv[i], "--criterion") == 0) {
			criterion = true;
		} else if (strcmp(argv[i], "--no-fork") == 0) {
			no_fork = true;
		} else {
			fprintf(stderr,
				"usage: %s [--list | --criterion] [--no-fork] "
				"[PART-OF-A-NAME...]\n", argv[0]);
			return 2;
		}
	}

	if (criterion) {
		print_criterion();
		return 0;
	}
	if (list) {
		for (test = SKV_TEST_TABLE; test->fn; test++) {
			if (is_selected(test, argv + i, argc - i))
				printf("%s: %s\n", test->suite, test->name);
		}
		return 0;
	}
	return run(argv + i, argc - i, no_fork);
}
