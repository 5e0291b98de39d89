/* SPDX-License-Identifier: MIT */
#include "tests/test.h"

#include "base/clock.h"
#include "base/fault.h"
#include "shm/region.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/*
 * test-region: segments as files. Everything that may die, lose privileges or change its
 * mounts happens in a forked child, whose CHECKs end it with a signal.
 */

#define MIB ((uint64_t)1 << 20)
#define NOBODY 65534

/* ---- helpers --------------------------------------------------------------------- */

static const char *fresh_name(char buf[64])
{
	static unsigned int count;

	snprintf(buf, 64, "region-%d-%u", (int)getpid(), count++);
	return buf;
}

static void path_in(char buf[512], const char *dir, const char *name)
{
	snprintf(buf, 512, "%s/shmkv.%s", dir, name);
}

static struct skv_geometry plan_of(uint64_t max_bytes)
{
	struct shmkv_options opts = { .size = sizeof(opts), .max_bytes = max_bytes };
	struct skv_geometry geo;

	CHECK_EQ(skv_geometry_plan(&opts, &geo), 0);
	return geo;
}

static int create(const char *name, uint64_t max_bytes, uint32_t mode, struct skv_region *ret)
{
	struct skv_geometry geo = plan_of(max_bytes);
	int r;

	r = skv_region_new(&geo, mode, ret);
	if (r < 0)
		return r;
	r = skv_region_publish(ret, name);
	if (r < 0)
		skv_region_detach(ret);
	return r;
}

/* Attach and detach again: only the answer counts. */
static int try_attach(const char *name, bool read_only)
{
	struct skv_region region;
	int r;

	r = skv_region_attach(name, read_only, &region);
	if (r == 0)
		skv_region_detach(&region);
	return r;
}

static int in_child(void (*fn)(void *arg), void *arg)
{
	int status;
	pid_t pid;

	fflush(NULL);
	pid = fork();
	CHECK(pid >= 0);
	if (pid == 0) {
		fn(arg);
		_exit(0);
	}
	CHECK_EQ(waitpid(pid, &status, 0), pid);
	return status;
}

static int count_name(const char *name, void *arg)
{
	struct {
		const char *name;
		int n;
	} *want = arg;

	if (strcmp(name, want->name) == 0)
		want->n++;
	return 0;
}

static int listed(const char *name)
{
	struct {
		const char *name;
		int n;
	} want = { name, 0 };

	CHECK_EQ(skv_region_list(count_name, &want), 0);
	return want.n;
}

/* A folder of our own: a tmpfs of @bytes that only this process and its children see. */
static bool enter_private_tmpfs(const char *dir, uint64_t bytes)
{
	char opts[64];

	snprintf(opts, sizeof(opts), "size=%llu", (unsigned long long)bytes);
	if (unshare(CLONE_NEWNS) < 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount("tmpfs", dir, "tmpfs", 0, opts) < 0)
		return false;
	CHECK_EQ(setenv("SHMKV_DIR", dir, 1), 0);
	return true;
}

#define SKIPPED 77

/* Runs @fn in a child with a private tmpfs as the folder, or skips the test. */
static void in_private_tmpfs(uint64_t bytes, void (*fn)(const char *dir))
{
	char dir[] = "/tmp/region-XXXXXX";
	int status;
	pid_t pid;

	CHECK(mkdtemp(dir));
	fflush(NULL);
	pid = fork();
	CHECK(pid >= 0);
	if (pid == 0) {
		if (!enter_private_tmpfs(dir, bytes))
			_exit(SKIPPED);
		fn(dir);
		_exit(0);
	}
	CHECK_EQ(waitpid(pid, &status, 0), pid);
	CHECK_EQ(rmdir(dir), 0);
	if (WIFEXITED(status) && WEXITSTATUS(status) == SKIPPED)
		skv_test_skip("mounting a tmpfs is not permitted here");
	CHECK_EQ(status, 0);
}

/* ---- plan ------------------------------------------------------------------------ */

static void plan_lays_tables_out_in_order_and_within_max_bytes(void)
{
	static const uint64_t sizes[] = {
		MIB, MIB + 1, MIB * 3 / 2, 2 * MIB, 5 * MIB, 16 * MIB - 1, 64 * MIB - 1, 64 * MIB,
		64 * MIB + 4095, 1000 * MIB + 7, 1024 * MIB * 32, SHMKV_SIZE_MAX,
	};

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		struct skv_geometry g = plan_of(sizes[i]);
		uint64_t dir_bytes = 16ull << (g.level_max + 1), dir_used, used;
		uint64_t offs[] = { g.process_off, g.context_off, g.class_off, g.dir_off,
				    g.cell_off,    g.bitmap_off,  g.summary_off };
		uint64_t ends[] = {
			g.process_off + g.n_processes * 64ull,
			g.context_off + (uint64_t)g.n_contexts * SKV_CONTEXT_BYTES,
			g.class_off + 64 * SKV_CLASSES_MAX,
			g.dir_off + dir_bytes,
			g.cell_off + g.n_chunks * 16ull,
			g.bitmap_off + g.n_chunks * 64ull,
			g.summary_off + g.n_chunks / 8,
		};

		CHECK_EQ(g.max_bytes, sizes[i]);
		CHECK_EQ(g.wait_off, SKV_PAGE);
		CHECK_EQ(g.process_off, 2 * SKV_PAGE);
		for (size_t t = 0; t < 7; t++) {
			CHECK_EQ(offs[t] % SKV_PAGE, 0);
			CHECK(ends[t] <= (t == 6 ? g.chunk_off : offs[t + 1]));
		}
		CHECK_EQ(g.chunk_off % (sizes[i] >= 64 * MIB ? 2 * MIB : SKV_CHUNK_BYTES), 0);
		CHECK_EQ(g.segment_bytes, g.chunk_off + g.n_chunks * (uint64_t)SKV_CHUNK_BYTES);
		CHECK(g.level_max <= SKV_DEPTH_MAX);
		CHECK((uint64_t)g.n_chunks * SKV_LEAVES_PER_CHUNK <= SKV_LEAF_NUMBER_MASK);

		/* All pages that can ever be used, counted another way than the code does. */
		dir_used = (uint64_t)g.n_chunks * 128;
		if (dir_used > dir_bytes)
			dir_used = dir_bytes;
		used = g.dir_off + dir_used + (g.n_chunks * 80ull) + g.n_chunks / 8 +
		       (uint64_t)g.n_chunks * SKV_CHUNK_BYTES;
		CHECK(used <= g.max_bytes);
		/* Rounding and what the last chunk did not fit into is all that is lost. */
		CHECK(g.max_bytes - used < 128 * 1024 + 4 * SKV_PAGE + 2 * SKV_CHUNK_BYTES);
	}
}

