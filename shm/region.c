/* SPDX-License-Identifier: MIT */
#include "shm/region.h"

#include "base/clock.h"
#include "base/fault.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

/*
 * A segment NAME is the file shmkv.NAME in /dev/shm. SHMKV_DIR, an absolute path in the
 * environment, takes the place of /dev/shm; programs that gained privileges by being
 * executed (setuid, setgid, capabilities) ignore it.
 *
 *     open(O_TMPFILE)   ftruncate   mmap, DONTFORK   reserve   superblock   magic   linkat
 *    ───────┬───────────────┬─────────────┬─────────────┬───────────┬─────────┬───────┬────►
 *        OPENED           SIZED         MAPPED       RESERVED     FILLED   MARKED  PUBLISHED
 *    └──────────────────── one process knows the file ──────────────────────────┘
 *
 * Who sees what. Until linkat no other process can reach the file, so all stores before it
 * are plain; linkat is one atomic step of the kernel and orders them before every open by
 * name. It is also the linearisation point of creation: of two creators of one name exactly
 * one succeeds, the other gets EEXIST and its file vanishes.
 *
 * A process dies here:
 *
 *   before the name     the kernel frees the file with its last descriptor and mapping
 *   after the name      a whole, empty segment stands; its creator's process slot is found
 *                       dead by anybody who attaches
 *
 * Without O_TMPFILE, or without a /proc to open the unnamed file a second time, the file is
 * made under a random temporary name and renamed without replacing. Death before the rename
 * then leaves a file ".shmkv-tmp.*" which is never listed nor attached; the next creator
 * that goes the same way removes it. It knows a dead creator's file by a lock byte that the
 * creator holds through the description of its mapping, like the locks of peer.c:
 *
 *   creator   create file, take the byte (or give the name up), see that the name still
 *             counts (link count not 0, or give it up), go on
 *   cleaner   take the byte (or leave the file alone), remove the name, close
 *
 * Memory. Whoever touches a page of a mapping that has no memory behind it on a full file
 * system is killed by SIGBUS. So pages are taken by skv_region_reserve, which fails
 * cleanly, before the first touch; and the header of a file that is not known to be ours
 * yet is read with pread. What remains: a process that truncates the file on purpose kills
 * everybody who has it mapped. Only those with write permission can.
 *
 * Descriptors. The application may close descriptors behind our back (closefrom), and the
 * number may then name anything, even another description of this same file through which
 * another handle of this process holds its lock: asked through that one, a held lock looks
 * free. Therefore a description for asking carries a mark that no other description has:
 * its file position, AUX_MARK. Only a descriptor with the right inode and the mark is used
 * or closed.
 *
 * Fork by another thread. Between open and MADV_DONTFORK, and until peer.c closes map_fd, a
 * child forked by another thread inherits the description; if its parent is killed and it
 * neither executes nor ends, the parent counts as alive for as long. This delays recovery
 * and corrupts nothing.
 */

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

#define FOLDER "/dev/shm"
#define PREFIX "shmkv."
#define TEMP_PREFIX ".shmkv-tmp."
#define TEMP_TRIES 16

/* Any position that nobody else seeks to; small, as file systems limit it. */
#define AUX_MARK ((off_t)0x736b76)

#define HUGE_BYTES ((uint64_t)2 << 20)
#define HUGE_FROM ((uint64_t)64 << 20)

/* A map with fewer chunks could hold a leaf or two and nothing else. */
#define CHUNKS_MIN 16u
/* Leaf numbers have 28 bits. */
#define CHUNKS_MAX (1u << 26)

#define PROCESSES_DEFAULT 128u
#define CONTEXTS_DEFAULT 512u
#define CONTEXTS_PER_PAGE ((uint32_t)(SKV_PAGE / sizeof(struct skv_context)))
#define MAX_BYTES_DEFAULT ((uint64_t)64 << 20)

#define DIR_PIECE_BYTES ((uint64_t)SKV_DIR_PIECE_CELLS * sizeof(struct skv_cell))

_Static_assert((1ull << (SKV_DEPTH_MAX + 1)) <= (uint64_t)SKV_DIR_PIECES_MAX * SKV_DIR_PIECE_CELLS,
	       "every directory piece has its bit");
_Static_assert(SKV_CLASSES_MAX * sizeof(struct skv_class_hints) <= SKV_PAGE, "one page of classes");
_Static_assert(SHMKV_SIZE_MAX / SKV_CHUNK_BYTES <= CHUNKS_MAX, "every leaf has a number");

/* ---- errors and names ------------------------------------------------------------ */

