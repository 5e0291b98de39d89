/* SPDX-License-Identifier: MIT */
/*
 * inspect-calls: the public calls for operators and tests.
 *
 * The engine fills a whole structure of ours, of which the caller gets as much as fits.
 */
#include "api/handle.h"
#include "api/sized.h"

#include <stdio.h>

int shmkv_info(struct shmkv *kv, struct shmkv_info *info)
{
	struct shmkv_info ours = { .size = sizeof(ours) };
	int r;

	if (!info || info->size < sizeof(info->size))
		return -EINVAL;
	r = skv_handle_check(kv);
	if (r < 0)
		return r;
	if (!kv->engine->info)
		return -EOPNOTSUPP;
	r = kv->engine->info(kv->map, &ours);
	if (r < 0)
		return r;

	snprintf(ours.name, sizeof(ours.name), "%s", kv->name);
	snprintf(ours.engine, sizeof(ours.engine), "%s", kv->engine->scheme);
	ours.read_only = kv->read_only;
	skv_copy_sized(info, &ours, sizeof(ours));
	return 0;
}

int shmkv_stats(struct shmkv *kv, struct shmkv_stats *stats)
{
	struct shmkv_stats ours = { .size = sizeof(ours) };
	int r;

	if (!stats || stats->size < sizeof(stats->size))
		return -EINVAL;
	r = skv_handle_check(kv);
	if (r < 0)
		return r;
	if (!kv->engine->stats)
		return -EOPNOTSUPP;
	r = kv->engine->stats(kv->map, &ours);
	if (r < 0)
		return r;
	skv_copy_sized(stats, &ours, sizeof(ours));
	return 0;
}

int shmkv_memory(struct shmkv *kv, struct shmkv_memory *memory)
{
	struct shmkv_memory ours = { .size = sizeof(ours) };
	int r;

	if (!memory || memory->size < sizeof(memory->size))
		return -EINVAL;
	r = skv_handle_check(kv);
	if (r < 0)
		return r;
	if (!kv->engine->memory)
		return -EOPNOTSUPP;
	r = kv->engine->memory(kv->map, &ours);
	if (r < 0)
		return r;
	skv_copy_sized(memory, &ours, sizeof(ours));
	return 0;
}

int shmkv_participants(struct shmkv *kv,
		       int (*fn)(const struct shmkv_participant *participant, void *arg), void *arg)
{
	int r;

	if (!fn)
		return -EINVAL;
	r = skv_handle_check(kv);
	if (r < 0)
		return r;
	return kv->engine->participants ? kv->engine->participants(kv->map, fn, arg) : -EOPNOTSUPP;
}

/* A whole structure of ours, whichever version the caller has. */
static int watch_read(const struct shmkv_watch *watch, struct shmkv_watch *ret_watch)
{
	struct shmkv_watch ours = { .size = sizeof(ours) };

	if (watch) {
		if (watch->size < sizeof(watch->size))
			return -EINVAL;
		memcpy(&ours, watch, watch->size < sizeof(ours) ? watch->size : sizeof(ours));
	}
	*ret_watch = ours;
	return 0;
}

int shmkv_recover_watched(struct shmkv *kv, const struct shmkv_watch *watch,
			  struct shmkv_recovery *report)
{
	struct shmkv_recovery ours = { .size = sizeof(ours) };
	struct shmkv_watch whole;
	int r;

	if (!report || report->size < sizeof(report->size))
		return -EINVAL;
	r = watch_read(watch, &whole);
	if (r < 0)
		return r;
	r = skv_handle_check_write(kv);
	if (r < 0)
		return r;
	if (kv->engine->recover_watched)
		r = kv->engine->recover_watched(kv->map, &whole, &ours);
	else
		r = kv->engine->recover ? kv->engine->recover(kv->map, &ours) : -EOPNOTSUPP;
	if (r < 0)
		return r;
	skv_copy_sized(report, &ours, sizeof(ours));
	return 0;
}

int shmkv_recover(struct shmkv *kv, struct shmkv_recovery *report)
{
	return shmkv_recover_watched(kv, NULL, report);
}

int shmkv_linked(struct shmkv *kv)
{
	int r;

	r = skv_handle_check(kv);
	if (r < 0)
		return r;
	return kv->engine->linked ? kv->engine->linked(kv->map, kv->name) : -EOPNOTSUPP;
}

int shmkv_maintain(struct shmkv *kv)
{
	int r;

	r = skv_handle_check_write(kv);
	if (r < 0)
		return r;
	return kv->engine->maintain ? kv->engine->maintain(kv->map) : -EOPNOTSUPP;
}

int shmkv_verify(struct shmkv *kv, const struct shmkv_watch *watch, struct shmkv_audit *audit)
{
	struct shmkv_audit ours = { .size = sizeof(ours) };
	struct shmkv_watch whole;
	int r;

	if (!audit || audit->size < sizeof(audit->size))
		return -EINVAL;
	r = watch_read(watch, &whole);
	if (r < 0)
		return r;
	r = skv_handle_check(kv);
	if (r < 0)
		return r;
	if (kv->engine->verify)
		r = kv->engine->verify(kv->map, &whole, &ours);
	else
		r = kv->engine->check ?
			    kv->engine->check(kv->map, whole.violation, whole.arg, &ours) :
			    -EOPNOTSUPP;
	/* What was found is the answer also when it is bad. */
	if (r == 0 || r == -EBADMSG)
		skv_copy_sized(audit, &ours, sizeof(ours));
	return r;
}

int shmkv_check(struct shmkv *kv, void (*fn)(const char *violation, void *arg), void *arg,
		struct shmkv_audit *audit)
{
	struct shmkv_watch watch = { .size = sizeof(watch), .violation = fn, .arg = arg };

	return shmkv_verify(kv, &watch, audit);
}

int shmkv_layout(struct shmkv *kv, int (*fn)(const struct shmkv_layout_item *item, void *arg),
		 void *arg)
{
	int r;

	if (!fn)
		return -EINVAL;
	r = skv_handle_check(kv);
	if (r < 0)
		return r;
	return kv->engine->layout ? kv->engine->layout(kv->map, fn, arg) : -EOPNOTSUPP;
}
