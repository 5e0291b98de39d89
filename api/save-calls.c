/* SPDX-License-Identifier: MIT */
/*
 * save-calls: maps into files and back, for every engine.
 *
 * Saving is a scan: each key linearizes where the scan linearizes it. Of an engine with
 * snapshots a snapshot is scanned, and all keys are of its moment.
 *
 *     shmkv_load:   read the header   create unnamed   read entries, put   end read   publish
 *     ─────────────────┬──────────────────┬─────────────────┬─────────────────┬──────────┬────►
 *                    KNOWN            PRIVATE            FILLING            WHOLE     NAMED
 *
 * Until the last step no other process can reach the map. A loader that dies before it leaves
 * what a creator leaves at that point (region-new.c): nothing.
 */
#include "api/create.h"
#include "api/engine-table.h"
#include "save/reader.h"
#include "save/writer.h"

#include <shmkv/batch.h>
#include <shmkv/expiry.h>
#include <shmkv/save.h>
#include <shmkv/snapshot.h>

#include <stdio.h>
#include <string.h>
#include <time.h>

/* No structure of ours will ever be longer: a larger size is a size that was never set. */
#define SIZE_SANE 4096u
#define GROUP SKV_GROUP_MAX

/* ---- structures of any version ------------------------------------------------------ */

/* What the caller's structure says; what it lacks is zero, what we do not know must be. */
static int read_options(const void *theirs, void *ours, size_t our_size)
{
	const uint8_t *bytes = theirs;
	size_t size, i;

	if (!theirs)
		return 0;
	memcpy(&size, theirs, sizeof(size));
	if (size < sizeof(size) || size > SIZE_SANE)
		return -EINVAL;
	for (i = our_size; i < size; i++) {
		if (bytes[i] != 0)
			return -EINVAL;
	}
	memcpy(ours, theirs, size < our_size ? size : our_size);
	return 0;
}

static bool is_result(const void *theirs)
{
	size_t size = 0;

	if (theirs)
		memcpy(&size, theirs, sizeof(size));
	return !theirs || (size >= sizeof(size) && size <= SIZE_SANE);
}

static void write_result(void *theirs, void *ours, size_t our_size)
{
	size_t size;

	if (!theirs)
		return;
	memcpy(&size, theirs, sizeof(size));
	memcpy(ours, &size, sizeof(size));
	memcpy(theirs, ours, size < our_size ? size : our_size);
}

static void tell(const struct shmkv_watch *watch, uint64_t done, uint64_t total)
{
	struct shmkv_watch ours = { 0 };

	/* A watch without a right size was refused before. */
	if (read_options(watch, &ours, sizeof(ours)) == 0 && ours.progress)
		ours.progress(done, total > done ? total : done, ours.arg);
}

/* ---- save --------------------------------------------------------------------------- */

static uint64_t unix_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static uint32_t value_of_text(const char *text, const char *const *texts, uint32_t n)
{
	uint32_t i;

	for (i = 0; i < n; i++) {
		if (texts[i] && strcmp(text, texts[i]) == 0)
			return i;
	}
	return 0;
}

/* What the map was created with, as far as the engine knows it. */
static int describe(struct shmkv *kv, struct skv_save_header *ret_header)
{
	static const char *const hashes[] = { NULL, "siphash13", "xxh3" };
	static const char *const policies[] = { "none", "lru", "lfu" };
	struct shmkv_info info = { .size = sizeof(info) };
	int r = shmkv_info(kv, &info);

	if (r < 0)
		return r;
	memset(ret_header, 0, sizeof(*ret_header));
	ret_header->hash = value_of_text(info.hash, hashes, 3);
	ret_header->evict = value_of_text(info.evict, policies, 3);
	ret_header->max_processes = info.processes_max;
	ret_header->max_threads = info.threads_max;
	ret_header->max_bytes = info.max_bytes;
	ret_header->default_ttl_ms = info.default_ttl_ms;
	ret_header->n_keys = info.count;
	ret_header->saved_ms = unix_ms();
	snprintf(ret_header->engine, sizeof(ret_header->engine), "%s", kv->engine->scheme);
	snprintf(ret_header->library, sizeof(ret_header->library), "%s", shmkv_version());
	return 0;
}

/* 1 with the entry, or 0 when it has expired since it was found. */
static int saved_entry(const struct shmkv_scan *scan, const struct shmkv_entry *entry,
		       struct skv_save_entry *ret_entry)
{
	uint64_t ttl_ms = SHMKV_TTL_NEVER;
	int r = shmkv_scan_ttl(scan, &ttl_ms);

