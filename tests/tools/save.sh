#!/bin/sh
# SPDX-License-Identifier: MIT

# save, load, peek, export, import.

. "$(dirname "$0")/kit"

file=$tap_dir/saved
lines=$tap_dir/lines
copy=$seg-copy
make_segment

{
	kv put text "grüße" && kv put num 18446744073709551615 --int && kv put arr '[1,{"a":null},2.5]' --json &&
		kv put lease x --ttl 1h && kv put nan nan --float && head -c 300000 /dev/urandom | kv put blob --bin - &&
		"$SHMKV" put "$seg" --key-hex 00ff0a v && kv put map '{"$map":[[1,2],[1,3]]}' --json
} >"$tap_dir/out" || exit 1

same() {
	"$SHMKV" scan "$seg" >"$tap_dir/a" && "$SHMKV" scan "$copy" >"$tap_dir/b" &&
		[ "$(wc -l <"$tap_dir/a")" -eq 8 ] && sort "$tap_dir/a" >"$tap_dir/as" &&
		sort "$tap_dir/b" | cmp - "$tap_dir/as"
}

# Nothing but the file itself, whatever it took to write it.
alone() {
	ls "$tap_dir" | grep "^saved" >"$tap_dir/files"
	cat "$tap_dir/files"
	[ "$(cat "$tap_dir/files")" = saved ]
}

for how in "" --compress --compress=19; do
	json '.keys == 8 and .expiring == 1 and .bytes > 300000' "save $how" \
		"$SHMKV" save "$seg" "$file" $how --json
	json '.engine == "shm" and .keys == 8 and .format_version == 1' "peek $how" \
		"$SHMKV" peek "$file" --json
	json '.keys == 8' "load $how" "$SHMKV" load "$copy" "$file" --json
	ok_if "every key is there $how" same
	json '.ttl_ms > 3000000 and .ttl_ms <= 3600000' "with the time it has $how" \
		"$SHMKV" ttl "$copy" lease --json
	"$SHMKV" unlink "$copy"
done
ok_if "there is one file" alone

ok_if "through a pipe" sh -c "'$SHMKV' save '$seg' - | '$SHMKV' load '$copy' -"
ok_if "every key is there" same
complains 1 "exists already" "the name is taken" "$SHMKV" load "$copy" "$file"
ok_if "and what has it stays" same
"$SHMKV" unlink "$copy"
json '.max_bytes == 33554432' "another size" sh -c \
	"'$SHMKV' load '$copy' '$file' --size 32M >/dev/null && '$SHMKV' info '$copy' --json"
"$SHMKV" unlink "$copy"

# ---- damage ---------------------------------------------------------------------------

head -c 1000 "$file" >"$tap_dir/cut"
complains 6 "at byte 1000: the file is cut off here" "a file that is cut off" \
	"$SHMKV" load "$copy" "$tap_dir/cut"
complains 6 "at byte 1000" "the same to peek" "$SHMKV" peek "$tap_dir/cut"
complains 3 "" "leaves no segment" "$SHMKV" count "$copy"
{ cat "$file"; echo; } >"$tap_dir/longer"
complains 6 "something follows the end" "a file that goes on" "$SHMKV" peek "$tap_dir/longer"
echo '{"key":"a","value":1}' >"$lines"
complains 6 "not a file that shmkv saved" "a file of another kind" "$SHMKV" load "$copy" "$lines"
complains 7 "No such file" "no file" "$SHMKV" load "$copy" "$tap_dir/none"
complains 7 "Is a directory" "a directory" "$SHMKV" save "$seg" "$tap_dir"
complains 7 "cannot write" "no folder" "$SHMKV" save "$seg" "$tap_dir/none/x"
complains 5 "No space left" "no room" "$SHMKV" save "$seg" /dev/full
complains 2 "FILE is missing" "no FILE" "$SHMKV" save "$seg"
complains 2 "--compress needs" "a level there is not" "$SHMKV" save "$seg" "$file" --compress=20
complains 3 "no such segment" "no segment" "$SHMKV" save "$seg-none" "$file"
ok_if "what was saved before is still there" "$SHMKV" peek "$file"

# The loader is killed while it waits for the rest, and leaves no name.
killed_half_way() {
	mkfifo "$tap_dir/fifo"
	"$SHMKV" load "$copy" "$tap_dir/fifo" 2>/dev/null &
	loader=$!
	exec 9>"$tap_dir/fifo"
	head -c 2000 "$file" >&9
	kill -9 "$loader"
	wait "$loader" 2>/dev/null
	exec 9>&-
	! ls /dev/shm | grep -e "$copy"
}

ok_if "a loader that is killed leaves nothing" killed_half_way

# ---- lines ----------------------------------------------------------------------------

"$SHMKV" create "$copy" --size 8M
ok_if "export" sh -c "'$SHMKV' export '$seg' >'$lines'"
ok_if "is a key a line" sh -c "[ \$(wc -l <'$lines') -eq 8 ] && jq -e .key '$lines' >/dev/null"
prints "8 keys imported" "import" "$SHMKV" import "$copy" "$lines"
ok_if "every key is there" same
json '.ttl_ms > 3000000' "with the time it has" "$SHMKV" ttl "$copy" lease --json
"$SHMKV" clear "$copy" >/dev/null
ok_if "through a pipe" sh -c "'$SHMKV' export '$seg' | '$SHMKV' import '$copy' | grep -q '^8 keys'"
ok_if "every key is there" same
prints "8 keys exported" "into a file" "$SHMKV" export "$seg" "$tap_dir/exported"
ok_if "with the same lines" sh -c "jq -c 'del(.ttl_ms)' '$lines' | sort >'$tap_dir/l1' &&
	jq -c 'del(.ttl_ms)' '$tap_dir/exported' | sort | cmp - '$tap_dir/l1'"

# bad LINE WORDS: refused with its number, and nothing of the file is stored.
"$SHMKV" clear "$copy" >/dev/null
bad() {
	printf '%s\n' '{"key":"good","value":1}' "$1" '{"key":"later","value":1}' >"$lines"
	complains 2 "line 2: $2" "$2" "$SHMKV" import "$copy" "$lines"
}

bad '{"key":"a"}' '"value" is missing'
bad '{"value":1}' '"key" is missing'
bad '{"key":7,"value":1}' '"key" is neither text'
bad '{"key":"","value":1}' '"key" is not 1 to 65536 bytes long'
bad '{"key":"a","value":1,"ttl_ms":0}' '"ttl_ms" is not a number of milliseconds'
bad '{"key":"a","value":1,"ttl_ms":"1s"}' '"ttl_ms" is not'
bad '{"key":"a","value":1,"age":3}' '"age" is none of'
bad '[1,2]' 'the line is not an object'
bad '{"key":"a","value":' 'line 1, column'
bad '{"key":"a","key":"b","value":1}' 'line 1, column'
prints 0 "nothing of all that was stored" "$SHMKV" count "$copy"
printf '\n{"value":{"deep":[[1]]},"key":"a","ttl_ms":null}\n\n' >"$lines"
prints "1 key imported" "blank lines, and members in any order" "$SHMKV" import "$copy" "$lines"
prints '{"deep":[[1]]}' "the value" "$SHMKV" get "$copy" a
deep=$(printf '[%.0s' $(seq 31))1$(printf ']%.0s' $(seq 31))
printf '{"key":"deep","value":%s}\n' "$deep" >"$lines"
prints "1 key imported" "a value as deep as there can be" "$SHMKV" import "$copy" "$lines"
prints "$deep" "comes back" "$SHMKV" get "$copy" deep

tap_end
