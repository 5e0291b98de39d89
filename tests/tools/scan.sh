#!/bin/sh
# SPDX-License-Identifier: MIT

# scan and shmkv-dump show every key once, in all their forms.

. "$(dirname "$0")/kit"

make_segment

awk 'BEGIN { for (i = 0; i < 3000; i++) printf "put key-%04d %d --int\n", i, i
	for (i = 0; i < 50; i++) printf "put other-%d text%d\n", i, i }' |
	"$SHMKV" attach "$seg" || echo "# filling failed"

prints 3050 "count" kv count
prints 3050 "scan prints every key" sh -c "'$SHMKV' scan '$seg' | wc -l"
prints 3050 "each once" sh -c "'$SHMKV' scan '$seg' --keys-only | sort -u | wc -l"
prints 50 "--prefix" sh -c "'$SHMKV' scan '$seg' --prefix other- | wc -l"
prints 7 "--limit" sh -c "'$SHMKV' scan '$seg' --limit 7 | wc -l"
prints "$(printf 'key-0042\t42')" "a line is key, tab, value" kv scan --prefix key-0042
prints "$(printf 'other-7\t"text7"')" "text is in quotes" kv scan --prefix other-7
json '(.entries | length == 3050) and ([.entries[].key] | unique | length == 3050)' \
	"scan --json is one document" kv scan --json
json '.entries == [{"key":"key-0042","value":42}]' "with key and value" \
	kv scan --json --prefix key-0042
json '.entries == [{"key":"key-0042"}]' "or only the key" kv scan --json --prefix key-0042 --keys-only
json '.entries == []' "and empty when nothing matches" kv scan --json --prefix no

pages() {
	cursor=0
	n_pages=0
	: >"$tap_dir/pages"
	while [ "$cursor" != null ]; do
		kv scan --json --limit 100 --cursor "$cursor" >"$tap_dir/page" || return 1
		jq -r '.entries[].key' "$tap_dir/page" >>"$tap_dir/pages"
		cursor=$(jq -r .cursor "$tap_dir/page")
		n_pages=$((n_pages + 1))
		[ "$n_pages" -lt 100 ] || return 1
	done
	[ "$n_pages" -gt 2 ]
}
ok_if "pages follow one another by cursor" pages
prints 3050 "together they have every key" sh -c "sort -u '$tap_dir/pages' | wc -l"
prints 3050 "and none twice" sh -c "wc -l <'$tap_dir/pages'"
exits 0 "without --json" kv scan --limit 10 --cursor 0
ok_if "the next cursor is on standard error" grep -qx 'next cursor: [0-9]*' "$tap_dir/err"
complains 2 "--cursor needs" "a cursor that is no number is refused" kv scan --cursor x
complains 2 "--limit needs" "a limit of 0 is refused" kv scan --limit 0

# ---- dump ----------------------------------------------------------------------------

prints 3051 "dump prints a heading and every key" sh -c "'$SHMKV_DUMP' '$seg' | wc -l"
prints 3050 "dump --ndjson prints every key" sh -c "'$SHMKV_DUMP' '$seg' --ndjson | jq -c .key | wc -l"
prints '{"key":"key-0042","value":42}' "one object a line" dump --ndjson --keys key-0042
json ".segment == \"$seg\" and (.entries | length == 50)" "dump --json --keys" \
	dump --json --keys other-
json '.entries == [{"key_hex":"6b65792d30303432","value_hex":"2a"}]' "dump --json --hex" \
	dump --json --hex --keys key-0042
prints "$(printf '%-24s  %-5s  %10s  %s\n%-24s  %-5s  %10s  %s' KEY TYPE BYTES VALUE key-0042 int 1 42)" \
	"the table" dump --keys key-0042

json '(.leaves | map(.live) | add == 3050) and (.chunks | length > 0) and
	(.leaves | all(.depth >= 0 and .offset > 0))' \
	"dump --layout --json has leaves and chunks; live slots are the keys" dump --layout --json
prints 3050 "dump --layout --ndjson has parts" sh -c "'$SHMKV_DUMP' '$seg' --layout --ndjson |
	jq -s 'map(select(.part == \"leaf\").live) | add'"
exits 0 "dump --layout prints tables" dump --layout
ok_if "with four headings" sh -c "grep -c -e '^ *LEAF ' -e '^ *CHUNK ' -e '^ *PROCESS ' \
	-e '^ *THREAD ' '$tap_dir/out' | grep -qx 4"

# A writer that is attached is seen, with its process number.
mkfifo "$tap_dir/fifo"
"$SHMKV" attach "$seg" <"$tap_dir/fifo" >"$tap_dir/shell" 2>&1 &
shell=$!
exec 3>"$tap_dir/fifo"
echo 'put from-shell 1' >&3
i=0
until kv exists from-shell >/dev/null || [ $i -ge 50 ]; do
	sleep 0.1
	i=$((i + 1))
done
json ".processes | any(.pid == $shell and .alive)" "dump --layout shows who is attached" \
	dump --layout --json
json '.processes >= 1' "info counts it" kv info --json
exec 3>&-
wait $shell

# ---- what keys and values may do to a terminal ------------------------------------------

kv clear >/dev/null
kv put "$(printf 'e\033[31m\tx\n\\')" "$(printf 'v\033[32m\302\233\n')"
kv put --key-hex ff00 --nil
prints "$(printf '%s\n%s' 'e\x1b[31m\tx\n\\' '\xff\x00')" "keys are escaped in scans" \
	sh -c "'$SHMKV' scan '$seg' --keys-only | sort -r"
json '[.entries[].key] | any(. == {"$bin":"/wA="})' "a key that is not UTF-8 in JSON" \
	kv scan --json
on_terminal() {
	script -qec "stty cols 60 2>/dev/null; $1" /dev/null </dev/null >"$tap_dir/terminal"
	! grep -q "$(printf '\033')" "$tap_dir/terminal"
}
if command -v script >/dev/null; then
	ok_if "get escapes control bytes on a terminal" on_terminal \
		"'$SHMKV' get '$seg' --key-hex $(printf 'e\033[31m\tx\n\\' | od -An -tx1 | tr -d ' ')"
	ok_if "and says what they are" grep -qF 'v\x1b[32m\u009b' "$tap_dir/terminal"
	ok_if "dump escapes them too" on_terminal "'$SHMKV_DUMP' '$seg'"
	kv put wide "$(head -c 500 /dev/zero | tr '\0' x)"
	ok_if "dump on a terminal" on_terminal "'$SHMKV_DUMP' '$seg' --keys wide"
	prints 60 "shortens rows to its width" sh -c "tr -d '\r' <'$tap_dir/terminal' | sed 's/…/./' |
		awk '{ n = length(\$0); if (n > m) m = n } END { print m }'"
	ok_if "a failure escapes the words it repeats" on_terminal \
		"'$SHMKV' get \"\$(printf 'a\\033b')\" k 2>&1 || :"
else
	tap_skip "control bytes on a terminal" "script(1) is not installed"
fi

tap_end