	if (r == -ENOENT || (r == 0 && ttl_ms == 0))
		return 0;
	if (r < 0 && r != -EOPNOTSUPP)
		return r;
	ret_entry->key = entry->key;
	ret_entry->key_len = entry->key_len;
	ret_entry->value = entry->value;
	ret_entry->value_len = entry->value_len;
	ret_entry->expires = ttl_ms != SHMKV_TTL_NEVER;
	ret_entry->ttl_ms = ttl_ms;
	return 1;
}

static int save_entries(struct shmkv *kv, struct skv_save_writer *writer,
			const struct shmkv_watch *watch, uint64_t n_keys, struct shmkv_saved *saved)
{
	struct skv_save_entry entry;
	struct shmkv_entry found;
	struct shmkv_scan *scan;
	int r = shmkv_scan_begin(kv, 0, &scan);

	if (r < 0)
		return r;
	while ((r = shmkv_scan_next(scan, &found)) == 1) {
		r = saved_entry(scan, &found, &entry);
		if (r == 1)
			r = skv_save_writer_entry(writer, &entry);
		else if (r == 0)
			continue;
		if (r < 0)
			break;
		saved->keys++;
		saved->expiring += entry.expires;
		saved->data_bytes += entry.key_len + entry.value_len;
		tell(watch, saved->keys, n_keys);
	}
	shmkv_scan_end(scan);
	return r;
}

int shmkv_save(struct shmkv *kv, int fd, const struct shmkv_save_options *opts,
	       struct shmkv_saved *ret_saved)
{
	struct shmkv_save_options ours = { 0 };
	struct shmkv_saved saved = { 0 };
	struct skv_save_header header;
	struct skv_save_writer writer;
	struct shmkv_watch watch;
	struct shmkv *moment = NULL;
	int r;

	r = skv_handle_check(kv);
	if (r == 0)
		r = read_options(opts, &ours, sizeof(ours));
	if (r == 0)
		r = read_options(ours.watch, &watch, sizeof(watch));
	if (r < 0)
		return r;
	if (fd < 0 || ours.compression > SKV_FRAME_LEVEL_MAX || !is_result(ret_saved))
		return -EINVAL;
	if (!kv->engine->scan_begin || !kv->engine->info)
		return -EOPNOTSUPP;

	if (kv->engine->snapshot) {
		r = shmkv_snapshot(kv, &moment);
		if (r < 0)
			return r;
	}
	r = describe(kv, &header);
	if (r == 0) {
		r = skv_save_writer_begin(&writer, fd, ours.compression, &header);
		if (r == 0)
			r = save_entries(moment ? moment : kv, &writer, ours.watch, header.n_keys,
					 &saved);
		if (r == 0)
			r = skv_save_writer_finish(&writer);
		saved.bytes = writer.bytes;
		skv_save_writer_end(&writer);
	}
	shmkv_detach(moment);
	if (r == 0)
		write_result(ret_saved, &saved, sizeof(saved));
	return r;
}

/* ---- load --------------------------------------------------------------------------- */

struct load {
	struct shmkv *kv; /* NULL: the file is only checked */
	uint32_t flags;
	const struct shmkv_watch *watch;
	struct skv_save_header header;
	struct skv_save_reader reader;
	struct shmkv_put_item items[GROUP];
	size_t n_items;
	struct shmkv_loaded loaded;
};

/*
 * Options that are zero are as in the map that was saved; what an engine has of its own only
 * if it is the same engine.
 */
static void complete_options(const struct load *load, const struct skv_engine *engine,
			     struct shmkv_options *opts)
{
	const struct skv_save_header *header = &load->header;

	if (opts->max_bytes == 0)
		opts->max_bytes = header->max_bytes;
	if (opts->capacity == 0)
		opts->capacity = header->n_keys;
	if (opts->default_ttl_ms == 0 && (engine->touch || !(load->flags & SHMKV_LOAD_FOR_EVER)))
		opts->default_ttl_ms = header->default_ttl_ms;
	if (strcmp(engine->scheme, header->engine) != 0)
		return;
	if (opts->hash == SHMKV_HASH_DEFAULT)
		opts->hash = header->hash;
	if (opts->max_processes == 0)
		opts->max_processes = header->max_processes;
	if (opts->max_threads == 0)
		opts->max_threads = header->max_threads;
	if (opts->evict == SHMKV_EVICT_NONE)
		opts->evict = header->evict;
}

