/* SPDX-License-Identifier: MIT */
#include "stress/reader.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

int reader_init(struct reader *reader, struct ledger *ledger, const struct stress_options *opts,
		unsigned int place, struct ledger_writer *writer, uint64_t seed)
{
	uint64_t i;

	memset(reader, 0, sizeof(*reader));
	reader->ledger = ledger;
	reader->place = place;
	reader->writer = writer;
	reader->evicts = opts->evict;
	reader->random.state = seed;
	/* An array around the payload fits too. Timed keys have sizes of their own. */
	reader->cap = (size_t)opts->value_max + 16;
	if (reader->cap < READER_CAP_MIN)
		reader->cap = READER_CAP_MIN;
	reader->buf = malloc(reader->cap);
	reader->seen_seqs = calloc((size_t)KEY_HOT * ledger->n_writers, sizeof(*reader->seen_seqs));
	reader->seen_sums = malloc((size_t)ledger->plan.n[KEY_INCR] * sizeof(*reader->seen_sums));
	if (!reader->buf || !reader->seen_seqs || !reader->seen_sums) {
		reader_deinit(reader);
		return -ENOMEM;
	}
	for (i = 0; i < ledger->plan.n[KEY_INCR]; i++)
		reader->seen_sums[i] = INT64_MIN;
	return 0;
}

void reader_deinit(struct reader *reader)
{
	free(reader->buf);
	free(reader->seen_seqs);
	free(reader->seen_sums);
	memset(reader, 0, sizeof(*reader));
}

/* Through malloc: the value is moved to the reader's buffer, where all others are. */
static int get_through_alloc(struct reader *reader, const struct stress_key *key,
			     struct shmkv_value *ret_value, uint64_t *ret_token)
{
	void *object;
	size_t len;
	int r;

	r = shmkv_get_alloc(reader->kv, key->bytes, key->len, &object, &len, ret_token);
	if (r < 0)
		return r;
	if (len > reader->cap) {
		r = -ENOBUFS;
	} else {
		memcpy(reader->buf, object, len);
		r = shmkv_value_decode(reader->buf, len, ret_value);
	}
	free(object);
	return r;
}

int reader_get(struct reader *reader, const struct stress_key *key, struct shmkv_value *ret_value,
	       uint64_t *ret_token)
{
	size_t len;
	int r;

	ledger_op_begin(reader->writer, STRESS_OP_GET);
	switch (stress_random_below(&reader->random, 16)) {
	case 0:
		r = get_through_alloc(reader, key, ret_value, ret_token);
		break;
	case 1:
		r = shmkv_get_packed(reader->kv, key->bytes, key->len, reader->buf, reader->cap,
				     &len, ret_token);
		if (r == 0)
			r = shmkv_value_decode(reader->buf, len, ret_value);
		break;
	default:
		r = shmkv_get(reader->kv, key->bytes, key->len, reader->buf, reader->cap, ret_value,
			      ret_token);
		break;
	}
	ledger_op_end(reader->writer);

	if (r == 0 || r == -ENOENT)
		return r;
	if (r == -EAGAIN) {
		ledger_bump(&reader->writer->conflicts);
		return r;
	}
	ledger_fail(reader->ledger, reader->place, "get of key %.24s... answered %s (%s)", key->bytes,
		    shmkv_errname(r), shmkv_strerror(r));
	return -EPROTO;
}

/* "present with sequence 5, highest issued 7, in flight" */
static const char *describe_owned(uint64_t word, char *text, size_t cap)
{
	struct owned owned = owned_unpack(word);

	snprintf(text, cap, "%s since sequence %" PRIu32 ", issued up to %" PRIu32 "%s",
		 owned.present ? "present" : "absent", owned.seq, owned.issued,
		 owned.in_flight ? ", a call in flight" : "");
	return text;
}