/* What a failed system call means in the table of shmkv.h. */
static int code_of(int err)
{
	switch (err) {
	case EACCES:
	case EPERM:
	case EROFS:
		return -EACCES;
	case ENOSPC:
	case EDQUOT:
		return -ENOSPC;
	case EMFILE:
	case ENFILE:
		return -EMFILE;
	case EOPNOTSUPP:
	case ENOSYS:
		return -EOPNOTSUPP;
	case ENOENT:
	case EEXIST:
	case ENOMEM:
		return -err;
	default:
		return -EIO;
	}
}

/* The same for opening what should be a segment: other kinds of file answer in many ways. */
static int code_of_open(int err)
{
	switch (err) {
	case ELOOP:
	case EISDIR:
	case ENXIO:
	case ENODEV:
		return -EMEDIUMTYPE;
	default:
		return code_of(err);
	}
}

static bool name_is_valid(const char *name)
{
	size_t len;

	if (!name || name[0] == '\0' || name[0] == '.')
		return false;
	len = strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-");
	return name[len] == '\0' && len <= SHMKV_NAME_MAX;
}

static const char *folder(void)
{
	const char *dir = secure_getenv("SHMKV_DIR");

	return dir && dir[0] == '/' ? dir : FOLDER;
}

/* -EINVAL when the folder's own name is too long. */
static int path_of(const char *prefix, const char *name, char ret_path[PATH_MAX])
{
	int len = snprintf(ret_path, PATH_MAX, "%s/%s%s", folder(), prefix, name);

	return len < 0 || len >= PATH_MAX ? -EINVAL : 0;
}

static int fill_random(void *buf, size_t len)
{
	uint8_t *p = buf;

	while (len > 0) {
		ssize_t n = getrandom(p, len, 0);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? code_of(errno) : -EIO;
		p += n;
		len -= (size_t)n;
	}
	return 0;
}

/* Which boot of the machine this is; zero when the system does not tell. */
static void read_boot_id(uint64_t ret_id[2])
{
	char text[64];
	uint64_t id[2] = { 0, 0 };
	unsigned int n_digits = 0;
	ssize_t n;
	int fd;

	ret_id[0] = ret_id[1] = 0;
	fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return;
	n = read(fd, text, sizeof(text));
	close(fd);

	for (ssize_t i = 0; i < n && n_digits < 32; i++) {
		static const char digits[] = "0123456789abcdef";
		const char *digit = text[i] ? strchr(digits, text[i]) : NULL;

		if (!digit)
			continue;
		id[n_digits / 16] = id[n_digits / 16] << 4 | (uint64_t)(digit - digits);
		n_digits++;
	}
	if (n_digits == 32) {
		ret_id[0] = id[0];
		ret_id[1] = id[1];
	}
}

/* ---- geometry -------------------------------------------------------------------- */

static uint64_t round_up(uint64_t n, uint64_t unit)
{
	return (n + unit - 1) / unit * unit;
}

/* Three levels more than leaves in equal parts would need: keys are never spread evenly. */
static uint32_t level_max_of(uint32_t n_chunks)
{
	uint64_t n_leaves = (uint64_t)n_chunks * SKV_LEAVES_PER_CHUNK;
	uint32_t level = 0;

	while ((1ull << level) < n_leaves)
		level++;
	level += 3;
	return level < SKV_DEPTH_MAX ? level : SKV_DEPTH_MAX;
}

/*
 * Places everything by the counts and max_bytes in @geo. All counts are within their
 * bounds, so nothing here overflows: the largest segment is less than 2^42 bytes.
 *
 * Returns the memory that the segment can come to use: holes are free, and of the directory
 * a leaf makes at most two cells appear, in whole pieces.
 */