static void plan_refuses_what_is_out_of_range(void)
{
	static const struct shmkv_options bad[] = {
		{ .max_bytes = SHMKV_SIZE_MIN - 1 },
		{ .max_bytes = 1 },
		{ .max_bytes = SHMKV_SIZE_MAX + 1 },
		{ .max_bytes = UINT64_MAX },
		{ .mode = 01000 },
		{ .mode = 0x80000000u },
		{ .hash = 3 },
		{ .hash = UINT32_MAX },
		{ .max_processes = 4096 },
		{ .max_processes = UINT32_MAX },
		{ .max_threads = 4096 },
		{ .max_threads = UINT32_MAX },
		/* Two MiB of contexts do not fit one MiB. */
		{ .max_bytes = SHMKV_SIZE_MIN, .max_threads = 4095 },
	};
	struct skv_geometry geo;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		memset(&geo, 0xa5, sizeof(geo));
		CHECK_EQ(skv_geometry_plan(&bad[i], &geo), -EINVAL);
		for (size_t b = 0; b < sizeof(geo); b++)
			CHECK_EQ(((uint8_t *)&geo)[b], 0xa5);
	}
}

static void plan_clamps_defaults_and_keeps_requests(void)
{
	struct shmkv_options opts = { .max_bytes = SHMKV_SIZE_MIN };
	struct skv_geometry geo;

	CHECK_EQ(skv_geometry_plan(&opts, &geo), 0);
	CHECK_EQ(geo.hash_kind, SHMKV_HASH_SIPHASH13);
	CHECK_EQ(geo.n_processes, 128);
	CHECK(geo.n_contexts < 512 && geo.n_contexts >= 100);
	CHECK((uint64_t)geo.n_contexts * SKV_CONTEXT_BYTES + geo.n_processes * 64ull <=
	      SHMKV_SIZE_MIN / 8);

	opts.max_threads = 300;
	opts.max_processes = 4095;
	opts.hash = SHMKV_HASH_XXH3;
	CHECK_EQ(skv_geometry_plan(&opts, &geo), 0);
	CHECK_EQ(geo.n_contexts, 300);
	CHECK_EQ(geo.n_processes, 4095);
	CHECK_EQ(geo.hash_kind, SHMKV_HASH_XXH3);

	opts = (struct shmkv_options){ .max_threads = 1, .max_processes = 1 };
	CHECK_EQ(skv_geometry_plan(&opts, &geo), 0);
	CHECK_EQ(geo.max_bytes, 64 * MIB);
	CHECK_EQ(geo.n_contexts, 1);
	CHECK_EQ(geo.n_processes, 1);
}

static void plan_begins_with_leaves_for_the_capacity(void)
{
	static const uint64_t capacities[] = { 0, 1, 100, 1000, 100000, 1000000, UINT64_MAX };
	uint32_t last = 0;

	for (size_t i = 0; i < sizeof(capacities) / sizeof(capacities[0]); i++) {
		struct shmkv_options opts = { .max_bytes = 256 * MIB, .capacity = capacities[i] };
		struct skv_geometry geo;

		CHECK_EQ(skv_geometry_plan(&opts, &geo), 0);
		CHECK(geo.level_min >= last);
		CHECK(geo.level_min <= geo.level_max);
		CHECK((1ull << geo.level_min) <= geo.n_chunks);
		/* Either the keys have room or a quarter of the chunks is taken. */
		CHECK((capacities[i] >> geo.level_min) <= SKV_LEAF_SLOTS * 45 / 100 ||
		      (2ull << geo.level_min) > geo.n_chunks || geo.level_min == geo.level_max);
		if (geo.level_min > 0)
			CHECK((capacities[i] >> (geo.level_min - 1)) > SKV_LEAF_SLOTS * 45 / 100);
		last = geo.level_min;
	}
	CHECK(last > 0);
}

/* ---- creation and attaching ------------------------------------------------------ */

static void segment_appears_whole_under_its_name(void)
{
	struct skv_region region, other, reader;
	struct skv_geometry geo = plan_of(8 * MIB);
	const struct skv_superblock *sb;
	char name[64], path[512];
	struct stat st;

	fresh_name(name);
	path_in(path, "/dev/shm", name);
	CHECK_EQ(skv_region_new(&geo, 0640, &region), 0);
	CHECK_EQ(access(path, F_OK), -1);
	CHECK_EQ(try_attach(name, false), -ENOENT);
	CHECK_EQ(listed(name), 0);
	CHECK_EQ(skv_region_publish(&region, name), 0);
	CHECK_STR(region.name, name);
	CHECK_EQ(listed(name), 1);

	/* Sparse: the superblock, the futex words, the processes, one page of contexts and one of
	 * classes. */
	CHECK_EQ(stat(path, &st), 0);
	CHECK_EQ(st.st_size, geo.segment_bytes);
	CHECK_EQ(st.st_blocks * 512, 6 * SKV_PAGE);

	CHECK_EQ(skv_region_attach(name, false, &other), 0);
	CHECK_EQ(skv_region_attach(name, true, &reader), 0);
	CHECK(other.base != region.base && reader.base != other.base);
	CHECK_MEM(&other.geo, sizeof(geo), &geo, sizeof(geo));
	CHECK_MEM(&reader.geo, sizeof(geo), &geo, sizeof(geo));
	CHECK_EQ(other.hash_k0, region.hash_k0);
	CHECK_EQ(other.hash_k1, region.hash_k1);
	CHECK_EQ(other.block_secret, region.block_secret);
	CHECK(region.hash_k0 != region.hash_k1 && region.hash_k0 != region.block_secret);

	sb = skv_region_super(&reader);
	CHECK_EQ(sb->magic, SKV_MAGIC);
	CHECK_EQ(sb->contexts_ready, SKV_PAGE / SKV_CONTEXT_BYTES);
	CHECK_EQ(sb->chunks_ready, 0);
	CHECK(sb->created_ms <= skv_clock_boot_ms());
	CHECK(sb->created_ms + 60000 > skv_clock_boot_ms());
	CHECK(sb->boot_id[0] != 0 || sb->boot_id[1] != 0);

	/* One memory, three mappings. */
	skv_region_super(&region)->chunk_cursor = 77;
	CHECK_EQ(skv_region_super(&other)->chunk_cursor, 77);
	CHECK_EQ(sb->chunk_cursor, 77);

	skv_region_detach(&region);
	skv_region_detach(&region);
	skv_region_detach(&other);
	skv_region_detach(&reader);
	CHECK_EQ(try_attach(name, false), 0);
	CHECK_EQ(skv_region_unlink(name), 0);
	CHECK_EQ(try_attach(name, false), -ENOENT);
	CHECK_EQ(skv_region_unlink(name), -ENOENT);
}

