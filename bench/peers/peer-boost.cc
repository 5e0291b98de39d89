/* SPDX-License-Identifier: MIT */
/*
 * peer-boost: Boost.Interprocess. Its documentation's way to a hash map in shared memory:
 * boost::unordered_map on the allocator of a managed segment, and a sharable mutex beside it.
 */
#include "bench/peers/peer.h"

#include <boost/interprocess/allocators/allocator.hpp>
#include <boost/interprocess/containers/string.hpp>
#include <boost/interprocess/managed_shared_memory.hpp>
#include <boost/interprocess/sync/interprocess_sharable_mutex.hpp>
#include <boost/interprocess/sync/scoped_lock.hpp>
#include <boost/interprocess/sync/sharable_lock.hpp>
#include <boost/unordered_map.hpp>

#include <array>
#include <cstring>
#include <functional>
#include <memory>
#include <new>
#include <scoped_allocator>
#include <string>
#include <string_view>

namespace {

namespace bip = boost::interprocess;

using segment_type = bip::managed_shared_memory;
using manager = segment_type::segment_manager;
using bytes = bip::basic_string<char, std::char_traits<char>, bip::allocator<char, manager>>;
using key16 = std::array<char, PEER_KEY_LEN>;

struct key16_hash {
	size_t operator()(const key16 &key) const
	{
		return std::hash<std::string_view>()(std::string_view(key.data(), key.size()));
	}
};

using pair = std::pair<const key16, bytes>;
using map_type = boost::unordered_map<key16, bytes, key16_hash, std::equal_to<key16>,
				      bip::allocator<pair, manager>>;

struct table {
	table(manager *m) : map(64, key16_hash(), std::equal_to<key16>(), m)
	{
	}
	bip::interprocess_sharable_mutex mutex;
	map_type map;
};

struct world {
	std::string name;
	std::unique_ptr<segment_type> segment;
};

struct seat {
	std::unique_ptr<segment_type> segment;
	table *shared;
	manager *memory;
};

inline void peer_prepare(seat *, const peer_run *)
{
}

inline key16 key_of(const uint8_t *from)
{
	key16 key;

	std::memcpy(key.data(), from, key.size());
	return key;
}

inline int peer_get(seat *s, const uint8_t *key, uint8_t *buf, size_t len)
{
	bip::sharable_lock<bip::interprocess_sharable_mutex> guard(s->shared->mutex);
	auto found = s->shared->map.find(key_of(key));

	if (found == s->shared->map.end())
		return -ENOENT;
	if (found->second.size() != len)
		return -EBADMSG;
	std::memcpy(buf, found->second.data(), len);
	return 0;
}

inline int peer_view(seat *s, const uint8_t *key, size_t len, uint32_t entry)
{
	bip::sharable_lock<bip::interprocess_sharable_mutex> guard(s->shared->mutex);
	auto found = s->shared->map.find(key_of(key));

	if (found == s->shared->map.end())
		return -ENOENT;
	return found->second.size() == len && peer_value_is(found->second.data(), len, entry) ? 0 : -EBADMSG;
}

inline int peer_put(seat *s, const uint8_t *key, const uint8_t *value, size_t len)
{
	bip::scoped_lock<bip::interprocess_sharable_mutex> guard(s->shared->mutex);
	const char *text = reinterpret_cast<const char *>(value);

	try {
		auto found = s->shared->map.find(key_of(key));

		if (found != s->shared->map.end())
			found->second.assign(text, len);
		else
			s->shared->map.emplace(key_of(key), bytes(text, len, s->memory));
	} catch (const bip::bad_alloc &) {
		return -ENOSPC;
	}
	return 0;
}

inline int peer_del(seat *s, const uint8_t *key)
{
	bip::scoped_lock<bip::interprocess_sharable_mutex> guard(s->shared->mutex);

	return s->shared->map.erase(key_of(key)) ? 0 : -ENOENT;
}

#define PEER_SEAT seat
#define PEER_HAS_VIEW
#include "bench/peers/peer-loops.h"

int make(const peer_spec *spec, void **ret)
{
	auto made = std::make_unique<world>();
	size_t size = spec->entries * (spec->value_len + spec->value_len / 4 + 256) + (64u << 20);

	try {
		made->name = spec->name;
		made->segment = std::make_unique<segment_type>(bip::create_only, spec->name, size);
		made->segment->construct<table>("table")(made->segment->get_segment_manager());
	} catch (const bip::interprocess_exception &) {
		bip::shared_memory_object::remove(spec->name);
		return -EIO;
	}
	*ret = made.release();
	return 0;
}

int attach(void *arg, void **ret)
{
	auto made = std::make_unique<seat>();

	try {
		made->segment = std::make_unique<segment_type>(bip::open_only,
							       static_cast<world *>(arg)->name.c_str());
		made->shared = made->segment->find<table>("table").first;
		made->memory = made->segment->get_segment_manager();
	} catch (const bip::interprocess_exception &) {
		return -EIO;
	}
	*ret = made.release();
	return 0;
}

void hide(void *arg)
{
	bip::shared_memory_object::remove(static_cast<world *>(arg)->name.c_str());
}

void detach(void *arg)
{
	delete static_cast<seat *>(arg);
}

void end(void *arg)
{
	delete static_cast<world *>(arg);
}

uint64_t memory(void *arg)
{
	const auto &segment = *static_cast<world *>(arg)->segment;

	return segment.get_size() - segment.get_free_memory();
}

} // namespace

extern "C" const peer peer_boost = {
	"boost-interprocess", "unordered_map in a managed segment, sharable mutex", PEER_SHARED,
	PEER_CAN_VIEW, 112, make, attach, hide, peer_run_steps, detach, end, memory, nullptr,
};
