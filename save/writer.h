/* SPDX-License-Identifier: MIT */
#ifndef SKV_SAVE_WRITER_H
#define SKV_SAVE_WRITER_H

/* writer: entries into a save file, block by block. */

#include "save/format.h"
#include "save/frame.h"

struct skv_save_writer {
	int fd;
	struct skv_frame_pack *pack; /* NULL: blocks are stored as they are */
	uint8_t *data, *stored;
	size_t data_cap, stored_cap;
	size_t data_len;    /* of the block at hand */
	uint64_t n_entries; /* in it */
	uint64_t number;    /* of it */
	uint8_t *checksums; /* of the blocks before, as they stand in the file */
	size_t checksums_cap;
	/* in the file so far */
	uint64_t bytes;
	struct skv_save_end total;
};

/*
 * skv_save_writer_begin - write the header
 * @level: of compression, 0 for none
 *
 * Whatever it answers, end with skv_save_writer_end. Returns 0, -ENOMEM, -EOPNOTSUPP, or what
 * writing answered: -ENOSPC, -EFBIG, -EIO.
 */
int skv_save_writer_begin(struct skv_save_writer *writer, int fd, unsigned int level,
			  const struct skv_save_header *header);

int skv_save_writer_entry(struct skv_save_writer *writer, const struct skv_save_entry *entry);

/* The last block and the end block. Without it the file counts as cut off. */
int skv_save_writer_finish(struct skv_save_writer *writer);

void skv_save_writer_end(struct skv_save_writer *writer);

#endif