bool reader_judge_owned(struct reader *reader, uint64_t idx, uint64_t before, uint64_t after,
			const struct shmkv_value *value)
{
	const struct key_plan *plan = &reader->ledger->plan;
	struct owned old = owned_unpack(before), new = owned_unpack(after);
	bool exact = before == after && !old.in_flight;
	char why[240], text_before[96], text_after[96];
	struct payload payload;
	uint64_t seq;
	bool fine;

	ledger_bump(&reader->writer->checked);
	if (!value) {
		/* A key that is never deleted does not go away, whatever is in flight. */
		fine = reader->evicts || !old.present || (!exact && key_is_churn(plan, idx));
		if (!fine)
			ledger_fail(reader->ledger, reader->place,
				    "owned key %" PRIu64 " is missing; before the read it was %s, after "
				    "it %s", idx, describe_owned(before, text_before, sizeof(text_before)),
				    describe_owned(after, text_after, sizeof(text_after)));
		return fine;
	}

	if (!payload_check(value, payload_key_id(KEY_OWNED, idx), &payload, why, sizeof(why))) {
		ledger_fail(reader->ledger, reader->place, "owned key %" PRIu64 ": %s", idx, why);
		return false;
	}
	seq = payload.seq;
	if (exact)
		fine = old.present && seq == old.seq;
	else
		/* Never older than acknowledged before, never newer than asked for. */
		fine = seq >= old.seq && seq <= (uint64_t)new.issued + new.in_flight;
	if (fine && payload.writer == key_owner(plan, idx))
		return true;
	ledger_fail(reader->ledger, reader->place,
		    "owned key %" PRIu64 " has sequence %" PRIu64 " of writer %" PRIu32 ".%" PRIu32
		    "; before the read it was %s, after it %s; its owner is writer %u",
		    idx, seq, payload.writer, payload.incarnation,
		    describe_owned(before, text_before, sizeof(text_before)),
		    describe_owned(after, text_after, sizeof(text_after)), key_owner(plan, idx));
	return false;
}

bool reader_settle_owned(struct reader *reader, uint64_t idx, uint64_t word,
			 const struct shmkv_value *value, uint64_t *ret_word)
{
	struct owned owned = owned_unpack(word);
	struct payload payload = { .seq = owned.issued };
	char why[240], text[96];

	if (!reader_judge_owned(reader, idx, word, word, value))
		return false;
	/* The bytes were judged already; this only takes the number out again. */
	if (value && !payload_check(value, payload_key_id(KEY_OWNED, idx), &payload, why, sizeof(why)))
		return false;
	if (value && payload.seq != owned.issued && !(owned.present && payload.seq == owned.seq)) {
		ledger_fail(reader->ledger, reader->place,
			    "owned key %" PRIu64 " has sequence %" PRIu64
			    " after its writer was killed; it was %s", idx, payload.seq,
			    describe_owned(word, text, sizeof(text)));
		return false;
	}
	owned.seq = (uint32_t)payload.seq;
	owned.present = value != NULL;
	owned.in_flight = false;
	*ret_word = owned_pack(owned);
	return true;
}

bool reader_check_owned(struct reader *reader, uint64_t idx)
{
	_Atomic uint64_t *word = &reader->ledger->owned[idx];
	struct shmkv_value value;
	uint64_t before, after;
	struct stress_key key;
	int r;

	stress_key_make(KEY_OWNED, idx, &key);
	/* [owned.before] acquire, pairs with [owned.answer]: what it says had returned. */
	before = atomic_load_explicit(word, memory_order_acquire);
	r = reader_get(reader, &key, &value, NULL);
	after = ledger_load_after_call(word);
	if (r == -EAGAIN)
		return true;
	if (r != 0 && r != -ENOENT)
		return false;
	return reader_judge_owned(reader, idx, before, after, r == 0 ? &value : NULL);
}

