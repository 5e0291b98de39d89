/* SPDX-License-Identifier: MIT */
#include "shm/geometry.h"

#include "base/boot.h"
#include "base/clock.h"

#include <shmkv/expiry.h>

#include <errno.h>

/* In a smaller map, steps of 2 MiB would be a large part of it. */
#define HUGE_FROM ((uint64_t)64 << 20)

/* A map with fewer chunks could hold a leaf or two and nothing else. */
#define CHUNKS_MIN 16u
/* Leaf numbers have 28 bits. */
#define CHUNKS_MAX (1u << 26)

#define PROCESSES_DEFAULT 128u
#define CONTEXTS_DEFAULT 512u
#define MAX_BYTES_DEFAULT ((uint64_t)64 << 20)

#define DIR_PIECE_BYTES ((uint64_t)SKV_DIR_PIECE_CELLS * sizeof(struct skv_cell))

_Static_assert((1ull << (SKV_DEPTH_MAX + 1)) <= (uint64_t)SKV_DIR_PIECES_MAX * SKV_DIR_PIECE_CELLS,
	       "every directory piece has its bit");
_Static_assert(SKV_CLASSES_MAX * sizeof(struct skv_class_hints) <= SKV_PAGE, "one page of classes");
_Static_assert(SKV_WAIT_WORDS * sizeof(uint32_t) == SKV_PAGE, "one page of futex words");
_Static_assert(SHMKV_SIZE_MAX / SKV_CHUNK_BYTES <= CHUNKS_MAX, "every leaf has a number");

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

	geo->wait_off = off;
	off += SKV_PAGE;
	geo->process_off = off;
	off += skv_round_up((uint64_t)geo->n_processes * sizeof(struct skv_process), SKV_PAGE);
	geo->context_off = off;
	off += skv_round_up((uint64_t)geo->n_contexts * sizeof(struct skv_context), SKV_PAGE);
	geo->class_off = off;
	off += SKV_PAGE;
	geo->policy_off = off;
	if (geo->evict != SHMKV_EVICT_NONE)
		off += SKV_PAGE + skv_round_up(geo->max_bytes / SKV_POLICY_SHARE, SKV_PAGE);
	geo->dir_off = off;
	off += skv_round_up(dir_bytes, SKV_PAGE);
	geo->cell_off = off;
	off += skv_round_up((uint64_t)geo->n_chunks * sizeof(struct skv_cell), SKV_PAGE);
	geo->bitmap_off = off;
	off += skv_round_up((uint64_t)geo->n_chunks * sizeof(struct skv_bitmap), SKV_PAGE);
	geo->summary_off = off;
	off += skv_round_up(((uint64_t)geo->n_chunks + 7) / 8, SKV_PAGE);

	dir_used = (uint64_t)geo->n_chunks * SKV_LEAVES_PER_CHUNK * 2 * sizeof(struct skv_cell);
	dir_used = skv_round_up(dir_used, DIR_PIECE_BYTES);
	if (dir_used > dir_bytes)
		dir_used = skv_round_up(dir_bytes, SKV_PAGE);

	/* In a map of some size every chunk lies within one huge page, where there are any. */
	geo->chunk_off =
		skv_round_up(off, geo->max_bytes >= HUGE_FROM ? SKV_HUGE_BYTES : SKV_CHUNK_BYTES);
	geo->segment_bytes = geo->chunk_off + (uint64_t)geo->n_chunks * SKV_CHUNK_BYTES;

	return off - skv_round_up(dir_bytes, SKV_PAGE) + dir_used +
	       (uint64_t)geo->n_chunks * SKV_CHUNK_BYTES;
}

static uint64_t lay_out_chunks(struct skv_geometry *geo, uint32_t n_chunks)
{
	geo->n_chunks = n_chunks;
	geo->level_max = level_max_of(n_chunks);
	return lay_out(geo);
}

static int plan_huge(uint32_t wanted, uint64_t max_bytes, uint32_t *ret_huge)
{
	if (wanted > SHMKV_HUGE_EAGER)
		return -EINVAL;
	if (max_bytes < HUGE_FROM)
		*ret_huge = SHMKV_HUGE_NEVER;
	else
		*ret_huge = wanted == SHMKV_HUGE_DEFAULT ? SHMKV_HUGE_LAZY : wanted;
	return 0;
}

