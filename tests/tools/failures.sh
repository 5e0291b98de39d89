#!/bin/sh
# SPDX-License-Identifier: MIT

# Wrong input, missing permission and full devices: each has its exit code and its words.

. "$(dirname "$0")/kit"

make_segment --mode 0644
kv put k v

# ---- usage: 2 ------------------------------------------------------------------------

complains 2 "a verb is missing" "no verb" "$SHMKV"
complains 2 'no verb "nonsense"' "unknown verb" "$SHMKV" nonsense
complains 2 'unknown option "--nonsense"' "unknown option before the verb" "$SHMKV" --nonsense
complains 2 '"--nonsense"' "unknown option" kv get k --nonsense
complains 2 '"-x"' "unknown short option" kv get k -x
complains 2 '"--prefix"' "an option without its value" kv scan --prefix
complains 2 "NAME is missing" "no name" "$SHMKV" get
complains 2 "KEY is missing" "no key" kv get
complains 2 "VALUE is missing" "no value" kv put k
complains 2 'unexpected word "w"' "a word too many" kv put k v w
complains 2 "one type" "two types" kv put k 1 --int --float
complains 2 "exclude" "two sources" kv put k --bin /dev/null --from /dev/null
complains 2 "exclude" "--raw and --hex" kv get k --raw --hex
complains 2 "exclude" "--raw and --json" kv get k --raw --json
complains 2 '"exit" is a verb of the shell only' "exit is no verb of the command line" "$SHMKV" exit
complains 2 "NAME is missing" "dump without a name" "$SHMKV_DUMP"
complains 2 'unexpected word "x"' "dump with two" dump x
complains 2 "exclude" "dump in two forms" dump --json --ndjson
complains 2 "--layout" "dump --layout --keys" dump --layout --keys x
for bad in .hidden a/b 'a b' ../x '' nosuch:x "$(head -c 201 /dev/zero | tr '\0' n)"; do
	exits 2 "the name '$(printf %.20s "$bad")' is refused" "$SHMKV" get "$bad" k
	exits 2 "by dump too" "$SHMKV_DUMP" "$bad"
	exits 2 "and by create" "$SHMKV" create "$bad"
done

for verb in create attach unlink list info get put add replace cas append incr del take exists \
	count clear scan recover check help; do
	exits 0 "$verb --help" "$SHMKV" "$verb" --help
	ok_if "explains $verb" grep -q "Usage: shmkv $verb" "$tap_dir/out"
	exits 0 "$verb --version" "$SHMKV" "$verb" --version
	exits 2 "$verb refuses an unknown option" "$SHMKV" "$verb" --nonsense
done
exits 0 "--help" "$SHMKV" --help
exits 0 "help get" "$SHMKV" help get
complains 2 'no verb "x"' "help on what there is not" "$SHMKV" help x
exits 0 "--version" "$SHMKV" --version
ok_if "prints name and number" grep -qx 'shmkv [0-9]*\.[0-9]*\.[0-9]*' "$tap_dir/out"
exits 0 "dump --help" "$SHMKV_DUMP" --help
exits 0 "dump --version" "$SHMKV_DUMP" --version

# ---- no such segment, or not one: 3 ----------------------------------------------------

for verb in info count scan recover check unlink attach clear; do
	complains 3 "no such segment" "$verb on nothing" "$SHMKV" "$verb" "$seg-none"
done
complains 3 "no such segment" "get on nothing" "$SHMKV" get "$seg-none" k
complains 3 "shmkv create" "put on nothing says what to do" "$SHMKV" put "$seg-none" k v
complains 3 "no such segment" "dump on nothing" "$SHMKV_DUMP" "$seg-none"

head -c 100000 /dev/urandom >"/dev/shm/shmkv.$seg-junk"
cp "/dev/shm/shmkv.$seg-junk" "$tap_dir/junk"
: >"/dev/shm/shmkv.$seg-empty"
for verb in info recover unlink; do
	complains 3 "not a shmkv" "$verb refuses a file that is no segment" "$SHMKV" "$verb" "$seg-junk"
	complains 3 "not a shmkv" "$verb refuses an empty file" "$SHMKV" "$verb" "$seg-empty"
