#!/bin/sh
# SPDX-License-Identifier: MIT

# shmkv-stress passes on the real map, says what it did, refuses what it cannot do and leaves
# nothing behind; shmkv-history-check tells good histories from bad ones.

. "$(dirname "$0")/../shell/tap.sh"

: "${SHMKV_STRESS:?names the program}"
: "${SHMKV_STRESS_TINY:=$SHMKV_STRESS-tiny}"
: "${SHMKV_STRESS_FAULT:=$SHMKV_STRESS-fault}"
: "${SHMKV_HISTORY_CHECK:=$(dirname "$SHMKV_STRESS")/shmkv-history-check}"
name=stress-test-$$

# ---- runs ---------------------------------------------------------------------------

# tracked PROGRAM ARGS...: the number of the process, which is in the name of its segment, is noted.
tracked() {
	sh -c 'echo $$ >>"$0"; exec "$@"' "$tap_dir/pids" "$@"
}

# passes PROGRAM ARGS...: exit 0, and the verdict and its replay are the last two lines.
passes() {
	tracked "$@" >"$tap_dir/out" 2>"$tap_dir/err"
	status=$?
	cat "$tap_dir/out" "$tap_dir/err"
	[ $status -eq 0 ] && tail -n 2 "$tap_dir/out" | head -n 1 | grep -q '^PASS ' &&
		tail -n 1 "$tap_dir/out" | grep -q '^replay: '
}

# Processes were killed and stopped, and each time the others went on.
troubled() {
	tracked "$@" --json >"$tap_dir/out" 2>"$tap_dir/err" || { cat "$tap_dir/out"; return 1; }
	jq -e '.verdict == "PASS" and .kills > 0 and .stops > 0 and .final.recoveries > 0 and .starts > 4 and
		.kills_nobody_waited > 0 and .stops_nobody_waited > 0 and
		.final.leaked_bytes == 0 and .final.leaked_blocks == 0 and
		.final.leaked_leaves == 0 and .final.leaked_chunks == 0 and
		.final.violations == 0 and .final.complete' "$tap_dir/out"
}

# The same at fault points, and at several of them.
aimed() {
	troubled "$@" --aim && jq -e '.fault_points_hit > 5' "$tap_dir/out"
}

# A cache too small for its keys: some go, nothing else happens.
evicting() {
	troubled "$@" && jq -e '.final.evictions > 0 and .full == 0' "$tap_dir/out"
}

# Every kind of operation was made, and what only lasts or looks was there too.
mixed() {
	troubled "$@" || return 1
	jq -e '[.count.get, .count.put, .count.del, .count.add, .count.cas, .count.incr, .count.view,
		.count.reserve, .count.batch, .count.lease, .count.wait, .count.scan, .verified,
		.waits, .final.expired] | all(. > 0)' "$tap_dir/out" || return 1
	jq -e '.wait_cpu_ns * 4 < .wait_ns and .undecided < .verified' "$tap_dir/out"
}

# The command that it prints does the same again.
replays() {
	passes "$SHMKV_STRESS" --procs 2 --ops 20000 --keys 500 --mix 1:2:3:4:5:6:1:1:1:1:1 --seed 77 ||
		return 1
	replay=$(sed -n 's/^replay: //p' "$tap_dir/out")
	echo "$replay" | grep -q -- '--seed 77 --keys 500 .*--mix 1:2:3:4:5:6:1:1:1:1:1 ' || return 1
	eval "passes $replay" || return 1
	[ "$(sed -n 's/^replay: //p' "$tap_dir/out")" = "$replay" ]
}

# started PID: two workers and the auditor are there; their ids are in $children.
started() {
	tries=0
	until children=$(ps -o pid= --ppid "$1") && [ "$(echo $children | wc -w)" -ge 3 ]; do
		tries=$((tries + 1))
		[ $tries -lt 1000 ] || { echo "the workers were not started"; return 1; }
		sleep 0.01
	done
}

# A run that is interrupted still checks everything.
interrupted() {
	"$SHMKV_STRESS" --procs 2 --keys 500 --seconds 600 >"$tap_dir/out" 2>"$tap_dir/err" &
	pid=$!
	echo $pid >>"$tap_dir/pids"
	started $pid || return 1
	kill -INT $pid
	wait $pid
	status=$?
	cat "$tap_dir/out" "$tap_dir/err"
	[ $status -eq 0 ] && grep -q '^ended early: interrupted' "$tap_dir/out" &&
		grep -q '^PASS ' "$tap_dir/out"
}

