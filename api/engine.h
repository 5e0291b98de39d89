/* SPDX-License-Identifier: MIT */
#ifndef SKV_API_ENGINE_H
#define SKV_API_ENGINE_H

/*
 * engine: what every map behind a shmkv handle can do.
 *
 * The api layer checks arguments, converts between values and msgpack, refuses closed and
 * forked handles, and then calls one of these. An engine sees keys and values as bytes
 * and answers with the codes of shmkv.h. A NULL member means -EOPNOTSUPP.
 */

#include <shmkv/expiry.h>
#include <shmkv/heap.h>
#include <shmkv/huge.h>
#include <shmkv/inspect.h>
#include <shmkv/snapshot.h>
#include <shmkv/shmkv.h>
#include <shmkv/view.h>
#include <shmkv/wait.h>

struct skv_key {
	const void *data;
	size_t len; /* 1..SHMKV_KEY_MAX, checked by the caller */
};

/* The first bytes of a packed value are enough to know its type, a scalar, or where the
 * payload of text and bytes begins. */
#define SKV_HEAD_MAX 16u

/* Where a read puts what it found. */
struct skv_sink {
	/* in */
	void *buf;
	size_t cap;
	/* How many bytes at the front of the value are not wanted in @buf (a str or bin
	 * header), or NULL. Called with a private copy of the head; may be called again when
	 * the read is retried. A return value above @len of the whole value counts as @len. */
	size_t (*skip)(const uint8_t *head, size_t head_len);
	/* out: valid with 0 and, but for buf, with -ENOBUFS */
	uint8_t head[SKV_HEAD_MAX];
	size_t head_len;  /* min(value_len, SKV_HEAD_MAX) */
	size_t value_len; /* of the whole packed value */
	size_t buf_len;   /* value_len minus what was skipped */
	uint64_t token;
	uint64_t deadline; /* by the engine's clock, ms; 0 for none */
};

/* A packed value in two pieces, so that payload is not copied before it is stored. */
struct skv_bytes {
	uint8_t head[SKV_HEAD_MAX];
	size_t head_len;
	const void *data;
	size_t len;
};

/* A value in place, kept there until the hold ends. The engine's, opaque to the caller but
 * for data, len and token. */
struct skv_hold {
	const uint8_t *data; /* the packed value */
	size_t len;
	uint64_t token;
	uint32_t context, idx;
	uint64_t word;
};

enum skv_write_mode {
	SKV_WRITE_PUT,
	SKV_WRITE_ADD,
	SKV_WRITE_REPLACE,
	SKV_WRITE_CAS,
};

/* A new value made from the old one: head, then a stretch of the old value, then tail. */
struct skv_splice {
	uint8_t head[SKV_HEAD_MAX];
	size_t head_len;
	size_t keep_off, keep_len; /* in the old packed value; 0, 0 when there was none */
	const void *tail;
	size_t tail_len;
};

/*
 * Decides the new value. @head: a private copy of the first @head_len bytes of the old
 * packed value of @old_len bytes, or NULL when the key is absent. Returns 0 or the code
 * that the operation shall answer. Called again whenever the operation is retried; what
 * it saw last is what was committed.
 */
typedef int skv_splice_fn(void *arg, const uint8_t *head, size_t head_len, size_t old_len,
			  struct skv_splice *ret_splice);

/* The most items that an engine gets at once; enough to hide memory's latency. */
#define SKV_GROUP_MAX 32u

/* One item of a group. The engine fills the sink and the result, as get does. */
struct skv_read_op {
	struct skv_key key;
	struct skv_sink sink;
	int result;
};

/* The same for a put. */
struct skv_write_op {
	struct skv_key key;
	struct skv_bytes value;
	uint64_t ttl_ms;
	int result;
	uint64_t token;
};

/*
 * Looks at a value in place: the whole packed value, which is right and does not change during
 * the call. Must not call into the map.
 */
typedef int skv_peek_fn(void *arg, const uint8_t *value, size_t len, uint64_t token);

struct skv_engine {
	const char *scheme; /* "shm", "heap:adaptive" */
	/* A name is the whole scheme, or the scheme, '/' and a label; no other process sees it. */
	bool is_private;
	bool takes_adaptive; /* shmkv_options.adaptive */
	uint32_t hash_default; /* enum shmkv_hash, for options that leave it open; 0: SIPHASH13 */

	/* @name: NULL if there is publish, and the name comes later. */
	int (*create)(const char *name, const struct shmkv_options *opts, void **ret_map);
	int (*publish)(void *map, const char *name);
	int (*attach)(const char *name, unsigned int flags, void **ret_map);
	void (*detach)(void *map);
	/* In a forked child: free private memory, touch nothing shared. */
	void (*abandon)(void *map);
	int (*unlink)(const char *name);
	int (*list)(int (*fn)(const char *name, void *arg), void *arg);