done
complains 3 "not a shmkv" "dump refuses it" "$SHMKV_DUMP" "$seg-junk"
ok_if "the file is left alone" cmp "$tap_dir/junk" "/dev/shm/shmkv.$seg-junk"
exits 1 "create does not replace it" "$SHMKV" create "$seg-junk"
exits 0 "list goes on over it" "$SHMKV" list
ok_if "and names the good one" grep -q "^$seg " "$tap_dir/out"
rm -f "/dev/shm/shmkv.$seg-junk" "/dev/shm/shmkv.$seg-empty"

# The format version is the word behind the eight bytes of the magic number.
"$SHMKV" create "$seg-other" --size 1M
printf '\377' | dd of="/dev/shm/shmkv.$seg-other" bs=1 seek=8 conv=notrunc 2>/dev/null
complains 3 "another format version" "info on a segment of another version" \
	"$SHMKV" info "$seg-other"
complains 3 "another format version" "put on it" "$SHMKV" put "$seg-other" k v
complains 3 "another format version" "dump of it" "$SHMKV_DUMP" "$seg-other"
rm -f "/dev/shm/shmkv.$seg-other"

# ---- permissions: 4 --------------------------------------------------------------------

as_nobody() {
	setpriv --reuid=65534 --clear-groups "$@"
}
prints v "get of a segment one may only read" kv get k
if [ "$(id -u)" -eq 0 ] && command -v setpriv >/dev/null && as_nobody "$SHMKV" --version >/dev/null; then
	prints v "a read-only user can get" as_nobody "$SHMKV" get "$seg" k
	prints "$(printf 'k\t"v"')" "and scan" as_nobody "$SHMKV" scan "$seg"
	prints '{"key":"k","value":"v"}' "and dump" as_nobody "$SHMKV_DUMP" "$seg" --ndjson
	exits 0 "and check" as_nobody "$SHMKV" check "$seg"
	exits 0 "and see the layout" as_nobody "$SHMKV_DUMP" "$seg" --layout
	complains 4 "permissions do not allow" "but not put" as_nobody "$SHMKV" put "$seg" k w
	complains 4 "permissions do not allow" "nor del" as_nobody "$SHMKV" del "$seg" k
	complains 4 "permissions do not allow" "nor recover" as_nobody "$SHMKV" recover "$seg"
	complains 4 "permissions do not allow" "nor unlink" as_nobody "$SHMKV" unlink "$seg"
	prints v "nothing changed" kv get k
	"$SHMKV" create "$seg-private" --size 1M
	complains 4 "permissions do not allow" "a private segment cannot be read" \
		as_nobody "$SHMKV" get "$seg-private" k
	exits 0 "list goes on over it" as_nobody "$SHMKV" list
	ok_if "and says why it cannot look into it" grep -q "^$seg-private .*EACCES" "$tap_dir/out"
	"$SHMKV" unlink "$seg-private"
else
	tap_skip "a read-only user" "needs root and setpriv, and the tools readable by others"
fi
echo 'put k w' >"$tap_dir/commands"
complains 4 "read-only" "put in a read-only shell" sh -c \
	"'$SHMKV' attach '$seg' --read-only <'$tap_dir/commands'"
echo 'get k' >"$tap_dir/commands"
prints v "get in a read-only shell" sh -c \
	"'$SHMKV' attach '$seg' --read-only <'$tap_dir/commands'"

# ---- no space: 5 -----------------------------------------------------------------------

"$SHMKV" create "$seg-small" --size 1M
head -c 3000000 /dev/zero >"$tap_dir/large"
complains 5 "can never fit" "a value larger than the segment" \
	"$SHMKV" put "$seg-small" k --bin "$tap_dir/large"
complains 5 "can never fit" "from standard input too" sh -c \
	"'$SHMKV' put '$seg-small' k --bin - <'$tap_dir/large'"
awk 'BEGIN { for (i = 0; i < 40000; i++) printf "put key-%d %064d\n", i, i }' >"$tap_dir/commands"
"$SHMKV" attach "$seg-small" <"$tap_dir/commands" >"$tap_dir/out" 2>"$tap_dir/err"
filled=$?
ok_if "a full segment exits with 5" [ "$filled" -eq 5 ]
ok_if "and says so" grep -q "is full" "$tap_dir/err"
exits 0 "its keys can still be read" "$SHMKV" get "$seg-small" key-0
exits 0 "and removed" "$SHMKV" del "$seg-small" key-0
exits 0 "and cleared" "$SHMKV" clear "$seg-small"
exits 0 "and then there is space again" "$SHMKV" put "$seg-small" key-0 v
json '.violations == 0 and .leaked_bytes == 0' "it is sound" "$SHMKV" check "$seg-small" --json
"$SHMKV" unlink "$seg-small"

