/* SPDX-License-Identifier: MIT */
#include "shm/peer.h"

#include "base/clock.h"
#include "base/fault.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/*
 * Every slot of the process table has a lock byte far behind the end of the file. The lock
 * belongs to the open file description that the mapping was made from ("open file
 * description lock"), and after the descriptor is closed only the mapping keeps that
 * description. The kernel drops the lock when the mapping is gone, and a mapping goes when
 * no thread that could store through it is left.
 *
 *               lock byte, claim [CAS]            described [CAS]
 *    FREE(n) ──────────────────────► JOINING(n+1) ────────────────► LIVE(n+1)
 *      ▲                                  │                             │
 *      │       bury [CAS], byte free      │                             │
 *      ├──────────────────────────────────┤      leave [CAS], byte held │
 *      └──────────────────────────────────┴─────────────────────────────┤
 *         FREE(n+2)                               bury [CAS], byte free ┘
 *
 * When a verdict may be trusted. The byte is taken before the claim and kept until after
 * the slot is FREE again. So if a slot reads JOINING(n) or LIVE(n), the byte is then seen
 * unlocked, and the slot afterwards still reads the same, the holder of n is dead: n is
 * never used twice and there was no moment in between at which it lived without its byte.
 *
 * When no slot is free, a newcomer inherits the slot of a dead one: JOINING(n) or LIVE(n)
 * -> JOINING(n+1), holding the byte. It then owns the contexts that name the slot, and
 * recovers them before it does anything else; if it dies in that, so does the next. A
 * reaper that had judged n dead notices by the incarnation.
 *
 * What may run at the same time: everything, on all slots. Two reapers may reach the same
 * verdict; the incarnation makes the second burial fail. pid, pid_ns and times are written
 * while JOINING, for people; nobody decides by them.
 *
 * pair                              what it carries
 * [join.claim] -> [dead.state]      the lock, taken before; the kernel orders its own calls
 * [leave.free] -> [join.claim]      the last stores of the previous tenant
 * [bury.free]  -> [join.claim]      all recovery on behalf of the dead one
 *
 * A process dies here:
 *
 *   gap              left behind                          repaired by
 *   JOIN_LOCKED      nothing: the kernel drops the lock   -
 *   JOIN_CLAIMED     JOINING without a lock               is_dead and bury; it owned nothing
 *   JOIN_DESCRIBED   the same                             the same
 *   JOIN_LIVE        LIVE without a lock                  is_dead, recovery, bury
 *   JOIN_CLOSED      the same                             the same
 *   LEAVE_FREED      nothing: the slot is free            -
 *
 * Progress: join passes over every slot once and waits for nobody; it may answer -EUSERS
 * while another process is just leaving. Incarnations have 48 bits, as in owner words: one
 * join every microsecond needs nine years to come round.
 *
 * False life, which only delays recovery: a child that another thread forked before map_fd
 * was closed keeps the description for as long as it neither executes nor ends (region.c).
 * The kernel also counts a process as alive until it has finished writing its core.
 *
 * Cost: a join is about ten system calls; a verdict four, about a microsecond.
 */

#define INCARNATION_MASK ((1ull << (64 - SKV_OWNER_INCARNATION_SHIFT)) - 1)

/* How often a verdict is tried anew while the application closes descriptors under it. */
#define VERDICT_TRIES 4

static uint64_t state_word(uint64_t state, uint64_t incarnation)
{
	return (incarnation & INCARNATION_MASK) << SKV_PROCESS_INCARNATION_SHIFT | state;
}

static uint64_t incarnation_of(uint64_t word)
{
	return word >> SKV_PROCESS_INCARNATION_SHIFT & INCARNATION_MASK;
}

/* ---- lock bytes ------------------------------------------------------------------ */

static int lock_call(int fd, int command, short type, uint32_t idx, struct flock *ret_lock)
{
	/* l_pid must be 0 for this kind of lock. */
	struct flock lock = {
		.l_type = type,
		.l_whence = SEEK_SET,
		.l_start = SKV_LOCK_BASE + idx,
		.l_len = 1,
	};

	if (fcntl(fd, command, &lock) < 0)
		return -errno;
	if (ret_lock)
		*ret_lock = lock;
	return 0;
}

/* 1 locked, 0 free, or an error: then nothing is known. */
static int byte_is_locked(struct skv_region *region, uint32_t idx)
{
	struct flock lock;
	int fd, r;

	for (unsigned int i = 0; i < VERDICT_TRIES; i++) {
		fd = skv_region_fd(region);
		if (fd < 0)
			return fd;
		r = lock_call(fd, F_OFD_GETLK, F_WRLCK, idx, &lock);
		if (r == 0 && lock.l_type != F_UNLCK)
			return 1;
		/* "Free" counts only if the descriptor was the right one all the time. */
		if (r == 0 && skv_region_fd(region) == fd)
			return 0;
		if (r < 0 && r != -EBADF && r != -EINTR)
			return r;
	}
	return -EBADF;
}

/* ---- what people want to know ---------------------------------------------------- */

/* Does /proc show the pid namespace that we are in? */
static bool proc_is_ours(void)
{
	char text[32];
	ssize_t n = readlink("/proc/self", text, sizeof(text) - 1);

	if (n <= 0)
		return false;
	text[n] = '\0';
	return strtoll(text, NULL, 10) == (long long)getpid();
}

/* Fields 3 and 22 of /proc/PID/stat: the state's letter and the start time; false when they
 * cannot be read. */
static bool read_stat(uint64_t pid, char *ret_letter, uint64_t *ret_start)
{
	char path[48], text[1024], *p;
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "/proc/%" PRIu64 "/stat", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	n = read(fd, text, sizeof(text) - 1);
	close(fd);
	if (n <= 0)
		return false;
	text[n] = '\0';

	/* The second field is the program's name, which may hold blanks and brackets. */
	p = strrchr(text, ')');
	if (!p || p[1] != ' ')
		return false;
	*ret_letter = p[2];
	for (unsigned int field = 2; p && field < 22; field++) {
		p = strchr(p, ' ');
		if (p)
			p++;
	}
	if (!p)
		return false;
	*ret_start = strtoull(p, NULL, 10);
	return true;
}

/* 0 when /proc is missing or shows another pid namespace. */
static uint64_t read_start_time(void)
{
	uint64_t start;
	char letter;

	return proc_is_ours() && read_stat((uint64_t)getpid(), &letter, &start) ? start : 0;
}

static uint64_t read_pid_ns(void)
{
	struct stat st;

	return stat("/proc/self/ns/pid", &st) == 0 ? (uint64_t)st.st_ino : 0;
}

/* ---- joining --------------------------------------------------------------------- */

/* Takes one slot that is free or, if @inherit, whose holder is dead: 1, or 0 when somebody
 * living has it or is about to. */
static int try_slot(struct skv_region *region, uint32_t idx, bool inherit, uint64_t *ret_incarnation)
{
	struct skv_process *slot = skv_peer_slot(region, idx);
	uint64_t seen, incarnation;
	int r;

	seen = skv_load_acquire(&slot->state);
	if (((seen & SKV_PROCESS_STATE_MASK) != SKV_PROCESS_FREE) != inherit)
		return 0;

	/* Whoever gets the byte of a slot that is not free knows that its holder is dead. */
	r = lock_call(region->map_fd, F_OFD_SETLK, F_WRLCK, idx, NULL);
	if (r == -EAGAIN || r == -EACCES)
		return 0;
	if (r < 0)
		return r == -EINVAL ? -EOPNOTSUPP : -EIO;
	SKV_FAULT(JOIN_LOCKED);

	/* [join.claim] acquire, pairs with [leave.free] and [bury.free]: what the last tenant
	 * left is complete. Release, pairs with [dead.state]: the byte is locked. */
	incarnation = (incarnation_of(seen) + 1) & INCARNATION_MASK;
	if (!skv_cas(&slot->state, seen, state_word(SKV_PROCESS_JOINING, incarnation))) {
		r = lock_call(region->map_fd, F_OFD_SETLK, F_UNLCK, idx, NULL);
		return r < 0 ? -EIO : 0;
	}
	SKV_FAULT(JOIN_CLAIMED);
	*ret_incarnation = incarnation;
	return 1;
}

static bool is_map_fd(const struct skv_region *region)
{
	struct stat st;

	return region->map_fd >= 0 && fstat(region->map_fd, &st) == 0 &&
	       st.st_dev == region->dev && st.st_ino == region->ino;
}

int skv_peer_join(struct skv_region *region, struct skv_peer *ret_peer)
{
	struct skv_process *slot;
	uint64_t incarnation = 0;
	uint32_t n, idx = 0;
	int r = 0;

	/* Without a second descriptor the lock could not be proved, nor others judged. */
	if (region->read_only || !is_map_fd(region) || skv_region_fd(region) < 0)
		return -EIO;

	for (n = 0; n < 2 * region->geo.n_processes; n++) {
		idx = n % region->geo.n_processes;
		r = try_slot(region, idx, n >= region->geo.n_processes, &incarnation);
		if (r != 0)
			break;
	}
	if (r < 0)
		return r;
	if (r == 0)
		return -EUSERS;

	slot = skv_peer_slot(region, idx);
	skv_store_relaxed(&slot->pid, (uint64_t)getpid());
	skv_store_relaxed(&slot->pid_ns, read_pid_ns());
	skv_store_relaxed(&slot->start_time, read_start_time());
	skv_store_relaxed(&slot->joined_ms, skv_clock_boot_ms());
	SKV_FAULT(JOIN_DESCRIBED);

	if (!skv_cas(&slot->state, state_word(SKV_PROCESS_JOINING, incarnation),
		     state_word(SKV_PROCESS_LIVE, incarnation))) {
		/* Nobody buries a slot whose byte is locked: the lock does not work here, or the
		 * segment is being scribbled on. */
		return -EOPNOTSUPP;
	}
	SKV_FAULT(JOIN_LIVE);

	/* From here on the lock lives exactly as long as the mapping. */
	close(region->map_fd);
	region->map_fd = -1;
	SKV_FAULT(JOIN_CLOSED);

	/* A file system that maps another file than it opened (stacked ones) lost the lock. */
	r = byte_is_locked(region, idx);
	if (r != 1) {
		/* What was inherited is not recovered: leave the slot as the dead one did. */
		if (n < region->geo.n_processes)
			skv_cas(&slot->state, state_word(SKV_PROCESS_LIVE, incarnation),
			state_word(SKV_PROCESS_FREE, incarnation + 1));
		return r == 0 ? -EOPNOTSUPP : -EIO;
	}

	ret_peer->idx = idx;
	ret_peer->incarnation = incarnation;
	ret_peer->inherited = n >= region->geo.n_processes;
	return 0;
}

void skv_peer_leave(struct skv_region *region, const struct skv_peer *peer)
{
	/* [leave.free] release, pairs with [join.claim]: our last stores come first. Losing
	 * this means that the slot is not ours any more, and then there is nothing to do. */
	skv_cas(&skv_peer_slot(region, peer->idx)->state,
		state_word(SKV_PROCESS_LIVE, peer->incarnation),
		state_word(SKV_PROCESS_FREE, peer->incarnation + 1));
	SKV_FAULT(LEAVE_FREED);
}

/* ---- judging --------------------------------------------------------------------- */

bool skv_peer_is_dead(struct skv_region *region, uint32_t idx, uint64_t *ret_state)
{
	struct skv_process *slot;
	uint64_t seen, state;

	if (idx >= region->geo.n_processes)
		return false;
	slot = skv_peer_slot(region, idx);

	/* [dead.state] acquire, pairs with [join.claim]: a claim that is seen has its byte. */
	seen = skv_load_acquire(&slot->state);
	state = seen & SKV_PROCESS_STATE_MASK;
	if (state != SKV_PROCESS_JOINING && state != SKV_PROCESS_LIVE)
		return false;
	if (byte_is_locked(region, idx) != 0)
		return false;
	/* The system call lies between the two loads and no load passes it. Still the same
	 * incarnation: it was its byte that was free. */
	if (skv_load_acquire(&slot->state) != seen)
		return false;
	*ret_state = seen;
	return true;
}

bool skv_peer_bury(struct skv_region *region, uint32_t idx, uint64_t state)
{
	if (region->read_only || idx >= region->geo.n_processes)
		return false;
	/* [bury.free] release, pairs with [join.claim]: recovery is complete. */
	return skv_cas(&skv_peer_slot(region, idx)->state, state,
		       state_word(SKV_PROCESS_FREE, incarnation_of(state) + 1));
}

int skv_peer_is_stopped(const struct skv_region *region, uint32_t idx)
{
	const struct skv_process *slot = skv_peer_slot(region, idx);
	uint64_t pid = skv_load_relaxed(&slot->pid), start;
	uint64_t pid_ns = skv_load_relaxed(&slot->pid_ns);
	uint64_t start_time = skv_load_relaxed(&slot->start_time);
	char letter;

	/* Its number says something only where it was given out, and only if it is still its. */
	if (pid_ns == 0 || pid_ns != read_pid_ns() || start_time == 0 || !proc_is_ours() ||
	    !read_stat(pid, &letter, &start) || start != start_time)
		return -1;
	return letter == 'T' || letter == 't';
}