bool reader_judge_shared(struct reader *reader, enum key_class class, uint64_t idx,
			 const struct shmkv_value *value)
{
	struct ledger *ledger = reader->ledger;
	unsigned int workers = ledger->procs * ledger->threads;
	uint64_t issued, *seen;
	struct payload payload;
	uint32_t incarnation;
	char why[240];

	ledger_bump(&reader->writer->checked);
	if (!payload_check(value, payload_key_id(class, idx), &payload, why, sizeof(why))) {
		ledger_fail(ledger, reader->place, "%s key %" PRIu64 ": %s", key_class_name(class), idx,
			    why);
		return false;
	}
	if (payload.writer >= workers) {
		ledger_fail(ledger, reader->place,
			    "%s key %" PRIu64 ": written by %" PRIu32 ", there are %u writers",
			    key_class_name(class), idx, payload.writer, workers);
		return false;
	}
	issued = atomic_load_explicit(&ledger->writers[payload.writer].issued, memory_order_acquire);
	incarnation = atomic_load(&ledger->processes[payload.writer / ledger->threads].incarnation);
	if (payload.seq > issued || payload.incarnation > incarnation) {
		ledger_fail(ledger, reader->place,
			    "%s key %" PRIu64 ": sequence %" PRIu64 " of writer %" PRIu32 ".%" PRIu32
			    " was never issued, only up to %" PRIu64 " of .%" PRIu32,
			    key_class_name(class), idx, payload.seq, payload.writer,
			    payload.incarnation, issued, incarnation);
		return false;
	}
	if (class != KEY_SHARED || idx >= KEY_HOT)
		return true;
	/* One writer's values of one key come in the order it wrote them. */
	seen = &reader->seen_seqs[idx * ledger->n_writers + payload.writer];
	if (payload.seq < *seen) {
		ledger_fail(ledger, reader->place,
			    "shared key %" PRIu64 ": sequence %" PRIu64 " of writer %" PRIu32
			    " came back after %" PRIu64 " had been seen", idx, payload.seq,
			    payload.writer, *seen);
		return false;
	}
	*seen = payload.seq;
	return true;
}

bool reader_check_shared(struct reader *reader, enum key_class class, uint64_t idx)
{
	struct shmkv_value value;
	struct stress_key key;
	int r;

	stress_key_make(class, idx, &key);
	r = reader_get(reader, &key, &value, NULL);
	if (r == 0)
		return reader_judge_shared(reader, class, idx, &value);
	return r == -ENOENT || r == -EAGAIN;
}

bool reader_judge_counter(struct reader *reader, enum key_class class, uint64_t idx,
			  const struct shmkv_value *value)
{
	int64_t *seen;

	ledger_bump(&reader->writer->checked);
	if (value->type != SHMKV_INT) {
		ledger_fail(reader->ledger, reader->place, "%s counter %" PRIu64 " is of type %d",
			    key_class_name(class), idx, (int)value->type);
		return false;
	}
	if (class != KEY_INCR || !key_only_rises(idx) || reader->evicts)
		return true;
	seen = &reader->seen_sums[idx];
	if (value->i64 < *seen) {
		ledger_fail(reader->ledger, reader->place,
			    "incr counter %" PRIu64 " fell from %" PRId64 " to %" PRId64
			    " though it is only raised", idx, *seen, value->i64);
		return false;
	}
	*seen = value->i64;
	return true;
}

bool reader_check_counter(struct reader *reader, enum key_class class, uint64_t idx)
{
	struct shmkv_value value;
	struct stress_key key;
	int r;

	stress_key_make(class, idx, &key);
	r = reader_get(reader, &key, &value, NULL);
	if (r == 0)
		return reader_judge_counter(reader, class, idx, &value);
	return r == -ENOENT || r == -EAGAIN;
}

uint64_t reader_draw_contended(struct reader *reader, enum key_class class)
{
	uint64_t n = reader->ledger->plan.n[class];

	if (n > KEY_HOT && stress_random_one_in(&reader->random, 2))
		n = KEY_HOT;
	return stress_random_below(&reader->random, n);
}

bool reader_check_any(struct reader *reader)
{
	uint64_t active = atomic_load_explicit(&reader->ledger->head->owned_active,
					       memory_order_relaxed);
	unsigned int draw = (unsigned int)stress_random_below(&reader->random, 16);

	if (draw == 9)
		return reader_check_shared(reader, KEY_TIMED,
					   reader_draw_contended(reader, KEY_TIMED));
	if (draw < 10)
		return reader_check_owned(reader, stress_random_below(&reader->random, active));
	if (draw < 12)
		return reader_check_shared(reader, KEY_SHARED,
					   reader_draw_contended(reader, KEY_SHARED));
	if (draw < 14)
		return reader_check_shared(reader, KEY_PRESENCE,
					   reader_draw_contended(reader, KEY_PRESENCE));
	if (draw < 15)
		return reader_check_counter(reader, KEY_INCR, reader_draw_contended(reader, KEY_INCR));
	return reader_check_counter(reader, KEY_CAS, reader_draw_contended(reader, KEY_CAS));
}
