#include "prologue.h"
#line 530 "shmkv.3.scd"
#include <shmkv/view.h>

int print_frame(struct shmkv *kv, FILE *to)
{
	struct shmkv_view view;
	int r;

	r = shmkv_view_begin(kv, "frame", 5, &view);
	if (r < 0)
		return r;
	if (view.value.type != SHMKV_BIN)
		r = -EPROTOTYPE;
	else if (fwrite(view.value.data, 1, view.value.len, to) < view.value.len)
		r = -EIO;
	shmkv_view_end(&view);
	return r;
}
