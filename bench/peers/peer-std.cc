/* SPDX-License-Identifier: MIT */
/*
 * peer-std: std::unordered_map of strings, as C++ programs have it. With two workers a
 * std::shared_mutex keeps writers apart from everybody; with one there is no lock at all.
 */
#include "bench/peers/peer.h"

#include <cstring>
#include <new>
#include <shared_mutex>
#include <string>
#include <unordered_map>

namespace {

/* Looked for by the bytes, without a string made for it: a key of 16 bytes lies on the heap. */
struct key16 {
	char bytes[PEER_KEY_LEN];
	bool operator==(const key16 &other) const
	{
		return std::memcmp(bytes, other.bytes, sizeof(bytes)) == 0;
	}
};

struct key16_hash {
	size_t operator()(const key16 &key) const
	{
		return std::hash<std::string_view>()(std::string_view(key.bytes, sizeof(key.bytes)));
	}
};

struct world {
	std::unordered_map<key16, std::string, key16_hash> map;
	std::shared_mutex mutex;
};

struct seat {
	struct world *world;
	bool locks;
};

/* Both kinds of locks, taken only when there is more than one worker. */
struct reading {
	explicit reading(seat *s) : s(s)
	{
		if (s->locks)
			s->world->mutex.lock_shared();
	}
	~reading()
	{
		if (s->locks)
			s->world->mutex.unlock_shared();
	}
	seat *s;
};

struct writing {
	explicit writing(seat *s) : s(s)
	{
		if (s->locks)
			s->world->mutex.lock();
	}
	~writing()
	{
		if (s->locks)
			s->world->mutex.unlock();
	}
	seat *s;
};

inline void peer_prepare(seat *s, const peer_run *run)
{
	s->locks = run->workers > 1;
}

inline key16 key_of(const uint8_t *bytes)
{
	key16 key;

	std::memcpy(key.bytes, bytes, sizeof(key.bytes));
	return key;
}

inline int peer_get(seat *s, const uint8_t *key, uint8_t *buf, size_t len)
{
	reading guard(s);
	auto found = s->world->map.find(key_of(key));

	if (found == s->world->map.end())
		return -ENOENT;
	if (found->second.size() != len)
		return -EBADMSG;
	std::memcpy(buf, found->second.data(), len);
	return 0;
}

inline int peer_put(seat *s, const uint8_t *key, const uint8_t *value, size_t len)
{
	writing guard(s);

	try {
		s->world->map[key_of(key)].assign(reinterpret_cast<const char *>(value), len);
	} catch (const std::bad_alloc &) {
		return -ENOMEM;
	}
	return 0;
}

inline int peer_del(seat *s, const uint8_t *key)
{
	writing guard(s);

	return s->world->map.erase(key_of(key)) ? 0 : -ENOENT;
}

#define PEER_SEAT seat
#include "bench/peers/peer-loops.h"

int make(const peer_spec *, void **ret)
{
	*ret = new (std::nothrow) world;
	return *ret ? 0 : -ENOMEM;
}

int attach(void *arg, void **ret)
{
	*ret = new (std::nothrow) seat{ static_cast<world *>(arg), false };
	return *ret ? 0 : -ENOMEM;
}

void detach(void *arg)
{
	delete static_cast<seat *>(arg);
}

void end(void *arg)
{
	delete static_cast<world *>(arg);
}

} // namespace

extern "C" const peer peer_std = {
	"std::unordered_map", "the C++ library's, std::shared_mutex for two", PEER_LOCAL, PEER_READS_ALONE,
	96, make, attach, nullptr, peer_run_steps, detach, end, nullptr, nullptr,
};
