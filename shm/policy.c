/* SPDX-License-Identifier: MIT */
#include "shm/policy.h"

/*
 * Purpose and ancestry. Eviction needs to know which keys were used lately (LRU) or often
 * (LFU), and readers may not change records or slots. So uses are noted beside the map, in a
 * table of bytes that keys share: a count-min sketch (Cormode, Muthukrishnan, 2005) with the
 * conservative update of Estan and Varghese, aged by halving as in TinyLFU (Einziger, Friedman,
 * Manes, 2017); the same idea serves for ticks, where the oldest byte of a key is the bound.
 *
 *    [ head: clock | work, hand, ages ][ line 0: 64 bytes ][ line 1 ] ...
 *
 *  line     by the top bits of the key's place, so that the keys of one leaf lie in a few
 *           neighbouring lines and whoever looks at a leaf reads little
 *  bytes    some of the line by a mix of the whole place: a use costs one cache line
 *
 *  LRU      a byte is the tick of the last use; the age of a key is that of its oldest byte
 *  LFU      low half: uses, up to 15; high half: tick. A key has been used as often as its
 *           lowest byte says; among equals the oldest goes
 *
 * Time is counted in bytes that were inserted, not in seconds, so what happens does not depend on
 * the machine, and a full segment turns over in about a fixed number of ticks whatever the sizes
 * and the rate of hits. Writers credit what they insert in steps; whoever fills a tick moves the
 * clock. Readers only look at it.
 *
 * An ageing hand passes over a few lines now and then. For LRU it moves with the clock and keeps
 * old bytes old, which would be young again after 256 ticks. For LFU it moves with the uses, which
 * threads credit in steps, halves the counts, and comes round when twenty times as many uses have
 * passed as there are keys in a full segment.
 *
 * Protocol. There is none: every byte and word here is read and written relaxed, uses that meet
 * may be lost, bytes may be torn between two keys, a hostile table gives a bad choice. Nothing
 * else depends on it. Whoever dies leaves a hint that is a little wrong.
 */

/* Bytes per key. */
#define LRU_BYTES 2u
#define LFU_BYTES 3u

/* Ticks in which as many bytes are inserted as the segment holds. */
#define LRU_TICKS 128u
#define LFU_TICKS 32u

/* What a writer inserts before it credits that, at most; and a part of a tick, at most. */
#define INSERT_STEP 16384u
#define INSERT_PART 4u

/* Older than this is as old as this; the hand comes round in fewer ticks than are left to 256. */
#define LRU_AGE_MAX 192u
#define LRU_HAND_TICKS 48u

#define LFU_COUNT_MAX 15u
/* Keys in a full segment times this: uses until all counts are halved. */
#define LFU_WINDOW 20u
/* Uses that a thread credits at once. */
#define USE_STEP 64u

/* Lines that the hand passes at once, at most: 64 KiB. */
#define HAND_LINES_MAX 1024u

static _Thread_local uint32_t uses_left; /* that are credited already */

static struct skv_policy *policy_of(const struct skv_map *map)
{
	return (struct skv_policy *)(void *)(map->region.base + map->region.geo.policy_off);
}

static uint64_t n_lines(const struct skv_map *map)
{
	return (map->region.geo.dir_off - map->region.geo.policy_off - sizeof(struct skv_policy)) /
	       SKV_POLICY_LINE;
}

static uint8_t *line_at(const struct skv_map *map, uint64_t line)
{
	return map->region.base + map->region.geo.policy_off + sizeof(struct skv_policy) +
	       line * SKV_POLICY_LINE;
}

/* 36 bits times at most 28. */
static uint64_t line_number(const struct skv_map *map, struct skv_place place)
{
	return (place.bits * n_lines(map)) >> SKV_PLACE_BITS;
}

static uint8_t *line_of(const struct skv_map *map, struct skv_place place)
{
	return line_at(map, line_number(map, place));
}

/* Six bits for each byte of the key. */
static uint32_t bytes_of(struct skv_place place)
{
	return (uint32_t)((place.bits * 0x9e3779b97f4a7c15ull) >> 40);
}

/* ---- the hand ----------------------------------------------------------------------- */

