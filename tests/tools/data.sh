#!/bin/sh
# SPDX-License-Identifier: MIT

# Every verb that reads or writes keys does what its line in the manual says.

. "$(dirname "$0")/kit"

make_segment

# ---- put, get and the types ----------------------------------------------------------

exits 0 "put stores text" kv put greeting 'hello, world'
prints 'hello, world' "get prints it" kv get greeting
prints '"hello, world"' "get --json prints it as JSON" kv get greeting --json
kv get greeting --raw >"$tap_dir/raw"
printf 'hello, world' >"$tap_dir/raw-want"
ok_if "get --raw has no newline" cmp "$tap_dir/raw" "$tap_dir/raw-want"
prints 68656c6c6f2c20776f726c64 "get --hex prints the payload" kv get greeting --hex

exits 0 "put --int stores a number" kv put n 42 --int
prints 42 "get prints it plainly" kv get n
prints 2a "get --hex of a number is its msgpack" kv get n --hex
exits 0 "put --int takes a negative number as a word" kv put n -5 --int
prints -5 "get prints it" kv get n
exits 0 "put --int takes 2^64-1" kv put n 18446744073709551615 --int
prints 18446744073709551615 "get prints it exactly" kv get n
exits 0 "put --int takes -2^63" kv put n -9223372036854775808 --int
prints -9223372036854775808 "get prints it exactly" kv get n
exits 0 "put --int takes hexadecimal" kv put n 0xff --int
prints 255 "get prints it" kv get n
prints 010 "text that looks like a number stays text" sh -c \
	"'$SHMKV' put '$seg' t 010 && '$SHMKV' get '$seg' t"
for bad in 18446744073709551616 -9223372036854775809 1.5 1e3 x '' ' 1' 1x 0x; do
	complains 2 "VALUE is not an integer" "put --int refuses '$bad'" kv put n "$bad" --int
done

for f in 0.1:0.1 1:1.0 -2.5:-2.5 1e300:1e+300 5e-324:5e-324 -0.0:-0.0 inf:inf -inf:-inf nan:nan \
	0.30000000000000004:0.30000000000000004 123456789012345678:1.2345678901234568e+17; do
	kv put f "${f%%:*}" --float
	prints "${f#*:}" "put --float ${f%%:*} comes back as ${f#*:}" kv get f
done
for bad in x '' 1e400 '1 ' 1.5x; do
	complains 2 "VALUE is not a number" "put --float refuses '$bad'" kv put f "$bad" --float
done

exits 0 "put --bool stores true" kv put b true --bool
prints true "get prints it" kv get b
complains 2 "true or false" "put --bool refuses yes" kv put b yes --bool
exits 0 "put --nil needs no value" kv put z --nil
prints nil "get prints nil" kv get z
prints null "get --json prints null" kv get z --json
exits 0 "put stores the empty text" kv put e ''
prints '' "get prints an empty line" kv get e

printf 'a\000b\377\n' >"$tap_dir/bytes"
exits 0 "put --bin stores a file" kv put x --bin "$tap_dir/bytes"
prints '{"$bin":"YQBi/wo="}' "get prints bytes in the explicit form" kv get x
kv get x --raw >"$tap_dir/raw"
ok_if "get --raw gives the bytes back" cmp "$tap_dir/bytes" "$tap_dir/raw"
kv put y --bin - <"$tap_dir/bytes"
prints '{"$bin":"YQBi/wo="}' "put --bin - reads standard input" kv get y
exits 0 "put --bin of an empty file" kv put y --bin /dev/null
prints '{"$bin":""}' "stores no bytes" kv get y
printf '12\n' >"$tap_dir/number"
exits 0 "put --from takes the value from a file" kv put y --int --from "$tap_dir/number"
prints 12 "and drops the newline behind a number" kv get y
kv put y --from "$tap_dir/number"
prints 31320a "but not behind text" kv get y --hex
complains 7 "cannot read" "put --bin of a missing file exits with 7" kv put y --bin "$tap_dir/no"
complains 7 "cannot read" "put --bin of a directory exits with 7" kv put y --bin "$tap_dir"

# ---- keys ----------------------------------------------------------------------------

