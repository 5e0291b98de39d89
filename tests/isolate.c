/* SPDX-License-Identifier: MIT */
#include "tests/isolate.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define TIMEOUT_DEFAULT_S 10u

/* Shared with the child and its children; the first who has something to say says it. */
struct note {
	int taken;
	char text[SKV_TEST_NOTE_LEN];
};

static struct note *note_page;

/* What the alarm handler needs. */
static volatile pid_t running_group;
static volatile sig_atomic_t timed_out;

static struct {
	bool active;
	pid_t pid;
	sigjmp_buf back;
} direct;

/* ---- notes -------------------------------------------------------------------------- */

static void note_prepare(void)
{
	if (!note_page) {
		note_page = mmap(NULL, sizeof(*note_page), PROT_READ | PROT_WRITE,
				 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
		if (note_page == MAP_FAILED) {
			perror("mmap");
			exit(1);
		}
	}
	memset(note_page, 0, sizeof(*note_page));
}

void skv_test_note_set(const char *text)
{
	size_t len = strcspn(text, "\n");

	if (!note_page || __atomic_exchange_n(&note_page->taken, 1, __ATOMIC_RELAXED))
		return;
	if (len >= sizeof(note_page->text))
		len = sizeof(note_page->text) - 1;
	memcpy(note_page->text, text, len);
}

static void note_get(char note[SKV_TEST_NOTE_LEN])
{
	memcpy(note, note_page->text, SKV_TEST_NOTE_LEN);
	note[SKV_TEST_NOTE_LEN - 1] = '\0';
}

/* ---- a process of its own ----------------------------------------------------------- */

/*
 * May run in any thread: the kill makes waitpid return. Siblings of the test's child that
 * left the group are beyond reach; tests have no reason to do that.
 */
static void on_alarm(int sig)
{
	(void)sig;
	timed_out = 1;
	if (running_group > 0)
		kill(-running_group, SIGKILL);
}

/* Somebody ends the runner: its current test goes with it. */
static void on_end(int sig)
{
	if (running_group > 0)
		kill(-running_group, SIGKILL);
	signal(sig, SIG_DFL);
	raise(sig);
}

/* SKV_TEST_TIME_SCALE multiplies every limit, for emulators, valgrind and full sweeps. */
static unsigned int limit_s(const struct skv_test *test)
{
	const char *scale = getenv("SKV_TEST_TIME_SCALE");
	unsigned int factor = scale ? (unsigned int)strtoul(scale, NULL, 10) : 1;

	return (test->timeout_s ? test->timeout_s : TIMEOUT_DEFAULT_S) * (factor ? factor : 1);
}

static void catch_signal(int sig, void (*fn)(int))
{
	struct sigaction action;

	memset(&action, 0, sizeof(action));
	action.sa_handler = fn;
	sigemptyset(&action.sa_mask);
	sigaction(sig, &action, NULL);
}

static _Noreturn void run_child(const struct skv_test *test, pid_t parent, bool leak_check)
{
	setpgid(0, 0);
	signal(SIGALRM, SIG_DFL);
	signal(SIGTERM, SIG_DFL);
	signal(SIGINT, SIG_DFL);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(1);

	test->fn();
	if (leak_check)
		exit(0);
	fflush(NULL);
	_exit(0);
}

enum skv_test_outcome skv_test_isolate(const struct skv_test *test, bool leak_check,
				       char note[SKV_TEST_NOTE_LEN])
{
	unsigned int timeout_s = limit_s(test);
	pid_t parent = getpid(), pid, r;
	int status;

	note_prepare();
	fflush(NULL);
	timed_out = 0;
	running_group = 0;
	catch_signal(SIGALRM, on_alarm);
	catch_signal(SIGTERM, on_end);
	catch_signal(SIGINT, on_end);

	pid = fork();
	if (pid < 0) {
		snprintf(note, SKV_TEST_NOTE_LEN, "fork: %s", strerror(errno));
		return SKV_TEST_FAILED;
	}
	if (pid == 0)
		run_child(test, parent, leak_check);

	/* Both sides set the group, so that it exists whoever comes first. */
	setpgid(pid, pid);
	running_group = pid;
	alarm(timeout_s);
	do {
		r = waitpid(pid, &status, 0);
	} while (r < 0 && errno == EINTR);
	alarm(0);

	/* Stragglers; the group's number cannot have been used again while one is left. */
	kill(-pid, SIGKILL);
	running_group = 0;

	if (r < 0) {
		snprintf(note, SKV_TEST_NOTE_LEN, "waitpid: %s", strerror(errno));
		return SKV_TEST_FAILED;
	}
	if (timed_out) {
		snprintf(note, SKV_TEST_NOTE_LEN, "not finished after %u seconds", timeout_s);
		return SKV_TEST_FAILED;
	}
	note_get(note);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0) {
		note[0] = '\0';
		return SKV_TEST_PASSED;
	}
	if (WIFEXITED(status) && WEXITSTATUS(status) == SKV_TEST_EXIT_SKIPPED)
		return SKV_TEST_SKIPPED;
	if (!note[0] && WIFEXITED(status))
		snprintf(note, SKV_TEST_NOTE_LEN, "exited with %d", WEXITSTATUS(status));
	else if (WIFSIGNALED(status))
		snprintf(note, SKV_TEST_NOTE_LEN, "ended by signal %d (%s)", WTERMSIG(status),
			 strsignal(WTERMSIG(status)));
	return SKV_TEST_FAILED;
}

/* ---- in this process ---------------------------------------------------------------- */

void skv_test_skip_direct(void)
{
	if (direct.active && direct.pid == getpid())
		siglongjmp(direct.back, 1);
}

enum skv_test_outcome skv_test_direct(const struct skv_test *test, char note[SKV_TEST_NOTE_LEN])
{
	note_prepare();
	note[0] = '\0';
	direct.active = true;
	direct.pid = getpid();
	if (sigsetjmp(direct.back, 1)) {
		direct.active = false;
		alarm(0);
		note_get(note);
		return SKV_TEST_SKIPPED;
	}
	/* No handler: SIGALRM ends the process, which a debugger can look at. */
	alarm(limit_s(test));
	test->fn();
	alarm(0);
	direct.active = false;
	return SKV_TEST_PASSED;
}
