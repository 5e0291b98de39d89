/* SPDX-License-Identifier: MIT */
#ifndef SKV_SAVE_FRAME_H
#define SKV_SAVE_FRAME_H

/* frame: compression of one block by zstd, where the library was built with it. */

#include <stddef.h>
#include <stdint.h>

#define SKV_FRAME_LEVEL_MAX 19u

struct skv_frame_pack;
struct skv_frame_unpack;

/* skv_frame_pack_new - 0, -ENOMEM, or -EOPNOTSUPP without zstd. End it with _end. */
int skv_frame_pack_new(unsigned int level, struct skv_frame_pack **ret_pack);
void skv_frame_pack_end(struct skv_frame_pack *pack);

/* How long @len bytes can become at worst. */
size_t skv_frame_bound(size_t len);

/* Compress @len bytes into @buf of skv_frame_bound(@len): 0, or -ENOMEM. */
int skv_frame_pack(struct skv_frame_pack *pack, const void *bytes, size_t len, void *buf,
		   size_t cap, size_t *ret_len);

int skv_frame_unpack_new(struct skv_frame_unpack **ret_unpack);
void skv_frame_unpack_end(struct skv_frame_unpack *unpack);

/*
 * skv_frame_unpack - make the @want bytes of a block from its frame
 * @buf, @cap: memory from malloc that grows as bytes come out of the frame, never beforehand
 *
 * Returns 0, -EBADMSG when the frame is not whole or not of @want bytes, or -ENOMEM.
 */
int skv_frame_unpack(struct skv_frame_unpack *unpack, const void *bytes, size_t len, size_t want,
		     uint8_t **buf, size_t *cap);

/* skv_grow - make room for @need bytes, by doubling up to @most; 0 or -ENOMEM */
int skv_grow(uint8_t **buf, size_t *cap, size_t need, size_t most);

#endif