static void halve_line(uint8_t *line)
{
	uint64_t *word = (uint64_t *)(void *)line, seen;
	uint32_t i;

	for (i = 0; i < SKV_POLICY_LINE / 8; i++) {
		seen = skv_load_relaxed(&word[i]);
		skv_store_relaxed(&word[i], ((seen >> 1) & 0x0707070707070707ull) |
						    (seen & 0xf0f0f0f0f0f0f0f0ull));
	}
}

static void keep_line_old(uint8_t *line, uint8_t now)
{
	uint32_t i;

	for (i = 0; i < SKV_POLICY_LINE; i++) {
		if ((uint8_t)(now - skv_load_relaxed_8(&line[i])) > LRU_AGE_MAX)
			skv_store_relaxed_8(&line[i], (uint8_t)(now - LRU_AGE_MAX));
	}
}

/* By the part @step / @round of the table. The hand counts lines times 2^16, so that it also moves
 * by parts of a line. */
static void move_hand(const struct skv_map *map, uint64_t step, uint64_t round)
{
	struct skv_policy *policy = policy_of(map);
	uint8_t now = (uint8_t)skv_load_relaxed(&policy->clock);
	uint64_t n = n_lines(map), seen, by, line;

	round = round < step ? step : round;
	by = (uint64_t)((double)n * 65536.0 * (double)step / (double)round);
	if (by > (uint64_t)HAND_LINES_MAX << 16)
		by = (uint64_t)HAND_LINES_MAX << 16;
	seen = skv_load_relaxed(&policy->hand);
	/* Lost: somebody else moves it, and one step more or less is nothing. */
	if (!skv_cas(&policy->hand, seen, seen + by))
		return;
	for (line = seen >> 16; line < (seen + by) >> 16; line++) {
		if (map->region.geo.evict == SHMKV_EVICT_LRU)
			keep_line_old(line_at(map, line % n), now);
		else
			halve_line(line_at(map, line % n));
	}
}

/* ---- the clock ---------------------------------------------------------------------- */

static uint64_t tick_bytes(const struct skv_map *map)
{
	return (uint64_t)map->region.geo.n_chunks * SKV_CHUNK_BYTES /
	       (map->region.geo.evict == SHMKV_EVICT_LRU ? LRU_TICKS : LFU_TICKS);
}

/* Keys that a full segment holds, if they are like those of now; about right at best. */
static uint64_t keys_when_full(const struct skv_map *map)
{
	const struct skv_superblock *super = skv_super(map);
	struct skv_ready ready = skv_chunks_ready(map);
	uint64_t keys = 0, all = map->region.geo.n_chunks, used;
	uint32_t i, n = skv_contexts_ready(map);
	const struct skv_context *ctx;

	for (i = 0; i < n; i++) {
		ctx = skv_context_at(map, i);
		keys += skv_load_relaxed(&ctx->inserts) - skv_load_relaxed(&ctx->deletes);
	}
	used = ready.low + all - ready.high - skv_load_relaxed(&super->n_chunks_free[0]) -
	       skv_load_relaxed(&super->n_chunks_free[1]);
	if (used == 0 || used > all)
		used = all;
	if (keys == 0 || keys > all * SKV_CHUNK_BYTES)
		keys = 1;
	return (uint64_t)((double)keys * (double)all / (double)used);
}

static void credit(struct skv_writer *writer, uint64_t bytes)
{
	const struct skv_map *map = writer->map;
	struct skv_policy *policy = policy_of(map);
	uint64_t tick = tick_bytes(map), work;

	skv_add_relaxed(&policy->work, bytes);
	work = skv_load_relaxed(&policy->work);
	if (work >= tick && skv_cas(&policy->work, work, work % tick)) {
		skv_add_relaxed(&policy->clock, work / tick);
		skv_store_relaxed(&policy->window, keys_when_full(map) * LFU_WINDOW);
	}
	if (map->region.geo.evict == SHMKV_EVICT_LRU)
		move_hand(map, bytes, tick * LRU_HAND_TICKS);
}

