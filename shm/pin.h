/* SPDX-License-Identifier: MIT */
#ifndef SKV_SHM_PIN_H
#define SKV_SHM_PIN_H

/*
 * pin: keeps a record where it is while somebody reads it without copying.
 *
 * A thread announces the block in one of its pin words; whoever unlinks the block leaves it
 * to the last holder. Nobody waits: a stopped holder costs its own blocks. Protocol, states
 * and ordering pairs: see pin.c.
 */

#include "shm/directory.h"
#include "shm/writer.h"

struct skv_pin {
	uint32_t context;
	uint32_t idx;
	uint64_t word; /* as it was announced */
};

/*
 * skv_pin_acquire - pin the block that a slot names
 * @route, @slot, @version: the slot as it was read; looked at again after the announcement
 * @off: the block
 * @ret_pin: for skv_pin_release
 *
 * Returns 0, -EAGAIN if the slot moved on meanwhile (look the key up again), or -EMLINK if
 * every pin word of this thread is taken.
 *
 * Threads: the owner of @writer. Progress: wait-free but for what -EAGAIN asks for. If the
 * holder dies, the reaper releases the pin.
 */
int skv_pin_acquire(struct skv_writer *writer, const struct skv_route *route,
		    const struct skv_cell *slot, uint64_t version, uint64_t off,
		    struct skv_pin *ret_pin);

/*
 * skv_pin_release - let go; free the block if it was unlinked and nobody else holds it
 * @writer: of the calling thread, which may be another than the one that pinned
 *
 * Also what a reaper does for the dead, wherever they stopped in it; it has announced the
 * block itself. Returns the bytes of the block if this call freed it, else 0.
 */
uint64_t skv_pin_release(struct skv_writer *writer, const struct skv_pin *pin);

/* Release every pin of the writer's own context, at the end of a handle. */
void skv_pin_release_all(struct skv_writer *writer);

/* How many pin words of a context are in use. */
uint32_t skv_pin_count(const struct skv_map *map, uint32_t context);

/*
 * skv_pin_disable - a context without pins is not looked at any more by those who unlink
 * @still: NULL for the owner of the context; a reaper says here whether its owner is still
 *         the dead one
 *
 * Nothing happens while a pin word is in use.
 */
void skv_pin_disable(struct skv_map *map, uint32_t context, bool (*still)(void *arg), void *arg);

/* The block that a pin word names. */
static inline uint64_t skv_pin_off(uint64_t word)
{
	return (word >> SKV_PIN_OFF_SHIFT) << 4;
}

/* May any context pin? If not, nobody has to look for pins. The caller has put a full fence
 * between its unlink and this. */
bool skv_pin_any(const struct skv_map *map);

/* Does anybody hold the block, and not only to let it go? The same fence. */
bool skv_pin_is_held(const struct skv_map *map, uint64_t off);

/* The blocks that the pin words of a context name, in whatever phase; returns how many. */
uint32_t skv_pin_list(const struct skv_map *map, uint32_t context, uint64_t ret_offs[SKV_PINS]);

/* Does a pin word of a context name an address inside the stretch, in whatever phase? */
bool skv_pin_names(const struct skv_map *map, uint32_t context, uint64_t off, uint64_t len);

#endif