# Workers end with the driver, however it ends.
children_die_with_it() {
	"$SHMKV_STRESS" --procs 2 --keys 500 --seconds 600 --segment "$name" >"$tap_dir/out" 2>&1 &
	pid=$!
	echo $pid >>"$tap_dir/pids"
	started $pid || return 1
	kill -KILL $pid
	wait $pid 2>/dev/null
	for child in $children; do
		tries=0
		while kill -0 "$child" 2>/dev/null; do
			tries=$((tries + 1))
			[ $tries -lt 1000 ] || { echo "$child lives"; return 1; }
			sleep 0.01
		done
	done
	rm -f /dev/shm/*"$name"
}

keeps_segment() {
	passes "$SHMKV_STRESS" --procs 1 --ops 5000 --keys 100 --segment "$name" &&
		passes "$SHMKV_STRESS" --procs 1 --ops 5000 --keys 100 --segment "$name" --keep || return 1
	# Now it holds keys, which are not ours to overwrite.
	"$SHMKV_STRESS" --procs 1 --ops 5000 --keys 100 --segment "$name" >"$tap_dir/out" 2>&1
	status=$?
	cat "$tap_dir/out"
	rm -f /dev/shm/*"$name"
	[ $status -eq 2 ] && grep -q 'holds keys' "$tap_dir/out"
}

# A segment that is too small is full, and nothing else goes wrong.
full() {
	tracked "$SHMKV_STRESS" --procs 2 --ops 60000 --keys 4000 --value-size 200..4000 --size 2M \
		--mix 10:60:10:10:5:5 --json >"$tap_dir/out" 2>"$tap_dir/err" ||
		{ cat "$tap_dir/out"; return 1; }
	jq -e '.verdict == "PASS" and .full > 0' "$tap_dir/out"
}

# Neither under the given name nor under any of those that the runs above gave themselves.
nothing_left() {
	[ "$(wc -l <"$tap_dir/pids")" -gt 20 ] || return 1
	! ls /dev/shm | grep -e "$name" || return 1
	sed 's/.*/stress-&$/' "$tap_dir/pids" >"$tap_dir/names"
	! ls /dev/shm | grep -f "$tap_dir/names"
}

# ---- histories ----------------------------------------------------------------------

