/* SPDX-License-Identifier: MIT */
#ifndef SKV_TESTS_CONFORMANCE_H
#define SKV_TESTS_CONFORMANCE_H

/*
 * conformance: what shmkv.h promises of data calls and scans, as one list for every engine.
 *
 * A test file names the engine, makes a function of each row and puts them into its table:
 *
 *	static const struct skv_conformance engine = { .prefix = "model:conformance-" };
 *	#define ROW(id, sentence, seconds) \
 *		static void run_##id(void) { skv_conformance_##id(&engine); }
 *	SKV_CONFORMANCE_LIST(ROW)
 */

#include <shmkv/shmkv.h>

#include <stdbool.h>
#include <stdint.h>

struct skv_conformance {
	const char *prefix;    /* scheme and the first letters of every map's name or label */
	bool is_private;       /* no other handle can reach a map: "heap:ENGINE/LABEL" */
	void (*prepare)(void); /* NULL, or called before each test */
	void (*adjust)(struct shmkv_options *opts); /* NULL, or sets what each map is made with */
	/* A map of this size is full after some thousand keys; 0: the engine knows no limit. */
	uint64_t small_bytes;
};

/* X(identifier, sentence, seconds) */
#define SKV_CONFORMANCE_LIST(X)                                                              \
	X(every_type, "what was put comes back, whatever its type", 10)                      \
	X(integers, "integers come back folded, at every limit of the format", 10)           \
	X(packed_forms, "a packed object is kept as it stands", 10)                          \
	X(put, "put stores and replaces", 10)                                                \
	X(add, "add stores only what is absent", 10)                                         \
	X(replace, "replace stores only what is present", 10)                                \
	X(cas, "cas stores only over the version it was told", 10)                           \
	X(tokens, "a token is never used again", 10)                                         \
	X(del, "del removes one key and no other", 10)                                       \
	X(take, "take removes and gives, or leaves all as it was", 10)                       \
	X(exists, "exists tells presence", 10)                                               \
	X(get_buffers, "get fills a buffer that is just large enough", 10)                   \
	X(get_packed_buffers, "get_packed fills a buffer that is just large enough", 10)     \
	X(get_alloc, "get_alloc gives values of every size", 30)                             \
	X(typed_reads, "typed reads give what fits and refuse the rest", 10)                 \
	X(payload_reads, "get_str and get_bin give the payload", 10)                         \
	X(incr, "incr adds, from an initial number on", 10)                                  \
	X(incr_limits, "incr stops at the limits of int64", 10)                              \
	X(append, "append lengthens text and bytes of its type", 10)                         \
	X(append_classes, "append grows over every length class of msgpack", 10)             \
	X(empty_payload, "empty text and bytes are values", 10)                              \
	/* hazard 25 */                                                                      \
	X(keys, "keys are any bytes, of any length up to the limit", 10)                     \
	X(bad_keys, "a key of no length or too much is refused everywhere", 10)              \
	X(bad_arguments, "missing outputs and buffers are refused", 10)                      \
	X(bad_values, "what is not one msgpack object is not stored", 10)                    \
	X(get_many, "a batch of gets answers for each key as get does", 10)                  \
	X(put_many, "a batch of puts stores each value as put does", 10)                     \
	X(batch_order, "items of one key in a batch take effect in order", 10)               \
	X(batch_bad, "bad items of a batch are refused and the others served", 10)           \
	X(batch_calls, "a batch as a whole is refused before anything is done", 10)          \
	X(batch_full, "a batch that does not fit stores what does", 60)                      \
	X(batch_long, "batches of any length are the same as single calls", 60)              \
	X(count_clear, "count counts and clear empties", 20)                                 \
	X(value_sizes, "values of every size come back", 60)                                 \
	X(overwrite_sizes, "a value may grow and shrink in place of itself", 20)             \
	X(huge, "a value of 256 MiB comes back", 60)                                         \
	X(too_large, "a value that can never fit is refused", 20)                            \
	/* hazard 21 */                                                                      \
	X(full, "a full map refuses, keeps everything, and takes again what was freed", 60)  \
	/* hazard 26 */                                                                      \
	X(two_handles, "two handles on one map see one map", 10)                             \
	X(names, "a name is taken once, and again after unlink", 10)                         \
	X(read_only, "a read-only handle reads and does not write", 10)                      \
	X(closed, "a closed handle is refused, and so is its scan", 10)                      \
	X(forked, "a forked child is refused and its parent undisturbed", 10)                \
	X(scan_empty, "a scan of an empty map ends at once", 10)                             \
	X(scan_once, "a scan gives every key once, with its value and token", 60)            \
	X(scan_moving, "a scan is right about keys that stay while others come and go", 60)  \
	X(scan_resume, "a scan can be taken over by its cursor", 60)                         \
	X(ttl, "each call keeps the time to live or sets it", 10)                            \
	X(expired, "an expired key is absent for every call", 30)                            \
	X(wait, "a wait answers when the state is another, and at its deadline", 10)          \
	X(threads, "threads share a handle", 60)                                             \
	X(inspect, "info and check agree with the content", 20)                              \
	X(views, "a view keeps its value, whatever becomes of the key", 10)                  \
	X(view_types, "a view shows every type", 10)                                         \
	X(view_limits, "there are so many views, and what is none is refused", 10)           \
	X(view_handles, "a view ends with its handle, which must be writable", 10)           \
	X(drafts, "a draft is seen when it is committed, and not before", 10)                \
	X(draft_refused, "a draft that is refused can be committed again", 10)               \
	X(draft_limits, "there are so many drafts, and what is none is refused", 10)         \
	X(draft_handles, "a draft ends with its handle, which must be writable", 10)         \
	X(differential, "a long random history ends like a plain model of it", 300)

#define SKV_CONFORMANCE_DECLARE(id, sentence, seconds) \
	void skv_conformance_##id(const struct skv_conformance *engine);
SKV_CONFORMANCE_LIST(SKV_CONFORMANCE_DECLARE)

#endif
