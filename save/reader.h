/* SPDX-License-Identifier: MIT */
#ifndef SKV_SAVE_READER_H
#define SKV_SAVE_READER_H

/*
 * reader: entries out of a save file that may be damaged, cut off or made by an enemy.
 *
 * A block is read whole and its checksum compared before anything in it is looked at. Memory
 * grows with the bytes that really come, not with the lengths that the file announces.
 */

#include "save/format.h"
#include "save/frame.h"

struct skv_save_reader {
	int fd;
	uint64_t most; /* no block of entries is longer: what the map can hold */
	struct skv_frame_unpack *unpack;
	uint8_t *data, *stored;
	size_t data_cap, stored_cap;
	const uint8_t *block; /* entries of the block at hand */
	size_t block_len, at;
	uint64_t n_entries; /* in it, still to come */
	uint64_t number;    /* of the next block */
	uint8_t *checksums;
	size_t checksums_cap;
	bool ended;
	/* for whoever asks */
	uint64_t bytes; /* read */
	uint64_t position;   /* of what is being looked at */
	const char *problem; /* static text, with an error that the file is to blame for */
	struct skv_save_end total;
};

/*
 * skv_save_reader_begin - read the header
 *
 * Whatever it answers, end with skv_save_reader_end. Returns 0, -EMEDIUMTYPE, -EPROTONOSUPPORT,
 * -EBADMSG, -EIO.
 */
int skv_save_reader_begin(struct skv_save_reader *reader, int fd,
			  struct skv_save_header *ret_header);

/*
 * skv_save_reader_next - the next entry: 1, 0 at the end of a whole file, or an error
 *
 * The entry stays until the next block is begun; skv_save_reader_is_last tells when that is.
 * Returns also -EBADMSG, -EFBIG (a block longer than @most), -EOPNOTSUPP, -ENOMEM, -EIO.
 */
int skv_save_reader_next(struct skv_save_reader *reader, struct skv_save_entry *ret_entry);

/* The next call will overwrite the entries given so far. */
static inline bool skv_save_reader_is_last(const struct skv_save_reader *reader)
{
	return reader->n_entries == 0;
}

void skv_save_reader_end(struct skv_save_reader *reader);

#endif
