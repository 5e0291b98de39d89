#!/bin/sh
# SPDX-License-Identifier: MIT

# Each public header stands alone, in C and in C++.

. "$(dirname "$0")/tap.sh"

compiles() {
	header=$1
	shift
	printf '#include <shmkv/%s>\n#include <shmkv/%s>\n' "$header" "$header" >"$tap_dir/alone.$suffix"
	# A C++ compiler that is called for a .c file would compile C.
	"$@" -Wall -Wextra -Werror -I"$SRC/include" -c "$tap_dir/alone.$suffix" -o "$tap_dir/alone.o"
}

for path in "$SRC"/include/shmkv/*.h; do
	header=${path##*/}
	suffix=c
	# Not pedantic: the unnamed union of struct shmkv_value came with C11.
	ok_if "$header stands alone in C99" compiles "$header" $CC -std=c99
	ok_if "$header stands alone in C11" compiles "$header" $CC -std=c11 -pedantic
	ok_if "$header stands alone in gnu11" compiles "$header" $CC -std=gnu11 -pedantic -Wshadow
	suffix=cc
	if [ -n "$CXX" ]; then
		ok_if "$header stands alone in C++11" compiles "$header" "$CXX" -std=c++11 -pedantic
		ok_if "$header stands alone in C++17" compiles "$header" "$CXX" -std=c++17 -pedantic
	else
		tap_skip "$header stands alone in C++11" "no C++ compiler"
	fi
done

tap_end