int skv_geometry_plan(const struct shmkv_options *opts, struct skv_geometry *ret_geo)
{
	struct skv_geometry geo = { 0 };
	uint64_t participants, eighth;
	uint32_t low = 0, high;
	int r;

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

	if (opts->evict > SHMKV_EVICT_LFU)
		return -EINVAL;
	geo.evict = opts->evict;
	r = plan_huge(opts->huge_pages, geo.max_bytes, &geo.huge);
	if (r < 0)
		return r;

	/* What was asked for is kept or refused; a default takes an eighth of a small map. */
	eighth = geo.max_bytes / 8;
	if (opts->default_ttl_ms > SHMKV_TTL_MAX)
		return -EINVAL;
	geo.default_ttl_ms = opts->default_ttl_ms;
	geo.n_processes = opts->max_processes ? opts->max_processes : PROCESSES_DEFAULT;
	geo.n_contexts = opts->max_threads ? opts->max_threads : CONTEXTS_DEFAULT;
	participants = (uint64_t)geo.n_processes * sizeof(struct skv_process);
	if (opts->max_threads == 0 &&
	    participants + (uint64_t)geo.n_contexts * sizeof(struct skv_context) > eighth) {
		uint64_t left = participants < eighth ? eighth - participants : 0;

		geo.n_contexts = (uint32_t)(left / sizeof(struct skv_context));
		if (geo.n_contexts < SKV_CONTEXTS_PER_PAGE)
			geo.n_contexts = SKV_CONTEXTS_PER_PAGE;
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

int skv_geometry_check(const struct skv_superblock *sb, uint64_t file_bytes,
		       struct skv_geometry *ret_geo)
{
	struct skv_geometry geo = { 0 };
	uint64_t boot_id[2], time_ns;

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
	geo.evict = sb->evict;
	geo.huge = sb->huge_pages;
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
	geo.default_ttl_ms = sb->default_ttl_ms;
	if (geo.default_ttl_ms > SHMKV_TTL_MAX)
		return -EBADMSG;
	if (geo.evict > SHMKV_EVICT_LFU)
		return -EBADMSG;
	if (geo.huge < SHMKV_HUGE_NEVER || geo.huge > SHMKV_HUGE_EAGER ||
	    (geo.huge != SHMKV_HUGE_NEVER && geo.max_bytes < HUGE_FROM))
		return -EBADMSG;
	if (geo.level_max != level_max_of(geo.n_chunks) || geo.level_min > geo.level_max ||
	    (1ull << geo.level_min) > geo.n_chunks)
		return -EBADMSG;

	if (lay_out(&geo) > geo.max_bytes)
		return -EBADMSG;
	if (sb->segment_bytes != geo.segment_bytes || file_bytes != geo.segment_bytes ||
	    sb->wait_off != geo.wait_off || sb->process_off != geo.process_off ||
	    sb->context_off != geo.context_off || sb->class_off != geo.class_off ||
	    sb->policy_off != geo.policy_off || sb->dir_off != geo.dir_off ||
	    sb->cell_off != geo.cell_off || sb->bitmap_off != geo.bitmap_off ||
	    sb->summary_off != geo.summary_off || sb->chunk_off != geo.chunk_off)
		return -EBADMSG;

	/* The watermarks only rise, so what was read may be old but is never too high. */
	if (sb->contexts_ready < 1 || sb->contexts_ready > geo.n_contexts ||
	    (sb->chunks_ready & UINT32_MAX) + (sb->chunks_ready >> 32) > geo.n_chunks)
		return -EBADMSG;

	/* On a disk-backed folder a segment outlives its boot, but not its deadlines and peers. */
	skv_boot_id(boot_id);
	if ((boot_id[0] | boot_id[1]) && (sb->boot_id[0] | sb->boot_id[1]) &&
	    (boot_id[0] != sb->boot_id[0] || boot_id[1] != sb->boot_id[1]))
		return -EBADMSG;

	/* Everything else is as it must be, and the clock shows another time here. */
	time_ns = skv_clock_namespace();
	if (time_ns && sb->time_ns && time_ns != sb->time_ns)
		return -EXDEV;

	*ret_geo = geo;
	return 0;
}
