/* SPDX-License-Identifier: MIT */

/*
 * demo: what shmkv is for, on real data, in about ten seconds.
 *
 * A producer and a second writer publish this machine's package database; two readers
 * attach read-only and verify every byte they read. The second writer is killed with
 * SIGKILL again and again in the middle of writing, and a new one goes on where it stopped.
 * At the end every process is compared with what it should have seen.
 *
 * usage: demo [DPKG-STATUS-FILE]
 * exit status: 0 if every check holds, 1 otherwise
 */

#include <shmkv/inspect.h>
#include <shmkv/shmkv.h>

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "demo/record.h"
#include "demo/roles.h"

#define MAX_BYTES ((uint64_t)64 << 20)
#define CALM_MS 2000
#define KILLS_MIN 10u
#define KILLS_MAX 100u
/* A processor shared with other programs may take a reader off for a while; a reader that
 * waited for a dead process would not come back at all. */
#define GAP_MAX_NS UINT64_C(1000000000)

/* Of what a tool prints. */
#define LINE_COLUMNS 92u

enum { PRODUCER, READER_0, READER_1, WRITER, N_PROCESSES };

static struct {
	char map[64];
	struct package_list list;
	struct stage *stage;
	pid_t pids[N_PROCESSES];
	unsigned int n_failed;
	unsigned int n_kills, n_inside, n_done, n_undone;
	uint64_t n_puts_of_the_dead;
} demo;

static volatile sig_atomic_t interrupted;

static void on_signal(int sig)
{
	(void)sig;
	interrupted = 1;
}

/* ---- telling ------------------------------------------------------------------------ */

static void title(const char *text)
{
	printf("\n%s\n", text);
	fflush(stdout);
}

__attribute__((format(printf, 1, 2))) static void tell(const char *fmt, ...)
{
	va_list args;

	printf("   ");
	va_start(args, fmt);
	vprintf(fmt, args);
	va_end(args);
	printf("\n");
	fflush(stdout);
}

__attribute__((format(printf, 2, 3))) static void check(bool holds, const char *fmt, ...)
{
	va_list args;

	printf("   %s ", holds ? "[ok]    " : "[FAILED]");
	va_start(args, fmt);
	vprintf(fmt, args);
	va_end(args);
	printf("\n");
	fflush(stdout);
	demo.n_failed += !holds;
}

/* One line that is written over, on a terminal only. */
__attribute__((format(printf, 1, 2))) static void progress(const char *fmt, ...)
{
	va_list args;

	if (!isatty(STDOUT_FILENO))
		return;
	printf("\r\033[K   ");
	va_start(args, fmt);
	vprintf(fmt, args);
	va_end(args);
	fflush(stdout);
}

static void progress_end(void)
{
	if (isatty(STDOUT_FILENO))
		printf("\r\033[K");
}

static void rest_ms(long ms)
{
	const struct timespec pause = { .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000 };

	nanosleep(&pause, NULL);
}

static uint64_t get_note(const uint64_t *word)
{
	return __atomic_load_n(word, __ATOMIC_SEQ_CST);
}

static uint64_t all_reads(void)
{
	return get_note(&demo.stage->readers[0].reads) + get_note(&demo.stage->readers[1].reads);
}

/* ---- processes ---------------------------------------------------------------------- */

static int start(unsigned int which)
{
	struct role role = { demo.map, &demo.list, demo.stage,
			     which == WRITER || which == READER_1 };
	pid_t parent = getpid(), pid;

	fflush(stdout);
	pid = fork();
	if (pid < 0)
		return -errno;
	if (pid == 0) {
		signal(SIGINT, SIG_IGN);
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() != parent)
			_exit(1);
		if (which == PRODUCER || which == WRITER)
			role_write(&role);
		role_read(&role);
	}
	demo.pids[which] = pid;
	return 0;
}

