# SPDX-License-Identifier: MIT
#
# tap: TAP output for shell tests. Source it, set up, then say what holds:
#
#	ok_if "a sentence" command args...       the command must succeed
#	not_ok_if "a sentence" command args...   the command must fail
#	tap_skip "a sentence" "why"
#	tap_end                                  the last line: prints the plan, exits
#
# What a command prints is shown only when it fails. $tap_dir is a private directory that
# is gone at the end.

tap_n=0
tap_failed=0
tap_dir=$(mktemp -d) || exit 1
trap 'rm -rf "$tap_dir"' EXIT
trap 'exit 1' HUP INT TERM

tap_report() {
	tap_n=$((tap_n + 1))
	if [ "$1" -eq 0 ]; then
		echo "ok $tap_n - $2"
	else
		tap_failed=1
		echo "not ok $tap_n - $2"
		sed 's/^/# /' "$tap_dir/output"
	fi
}

ok_if() {
	tap_name=$1
	shift
	"$@" >"$tap_dir/output" 2>&1
	tap_report $? "$tap_name"
}

not_ok_if() {
	tap_name=$1
	shift
	if "$@" >"$tap_dir/output" 2>&1; then
		tap_report 1 "$tap_name"
	else
		tap_report 0 "$tap_name"
	fi
}

tap_skip() {
	tap_n=$((tap_n + 1))
	echo "ok $tap_n - $1 # SKIP $2"
}

tap_end() {
	echo "1..$tap_n"
	exit $tap_failed
}
