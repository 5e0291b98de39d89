/* SPDX-License-Identifier: MIT */
#ifndef SKV_SAVE_FORMAT_H
#define SKV_SAVE_FORMAT_H

/*
 * format: what a save file consists of, byte by byte. All numbers are little-endian.
 *
 *     header   block 0   block 1 ...   block n-1   end block
 *
 * header, 128 bytes
 *
 *      0   8  "SHMKVSAV"
 *      8   4  version of the format, 1
 *     12   4  length of the header, 128
 *     16   4  hash kind (enum shmkv_hash)
 *     20   4  eviction policy (enum shmkv_evict)
 *     24   4  most processes       ) 0: the engine has no such limit
 *     28   4  most threads         )
 *     32   8  maximum size of the map, bytes
 *     40   8  default time to live, ms; 0: none
 *     48   8  keys when saving began, for progress
 *     56   8  time of day when saving began, ms since 1970
 *     64  16  engine, such as "shm", padded with NULs
 *     80  16  version of the library, padded with NULs
 *     96  24  zero
 *    120   8  XXH3-64 of bytes 0..119
 *
 * block: a block header of 56 bytes, then as many bytes as it says are stored
 *
 *      0   4  "BLCK"; "END." in the last one
 *      4   4  1: stored bytes are one zstd frame; 0: as they are
 *      8   8  number of the block, from 0
 *     16   8  entries in it
 *     24   8  length of the entries, bytes
 *     32   8  stored bytes
 *     40   8  XXH3-64 of the stored bytes
 *     48   8  XXH3-64 of bytes 0..47
 *
 * entry: one after the other, unaligned, never across blocks
 *
 *      0   4  key length, 1..65536
 *      4   4  1: has a time to live; 0: lives for ever
 *      8   8  value length
 *     16   8  time to live, ms; only if it has one
 *      .   .  key
 *      .   .  value, one msgpack object
 *
 * The end block holds three numbers in place of entries: entries in the file (8), length
 * of all entries (8), XXH3-64 of the checksums of all blocks, one after the other (8). It
 * says 0 entries, and nothing follows it.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SKV_SAVE_VERSION 1u
#define SKV_SAVE_HEADER_BYTES 128u
#define SKV_SAVE_BLOCK_BYTES 56u
#define SKV_SAVE_ENTRY_BYTES 16u
#define SKV_SAVE_END_BYTES 24u
/* A block is closed when it has this many; one entry alone may be longer. */
#define SKV_SAVE_BLOCK_FULL ((size_t)1 << 20)

struct skv_save_header {
	uint32_t version;
	uint32_t hash;
	uint32_t evict;
	uint32_t max_processes;
	uint32_t max_threads;
	uint64_t max_bytes;
	uint64_t default_ttl_ms;
	uint64_t n_keys;
	uint64_t saved_ms;
	char engine[16];
	char library[16];
};

struct skv_save_block {
	bool is_end;
	bool is_zstd;
	uint64_t number;
	uint64_t n_entries;
	uint64_t data_bytes;
	uint64_t stored_bytes;
	uint64_t checksum;
};

struct skv_save_entry {
	const uint8_t *key;
	size_t key_len;
	const uint8_t *value;
	size_t value_len;
	bool expires;
	uint64_t ttl_ms; /* if it expires */
};

struct skv_save_end {
	uint64_t n_entries;
	uint64_t data_bytes;
	uint64_t checksum;
};

void skv_save_header_pack(const struct skv_save_header *header, uint8_t *ret_bytes);
void skv_save_block_pack(const struct skv_save_block *block, uint8_t *ret_bytes);
void skv_save_end_pack(const struct skv_save_end *end, uint8_t *ret_bytes);

/* Bytes that an entry takes. */
size_t skv_save_entry_bytes(const struct skv_save_entry *entry);
void skv_save_entry_pack(const struct skv_save_entry *entry, uint8_t *ret_bytes);

/*
 * The other way. All return 0 or a code of shmkv.h, with @ret_problem a static text; nothing
 * is believed that the checksum or the bytes left do not cover.
 */
int skv_save_header_parse(const uint8_t *bytes, struct skv_save_header *ret_header,
			  const char **ret_problem);
int skv_save_block_parse(const uint8_t *bytes, struct skv_save_block *ret_block,
			 const char **ret_problem);
/* At @bytes, of which @len are left; *ret_taken of them are this entry's. */
int skv_save_entry_parse(const uint8_t *bytes, size_t len, struct skv_save_entry *ret_entry,
			 size_t *ret_taken, const char **ret_problem);
void skv_save_end_parse(const uint8_t *bytes, struct skv_save_end *ret_end);

/* What stands in the file for stored bytes. */
uint64_t skv_save_checksum(const void *bytes, size_t len);

#endif
