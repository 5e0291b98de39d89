/* SPDX-License-Identifier: MIT */
/*
 * maps-loop: the loops of a method around what it does with one item. Included once by the file
 * of a method, behind
 *
 *     bool put_one(MAP *map, const struct maps_item *item)            done
 *     bool get_one(MAP *map, const struct maps_item *item, char *copy, size_t *ret_len)
 *     bool contains_one(MAP *map, const struct maps_item *item)
 *     bool del_one(MAP *map, const struct maps_item *item)            it was there
 *
 * all static inline, and MAPS_LOOP_MAP, which is MAP.
 */
#include "bench/maps.h"

static uint64_t put_all(void *map, const struct maps_batch *batch)
{
	uint64_t i, done = 0;

	for (i = 0; i < batch->n; i++)
		done += put_one((MAPS_LOOP_MAP *)map, &batch->items[i]);
	return done;
}

static uint64_t get_all(void *map, const struct maps_batch *batch)
{
	char copy[MAPS_VALUE_MAX];
	uint64_t i, found = 0;
	size_t len;

	for (i = 0; i < batch->n; i++)
		found += get_one((MAPS_LOOP_MAP *)map, &batch->items[i], copy, &len) &&
			 maps_is_value(&batch->items[i], copy, len);
	return found;
}

static uint64_t contains_all(void *map, const struct maps_batch *batch)
{
	uint64_t i, found = 0;

	for (i = 0; i < batch->n; i++)
		found += contains_one((MAPS_LOOP_MAP *)map, &batch->items[i]);
	return found;
}

static uint64_t del_all(void *map, const struct maps_batch *batch)
{
	uint64_t i, found = 0;

	for (i = 0; i < batch->n; i++)
		found += del_one((MAPS_LOOP_MAP *)map, &batch->items[i]);
	return found;
}

static uint64_t mixed_all(void *map, const struct maps_batch *batch, const uint8_t *kinds)
{
	const struct maps_item *item;
	char copy[MAPS_VALUE_MAX];
	uint64_t i, found = 0;
	size_t len;

	for (i = 0; i < batch->n; i++) {
		item = &batch->items[i];
		switch (kinds[i]) {
		case MAPS_GET:
			found += get_one((MAPS_LOOP_MAP *)map, item, copy, &len);
			break;
		case MAPS_PUT:
			put_one((MAPS_LOOP_MAP *)map, item);
			break;
		default:
			del_one((MAPS_LOOP_MAP *)map, item);
			break;
		}
	}
	return found;
}

#define MAPS_LOOPS \
	.insert = put_all, .update = put_all, .get = get_all, .contains = contains_all, \
	.remove = del_all, .mixed = mixed_all