static void taken_name_is_left_alone(void)
{
	struct skv_region first, second;
	struct skv_geometry geo = plan_of(MIB);
	char name[64];

	CHECK_EQ(create(fresh_name(name), MIB, 0600, &first), 0);
	CHECK_EQ(skv_region_new(&geo, 0600, &second), 0);
	CHECK_EQ(skv_region_publish(&second, name), -EEXIST);
	CHECK_EQ(skv_region_publish(&second, "bad/name"), -EINVAL);
	/* Still good for another name. */
	CHECK_EQ(skv_region_unlink(name), 0);
	CHECK_EQ(skv_region_publish(&second, name), 0);
	/* The first one goes on, in a world of its own. */
	skv_region_super(&first)->chunk_cursor = 5;
	CHECK_EQ(skv_region_super(&second)->chunk_cursor, 0);
	skv_region_detach(&first);
	skv_region_detach(&second);
	CHECK_EQ(skv_region_unlink(name), 0);
}

static void names_follow_the_rules(void)
{
	static const char *const bad[] = { "",     ".",      ".x",   "a/b",  "a b", "a\n",
					   "\xc3\xa4", "a:b", "../x", "a\\b", "*" };
	char longest[SHMKV_NAME_MAX + 2];
	struct skv_region region;
	struct skv_geometry geo = plan_of(MIB);

	CHECK_EQ(skv_region_new(&geo, 0600, &region), 0);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		CHECK_EQ(skv_region_publish(&region, bad[i]), -EINVAL);
		CHECK_EQ(try_attach(bad[i], true), -EINVAL);
		CHECK_EQ(skv_region_unlink(bad[i]), -EINVAL);
	}
	CHECK_EQ(try_attach(NULL, true), -EINVAL);
	memset(longest, 'r', sizeof(longest));
	longest[SHMKV_NAME_MAX + 1] = '\0';
	CHECK_EQ(skv_region_publish(&region, longest), -EINVAL);
	longest[SHMKV_NAME_MAX] = '\0';
	CHECK_EQ(skv_region_publish(&region, longest), 0);
	CHECK_EQ(try_attach(longest, true), 0);
	CHECK_EQ(skv_region_unlink(longest), 0);
	skv_region_detach(&region);
}

static void mode_is_exact_whatever_the_umask(void)
{
	static const uint32_t modes[] = { 0600, 0644, 0666, 0660, 0400, 0777 };
	mode_t old = umask(0777);
	struct skv_region region;
	char name[64], path[512];
	struct stat st;

	for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
		CHECK_EQ(create(fresh_name(name), MIB, modes[i], &region), 0);
		path_in(path, "/dev/shm", name);
		CHECK_EQ(stat(path, &st), 0);
		CHECK_EQ(st.st_mode & 07777, modes[i]);
		skv_region_detach(&region);
		CHECK_EQ(skv_region_unlink(name), 0);
	}
	umask(old);
}

static void one_of_many_creators_wins(void)
{
	char name[64];
	int gate[2], status, n_won = 0;
	pid_t pids[8];

	fresh_name(name);
	CHECK_EQ(pipe(gate), 0);
	for (int i = 0; i < 8; i++) {
		pids[i] = fork();
		CHECK(pids[i] >= 0);
		if (pids[i] == 0) {
			struct skv_region region;
			char c;
			int r;

			close(gate[1]);
			CHECK_EQ(read(gate[0], &c, 1), 0);
			r = create(name, MIB, 0600, &region);
			CHECK(r == 0 || r == -EEXIST);
			_exit(r == 0 ? 1 : 0);
		}
	}
	close(gate[0]);
	close(gate[1]);
	for (int i = 0; i < 8; i++) {
		CHECK_EQ(waitpid(pids[i], &status, 0), pids[i]);
		CHECK(WIFEXITED(status));
		n_won += WEXITSTATUS(status);
	}
	CHECK_EQ(n_won, 1);
	CHECK_EQ(try_attach(name, false), 0);
	CHECK_EQ(skv_region_unlink(name), 0);
}

#ifdef SKV_FAULT_POINTS

struct creation {
	const char *name;
	enum skv_fault_point point;
	struct skv_fault_plan *plan;
};

static void create_and_die(void *arg)
{
	struct creation *c = arg;
	struct skv_region region;

	skv_fault_arm(c->plan, c->point, 1, SKV_FAULT_KILL, NULL, NULL);
	create(c->name, MIB, 0600, &region);
}

