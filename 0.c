#include "prologue.h"
void snippet(struct shmkv *kv);
void snippet(struct shmkv *kv)
{
#line 442 "shmkv.3.scd"
	struct pollfd ready = { .events = POLLIN };
	uint64_t token = 0;
	int r;

	r = shmkv_poll_open(kv, &ready.fd);
	while (r >= 0) {
		while ((r = shmkv_poll(kv, ready.fd, "k", 1, token, &token)) == 0)
			look_at_it(kv);
		if (r == -ETIMEDOUT)
			r = poll(&ready, 1, -1);
	}
}
