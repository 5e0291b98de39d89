#!/bin/sh
# SPDX-License-Identifier: MIT

# The interactive shell, from a pipe and on a terminal.

. "$(dirname "$0")/kit"

make_segment

# What the shell prints, a sentence, the lines that it gets.
run_shell() {
	printf '%s\n' "$3" >"$tap_dir/commands"
	prints "$1" "$2" sh -c "'$SHMKV' attach '$seg' <'$tap_dir/commands'"
}

run_shell v "put and get" "put k v
get k"
run_shell 'a  b"c' "single quotes keep everything" "put q 'a  b\"c'
get q"
run_shell "it's	x\\" "double quotes know escapes" 'put q "it'\''s\t\x78\\"
get q'
run_shell "a b#c" "a backslash keeps the next character" 'put q a\ b#c
get q'
run_shell v "comments and empty lines are nothing" "# nothing

   # put k other
get k"
run_shell "" "the empty word" "put q ''
get q"
printf '%s\n' "put j '{\"a\": [1, 2]}' --json" 'get j' >"$tap_dir/commands"
prints '{"a":[1,2]}' "JSON in quotes" sh -c "'$SHMKV' attach '$seg' <'$tap_dir/commands' | tail -n 1"
run_shell -3 "negative numbers" "put n -5 --int
incr n 2"
run_shell 4 "exit leaves" "count
exit
count"
run_shell 'tools' "the name of the segment is not repeated" "put name tools
get name"

exits 0 "help lists the verbs" sh -c "echo help | '$SHMKV' attach '$seg'"
ok_if "with scan" grep -q '^  scan' "$tap_dir/out"
not_ok_if "without create" grep -q '^  create' "$tap_dir/out"
exits 0 "help put explains put" sh -c "echo help put | '$SHMKV' attach '$seg'"
ok_if "without NAME" grep -q 'Usage: put .*KEY VALUE' "$tap_dir/out"

# What the manual says of the verbs that the shell has not, against the two lists.
verbs_of() {
	sed -n 's/^  \([a-z][a-z]*\)  .*/\1/p' | sort
}
manual_is_true() {
	"$SHMKV" --help | verbs_of >"$tap_dir/verbs"
	echo help | "$SHMKV" attach "$seg" | verbs_of >"$tap_dir/shell-verbs"
	sed -n '/^# THE SHELL/,/one$/p' "$SRC/docs/shmkv.1.scd" | tr '\n' ' ' |
		sed 's/.*all verbs but\(.*\), without.*/\1/' | grep -o '[a-z][a-z]*[*]' | tr -d '*' |
		sort >"$tap_dir/excepted"
	comm -23 "$tap_dir/verbs" "$tap_dir/shell-verbs" >"$tap_dir/missing"
	cat "$tap_dir/excepted" "$tap_dir/missing"
	[ -s "$tap_dir/missing" ] && cmp "$tap_dir/excepted" "$tap_dir/missing" &&
		[ "$(comm -13 "$tap_dir/verbs" "$tap_dir/shell-verbs")" = exit ]
}
ok_if "the manual names the verbs that the shell has not" manual_is_true

fails() {
	printf '%s\n' "$3" >"$tap_dir/commands"
	exits "$1" "$2" sh -c "'$SHMKV' attach '$seg' <'$tap_dir/commands'"
}
fails 1 "the code of the first failure" "get absent
nonsense
get k"
ok_if "but every line was run" grep -qx v "$tap_dir/out"
fails 2 "an unclosed quote" "get 'k"
ok_if "is said" grep -q "quote is not closed" "$tap_dir/err"
fails 2 "a backslash at the end" 'get k\'
fails 2 "an unknown escape" 'get "\q"'
fails 2 "a NUL byte in a word" 'get "\x00"'
fails 2 "an unknown verb" "nonsense"
fails 2 "a verb of the command line" "create x"
ok_if "is said to be one" grep -q '"create" is a verb of the command line only' "$tap_dir/err"
fails 2 "help on such a verb" "help top"
ok_if "says where it is explained" grep -q 'outside of the shell "shmkv top --help"' "$tap_dir/err"
fails 2 "help on what there is not" "help nonsense"
complains 2 '"exit" is a verb of the shell only' "help on a verb of the shell" "$SHMKV" help exit
fails 2 "standard input as a value" "put k --bin -"
fails 2 "wrong usage does not end the shell" "get
count"
ok_if "and the next line is run" grep -q '^[0-9]*$' "$tap_dir/out"
printf 'get \000k\nget k\n' >"$tap_dir/commands"
exits 2 "a NUL byte in a line" sh -c "'$SHMKV' attach '$seg' <'$tap_dir/commands'"
printf 'get k' >"$tap_dir/commands"
prints v "a last line without its newline" sh -c "'$SHMKV' attach '$seg' <'$tap_dir/commands'"
prints '"v"' "attach --json answers in JSON" sh -c "echo get k | '$SHMKV' attach '$seg' --json"
exits 7 "a full device" sh -c "echo get k | '$SHMKV' attach '$seg' >/dev/full"

# ---- on a terminal ---------------------------------------------------------------------

socket=$tap_dir/tmux
tm() {
	tmux -S "$socket" -f /dev/null "$@"
}
screen_has() {
	i=0
	while [ $i -lt 50 ]; do
		tm capture-pane -t t -p >"$tap_dir/screen"
		grep -qF -e "$1" "$tap_dir/screen" && return 0
		sleep 0.1
		i=$((i + 1))
	done
	cat "$tap_dir/screen"
	return 1
}
if command -v tmux >/dev/null && tm new-session -d -s t -x 100 -y 30 \
	"'$SHMKV' attach '$seg'; echo left with \$?; sleep 30" 2>/dev/null; then
	ok_if "the prompt names the segment" screen_has "$seg>"
	tm send-keys -t t 'get k' Enter
	ok_if "a verb" screen_has "$(printf 'get k\nv')"
	tm send-keys -t t 'put typed first' Enter 'gxt typed' Home Right Right BSpace e Enter
	ok_if "the line can be edited" screen_has first
	tm send-keys -t t 'put again one' Enter 'incr laps' Enter Up Enter Up Enter
	ok_if "the up arrow brings lines back" screen_has "$(printf 'incr laps\n3')"
	tm send-keys -t t 'repl' Tab 'again two' Enter 'get again' Enter
	ok_if "Tab completes a verb" screen_has "$(printf 'replace again two')"
	ok_if "and it is run" screen_has "$(printf '\ntwo')"
	tm send-keys -t t 'c' Tab
	ok_if "Tab lists the candidates" screen_has "count  clear"
	tm send-keys -t t C-c 'exists k' Enter
	ok_if "Ctrl-C gives up the line and not the shell" screen_has true
	ok_if "and shows where" screen_has 'c^C'
	tm send-keys -t t "put esc \"\\x1b[31mred\"" Enter 'get esc' Enter
	ok_if "values cannot command the terminal" screen_has '\x1b[31mred'
	tm send-keys -t t C-d
	ok_if "Ctrl-D leaves" screen_has "left with 0"
	tm kill-server 2>/dev/null
else
	tap_skip "the shell on a terminal" "tmux cannot start here"
fi

tap_end
