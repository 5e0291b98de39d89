#include "prologue.h"
#line 464 "shmkv.3.scd"
struct bell {
	struct shmkv *kv;
	int fd;            /* eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK) */
	uint64_t state;    /* from shmkv_state, before the first look at the map */
};

void *ring(void *arg)
{
	struct bell *bell = arg;
	int r;

	for (;;) {
		r = shmkv_wait_any(bell->kv, bell->state, SHMKV_NO_DEADLINE, &bell->state);
		if (r == -EINTR)
			continue;
		if (r < 0 || eventfd_write(bell->fd, 1) < 0)
			return NULL;
	}
}