static struct skv_fault_plan *new_plan(void)
{
	void *p = mmap(NULL, sizeof(struct skv_fault_plan), PROT_READ | PROT_WRITE,
		       MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	CHECK(p != MAP_FAILED);
	return p;
}

static void killed_creator_leaves_nothing_or_a_whole_segment(void)
{
	struct creation c = { .plan = new_plan() };
	char name[64];
	int n = 0;

	for (int p = SKV_FAULT_CREATE_OPENED; p <= SKV_FAULT_CREATE_PUBLISHED; p++) {
		int status;

		c.name = fresh_name(name);
		c.point = (enum skv_fault_point)p;
		status = in_child(create_and_die, &c);
		CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
		n++;
		CHECK_EQ(c.plan->fired, n);
		if (p < SKV_FAULT_CREATE_PUBLISHED) {
			CHECK_EQ(try_attach(name, false), -ENOENT);
			CHECK_EQ(listed(name), 0);
		} else {
			CHECK_EQ(try_attach(name, false), 0);
			CHECK_EQ(listed(name), 1);
			CHECK_EQ(skv_region_unlink(name), 0);
		}
	}
	CHECK_EQ(n, 7);
}

#endif

/* ---- foreign and damaged files ---------------------------------------------------- */

static void put_file(const char *path, const void *data, size_t len, off_t size)
{
	int fd = open(path, O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0600);

	CHECK(fd >= 0);
	CHECK_EQ(write(fd, data, len), len);
	CHECK_EQ(ftruncate(fd, size), 0);
	close(fd);
}

/* Neither attached, nor listed, nor removed, in bounded time. */
static void check_foreign(const char *name, const char *path)
{
	struct stat st;

	CHECK_EQ(try_attach(name, true), -EMEDIUMTYPE);
	CHECK_EQ(try_attach(name, false), -EMEDIUMTYPE);
	CHECK_EQ(skv_region_unlink(name), -EMEDIUMTYPE);
	CHECK_EQ(listed(name), 0);
	CHECK_EQ(lstat(path, &st), 0);
}

static void what_is_no_segment_is_left_alone(void)
{
	static const char text[] = "This is not a segment.\n";
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	uint64_t magic = SKV_MAGIC;
	char name[64], path[512], other[64];
	struct skv_region region;
	int fd;

	fresh_name(name);
	path_in(path, "/dev/shm", name);
	CHECK_EQ(try_attach(name, false), -ENOENT);

	put_file(path, "", 0, 0);
	check_foreign(name, path);
	put_file(path, text, sizeof(text), sizeof(text));
	check_foreign(name, path);
	put_file(path, text, sizeof(text), 1 << 20);
	check_foreign(name, path);
	/* The right first word, but too short for a superblock. */
	put_file(path, &magic, 8, SKV_PAGE - 1);
	check_foreign(name, path);
	/* One hole: what a creator without O_TMPFILE would leave under its final name. */
	put_file(path, "", 0, 1 << 20);
	check_foreign(name, path);
	CHECK_EQ(unlink(path), 0);

	CHECK_EQ(mkdir(path, 0700), 0);
	check_foreign(name, path);
	CHECK_EQ(rmdir(path), 0);

	CHECK_EQ(mkfifo(path, 0600), 0);
	check_foreign(name, path);
	CHECK_EQ(unlink(path), 0);

	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	CHECK(fd >= 0);
	memcpy(address.sun_path, path, strlen(path) + 1);
	CHECK_EQ(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	check_foreign(name, path);
	close(fd);
	CHECK_EQ(unlink(path), 0);

	/* Even a link to a good segment: it could be exchanged under us. */
	CHECK_EQ(create(fresh_name(other), MIB, 0600, &region), 0);
	skv_region_detach(&region);
	{
		char target[512];

		path_in(target, "/dev/shm", other);
		CHECK_EQ(symlink(target, path), 0);
	}
	check_foreign(name, path);
	CHECK_EQ(unlink(path), 0);
	CHECK_EQ(skv_region_unlink(other), 0);
}

static void every_field_of_the_header_is_checked(void)
{
#define FIELD(f, code) { #f, offsetof(struct skv_superblock, f),                                   \
		sizeof(((struct skv_superblock *)0)->f), code }
	static const struct {
		const char *name;
		size_t off, len;
		int code;
	} fields[] = {
		FIELD(magic, -EMEDIUMTYPE),
		FIELD(format_version, -EPROTONOSUPPORT),
		FIELD(geometry_mark, -EPROTONOSUPPORT),
		FIELD(segment_bytes, -EBADMSG),
		FIELD(max_bytes, -EBADMSG),
		FIELD(wait_off, -EBADMSG),
		FIELD(process_off, -EBADMSG),
		FIELD(context_off, -EBADMSG),
		FIELD(class_off, -EBADMSG),
		FIELD(dir_off, -EBADMSG),
		FIELD(cell_off, -EBADMSG),
		FIELD(bitmap_off, -EBADMSG),
		FIELD(summary_off, -EBADMSG),
		FIELD(chunk_off, -EBADMSG),
		FIELD(n_processes, -EBADMSG),
		FIELD(n_contexts, -EBADMSG),
		FIELD(n_chunks, -EBADMSG),
		FIELD(hash_kind, -EBADMSG),
		FIELD(evict, -EBADMSG),
		FIELD(policy_off, -EBADMSG),
		FIELD(level_min, -EBADMSG),
		FIELD(level_max, -EBADMSG),
		FIELD(huge_pages, -EBADMSG),
		FIELD(boot_id, -EBADMSG),
		FIELD(chunks_ready, -EBADMSG),
		FIELD(contexts_ready, -EBADMSG),
	};
#undef FIELD
	struct skv_region region;
	struct skv_superblock good;
	char name[64], path[512];
	int fd;

	CHECK_EQ(create(fresh_name(name), 4 * MIB, 0600, &region), 0);
	memcpy(&good, region.base, sizeof(good));
	skv_region_detach(&region);
	path_in(path, "/dev/shm", name);
	fd = open(path, O_RDWR | O_CLOEXEC);
	CHECK(fd >= 0);

	for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
		for (unsigned int bit = 0; bit < fields[i].len * 8; bit++) {
			struct skv_superblock bad = good;
			uint8_t *p = (uint8_t *)&bad + fields[i].off;
			int r;

			p[bit / 8] ^= (uint8_t)(1u << (bit % 8));
			CHECK_EQ(pwrite(fd, &bad, sizeof(bad), 0), sizeof(bad));
			r = try_attach(name, true);
			/* Some other value may be as good as the one that is there. */
			if (r == 0 && (strcmp(fields[i].name, "max_bytes") == 0 ||
				       strcmp(fields[i].name, "n_processes") == 0 ||
				       strcmp(fields[i].name, "n_contexts") == 0 ||
				       strcmp(fields[i].name, "level_min") == 0 ||
				       strcmp(fields[i].name, "hash_kind") == 0 ||
				       strcmp(fields[i].name, "chunks_ready") == 0 ||
				       strcmp(fields[i].name, "contexts_ready") == 0))
				continue;
			if (r != fields[i].code)
				fprintf(stderr, "%s, bit %u\n", fields[i].name, bit);
			CHECK_EQ(r, fields[i].code);
		}
		for (unsigned int fill = 0; fill < 2; fill++) {
			struct skv_superblock bad = good;

			memset((uint8_t *)&bad + fields[i].off, fill ? 0xff : 0, fields[i].len);
			if (memcmp(&bad, &good, sizeof(bad)) == 0)
				continue;
			/* No boot known: nothing to compare with. */
			if (strcmp(fields[i].name, "boot_id") == 0 && fill == 0)
				continue;
			CHECK_EQ(pwrite(fd, &bad, sizeof(bad), 0), sizeof(bad));
			CHECK_EQ(try_attach(name, false), fields[i].code);
		}
	}

