/* SPDX-License-Identifier: MIT */
#ifndef SKV_SHM_EXPIRY_H
#define SKV_SHM_EXPIRY_H

/*
 * expiry: which records have expired, and taking their memory back.
 *
 * Protocol: see expiry.c.
 */

#include "api/engine.h"
#include "base/clock.h"
#include "shm/writer.h"

/* How long a key shall live that is about to be written. */
struct skv_lifetime {
	uint64_t ttl_ms; /* 0: for ever */
	bool keep;       /* a key that is present keeps the deadline it has */
};

/* What a caller asked for, on this map. */
static inline struct skv_lifetime skv_lifetime_of(const struct skv_map *map, uint64_t ttl_ms)
{
	struct skv_lifetime life = { ttl_ms, ttl_ms == SHMKV_TTL_KEEP };

	if (ttl_ms == SHMKV_TTL_NEVER)
		life.ttl_ms = 0;
	else if (ttl_ms == SHMKV_TTL_DEFAULT || ttl_ms == SHMKV_TTL_KEEP)
		life.ttl_ms = map->region.geo.default_ttl_ms;
	return life;
}

/* The deadline of what lives from now on; rounded up, so that nothing lives too short. */
static inline uint64_t skv_deadline_after(uint64_t now_ns, uint64_t ttl_ms)
{
	return (now_ns + 999999u) / 1000000u + ttl_ms;
}

/* The deadline of the record that a slot names, 0 for none. True if the slot is found
 * unchanged afterwards, like everything read from a record. */
static inline uint64_t skv_deadline_of(const struct skv_map *map, uint64_t w, uint64_t off)
{
	return w & SKV_SLOT_EXPIRES ? skv_load_acquire(&skv_record_at(map, off)->expiry) : 0;
}

/* Has it come? Reads no clock for what does not expire. */
static inline bool skv_is_expired(const struct skv_map *map, uint64_t w, uint64_t off)
{
	uint64_t now, deadline;

	if (__builtin_expect(!(w & SKV_SLOT_EXPIRES), 1))
		return false;
	/* The clock first: "expired" is then so when the deadline is read. */
	now = skv_clock_boot_ms();
	deadline = skv_deadline_of(map, w, off);
	return deadline && now >= deadline;
}

/* Before the first key with a deadline is linked: from now on writers look for them. */
static inline void skv_expiry_note(struct skv_map *map)
{
	uint64_t *expires = &skv_super(map)->expires;

	if (__builtin_expect(!skv_load_relaxed(expires), 0))
		skv_store_relaxed(expires, 1);
}

/*
 * skv_expiry_deadline - when a key expires
 * @ret_deadline: ms of the boot clock, 0 for never
 *
 * Returns 0 or what skv_index_get answers. Writes nothing.
 */
int skv_expiry_deadline(const struct skv_map *map, const struct skv_key *key,
			uint64_t *ret_deadline);

/* What is left until a deadline, as shmkv_ttl says it; -ENOENT when it has come. */
int skv_expiry_remaining(uint64_t deadline, uint64_t *ret_ms);

/* How much a call looks at: one that found no memory, and one of housekeeping. Keys lie at random
 * places, so a sample finds expired ones unless hardly any have. */
#define SKV_EXPIRY_FULL_LINES 4096u
#define SKV_EXPIRY_MAINTAIN_LINES 16384u

/*
 * skv_expiry_step - remove what has expired from the next lines
 * @n_lines: of four slots each
 *
 * Goes on where the last step of any process ended. Returns how many expired keys it met, which
 * are gone now, by us or by others.
 */
uint64_t skv_expiry_step(struct skv_writer *writer, uint32_t n_lines);

/* A small step with every few calls of a writer; nothing where no key ever expired. */
void skv_expiry_tick(struct skv_writer *writer);

/* The whole index once; as shmkv_expire. */
int skv_expiry_walk(struct skv_writer *writer, uint64_t max, uint64_t *ret_removed);

#endif