static uint64_t lay_out(struct skv_geometry *geo)
{
	uint64_t dir_bytes = sizeof(struct skv_cell) << (geo->level_max + 1);
	uint64_t dir_used, off = SKV_PAGE;

	geo->process_off = off;
	off += round_up((uint64_t)geo->n_processes * sizeof(struct skv_process), SKV_PAGE);
	geo->context_off = off;
	off += round_up((uint64_t)geo->n_contexts * sizeof(struct skv_context), SKV_PAGE);
	geo->class_off = off;
	off += SKV_PAGE;
	geo->dir_off = off;
	off += round_up(dir_bytes, SKV_PAGE);
	geo->cell_off = off;
	off += round_up((uint64_t)geo->n_chunks * sizeof(struct skv_cell), SKV_PAGE);
	geo->bitmap_off = off;
	off += round_up((uint64_t)geo->n_chunks * sizeof(struct skv_bitmap), SKV_PAGE);
	geo->summary_off = off;
	off += round_up(((uint64_t)geo->n_chunks + 7) / 8, SKV_PAGE);

	dir_used = (uint64_t)geo->n_chunks * SKV_LEAVES_PER_CHUNK * 2 * sizeof(struct skv_cell);
	dir_used = round_up(dir_used, DIR_PIECE_BYTES);
	if (dir_used > dir_bytes)
		dir_used = round_up(dir_bytes, SKV_PAGE);

	/* In a map of some size every chunk lies within one huge page, where there are any. */
	geo->chunk_off = round_up(off, geo->max_bytes >= HUGE_FROM ? HUGE_BYTES : SKV_CHUNK_BYTES);
	geo->segment_bytes = geo->chunk_off + (uint64_t)geo->n_chunks * SKV_CHUNK_BYTES;

	return off - round_up(dir_bytes, SKV_PAGE) + dir_used +
	       (uint64_t)geo->n_chunks * SKV_CHUNK_BYTES;
}

static uint64_t lay_out_chunks(struct skv_geometry *geo, uint32_t n_chunks)
{
	geo->n_chunks = n_chunks;
	geo->level_max = level_max_of(n_chunks);
	return lay_out(geo);
}

int skv_region_plan(const struct shmkv_options *opts, struct skv_geometry *ret_geo)
{
	struct skv_geometry geo = { 0 };
	uint64_t participants, quarter;
	uint32_t low = 0, high;

	geo.max_bytes = opts->max_bytes ? opts->max_bytes : MAX_BYTES_DEFAULT;
	if (geo.max_bytes < SHMKV_SIZE_MIN || geo.max_bytes > SHMKV_SIZE_MAX)
		return -EINVAL;
	if (opts->mode & ~0777u)
		return -EINVAL;
	if (opts->max_processes > SKV_PROCESSES_MAX || opts->max_threads > SKV_CONTEXTS_MAX)
		return -EINVAL;

	switch (opts->hash) {
	case SHMKV_HASH_DEFAULT:
		geo.hash_kind = SHMKV_HASH_SIPHASH13;
		break;
	case SHMKV_HASH_SIPHASH13:
	case SHMKV_HASH_XXH3:
		geo.hash_kind = opts->hash;
		break;
	default:
		return -EINVAL;
	}

	/* What was asked for is kept or refused; a default takes a quarter of a small map. */
	quarter = geo.max_bytes / 4;
	geo.n_processes = opts->max_processes ? opts->max_processes : PROCESSES_DEFAULT;
	geo.n_contexts = opts->max_threads ? opts->max_threads : CONTEXTS_DEFAULT;
	participants = (uint64_t)geo.n_processes * sizeof(struct skv_process);
	if (opts->max_threads == 0 &&
	    participants + (uint64_t)geo.n_contexts * sizeof(struct skv_context) > quarter) {
		uint64_t left = participants < quarter ? quarter - participants : 0;

		geo.n_contexts = (uint32_t)(left / sizeof(struct skv_context));
		if (geo.n_contexts < CONTEXTS_PER_PAGE)
			geo.n_contexts = CONTEXTS_PER_PAGE;
	}

	/* The most chunks with which it all stays within max_bytes. */
	high = (uint32_t)(geo.max_bytes / SKV_CHUNK_BYTES);
	while (low < high) {
		uint32_t middle = low + (high - low + 1) / 2;

		if (lay_out_chunks(&geo, middle) <= geo.max_bytes)
			low = middle;
		else
			high = middle - 1;
	}
	if (low < CHUNKS_MIN)
		return -EINVAL;
	lay_out_chunks(&geo, low);

	/* Leaves not quite half full, and never more of them than a quarter of the chunks hold. */
	while (geo.level_min < geo.level_max && (2ull << geo.level_min) <= geo.n_chunks &&
	       (opts->capacity >> geo.level_min) > SKV_LEAF_SLOTS * 9 / 20)
		geo.level_min++;

	*ret_geo = geo;
	return 0;
}

/*
 * Reads the geometry out of a superblock that anybody may have written. Counts must be
 * within their bounds, and everything else is what follows from them.
 */
static int check_header(const struct skv_superblock *sb, uint64_t file_bytes,
			struct skv_geometry *ret_geo)
{
	struct skv_geometry geo = { 0 };
	uint64_t boot_id[2];

	if (sb->magic != SKV_MAGIC)
		return -EMEDIUMTYPE;
	if (sb->format_version != SKV_FORMAT_VERSION || sb->geometry_mark != SKV_GEOMETRY_MARK)
		return -EPROTONOSUPPORT;

