#!/bin/sh
# SPDX-License-Identifier: MIT

# top: single samples for scripts, and the screen in a terminal of its own.

. "$(dirname "$0")/kit"

make_segment

# ---- somebody who works ----------------------------------------------------------------------

# A shell that stays attached and writes whenever the test wants it to.
mkfifo "$tap_dir/fifo"
"$SHMKV" attach "$seg" <"$tap_dir/fifo" >"$tap_dir/shell" 2>&1 &
worker=$!
exec 3>"$tap_dir/fifo"

# Writes all the time, until $tap_dir/stop is there.
keep_writing() {
	while [ ! -e "$tap_dir/stop" ]; do
		awk 'BEGIN { for (i = 0; i < 500; i++) {
			printf "put key-%d %040d\n", i, i; printf "get key-%d\n", i } print "get none" }'
		sleep 0.02
	done >&3 2>/dev/null
}
keep_writing &
writer=$!

wait_for() {
	i=0
	until "$@" || [ $i -ge 150 ]; do
		sleep 0.1
		i=$((i + 1))
	done
	"$@"
}
ok_if "somebody writes" wait_for sh -c "'$SHMKV' exists '$seg' key-499 >/dev/null"

# ---- one sample ------------------------------------------------------------------------------

exits 0 "top --once" kv top --once --interval 0.3
ok_if "says what the segment is" grep -qx "segment $seg" "$tap_dir/out"
ok_if "and that it has its name" grep -qx 'linked yes' "$tap_dir/out"
ok_if "how many keys" grep -qx 'keys 500' "$tap_dir/out"
ok_if "has rates" awk '/^puts\/s / && $2 > 0 { puts = 1 } /^gets\/s / && $2 > 0 { gets = 1 }
	END { exit !(puts && gets) }' "$tap_dir/out"
ok_if "and the process" grep -q "^process $worker alive .*pins 0 .*calls/s [1-9]" "$tap_dir/out"
ok_if "and leaves, the fullest first" awk '/^leaf / { n++; full = $6 + $8
	if (n > 1 && full > last) exit 1; last = full } END { if (n == 0) exit 1 }' "$tap_dir/out"
json ".segment == \"$seg\" and .linked and .count == 500 and .seconds >= 0.3 and
	.per_second.puts > 0 and .per_second.hits > 0 and .per_second.misses > 0 and
	.per_second.inserts == 0 and .stats.puts > 500 and .memory.records == 500 and
	(.participants | length) == 1 and .participants[0].pid == $worker and
	.participants[0].state == \"alive\" and .participants[0].calls_per_s > 0 and
	(.leaves | length) > 0 and .leaves[0].live > 0 and .max_bytes == 8388608" \
	"top --once --json" kv top --once --json --interval 0.3
json '.participants == [] and .count == 0' "of a segment that nobody uses" sh -c \
	"'$SHMKV' create '$seg-idle' --size 1M && '$SHMKV' top '$seg-idle' --once --json --interval 0.1;
	'$SHMKV' unlink '$seg-idle'"
complains 2 "needs --once" "--json alone" kv top --json
complains 2 "needs a terminal" "without a terminal" kv top
complains 2 "--interval needs" "an interval of 0" kv top --once --interval 0
complains 2 "--interval needs" "an interval that is none" kv top --once --interval soon
complains 2 "--sort needs" "an order that is none" kv top --once --sort size
complains 3 "no such segment" "no such segment" "$SHMKV" top "$seg-no" --once

# ---- the screen ------------------------------------------------------------------------------

if ! command -v tmux >/dev/null; then
	tap_skip "the screen" "tmux is not installed"
	touch "$tap_dir/stop"
	wait $writer
	exec 3>&-
	wait $worker
	tap_end
fi

# A server for each terminal: one that is told to end takes a while. It must not keep the
# worker's pipe open.
terminals=0
tm() {
	tmux -L "shmkv-top-$$-$terminals" -f /dev/null "$@" 3>&-
}
end_server() {
	tm kill-server 2>/dev/null
	kit_clean
}
trap end_server EXIT

# The terminal's shell writes its number, becomes top in a child, and tells how that ended
# and in which state it left the terminal.
cat >"$tap_dir/session" <<-END
	before=\$(stty -g)
	sh -c 'echo \$\$ >"$tap_dir/pid"; exec "\$@"' sh "\$@"
	code=\$?
	[ "\$(stty -g)" = "\$before" ] && state=sane || state=changed
	echo "ended with \$code, terminal \$state"
	sleep 1000
