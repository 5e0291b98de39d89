#include "prologue.h"
#line 640 "shmkv.3.scd"
#include <shmkv/wait.h>

int follow(struct shmkv *kv)
{
	uint64_t token = 0;     /* nothing seen yet: begins with what is there */
	int64_t newest;
	int r;

	for (;;) {
		r = shmkv_wait(kv, "newest", 6, token, SHMKV_NO_DEADLINE, &token);
		if (r == -EINTR)
			continue;
		if (r < 0)
			return r;       /* -ECANCELED: shmkv_wait_cancel */
		r = shmkv_get_int(kv, "newest", 6, &newest);
		if (r < 0)
			printf("newest: %s\n", shmkv_errname(r));
		else
			printf("newest: %lld\n", (long long)newest);
	}
}
