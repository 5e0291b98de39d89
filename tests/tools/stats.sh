#!/bin/sh
# SPDX-License-Identifier: MIT

# info tells what was done, what the memory is used for, and who is there.

. "$(dirname "$0")/kit"

make_segment
{
	i=0
	while [ $i -lt 20 ]; do
		echo "put key-$i some-text"
		i=$((i + 1))
	done
	echo 'get key-1'
	echo 'exists key-2'
	echo 'incr n 5'
	echo 'del key-3'
} >"$tap_dir/commands"
"$SHMKV" attach "$seg" <"$tap_dir/commands" >"$tap_dir/output" 2>&1

json '.stats.puts == 20 and .stats.updates_in_place == 1 and .stats.dels == 1' \
	"calls by kind" kv info --json
json '.stats.hits == 2 and .stats.gets == 2 and .stats.misses == 0' \
	"those of the shell are counted, those of read-only verbs are not" kv info --json
json '.stats.inserts == 21 and .stats.deletes == 1 and .inserts == .stats.inserts' \
	"and what came of them" kv info --json
json '([.stats.value_bytes[].count] | add) == 21 and .stats.value_bytes[-1].up_to == null and
	([.stats.hit_lines[].count] | add) == 2 and (.stats.retried | length) == 6' \
	"histograms" kv info --json
json '.memory.records == 20 and .memory.large_records == 0 and
	([.memory.classes[].used] | add) == 20 and
	.memory.held_bytes >= .memory.record_bytes and .memory.free_stretch_bytes > 1000000' \
	"memory by class" kv info --json
json '.participants == []' "nobody is there" kv info --json
exits 1 "del of an absent key" kv del key-3
json '.stats.unmet == 1' "is a condition not met" kv info --json

# ---- for people ------------------------------------------------------------------------------

exits 0 "for people" kv info
ok_if "calls" grep -q '^puts  *20$' "$tap_dir/out"
ok_if "a histogram" grep -q '^sizes of values .*16 B: 20' "$tap_dir/out"
ok_if "a class" grep -q '^ *48  *1  *341  *' "$tap_dir/out"

# ---- participants ----------------------------------------------------------------------------

mkfifo "$tap_dir/fifo"
"$SHMKV" attach "$seg" <"$tap_dir/fifo" >"$tap_dir/shell" 2>&1 &
shell=$!
exec 3>"$tap_dir/fifo"
echo 'put ready 1' >&3
i=0
until "$SHMKV" exists "$seg" ready >/dev/null || [ $i -ge 100 ]; do
	sleep 0.1
	i=$((i + 1))
done
state_is() {
	json ".participants | length == 1 and .[0].pid == $shell and .[0].state == \"$1\" and
		.[0].doing == \"idle\" and .[0].calls == 1 and .[0].pins == 0" \
		"a participant is $1" kv info --json
}
state_is alive
kill -STOP $shell
i=0
until grep -q '^State:.T' "/proc/$shell/status" || [ $i -ge 100 ]; do
	sleep 0.1
	i=$((i + 1))
done
state_is stopped
kill -KILL $shell
exec 3>&-
wait $shell 2>/dev/null
state_is dead
exits 0 "info for people" kv info
ok_if "shows the dead one" grep -q "^ *$shell  *dead" "$tap_dir/out"
exits 0 "recover" kv recover
json '.participants == [] and .stats.recoveries == 1 and .stats.puts == 21' \
	"what it did stays counted" kv info --json

# ---- what the histograms have, and what not --------------------------------------------------

# As shmkv/inspect.h says it.
seg=$seg-histograms
make_segment
histograms_have() {
	json "([.stats.write_lines[].count] | add) == $1 and ([.stats.value_bytes[].count] | add) == $2 and
		.stats.inserts == $3 and .stats.updates == $4 and .stats.deletes == $5" "$6" kv info --json
}
kv put small x --ttl 1h
head -c 2000 /dev/zero | tr '\0' x >"$tap_dir/large"
kv put large --from "$tap_dir/large" --ttl 1h
histograms_have 2 2 2 0 0 "a put"
kv touch small 2h
histograms_have 3 3 2 1 0 "a touch that copies"
kv touch large 2h
histograms_have 3 3 2 2 0 "not one that does not"
kv persist small
histograms_have 3 3 2 3 0 "nor persist"
kv del small
histograms_have 4 3 2 3 1 "a removal has no value"
kv clear >/dev/null
histograms_have 4 3 2 3 2 "clear counts removals and no more"

tap_end
