/* SPDX-License-Identifier: MIT */
#include "save/format.h"

#include <shmkv/expiry.h>

#include <errno.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#define MAGIC "SHMKVSAV"
#define MAGIC_BLOCK "BLCK"
#define MAGIC_END "END."

#define HEADER_CHECKED (SKV_SAVE_HEADER_BYTES - 8)
#define BLOCK_CHECKED (SKV_SAVE_BLOCK_BYTES - 8)

#define FLAG_ZSTD 1u
#define FLAG_EXPIRES 1u

static void put32(uint8_t *p, uint32_t v)
{
	unsigned int i;

	for (i = 0; i < 4; i++)
		p[i] = (uint8_t)(v >> 8 * i);
}

static void put64(uint8_t *p, uint64_t v)
{
	unsigned int i;

	for (i = 0; i < 8; i++)
		p[i] = (uint8_t)(v >> 8 * i);
}

static uint32_t get32(const uint8_t *p)
{
	return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static uint64_t get64(const uint8_t *p)
{
	return get32(p) | (uint64_t)get32(p + 4) << 32;
}

uint64_t skv_save_checksum(const void *bytes, size_t len)
{
	return XXH3_64bits(bytes, len);
}

/* ---- header ------------------------------------------------------------------------ */

void skv_save_header_pack(const struct skv_save_header *header, uint8_t *ret_bytes)
{
	memset(ret_bytes, 0, SKV_SAVE_HEADER_BYTES);
	memcpy(ret_bytes, MAGIC, 8);
	put32(ret_bytes + 8, SKV_SAVE_VERSION);
	put32(ret_bytes + 12, SKV_SAVE_HEADER_BYTES);
	put32(ret_bytes + 16, header->hash);
	put32(ret_bytes + 20, header->evict);
	put32(ret_bytes + 24, header->max_processes);
	put32(ret_bytes + 28, header->max_threads);
	put64(ret_bytes + 32, header->max_bytes);
	put64(ret_bytes + 40, header->default_ttl_ms);
	put64(ret_bytes + 48, header->n_keys);
	put64(ret_bytes + 56, header->saved_ms);
	memcpy(ret_bytes + 64, header->engine, 16);
	memcpy(ret_bytes + 80, header->library, 16);
	put64(ret_bytes + HEADER_CHECKED, skv_save_checksum(ret_bytes, HEADER_CHECKED));
}

/* What no map was ever created with. */
static bool is_sane(const struct skv_save_header *header)
{
	return header->hash <= SHMKV_HASH_XXH3 && header->evict <= SHMKV_EVICT_LFU &&
	       header->max_bytes >= SHMKV_SIZE_MIN && header->max_bytes <= SHMKV_SIZE_MAX &&
	       header->default_ttl_ms <= SHMKV_TTL_MAX && header->max_processes <= 4095 &&
	       header->max_threads <= 4095;
}

int skv_save_header_parse(const uint8_t *bytes, struct skv_save_header *ret_header,
			  const char **ret_problem)
{
	struct skv_save_header header = { 0 };

	if (memcmp(bytes, MAGIC, 8) != 0) {
		*ret_problem = "this is not a file that shmkv saved";
		return -EMEDIUMTYPE;
	}
	header.version = get32(bytes + 8);
	/* Where the checksum lies is known of our version only. */
	if (header.version != SKV_SAVE_VERSION) {
		ret_header->version = header.version;
		*ret_problem = "the file has another version of the format";
		return -EPROTONOSUPPORT;
	}
	if (get64(bytes + HEADER_CHECKED) != skv_save_checksum(bytes, HEADER_CHECKED) ||
	    get32(bytes + 12) != SKV_SAVE_HEADER_BYTES) {
		*ret_problem = "the header is damaged";
		return -EBADMSG;
	}
	header.hash = get32(bytes + 16);
	header.evict = get32(bytes + 20);
	header.max_processes = get32(bytes + 24);
	header.max_threads = get32(bytes + 28);
	header.max_bytes = get64(bytes + 32);
	header.default_ttl_ms = get64(bytes + 40);
	header.n_keys = get64(bytes + 48);
	header.saved_ms = get64(bytes + 56);
	memcpy(header.engine, bytes + 64, 15);
	memcpy(header.library, bytes + 80, 15);
	if (!is_sane(&header)) {
		*ret_problem = "the header contradicts itself";
		return -EBADMSG;
	}
	*ret_header = header;
	return 0;
}

/* ---- blocks ------------------------------------------------------------------------ */

void skv_save_block_pack(const struct skv_save_block *block, uint8_t *ret_bytes)
{
	memcpy(ret_bytes, block->is_end ? MAGIC_END : MAGIC_BLOCK, 4);
	put32(ret_bytes + 4, block->is_zstd ? FLAG_ZSTD : 0);
	put64(ret_bytes + 8, block->number);
	put64(ret_bytes + 16, block->n_entries);
	put64(ret_bytes + 24, block->data_bytes);
	put64(ret_bytes + 32, block->stored_bytes);
	put64(ret_bytes + 40, block->checksum);
	put64(ret_bytes + BLOCK_CHECKED, skv_save_checksum(ret_bytes, BLOCK_CHECKED));
}

/* What a checksum covers can still be a lie. */
static bool is_sound(const struct skv_save_block *block)
{
	if (!block->is_zstd && block->stored_bytes != block->data_bytes)
		return false;
	if (block->is_end)
		return !block->is_zstd && block->n_entries == 0 &&
		       block->data_bytes == SKV_SAVE_END_BYTES;
	/* No key and no value is shorter than a byte. */
	return block->n_entries > 0 &&
	       block->n_entries <= block->data_bytes / (SKV_SAVE_ENTRY_BYTES + 2);
}

int skv_save_block_parse(const uint8_t *bytes, struct skv_save_block *ret_block,
			 const char **ret_problem)
{
	bool is_end = memcmp(bytes, MAGIC_END, 4) == 0;
	uint32_t flags = get32(bytes + 4);

	if (!is_end && memcmp(bytes, MAGIC_BLOCK, 4) != 0) {
		*ret_problem = "no block begins here";
		return -EBADMSG;
	}
	if (get64(bytes + BLOCK_CHECKED) != skv_save_checksum(bytes, BLOCK_CHECKED)) {
		*ret_problem = "the header of this block is damaged";
		return -EBADMSG;
	}
	ret_block->is_end = is_end;
	ret_block->is_zstd = flags & FLAG_ZSTD;
	ret_block->number = get64(bytes + 8);
	ret_block->n_entries = get64(bytes + 16);
	ret_block->data_bytes = get64(bytes + 24);
	ret_block->stored_bytes = get64(bytes + 32);
	ret_block->checksum = get64(bytes + 40);
	if (flags & ~FLAG_ZSTD || !is_sound(ret_block)) {
		*ret_problem = "the header of this block contradicts itself";
		return -EBADMSG;
	}
	return 0;
}

/* ---- entries ----------------------------------------------------------------------- */

size_t skv_save_entry_bytes(const struct skv_save_entry *entry)
{
	return SKV_SAVE_ENTRY_BYTES + (entry->expires ? 8 : 0) + entry->key_len + entry->value_len;
}

void skv_save_entry_pack(const struct skv_save_entry *entry, uint8_t *ret_bytes)
{
	uint8_t *p = ret_bytes + SKV_SAVE_ENTRY_BYTES;

	put32(ret_bytes, (uint32_t)entry->key_len);
	put32(ret_bytes + 4, entry->expires ? FLAG_EXPIRES : 0);
	put64(ret_bytes + 8, entry->value_len);
	if (entry->expires) {
		put64(p, entry->ttl_ms);
		p += 8;
	}
	memcpy(p, entry->key, entry->key_len);
	memcpy(p + entry->key_len, entry->value, entry->value_len);
}

int skv_save_entry_parse(const uint8_t *bytes, size_t len, struct skv_save_entry *ret_entry,
			 size_t *ret_taken, const char **ret_problem)
{
	uint64_t key_len, value_len, fixed;
	uint32_t flags;

	*ret_problem = "an entry of this block contradicts itself";
	if (len < SKV_SAVE_ENTRY_BYTES)
		return -EBADMSG;
	key_len = get32(bytes);
	flags = get32(bytes + 4);
	value_len = get64(bytes + 8);
	fixed = SKV_SAVE_ENTRY_BYTES + (flags & FLAG_EXPIRES ? 8 : 0);
	if (flags & ~FLAG_EXPIRES || key_len < 1 || key_len > SHMKV_KEY_MAX)
		return -EBADMSG;
	if (fixed + key_len > len || value_len > len - fixed - key_len)
		return -EBADMSG;
	ret_entry->expires = flags & FLAG_EXPIRES;
	ret_entry->ttl_ms = ret_entry->expires ? get64(bytes + SKV_SAVE_ENTRY_BYTES) : 0;
	if (ret_entry->expires && (ret_entry->ttl_ms < 1 || ret_entry->ttl_ms > SHMKV_TTL_MAX))
		return -EBADMSG;
	ret_entry->key = bytes + fixed;
	ret_entry->key_len = key_len;
	ret_entry->value = ret_entry->key + key_len;
	ret_entry->value_len = value_len;
	if (shmkv_value_check(ret_entry->value, value_len) < 0)
		return -EBADMSG;
	*ret_taken = fixed + key_len + value_len;
	*ret_problem = NULL;
	return 0;
}

/* ---- end --------------------------------------------------------------------------- */

void skv_save_end_pack(const struct skv_save_end *end, uint8_t *ret_bytes)
{
	put64(ret_bytes, end->n_entries);
	put64(ret_bytes + 8, end->data_bytes);
	put64(ret_bytes + 16, end->checksum);
}

void skv_save_end_parse(const uint8_t *bytes, struct skv_save_end *ret_end)
{
	ret_end->n_entries = get64(bytes);
	ret_end->data_bytes = get64(bytes + 8);
	ret_end->checksum = get64(bytes + 16);
}