/* Waits for one process; true if it ended as @sig says (0: by itself, with success). */
static bool finish(unsigned int which, int sig)
{
	int status;
	pid_t r;

	do {
		r = waitpid(demo.pids[which], &status, 0);
	} while (r < 0 && errno == EINTR);
	demo.pids[which] = 0;
	if (r < 0)
		return false;
	if (sig)
		return WIFSIGNALED(status) && WTERMSIG(status) == sig;
	return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

/* Until the writer has found its place, or has given up. */
static bool wait_ready(unsigned int number)
{
	struct writer_notes *notes = &demo.stage->writers[number];
	int ms;

	for (ms = 0; ms < 10000 && !interrupted; ms++) {
		if (get_note(&notes->ready))
			return true;
		if (__atomic_load_n(&notes->error, __ATOMIC_SEQ_CST))
			return false;
		rest_ms(1);
	}
	return false;
}

/* ---- the story ---------------------------------------------------------------------- */

static int open_map(void)
{
	struct shmkv_options options = SHMKV_OPTIONS_INIT;
	struct shmkv *kv;
	int r;

	options.max_bytes = MAX_BYTES;
	r = shmkv_create(demo.map, &options, &kv);
	if (r < 0)
		return r;
	/* The map stays; the processes below attach to it by name. */
	shmkv_detach(kv);
	return 0;
}

/* Both writers at work, until every package is there. */
static bool publish(void)
{
	struct shmkv *kv;
	uint64_t count = 0;
	int r, ms;

	if (start(PRODUCER) < 0 || start(WRITER) < 0 || !wait_ready(0) || !wait_ready(1))
		return false;
	r = shmkv_attach(demo.map, SHMKV_READ_ONLY, &kv);
	for (ms = 0; r == 0 && ms < 30000 && !interrupted; ms += 10) {
		r = shmkv_count(kv, &count);
		if (count == demo.list.n_packages)
			break;
		rest_ms(10);
	}
	shmkv_detach(kv);
	return r == 0 && count == demo.list.n_packages;
}

static void run_calm(void)
{
	int ms;

	for (ms = 0; ms < CALM_MS && !interrupted; ms += 100) {
		rest_ms(100);
		progress("%" PRIu64 " reads verified", all_reads());
	}
	progress_end();
}

/*
 * The writer died inside shmkv_put of one package in one revision. Either that revision is
 * there, or the one before it; nothing else.
 */
static bool judge_last_write(const struct writer_notes *notes)
{
	const struct package *package = &demo.list.packages[get_note(&notes->package)];
	uint64_t wanted = get_note(&notes->revision), revision = 0;
	struct shmkv *kv;
	void *data;
	size_t len;
	int r;

	r = shmkv_attach(demo.map, SHMKV_READ_ONLY, &kv);
	if (r < 0)
		return false;
	r = shmkv_get_alloc(kv, package->key, strlen(package->key), &data, &len, NULL);
	if (r == 0) {
		r = record_verify(data, len, package, &revision);
		free(data);
	}
	shmkv_detach(kv);
	if (r < 0 || (revision != wanted && revision != wanted - 1))
		return false;
	demo.n_done += revision == wanted;
	demo.n_undone += revision != wanted;
	return true;
}

/* One death and one successor. */
static bool kill_writer(void)
{
	struct writer_notes *notes = &demo.stage->writers[1];
	bool right = true;

	kill(demo.pids[WRITER], SIGKILL);
	if (!finish(WRITER, SIGKILL))
		return false;
	demo.n_kills++;
	demo.n_puts_of_the_dead += get_note(&notes->puts);
	if (get_note(&notes->inside)) {
		demo.n_inside++;
		right = judge_last_write(notes);
	}

	memset(notes, 0, sizeof(*notes));
	return right && start(WRITER) == 0 && wait_ready(1);
}

static bool run_kills(void)
{
	bool right = true;

	__atomic_store_n(&demo.stage->phase, DEMO_KILLS, __ATOMIC_SEQ_CST);
	while (right && !interrupted && demo.n_kills < KILLS_MAX &&
	       (demo.n_kills < KILLS_MIN || demo.n_inside == 0)) {
		/* Never at the same place of the writer's round. */
		rest_ms(80 + (long)(demo.n_kills * 37 % 101));
		right = kill_writer();
		progress("killed %u writers, %u inside shmkv_put; %" PRIu64 " reads verified",
			 demo.n_kills, demo.n_inside, all_reads());
	}
	rest_ms(200);
	progress_end();
	return right;
}

static void tell_reader(unsigned int number)
{
	const struct reader_notes *notes = &demo.stage->readers[number];

	check(finish(number ? READER_1 : READER_0, 0) && notes->reads > 0 && notes->torn == 0 &&
		      notes->lost == 0 && notes->reverted == 0,
	      "reader %u: %" PRIu64 " reads, %" PRIu64 " torn, %" PRIu64 " lost, %" PRIu64
	      " gone back to an older revision",
	      number + 1, notes->reads, notes->torn, notes->lost, notes->reverted);
	check(notes->longest_gap_ns[DEMO_KILLS] < GAP_MAX_NS,
	      "reader %u: longest gap between reads %.1f ms in the calm, %.1f ms around kills",
	      number + 1, (double)notes->longest_gap_ns[DEMO_CALM] / 1e6,
	      (double)notes->longest_gap_ns[DEMO_KILLS] / 1e6);
	if (notes->error)
		tell("reader %u gave up: %s", number + 1, shmkv_strerror((int)notes->error));
}

static void tell_writer(unsigned int number)
{
	const struct writer_notes *notes = &demo.stage->writers[number];

	check(finish(number ? WRITER : PRODUCER, 0) && notes->puts > 0, "%s: %" PRIu64 " puts",
	      number ? "last new writer" : "producer", notes->puts);
	if (notes->error)
		tell("it gave up: %s", shmkv_strerror((int)notes->error));
}

static void stop_all(void)
{
	__atomic_store_n(&demo.stage->stop, 1, __ATOMIC_SEQ_CST);
	tell_reader(0);
	tell_reader(1);
	tell_writer(0);
	tell_writer(1);
}

/* ---- afterwards --------------------------------------------------------------------- */

static void print_violation(const char *violation, void *arg)
{
	(void)arg;
	tell("violation: %s", violation);
}

static void recover_and_audit(struct shmkv *kv)
{
	struct shmkv_recovery recovery = { .size = sizeof(recovery) };
	struct shmkv_audit audit = { .size = sizeof(audit) };
	struct shmkv_info info = { .size = sizeof(info) };
	int r;

	r = shmkv_recover(kv, &recovery);
	check(r == 0, "recovery: %s", r ? shmkv_strerror(r) : "done, while the map is open to all");
	r = shmkv_info(kv, &info);
	check(r == 0 && info.recoveries == demo.n_kills && info.processes_dead == 0,
	      "%" PRIu64 " dead processes recovered, most of them by whoever came next, %u left",
	      info.recoveries, info.processes_dead);
	if (r == 0 && recovery.blocks)
		tell("this last one gave back %" PRIu64 " records, %" PRIu64 " bytes",
		     recovery.blocks, recovery.bytes);

	r = shmkv_check(kv, print_violation, NULL, &audit);
	check(r == 0 && audit.violations == 0 && audit.keys == demo.list.n_packages,
	      "every invariant holds: %" PRIu64 " keys, %" PRIu64 " violations", audit.keys,
	      audit.violations);
	check(audit.leaked_bytes == 0 && audit.leaked_blocks == 0 && audit.leaked_leaves == 0 &&
		      audit.leaked_chunks == 0,
	      "leaked: %" PRIu64 " bytes", audit.leaked_bytes);
}

static const struct package *find_package(const void *key, size_t len)
{
	size_t low = 0, high = demo.list.n_packages, mid;
	int order;

	while (low < high) {
		mid = low + (high - low) / 2;
		order = strncmp(demo.list.packages[mid].key, key, len);
		if (order == 0 && demo.list.packages[mid].key[len] != '\0')
			order = 1;
		if (order == 0)
			return &demo.list.packages[mid];
		if (order < 0)
			low = mid + 1;
		else
			high = mid;
	}
	return NULL;
}

static void compare_everything(struct shmkv *kv)
{
	const struct package *package;
	struct shmkv_entry entry;
	struct shmkv_scan *scan;
	size_t n_right = 0, n_wrong = 0;
	uint64_t revision;
	int r;

	r = shmkv_scan_begin(kv, 0, &scan);
	if (r == 0) {
		while ((r = shmkv_scan_next(scan, &entry)) > 0) {
			package = find_package(entry.key, entry.key_len);
			if (package && record_verify(entry.value, entry.value_len, package,
						     &revision) == 0)
				n_right++;
			else
				n_wrong++;
		}
		shmkv_scan_end(scan);
	}
	check(r == 0 && n_wrong == 0 && n_right == demo.list.n_packages,
	      "a scan gives %zu of %zu packages, byte for byte", n_right, demo.list.n_packages);
}

/* As much of a line as fits, without half a character at the end. */
static void tell_line(char *line)
{
	size_t len = strcspn(line, "\n");

	if (len > LINE_COLUMNS) {
		len = LINE_COLUMNS;
		while (len > 0 && ((unsigned char)line[len] & 0xc0) == 0x80)
			len--;
	}
	tell("| %.*s", (int)len, line);
}

static bool is_wanted(const char *line, const char *const *wanted)
{
	for (; *wanted; wanted++) {
		if (strncmp(line, *wanted, strlen(*wanted)) == 0)
			return true;
	}
	return false;
}

/*
 * Runs one of our tools on the map and shows its first @n_first lines, and later ones that
 * begin with a word of @wanted. Returns how many lines there were, or -1 if it failed.
 */
static int show_tool(const char *tool, int n_first, const char *const *wanted)
{
	char path[PATH_MAX], command[PATH_MAX + 100], *line = NULL;
	size_t cap = 0;
	ssize_t len;
	FILE *pipe;
	int n = 0;

	/* Next to this program in the build directory. */
	len = readlink("/proc/self/exe", path, sizeof(path) - 1);
	while (len > 0 && path[len - 1] != '/')
		len--;
	snprintf(command, sizeof(command), "exec '%.*s../tools/'%s '%s'", len > 0 ? (int)len : 0,
		 path, tool, demo.map);
	pipe = popen(command, "re");
	if (!pipe)
		return -1;
	while (getline(&line, &cap, pipe) >= 0) {
		if (n++ < n_first || is_wanted(line, wanted))
			tell_line(line);
	}
	free(line);
	return pclose(pipe) == 0 ? n : -1;
}

static void show_from_a_shell(void)
{
	static const char *const nothing[] = { NULL };
	static const char *const totals[] = { "taken from", "keys", "inserts", "updates",
					      "leaf splits", "processes recovered", NULL };
	int n;

	n = show_tool("shmkv-dump", 7, nothing);
	if (n > 7)
		tell("| ... and %d more", n - 7);
	check(n == (int)demo.list.n_packages + 1, "shmkv-dump: a head line and %zu packages",
	      demo.list.n_packages);
	n = show_tool("shmkv info", 0, totals);
	check(n > 0, "shmkv info: %d lines, six of them above", n);
}

static void look_back(void)
{
	struct shmkv *kv;
	int r;

	r = shmkv_attach(demo.map, 0, &kv);
	check(r == 0, "attach once more: %s", shmkv_strerror(r));
	if (r < 0)
		return;
	recover_and_audit(kv);
	compare_everything(kv);
	shmkv_detach(kv);
}

static void clean_up(void)
{
	unsigned int i;
	struct shmkv *kv;
	int r;

	for (i = 0; i < N_PROCESSES; i++) {
		if (demo.pids[i] > 0) {
			kill(demo.pids[i], SIGKILL);
			finish(i, SIGKILL);
		}
	}
	r = shmkv_unlink(demo.map);
	check(r == 0, "the map is removed: %s", shmkv_strerror(r));
	r = shmkv_attach(demo.map, 0, &kv);
	check(r == -ENOENT, "attaching now answers %s", shmkv_errname(r));
}

static void run_story(void)
{
	bool went_on;

	title("2. A producer and a second writer publish them, each in a process of its own");
	check(publish(), "all %zu packages are in the map \"%s\"", demo.list.n_packages, demo.map);
	if (demo.n_failed || interrupted)
		return;

	title("3. Two readers attach read-only by name and compare all they read");
	if (start(READER_0) < 0 || start(READER_1) < 0) {
		check(false, "fork: %s", strerror(errno));
		return;
	}
	run_calm();
	check(all_reads() > 0, "%" PRIu64 " reads in %d seconds, both writers writing all the time",
	      all_reads(), CALM_MS / 1000);

	title("4. The second writer is killed with -9 in the middle of writing; a new one goes on");
	went_on = run_kills();
	check(went_on, "%u writers killed, %u of them inside shmkv_put", demo.n_kills,
	      demo.n_inside);
	check(demo.n_inside == demo.n_done + demo.n_undone && demo.n_inside > 0,
	      "of %u interrupted puts %u had happened entirely, %u not at all", demo.n_inside,
	      demo.n_done, demo.n_undone);
	tell("each new writer found its place in the map; the dead ones had made %" PRIu64 " puts",
	     demo.n_puts_of_the_dead);

	title("5. What the others saw of it");
	stop_all();
	if (demo.n_failed || interrupted)
		return;

	title("6. Recovery and audit");
	look_back();

	title("7. The map from a shell: shmkv-dump and shmkv info");
	show_from_a_shell();
}

int main(int argc, char **argv)
{
	const char *path = argc > 1 ? argv[1] : "/var/lib/dpkg/status";
	struct sigaction action = { .sa_handler = on_signal };
	int r;

	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	snprintf(demo.map, sizeof(demo.map), "demo-%d", (int)getpid());

	title("1. The records: this machine's package database");
	r = package_list_read(&demo.list, path);
	if (r < 0) {
		fprintf(stderr, "demo: %s: %s. Name another dpkg status file as the argument.\n",
			path, strerror(-r));
		return 1;
	}
	tell("%s: %zu packages, %.1f MB", path, demo.list.n_packages,
	     (double)demo.list.text_len / 1e6);

	demo.stage = mmap(NULL, sizeof(*demo.stage), PROT_READ | PROT_WRITE,
			  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (demo.stage == MAP_FAILED) {
		perror("demo: mmap");
		return 1;
	}
	r = open_map();
	if (r < 0) {
		fprintf(stderr, "demo: %s: %s\n", demo.map, shmkv_strerror(r));
		return 1;
	}

	run_story();

	title("8. Cleaning up");
	clean_up();
	package_list_free(&demo.list);
	if (interrupted)
		printf("\ninterrupted\n");
	else if (demo.n_failed)
		printf("\n%u checks FAILED\n", demo.n_failed);
	else
		printf("\nevery check holds\n");
	return interrupted || demo.n_failed;
}