/* Told before the work, though publishing decides. */
static int check_is_free(const struct skv_engine *engine, const char *name)
{
	struct shmkv *there;
	int r = engine->is_private ? -ENOENT : shmkv_attach(name, SHMKV_READ_ONLY, &there);

	switch (r) {
	case -ENOENT:
		return 0;
	case 0:
		shmkv_detach(there);
		return -EEXIST;
	case -EACCES:
	case -EBADMSG:
	case -EMEDIUMTYPE:
	case -EPROTONOSUPPORT:
	case -EXDEV:
		return -EEXIST;
	default:
		return r;
	}
}

static int flush(struct load *load)
{
	size_t i, n_ok = 0;
	int r;

	if (!load->kv || load->n_items == 0) {
		load->n_items = 0;
		return 0;
	}
	r = shmkv_put_many(load->kv, load->items, load->n_items, &n_ok);
	for (i = 0; r == 0 && i < load->n_items; i++)
		r = load->items[i].result;
	load->n_items = 0;
	return r;
}

static int load_entry(struct load *load, const struct skv_save_entry *entry)
{
	bool expires = entry->expires && !(load->flags & SHMKV_LOAD_FOR_EVER);
	struct shmkv_put_item *item = &load->items[load->n_items++];

	memset(item, 0, sizeof(*item));
	item->key = entry->key;
	item->key_len = entry->key_len;
	item->value = shmkv_packed(entry->value, entry->value_len);
	item->ttl_ms = expires ? entry->ttl_ms : SHMKV_TTL_NEVER;
	load->loaded.keys++;
	load->loaded.expiring += entry->expires;
	load->loaded.data_bytes += entry->key_len + entry->value_len;
	if (load->n_items < GROUP && !skv_save_reader_is_last(&load->reader))
		return 0;
	tell(load->watch, load->loaded.keys, load->header.n_keys);
	return flush(load);
}

static int load_entries(struct load *load)
{
	struct skv_save_entry entry;
	int r;

	while ((r = skv_save_reader_next(&load->reader, &entry)) == 1) {
		r = load_entry(load, &entry);
		if (r < 0)
			break;
	}
	return r;
}

static int load_map(struct load *load, const char *name, struct shmkv_options *opts)
{
	const struct skv_engine *engine;
	const char *engine_name;
	int r = skv_engine_of_name(name, &engine, &engine_name);

	if (r < 0)
		return r;
	complete_options(load, engine, opts);
	r = check_is_free(engine, name);
	if (r == 0)
		r = skv_create_unnamed(name, opts, &load->kv);
	if (r < 0)
		return r;
	load->reader.most = opts->max_bytes;
	r = load_entries(load);
	if (r == 0)
		r = skv_publish(load->kv);
	if (r < 0)
		load->kv = shmkv_detach(load->kv);
	return r;
}

static void describe_file(struct load *load)
{
	struct shmkv_loaded *loaded = &load->loaded;

	loaded->format_version = load->header.version;
	loaded->saved_ms = load->header.saved_ms;
	loaded->max_bytes = load->header.max_bytes;
	snprintf(loaded->engine, sizeof(loaded->engine), "%s", load->header.engine);
	snprintf(loaded->version, sizeof(loaded->version), "%s", load->header.library);
	loaded->problem = load->reader.problem;
	loaded->position = load->reader.problem ? load->reader.position : load->reader.bytes;
}

int shmkv_load(const char *name, int fd, const struct shmkv_load_options *opts,
	       struct shmkv **ret_kv, struct shmkv_loaded *ret_loaded)
{
	struct shmkv_load_options ours = { 0 };
	struct shmkv_options map;
	struct shmkv_watch watch;
	struct load load = { 0 };
	int r = read_options(opts, &ours, sizeof(ours));

	if (r == 0)
		r = read_options(ours.watch, &watch, sizeof(watch));
	if (r == 0)
		r = skv_options_read(ours.map, &map);
	if (r < 0)
		return r;
	if (fd < 0 || !name != !ret_kv || ours.flags & ~SHMKV_LOAD_FOR_EVER || !is_result(ret_loaded))
		return -EINVAL;

	load.flags = ours.flags;
	load.watch = ours.watch;
	r = skv_save_reader_begin(&load.reader, fd, &load.header);
	if (r == 0)
		r = name ? load_map(&load, name, &map) : load_entries(&load);
	describe_file(&load);
	skv_save_reader_end(&load.reader);
	write_result(ret_loaded, &load.loaded, sizeof(load.loaded));
	if (r == 0 && name)
		*ret_kv = load.kv;
	return r;
}
