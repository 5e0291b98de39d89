#!/bin/sh
# SPDX-License-Identifier: MIT

# watch prints changes as they come, and ends when it should.

. "$(dirname "$0")/kit"

make_segment
tab=$(printf '\t')

# watch WORDS...: in the background, into $tap_dir/watched; $watcher is its pid.
watch() {
	: >"$tap_dir/watched"
	"$SHMKV" watch "$seg" "$@" >"$tap_dir/watched" 2>"$tap_dir/watch-err" </dev/null &
	watcher=$!
}

# seen LINE: wait until it is the last one; a test that hangs is ended by its runner.
seen() {
	while kill -0 "$watcher" 2>/dev/null && [ "$(tail -n 1 "$tap_dir/watched")" != "$1" ]; do
		sleep 0.02
	done
	[ "$(tail -n 1 "$tap_dir/watched")" = "$1" ] || { cat "$tap_dir/watched" "$tap_dir/watch-err"; return 1; }
}

ended_with() {
	wait "$watcher"
	got=$?
	cat "$tap_dir/watched" "$tap_dir/watch-err"
	[ "$got" -eq "$1" ]
}

holds_lines() {
	[ "$(wc -l <"$tap_dir/watched")" -eq "$1" ] || { cat "$tap_dir/watched"; return 1; }
}

one_key() {
	kv put k first && watch k --now "$@" && seen "put${tab}k${tab}\"first\"" &&
		kv put other 1 && kv put k second && seen "put${tab}k${tab}\"second\"" &&
		kv incr n && kv del k && seen "del${tab}k" &&
		kv put k 7 --int && seen "put${tab}k${tab}7" && holds_lines 4
}

ok_if "one key: what it is, and each change" one_key
kill -INT "$watcher"
ok_if "SIGINT ends it with 0" ended_with 0
ok_if "the same read-only" one_key --read-only
kill -TERM "$watcher"
ok_if "SIGTERM ends it with 0" ended_with 0

many() {
	kv clear >/dev/null
	kv put a:1 one && kv put b:1 one && watch --prefix a: --now && seen "put${tab}a:1${tab}\"one\"" &&
		kv put b:2 two && kv put a:2 two && seen "put${tab}a:2${tab}\"two\"" &&
		kv del b:1 && kv del a:1 && seen "del${tab}a:1" &&
		kv put a:2 three && seen "put${tab}a:2${tab}\"three\"" && holds_lines 4
}

ok_if "a prefix: only keys that begin so" many
kill -TERM "$watcher"
ok_if "which SIGTERM ends too" ended_with 0

all() {
	kv clear >/dev/null
	kv put x 1 --int && watch --all --json --now --count 4 && seen_json put x &&
		kv put y '[1]' --json >/dev/null && seen_json put y && kv del x && seen_json del x &&
		kv clear >/dev/null && seen_json del y
}

seen_json() {
	while kill -0 "$watcher" 2>/dev/null && ! last_is "$@"; do
		sleep 0.02
	done
	last_is "$@"
}

last_is() {
	tail -n 1 "$tap_dir/watched" | jq -e --arg event "$1" --arg key "$2" \
		'.event == $event and .key == $key' >/dev/null
}

ok_if "all keys, as JSON" all
ok_if "--count ends it with 0" ended_with 0
ok_if "each line is an object with its value" sh -c \
	"jq -s -e '[.[].event] == [\"put\",\"put\",\"del\",\"del\"] and .[1].value == [1] and
		(.[0].token | type == \"string\") and (.[2] | has(\"value\") | not)' '$tap_dir/watched'"

# An expiry is no change of the segment. Keys expire only after the watch has shown them.
expiring() {
	kv clear >/dev/null
	kv put e:1 one --ttl 1h && kv put e:2 two --ttl 2h && watch "$@" --now --timeout 20 &&
		shown 2 && kv touch e:1 200ms && seen "del${tab}e:1" &&
		kv touch e:2 1ms && seen "del${tab}e:2" && kv put e:1 new --ttl 3h &&
		seen "put${tab}e:1${tab}\"new\"" && kv touch e:1 100ms && seen "del${tab}e:1"
}

shown() {
	while kill -0 "$watcher" 2>/dev/null && [ "$(wc -l <"$tap_dir/watched")" -lt "$1" ]; do
		sleep 0.02
	done
	[ "$(wc -l <"$tap_dir/watched")" -ge "$1" ]
}

ok_if "all keys: those that expire are gone, though nobody changes anything" expiring --all
kill -TERM "$watcher"
ok_if "and the watch goes on until it is ended" ended_with 0
ok_if "the same of a prefix" expiring --prefix e:
kill -TERM "$watcher"
ok_if "which is ended, too" ended_with 0
ok_if "the same read-only" expiring --all --read-only
kill -TERM "$watcher"
ok_if "which is ended as well" ended_with 0

# A stopped watch looks when it goes on.
expired_before() {
	kv clear >/dev/null
	kv put e:1 one --ttl 1h && watch --all --now --count 3 --timeout 20 &&
		seen "put${tab}e:1${tab}\"one\"" && kill -STOP "$watcher" && kv touch e:1 10ms || return 1
	while kv exists e:1 >/dev/null; do :; done
	kv put later 1 --int && kill -CONT "$watcher" && ended_with 0 &&
		grep -q "del${tab}e:1" "$tap_dir/watched" && grep -q "put${tab}later" "$tap_dir/watched"
}
ok_if "an expiry before a change is shown in the same look" expired_before

# Without --now only changes count.
kv put k 1 --int
exits 1 "--timeout ends it with 1" kv watch k --timeout 0.05
ok_if "and nothing is printed" test ! -s "$tap_dir/out" -a ! -s "$tap_dir/err"
exits 1 "also for all keys" kv watch --all --timeout 0.05
kv put other:1 one --ttl 50ms
exits 1 "and for a prefix while other keys expire" kv watch --prefix k --timeout 0.2
ok_if "which it does not show" test ! -s "$tap_dir/out" -a ! -s "$tap_dir/err"
exits 0 "unless what was wanted came" kv watch k --now --count 1 --timeout 5
exits 1 "an absent key is nothing" kv watch none --now --timeout 0

printf 'watch k --now --count 1\nwatch --prefix k --timeout 0.01\nget k\n' >"$tap_dir/lines"
ok_if "it works in the shell" sh -c "'$SHMKV' attach '$seg' <'$tap_dir/lines' >'$tap_dir/out'; [ \$? -eq 1 ]"
ok_if "and the shell goes on" grep -qx 1 "$tap_dir/out"

kill_one() {
	watch k && sleep 0.1 && kill -KILL "$watcher"
	wait "$watcher"
	kv put k 5 --int && kv check >/dev/null
}
ok_if "one that is killed leaves nothing that hurts" kill_one

complains 2 "either KEY" "nothing to watch is refused" kv watch
complains 2 "either KEY" "two things are refused" kv watch k --all
complains 2 "--timeout needs" "a time that is none is refused" kv watch k --timeout soon
complains 2 "--timeout needs" "a negative time is refused" kv watch k --timeout -1
complains 2 "--count needs" "a count of 0 is refused" kv watch k --count 0
complains 3 "no such segment" "a missing segment is reported" "$SHMKV" watch "$seg-none" k
complains 2 "not 1 to 65536" "a bad key is reported" kv watch ""

tap_end
