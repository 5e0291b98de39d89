/* SPDX-License-Identifier: MIT */
#include "tests/model-engine.h"

#include "api/engine-table.h"
#include "base/clock.h"

#include <shmkv/reserve.h>
#include <shmkv/view.h>

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct entry {
	uint64_t hash;
	uint8_t *key;
	size_t key_len;
	uint8_t *value;
	size_t value_len;
	uint64_t token;
	uint64_t deadline; /* ms of the boot clock, 0 for none */
};

struct model {
	pthread_mutex_t lock;
	char name[SHMKV_NAME_MAX + 1];
	struct shmkv_options opts;
	bool linked; /* has a name */
	unsigned int n_attached;
	struct entry *entries; /* sorted by hash, then key */
	size_t n_entries, entries_cap;
	uint64_t used_bytes;
	uint64_t last_token;
	uint64_t inserts, updates, deletes, expired;
	struct model *next;
};

/* The api layer refuses writes through a read-only handle; here all maps are alike. */
struct model_map {
	struct model *model;
	uint8_t *views[SHMKV_VIEWS_MAX]; /* copies, which do not change either */
	struct {
		struct skv_key key;
		uint8_t *key_bytes, *value;
	} drafts[SHMKV_DRAFTS_MAX];
};

static pthread_mutex_t registry_lock = PTHREAD_MUTEX_INITIALIZER;
static struct model *registry;

/* ---- the array ------------------------------------------------------------------- */

/* FNV-1a. Bit 0 stays clear, so that no hash is UINT64_MAX, the cursor of the end. */
static uint64_t hash_of(const void *key, size_t len)
{
	const uint8_t *bytes = key;
	uint64_t hash = 0xcbf29ce484222325;
	size_t i;

	for (i = 0; i < len; i++)
		hash = (hash ^ bytes[i]) * 0x100000001b3;
	return hash & ~(uint64_t)1;
}

static int order(uint64_t hash, const void *key, size_t key_len, const struct entry *entry)
{
	int r;

	if (hash != entry->hash)
		return hash < entry->hash ? -1 : 1;
	r = memcmp(key, entry->key, key_len < entry->key_len ? key_len : entry->key_len);
	if (r != 0)
		return r;
	return key_len < entry->key_len ? -1 : key_len > entry->key_len;
}

