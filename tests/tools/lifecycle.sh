#!/bin/sh
# SPDX-License-Identifier: MIT

# Segments are created, listed, looked into and unlinked.

. "$(dirname "$0")/kit"

is_listed() {
	"$SHMKV" list | grep -q "^$seg "
}

has_mode() {
	[ "$(stat -c %a "/dev/shm/shmkv.$seg")" = "$1" ]
}

exits 0 "create makes a segment" kv create --size 8M
ok_if "it has mode 0600 by default" has_mode 600
exits 1 "create refuses a name that is taken" kv create
complains 1 "exists already" "and says what is wrong" kv create
ok_if "list names the segment" is_listed
json ".segments[] | select(.segment == \"$seg\") | .max_bytes == 8388608 and .count == 0" \
	"list --json has its size and keys" "$SHMKV" list --json
json ".segment == \"$seg\" and .max_bytes == 8388608 and .count == 0 and .engine == \"shm\" and
	.hash == \"siphash13\" and .read_only == true and .threads_max == 512" \
	"info --json tells what was asked for" kv info --json
exits 0 "info prints a report" kv info
ok_if "which names the limit" grep -q '^limit .*8,388,608' "$tap_dir/out"
json '.processes == 0 and .bytes == 0 and .count_fix == 0' \
	"recover finds nothing to do" kv recover --json
json '.violations == 0 and .list == [] and .leaked_bytes == 0' "check finds nothing" \
	kv check --json
exits 0 "check has a report for people" kv check
json '.unlinked == true' "unlink removes it" kv unlink --json
not_ok_if "list does not name it any more" is_listed
exits 3 "unlink says when there is nothing" kv unlink
exits 3 "info on nothing exits with 3" kv info

umask 077
exits 0 "create takes all options" "$SHMKV" create "shm:$seg" --size=2.5M --mode 0644 \
	--hash xxh3 --capacity 1000 --max-processes 7 --max-threads 9 --evict lru
ok_if "the mode is not reduced by the umask" has_mode 644
json '.max_bytes == 2621440 and .hash == "xxh3" and .processes_max == 7 and .threads_max == 9 and
	.evict == "lru" and .evictions == 0' \
	"info shows them" kv info --json
exits 0 "unlink takes a name with its scheme" "$SHMKV" unlink "shm:$seg"

exits 0 "create takes a policy for huge pages" "$SHMKV" create "$seg" --size 64M --huge-pages eager
json '.huge_pages.policy == "eager" and .huge_pages.huge_bytes <= .huge_pages.full_bytes' \
	"info --json tells it" kv info --json
json '.huge_pages.policy == "eager" and .huge_pages.file_bytes > 0' "huge --json reports" kv huge --json
exits 0 "huge has a report for people" kv huge
ok_if "which names the policy" grep -q '^policy  *eager$' "$tap_dir/out"
exits 0 "it goes like any other" "$SHMKV" unlink "$seg"
complains 2 "--huge-pages needs" "create refuses --huge-pages maybe" kv create --huge-pages maybe

json ".max_bytes == 67108864 and .segment == \"$seg\"" "create --json reports; 64M by default" \
	"$SHMKV" create "$seg" --json
exits 0 "options may come before the name" "$SHMKV" unlink --json "$seg"

for bad in 1K 1025G 64Q -5 0.5M x ''; do
	complains 2 "--size needs" "create refuses --size '$bad'" kv create "--size=$bad"
done
for bad in 888 1777 0 -1 rw; do
	complains 2 "--mode needs" "create refuses --mode '$bad'" kv create --mode "$bad"
done
complains 2 "--hash needs" "create refuses --hash md5" kv create --hash md5
complains 2 "--evict needs" "create refuses --evict random" kv create --evict random
for bad in 0 4096 x; do
	complains 2 "--max-processes needs" "create refuses --max-processes $bad" \
		kv create --max-processes "$bad"
	complains 2 "--max-threads needs" "create refuses --max-threads $bad" \
		kv create --max-threads "$bad"
done
exits 3 "nothing was created by all that" kv info

tap_end