void skv_policy_note_bytes(struct skv_writer *writer, uint64_t bytes)
{
	uint64_t step = tick_bytes(writer->map) / INSERT_PART;

	writer->inserted += bytes;
	if (writer->inserted < (step < INSERT_STEP ? step : INSERT_STEP))
		return;
	credit(writer, writer->inserted);
	writer->inserted = 0;
}

/* ---- uses --------------------------------------------------------------------------- */

static void use_lru(uint8_t *line, uint32_t bytes, uint8_t now)
{
	uint32_t i;

	for (i = 0; i < LRU_BYTES; i++, bytes >>= 6) {
		/* A key that is used all the time dirties no line but once per tick. */
		if (skv_load_relaxed_8(&line[bytes & 63]) != now)
			skv_store_relaxed_8(&line[bytes & 63], now);
	}
}

static void use_lfu(uint8_t *line, uint32_t bytes, uint8_t now)
{
	uint8_t byte[LFU_BYTES], count = LFU_COUNT_MAX, next;
	uint32_t i;

	for (i = 0; i < LFU_BYTES; i++) {
		byte[i] = skv_load_relaxed_8(&line[bytes >> (6 * i) & 63]);
		if ((byte[i] & 15) < count)
			count = byte[i] & 15;
	}
	for (i = 0; i < LFU_BYTES; i++) {
		/* Only the lowest count: the higher ones are those of others. */
		next = (uint8_t)((byte[i] & 15) + ((byte[i] & 15) == count && count < LFU_COUNT_MAX));
		next = (uint8_t)(next | now << 4);
		if (next != byte[i])
			skv_store_relaxed_8(&line[bytes >> (6 * i) & 63], next);
	}
}

void skv_policy_note_use(const struct skv_map *map, struct skv_place place)
{
	uint64_t clock = skv_load_relaxed(&policy_of(map)->clock);
	uint8_t *line = line_of(map, place);

	if (map->region.geo.evict == SHMKV_EVICT_LRU) {
		use_lru(line, bytes_of(place), (uint8_t)clock);
		return;
	}
	use_lfu(line, bytes_of(place), (uint8_t)(clock & 15));
	/* One counter for all maps of a thread: each gets its share of the steps. */
	if (uses_left-- == 0) {
		uses_left = USE_STEP - 1;
		move_hand(map, USE_STEP, skv_load_relaxed(&policy_of(map)->window));
	}
}

/*
 * 64 times the uses in one window. A count that was halved just now stands for as many uses as it
 * says; it doubles until the hand comes again. Without this the keys behind the hand would all go
 * before those in front of it.
 */
static uint32_t uses_of(const struct skv_map *map, struct skv_place place, uint32_t count)
{
	uint64_t n = n_lines(map), line = line_number(map, place);
	uint64_t hand = (skv_load_relaxed(&policy_of(map)->hand) >> 16) % n;
	uint64_t since = hand > line ? hand - line : hand + n - line;

	return (uint32_t)(count * 64 * n / (n + since));
}

uint32_t skv_policy_keep(const struct skv_map *map, struct skv_place place)
{
	uint64_t clock = skv_load_relaxed(&policy_of(map)->clock);
	const uint8_t *line = line_of(map, place);
	uint32_t bytes = bytes_of(place), i, age, oldest = 0, count = LFU_COUNT_MAX;
	uint8_t byte;

	if (map->region.geo.evict == SHMKV_EVICT_LRU) {
		for (i = 0; i < LRU_BYTES; i++, bytes >>= 6) {
			age = (uint8_t)(clock - skv_load_relaxed_8(&line[bytes & 63]));
			oldest = age > oldest ? age : oldest;
		}
		return 255 - oldest;
	}
	for (i = 0; i < LFU_BYTES; i++, bytes >>= 6) {
		byte = skv_load_relaxed_8(&line[bytes & 63]);
		age = (uint32_t)(clock - (byte >> 4)) & 15;
		oldest = age > oldest ? age : oldest;
		count = (byte & 15u) < count ? byte & 15u : count;
	}
	return uses_of(map, place, count) + 15 - oldest;
}

uint32_t skv_policy_disparity(const struct skv_map *map)
{
	/* A sixteenth of the segment's turnover; two uses in a window. */
	return map->region.geo.evict == SHMKV_EVICT_LRU ? LRU_TICKS / 16 : 128;
}
