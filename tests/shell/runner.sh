#!/bin/sh
# SPDX-License-Identifier: MIT

# The front ends report what really happened: a runner that cannot fail proves nothing.

. "$(dirname "$0")/tap.sh"

SAMPLES_PID_FILE=$tap_dir/pid
export SAMPLES_PID_FILE

# The child of the test that hung is gone, or a zombie that nobody has collected yet.
hung_child_is_gone() {
	state=$(sed 's/.*) //; s/ .*//' "/proc/$(cat "$SAMPLES_PID_FILE")/stat" 2>/dev/null)
	[ -z "$state" ] || [ "$state" = Z ]
}

"$SAMPLES" >"$tap_dir/plain" 2>"$tap_dir/plain.err"
plain_status=$?

ok_if "plain: exit status 1 when tests fail" [ $plain_status -eq 1 ]
ok_if "plain: the plan comes first" grep -qx '1\.\.10' "$tap_dir/plain"
ok_if "plain: a passing test" grep -qx 'ok 1 - samples: passes' "$tap_dir/plain"
ok_if "plain: a failed check names the place and the expression" \
	grep -q '^# .*runner-samples\.c:[0-9]*: does not hold: 1 + 1 == 3$' "$tap_dir/plain"
ok_if "plain: -1 and UINT64_MAX differ" \
	grep -q -- '^# .*: -1 is -1, but .* is 18446744073709551615$' "$tap_dir/plain"
ok_if "plain: the first different byte" grep -q '^# .* differ at byte 2: 63 64 / 78 64 ' "$tap_dir/plain"
ok_if "plain: texts are shown" grep -q '^# .* is "left", but .* is "right"$' "$tap_dir/plain"
ok_if "plain: a skipped test says why" \
	grep -qx 'ok 6 - samples: is skipped # SKIP no moon tonight' "$tap_dir/plain"
ok_if "plain: a crash is a failure" grep -q '^# ended by signal 6' "$tap_dir/plain"
ok_if "plain: a hanging test is a failure" grep -qx '# not finished after 1 seconds' "$tap_dir/plain"
ok_if "plain: what it had started is killed with it" hung_child_is_gone
ok_if "plain: a failure in a child is a failure" grep -qx 'not ok 9 - samples: fails in a child' "$tap_dir/plain"
ok_if "plain: a wanted kill is none" grep -qx 'ok 10 - samples: wants a kill' "$tap_dir/plain"
ok_if "plain: seven of ten fail" [ "$(grep -c '^not ok' "$tap_dir/plain")" -eq 7 ]

ok_if "plain: one selected test passes" "$SAMPLES" passes
not_ok_if "plain: a selection of nothing fails" "$SAMPLES" "no such name"
ok_if "plain: --list prints every name" [ "$("$SAMPLES" --list | wc -l)" -eq 10 ]
ok_if "plain: --no-fork passes" "$SAMPLES" --no-fork passes
ok_if "plain: --no-fork goes on after a skip" "$SAMPLES" --no-fork skipped kill
not_ok_if "plain: --no-fork fails" "$SAMPLES" --no-fork "fails a check"

if [ -n "$SAMPLES_CRITERION" ]; then
	# Through a pipe: the front end opens its output by name and would truncate a file.
	{ "$SAMPLES_CRITERION" --tap=/dev/stdout -j1 2>/dev/null; echo "exit $?"; } |
		cat >"$tap_dir/criterion"
	ok_if "criterion: exit status 1 when tests fail" grep -q 'exit 1$' "$tap_dir/criterion"
	ok_if "criterion: every row is counted" grep -qx '1\.\.10' "$tap_dir/criterion"
	ok_if "criterion: seven of ten fail" [ "$(grep -c '^not ok' "$tap_dir/criterion")" -eq 7 ]
	ok_if "criterion: a failure says why" grep -q '1 + 1 == 3' "$tap_dir/criterion"
	ok_if "criterion: a skipped test is no failure" \
		grep -q '^ok - samples::is_skipped .*SKIP' "$tap_dir/criterion"
	ok_if "criterion: a hanging test is killed with its children" hung_child_is_gone
fi

# ---- totals -------------------------------------------------------------------------

# testlog NAME STATUS RESULT STDOUT: one line of meson's log.
testlog() {
	printf '{"name": "p:unit / %s", "stdout": "%s", "result": "%s", "duration": 1.0, "returncode": %s}\n' \
		"$1" "$4" "$3" "$2" >>"$tap_dir/log"
}

last_line_is() {
	"$SRC/tests/totals" "$tap_dir/log" >"$tap_dir/totals"
	totals_status=$?
	tail -n 1 "$tap_dir/totals"
	rm "$tap_dir/log"
	[ "$(tail -n 1 "$tap_dir/totals")" = "$2" ] && [ $totals_status -eq "$1" ]
}

testlog good 0 OK '1..3\nok 1 - a\nok 2 - b\nok 3 - c # SKIP none here\n'
testlog better 0 OK 'ok - d (0.1s)\n1..1\n'
ok_if "totals: single tests are counted" last_line_is 0 "3 passed, 0 failed, 1 skipped"
testlog good 0 OK '1..1\nok 1 - a\n'
testlog bad 1 ERROR '1..2\nok 1 - a\nnot ok 2 - b\n# because\n'
ok_if "totals: a failure is counted once" last_line_is 1 "2 passed, 1 failed"
ok_if "totals: a failure is shown with its reason" grep -q '^ *because$' "$tap_dir/totals"
testlog crashed -11 ERROR '1..3\nok 1 - a\n'
ok_if "totals: a program that stopped early is a failure" last_line_is 1 "1 passed, 1 failed"
testlog leaked 23 ERROR '1..1\nok 1 - a\n'
ok_if "totals: a bad exit status after good tests is a failure" last_line_is 1 "1 passed, 1 failed"
testlog silent 0 SKIP ''
ok_if "totals: a program that says nothing is a failure" last_line_is 1 "0 passed, 1 failed"
testlog timeout -9 TIMEOUT ''
ok_if "totals: a program that hangs is a failure" last_line_is 1 "0 passed, 1 failed"
testlog skipped 0 SKIP '1..0 # SKIP no such thing\n'
ok_if "totals: nothing but skipped tests is no success" last_line_is 1 "0 passed, 0 failed, 1 skipped"
: >"$tap_dir/log"
ok_if "totals: an empty log is a failure" last_line_is 1 "0 passed, 1 failed"

tap_end
