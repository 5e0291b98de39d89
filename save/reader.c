/* SPDX-License-Identifier: MIT */
#include "save/reader.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define STEP_BYTES ((size_t)1 << 20)

static int blame(struct skv_save_reader *reader, const char *problem)
{
	reader->problem = problem;
	return -EBADMSG;
}

/* How many of @len bytes there were, or -EIO. */
static ssize_t read_some(struct skv_save_reader *reader, uint8_t *buf, size_t len)
{
	size_t done = 0;
	ssize_t n;

	while (done < len) {
		n = read(reader->fd, buf + done, len - done);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -EIO;
		if (n == 0)
			break;
		done += (size_t)n;
	}
	reader->bytes += done;
	return (ssize_t)done;
}

static int read_all(struct skv_save_reader *reader, uint8_t *buf, size_t len)
{
	ssize_t n = read_some(reader, buf, len);

	if (n < 0)
		return (int)n;
	if ((size_t)n == len)
		return 0;
	reader->position = reader->bytes;
	return blame(reader, "the file is cut off here");
}

int skv_save_reader_begin(struct skv_save_reader *reader, int fd,
			  struct skv_save_header *ret_header)
{
	uint8_t bytes[SKV_SAVE_HEADER_BYTES] = { 0 };
	ssize_t n;
	int r;

	memset(reader, 0, sizeof(*reader));
	reader->fd = fd;
	reader->most = SIZE_MAX;
	n = read_some(reader, bytes, sizeof(bytes));
	if (n < 0)
		return (int)n;
	r = skv_save_header_parse(bytes, ret_header, &reader->problem);
	if (n < (ssize_t)sizeof(bytes) && r == -EBADMSG) {
		reader->position = reader->bytes;
		reader->problem = "the file is cut off here";
	}
	return r;
}

/* ---- blocks ------------------------------------------------------------------------ */

static int read_stored(struct skv_save_reader *reader, size_t len)
{
	size_t have = 0, step;
	int r;

	while (have < len) {
		step = len - have < STEP_BYTES ? len - have : STEP_BYTES;
		r = skv_grow(&reader->stored, &reader->stored_cap, have + step, len);
		if (r == 0)
			r = read_all(reader, reader->stored + have, step);
		if (r < 0)
			return r;
		have += step;
	}
	return 0;
}

static int unpack_block(struct skv_save_reader *reader, const struct skv_save_block *block)
{
	int r = 0;

	if (!reader->unpack)
		r = skv_frame_unpack_new(&reader->unpack);
	if (r == 0)
		r = skv_frame_unpack(reader->unpack, reader->stored, block->stored_bytes,
				     block->data_bytes, &reader->data, &reader->data_cap);
	if (r == -EOPNOTSUPP)
		reader->problem = "the file is compressed, and this library was built without zstd";
	if (r == -EBADMSG)
		reader->problem = "this block does not decompress to what its header says";
	return r;
}

static int note_checksum(struct skv_save_reader *reader, uint64_t checksum)
{
	size_t at = reader->number * 8;
	unsigned int i;
	int r = skv_grow(&reader->checksums, &reader->checksums_cap, at + 8, SIZE_MAX);

	for (i = 0; r == 0 && i < 8; i++)
		reader->checksums[at + i] = (uint8_t)(checksum >> 8 * i);
	return r;
}

/* Everything that was written is here, and nothing else. */
static int check_end(struct skv_save_reader *reader)
{
	struct skv_save_end end;
	uint8_t more;
	ssize_t n;

	skv_save_end_parse(reader->stored, &end);
	if (end.n_entries != reader->total.n_entries || end.data_bytes != reader->total.data_bytes ||
	    end.checksum != skv_save_checksum(reader->checksums, reader->number * 8))
		return blame(reader, "the end does not fit what came before it");
	reader->position = reader->bytes;
	n = read_some(reader, &more, 1);
	if (n < 0)
		return (int)n;
	if (n > 0)
		return blame(reader, "something follows the end of the file");
	reader->ended = true;
	return 0;
}

/* The next block, or the end. */
static int next_block(struct skv_save_reader *reader)
{
	uint8_t bytes[SKV_SAVE_BLOCK_BYTES];
	struct skv_save_block block;
	int r;

	reader->position = reader->bytes;
	r = read_all(reader, bytes, sizeof(bytes));
	if (r == 0)
		r = skv_save_block_parse(bytes, &block, &reader->problem);
	if (r < 0)
		return r;
	if (block.number != reader->number)
		return blame(reader, "this block is not the one that belongs here");
	if (block.data_bytes > reader->most || block.stored_bytes > reader->most) {
		reader->problem = "this block is longer than the map may be";
		return -EFBIG;
	}
	r = read_stored(reader, block.stored_bytes);
	if (r < 0)
		return r;
	if (skv_save_checksum(reader->stored, block.stored_bytes) != block.checksum)
		return blame(reader, "the content of this block is damaged");
	if (block.is_end)
		return check_end(reader);

	r = block.is_zstd ? unpack_block(reader, &block) : 0;
	if (r == 0)
		r = note_checksum(reader, block.checksum);
	if (r < 0)
		return r;
	reader->block = block.is_zstd ? reader->data : reader->stored;
	reader->block_len = block.data_bytes;
	reader->at = 0;
	reader->n_entries = block.n_entries;
	reader->number++;
	return 0;
}

int skv_save_reader_next(struct skv_save_reader *reader, struct skv_save_entry *ret_entry)
{
	size_t taken;
	int r;

	if (reader->n_entries == 0 && !reader->ended) {
		r = next_block(reader);
		if (r < 0)
			return r;
	}
	if (reader->ended)
		return 0;
	r = skv_save_entry_parse(reader->block + reader->at, reader->block_len - reader->at, ret_entry,
				 &taken, &reader->problem);
	if (r < 0)
		return r;
	reader->at += taken;
	reader->n_entries--;
	reader->total.n_entries++;
	reader->total.data_bytes += taken;
	if (reader->n_entries == 0 && reader->at != reader->block_len)
		return blame(reader, "more is in this block than its entries");
	return 1;
}

void skv_save_reader_end(struct skv_save_reader *reader)
{
	skv_frame_unpack_end(reader->unpack);
	free(reader->data);
	free(reader->stored);
	free(reader->checksums);
}