	CHECK_EQ(pwrite(fd, &good, sizeof(good), 0), sizeof(good));
	CHECK_EQ(try_attach(name, false), 0);
	CHECK_EQ(ftruncate(fd, (off_t)good.segment_bytes - 1), 0);
	CHECK_EQ(try_attach(name, false), -EBADMSG);
	CHECK_EQ(ftruncate(fd, (off_t)good.segment_bytes + SKV_PAGE), 0);
	CHECK_EQ(try_attach(name, false), -EBADMSG);
	CHECK_EQ(ftruncate(fd, SKV_PAGE), 0);
	CHECK_EQ(try_attach(name, true), -EBADMSG);
	CHECK_EQ(ftruncate(fd, 100), 0);
	CHECK_EQ(try_attach(name, true), -EMEDIUMTYPE);
	CHECK_EQ(ftruncate(fd, (off_t)good.segment_bytes), 0);
	CHECK_EQ(pwrite(fd, &good, sizeof(good), 0), sizeof(good));
	close(fd);

	/* A segment of another version is foreign to attach, but ours to remove. */
	CHECK_EQ(skv_region_unlink(name), 0);
}

static void random_headers_never_crash(void)
{
	unsigned int seed = (unsigned int)skv_test_seed();
	struct skv_region region;
	struct skv_superblock good, bad;
	char name[64], path[512];
	int fd, n_good = 0;

	CHECK_EQ(create(fresh_name(name), 4 * MIB, 0600, &region), 0);
	memcpy(&good, region.base, sizeof(good));
	skv_region_detach(&region);
	path_in(path, "/dev/shm", name);
	fd = open(path, O_RDWR | O_CLOEXEC);
	CHECK(fd >= 0);
	for (int i = 0; i < 5000; i++) {
		bad = good;
		for (int k = rand_r(&seed) % 4; k >= 0; k--) {
			size_t at = 16 + 4 * ((size_t)rand_r(&seed) % 38);
			uint32_t v = (uint32_t)rand_r(&seed) >> (rand_r(&seed) % 32);

			memcpy((uint8_t *)&bad + at, &v, 4);
		}
		CHECK_EQ(pwrite(fd, &bad, sizeof(bad), 0), sizeof(bad));
		if (skv_region_attach(name, true, &region) == 0) {
			/* What is accepted lies inside the file. */
			CHECK_EQ(region.geo.segment_bytes, good.segment_bytes);
			CHECK(region.geo.chunk_off + region.geo.n_chunks * 16384ull <=
			      good.segment_bytes);
			skv_region_detach(&region);
			n_good++;
		}
	}
	CHECK(n_good < 5000);
	close(fd);
	CHECK_EQ(skv_region_unlink(name), 0);
}

/* ---- memory ---------------------------------------------------------------------- */

static uint64_t blocks_of(struct skv_region *region)
{
	struct stat st;

	CHECK_EQ(fstat(skv_region_fd(region), &st), 0);
	return (uint64_t)st.st_blocks * 512;
}

static void reserve_takes_whole_pages_once(void)
{
	struct skv_region region, reader;
	uint64_t before, off;
	char name[64];

	CHECK_EQ(create(fresh_name(name), 4 * MIB, 0600, &region), 0);
	off = region.geo.chunk_off;
	before = blocks_of(&region);
	CHECK_EQ(skv_region_reserve(&region, off + 100, 1), 0);
	CHECK_EQ(blocks_of(&region), before + SKV_PAGE);
	CHECK_EQ(skv_region_reserve(&region, off, SKV_PAGE), 0);
	CHECK_EQ(skv_region_reserve(&region, off, 0), 0);
	CHECK_EQ(blocks_of(&region), before + SKV_PAGE);
	CHECK_EQ(skv_region_reserve(&region, off + SKV_PAGE - 1, 2), 0);
	CHECK_EQ(blocks_of(&region), before + 2 * SKV_PAGE);
	CHECK_EQ(skv_region_reserve(&region, region.geo.segment_bytes - 1, 1), 0);
	CHECK_EQ(blocks_of(&region), before + 3 * SKV_PAGE);

	CHECK_EQ(skv_region_reserve(&region, region.geo.segment_bytes, 1), -EIO);
	CHECK_EQ(skv_region_reserve(&region, UINT64_MAX, 2), -EIO);
	CHECK_EQ(skv_region_reserve(&region, off, UINT64_MAX), -EIO);
	CHECK_EQ(skv_region_attach(name, true, &reader), 0);
	CHECK_EQ(skv_region_reserve(&reader, off, 1), -EIO);
	CHECK_EQ(blocks_of(&region), before + 3 * SKV_PAGE);
	skv_region_detach(&reader);
	skv_region_detach(&region);
	CHECK_EQ(skv_region_unlink(name), 0);
}

