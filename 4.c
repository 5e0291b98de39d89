#include "prologue.h"
#line 552 "shmkv.3.scd"
#include <shmkv/reserve.h>

int store_frame(struct shmkv *kv, FILE *from, size_t len_max)
{
	struct shmkv_draft draft;
	size_t len;
	int r;

	r = shmkv_reserve(kv, "frame", 5, SHMKV_BIN, len_max, &draft);
	if (r < 0)
		return r;
	len = fread(draft.data, 1, draft.len, from);
	r = ferror(from) ? -EIO : shmkv_commit(&draft, len, SHMKV_COMMIT_PUT, NULL);
	if (r < 0)
		shmkv_abort(&draft);
	return r;
}
