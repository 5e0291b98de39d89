#include "prologue.h"
#line 585 "shmkv.3.scd"
#include <shmkv/expiry.h>

int work_alone(struct shmkv *kv, bool (*do_step)(void))
{
	struct shmkv_value me = shmkv_int(getpid());
	uint64_t lease;
	int r;

	/* -EEXIST: somebody else has it. */
	r = shmkv_add_ttl(kv, "lease", 5, me, 5000, &lease);
	if (r < 0)
		return r;
	while (do_step()) {
		/* -ENOENT, -ESTALE: we were too slow, and it may be another's now. */
		r = shmkv_cas_ttl(kv, "lease", 5, lease, me, 5000, &lease);
		if (r < 0)
			return r;
	}
	/* Given back as soon as can be, if it is still ours. */
	return shmkv_cas_ttl(kv, "lease", 5, lease, me, 1, NULL);
}
