#!/bin/sh
# SPDX-License-Identifier: MIT

# verify and recover, from outside: live, after a kill, and on a damaged segment.

. "$(dirname "$0")/kit"

make_segment
awk 'BEGIN { for (i = 0; i < 3000; i++) printf "put key-%d %0*d\n", i, i % 200 + 1, i }' |
	"$SHMKV" attach "$seg" >/dev/null

exits 0 "verify of a quiet segment" kv verify
ok_if "says that all is well" grep -q "Every invariant holds, and nothing is lost" "$tap_dir/out"
json '.violations == 0 and .undecided == 0 and .list == [] and .violated == [] and .keys == 3000 and
	.count == 3000 and .leaked_blocks == 0 and .dead_blocks == 0' "in JSON" kv verify --json
json '.violations == 0' "check is the same" kv check --json
json '.processes == 0 and .blocks == 0 and .count_fix == 0' "recover finds nothing" kv recover --json

# ---- while others write and die --------------------------------------------------------------

# Writers of the shell: one is stopped, one is killed, and one writes all the time.
writer() {
	while [ ! -e "$tap_dir/stop" ]; do
		awk 'BEGIN { srand(); for (i = 0; i < 20000; i++) {
			k = int(rand() * 4000)
			if (rand() < 0.3) printf "del key-%d\n", k
			else printf "put key-%d %0*d\n", k, int(rand() * 500) + 1, k } }'
	done | "$SHMKV" attach "$seg" >/dev/null 2>&1
}
writer &
writers=$!
writer &
writers="$writers $!"
i=0
bad=0
while [ $i -lt 25 ]; do
	kv verify --json >"$tap_dir/live" 2>&1
	[ $? -le 1 ] && jq -e '.violations == 0 and .list == [] and .leaked_blocks == .dead_blocks and
		.leaked_leaves == .dead_leaves and .leaked_chunks == .dead_chunks + .unreturned_chunks' \
		"$tap_dir/live" >/dev/null || { bad=$((bad + 1)); cp "$tap_dir/live" "$tap_dir/output"; }
	kv recover --json >/dev/null 2>&1 || bad=$((bad + 1))
	i=$((i + 1))
done
ok_if "25 times on a live segment: no false alarm" [ $bad -eq 0 ]
touch "$tap_dir/stop"
wait $writers

# ---- after a kill ----------------------------------------------------------------------------

mkfifo "$tap_dir/fifo"
"$SHMKV" attach "$seg" <"$tap_dir/fifo" >/dev/null 2>&1 &
shell=$!
exec 3>"$tap_dir/fifo"
echo 'put ready 1' >&3
i=0
until "$SHMKV" exists "$seg" ready >/dev/null || [ $i -ge 100 ]; do
	sleep 0.1
	i=$((i + 1))
done
kill -KILL $shell
exec 3>&-
wait $shell 2>/dev/null
json '.processes_dead == 1' "one has died" kv info --json
exits 0 "verify is content: it was doing nothing" kv verify
json '.processes == 1 and .contexts == 1' "recover reports it, though attaching had done it" \
	kv recover --json
json '.processes == 0' "and only once" kv recover --json
exits 0 "recover for people" kv recover
ok_if "has words" grep -q '^processes recovered *0$' "$tap_dir/out"

# ---- progress --------------------------------------------------------------------------------

if command -v script >/dev/null; then
	"$SHMKV" create "$seg-large" --size 256M
	awk 'BEGIN { for (i = 0; i < 300000; i++) printf "put key-%d %0120d\n", i, i }' |
		"$SHMKV" attach "$seg-large" >/dev/null
	before=$(date +%s%N)
	script -qc "$SHMKV verify $seg-large --json" /dev/null </dev/null >"$tap_dir/screen" 2>&1
	if [ $(($(date +%s%N) - before)) -gt 1000000000 ] || grep -q chunks, "$tap_dir/screen"; then
		ok_if "verify shows on a terminal how far it is" grep -q 'chunks, .*/s' "$tap_dir/screen"
	else
		tap_skip "verify shows on a terminal how far it is" "it was done before that"
	fi
	tr '\r' '\n' <"$tap_dir/screen" | tail -n 2 | grep -o '{.*}' >"$tap_dir/result"
	ok_if "and erases it" jq -e '.keys == 300000' "$tap_dir/result"
	"$SHMKV" unlink "$seg-large"
else
	tap_skip "progress" "script is not installed"
fi

# ---- damaged ---------------------------------------------------------------------------------

# The first leaf's slots lie behind its header: one byte over some of them.
"$SHMKV" create "$seg-bad" --size 8M
awk 'BEGIN { for (i = 0; i < 200; i++) printf "put key-%d v\n", i }' | "$SHMKV" attach "$seg-bad" >/dev/null
leaf=$("$SHMKV_DUMP" "$seg-bad" --layout --json |
	jq '[.layout.leaves[]? , .leaves[]?] | map(select(.state == "live"))[0].offset')
ok_if "a leaf was found" [ "${leaf:-0}" -gt 4096 ]
printf '\377\377\377\377\377\377\377\377' |
	dd of="/dev/shm/shmkv.$seg-bad" bs=1 seek=$((leaf + 64 + 8)) conv=notrunc 2>/dev/null
exits 6 "verify of a damaged segment" "$SHMKV" verify "$seg-bad"
ok_if "names the invariant" grep -q '^violation: C3: leaf ' "$tap_dir/out"
ok_if "and says what to do" grep -q 'shmkv-dump' "$tap_dir/out"
exits 6 "the same in JSON" "$SHMKV" verify "$seg-bad" --json
ok_if "lists it" jq -e '.violated | index("C3") != null' "$tap_dir/out"
"$SHMKV" unlink "$seg-bad"

tap_end