exits 0 "a key may have blanks and non-ASCII letters" kv put 'a b é' 1
prints 1 "and is found again" kv get 'a b é'
exits 0 "a key may begin with a dash behind --" kv put -- -k --v
prints --v "and a value too" kv get -- -k
exits 0 "--key-hex stands for any bytes" kv put --key-hex 00fF0a value
prints value "and finds them" kv get --key-hex 00ff0A
exits 0 "del takes it too" kv del --key-hex 00ff0a
for bad in 0 0g xx; do
	complains 2 "--key-hex needs" "--key-hex refuses '$bad'" kv get --key-hex $bad
done
complains 2 "1 to 65536 bytes" "the empty key is refused" kv get ''
complains 2 "1 to 65536 bytes" "an empty --key-hex is refused" kv get --key-hex ''
long=$(head -c 65536 /dev/zero | tr '\0' k)
exits 0 "a key of 65536 bytes is stored" kv put "$long" v
prints v "and found" kv get "$long"
complains 2 "1 to 65536 bytes" "a key of 65537 bytes is refused" kv put "${long}k" v
exits 0 "it can be removed" kv del "$long"

# ---- the other verbs -----------------------------------------------------------------

complains 1 "no such key" "get of an absent key exits with 1" kv get absent
exits 0 "add stores when absent" kv add once 1
complains 1 "exists already" "add exits with 1 when present" kv add once 2
prints 1 "and changes nothing" kv get once
complains 1 "no such key" "replace exits with 1 when absent" kv replace absent 1
exits 0 "replace stores when present" kv replace once 2
prints 2 "and the value is new" kv get once

token=$(kv get once --token)
exits 0 "cas stores with the current token" kv cas once "$token" 3
complains 1 "has changed" "cas exits with 1 with an old one" kv cas once "$token" 4
prints 3 "and changes nothing" kv get once
token=$(kv put once 5 --token)
exits 0 "put --token prints a token that cas takes" kv cas once "$token" 6 --int
json '.key == "once" and .value == 6 and (.token | tonumber > 0)' \
	"get --token --json has value and token" kv get once --token --json
complains 1 "no such key" "cas of an absent key exits with 1" kv cas absent "$token" 4
complains 2 "TOKEN is a number" "cas refuses what is no token" kv cas once x 4

exits 0 "append stores when absent" kv append log one
exits 0 "append lengthens" kv append log ,two
prints one,two "text" kv get log
json '.bytes == 11' "append --json says how long it is" kv append log '",six"' --json
exits 0 "append --bin lengthens bytes" kv append x --bin "$tap_dir/bytes"
prints 610062ff0a610062ff0a "and only bytes" kv get x --hex
complains 7 "another type" "append refuses another type" kv append n x
complains 2 "only text or bytes" "append refuses JSON that is neither" kv append log 1 --json

prints 1 "incr begins at 0" kv incr hits
prints 6 "incr adds BY" kv incr hits 5
prints -4 "BY may be negative" kv incr hits -10
prints 101 "an absent key counts as --initial" kv incr other --initial 100
prints -6 "--initial may be negative" kv incr third --initial -5 -1
json '.value == 102 and .key == "other"' "incr --json reports" kv incr other --json
complains 7 "another type" "incr refuses text" kv incr greeting
kv put max 9223372036854775807 --int
complains 7 "does not fit" "incr refuses to overflow" kv incr max
complains 2 "BY is" "incr refuses a BY that is no number" kv incr hits x

exits 0 "exists answers 0" kv exists hits
prints true "and prints true" kv exists hits
exits 1 "exists answers 1 for an absent key" kv exists absent
ok_if "and prints false" grep -qx false "$tap_dir/out"
json '.exists == true' "exists --json" kv exists hits --json

prints -4 "take prints the value" kv take hits
complains 1 "no such key" "and the key is gone" kv take hits
exits 0 "del removes" kv del other
complains 1 "no such key" "del of an absent key exits with 1" kv del other
json '.removed == true' "del --json reports" kv del third --json

n=$(kv scan --keys-only | wc -l)
prints "$n" "count agrees with scan" kv count
json ".count == $n" "count --json" kv count --json
prints "$n removed" "clear removes all" kv clear
prints 0 "and count is 0" kv count
json '.removed == 0' "clear --json" kv clear --json
json '.violations == 0 and .leaked_bytes == 0' "the segment is sound" kv check --json

tap_end
