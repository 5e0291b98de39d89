#!/bin/sh
# SPDX-License-Identifier: MIT

# A value of 256 MiB goes in and comes out.

. "$(dirname "$0")/kit"

bytes=268435456
free=$(df --output=avail -B1 /dev/shm | tail -n 1)
disk=$(df --output=avail -B1 "$tap_dir" | tail -n 1)
memory=$(awk '/^MemAvailable:/ { printf "%d", $2 * 1024 }' /proc/meminfo)
if [ "$free" -lt $((bytes * 2)) ] || [ "$disk" -lt $((bytes * 2)) ] ||
	[ "$memory" -lt $((bytes * 4)) ]; then
	tap_skip "a value of 256 MiB" "not enough free memory or disk"
	tap_end
fi

"$SHMKV" create "$seg" --size 400M
# Not all alike, so that a piece in the wrong place is seen.
seq 1 40000000 | head -c $bytes >"$tap_dir/value"
exits 0 "put --bin FILE" kv put big --bin "$tap_dir/value"
whole() {
	kv get big --raw | cmp - "$tap_dir/value"
}
ok_if "get --raw gives it back" whole
prints "$(printf '%-24s  %-5s  %10s  %s' big bin 268435461 '{"$bin":"MQoyCjMKNAo')" \
	"dump shows its size" sh -c "'$SHMKV_DUMP' '$seg' | tail -n 1 | cut -c 1-65"
json '.run_bytes >= 268435456 and .count == 1' "info shows the memory" kv info --json
exits 0 "del" kv del big
piped() {
	kv put big --bin - <"$tap_dir/value" && kv get big --raw | cmp - "$tap_dir/value"
}
ok_if "put --bin - from standard input, in the space that came back" piped
json '.violations == 0 and .leaked_bytes == 0' "the segment is sound" kv check --json

tap_end