# Two slots: one for a writer that stays, one for the verbs. The third has none.
"$SHMKV" create "$seg-slots" --size 1M --max-processes 1
mkfifo "$tap_dir/fifo"
"$SHMKV" attach "$seg-slots" <"$tap_dir/fifo" >"$tap_dir/shell" 2>&1 &
shell=$!
exec 3>"$tap_dir/fifo"
echo 'put ready 1' >&3
i=0
until "$SHMKV" exists "$seg-slots" ready >/dev/null || [ $i -ge 50 ]; do
	sleep 0.1
	i=$((i + 1))
done
complains 5 "slot" "no process slot left" "$SHMKV" put "$seg-slots" k v
prints 1 "reading needs none" "$SHMKV" get "$seg-slots" ready
exec 3>&-
wait $shell
exits 0 "the slot comes back when its owner leaves" "$SHMKV" put "$seg-slots" k v
"$SHMKV" unlink "$seg-slots"

# ---- damaged: 6 ------------------------------------------------------------------------

"$SHMKV" create "$seg-bad" --size 1M
awk 'BEGIN { for (i = 0; i < 500; i++) printf "put key-%d value-%d\n", i, i }' |
	"$SHMKV" attach "$seg-bad"
# One byte over everything but the first page, which says that it is one of ours.
size=$(stat -c %s "/dev/shm/shmkv.$seg-bad")
head -c $((size - 4096)) /dev/zero | tr '\0' '\245' |
	dd of="/dev/shm/shmkv.$seg-bad" bs=4096 seek=1 conv=notrunc 2>/dev/null
for verb in check scan; do
	exits 6 "$verb on a damaged segment" "$SHMKV" "$verb" "$seg-bad"
done
complains 6 "contradicts itself" "get on a damaged segment" "$SHMKV" get "$seg-bad" key-1
exits 6 "dump on a damaged segment" "$SHMKV_DUMP" "$seg-bad"
exits 6 "dump --json on a damaged segment" "$SHMKV_DUMP" "$seg-bad" --json
ok_if "the document is still JSON, with the error in it" \
	jq -e '.error == "EBADMSG" and (.entries | type == "array")' "$tap_dir/out"
exits 6 "check --json on a damaged segment" "$SHMKV" check "$seg-bad" --json
ok_if "lists the violations" jq -e '(.list | length > 0) and .violations > 0' "$tap_dir/out"
rm -f "/dev/shm/shmkv.$seg-bad"

# ---- output that cannot be written: 7 ----------------------------------------------------

full() {
	"$@" >/dev/full 2>"$tap_dir/err"
	[ $? -eq 7 ] && grep -q "No space left on device" "$tap_dir/err"
}
ok_if "get to a full device" full kv get k
ok_if "get --raw to a full device" full kv get k --raw
ok_if "scan to a full device" full kv scan
ok_if "info to a full device" full kv info
ok_if "list to a full device" full "$SHMKV" list
ok_if "--help to a full device" full "$SHMKV" get --help
ok_if "the overview to a full device" full "$SHMKV" --help
ok_if "dump to a full device" full dump
ok_if "dump --json to a full device" full dump --json
ok_if "dump --layout to a full device" full dump --layout
awk 'BEGIN { for (i = 0; i < 20000; i++) printf "put key-%d value-%d\n", i, i }' |
	"$SHMKV" attach "$seg"
closed_pipe() {
	{ "$@" 2>"$tap_dir/err"; echo $? >"$tap_dir/code"; } | head -n 1 >/dev/null
	[ "$(cat "$tap_dir/code")" -ne 0 ] && [ ! -s "$tap_dir/err" ]
}
ok_if "scan into a closed pipe ends silently" closed_pipe kv scan
ok_if "dump into a closed pipe ends silently" closed_pipe dump
ignoring() {
	(trap '' PIPE; { kv scan 2>"$tap_dir/err"; echo $? >"$tap_dir/code"; } | head -n 1 >/dev/null)
	[ "$(cat "$tap_dir/code")" -eq 7 ] && grep -q "Broken pipe" "$tap_dir/err"
}
ok_if "where SIGPIPE is ignored it says so" ignoring

tap_end