	geo.max_bytes = sb->max_bytes;
	geo.n_processes = sb->n_processes;
	geo.n_contexts = sb->n_contexts;
	geo.n_chunks = sb->n_chunks;
	geo.hash_kind = sb->hash_kind;
	geo.level_min = sb->level_min;
	geo.level_max = sb->level_max;
	if (geo.max_bytes < SHMKV_SIZE_MIN || geo.max_bytes > SHMKV_SIZE_MAX)
		return -EBADMSG;
	if (geo.n_processes < 1 || geo.n_processes > SKV_PROCESSES_MAX)
		return -EBADMSG;
	if (geo.n_contexts < 1 || geo.n_contexts > SKV_CONTEXTS_MAX)
		return -EBADMSG;
	if (geo.n_chunks < CHUNKS_MIN || geo.n_chunks > CHUNKS_MAX)
		return -EBADMSG;
	if (geo.hash_kind != SHMKV_HASH_SIPHASH13 && geo.hash_kind != SHMKV_HASH_XXH3)
		return -EBADMSG;
	if (geo.level_max != level_max_of(geo.n_chunks) || geo.level_min > geo.level_max ||
	    (1ull << geo.level_min) > geo.n_chunks)
		return -EBADMSG;

	if (lay_out(&geo) > geo.max_bytes)
		return -EBADMSG;
	if (sb->segment_bytes != geo.segment_bytes || file_bytes != geo.segment_bytes ||
	    sb->process_off != geo.process_off || sb->context_off != geo.context_off ||
	    sb->class_off != geo.class_off || sb->dir_off != geo.dir_off ||
	    sb->cell_off != geo.cell_off || sb->bitmap_off != geo.bitmap_off ||
	    sb->summary_off != geo.summary_off || sb->chunk_off != geo.chunk_off)
		return -EBADMSG;

	/* The watermarks only rise, so what was read may be old but is never too high. */
	if (sb->contexts_ready < 1 || sb->contexts_ready > geo.n_contexts ||
	    (sb->chunks_ready & UINT32_MAX) + (sb->chunks_ready >> 32) > geo.n_chunks)
		return -EBADMSG;

	/* On a disk-backed folder a segment outlives its boot, but not its deadlines and peers. */
	read_boot_id(boot_id);
	if ((boot_id[0] | boot_id[1]) && (sb->boot_id[0] | sb->boot_id[1]) &&
	    (boot_id[0] != sb->boot_id[0] || boot_id[1] != sb->boot_id[1]))
		return -EBADMSG;

	*ret_geo = geo;
	return 0;
}

/* ---- descriptors ----------------------------------------------------------------- */

static bool fd_is_ours(const struct skv_region *region, int fd)
{
	struct stat st;

	return fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_dev == region->dev &&
	       st.st_ino == region->ino;
}

static bool aux_is_ours(const struct skv_region *region, int fd)
{
	return fd_is_ours(region, fd) && lseek(fd, 0, SEEK_CUR) == AUX_MARK;
}

