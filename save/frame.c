/* SPDX-License-Identifier: MIT */
#include "save/frame.h"

#include <errno.h>
#include <stdlib.h>

#define FIRST_BYTES ((size_t)64 << 10)

int skv_grow(uint8_t **buf, size_t *cap, size_t need, size_t most)
{
	size_t want = *cap ? *cap : FIRST_BYTES;
	uint8_t *bigger;

	if (need <= *cap)
		return 0;
	while (want < need && want < most)
		want = want <= most / 2 ? want * 2 : most;
	if (want < need)
		return -ENOMEM;
	bigger = realloc(*buf, want);
	if (!bigger)
		return -ENOMEM;
	*buf = bigger;
	*cap = want;
	return 0;
}

#ifdef SKV_ZSTD

#include <zstd.h>
#include <zstd_errors.h>

struct skv_frame_pack {
	ZSTD_CCtx *zstd;
	int level;
};

struct skv_frame_unpack {
	ZSTD_DCtx *zstd;
};

int skv_frame_pack_new(unsigned int level, struct skv_frame_pack **ret_pack)
{
	struct skv_frame_pack *pack = calloc(1, sizeof(*pack));

	if (!pack)
		return -ENOMEM;
	pack->level = (int)level;
	pack->zstd = ZSTD_createCCtx();
	if (!pack->zstd) {
		free(pack);
		return -ENOMEM;
	}
	*ret_pack = pack;
	return 0;
}

void skv_frame_pack_end(struct skv_frame_pack *pack)
{
	if (pack)
		ZSTD_freeCCtx(pack->zstd);
	free(pack);
}

size_t skv_frame_bound(size_t len)
{
	return ZSTD_compressBound(len);
}

int skv_frame_pack(struct skv_frame_pack *pack, const void *bytes, size_t len, void *buf,
		   size_t cap, size_t *ret_len)
{
	size_t n = ZSTD_compressCCtx(pack->zstd, buf, cap, bytes, len, pack->level);

	/* With room for the worst, only memory can be missing. */
	if (ZSTD_isError(n))
		return -ENOMEM;
	*ret_len = n;
	return 0;
}

int skv_frame_unpack_new(struct skv_frame_unpack **ret_unpack)
{
	struct skv_frame_unpack *unpack = calloc(1, sizeof(*unpack));

	if (!unpack)
		return -ENOMEM;
	unpack->zstd = ZSTD_createDCtx();
	if (!unpack->zstd) {
		free(unpack);
		return -ENOMEM;
	}
	*ret_unpack = unpack;
	return 0;
}

void skv_frame_unpack_end(struct skv_frame_unpack *unpack)
{
	if (unpack)
		ZSTD_freeDCtx(unpack->zstd);
	free(unpack);
}

int skv_frame_unpack(struct skv_frame_unpack *unpack, const void *bytes, size_t len, size_t want,
		     uint8_t **buf, size_t *cap)
{
	ZSTD_inBuffer in = { bytes, len, 0 };
	ZSTD_outBuffer out = { NULL, 0, 0 };
	size_t n, pos = 0;

	ZSTD_DCtx_reset(unpack->zstd, ZSTD_reset_session_only);
	for (;;) {
		/* A byte more than wanted shows a frame that holds more. */
		if (pos == *cap && skv_grow(buf, cap, pos + 1, want + 1) < 0)
			return -ENOMEM;
		out.dst = *buf;
		out.size = *cap < want + 1 ? *cap : want + 1;
		out.pos = pos;
		n = ZSTD_decompressStream(unpack->zstd, &out, &in);
		if (ZSTD_isError(n))
			return ZSTD_getErrorCode(n) == ZSTD_error_memory_allocation ? -ENOMEM : -EBADMSG;
		if (out.pos > want)
			return -EBADMSG;
		/* The frame is at its end. */
		if (n == 0)
			return out.pos == want && in.pos == in.size ? 0 : -EBADMSG;
		/* It wants more, and there is none. */
		if (out.pos == pos && in.pos == in.size && out.pos < out.size)
			return -EBADMSG;
		pos = out.pos;
	}
}

#else

int skv_frame_pack_new(unsigned int level, struct skv_frame_pack **ret_pack)
{
	(void)level;
	(void)ret_pack;
	return -EOPNOTSUPP;
}

void skv_frame_pack_end(struct skv_frame_pack *pack)
{
	(void)pack;
}

size_t skv_frame_bound(size_t len)
{
	return len;
}

int skv_frame_pack(struct skv_frame_pack *pack, const void *bytes, size_t len, void *buf,
		   size_t cap, size_t *ret_len)
{
	(void)pack;
	(void)bytes;
	(void)len;
	(void)buf;
	(void)cap;
	(void)ret_len;
	return -EOPNOTSUPP;
}

int skv_frame_unpack_new(struct skv_frame_unpack **ret_unpack)
{
	(void)ret_unpack;
	return -EOPNOTSUPP;
}

void skv_frame_unpack_end(struct skv_frame_unpack *unpack)
{
	(void)unpack;
}

int skv_frame_unpack(struct skv_frame_unpack *unpack, const void *bytes, size_t len, size_t want,
		     uint8_t **buf, size_t *cap)
{
	(void)unpack;
	(void)bytes;
	(void)len;
	(void)want;
	(void)buf;
	(void)cap;
	return -EOPNOTSUPP;
}

#endif
