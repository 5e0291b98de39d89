#!/bin/sh
# SPDX-License-Identifier: MIT

# Two users on one machine: with mode 0644 the other one reads, scans and dumps, cannot write,
# and is told so; with mode 0600 cannot do anything; and can never remove what is not his.
# A map of mode 0666 belongs to both; one of the other user is recovered after a kill.
# hazard 18

. "$(dirname "$0")/../tools/kit"

if [ "$(id -u)" -ne 0 ] || ! command -v setpriv >/dev/null; then
	echo "1..0 # SKIP needs to be root, and setpriv, to become somebody else"
	exit 0
fi

# The other user, who may not be able to look into the build directory.
libs=$(dirname "$LIBSHMKV")
mkdir "$tap_dir/bin"
cp "$SHMKV" "$SHMKV_DUMP" "$libs"/libshmkv.so* "$tap_dir/bin" 2>/dev/null
chmod 755 "$tap_dir" "$tap_dir/bin" "$tap_dir/bin"/*
as_other() {
	setpriv --reuid 65534 --regid 65534 --clear-groups --inh-caps=-all \
		env LD_LIBRARY_PATH="$tap_dir/bin" "$@"
}
theirs() {
	verb=$1
	shift
	as_other "$tap_dir/bin/shmkv" "$verb" "$@"
}

if ! as_other "$tap_dir/bin/shmkv" --version >/dev/null 2>&1; then
	echo "1..0 # SKIP another user cannot run programs here"
	exit 0
fi

# ---- 0644: reading is free --------------------------------------------------------------

make_segment --mode 0644
kv put greeting 'hello, whoever reads this'
kv put n 41 --int
before=$(dump --json | cksum)

prints 'hello, whoever reads this' "the other user gets" theirs get "$seg" greeting
exits 0 "asks whether a key exists" theirs exists "$seg" n
exits 1 "and whether another does" theirs exists "$seg" none
prints 2 "counts" theirs count "$seg"
exits 0 "scans" theirs scan "$seg"
ok_if "and sees both" [ "$(wc -l <"$tap_dir/out")" -eq 2 ]
exits 0 "dumps" as_other "$tap_dir/bin/shmkv-dump" "$seg"
exits 0 "dumps the layout" as_other "$tap_dir/bin/shmkv-dump" "$seg" --layout
exits 0 "looks at the numbers" theirs info "$seg"
exits 0 "checks" theirs check "$seg"
exits 0 "finds it in the list" sh -c \
	"setpriv --reuid 65534 --regid 65534 --clear-groups env LD_LIBRARY_PATH='$tap_dir/bin' \
	'$tap_dir/bin/shmkv' list | grep -q '$seg'"

complains 4 "permission" "put is refused" theirs put "$seg" k v
complains 4 "permission" "add is refused" theirs add "$seg" k v
complains 4 "permission" "del is refused" theirs del "$seg" n
complains 4 "permission" "incr is refused" theirs incr "$seg" n
complains 4 "permission" "append is refused" theirs append "$seg" greeting x
complains 4 "permission" "take is refused" theirs take "$seg" n
complains 4 "permission" "clear is refused" theirs clear "$seg"
complains 4 "permission" "recover is refused" theirs recover "$seg"
complains 4 "permission" "unlink is refused" theirs unlink "$seg"
complains 1 "exists" "create under the name is refused" theirs create "$seg" --size 2M
ok_if "nothing has changed" [ "$(dump --json | cksum)" = "$before" ]
prints 42 "the owner goes on" kv incr n
prints 42 "and the other one sees it" theirs get "$seg" n

# ---- 0600: nothing is free ---------------------------------------------------------------

"$SHMKV" create "$seg-private" --size 2M --mode 0600
"$SHMKV" put "$seg-private" secret s
for verb in info count scan check; do
	complains 4 "permission" "$verb on a private map is refused" theirs "$verb" "$seg-private"
done
complains 4 "permission" "get is refused" theirs get "$seg-private" secret
complains 4 "permission" "dump is refused" as_other "$tap_dir/bin/shmkv-dump" "$seg-private"
complains 4 "permission" "unlink is refused" theirs unlink "$seg-private"
prints s "the owner has it" "$SHMKV" get "$seg-private" secret

# ---- 0666: both write ------------------------------------------------------------------

"$SHMKV" create "$seg-shared" --size 4M --mode 0666
for i in 1 2 3 4 5; do
	theirs incr "$seg-shared" n >/dev/null || break
	"$SHMKV" incr "$seg-shared" n >/dev/null || break
done
prints 10 "both have counted" "$SHMKV" get "$seg-shared" n
complains 4 "permission" "its name is still not theirs" theirs unlink "$seg-shared"

# A map of the other user; root may do anything, and what the other one holds when killed
# comes back to root.
theirs create "$seg-theirs" --size 4M --mode 0644
prints 7 "the other user has a map" theirs incr "$seg-theirs" n 7
mkfifo "$tap_dir/orders"
# Written out, because each of these programs becomes the next one and keeps its number.
setpriv --reuid 65534 --regid 65534 --clear-groups --inh-caps=-all \
	env LD_LIBRARY_PATH="$tap_dir/bin" "$tap_dir/bin/shmkv" attach "$seg-theirs" \
	<"$tap_dir/orders" >/dev/null 2>&1 &
pid=$!
exec 3>"$tap_dir/orders"
echo "put k v" >&3
tries=0
until [ "$(theirs get "$seg-theirs" k 2>/dev/null)" = v ] || [ $tries -ge 100 ]; do
	tries=$((tries + 1))
	sleep 0.05
done
json '.processes == 1 and .processes_dead == 0' "it is alive" "$SHMKV" info "$seg-theirs" --json
kill -9 $pid
exec 3>&-
wait $pid 2>/dev/null
exits 0 "the owner of the machine recovers it" "$SHMKV" recover "$seg-theirs"
json '.processes == 0' "nobody is in it" "$SHMKV" info "$seg-theirs" --json
prints v "what was written is there" theirs get "$seg-theirs" k
exits 0 "and its owner removes it" theirs unlink "$seg-theirs"

tap_end