/* One more description of our file by @path; -EBADF when that is another file. */
static int open_aux_at(const struct skv_region *region, const char *path, int flags)
{
	int fd;

	fd = open(path, flags | (region->read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC | O_NONBLOCK |
				O_NOCTTY);
	if (fd < 0)
		return code_of(errno);
	if (!fd_is_ours(region, fd) || lseek(fd, AUX_MARK, SEEK_SET) != AUX_MARK) {
		close(fd);
		return -EBADF;
	}
	return fd;
}

/* @fd: a descriptor of the file, or -1 when only its name is left */
static int open_aux(const struct skv_region *region, int fd)
{
	char path[PATH_MAX];
	int r;

	if (fd >= 0) {
		snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
		r = open_aux_at(region, path, 0);
		if (r >= 0 || r == -EMFILE)
			return r;
	}
	if (region->name[0] == '\0')
		return -EBADF;
	/* Only the name of a temporary file begins with a dot, and that one has no prefix. */
	r = path_of(region->name[0] == '.' ? "" : PREFIX, region->name, path);
	if (r < 0)
		return -EBADF;
	r = open_aux_at(region, path, O_NOFOLLOW);
	return r >= 0 || r == -EMFILE ? r : -EBADF;
}

int skv_region_fd(struct skv_region *region)
{
	int fd, fresh;

	/* Relaxed: the number is proved by asking the kernel, nothing else hangs on it. */
	fd = __atomic_load_n(&region->aux_fd, __ATOMIC_RELAXED);
	if (aux_is_ours(region, fd))
		return fd;

	/* What has the number now is the application's: it stays open. */
	fresh = open_aux(region, region->map_fd);
	if (fresh < 0)
		return -EBADF;
	if (!__atomic_compare_exchange_n(&region->aux_fd, &fd, fresh, false, __ATOMIC_RELAXED,
					 __ATOMIC_RELAXED)) {
		/* Another thread was here first: its descriptor is as good. */
		close(fresh);
		return aux_is_ours(region, fd) ? fd : -EBADF;
	}
	return fresh;
}

static void close_fds(struct skv_region *region)
{
	if (aux_is_ours(region, region->aux_fd))
		close(region->aux_fd);
	if (fd_is_ours(region, region->map_fd))
		close(region->map_fd);
	region->aux_fd = -1;
	region->map_fd = -1;
}

/* ---- memory ---------------------------------------------------------------------- */

static int map(struct skv_region *region, int fd)
{
	void *base;

	base = mmap(NULL, region->geo.segment_bytes,
		    region->read_only ? PROT_READ : PROT_READ | PROT_WRITE,
		    MAP_SHARED | MAP_NORESERVE, fd, 0);
	if (base == MAP_FAILED)
		return code_of(errno);
	region->base = base;
	/* No child has the mapping, so no child can hold our lock or write as us. */
	if (madvise(base, region->geo.segment_bytes, MADV_DONTFORK) < 0)
		return errno == EINVAL ? -EOPNOTSUPP : code_of(errno);
	return 0;
}

int skv_region_reserve(struct skv_region *region, uint64_t off, uint64_t len)
{
	uint64_t end;
	int fd;

	if (region->read_only || off > region->geo.segment_bytes ||
	    len > region->geo.segment_bytes - off)
		return -EIO;
	/* The segment ends with a chunk, so widening stays inside. */
	end = round_up(off + len, SKV_PAGE);
	off = off / SKV_PAGE * SKV_PAGE;
	if (off == end)
		return 0;

	/* Ends when the kernel stops being interrupted: both codes ask for a repetition. */
	while (madvise(region->base + off, end - off, MADV_POPULATE_WRITE) < 0) {
		switch (errno) {
		case EINTR:
		case EAGAIN:
			continue;
		case ENOMEM:
		case EFAULT:
		case ENOSPC:
			return -ENOSPC;
		case EINVAL:
			goto old_kernel;
		default:
			return -EIO;
		}
	}
	return 0;

old_kernel:
	/* Before Linux 5.14. */
	fd = skv_region_fd(region);
	if (fd < 0)
		return -EIO;
	while (fallocate(fd, 0, (off_t)off, (off_t)(end - off)) < 0) {
		switch (errno) {
		case EINTR:
			continue;
		case ENOSPC:
		case EDQUOT:
		case ENOMEM:
		case EFBIG:
			return -ENOSPC;
		default:
			return -EIO;
		}
	}
	return 0;
}

/* Superblock, processes and the first contexts, then the classes: what everybody touches. */
static int reserve_tables(struct skv_region *region)
{
	int r;

	r = skv_region_reserve(region, 0, region->geo.context_off + SKV_PAGE);
	if (r < 0)
		return r;
	return skv_region_reserve(region, region->geo.class_off, SKV_PAGE);
}

/* ---- creation -------------------------------------------------------------------- */

static bool take_temporary(int fd)
{
	struct flock lock = {
		.l_type = F_WRLCK,
		.l_whence = SEEK_SET,
		.l_start = SKV_LOCK_BASE - 1,
		.l_len = 1,
	};

	return fcntl(fd, F_OFD_SETLK, &lock) == 0;
}

/* Removes what dead creators left. Best effort: another user's files are not ours to open. */
static void remove_stale_temporaries(void)
{
	char path[PATH_MAX];
	struct dirent *entry;
	DIR *dir;
	int fd;

	dir = opendir(folder());
	if (!dir)
		return;
	while ((entry = readdir(dir))) {
		if (strncmp(entry->d_name, TEMP_PREFIX, strlen(TEMP_PREFIX)) != 0 ||
		    path_of("", entry->d_name, path) < 0)
			continue;
		fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
		if (fd < 0)
			continue;
		if (take_temporary(fd))
			unlink(path);
		close(fd);
	}
	closedir(dir);
}

static int remember_file(struct skv_region *region, int fd)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return code_of(errno);
	region->dev = st.st_dev;
	region->ino = st.st_ino;
	return st.st_nlink > 0 ? 1 : 0;
}