static void fill_tiny_tmpfs(const char *dir)
{
	struct skv_region region, second;
	struct skv_geometry geo = plan_of(16 * MIB);
	uint64_t off, last;
	char path[512];
	int r;

	CHECK_EQ(create("tiny", 16 * MIB, 0600, &region), 0);
	/* The map may grow to 16 MiB, the file system holds one. */
	for (off = geo.chunk_off;; off += SKV_CHUNK_BYTES) {
		CHECK(off < geo.segment_bytes);
		r = skv_region_reserve(&region, off, SKV_CHUNK_BYTES);
		if (r < 0)
			break;
		memset(region.base + off, 0x5a, SKV_CHUNK_BYTES);
	}
	CHECK_EQ(r, -ENOSPC);
	CHECK(off > geo.chunk_off);
	CHECK_EQ(skv_region_reserve(&region, geo.cell_off, 1), -ENOSPC);
	/* What was reserved before stays good, to the last byte. */
	last = off - SKV_CHUNK_BYTES;
	CHECK_EQ(region.base[last + SKV_CHUNK_BYTES - 1], 0x5a);
	memset(region.base + last, 0, SKV_CHUNK_BYTES);
	CHECK_EQ(skv_region_reserve(&region, last, SKV_CHUNK_BYTES), 0);
	CHECK_EQ(try_attach("tiny", false), 0);
	CHECK_EQ(try_attach("tiny", true), 0);

	/* Another map does not even get its tables, and leaves nothing. */
	CHECK_EQ(skv_region_new(&geo, 0600, &second), -ENOSPC);
	CHECK_EQ(listed("tiny"), 1);
	skv_region_detach(&region);
	CHECK_EQ(skv_region_unlink("tiny"), 0);
	path_in(path, dir, "tiny");
	CHECK_EQ(access(path, F_OK), -1);

	/* All memory came back. */
	CHECK_EQ(create("tiny", 16 * MIB, 0600, &region), 0);
	CHECK_EQ(skv_region_reserve(&region, geo.chunk_off, last - geo.chunk_off), 0);
	skv_region_detach(&region);
}

static void full_tmpfs_is_an_error_and_no_signal(void)
{
	in_private_tmpfs(MIB, fill_tiny_tmpfs);
}

static void create_on_hopeless_tmpfs(const char *dir)
{
	struct skv_region region;
	struct skv_geometry geo = plan_of(MIB);

	(void)dir;
	CHECK_EQ(skv_region_new(&geo, 0600, &region), -ENOSPC);
	CHECK_EQ(skv_region_new(&geo, 0600, &region), -ENOSPC);
}

static void tmpfs_too_small_for_the_tables_is_an_error(void)
{
	in_private_tmpfs(8192, create_on_hopeless_tmpfs);
}

static void limited(void *arg)
{
	struct rlimit none = { 0, 0 };
	struct skv_region region;
	struct skv_geometry geo = plan_of(MIB);
	char *name = arg;
	int fd;

	CHECK_EQ(setrlimit(RLIMIT_FSIZE, &none), 0);
	CHECK_EQ(skv_region_new(&geo, 0600, &region), -EOPNOTSUPP);

	/* One descriptor is not enough for either, none for anything. */
	fd = dup(0);
	CHECK(fd >= 0);
	close(fd);
	none.rlim_cur = none.rlim_max = (rlim_t)fd + 1;
	CHECK_EQ(setrlimit(RLIMIT_NOFILE, &none), 0);
	CHECK_EQ(skv_region_new(&geo, 0600, &region), -EMFILE);
	CHECK_EQ(try_attach(name, false), -EMFILE);
	CHECK_EQ(try_attach(name, true), 0);
	none.rlim_cur = none.rlim_max = (rlim_t)fd;
	CHECK_EQ(setrlimit(RLIMIT_NOFILE, &none), 0);
	CHECK_EQ(skv_region_new(&geo, 0600, &region), -EMFILE);
	CHECK_EQ(try_attach(name, true), -EMFILE);
	CHECK_EQ(skv_region_list(count_name, NULL), -EMFILE);
}

static void limited_address_space(void *arg)
{
	struct rlimit little = { 1 << 20, 1 << 20 };
	char *name = arg;

	CHECK_EQ(setrlimit(RLIMIT_AS, &little), 0);
	CHECK_EQ(try_attach(name, true), -ENOMEM);
}

static void limits_of_the_process_are_errors_and_no_signals(void)
{
	struct skv_region region;
	char name[64];

	CHECK_EQ(create(fresh_name(name), 4 * MIB, 0600, &region), 0);
	skv_region_detach(&region);
	CHECK_EQ(in_child(limited, name), 0);
	CHECK_EQ(in_child(limited_address_space, name), 0);
	CHECK_EQ(skv_region_unlink(name), 0);
}

/* ---- without /proc --------------------------------------------------------------- */

static int count_temporaries(const char *dir)
{
	char command[600];
	FILE *f;
	int n = -1;

	snprintf(command, sizeof(command), "ls -A %s | grep -c '^[.]shmkv-tmp[.]'", dir);
	f = popen(command, "r");
	CHECK(f);
	CHECK_EQ(fscanf(f, "%d", &n), 1);
	pclose(f);
	return n;
}

static void die_unpublished(void *arg)
{
	struct skv_region region;

	CHECK_EQ(skv_region_new(arg, 0600, &region), 0);
	raise(SIGKILL);
}

static void create_without_proc(const char *dir)
{
	struct skv_region first, second;
	struct skv_geometry geo = plan_of(MIB);
	int status;

	CHECK_EQ(mount("tmpfs", "/proc", "tmpfs", 0, "size=4096"), 0);

	CHECK_EQ(skv_region_new(&geo, 0600, &first), 0);
	CHECK_EQ(count_temporaries(dir), 1);
	CHECK_EQ(listed("np"), 0);
	CHECK_EQ(skv_region_publish(&first, "np"), 0);
	CHECK_EQ(count_temporaries(dir), 0);
	CHECK_EQ(listed("np"), 1);
	CHECK_EQ(try_attach("np", false), 0);
	CHECK_EQ(try_attach("np", true), 0);

	/* A taken name; what was not published goes with its creator. */
	CHECK_EQ(skv_region_new(&geo, 0600, &second), 0);
	CHECK_EQ(skv_region_publish(&second, "np"), -EEXIST);
	CHECK_EQ(count_temporaries(dir), 1);
	skv_region_detach(&second);
	CHECK_EQ(count_temporaries(dir), 0);

	/* A killed creator's file is removed by the next one, a living creator's is not. */
	CHECK_EQ(skv_region_new(&geo, 0600, &second), 0);
	status = in_child(die_unpublished, &geo);
	CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	CHECK_EQ(count_temporaries(dir), 2);
	skv_region_detach(&first);
	CHECK_EQ(skv_region_new(&geo, 0600, &first), 0);
	CHECK_EQ(count_temporaries(dir), 2);
	skv_region_detach(&first);
	CHECK_EQ(skv_region_publish(&second, "np2"), 0);
	CHECK_EQ(try_attach("np2", false), 0);
	CHECK_EQ(count_temporaries(dir), 0);
	skv_region_detach(&second);
	CHECK_EQ(skv_region_unlink("np"), 0);
	CHECK_EQ(skv_region_unlink("np2"), 0);
}

