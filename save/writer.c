/* SPDX-License-Identifier: MIT */
#include "save/writer.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int write_code(int error)
{
	switch (error) {
	case ENOSPC:
	case EDQUOT:
		return -ENOSPC;
	case EFBIG:
		return -EFBIG;
	default:
		return -EIO;
	}
}

static int write_all(struct skv_save_writer *writer, const uint8_t *bytes, size_t len)
{
	size_t done = 0;
	ssize_t n;

	while (done < len) {
		n = write(writer->fd, bytes + done, len - done);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return write_code(errno);
		done += (size_t)n;
	}
	writer->bytes += len;
	return 0;
}

static int write_block(struct skv_save_writer *writer, struct skv_save_block *block,
		       const uint8_t *stored)
{
	uint8_t bytes[SKV_SAVE_BLOCK_BYTES];
	int r;

	block->number = writer->number;
	block->checksum = skv_save_checksum(stored, block->stored_bytes);
	skv_save_block_pack(block, bytes);
	r = write_all(writer, bytes, sizeof(bytes));
	if (r == 0)
		r = write_all(writer, stored, block->stored_bytes);
	return r;
}

/* Compressed, if that makes it shorter. */
static int pack_block(struct skv_save_writer *writer, struct skv_save_block *block,
		      const uint8_t **ret_stored)
{
	size_t bound = skv_frame_bound(writer->data_len), len;
	int r;

	*ret_stored = writer->data;
	block->stored_bytes = writer->data_len;
	if (!writer->pack)
		return 0;
	r = skv_grow(&writer->stored, &writer->stored_cap, bound, SIZE_MAX);
	if (r == 0)
		r = skv_frame_pack(writer->pack, writer->data, writer->data_len, writer->stored, bound,
				   &len);
	if (r < 0 || len >= writer->data_len)
		return r;
	*ret_stored = writer->stored;
	block->stored_bytes = len;
	block->is_zstd = true;
	return 0;
}

/* The end block covers the checksums of all blocks, as they stand in the file. */
static int note_checksum(struct skv_save_writer *writer, uint64_t checksum)
{
	size_t at = writer->number * 8;
	unsigned int i;
	int r = skv_grow(&writer->checksums, &writer->checksums_cap, at + 8, SIZE_MAX);

	for (i = 0; r == 0 && i < 8; i++)
		writer->checksums[at + i] = (uint8_t)(checksum >> 8 * i);
	return r;
}

static int close_block(struct skv_save_writer *writer)
{
	struct skv_save_block block = { .n_entries = writer->n_entries,
					.data_bytes = writer->data_len };
	const uint8_t *stored;
	int r;

	if (writer->n_entries == 0)
		return 0;
	r = pack_block(writer, &block, &stored);
	if (r == 0)
		r = write_block(writer, &block, stored);
	if (r == 0)
		r = note_checksum(writer, block.checksum);
	if (r < 0)
		return r;
	writer->total.n_entries += writer->n_entries;
	writer->total.data_bytes += writer->data_len;
	writer->number++;
	writer->n_entries = 0;
	writer->data_len = 0;
	return 0;
}

int skv_save_writer_begin(struct skv_save_writer *writer, int fd, unsigned int level,
			  const struct skv_save_header *header)
{
	uint8_t bytes[SKV_SAVE_HEADER_BYTES];
	int r;

	memset(writer, 0, sizeof(*writer));
	writer->fd = fd;
	if (level > 0) {
		r = skv_frame_pack_new(level, &writer->pack);
		if (r < 0)
			return r;
	}
	skv_save_header_pack(header, bytes);
	return write_all(writer, bytes, sizeof(bytes));
}

int skv_save_writer_entry(struct skv_save_writer *writer, const struct skv_save_entry *entry)
{
	size_t len = skv_save_entry_bytes(entry);
	int r = 0;

	if (writer->data_len > 0 && writer->data_len + len > SKV_SAVE_BLOCK_FULL)
		r = close_block(writer);
	if (r == 0)
		r = skv_grow(&writer->data, &writer->data_cap, writer->data_len + len, SIZE_MAX);
	if (r < 0)
		return r;
	skv_save_entry_pack(entry, writer->data + writer->data_len);
	writer->data_len += len;
	writer->n_entries++;
	return 0;
}

int skv_save_writer_finish(struct skv_save_writer *writer)
{
	struct skv_save_block block = { .is_end = true,
					.data_bytes = SKV_SAVE_END_BYTES,
					.stored_bytes = SKV_SAVE_END_BYTES };
	uint8_t bytes[SKV_SAVE_END_BYTES];
	int r = close_block(writer);

	if (r < 0)
		return r;
	writer->total.checksum = skv_save_checksum(writer->checksums, writer->number * 8);
	skv_save_end_pack(&writer->total, bytes);
	return write_block(writer, &block, bytes);
}

void skv_save_writer_end(struct skv_save_writer *writer)
{
	skv_frame_pack_end(writer->pack);
	free(writer->data);
	free(writer->stored);
	free(writer->checksums);
}
