/* SPDX-License-Identifier: MIT */
#ifndef SHMKV_WAIT_H
#define SHMKV_WAIT_H

/*
 * wait: sleep until a key, or anything, has changed.
 *
 * A wait compares states. The caller says what it has seen; the wait answers as soon as that is
 * not what is there, also when the change came before the call. So nothing is missed
 * between a read and the wait that follows it:
 *
 *	token = 0;                       (nothing seen yet: waits until the key appears)
 *	for (;;) {
 *		r = shmkv_wait(kv, key, key_len, token, SHMKV_NO_DEADLINE, &token);
 *		if (r == -EINTR)
 *			continue;
 *		if (r < 0)
 *			break;
 *		r = shmkv_get(kv, key, key_len, buf, sizeof(buf), &value, &token);
 *		...
 *	}
 *
 * Every new value is noticed, but not every value is seen: of several changes between two
 * looks only the last one is there to be read. A key that was absent, appeared and was removed
 * between two looks is in the state it was in, and nobody is told.
 *
 * SLEEP. Nobody runs while nothing happens, but for a look every 250 ms. Some keys share a word
 * to sleep on, so that a change of another key may cause a look. A read-only handle cannot
 * say that it sleeps: it looks every 1 to 10 ms.
 *
 * SIGNALS. A wait ends with -EINTR when a signal handler ran while it slept. A signal that comes
 * a moment before the sleep does not end it: a handler that wants to end waits for sure
 * calls shmkv_wait_cancel.
 *
 * THREADS. Any number of threads may wait through one handle, and write through it at the same
 * time. A wait takes none of the places for writers. shmkv_detach must not be called while a thread
 * waits through the handle: cancel, let the threads return, then detach.
 *
 * DEATH. A process that is killed between a change and waking those who wait for it delays them
 * until its remains are recovered, at most 250 ms; so does one that is stopped there. A
 * waiter that dies leaves nothing that anybody has to clean up.
 *
 * All calls answer -EOPNOTSUPP on an engine that is not shared.
 */

#include <shmkv/shmkv.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Exported, also from a build that hides everything by default. */
#pragma GCC visibility push(default)

/* Deadlines are nanoseconds of CLOCK_MONOTONIC. One that is over, such as 0, makes a wait look
 * once and not sleep. */
#define SHMKV_NO_DEADLINE UINT64_MAX

/* shmkv_deadline_in - the deadline that is so many milliseconds ahead */
uint64_t shmkv_deadline_in(uint64_t ms);

/*
 * shmkv_wait - sleep until a key is not in the state that the caller has seen
 * @token_seen: the token that was read with the value, or 0 for "absent"
 * @ret_token: NULL, or where to put the token that the key has now, 0 when it is absent
 *
 * Returns 0, -ETIMEDOUT, -EINTR, -ECANCELED, and the codes of a read. A key that expires is
 * absent from that moment on, and whoever waits for it is told.
 */
int shmkv_wait(struct shmkv *kv, const void *key, size_t key_len, uint64_t token_seen,
	       uint64_t deadline_ns, uint64_t *ret_token);

/*
 * shmkv_state - a number that changes with every change of any key
 * @ret_state: to be compared for equality only
 *
 * Take it before you look at keys, and pass it to shmkv_wait_any after that. It may also
 * change when nothing else has: after the death of a writer. It costs a look at every thread
 * that has ever written. A key that expires changes it when its memory is taken back.
 */
int shmkv_state(struct shmkv *kv, uint64_t *ret_state);

/*
 * shmkv_wait_any - sleep until anything has changed
 * @state_seen: from shmkv_state, or from the last wait
 * @ret_state: NULL, or where to put the state now
 *
 * Returns 0, -ETIMEDOUT, -EINTR, -ECANCELED.
 */
int shmkv_wait_any(struct shmkv *kv, uint64_t state_seen, uint64_t deadline_ns,
		   uint64_t *ret_state);

/*
 * shmkv_wait_cancel - end every wait of this handle
 *
 * Waits that are going on, in any thread of this process, answer -ECANCELED; so do those that
 * begin later, at once, until shmkv_wait_resume. So nothing is lost between looking at a
 * flag of one's own and the wait. Other handles are not concerned, though who waits through them
 * may look once more. May be called from a signal handler.
 */
int shmkv_wait_cancel(struct shmkv *kv);

/* shmkv_wait_resume - allow waits again; those that were going on end all the same */
int shmkv_wait_resume(struct shmkv *kv);

/* ---- with poll(2) ------------------------------------------------------------------ */

/*
 * For programs that wait for many things in one place. The descriptor becomes readable when the
 * state has changed since the last shmkv_poll or shmkv_poll_any that answered -ETIMEDOUT, and
 * perhaps without a reason; what to do then is to call it again:
 *
 *	while ((r = shmkv_poll(kv, fd, key, key_len, token, &token)) == 0)
 *		...                      (the key has changed: look at it)
 *	if (r == -ETIMEDOUT)
 *		poll(&descriptors, n, timeout);
 *
 * Whoever makes the change makes one system call for it, once for each such answer. A
 * descriptor cannot look by itself: when the one who made the change is stopped before that system
 * call, or is killed and nobody recovers what it left, the next change tells of both. A key that
 * expires tells nobody: let poll(2) time out. What a process does about a change that its own
 * descriptors cannot reach any more (the application closed all of the library's, and the map has
 * no name) nobody is told either.
 *
 * Linux with /proc and inotify, and handles that may write; otherwise -EOPNOTSUPP: let a thread
 * wait and write to an eventfd, as the manual page shows.
 */

/*
 * shmkv_poll_open - a descriptor to poll for reading
 * @ret_fd: non-blocking, close-on-exec; end it with close(2). Nothing but poll(2), select(2) and
 *          epoll(7) is for the caller to do with it
 *
 * Returns 0, -EOPNOTSUPP, -EMFILE (also when the user has no inotify instance or watch left),
 * -ENOMEM.
 */
int shmkv_poll_open(struct shmkv *kv, int *ret_fd);

/*
 * shmkv_poll - has the key changed? If not, make the descriptor tell when it does
 * @fd: from shmkv_poll_open of the same map; one thread at a time
 *
 * Returns 0 with the state now, -ETIMEDOUT when nothing has changed, -EINVAL (no such
 * descriptor), and the codes of a read.
 */
int shmkv_poll(struct shmkv *kv, int fd, const void *key, size_t key_len, uint64_t token_seen,
	       uint64_t *ret_token);

/* shmkv_poll_any - the same for any change; see shmkv_state */
int shmkv_poll_any(struct shmkv *kv, int fd, uint64_t state_seen, uint64_t *ret_state);

#pragma GCC visibility pop

#ifdef __cplusplus
}
#endif

#endif
