#!/bin/sh
# SPDX-License-Identifier: MIT

# What README.md shows in C and in a shell works as it stands after a build, but for the name of
# the map, which may be somebody's.

. "$(dirname "$0")/tap.sh"

map=readme-$$
clean() {
	rm -f "/dev/shm/shmkv.$map"
	rm -rf "$tap_dir"
}
trap clean EXIT

# section HEADING: its text.
section() {
	sed -n "/^## $1\$/,/^## /p" "$SRC/README.md" | sed "1d;/^## /d; s/\\bsite\\b/$map/g"
}

# The reader stands in the directory where build/ is, and has installed nothing.
ln -s "$BUILD" "$tap_dir/build"
cd "$tap_dir" || exit 1
unset PKG_CONFIG_PATH LD_LIBRARY_PATH LD_RUN_PATH
cc() {
	command $CC "$@"
}

section "In C" >in-c
sed -n '/^```c$/,/^```$/p' in-c | grep -v '^```' >"$map.c"
sed -n 's/^    //p' in-c >in-c.sh

in_c() {
	[ "$(wc -l <in-c.sh)" -eq 3 ] || { cat in-c.sh; return 1; }
	(set -e; . ./in-c.sh) >printed 2>&1
	status=$?
	cat printed
	[ $status -eq 0 ] && grep -qx '1 visits' printed
}

# A line that begins with a dollar sign is run; those that follow are what it prints, if any do.
section "In a shell" | sed -n 's/^    //p' >in-shell
awk '
	/^[$] / { sub(/^[$] /, ""); print >("command-" ++n); next }
	{ print >("wanted-" n) }
' in-shell

in_shell() {
	n=0
	while [ -f "command-$((n + 1))" ]; do
		n=$((n + 1))
		cat "command-$n"
		. "./command-$n" >"printed-$n" 2>&1 || { cat "printed-$n"; return 1; }
		[ ! -f "wanted-$n" ] || diff "wanted-$n" "printed-$n" || return 1
	done
	[ $n -ge 7 ] && [ "$(cat wanted-* | wc -l)" -ge 2 ]
}

ok_if "the program and the lines below it" in_c
ok_if "what was typed in a shell" in_shell
ok_if "neither leaves a map" [ ! -e "/dev/shm/shmkv.$map" ]

tap_end