/* The first entry that is not before the given one. */
static size_t lower_bound(const struct model *m, uint64_t hash, const void *key, size_t key_len)
{
	size_t lo = 0, hi = m->n_entries, mid;

	while (lo < hi) {
		mid = lo + (hi - lo) / 2;
		if (order(hash, key, key_len, &m->entries[mid]) > 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

static struct entry *find(struct model *m, const struct skv_key *key)
{
	uint64_t hash = hash_of(key->data, key->len);
	size_t i = lower_bound(m, hash, key->data, key->len);

	if (i == m->n_entries || order(hash, key->data, key->len, &m->entries[i]) != 0)
		return NULL;
	return &m->entries[i];
}

static uint64_t cost(size_t key_len, size_t value_len)
{
	return MODEL_ENTRY_BYTES + (uint64_t)key_len + value_len;
}

/* May the key hold a value of this length? */
static int room_for(const struct model *m, size_t key_len, const struct entry *old,
		    uint64_t value_len)
{
	uint64_t used = m->used_bytes;

	if (cost(key_len, value_len) > m->opts.max_bytes)
		return -EFBIG;
	if (old)
		used -= cost(old->key_len, old->value_len);
	return used + cost(key_len, value_len) > m->opts.max_bytes ? -ENOSPC : 0;
}

static int reserve_entry(struct model *m)
{
	size_t cap = m->entries_cap ? 2 * m->entries_cap : 16;
	struct entry *grown;

	if (m->n_entries < m->entries_cap)
		return 0;
	grown = realloc(m->entries, cap * sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	m->entries = grown;
	m->entries_cap = cap;
	return 0;
}

static int insert(struct model *m, const struct skv_key *key, struct entry **ret_entry)
{
	uint64_t hash = hash_of(key->data, key->len);
	size_t i = lower_bound(m, hash, key->data, key->len);
	struct entry *entry;
	uint8_t *copy;

	copy = malloc(key->len);
	if (!copy || reserve_entry(m) < 0) {
		free(copy);
		return -ENOMEM;
	}
	memcpy(copy, key->data, key->len);
	entry = &m->entries[i];
	memmove(entry + 1, entry, (m->n_entries - i) * sizeof(*entry));
	m->n_entries++;
	*entry = (struct entry){ .hash = hash, .key = copy, .key_len = key->len };
	*ret_entry = entry;
	return 0;
}

static bool is_expired(const struct entry *entry)
{
	return entry->deadline && skv_clock_boot_ms() >= entry->deadline;
}

/* What is there for a caller. */
static struct entry *find_present(struct model *m, const struct skv_key *key)
{
	struct entry *entry = find(m, key);

	return entry && !is_expired(entry) ? entry : NULL;
}

/* @present: the entry that a caller would see, or NULL */
static uint64_t deadline_for(const struct model *m, const struct entry *present, uint64_t ttl_ms)
{
	if (ttl_ms == SHMKV_TTL_NEVER)
		return 0;
	if (ttl_ms == SHMKV_TTL_KEEP && present)
		return present->deadline;
	if (ttl_ms == SHMKV_TTL_DEFAULT || ttl_ms == SHMKV_TTL_KEEP)
		ttl_ms = m->opts.default_ttl_ms;
	return ttl_ms ? (skv_clock_boot_ns() + 999999u) / 1000000u + ttl_ms : 0;
}

/* @old may be NULL; takes @value over when it answers 0. */
static int assign(struct model *m, const struct skv_key *key, struct entry *old, uint8_t *value,
		  size_t value_len, uint64_t deadline, uint64_t *ret_token)
{
	int r;

	r = room_for(m, key->len, old, value_len);
	if (r < 0)
		return r;
	if (old) {
		m->used_bytes -= cost(old->key_len, old->value_len);
		m->updates++;
	} else {
		r = insert(m, key, &old);
		if (r < 0)
			return r;
		m->inserts++;
	}
	free(old->value);
	old->value = value;
	old->value_len = value_len;
	old->token = ++m->last_token;
	old->deadline = deadline;
	m->used_bytes += cost(key->len, value_len);
	*ret_token = old->token;
	return 0;
}

static void remove_entry(struct model *m, struct entry *entry)
{
	size_t i = (size_t)(entry - m->entries);

	m->used_bytes -= cost(entry->key_len, entry->value_len);
	m->deletes++;
	free(entry->key);
	free(entry->value);
	memmove(entry, entry + 1, (m->n_entries - i - 1) * sizeof(*entry));
	m->n_entries--;
}

static int sink_fill(struct skv_sink *sink, const struct entry *entry)
{
	size_t skip = 0;

	sink->value_len = entry->value_len;
	sink->head_len = entry->value_len < SKV_HEAD_MAX ? entry->value_len : SKV_HEAD_MAX;
	memcpy(sink->head, entry->value, sink->head_len);
	sink->token = entry->token;
	if (sink->skip)
		skip = sink->skip(sink->head, sink->head_len);
	if (skip > entry->value_len)
		skip = entry->value_len;
	sink->buf_len = entry->value_len - skip;
	if (sink->buf_len > sink->cap)
		return -ENOBUFS;
	if (sink->buf_len > 0)
		memcpy(sink->buf, entry->value + skip, sink->buf_len);
	return 0;
}

/* ---- lifecycle ------------------------------------------------------------------- */

static void model_free(struct model *m)
{
	while (m->n_entries > 0)
		remove_entry(m, &m->entries[m->n_entries - 1]);
	free(m->entries);
	pthread_mutex_destroy(&m->lock);
	free(m);
}

/* Under registry_lock. */
static struct model **registry_find(const char *name)
{
	struct model **at;

	for (at = &registry; *at; at = &(*at)->next) {
		if (strcmp((*at)->name, name) == 0)
			break;
	}
	return at;
}

static int map_new(struct model *m, void **ret_map)
{
	struct model_map *map;

	map = calloc(1, sizeof(*map));
	if (!map)
		return -ENOMEM;
	map->model = m;
	m->n_attached++;
	*ret_map = map;
	return 0;
}

static int model_create(const char *name, const struct shmkv_options *opts, void **ret_map)
{
	struct model **at, *m;
	int r = -EEXIST;

	pthread_mutex_lock(&registry_lock);
	at = registry_find(name);
	if (*at)
		goto done;
	r = -ENOMEM;
	m = calloc(1, sizeof(*m));
	if (!m)
		goto done;
	pthread_mutex_init(&m->lock, NULL);
	snprintf(m->name, sizeof(m->name), "%s", name);
	m->opts = *opts;
	r = map_new(m, ret_map);
	if (r < 0) {
		model_free(m);
		goto done;
	}
	m->linked = true;
	*at = m;
done:
	pthread_mutex_unlock(&registry_lock);
	return r;
}

static int model_attach(const char *name, unsigned int flags, void **ret_map)
{
	struct model *m;
	int r = -ENOENT;

	(void)flags;
	pthread_mutex_lock(&registry_lock);
	m = *registry_find(name);
	if (m)
		r = map_new(m, ret_map);
	pthread_mutex_unlock(&registry_lock);
	return r;
}

static void model_detach(void *arg)
{
	struct model_map *map = arg;
	struct model *m = map->model;
	uint32_t i;

	for (i = 0; i < SHMKV_VIEWS_MAX; i++)
		free(map->views[i]);
	for (i = 0; i < SHMKV_DRAFTS_MAX; i++) {
		free(map->drafts[i].key_bytes);
		free(map->drafts[i].value);
	}
	pthread_mutex_lock(&registry_lock);
	if (--m->n_attached == 0 && !m->linked)
		model_free(m);
	pthread_mutex_unlock(&registry_lock);
	free(map);
}

/* What the child of a fork has of a map is a copy; a mutex in it may be held for ever. */
static void model_abandon(void *arg)
{
	free(arg);
}

static int model_unlink(const char *name)
{
	struct model **at, *m;
	int r = -ENOENT;

	pthread_mutex_lock(&registry_lock);
	at = registry_find(name);
	m = *at;
	if (m) {
		*at = m->next;
		m->linked = false;
		if (m->n_attached == 0)
			model_free(m);
		r = 0;
	}
	pthread_mutex_unlock(&registry_lock);
	return r;
}

/* Copies the names first: @fn may open and remove maps. */
static int model_list(int (*fn)(const char *name, void *arg), void *arg)
{
	char (*names)[SHMKV_NAME_MAX + 1];
	const struct model *m;
	size_t n = 0, i;
	int r = 0;

	pthread_mutex_lock(&registry_lock);
	for (m = registry; m; m = m->next)
		n++;
	names = calloc(n + 1, sizeof(*names));
	if (names) {
		for (i = 0, m = registry; m; m = m->next)
			memcpy(names[i++], m->name, sizeof(*names));
	}
	pthread_mutex_unlock(&registry_lock);
	if (!names)
		return -ENOMEM;
	for (i = 0; i < n && r == 0; i++)
		r = fn(names[i], arg);
	free(names);
	return r;
}

/* ---- data ------------------------------------------------------------------------ */

static struct model *enter(void *map)
{
	struct model *m = ((struct model_map *)map)->model;

	pthread_mutex_lock(&m->lock);
	return m;
}

static int leave(struct model *m, int r)
{
	pthread_mutex_unlock(&m->lock);
	return r;
}

static int model_get(void *map, const struct skv_key *key, struct skv_sink *sink)
{
	struct model *m = enter(map);
	const struct entry *entry = find_present(m, key);

	return leave(m, entry ? sink_fill(sink, entry) : -ENOENT);
}

static int model_exists(void *map, const struct skv_key *key)
{
	struct model *m = enter(map);

	return leave(m, find_present(m, key) ? 0 : -ENOENT);
}

static int model_view_begin(void *arg, const struct skv_key *key, struct skv_hold *ret_hold)
{
	struct model_map *map = arg;
	struct model *m = enter(map);
	const struct entry *entry = find(m, key);
	uint32_t i;

	if (!entry)
		return leave(m, -ENOENT);
	for (i = 0; i < SHMKV_VIEWS_MAX && map->views[i]; i++)
		;
	if (i == SHMKV_VIEWS_MAX)
		return leave(m, -EMLINK);
	map->views[i] = malloc(entry->value_len + 1);
	if (!map->views[i])
		return leave(m, -ENOMEM);
	memcpy(map->views[i], entry->value, entry->value_len);
	*ret_hold = (struct skv_hold){
		.data = map->views[i],
		.len = entry->value_len,
		.token = entry->token,
		.idx = i,
	};
	return leave(m, 0);
}

static int model_view_end(void *arg, const struct skv_hold *hold)
{
	struct model_map *map = arg;
	struct model *m = enter(map);

	free(map->views[hold->idx]);
	map->views[hold->idx] = NULL;
	return leave(m, 0);
}

static int write_allowed(const struct entry *old, enum skv_write_mode mode, uint64_t token)
{
	switch (mode) {
	case SKV_WRITE_PUT:
		return 0;
	case SKV_WRITE_ADD:
		return old ? -EEXIST : 0;
	case SKV_WRITE_REPLACE:
		return old ? 0 : -ENOENT;
	case SKV_WRITE_CAS:
		if (!old)
			return -ENOENT;
		return old->token == token ? 0 : -ESTALE;
	}
	return -EINVAL;
}

static int model_write(void *map, const struct skv_key *key, enum skv_write_mode mode,
		       uint64_t token, const struct skv_bytes *bytes, uint64_t ttl_ms,
		       uint64_t *ret_token)
{
	struct model *m = enter(map);
	struct entry *old = find(m, key), *present = find_present(m, key);
	uint8_t *value;
	int r;

	r = write_allowed(present, mode, token);
	if (r == 0)
		r = room_for(m, key->len, old, (uint64_t)bytes->head_len + bytes->len);
	if (r < 0)
		return leave(m, r);
	value = malloc(bytes->head_len + bytes->len);
	if (!value)
		return leave(m, -ENOMEM);
	memcpy(value, bytes->head, bytes->head_len);
	if (bytes->len > 0)
		memcpy(value + bytes->head_len, bytes->data, bytes->len);
	r = assign(m, key, old, value, bytes->head_len + bytes->len,
		   deadline_for(m, present, ttl_ms), ret_token);
	if (r < 0)
		free(value);
	return leave(m, r);
}

/* Drafts are not counted as used before they are committed. */
static int model_reserve(void *arg, const struct skv_key *key, const struct skv_bytes *bytes,
			 struct skv_hold *ret_hold)
{
	struct model_map *map = arg;
	struct model *m = enter(map);
	size_t len = bytes->head_len + bytes->len;
	uint32_t i;
	int r;

	for (i = 0; i < SHMKV_DRAFTS_MAX && map->drafts[i].value; i++)
		;
	if (i == SHMKV_DRAFTS_MAX)
		return leave(m, -EMLINK);
	r = room_for(m, key->len, NULL, len);
	if (r < 0)
		return leave(m, r);
	map->drafts[i].value = malloc(len);
	map->drafts[i].key_bytes = malloc(key->len);
	if (!map->drafts[i].value || !map->drafts[i].key_bytes) {
		free(map->drafts[i].value);
		free(map->drafts[i].key_bytes);
		map->drafts[i].value = map->drafts[i].key_bytes = NULL;
		return leave(m, -ENOMEM);
	}
	memcpy(map->drafts[i].key_bytes, key->data, key->len);
	map->drafts[i].key.data = map->drafts[i].key_bytes;
	map->drafts[i].key.len = key->len;
	*ret_hold = (struct skv_hold){ .data = map->drafts[i].value, .len = len, .idx = i };
	return leave(m, 0);
}

static int model_abort(void *arg, const struct skv_hold *hold)
{
	struct model_map *map = arg;
	struct model *m = enter(map);

	free(map->drafts[hold->idx].value);
	free(map->drafts[hold->idx].key_bytes);
	map->drafts[hold->idx].value = map->drafts[hold->idx].key_bytes = NULL;
	return leave(m, 0);
}

static int model_commit(void *arg, const struct skv_hold *hold, enum skv_write_mode mode,
			uint64_t token, const struct skv_bytes *bytes, uint64_t ttl_ms,
			uint64_t *ret_token)
{
	struct model_map *map = arg;
	struct skv_bytes whole = *bytes;
	int r;

	whole.data = map->drafts[hold->idx].value + bytes->head_len;
	r = model_write(map, &map->drafts[hold->idx].key, mode, token, &whole, ttl_ms,
			ret_token);
	return r < 0 ? r : model_abort(map, hold);
}

static int model_update(void *map, const struct skv_key *key, skv_splice_fn *fn, void *arg,
			uint64_t *ret_token)
{
	struct model *m = enter(map);
	struct entry *slot = find(m, key), *old = find_present(m, key);
	size_t old_len = old ? old->value_len : 0, head_len, len;
	uint8_t head[SKV_HEAD_MAX] = { 0 }, *value;
	struct skv_splice splice;
	int r;

	head_len = old_len < SKV_HEAD_MAX ? old_len : SKV_HEAD_MAX;
	if (old)
		memcpy(head, old->value, head_len);
	r = fn(arg, old ? head : NULL, head_len, old_len, &splice);
	if (r < 0)
		return leave(m, r);
	assert(splice.keep_off <= old_len && splice.keep_len <= old_len - splice.keep_off);

	len = splice.head_len + splice.keep_len + splice.tail_len;
	r = room_for(m, key->len, slot, len);
	if (r < 0)
		return leave(m, r);
	value = malloc(len);
	if (!value)
		return leave(m, -ENOMEM);
	memcpy(value, splice.head, splice.head_len);
	if (splice.keep_len > 0)
		memcpy(value + splice.head_len, old->value + splice.keep_off, splice.keep_len);
	if (splice.tail_len > 0)
		memcpy(value + splice.head_len + splice.keep_len, splice.tail, splice.tail_len);
	r = assign(m, key, slot, value, len, deadline_for(m, old, SHMKV_TTL_KEEP), ret_token);
	if (r < 0)
		free(value);
	return leave(m, r);
}

static int model_remove(void *map, const struct skv_key *key, struct skv_sink *sink)
{
	struct model *m = enter(map);
	struct entry *old = find_present(m, key);
	int r;

	if (!old)
		return leave(m, -ENOENT);
	r = sink ? sink_fill(sink, old) : 0;
	if (r == 0)
		remove_entry(m, old);
	return leave(m, r);
}

static int model_touch(void *map, const struct skv_key *key, uint64_t ttl_ms)
{
	struct model *m = enter(map);
	struct entry *entry = find_present(m, key);

	if (!entry)
		return leave(m, -ENOENT);
	entry->deadline = deadline_for(m, entry, ttl_ms);
	return leave(m, 0);
}

static int remaining(uint64_t deadline, uint64_t *ret_ms)
{
	uint64_t now = (skv_clock_boot_ns() + 999999u) / 1000000u;

	if (deadline && now > deadline)
		return -ENOENT;
	*ret_ms = deadline ? deadline - now : SHMKV_TTL_NEVER;
	return 0;
}

static int model_ttl(void *map, const struct skv_key *key, uint64_t *ret_ms)
{
	struct model *m = enter(map);
	const struct entry *entry = find_present(m, key);

	return leave(m, entry ? remaining(entry->deadline, ret_ms) : -ENOENT);
}

static int model_expire(void *map, uint64_t max, uint64_t *ret_removed)
{
	struct model *m = enter(map);
	size_t i;

	*ret_removed = 0;
	for (i = m->n_entries; i-- > 0 && (max == 0 || *ret_removed < max);) {
		if (!is_expired(&m->entries[i]))
			continue;
		remove_entry(m, &m->entries[i]);
		m->expired++;
		++*ret_removed;
	}
	return leave(m, 0);
}

static int model_count(void *map, uint64_t *ret_count)
{
	struct model *m = enter(map);

	*ret_count = m->n_entries;
	return leave(m, 0);
}

static int model_clear(void *map, uint64_t *ret_removed)
{
	struct model *m = enter(map);

	*ret_removed = 0;
	while (m->n_entries > 0) {
		*ret_removed += !is_expired(&m->entries[m->n_entries - 1]);
		remove_entry(m, &m->entries[m->n_entries - 1]);
	}
	return leave(m, 0);
}

/* ---- scan ------------------------------------------------------------------------ */

/* The cursor is the hash of the entry last returned: that entry comes again. */
struct model_scan {
	struct model_map *map;
	uint64_t cursor;
	uint8_t *key; /* last returned; NULL before the first */
	size_t key_len;
	uint8_t *value;
	uint64_t deadline; /* of the entry last returned */
};

static int model_scan_begin(void *map, uint64_t cursor, void **ret_scan)
{
	struct model_scan *scan;

	scan = calloc(1, sizeof(*scan));
	if (!scan)
		return -ENOMEM;
	scan->map = map;
	scan->cursor = cursor;
	*ret_scan = scan;
	return 0;
}

/* The first entry behind the last one, or from the cursor on. */
static size_t scan_position(const struct model_scan *scan, const struct model *m)
{
	size_t i;

	if (!scan->key)
		return lower_bound(m, scan->cursor, "", 0);
	i = lower_bound(m, scan->cursor, scan->key, scan->key_len);
	if (i < m->n_entries &&
	    order(scan->cursor, scan->key, scan->key_len, &m->entries[i]) == 0)
		i++;
	return i;
}

static int model_scan_next(void *arg, struct shmkv_entry *ret_entry)
{
	struct model_scan *scan = arg;
	struct model *m;
	const struct entry *entry;
	uint8_t *key, *value;
	size_t i;

	if (scan->cursor == UINT64_MAX)
		return 0;
	m = enter(scan->map);
	for (i = scan_position(scan, m); i < m->n_entries && is_expired(&m->entries[i]); i++)
		;
	if (i == m->n_entries) {
		scan->cursor = UINT64_MAX;
		return leave(m, 0);
	}
	entry = &m->entries[i];
	key = malloc(entry->key_len);
	value = malloc(entry->value_len + 1);
	if (!key || !value) {
		free(key);
		free(value);
		return leave(m, -ENOMEM);
	}
	memcpy(key, entry->key, entry->key_len);
	memcpy(value, entry->value, entry->value_len);
	free(scan->key);
	free(scan->value);
	scan->key = key;
	scan->key_len = entry->key_len;
	scan->value = value;
	scan->cursor = entry->hash;
	scan->deadline = entry->deadline;
	*ret_entry = (struct shmkv_entry){
		.key = key,
		.key_len = entry->key_len,
		.value = value,
		.value_len = entry->value_len,
		.token = entry->token,
	};
	return leave(m, 1);
}

static uint64_t model_scan_cursor(const void *arg)
{
	const struct model_scan *scan = arg;

	return scan->cursor;
}

static int model_scan_ttl(const void *arg, uint64_t *ret_ms)
{
	const struct model_scan *scan = arg;

	return scan->key ? remaining(scan->deadline, ret_ms) : -ENOENT;
}

/* Touches only the scan: the map may be gone. */
static void model_scan_end(void *arg)
{
	struct model_scan *scan = arg;

	free(scan->key);
	free(scan->value);
	free(scan);
}

/* ---- inspection ------------------------------------------------------------------ */

static int model_info(void *arg, struct shmkv_info *info)
{
	struct model *m = enter(arg);

	info->max_bytes = m->opts.max_bytes;
	info->reserved_bytes = m->used_bytes;
	info->count = m->n_entries;
	info->processes = 1;
	info->processes_max = m->opts.max_processes;
	info->threads_max = m->opts.max_threads;
	info->inserts = m->inserts;
	info->updates = m->updates;
	info->deletes = m->deletes;
	info->expired = m->expired;
	info->default_ttl_ms = m->opts.default_ttl_ms;
	return leave(m, 0);
}

static int model_recover(void *map, struct shmkv_recovery *report)
{
	(void)map;
	(void)report; /* all zero: nobody else can have died in it */
	return 0;
}

static int model_maintain(void *map)
{
	(void)map;
	return 0;
}

static int model_check(void *map, void (*fn)(const char *violation, void *arg), void *arg,
		       struct shmkv_audit *audit)
{
	struct model *m = enter(map);
	const struct entry *entry;
	uint64_t used = 0;
	size_t i;

	for (i = 0; i < m->n_entries; i++) {
		entry = &m->entries[i];
		used += cost(entry->key_len, entry->value_len);
		audit->keys++;
		audit->record_bytes += entry->key_len + entry->value_len;
		if (i > 0 && order(entry->hash, entry->key, entry->key_len, entry - 1) <= 0) {
			audit->violations++;
			if (fn)
				fn("two entries are out of order", arg);
		}
	}
	if (used != m->used_bytes) {
		audit->violations++;
		if (fn)
			fn("the bytes of all entries do not add up to what is accounted", arg);
	}
	audit->block_bytes = used;
	return leave(m, audit->violations ? -EBADMSG : 0);
}

static int model_layout(void *arg, int (*fn)(const struct shmkv_layout_item *item, void *arg),
			void *fn_arg)
{
	struct model *m = enter(arg);
	struct shmkv_layout_item item = {
		.size = sizeof(item),
		.part = SHMKV_PART_CHUNK,
		.state = "array",
		.bytes = m->used_bytes,
		.blocks = (uint32_t)m->n_entries,
		.blocks_used = (uint32_t)m->n_entries,
	};

	leave(m, 0);
	return fn(&item, fn_arg);
}

/* ---- for the tests --------------------------------------------------------------- */

const struct skv_engine skv_engine_model = {
	.scheme = "model",
	.create = model_create,
	.attach = model_attach,
	.detach = model_detach,
	.abandon = model_abandon,
	.unlink = model_unlink,
	.list = model_list,
	.get = model_get,
	.exists = model_exists,
	.write = model_write,
	.update = model_update,
	.remove = model_remove,
	.touch = model_touch,
	.ttl = model_ttl,
	.expire = model_expire,
	.view_begin = model_view_begin,
	.view_end = model_view_end,
	.reserve = model_reserve,
	.commit = model_commit,
	.abort = model_abort,
	.count = model_count,
	.clear = model_clear,
	.scan_begin = model_scan_begin,
	.scan_next = model_scan_next,
	.scan_cursor = model_scan_cursor,
	.scan_ttl = model_scan_ttl,
	.scan_end = model_scan_end,
	.info = model_info,
	.recover = model_recover,
	.maintain = model_maintain,
	.check = model_check,
	.layout = model_layout,
};

void skv_model_install(void)
{
	static const struct skv_engine *const table[] = { &skv_engine_model, NULL };

	skv_engines_override(table);
}

int skv_model_corrupt(const char *map_name, const void *key, size_t key_len, const void *value,
		      size_t value_len)
{
	const struct skv_key k = { .data = key, .len = key_len };
	const struct skv_bytes bytes = { .data = value, .len = value_len };
	uint64_t token;
	void *map;
	int r;

	r = model_attach(map_name, 0, &map);
	if (r < 0)
		return r;
	r = model_write(map, &k, SKV_WRITE_PUT, 0, &bytes, SHMKV_TTL_NEVER, &token);
	model_detach(map);
	return r;
}
