#!/bin/sh
# SPDX-License-Identifier: MIT

# Every example does what its first line says, ends by itself and leaves nothing behind.

. "$(dirname "$0")/tap.sh"

name=test-examples-$$
cd "$EXAMPLES" || exit 1

# prints LINE PROGRAM...: the program succeeds and one of its lines is this one.
prints() {
	line=$1
	shift
	"$@" >"$tap_dir/printed" && cat "$tap_dir/printed" && grep -qx -- "$line" "$tap_dir/printed"
}

feed() {
	./consumer "$name" >"$tap_dir/consumer" 2>&1 &
	consumer=$!
	./producer "$name" || return 1
	wait $consumer || { cat "$tap_dir/consumer"; return 1; }
	grep -qx 'checked 1000 samples' "$tap_dir/consumer"
}

demo_holds() {
	./demo >"$tap_dir/demo" 2>&1
	demo_status=$?
	cat "$tap_dir/demo"
	[ $demo_status -eq 0 ] && grep -qx 'every check holds' "$tap_dir/demo"
}

nothing_left() {
	# The demo says how its map is called.
	demo_map=$(sed -n 's/.*in the map "\(.*\)"$/\1/p' "$tap_dir/demo" 2>/dev/null)
	! ls /dev/shm | grep -F -e "$name" -e "${demo_map:-$name}"
}

ok_if "hello" prints 'greeting is "hello, whoever reads this"' ./hello "$name"
ok_if "producer and consumer" feed
ok_if "counter-cas" prints '4 processes added 5000 each: n is 20000' ./counter-cas "$name"
ok_if "typed-values: scalars" prints 'big      uint    18446744073709551615' ./typed-values "$name"
ok_if "typed-values: packed" prints 'array    packed  6 bytes of msgpack' ./typed-values "$name"
ok_if "typed-values: wrong types" prints 'text as int: EPROTOTYPE' ./typed-values "$name"
ok_if "reader" prints 'temperature: 21.5' ./reader "$name"
ok_if "scan" prints '1000 keys with the sum 499500, 500 left' ./scan "$name"
ok_if "cache-health" prints 'hit rate: 75.0 % of 1000 gets' ./cache-health "$name"
ok_if "camera" prints '60 frames, 2 killed, 1 frame left in memory' ./camera "$name"
ok_if "lease" prints '1 of 4 killed, 20 steps done' ./lease "$name"
ok_if "snapshot" prints '3 of 4 articles differ; in the morning there were 10 apples' ./snapshot
ok_if "huge" sh -c './huge "$1" | grep -q "^never: 0 MiB of 2[0-9] MiB in huge pages$"' sh "$name"
ok_if "batch" prints '100000 keys read in batches of 32, 25000 of them absent' ./batch "$name"
ok_if "wait" prints 'job 5 is done' ./wait "$name"
ok_if "poll" prints 'heard 3' ./poll "$name"
ok_if "cache" prints 'four of five came from the cache' ./cache "$name"
ok_if "private-cache" prints 'word 77 was counted 4 times; the map is on robin hood' ./private-cache
if [ -f /var/lib/dpkg/status ]; then
	ok_if "demo" demo_holds
else
	tap_skip "demo" "no dpkg database on this machine"
fi
printf 'no database\n' >"$tap_dir/garbage"
not_ok_if "demo refuses a file that is no package database" ./demo "$tap_dir/garbage"
not_ok_if "demo refuses a missing file" ./demo "$tap_dir/missing"
not_ok_if "an example fails when the map is missing" ./hello no/such/name
ok_if "no segment is left" nothing_left

tap_end