linearizable() {
	rm -rf "$tap_dir/history"
	passes "$@" --history "$tap_dir/history" || return 1
	"$SHMKV_HISTORY_CHECK" "$tap_dir/history" || return 1
	for file in "$tap_dir"/history/*; do
		[ $(($(wc -c <"$file") % 40)) -eq 0 ] || { echo "$file is cut"; return 1; }
	done
}

# What deaths leave in the files: calls that never ended.
linearizable_with_deaths() {
	linearizable "$@" --kill 60 || return 1
	"$SHMKV_HISTORY_CHECK" --print "$tap_dir/history" >"$tap_dir/text" || return 1
	grep -q '^[0-9]* - ' "$tap_dir/text" || { echo "no call was cut off"; return 1; }
	"$SHMKV_HISTORY_CHECK" --text "$tap_dir/text"
}

# judged STATUS LINE...: a history given line by line, "START END OP KEY ARG RET CLIENT".
judged() {
	expected=$1
	shift
	printf '%s\n' "$@" >"$tap_dir/text"
	"$SHMKV_HISTORY_CHECK" --text "$tap_dir/text" >"$tap_dir/out" 2>&1
	status=$?
	cat "$tap_dir/text" "$tap_dir/out"
	[ $status -eq "$expected" ]
}
good() { judged 0 "$@"; }
bad() { judged 1 "$@"; }

# The violation is shown with what makes it one and little else.
window_is_small() {
	{
		i=1
		while [ $i -le 200 ]; do
			echo "$((i * 100)) $((i * 100 + 50)) put 1 $i 0 1"
			i=$((i + 1))
		done
		echo "30000 30010 get 1 0 200 2"
		echo "30020 30030 get 1 0 7 2"
	} >"$tap_dir/text"
	"$SHMKV_HISTORY_CHECK" --text "$tap_dir/text" >"$tap_dir/out"
	status=$?
	cat "$tap_dir/out"
	[ $status -eq 1 ] && grep -q 'explains these 2 operations' "$tap_dir/out"
}

# ---- wrong usage --------------------------------------------------------------------

# refused WORDS ARGS...: exit 2 with those words, before anything is made.
refused() {
	words=$1
	shift
	tracked "$SHMKV_STRESS" "$@" >"$tap_dir/out" 2>&1
	status=$?
	cat "$tap_dir/out"
	[ $status -eq 2 ] && grep -q -e "$words" "$tap_dir/out"
}

ok_if "one process" passes "$SHMKV_STRESS" --procs 1 --ops 50000 --keys 2000
ok_if "four processes" passes "$SHMKV_STRESS" --procs 4 --ops 300000 --keys 5000
ok_if "kills and stops" mixed "$SHMKV_STRESS" --procs 4 --seconds 2 --keys 5000 --kill 40 --stop 15
ok_if "threads that share a handle" passes "$SHMKV_STRESS" --procs 1 --threads 4 --ops 200000 --keys 2000
ok_if "threads, killed and stopped" troubled "$SHMKV_STRESS" --procs 3 --threads 2 --seconds 2 \
	--keys 2000 --kill 30 --stop 10
ok_if "a lone process, stopped and killed" troubled "$SHMKV_STRESS" --procs 1 --seconds 2 --keys 500 \
	--kill 20 --stop 20
ok_if "few keys" passes "$SHMKV_STRESS" --procs 4 --ops 200000 --keys 16
ok_if "values of up to 1 MiB" troubled "$SHMKV_STRESS" --procs 2 --seconds 2 --keys 200 \
	--value-size 40..1M --kill 20 --stop 5
ok_if "kills and stops at fault points" aimed "$SHMKV_STRESS_FAULT" --procs 4 --seconds 2 --keys 5000 \
	--kill 60 --stop 15 --jitter 300
ok_if "in a full segment" aimed "$SHMKV_STRESS_FAULT" --procs 4 --seconds 2 --keys 2000 --kill 60 \
	--stop 15 --value-size 40..20000 --size 4M --jitter 300
ok_if "in a full segment with tiny leaves" aimed "$SHMKV_STRESS_TINY" --procs 4 --seconds 2 --keys 2000 \
	--kill 60 --stop 15 --value-size 40..20000 --size 4M --jitter 300
ok_if "a cache, lru" evicting "$SHMKV_STRESS" --procs 4 --seconds 2 --keys 10000 --no-grow --kill 40 \
	--stop 15 --evict lru
ok_if "a cache, lfu, at fault points" aimed "$SHMKV_STRESS_TINY" --procs 4 --seconds 2 --keys 10000 \
	--no-grow --kill 40 --stop 15 --evict lfu
ok_if "tiny leaves" passes "$SHMKV_STRESS_TINY" --procs 4 --ops 300000 --keys 3000
ok_if "tiny leaves, kills and stops" troubled "$SHMKV_STRESS_TINY" --procs 4 --seconds 2 --keys 2000 \
	--kill 40 --stop 15
ok_if "the other hash" passes "$SHMKV_STRESS" --procs 2 --ops 50000 --keys 2000 --hash xxh3
ok_if "a full segment" full
ok_if "the replay line replays" replays
ok_if "SIGINT ends it with all checks" interrupted
ok_if "workers die with the driver" children_die_with_it
ok_if "a given segment is kept, and used only if empty" keeps_segment

ok_if "history" linearizable "$SHMKV_STRESS" --procs 4 --ops 200000
ok_if "history of threads" linearizable "$SHMKV_STRESS" --procs 2 --threads 3 --ops 200000 --keys 3
ok_if "history with deaths" linearizable_with_deaths "$SHMKV_STRESS" --procs 4 --seconds 2
ok_if "history with deaths and stops on tiny leaves" linearizable_with_deaths "$SHMKV_STRESS_TINY" \
	--procs 4 --seconds 2 --stop 10 --keys 16

ok_if "good: one after another" good \
	"10 20 put 1 5 0 1" "30 40 get 1 0 5 2" "50 60 del 1 0 1 1" "70 80 get 1 0 0 2"
ok_if "good: overlapping puts in either order" good \
	"10 50 put 1 5 0 1" "10 50 put 1 6 0 2" "60 70 get 1 0 5 3"
ok_if "good: a read during a put sees either" good \
	"10 20 put 1 5 0 1" "30 60 put 1 6 0 1" "35 40 get 1 0 5 2" "45 50 get 1 0 6 2"
ok_if "good: a cut off put may happen late" good \
	"10 20 put 1 5 0 1" "30 - put 1 6 0 2" "40 50 get 1 0 5 1" "60 70 get 1 0 6 1"
ok_if "good: a cut off put may never happen" good \
	"10 20 put 1 5 0 1" "30 - put 1 6 0 2" "40 50 get 1 0 5 1" "60 70 get 1 0 5 1"
ok_if "good: a cut off del explains absence" good \
	"10 20 put 1 5 0 1" "30 - del 1 0 0 2" "40 50 get 1 0 5 1" "60 70 get 1 0 0 1"
ok_if "good: a cut off put explains a failed add" good \
	"10 - put 1 5 0 1" "20 30 add 1 6 0 2" "40 50 del 1 0 1 2" "60 70 add 1 7 1 2"
ok_if "good: keys do not influence each other" good \
	"10 20 put 1 5 0 1" "30 40 get 2 0 0 1" "30 40 get 1 0 5 2"
ok_if "good: touching times may be in either order" good \
	"10 20 put 1 5 0 1" "20 30 get 1 0 0 2"
ok_if "bad: stale read" bad \
	"10 20 put 1 5 0 1" "30 40 put 1 6 0 1" "50 60 get 1 0 5 2"
ok_if "bad: lost update" bad \
	"10 20 put 1 5 0 1" "30 40 get 1 0 0 2"
ok_if "bad: resurrected value" bad \
	"10 20 put 1 5 0 1" "30 40 del 1 0 1 1" "50 60 get 1 0 5 2"
ok_if "bad: two adds of one absence" bad \
	"10 50 add 1 5 1 1" "20 60 add 1 6 1 2"
ok_if "bad: two dels of one value" bad \
	"10 20 put 1 5 0 1" "30 60 del 1 0 1 1" "40 70 del 1 0 1 2"
ok_if "bad: new, then old, seen by two readers" bad \
	"10 20 put 1 5 0 1" "30 90 put 1 6 0 1" "40 50 get 1 0 6 2" "60 70 get 1 0 5 3"
ok_if "bad: a value before it was written" bad \
	"10 20 get 1 0 5 1" "30 40 put 1 5 0 2"
ok_if "bad: a value before its cut off put began" bad \
	"10 20 get 1 0 5 1" "30 - put 1 5 0 2"
ok_if "bad: a cut off put that happens twice" bad \
	"10 - put 1 5 0 1" "20 30 get 1 0 5 2" "40 50 put 1 6 0 2" "60 70 get 1 0 5 2"
ok_if "bad: more unexplained deletes than were cut off" bad \
	"10 20 put 1 5 0 1" "11 - del 1 0 0 2" "30 40 get 1 0 0 1" "50 60 put 1 6 0 1" \
	"70 80 get 1 0 0 1"
ok_if "bad: a value nobody wrote" bad \
	"10 20 put 1 5 0 1" "30 40 get 1 0 9 1"
ok_if "bad: the smallest window is shown" window_is_small
ok_if "a line that is none is refused" judged 2 "10 20 jump 1 5 0 1"
not_ok_if "a directory without a history is refused" "$SHMKV_HISTORY_CHECK" "$tap_dir"

ok_if "unknown option" refused "unknown option --fly" --fly
ok_if "missing value" refused "--procs needs a value" --procs
ok_if "stray word" refused "unexpected argument now" now
ok_if "no process" refused "--procs 0" --procs 0
ok_if "too many threads" refused "--threads 65" --threads 65
ok_if "a number that is none" refused "--keys 12x" --keys 12x
ok_if "too few keys" refused "at least 16" --keys 8
ok_if "a negative rate" refused "--kill -1" --kill -1
ok_if "a rate that is none" refused "--stop nan" --stop nan
ok_if "a value without room for its head" refused "at least 40" --value-size 10..20
ok_if "sizes in the wrong order" refused "A..B" --value-size 200..100
ok_if "a mix of five" refused "six weights" --mix 1:1:1:1:1
ok_if "a mix of twelve" refused "six weights" --mix 1:1:1:1:1:1:1:1:1:1:1:1
ok_if "a mix of nothing" refused "six weights" --mix 0:0:0:0:0:0
ok_if "fault points where there are none" refused "without fault points" --aim
ok_if "a nap that is none" refused "--jitter -1" --jitter -1
ok_if "an unknown time for huge pages" refused "never, lazy or eager" --huge-pages often
ok_if "an unknown eviction" refused "none, lru or lfu" --evict fifo
ok_if "a history of a cache" refused "why a key is gone" --history "$tap_dir/none" --evict lru
ok_if "an unknown hash" refused "siphash13 or xxh3" --hash md5
ok_if "a size below the least" refused "--size 1000" --size 1000
ok_if "a history of counters" refused "weight 0" --history "$tap_dir/none" --mix 1:1:1:1:1:1
ok_if "a history of values" refused "leave out" --history "$tap_dir/none" --value-size 100
ok_if "a directory with a history" refused "holds a history already" --history "$tap_dir/history"
ok_if "a name that is none" refused "cannot create" --segment a/b
ok_if "help" sh -c '"$1" --help | grep -q "^Usage: shmkv-stress"' sh "$SHMKV_STRESS"
ok_if "nothing is left" nothing_left

tap_end
