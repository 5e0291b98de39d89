#!/bin/sh
# SPDX-License-Identifier: MIT

# The shared library exports what the headers declare: no more, no less, and the version
# script says the same.

. "$(dirname "$0")/tap.sh"

# Functions that a header declares at file level; inline ones end in a body, not in ';'.
declared() {
	for header in "$SRC"/include/shmkv/*.h; do
		echo "#include <shmkv/${header##*/}>"
	done >"$tap_dir/all.c"
	$CC -E -P -I"$SRC/include" "$tap_dir/all.c" | tr '\n' ' ' | awk '
	{
		depth = 0
		text = ""
		n = split($0, c, "")
		for (i = 1; i <= n; i++) {
			if (c[i] == "{") {
				depth++
			} else if (c[i] == "}") {
				if (--depth == 0)
					text = ""
			} else if (depth == 0 && c[i] == ";") {
				if (match(text, /shmkv_[a-z0-9_]+ *\(/))
					print substr(text, RSTART, RLENGTH - 1)
				text = ""
			} else if (depth == 0) {
				text = text c[i]
			}
		}
	}' | tr -d ' ' | sort
}

listed() {
	sed 's,/\*.*\*/,,' "$SRC/api/shmkv.map" | grep -o 'shmkv_[a-z0-9_*]*;' | tr -d ';' | sort
}

exported() {
	nm -D --defined-only "$LIBSHMKV" | awk '$2 != "A" { sub(/@.*/, "", $3); print $3 }' | sort
}

declared >"$tap_dir/declared"
listed >"$tap_dir/listed"
exported >"$tap_dir/exported"

ok_if "the headers declare functions" grep -qx shmkv_put "$tap_dir/declared"
ok_if "the library exports what the headers declare" diff "$tap_dir/declared" "$tap_dir/exported"
ok_if "the version script lists what the headers declare" diff "$tap_dir/declared" "$tap_dir/listed"
ok_if "every exported symbol begins with shmkv_" sh -c '! grep -v "^shmkv_" "$1"' sh "$tap_dir/exported"

tap_end
