#!/bin/sh
# SPDX-License-Identifier: MIT

# What is installed is enough to build against: headers, library, pkg-config file; and to
# learn from.

. "$(dirname "$0")/tap.sh"

root=$tap_dir/root

install_all() {
	DESTDIR=$root meson install -C "$BUILD" --no-rebuild --quiet
}

pc_dir() {
	dirname "$(find "$root" -name shmkv.pc)"
}

# Paths in the file are those of the real prefix; the sysroot puts them under $root.
flags() {
	PKG_CONFIG_SYSROOT_DIR=$root PKG_CONFIG_PATH=$(pc_dir) pkg-config "$@" shmkv
}

build_program() {
	cat >"$tap_dir/user.c" <<-END
		#include <shmkv/shmkv.h>
		#include <stdio.h>
		#include <string.h>
		int main(void)
		{
			printf("%s\n", shmkv_version());
			return strcmp(shmkv_errname(0), "OK") != 0;
		}
	END
	$CC $(flags --cflags) "$tap_dir/user.c" -o "$tap_dir/user" $(flags --libs)
}

run_program() {
	LD_LIBRARY_PATH=$(dirname "$(find "$root" -name libshmkv.so)") "$tap_dir/user"
}

readme_builds() {
	sed -n '/^```c$/,/^```$/p' "$SRC/README.md" | grep -v '^```' >"$tap_dir/readme.c"
	$CC -Wall -Wextra -Werror $(flags --cflags) "$tap_dir/readme.c" -o "$tap_dir/readme" \
		$(flags --libs)
}

# Every one that there is, the same, and to be built with what is installed.
examples_are_there() {
	there=$(find "$root" -path '*/share/doc/shmkv/examples' -type d)
	for example in "$SRC"/examples/*.c; do
		cmp "$example" "$there/${example##*/}" || return 1
		$CC -std=gnu11 -Wall -Werror -fsyntax-only $(flags --cflags) "$there/${example##*/}" || return 1
	done
}

same_version() {
	[ "$(flags --modversion)" = "$(run_program)" ]
}

ok_if "meson install works into an empty directory" install_all
ok_if "a program builds with what pkg-config says" build_program
ok_if "it runs against the installed library" run_program
ok_if "pkg-config and the library agree about the version" same_version
ok_if "the program in README.md builds" readme_builds
ok_if "the examples are installed" examples_are_there

tap_end
