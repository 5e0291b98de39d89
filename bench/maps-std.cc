/* SPDX-License-Identifier: MIT */
/*
 * maps-std: std::unordered_map of strings, as C++ programs have it. What it is asked for are
 * std::string objects that were made before the clock runs.
 */
#include "bench/maps.h"

#include <cstring>
#include <string>
#include <unordered_map>
#include <vector>

namespace {

using map_type = std::unordered_map<std::string, std::string>;

struct pair {
	std::string key, value;
};

using pairs_type = std::vector<pair>;

void *prepare(const struct maps_batch *batch)
{
	auto *pairs = new pairs_type;

	pairs->reserve(batch->n);
	for (uint64_t i = 0; i < batch->n; i++) {
		const auto &item = batch->items[i];

		pairs->push_back({ std::string(item.key, item.key_len),
				   std::string(item.value, item.value_len) });
	}
	return pairs;
}

void unprepare(void *prepared)
{
	delete static_cast<pairs_type *>(prepared);
}

uint64_t warm(const void *prepared)
{
	uint64_t sum = 0;

	for (const auto &pair : *static_cast<const pairs_type *>(prepared))
		sum += static_cast<unsigned char>(pair.key.back()) +
		       static_cast<unsigned char>(pair.value.back());
	return sum;
}

void *make(uint64_t)
{
	return new map_type;
}

void end(void *map)
{
	delete static_cast<map_type *>(map);
}

const pairs_type &pairs_of(const struct maps_batch *batch)
{
	return *static_cast<const pairs_type *>(batch->prepared);
}

uint64_t insert(void *arg, const struct maps_batch *batch)
{
	auto &map = *static_cast<map_type *>(arg);
	uint64_t done = 0;

	for (const auto &pair : pairs_of(batch))
		done += map.emplace(pair.key, pair.value).second;
	return done;
}

uint64_t update(void *arg, const struct maps_batch *batch)
{
	auto &map = *static_cast<map_type *>(arg);
	uint64_t done = 0;

	for (const auto &pair : pairs_of(batch))
		done += !map.insert_or_assign(pair.key, pair.value).second;
	return done;
}

bool get_one(const map_type &map, const std::string &key, char *copy, size_t *ret_len)
{
	auto found = map.find(key);

	if (found == map.end())
		return false;
	*ret_len = found->second.size();
	std::memcpy(copy, found->second.data(), *ret_len);
	return true;
}

uint64_t get(void *arg, const struct maps_batch *batch)
{
	const auto &map = *static_cast<map_type *>(arg);
	const auto &pairs = pairs_of(batch);
	char copy[MAPS_VALUE_MAX];
	uint64_t found = 0;
	size_t len;

	for (uint64_t i = 0; i < batch->n; i++)
		found += get_one(map, pairs[i].key, copy, &len) &&
			 maps_is_value(&batch->items[i], copy, len);
	return found;
}

uint64_t contains(void *arg, const struct maps_batch *batch)
{
	const auto &map = *static_cast<map_type *>(arg);
	uint64_t found = 0;

	for (const auto &pair : pairs_of(batch))
		found += map.count(pair.key);
	return found;
}

uint64_t remove_all(void *arg, const struct maps_batch *batch)
{
	auto &map = *static_cast<map_type *>(arg);
	uint64_t found = 0;

	for (const auto &pair : pairs_of(batch))
		found += map.erase(pair.key);
	return found;
}

uint64_t mixed(void *arg, const struct maps_batch *batch, const uint8_t *kinds)
{
	auto &map = *static_cast<map_type *>(arg);
	const auto &pairs = pairs_of(batch);
	char copy[MAPS_VALUE_MAX];
	uint64_t found = 0;
	size_t len;

	for (uint64_t i = 0; i < batch->n; i++) {
		const auto &pair = pairs[i];

		switch (kinds[i]) {
		case MAPS_GET:
			found += get_one(map, pair.key, copy, &len);
			break;
		case MAPS_PUT:
			map.insert_or_assign(pair.key, pair.value);
			break;
		default:
			map.erase(pair.key);
			break;
		}
	}
	return found;
}

} // namespace

extern "C" const struct maps_method maps_std = {
	"std::unordered_map", prepare, unprepare, warm, make, end, insert, update, get, contains, remove_all,
	mixed, false,
};
