#include "prologue.h"
#line 505 "shmkv.3.scd"
#include <shmkv/shmkv.h>
#include <stdio.h>

int main(void)
{
	struct shmkv *kv;
	int64_t visits;
	int r;

	r = shmkv_attach("site", 0, &kv);
	if (r == 0) {
		r = shmkv_incr(kv, "visits", 6, 1, 0, &visits);
		if (r == 0)
			printf("%lld visits\n", (long long)visits);
		shmkv_detach(kv);
	}
	if (r < 0)
		fprintf(stderr, "site: %s\n", shmkv_strerror(r));
	return r < 0;
}