static void creation_works_without_proc(void)
{
	in_private_tmpfs(8 * MIB, create_without_proc);
}

/* ---- permissions ----------------------------------------------------------------- */

static void as_nobody(void *arg)
{
	char *name = arg, other[80];
	struct skv_region region;

	CHECK_EQ(setgid(NOBODY), 0);
	CHECK_EQ(setuid(NOBODY), 0);
	CHECK_EQ(skv_region_attach(name, true, &region), 0);
	CHECK_EQ(skv_region_super(&region)->magic, SKV_MAGIC);
	CHECK(skv_region_fd(&region) >= 0);
	skv_region_detach(&region);
	CHECK_EQ(try_attach(name, false), -EACCES);
	CHECK_EQ(skv_region_unlink(name), -EACCES);
	CHECK_EQ(listed(name), 1);

	snprintf(other, sizeof(other), "%s-secret", name);
	CHECK_EQ(try_attach(other, true), -EACCES);
	CHECK_EQ(skv_region_unlink(other), -EACCES);
	CHECK_EQ(listed(other), 1);

	/* And on its own, all the way. */
	snprintf(other, sizeof(other), "%s-nobody", name);
	CHECK_EQ(create(other, MIB, 0600, &region), 0);
	CHECK_EQ(try_attach(other, false), 0);
	skv_region_detach(&region);
	CHECK_EQ(skv_region_unlink(other), 0);
}

static void other_users_have_what_the_mode_gives(void)
{
	struct skv_region region, secret;
	char name[64], other[80];

	if (getuid() != 0)
		skv_test_skip("only root can become another user");
	CHECK_EQ(create(fresh_name(name), MIB, 0644, &region), 0);
	snprintf(other, sizeof(other), "%s-secret", name);
	CHECK_EQ(create(other, MIB, 0600, &secret), 0);
	CHECK_EQ(in_child(as_nobody, name), 0);
	skv_region_detach(&region);
	skv_region_detach(&secret);
	CHECK_EQ(skv_region_unlink(name), 0);
	CHECK_EQ(skv_region_unlink(other), 0);
}

/* ---- the folder ------------------------------------------------------------------ */

static int stop_at_first(const char *name, void *arg)
{
	(void)name;
	++*(int *)arg;
	return 42;
}

static void list_in(const char *dir)
{
	static const char *const foreign[] = { "sem.x", "shmkv", "shmkv.", "shmkv..hidden",
					       "shmkv.with space", "xshmkv.y", ".shmkv-tmp.0" };
	struct skv_region region;
	char path[512];
	int n = 0;

	for (size_t i = 0; i < sizeof(foreign) / sizeof(foreign[0]); i++) {
		uint64_t page[SKV_PAGE / 8] = { SKV_MAGIC };

		snprintf(path, sizeof(path), "%s/%s", dir, foreign[i]);
		put_file(path, page, sizeof(page), MIB);
	}
	CHECK_EQ(skv_region_list(stop_at_first, &n), 0);
	CHECK_EQ(n, 0);

	CHECK_EQ(create("a", MIB, 0600, &region), 0);
	skv_region_detach(&region);
	CHECK_EQ(create("B-2._x", MIB, 0600, &region), 0);
	skv_region_detach(&region);
	CHECK_EQ(listed("a"), 1);
	CHECK_EQ(listed("B-2._x"), 1);
	CHECK_EQ(listed(".hidden"), 0);
	CHECK_EQ(skv_region_list(stop_at_first, &n), 42);
	CHECK_EQ(n, 1);
	CHECK_EQ(skv_region_unlink("a"), 0);
	CHECK_EQ(listed("a"), 0);

	/* A folder that is not there has no segments to list and takes none. */
	CHECK_EQ(setenv("SHMKV_DIR", "/nonexistent", 1), 0);
	CHECK_EQ(skv_region_list(stop_at_first, &n), -EIO);
	CHECK_EQ(create("a", MIB, 0600, &region), -EOPNOTSUPP);
	CHECK_EQ(try_attach("a", true), -ENOENT);
	/* A relative one does not count: it would change its meaning with chdir. */
	CHECK_EQ(setenv("SHMKV_DIR", "relative", 1), 0);
	CHECK_EQ(listed("a"), 0);
}

static void list_names_segments_and_nothing_else(void)
{
	in_private_tmpfs(8 * MIB, list_in);
}

/* ---- descriptors and fork -------------------------------------------------------- */

static void lost_descriptor_is_replaced_and_never_mistaken(void)
{
	struct skv_region region;
	char name[64], path[512];
	int fd, fresh, other;

	CHECK_EQ(create(fresh_name(name), MIB, 0600, &region), 0);
	path_in(path, "/dev/shm", name);
	/* As after peer_join. */
	close(region.map_fd);
	region.map_fd = -1;

	fd = skv_region_fd(&region);
	CHECK(fd >= 0);
	CHECK_EQ(skv_region_fd(&region), fd);
	close(fd);
	fresh = skv_region_fd(&region);
	CHECK(fresh >= 0);

	/* The number taken by another file: neither used nor closed. */
	other = open("/dev/null", O_RDWR | O_CLOEXEC);
	CHECK(other >= 0);
	CHECK_EQ(dup2(other, fresh), fresh);
	fd = skv_region_fd(&region);
	CHECK(fd >= 0 && fd != fresh);
	CHECK_EQ(fcntl(fresh, F_GETFD) >= 0, 1);
	close(fresh);

	/* Taken by a description of our file that might hold locks: the same. */
	fresh = open(path, O_RDWR | O_CLOEXEC);
	CHECK(fresh >= 0);
	CHECK_EQ(dup2(fresh, fd), fd);
	other = skv_region_fd(&region);
	CHECK(other >= 0 && other != fd && other != fresh);

	/* Lost together with the name: out of reach, and said so. Detach closes nothing. */
	CHECK_EQ(skv_region_unlink(name), 0);
	CHECK_EQ(dup2(fresh, other), other);
	CHECK_EQ(skv_region_fd(&region), -EBADF);
	skv_region_detach(&region);
	CHECK(fcntl(other, F_GETFD) >= 0);
	close(other);
	close(fresh);
	close(fd);
}