/* -EOPNOTSUPP: try a named file instead. */
static int open_unnamed(struct skv_region *region)
{
	int fd, r;

	fd = open(folder(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (fd < 0) {
		switch (errno) {
		case EISDIR: /* kernels before 3.11 take it for the folder itself */
		case EINVAL:
		case EOPNOTSUPP:
		case ENOENT:
		case ENOTDIR:
			return -EOPNOTSUPP;
		default:
			return code_of(errno);
		}
	}
	region->map_fd = fd;
	r = remember_file(region, fd);
	if (r < 0)
		return r;
	/* A umask may have taken our own permission, which a second opening needs. */
	if (fchmod(fd, 0600) < 0)
		return code_of(errno);
	r = open_aux(region, fd);
	if (r < 0) {
		close_fds(region);
		return r == -EMFILE ? r : -EOPNOTSUPP;
	}
	region->aux_fd = r;
	return 0;
}

static int open_temporary(struct skv_region *region)
{
	char path[PATH_MAX];
	uint64_t random;
	int r;

	remove_stale_temporaries();
	for (unsigned int i = 0; i < TEMP_TRIES; i++) {
		r = fill_random(&random, sizeof(random));
		if (r < 0)
			return r;
		snprintf(region->name, sizeof(region->name), TEMP_PREFIX "%016llx",
			 (unsigned long long)random);
		r = path_of("", region->name, path);
		if (r < 0)
			return r;
		region->map_fd = open(path, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0600);
		if (region->map_fd < 0) {
			region->name[0] = '\0';
			if (errno == EEXIST)
				continue;
			/* No folder, no shared memory. */
			return errno == ENOENT || errno == ENOTDIR ? -EOPNOTSUPP : code_of(errno);
		}
		if (!take_temporary(region->map_fd) || remember_file(region, region->map_fd) != 1) {
			/* A cleaner came first; the name is gone or about to be. */
			unlink(path);
			close(region->map_fd);
			region->map_fd = -1;
			region->name[0] = '\0';
			continue;
		}
		if (fchmod(region->map_fd, 0600) < 0)
			return code_of(errno);
		r = open_aux(region, region->map_fd);
		if (r < 0)
			return r == -EMFILE ? r : -EOPNOTSUPP;
		region->aux_fd = r;
		return 0;
	}
	return -EIO;
}

static int set_size(int fd, uint64_t bytes)
{
	struct rlimit limit;

	/* Beyond this limit ftruncate does not only fail, it sends SIGXFSZ. */
	if (getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY &&
	    limit.rlim_cur < bytes)
		return -EOPNOTSUPP;
	while (ftruncate(fd, (off_t)bytes) < 0) {
		switch (errno) {
		case EINTR:
			continue;
		case EFBIG:
		case EINVAL:
			return -EOPNOTSUPP;
		default:
			return code_of(errno);
		}
	}
	return 0;
}

/* Plain stores: nobody else can reach the segment yet. Pages are fresh, so the rest is 0. */
static int write_superblock(struct skv_region *region)
{
	struct skv_superblock *sb = skv_region_super(region);
	const struct skv_geometry *geo = &region->geo;
	uint64_t random[3];
	int r;

	r = fill_random(random, sizeof(random));
	if (r < 0)
		return r;
	region->hash_k0 = random[0];
	region->hash_k1 = random[1];
	region->block_secret = random[2];

	sb->format_version = SKV_FORMAT_VERSION;
	sb->geometry_mark = SKV_GEOMETRY_MARK;
	sb->segment_bytes = geo->segment_bytes;
	sb->max_bytes = geo->max_bytes;
	sb->process_off = geo->process_off;
	sb->context_off = geo->context_off;
	sb->class_off = geo->class_off;
	sb->dir_off = geo->dir_off;
	sb->cell_off = geo->cell_off;
	sb->bitmap_off = geo->bitmap_off;
	sb->summary_off = geo->summary_off;
	sb->chunk_off = geo->chunk_off;
	sb->n_processes = geo->n_processes;
	sb->n_contexts = geo->n_contexts;
	sb->n_chunks = geo->n_chunks;
	sb->hash_kind = geo->hash_kind;
	sb->level_min = geo->level_min;
	sb->level_max = geo->level_max;
	sb->hash_k0 = region->hash_k0;
	sb->hash_k1 = region->hash_k1;
	sb->block_secret = region->block_secret;
	sb->created_ms = skv_clock_boot_ms();
	read_boot_id(sb->boot_id);
	sb->contexts_ready =
		geo->n_contexts < CONTEXTS_PER_PAGE ? geo->n_contexts : CONTEXTS_PER_PAGE;
	sb->reap_ms = sb->created_ms;
	SKV_FAULT(CREATE_FILLED);

	/* Last, so that a file which lost its creator early is never taken for a segment. */
	skv_store_release(&sb->magic, SKV_MAGIC);
	SKV_FAULT(CREATE_MARKED);
	return 0;
}

int skv_region_new(const struct skv_geometry *geo, uint32_t mode, struct skv_region *ret_region)
{
	struct skv_region region = { .geo = *geo, .map_fd = -1, .aux_fd = -1 };
	int r;

	r = skv_atomic_selftest();
	if (r < 0)
		return r;

	r = open_unnamed(&region);
	if (r == -EOPNOTSUPP)
		r = open_temporary(&region);
	if (r < 0)
		goto fail;
	SKV_FAULT(CREATE_OPENED);

	if (fchmod(region.map_fd, mode & 0777) < 0) {
		r = code_of(errno);
		goto fail;
	}
	r = set_size(region.map_fd, geo->segment_bytes);
	if (r < 0)
		goto fail;
	SKV_FAULT(CREATE_SIZED);

	r = map(&region, region.map_fd);
	if (r < 0)
		goto fail;
	SKV_FAULT(CREATE_MAPPED);

	r = reserve_tables(&region);
	if (r < 0)
		goto fail;
	SKV_FAULT(CREATE_RESERVED);

	r = write_superblock(&region);
	if (r < 0)
		goto fail;

	*ret_region = region;
	return 0;

fail:
	skv_region_detach(&region);
	return r;
}

/*
 * By the descriptor itself, which needs either a capability or, since Linux 6.10, the same
 * credentials that opened it; otherwise through /proc.
 */
static int link_unnamed(int fd, const char *path)
{
	char proc[64];

	if (linkat(fd, "", AT_FDCWD, path, AT_EMPTY_PATH) == 0)
		return 0;
	if (errno == EEXIST)
		return -EEXIST;
	snprintf(proc, sizeof(proc), "/proc/self/fd/%d", fd);
	return linkat(AT_FDCWD, proc, AT_FDCWD, path, AT_SYMLINK_FOLLOW) < 0 ? code_of(errno) : 0;
}

int skv_region_publish(struct skv_region *region, const char *name)
{
	char path[PATH_MAX], temporary[PATH_MAX];
	int fd, r;

	if (!name_is_valid(name))
		return -EINVAL;
	r = path_of(PREFIX, name, path);
	if (r < 0)
		return r;

	if (region->name[0] == '.') {
		r = path_of("", region->name, temporary);
		if (r < 0)
			return r;
		if (renameat2(AT_FDCWD, temporary, AT_FDCWD, path, RENAME_NOREPLACE) < 0)
			r = errno == EINVAL ? -EOPNOTSUPP : code_of(errno);
	} else {
		fd = skv_region_fd(region);
		r = fd < 0 ? -EIO : link_unnamed(fd, path);
	}
	if (r < 0)
		return r == -ENOENT ? -EIO : r;
	SKV_FAULT(CREATE_PUBLISHED);

	snprintf(region->name, sizeof(region->name), "%s", name);
	return 0;
}

/* ---- attaching ------------------------------------------------------------------- */

/* Opens what has the name of a segment without waiting, following or driving anything. */
static int open_segment(const char *name, int flags)
{
	char path[PATH_MAX];
	int fd, r;

	if (!name_is_valid(name))
		return -EINVAL;
	r = path_of(PREFIX, name, path);
	if (r < 0)
		return r;
	fd = open(path, flags | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
	return fd < 0 ? code_of_open(errno) : fd;
}

/* Not through a mapping: a hole in a foreign file would take memory, or kill. */
static int read_header(int fd, void *buf, size_t len, uint64_t *ret_file_bytes)
{
	struct stat st;
	ssize_t n;

	if (fstat(fd, &st) < 0)
		return code_of(errno);
	if (!S_ISREG(st.st_mode) || (uint64_t)st.st_size < SKV_PAGE)
		return -EMEDIUMTYPE;
	do {
		n = pread(fd, buf, len, 0);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return code_of(errno);
	if ((size_t)n < len)
		return -EMEDIUMTYPE;
	*ret_file_bytes = (uint64_t)st.st_size;
	return 0;
}

int skv_region_attach(const char *name, bool read_only, struct skv_region *ret_region)
{
	struct skv_region region = { .read_only = read_only, .map_fd = -1, .aux_fd = -1 };
	struct skv_superblock sb;
	uint64_t file_bytes;
	int fd, r;

	r = skv_atomic_selftest();
	if (r < 0)
		return r;
	fd = open_segment(name, read_only ? O_RDONLY : O_RDWR);
	if (fd < 0)
		return fd;
	region.map_fd = fd;
	r = remember_file(&region, fd);
	if (r < 0) {
		close(fd);
		return r;
	}

	r = read_header(fd, &sb, sizeof(sb), &file_bytes);
	if (r < 0)
		goto fail;
	r = check_header(&sb, file_bytes, &region.geo);
	if (r < 0)
		goto fail;
	region.hash_k0 = sb.hash_k0;
	region.hash_k1 = sb.hash_k1;
	region.block_secret = sb.block_secret;
	snprintf(region.name, sizeof(region.name), "%s", name);

	r = map(&region, fd);
	if (r < 0)
		goto fail;

	if (read_only) {
		/* It holds no lock, so it can ask about all of them itself. */
		if (lseek(fd, AUX_MARK, SEEK_SET) != AUX_MARK) {
			r = -EIO;
			goto fail;
		}
		region.aux_fd = fd;
		region.map_fd = -1;
	} else {
		r = open_aux(&region, fd);
		if (r < 0) {
			if (r == -EBADF)
				r = -EIO;
			goto fail;
		}
		region.aux_fd = r;
		/* Present in every sound segment; in another one they might be holes. */
		r = reserve_tables(&region);
		if (r < 0) {
			r = r == -ENOSPC ? -EBADMSG : r;
			goto fail;
		}
	}

	*ret_region = region;
	return 0;

fail:
	skv_region_detach(&region);
	return r;
}

void skv_region_detach(struct skv_region *region)
{
	char path[PATH_MAX];

	if (region->name[0] == '.' && path_of("", region->name, path) == 0)
		unlink(path);
	region->name[0] = '\0';
	if (region->base)
		munmap(region->base, region->geo.segment_bytes);
	region->base = NULL;
	close_fds(region);
}

void skv_region_abandon(struct skv_region *region)
{
	/* The addresses may hold something else by now, and the lock is the parent's: closing
	 * is all that a child may do. */
	region->name[0] = '\0';
	region->base = NULL;
	close_fds(region);
}

/* ---- the folder ------------------------------------------------------------------ */

/* 0 if the file begins like a segment of any version. */
static int probe(const char *name)
{
	uint64_t magic, file_bytes;
	int fd, r;

	fd = open_segment(name, O_RDONLY);
	if (fd < 0)
		return fd;
	r = read_header(fd, &magic, sizeof(magic), &file_bytes);
	if (r == 0 && magic != SKV_MAGIC)
		r = -EMEDIUMTYPE;
	close(fd);
	return r;
}

int skv_region_unlink(const char *name)
{
	char path[PATH_MAX];
	int r;

	/* Two creators may exchange the file between the look and the removal; then this is
	 * like an unlink that came a little later. */
	r = probe(name);
	if (r < 0)
		return r;
	r = path_of(PREFIX, name, path);
	if (r < 0)
		return r;
	return unlink(path) < 0 ? code_of(errno) : 0;
}

/* A segment that we may not read still has a name; whether it is one nobody can tell us. */
static bool is_unreadable_file(const char *name)
{
	char path[PATH_MAX];
	struct stat st;

	return path_of(PREFIX, name, path) == 0 && lstat(path, &st) == 0 && S_ISREG(st.st_mode) &&
	       (uint64_t)st.st_size > SKV_PAGE;
}

int skv_region_list(int (*fn)(const char *name, void *arg), void *arg)
{
	struct dirent *entry;
	DIR *dir;
	int r = 0;

	dir = opendir(folder());
	if (!dir)
		return errno == ENOENT || errno == ENOTDIR ? -EIO : code_of(errno);

	while (r == 0) {
		const char *name;

		errno = 0;
		entry = readdir(dir);
		if (!entry) {
			if (errno != 0)
				r = code_of(errno);
			break;
		}
		if (strncmp(entry->d_name, PREFIX, strlen(PREFIX)) != 0)
			continue;
		name = entry->d_name + strlen(PREFIX);
		if (!name_is_valid(name))
			continue;
		r = probe(name);
		if (r == -EMFILE || r == -ENOMEM)
			break;
		if (r < 0 && !(r == -EACCES && is_unreadable_file(name))) {
			r = 0;
			continue;
		}
		r = fn(name, arg);
	}
	closedir(dir);
	return r;
}