END
watch() {
	tm kill-server 2>/dev/null
	terminals=$((terminals + 1))
	rm -f "$tap_dir/pid"
	tm new-session -d -x "$1" -y "$2" "sh '$tap_dir/session' '$SHMKV' top '$seg' --interval 0.2"
}
screen() {
	tm capture-pane -p >"$tap_dir/output" 2>&1
	cat "$tap_dir/output"
}
shows() {
	screen | grep -q -e "$1"
}
shows_not() {
	! shows "$1"
}
# sees WORDS "a sentence": the screen comes to show this.
sees() {
	ok_if "$2" wait_for shows "$1"
}
press() {
	tm send-keys "$@"
}

watch 100 30
sees "^shmkv top $seg  *500 keys  *every 0.2 s" "the head of the screen"
sees 'per second: [1-9].* gets (99.8 % found), [1-9]' "rates"
sees 'memory:  *\[#*\.*\] .* of 8.0 MiB taken' "memory"
sees "^ *$worker  *alive  *" "the process"
sees 'LEAF .*fullest leaves' "leaves"
for key in 'q quit' 'p pause' 'v view(all)' 's sort(rate)' 'r reverse' '+- interval' 'up/down'; do
	ok_if "the last line has: $key" shows "^q quit.*$key\|^$key"
done
press s
sees 's sort(calls)' "s changes the order"
press r
sees 'r reverse(on)' "r turns it around"
press v
sees 'v view(procs)' "v changes the view"
ok_if "to processes alone" shows_not 'fullest leaves'
press v
sees 'v view(leaves)' "to leaves"
press v
sees '^  *BLOCK  *SLABS' "to blocks"
press v
sees 'v view(all)' "and back"
press +
sees 'every 0.5 s' "+ makes it slower"
press - -
sees 'every 0.1 s' "- makes it faster"
press p
sees 'PAUSED' "p pauses"
press p
ok_if "and goes on" wait_for shows_not PAUSED
press Down Up j k
sees "^ *$worker  *alive" "arrows do no harm"

tm resize-window -x 60 -y 12
sees '^q quit p pause' "a smaller terminal: the keys are still there"
ok_if "in 12 rows" sh -c "[ \$(wc -l <'$tap_dir/output') -le 12 ]"
tm resize-window -x 30 -y 4
sees 'too small' "a terminal that is too small says so"
tm resize-window -x 120 -y 40
sees "^ *$worker  *alive" "and a larger one has everything again"

kill -STOP $worker
sees "^ *$worker  *stopped" "a stopped process"
kill -CONT $worker
sees "^ *$worker  *alive" "goes on"

# ---- the name --------------------------------------------------------------------------------

"$SHMKV" unlink "$seg"
sees 'was unlinked: nobody can attach' "unlinked while one looks"
make_segment
sees 'another one has its name: press o' "made again under the same name"
press o
sees "^shmkv top $seg  *0 keys" "o shows the new one"
ok_if "and says no more of the old" wait_for shows_not 'was unlinked'

# ---- the end ---------------------------------------------------------------------------------

press q
sees 'ended with 0, terminal sane' "q ends it, and the terminal is as before"
for signal in INT TERM; do
	watch 80 24
	sees '^q quit p pause .*up/down' "80 columns hold all keys ($signal)"
	kill -$signal "$(cat "$tap_dir/pid")"
	sees 'ended with 0, terminal sane' "SIG$signal ends it as well"
done
watch 80 24
sees '^q quit' "once more"
top=$(cat "$tap_dir/pid")
tm kill-server
gone() {
	! kill -0 "$top" 2>/dev/null
}
ok_if "it ends with its terminal" wait_for gone

# Nobody but the test may use a segment of which the file is cut short.
end_worker() {
	touch "$tap_dir/stop"
	wait $writer
	exec 3>&-
	wait $worker
}
end_worker
watch 80 24
sees '^q quit' "and again"
: >"/dev/shm/shmkv.$seg"
sees 'the file of the segment was truncated' "a file that is cut short while one looks"
sees 'ended with 6, terminal sane' "is damage, and leaves the terminal in order"
rm "/dev/shm/shmkv.$seg"
make_segment

# ncurses forgets some memory of its own when it fails; a sanitizer shall not mind.
with_term() {
	sed -i "s/^before/$1; export ASAN_OPTIONS=detect_leaks=0\\nbefore/" "$tap_dir/session"
	watch 80 24
}
with_term 'TERM=nonsense; export TERM'
sees 'terminal (TERM) is unknown' "an unknown terminal"
sees 'ended with 2, terminal sane' "is a wrong use"
with_term 'unset TERM'
sees 'terminal (TERM) is unknown' "none named at all"
sees 'ended with 2, terminal sane' "is one, too"

tap_end
