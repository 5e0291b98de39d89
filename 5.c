#include "prologue.h"
#line 574 "shmkv.3.scd"
#include <shmkv/expiry.h>

int say_alive(struct shmkv *kv, const char *me)
{
	return shmkv_put_ttl(kv, me, strlen(me), shmkv_int(getpid()), 3000, NULL);
}
