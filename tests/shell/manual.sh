#!/bin/sh
# SPDX-License-Identifier: MIT

# The manual pages are well formed and leave out no header, no call and no error code.

. "$(dirname "$0")/tap.sh"

# scdoc always writes a paragraph after a heading; that one warning is its, not ours.
lint() {
	mandoc -T lint -W warning "$1" | grep -v 'skipping paragraph macro: PP' >"$tap_dir/lint"
	cat "$tap_dir/lint"
	[ ! -s "$tap_dir/lint" ]
}

text_of() {
	mandoc -T utf8 -O width=200 "$BUILD/docs/$1" | sed "s/.$(printf '\b')//g"
}

# all_in FILE WORDS...: every word is in the file; says which are not.
all_in() {
	file=$1
	shift
	missing=0
	for word in "$@"; do
		grep -q -w -e "$word" "$file" || { echo "missing: $word"; missing=1; }
	done
	return $missing
}

if ! command -v mandoc >/dev/null || [ ! -f "$BUILD/docs/shmkv.3" ]; then
	tap_skip "manual pages" "scdoc or mandoc is not installed"
	tap_end
fi

for page in "$BUILD"/docs/*.[1-8]; do
	ok_if "${page##*/} has no fault" lint "$page"
done

# section FILE HEADING: its text in the source.
section() {
	sed -n "/^# $2\$/,/^# /p" "$1" | sed '1d;/^# /d'
}

synopsis_is_whole() {
	section "$SRC/docs/shmkv.3.scd" SYNOPSIS | sed -n 's,.*<shmkv/\(.*\)>.*,\1,p' | sort >"$tap_dir/named"
	(cd "$SRC/include/shmkv" && ls *.h) | sort >"$tap_dir/headers"
	diff "$tap_dir/headers" "$tap_dir/named"
}
ok_if "shmkv(3) names the headers that there are" synopsis_is_whole

# Pages of other projects that ours may lead to.
elsewhere="fork.2 poll.2 shm_open.3 shm_overview.7"

pages_named_in() {
	section "$1" "SEE ALSO" | grep -o '[*][a-z_-]*[*]([1-8])' | sed 's/[*]//g; s/(/./; s/)//'
}

leads_somewhere() {
	lost=0
	pages_named_in "$1" >"$tap_dir/pages"
	while read -r named; do
		[ -f "$SRC/docs/$named.scd" ] && continue
		case " $elsewhere " in *" $named "*) continue ;; esac
		echo "there is no $named"
		lost=1
	done <"$tap_dir/pages"
	[ -s "$tap_dir/pages" ] && return $lost
}

names_all_pages() {
	pages_named_in "$SRC/docs/shmkv.1.scd" | sort >"$tap_dir/named"
	(cd "$SRC/docs" && ls *.scd) | sed 's/[.]scd$//' | grep -vx shmkv.1 | sort >"$tap_dir/pages"
	diff "$tap_dir/pages" "$tap_dir/named"
}

for page in "$SRC"/docs/*.scd; do
	page_name=${page##*/}
	ok_if "what ${page_name%.scd} leads to exists" leads_somewhere "$page"
done
ok_if "shmkv(1) leads to every other page" names_all_pages

# blocks FILE: every literal block as a file of its own, $tap_dir/block-N.c. One that is indented
# is the inside of a function that has a handle. What the program around it would have done
# comes before it, and the number of the line in the page.
blocks() {
	rm -f "$tap_dir"/block-*.c
	awk -v out="$tap_dir/block-" '
		/^```$/ { inside = !inside; if (!inside && file) { if (body) print "}" >file; close(file) } file = ""; next }
		!inside { next }
		!file {
			file = out (++n) ".c"
			body = /^\t/
			print "#include \"prologue.h\"" >file
			if (body) print "void snippet(struct shmkv *kv);\nvoid snippet(struct shmkv *kv)\n{" >file
			print "#line " NR " \"shmkv.3.scd\"" >file
		}
		{ gsub(/\\\\/, "\\"); print >file }
	' "$1"
}

# Which headers of ours a program of its own needs is for the block to say.
cat >"$tap_dir/prologue.h" <<-END
	#include <errno.h>
	#include <poll.h>
	#include <stdbool.h>
	#include <stdio.h>
	#include <string.h>
	#include <sys/eventfd.h>
	#include <unistd.h>
	#include <shmkv/wait.h>
	void look_at_it(struct shmkv *kv);
END

blocks_compile() {
	blocks "$1"
	set -- "$tap_dir"/block-*.c
	[ $# -ge 9 ] || { echo "only $# blocks were found"; return 1; }
	for block in "$@"; do
		$CC -std=gnu11 -Wall -Werror -fsyntax-only -I"$SRC/include" "$block" || return 1
	done
}
ok_if "what shmkv(3) shows in C compiles" blocks_compile "$SRC/docs/shmkv.3.scd"

examples_are_listed() {
	section "$SRC/docs/shmkv.3.scd" EXAMPLES | grep '^[*]' | grep -o '[a-z-]*[.]c' | sort >"$tap_dir/named"
	(cd "$SRC/examples" && ls *.c) | sort >"$tap_dir/examples"
	diff "$tap_dir/examples" "$tap_dir/named"
}
ok_if "shmkv(3) lists the programs of examples/" examples_are_listed

text_of shmkv.3 >"$tap_dir/shmkv.3"
codes=$(grep -o '^ \*  -E[A-Z]*' "$SRC/include/shmkv/shmkv.h" | tr -d ' *')
calls=$(nm -D --defined-only "$LIBSHMKV" | awk '$2 != "A" { sub(/@.*/, "", $3); print $3 }')
ok_if "the table of codes in shmkv.h was found" [ "$(echo "$codes" | wc -l)" -ge 26 ]
ok_if "shmkv(3) has every error code" all_in "$tap_dir/shmkv.3" $codes
ok_if "shmkv(3) has every call" all_in "$tap_dir/shmkv.3" $calls

tap_end
