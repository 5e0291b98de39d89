/* SPDX-License-Identifier: MIT */
#ifndef STRESS_READER_H
#define STRESS_READER_H

/*
 * reader: reads a key and holds what it got against the ledger.
 *
 * Every kind of process uses it: workers between their writes, the auditor on its read-only
 * mapping, the final process when all is quiet. A reader remembers what it saw of contended
 * keys, so that it notices a value that comes back after a newer one.
 */

#include <stddef.h>
#include <stdint.h>

#include "stress/ledger.h"
#include "stress/payload.h"

#define READER_CAP_MIN (4096u + 16u)

struct reader {
	struct ledger *ledger;
	struct shmkv *kv;
	bool evicts; /* whatever is there may be gone at any time */
	unsigned int place;           /* whose failure it is */
	struct ledger_writer *writer; /* whose operation it is */
	void *buf;
	size_t cap;
	uint64_t *seen_seqs; /* hot shared keys x writers: highest sequence number seen */
	int64_t *seen_sums;  /* incr counters that only rise: highest number seen */
	struct stress_random random;
};

int reader_init(struct reader *reader, struct ledger *ledger, const struct stress_options *opts,
		unsigned int place, struct ledger_writer *writer, uint64_t seed);
void reader_deinit(struct reader *reader);

/*
 * reader_get - read a key, in one of the ways the library has
 *
 * Returns 0, -ENOENT or -EAGAIN; any other answer is recorded as a failure, as -EPROTO.
 */
int reader_get(struct reader *reader, const struct stress_key *key, struct shmkv_value *ret_value,
	       uint64_t *ret_token);

/* Each reads one key and checks it; false after a failure was recorded. */
bool reader_check_owned(struct reader *reader, uint64_t idx);
bool reader_check_shared(struct reader *reader, enum key_class class, uint64_t idx);
bool reader_check_counter(struct reader *reader, enum key_class class, uint64_t idx);

/* Any key that is in play, chosen at random. */
bool reader_check_any(struct reader *reader);

/*
 * reader_judge_owned - is this what the ledger allows?
 * @before, @after: the key's word as it was before and after the read
 * @value: NULL if the key was absent
 */
bool reader_judge_owned(struct reader *reader, uint64_t idx, uint64_t before, uint64_t after,
			const struct shmkv_value *value);

/*
 * reader_settle_owned - what has become of the call that a dead owner left in flight
 * @word: as the dead owner left it
 * @value: what is there now, NULL if nothing
 * @ret_word: the word without the flight
 *
 * Exactly the old state or the one that was asked for; false, with a failure recorded, if
 * it is neither.
 */
bool reader_settle_owned(struct reader *reader, uint64_t idx, uint64_t word,
			 const struct shmkv_value *value, uint64_t *ret_word);

/* What reader_judge_owned is, for a value of a shared or presence key. */
bool reader_judge_shared(struct reader *reader, enum key_class class, uint64_t idx,
			 const struct shmkv_value *value);

/* And for a counter. */
bool reader_judge_counter(struct reader *reader, enum key_class class, uint64_t idx,
			  const struct shmkv_value *value);

/* An index of a class; half of the draws fall on the hot ones. */
uint64_t reader_draw_contended(struct reader *reader, enum key_class class);

#endif