	int (*get)(void *map, const struct skv_key *key, struct skv_sink *sink);
	/*
	 * NULL, or a shorter way than get for engines whose values cannot change while they are
	 * looked at: calls @fn once and answers what it answers, or -ENOENT.
	 */
	int (*peek)(void *map, const struct skv_key *key, skv_peek_fn *fn, void *arg);
	int (*exists)(void *map, const struct skv_key *key);
	/* @ttl_ms: one of those that expiry.h allows, checked by the caller; an engine without
	 * touch is not asked for any that ends, and may ignore it. */
	int (*write)(void *map, const struct skv_key *key, enum skv_write_mode mode,
		     uint64_t token, const struct skv_bytes *value, uint64_t ttl_ms,
		     uint64_t *ret_token);
	int (*update)(void *map, const struct skv_key *key, skv_splice_fn *fn, void *arg,
		      uint64_t *ret_token);
	/* @sink NULL: just remove; otherwise the removed value goes there. */
	int (*remove)(void *map, const struct skv_key *key, struct skv_sink *sink);
	/* @ttl_ms: not SHMKV_TTL_KEEP. */
	int (*touch)(void *map, const struct skv_key *key, uint64_t ttl_ms);
	int (*ttl)(void *map, const struct skv_key *key, uint64_t *ret_ms);
	int (*expire)(void *map, uint64_t max, uint64_t *ret_removed);
	int (*view_begin)(void *map, const struct skv_key *key, struct skv_hold *ret_hold);
	int (*view_end)(void *map, const struct skv_hold *hold);
	/*
	 * Groups of at most SKV_GROUP_MAX, in order, each item on its own. NULL: the caller loops
	 * over get and write. put_many answers an error only when no item was tried.
	 */
	void (*get_many)(void *map, struct skv_read_op *ops, size_t n);
	int (*put_many)(void *map, struct skv_write_op *ops, size_t n);
	/* @value: the head, and the length of a payload that is not there yet. The hold's data may
	 * be written behind the head. */
	int (*reserve)(void *map, const struct skv_key *key, const struct skv_bytes *value,
		       struct skv_hold *ret_hold);
	/* @value: head and length as they are now. On failure the hold goes on. */
	int (*commit)(void *map, const struct skv_hold *hold, enum skv_write_mode mode,
		      uint64_t token, const struct skv_bytes *value, uint64_t ttl_ms,
		      uint64_t *ret_token);
	int (*abort)(void *map, const struct skv_hold *hold);
	int (*count)(void *map, uint64_t *ret_count);
	int (*clear)(void *map, uint64_t *ret_removed);

	int (*scan_begin)(void *map, uint64_t cursor, void **ret_scan);
	int (*scan_next)(void *scan, struct shmkv_entry *ret_entry);
	uint64_t (*scan_cursor)(const void *scan);
	/* Of the entry that was given last; -ENOENT if there was none. */
	int (*scan_ttl)(const void *scan, uint64_t *ret_ms);
	void (*scan_end)(void *scan);

	/* A frozen map for a handle of its own, with the table that goes with it. */
	int (*snapshot)(void *map, const struct skv_engine **ret_engine, void **ret_map);
	/* Of two maps of this table. */
	int (*diff)(void *before, void *after,
		    int (*fn)(const struct shmkv_difference *difference, void *arg), void *arg);
	int (*shape)(void *map, struct shmkv_hamt_info *info);
	/* @token: 0 for absent. Deadlines in ns of CLOCK_MONOTONIC. */
	int (*wait)(void *map, const struct skv_key *key, uint64_t token, uint64_t deadline_ns,
		    uint64_t *ret_token);
	int (*state)(void *map, uint64_t *ret_state);
	int (*wait_any)(void *map, uint64_t state, uint64_t deadline_ns, uint64_t *ret_state);
	int (*wait_cancel)(void *map, bool cancelled);
	int (*poll_open)(void *map, int *ret_fd);
	/* @key NULL: any change, and @seen a state. */
	int (*poll)(void *map, int fd, const struct skv_key *key, uint64_t seen,
		    uint64_t *ret_state);

	int (*info)(void *map, struct shmkv_info *info); /* a whole structure, name filled by api */
	int (*linked)(void *map, const char *name); /* enum shmkv_link */
	/* Whole structures of ours, sizes set, everything else zero. */
	int (*stats)(void *map, struct shmkv_stats *stats);
	int (*memory)(void *map, struct shmkv_memory *memory);
	int (*participants)(void *map,
			    int (*fn)(const struct shmkv_participant *participant, void *arg),
			    void *arg);
	int (*recover)(void *map, struct shmkv_recovery *report);
	int (*maintain)(void *map);
	int (*check)(void *map, void (*fn)(const char *violation, void *arg), void *arg,
		     struct shmkv_audit *audit);
	/* In place of these two, where the walk is long: @watch is a whole structure of ours. */
	int (*recover_watched)(void *map, const struct shmkv_watch *watch,
			       struct shmkv_recovery *report);
	int (*verify)(void *map, const struct shmkv_watch *watch, struct shmkv_audit *audit);
	int (*huge_info)(void *map, struct shmkv_huge *info);
	int (*huge_collapse)(void *map, uint64_t budget_ns, uint64_t *ret_left);
	int (*layout)(void *map, int (*fn)(const struct shmkv_layout_item *item, void *arg),
		      void *arg);

	/* what only some heap engines have: see heap.h */
	int (*compact)(void *map);
	int (*health)(void *map, struct shmkv_adaptive_info *info);
};

extern const struct skv_engine skv_engine_adaptive;
extern const struct skv_engine skv_engine_shm;
extern const struct skv_engine skv_engine_hamt;

#endif
