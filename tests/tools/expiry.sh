#!/bin/sh
# SPDX-License-Identifier: MIT

# Times to live on the command line.

. "$(dirname "$0")/kit"

make_segment

# What is left, in milliseconds, is at most so many and more than half of it.
left_is_about() {
	left=$(kv ttl "$1") || return 1
	echo "$left"
	case $left in *ms) left=${left%ms} ;; *) return 1 ;; esac
	[ "$left" -le "$2" ] && [ "$left" -gt $(($2 / 2)) ]
}

# An expired key is absent, whenever that is.
until_absent() {
	while "$SHMKV" exists "$seg" "$1" >/dev/null; do :; done
	[ "$(kv exists "$1")" = false ]
}

exits 0 "put --ttl" kv put k v --ttl 1h
ok_if "ttl prints what is left" left_is_about k 3600000
json '.key == "k" and .ttl_ms > 1800000 and .ttl_ms <= 3600000' "and with --json" kv ttl k --json
exits 0 "put without a time" kv put e v
prints never "lives for ever" kv ttl e
json '.ttl_ms == null' "which is null in JSON" kv ttl e --json
exits 0 "touch gives another time" kv touch k 2d
ok_if "two days" left_is_about k 172800000
exits 0 "what ttl prints, touch takes" sh -c "'$SHMKV' touch '$seg' e \$('$SHMKV' ttl '$seg' k)"
ok_if "for the other key too" left_is_about e 172800000
exits 0 "persist" kv persist e
prints never "takes it away" kv ttl e
json '.touched' "touch --json" kv touch k 1.5h --json
ok_if "an hour and a half" left_is_about k 5400000
exits 0 "put --ttl keep" kv put k w --ttl keep
ok_if "keeps it" left_is_about k 5400000
exits 0 "put --ttl never" kv put k w --ttl never
prints never "takes it away as well" kv ttl k
exits 0 "touch without a time" kv touch k
prints never "gives the default" kv ttl k

exits 0 "add --ttl" kv add lease me --ttl 100ms
ok_if "the lease ends by itself" until_absent lease
exits 1 "an expired key has no time left" kv ttl lease
exits 1 "and cannot be touched" kv touch lease 5s
exits 1 "nor kept" kv persist lease
exits 1 "nor read" kv get lease
exits 0 "somebody else takes the lease" kv add lease you --ttl 1h
exits 1 "and a third one does not" kv add lease them --ttl 1h
exits 0 "replace --ttl" kv replace lease you --ttl 2h
ok_if "renews it" left_is_about lease 7200000
token=$(kv get lease --token)
exits 0 "cas --ttl" kv cas lease "$token" you --ttl 3h
ok_if "renews what it holds" left_is_about lease 10800000
exits 1 "and not what somebody else has" kv cas lease "$token" you --ttl 4h

exits 0 "one that is about to expire" kv put gone v --ttl 1ms
ok_if "is absent" until_absent gone
json '[.entries[] | .key] | sort == ["e","k","lease"]' "scan leaves it out" kv scan --json
json '[.entries[] | select(.key == "lease") | .ttl_ms > 0] == [true]' "and says what is left" kv scan --json
json '[.entries[] | select(.key == "k") | has("ttl_ms")] == [false]' "of those that expire" kv scan --json
prints "$(printf 'k\t"w"\tnever')" "scan --ttl adds a field" kv scan --ttl --prefix k
json '.entries[0].ttl_ms == null' "also in JSON" kv scan --ttl --prefix k --json
ok_if "which people can read" sh -c "'$SHMKV' scan '$seg' --ttl --keys-only --prefix lease | grep -qx 'lease	2\\.9h'"
ok_if "dump --ttl has a column" sh -c "'$SHMKV_DUMP' '$seg' --ttl --keys lease | grep -q ' 2\\.9h  \"you\"'"
json '.entries | map(select(.ttl_ms)) | length == 1' "dump --json says what is left" dump --json
complains 2 "--ttl has no meaning" "dump --layout has no times" dump --layout --ttl
# Three writes have not passed all places: it is there still.
ok_if "expire takes the memory back" sh -c "'$SHMKV' expire '$seg' | grep -qx '[01] removed'"
prints '{"removed":0}' "at once" kv expire --json
prints 3 "and they do not count any more" kv count
json '.expired >= 1' "info counts them" kv info --json

for time in 5 1.5 ms 5x 5sec -5s 1e3s 0s 0ms 1.0005s 140000d 99999999999999999999d '' 5s5; do
	complains 2 "--ttl is a time such as" "\"$time\" is no time" kv put k v --ttl "$time"
done
complains 2 "TIME is a time such as" "nor here" kv touch k soon
complains 2 "no meaning here" "touch has nothing to keep" kv touch k keep
complains 2 "--ttl needs a time" "create keeps nothing" "$SHMKV" create "$seg-x" --ttl keep
complains 2 "unexpected word" "one time is enough" kv touch k 5s 6s
complains 2 "--limit needs" "expire none" kv expire --limit 0
exits 0 "a fraction that is whole" kv put k v --ttl 0.25s
exits 0 "the longest time" kv put k v --ttl 50000d

"$SHMKV" create "$seg-default" --size 8M --ttl 90m || echo "# create failed"
seg=$seg-default
json '.default_ttl_ms == 5400000' "a segment with a default" kv info --json
ok_if "shown to people" sh -c "'$SHMKV' info '$seg' | grep -qx 'default time to live   1\\.5h'"
exits 0 "put" kv put k v
ok_if "gives it" left_is_about k 5400000
exits 0 "incr" kv incr n
ok_if "too" left_is_about n 5400000
exits 0 "a key for ever" kv put e v --ttl never
prints never "is one" kv ttl e
exits 0 "touch without a time" kv touch e
ok_if "gives the default" left_is_about e 5400000

tap_end
