/* SPDX-License-Identifier: MIT */
#ifndef SKV_SHM_PEER_H
#define SKV_SHM_PEER_H

/*
 * peer: who is attached read-write, and who of them is dead.
 *
 * A process holds a lock on one byte of the file, taken through the description that its
 * mapping was made from; that description is then closed, so the lock lives exactly as long
 * as the mapping: it outlasts closefrom and SIGSTOP, is not inherited by a forked child,
 * and is dropped by munmap, exec and death, in every namespace. An unlocked byte therefore
 * means "no mapping, no further store". Protocol, table and ordering pairs: see peer.c.
 */

#include "shm/region.h"

struct skv_peer {
	uint32_t idx;         /* process slot */
	uint64_t incarnation; /* of the slot while it is ours */
	bool inherited;       /* from a dead process, together with its contexts */
};

/*
 * skv_peer_join - take a process slot and the lock that vouches for it
 * @region: freshly made or attached read-write; its map_fd is closed by this call
 *
 * Prefers a free slot; else it takes over that of a dead process, whose contexts the caller
 * must then recover. Returns 0, -EUSERS when every slot is held by the living, -EOPNOTSUPP when the
 * file system does not tie the lock to the mapping, -EIO.
 */
int skv_peer_join(struct skv_region *region, struct skv_peer *ret_peer);

/* skv_peer_leave - give the slot back; the lock goes with the mapping */
void skv_peer_leave(struct skv_region *region, const struct skv_peer *peer);

/*
 * skv_peer_is_dead - has this incarnation of a slot died without leaving?
 * @ret_state: the state word that was judged, for skv_peer_bury
 *
 * True is final. False when it lives, is free, or cannot be judged now.
 */
bool skv_peer_is_dead(struct skv_region *region, uint32_t idx, uint64_t *ret_state);

/*
 * skv_peer_is_stopped - does the kernel say that it is stopped? For people.
 *
 * 1, 0, or -1 when it cannot be seen from here: another pid namespace, a hidden /proc.
 */
int skv_peer_is_stopped(const struct skv_region *region, uint32_t idx);

/* skv_peer_bury - free the slot of a dead process after everything it held was recovered */
bool skv_peer_bury(struct skv_region *region, uint32_t idx, uint64_t state);

static inline struct skv_process *skv_peer_slot(const struct skv_region *region, uint32_t idx)
{
	return (struct skv_process *)(void *)(region->base + region->geo.process_off) + idx;
}

#endif
