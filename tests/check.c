/* SPDX-License-Identifier: MIT */
#include "tests/test.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/isolate.h"

/* One write, so that lines of several processes do not mix. */
static void say(const char *text)
{
	size_t len = strlen(text), done = 0;
	ssize_t n;

	while (done < len) {
		n = write(STDERR_FILENO, text + done, len - done);
		if (n < 0 && errno != EINTR)
			return;
		if (n > 0)
			done += (size_t)n;
	}
}

void skv_test_fail(const char *file, int line, const char *fmt, ...)
{
	char what[SKV_TEST_NOTE_LEN - 100], text[SKV_TEST_NOTE_LEN];
	va_list args;

	va_start(args, fmt);
	vsnprintf(what, sizeof(what), fmt, args);
	va_end(args);
	snprintf(text, sizeof(text), "%.80s:%d: %s\n", file, line, what);
	say(text);
	skv_test_note_set(text);
	/* Not exit: other threads still run, and a forked child has its parent's handlers. */
	_exit(1);
}

void skv_test_skip(const char *why)
{
	skv_test_note_set(why);
	skv_test_skip_direct();
	_exit(SKV_TEST_EXIT_SKIPPED);
}

/* ---- children ----------------------------------------------------------------------- */

void skv_test_wait(const char *file, int line, pid_t pid, int sig)
{
	int status;
	pid_t r;

	if (pid <= 0)
		skv_test_fail(file, line, "no child to wait for (pid %d): fork failed?", (int)pid);
	do {
		r = waitpid(pid, &status, 0);
	} while (r < 0 && errno == EINTR);
	if (r < 0)
		skv_test_fail(file, line, "waitpid(%d): %s", (int)pid, strerror(errno));
	if (WIFSIGNALED(status) && WTERMSIG(status) == sig)
		return;
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0 && sig == 0)
		return;
	if (WIFEXITED(status))
		skv_test_fail(file, line, "child %d exited with %d", (int)pid, WEXITSTATUS(status));
	skv_test_fail(file, line, "child %d was ended by signal %d (%s)", (int)pid,
		      WTERMSIG(status), strsignal(WTERMSIG(status)));
}

/* ---- surroundings ------------------------------------------------------------------- */

uint64_t skv_test_seed(void)
{
	const char *given = getenv("SKV_TEST_SEED");
	char text[64];
	uint64_t seed;
	char *end;

	if (given && *given) {
		errno = 0;
		seed = strtoull(given, &end, 0);
		if (errno || *end)
			skv_test_fail(__FILE__, __LINE__, "SKV_TEST_SEED=%s is no number", given);
	} else if (getrandom(&seed, sizeof(seed), 0) != (ssize_t)sizeof(seed)) {
		skv_test_fail(__FILE__, __LINE__, "getrandom: %s", strerror(errno));
	}
	snprintf(text, sizeof(text), "repeat with SKV_TEST_SEED=%" PRIu64 "\n", seed);
	say(text);
	return seed;
}

bool skv_test_is_slow(void)
{
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
	return true;
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || \
	__has_feature(memory_sanitizer)
	return true;
#endif
#endif
	/* Set by whoever runs the tests under valgrind or an emulator. */
	return getenv("SKV_TEST_SLOW") != NULL;
}

/* ---- comparisons -------------------------------------------------------------------- */

static const char *wide_text(skv_test_wide n, char buf[32])
{
	/* Only 64-bit numbers, signed or not, come here. */
	if (n < 0)
		snprintf(buf, 32, "%" PRId64, (int64_t)n);
	else
		snprintf(buf, 32, "%" PRIu64, (uint64_t)n);
	return buf;
}

void skv_test_check_eq(const char *file, int line, const char *a_text, skv_test_wide a,
		       const char *b_text, skv_test_wide b)
{
	char a_buf[32], b_buf[32];

	if (a == b)
		return;
	skv_test_fail(file, line, "%s is %s, but %s is %s", a_text, wide_text(a, a_buf), b_text,
		      wide_text(b, b_buf));
}

/* Up to eight bytes from @at on, in hex. */
static const char *bytes_text(const uint8_t *p, size_t len, size_t at, char buf[40])
{
	size_t i, n = 0;

	buf[0] = '\0';
	for (i = at; i < len && i < at + 8; i++)
		n += (size_t)snprintf(buf + n, 40 - n, "%02x ", p[i]);
	if (i < len)
		snprintf(buf + n, 40 - n, "...");
	return buf;
}

void skv_test_check_mem(const char *file, int line, const char *a_text, const void *a,
			size_t a_len, const char *b_text, const void *b, size_t b_len)
{
	const uint8_t *x = a, *y = b;
	char a_buf[40], b_buf[40];
	size_t i;

	for (i = 0; i < a_len && i < b_len && x[i] == y[i]; i++)
		;
	if (i == a_len && i == b_len)
		return;
	skv_test_fail(file, line, "%s (%zu bytes) and %s (%zu bytes) differ at byte %zu: %s/ %s",
		      a_text, a_len, b_text, b_len, i, bytes_text(x, a_len, i, a_buf),
		      bytes_text(y, b_len, i, b_buf));
}

void skv_test_check_str(const char *file, int line, const char *a_text, const char *a,
			const char *b_text, const char *b)
{
	if (a && b && strcmp(a, b) == 0)
		return;
	skv_test_fail(file, line, "%s is \"%s\", but %s is \"%s\"", a_text, a ? a : "(null)",
		      b_text, b ? b : "(null)");
}
