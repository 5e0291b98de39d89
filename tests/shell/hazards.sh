#!/bin/sh
# SPDX-License-Identifier: MIT

# Every row of docs/hazards.md names tests that exist and bear its number, or says why not.

. "$(dirname "$0")/tap.sh"

rows() {
	sed -n 's/^| \([0-9][0-9]*\) |.*/\1/p' "$SRC/docs/hazards.md"
}

# The third column of a row: `file: sentence`, `file: sentence`. Reasons.
evidence() {
	sed -n "s/^| $1 | [^|]* | \(.*\) |\$/\1/p" "$SRC/docs/hazards.md"
}

named() {
	evidence "$1" | grep -o '`[^`]*`' | tr -d '`'
}

# bears FILE SENTENCE NUMBER: the sentence is that of a test, and the line above it, or its own, has
# the number of the hazard.
bears() {
	awk -v sentence="\"$2\"" -v number="$3" '
	function has(line) {
		return line ~ ("hazards? ([0-9, ]* )?" number "([^0-9]|$)")
	}
	index($0, sentence) && $0 !~ /^ \*|\/\// { found = has($0) || has(last) }
	{ last = $0 }
	END { exit !found }' "$1"
}

row_holds() {
	named "$1" >"$tap_dir/named"
	if [ ! -s "$tap_dir/named" ]; then
		[ "$(evidence "$1" | wc -w)" -gt 5 ] || { echo "neither test nor reason"; return 1; }
	fi
	while IFS= read -r test; do
		file=${test%%: *}
		case $file in
		shell/*.sh)
			grep -q "hazard $1\$" "$SRC/tests/$file" && continue
			;;
		*.h)
			bears "$SRC/tests/$file" "${test#*: }" "$1" && continue
			;;
		*)
			bears "$SRC/tests/test-$file.c" "${test#*: }" "$1" && continue
			;;
		esac
		echo "no test that bears number $1: $test"
		return 1
	done <"$tap_dir/named"
}

# No number may be left out, and none may stand twice.
ok_if "there are 32 hazards in order" \
	[ "$(rows | tr '\n' ' ')" = "$(seq -s ' ' 32) " ]
for n in $(rows); do
	ok_if "hazard $n has a test or a reason" row_holds "$n"
done

# The other way round: a number in a test stands in the table.
backward() {
	grep -rhoE 'hazards? [0-9]+(, [0-9]+)*' "$SRC"/tests/test-*.c "$SRC"/tests/conformance.h |
		grep -oE '[0-9]+' | sort -nu >"$tap_dir/borne"
	rows | sort -n >"$tap_dir/rows"
	while read -r n; do
		grep -qx "$n" "$tap_dir/rows" || { echo "hazard $n is not in the table"; return 1; }
	done <"$tap_dir/borne"
}
ok_if "a number that a test bears is in the table" backward
tap_end
