#include "prologue.h"
#line 611 "shmkv.3.scd"
#include <shmkv/batch.h>

int print_prices(struct shmkv *kv)
{
	struct shmkv_get_item items[] = {
		{ .key = "apple", .key_len = 5 },
		{ .key = "pear", .key_len = 4 },
	};
	size_t n = sizeof(items) / sizeof(items[0]), n_ok, i;
	int r;

	r = shmkv_get_many(kv, items, n, &n_ok);
	if (r < 0)
		return r;
	for (i = 0; i < n; i++) {
		if (items[i].result < 0)
			printf("%s: %s\n", (const char *)items[i].key,
			       shmkv_errname(items[i].result));
		else if (items[i].value.type == SHMKV_INT)
			printf("%s: %lld\n", (const char *)items[i].key,
			       (long long)items[i].value.i64);
	}
	return 0;
}