struct fork_case {
	struct skv_region *region;
	uint8_t *base;
};

static void look_as_child(void *arg)
{
	struct fork_case *c = arg;
	int aux = c->region->aux_fd;

	CHECK_EQ(msync(c->base, SKV_PAGE, MS_ASYNC), -1);
	CHECK_EQ(errno, ENOMEM);
	skv_region_abandon(c->region);
	CHECK(!c->region->base);
	CHECK_EQ(fcntl(aux, F_GETFD), -1);
	skv_region_abandon(c->region);
	skv_region_detach(c->region);
}

static void child_has_no_mapping(void)
{
	struct skv_region region;
	struct fork_case c;
	char name[64];

	CHECK_EQ(create(fresh_name(name), MIB, 0600, &region), 0);
	c = (struct fork_case){ &region, region.base };
	CHECK_EQ(in_child(look_as_child, &c), 0);
	CHECK_EQ(skv_region_super(&region)->magic, SKV_MAGIC);
	CHECK(skv_region_fd(&region) >= 0);
	CHECK_EQ(try_attach(name, false), 0);
	skv_region_detach(&region);
	CHECK_EQ(skv_region_unlink(name), 0);
}

static void unlinked_segment_goes_on_for_its_users(void)
{
	struct skv_region old, young;
	char name[64];

	CHECK_EQ(create(fresh_name(name), MIB, 0600, &old), 0);
	CHECK_EQ(skv_region_unlink(name), 0);
	CHECK_EQ(create(name, MIB, 0600, &young), 0);
	CHECK(old.ino != young.ino);
	CHECK_EQ(skv_region_reserve(&old, old.geo.chunk_off, SKV_CHUNK_BYTES), 0);
	memset(old.base + old.geo.chunk_off, 1, SKV_CHUNK_BYTES);
	CHECK_EQ(blocks_of(&young), 6 * SKV_PAGE);
	/* The name leads to another file now: it does not stand in for the lost descriptor. */
	close(old.map_fd);
	old.map_fd = -1;
	close(old.aux_fd);
	CHECK_EQ(skv_region_fd(&old), -EBADF);
	skv_region_detach(&old);
	skv_region_detach(&young);
	CHECK_EQ(skv_region_unlink(name), 0);
}

static void clocks_go_forward(void)
{
	uint64_t boot = skv_clock_boot_ms(), coarse = skv_clock_coarse_ms(), ns = skv_clock_ns();
	struct timespec nap = { 0, 30 * 1000 * 1000 };

	CHECK(boot > 0 && coarse > 0 && ns > 0);
	CHECK_EQ(nanosleep(&nap, NULL), 0);
	CHECK(skv_clock_boot_ms() >= boot + 29);
	CHECK(skv_clock_coarse_ms() >= coarse + 10);
	CHECK(skv_clock_ns() >= ns + 29 * 1000 * 1000);
	CHECK(skv_clock_boot_ms() < boot + 60 * 1000);
}

/* ---- the list -------------------------------------------------------------------- */

const struct skv_test skv_tests_region[] = {
	{ "region", "plan lays tables out in order and within max bytes",
	  plan_lays_tables_out_in_order_and_within_max_bytes, 10 },
	{ "region", "plan refuses what is out of range", plan_refuses_what_is_out_of_range, 10 },
	{ "region", "plan clamps defaults and keeps requests",
	  plan_clamps_defaults_and_keeps_requests, 10 },
	{ "region", "plan begins with leaves for the capacity",
	  plan_begins_with_leaves_for_the_capacity, 10 },
	{ "region", "segment appears whole under its name",
	  segment_appears_whole_under_its_name, 10 },
	{ "region", "taken name is left alone", taken_name_is_left_alone, 10 },
	{ "region", "names follow the rules", names_follow_the_rules, 10 },
	{ "region", "mode is exact whatever the umask", mode_is_exact_whatever_the_umask, 10 },
	{ "region", "one of many creators wins", one_of_many_creators_wins, 20 },
#ifdef SKV_FAULT_POINTS
	/* hazard 12 */
	{ "region", "killed creator leaves nothing or a whole segment",
	  killed_creator_leaves_nothing_or_a_whole_segment, 20 },
#endif
	{ "region", "what is no segment is left alone", what_is_no_segment_is_left_alone, 10 },
	{ "region", "every field of the header is checked",
	  every_field_of_the_header_is_checked, 20 },
	{ "region", "random headers never crash", random_headers_never_crash, 30 },
	{ "region", "reserve takes whole pages once", reserve_takes_whole_pages_once, 10 },
	/* hazard 16 */
	{ "region", "full tmpfs is an error and no signal",
	  full_tmpfs_is_an_error_and_no_signal, 20 },
	{ "region", "tmpfs too small for the tables is an error",
	  tmpfs_too_small_for_the_tables_is_an_error, 20 },
	{ "region", "limits of the process are errors and no signals",
	  limits_of_the_process_are_errors_and_no_signals, 20 },
	{ "region", "creation works without proc", creation_works_without_proc, 20 },
	/* hazard 18 */
	{ "region", "other users have what the mode gives",
	  other_users_have_what_the_mode_gives, 20 },
	{ "region", "list names segments and nothing else",
	  list_names_segments_and_nothing_else, 20 },
	{ "region", "lost descriptor is replaced and never mistaken",
	  lost_descriptor_is_replaced_and_never_mistaken, 10 },
	{ "region", "child has no mapping", child_has_no_mapping, 10 },
	/* hazard 24 */
	{ "region", "unlinked segment goes on for its users",
	  unlinked_segment_goes_on_for_its_users, 10 },
	{ "region", "clocks go forward", clocks_go_forward, 10 },
	{ 0 },
};
