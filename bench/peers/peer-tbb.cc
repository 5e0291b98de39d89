/* SPDX-License-Identifier: MIT */
/*
 * peer-tbb: oneTBB's concurrent_hash_map, which locks each element.
 */
#include "bench/peers/peer.h"

#include <oneapi/tbb/concurrent_hash_map.h>

#include <array>
#include <cstring>
#include <functional>
#include <new>
#include <string>
#include <string_view>

namespace {

using key16 = std::array<char, PEER_KEY_LEN>;

struct key16_hash {
	static size_t hash(const key16 &key)
	{
		return std::hash<std::string_view>()(std::string_view(key.data(), key.size()));
	}
	static bool equal(const key16 &a, const key16 &b)
	{
		return a == b;
	}
};

using map_type = tbb::concurrent_hash_map<key16, std::string, key16_hash>;

inline void peer_prepare(map_type *, const peer_run *)
{
}

inline key16 key_of(const uint8_t *from)
{
	key16 key;

	std::memcpy(key.data(), from, key.size());
	return key;
}

inline int peer_get(map_type *map, const uint8_t *key, uint8_t *buf, size_t len)
{
	map_type::const_accessor found;

	if (!map->find(found, key_of(key)))
		return -ENOENT;
	if (found->second.size() != len)
		return -EBADMSG;
	std::memcpy(buf, found->second.data(), len);
	return 0;
}

inline int peer_view(map_type *map, const uint8_t *key, size_t len, uint32_t entry)
{
	map_type::const_accessor found;

	if (!map->find(found, key_of(key)))
		return -ENOENT;
	return found->second.size() == len && peer_value_is(found->second.data(), len, entry) ? 0 : -EBADMSG;
}

inline int peer_put(map_type *map, const uint8_t *key, const uint8_t *value, size_t len)
{
	map_type::accessor found;

	try {
		map->insert(found, key_of(key));
		found->second.assign(reinterpret_cast<const char *>(value), len);
	} catch (const std::bad_alloc &) {
		return -ENOMEM;
	}
	return 0;
}

inline int peer_del(map_type *map, const uint8_t *key)
{
	return map->erase(key_of(key)) ? 0 : -ENOENT;
}

#define PEER_SEAT map_type
#define PEER_HAS_VIEW
#include "bench/peers/peer-loops.h"

int make(const peer_spec *, void **ret)
{
	*ret = new (std::nothrow) map_type;
	return *ret ? 0 : -ENOMEM;
}

int attach(void *world, void **ret)
{
	*ret = world;
	return 0;
}

void detach(void *)
{
}

void end(void *arg)
{
	delete static_cast<map_type *>(arg);
}

} // namespace

extern "C" const peer peer_tbb = {
	"tbb-hash-map", "oneTBB concurrent_hash_map", PEER_LOCAL, PEER_CAN_VIEW, 128,
	make, attach, nullptr, peer_run_steps, detach, end, nullptr, nullptr,
};
