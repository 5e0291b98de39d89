#!/bin/sh
# SPDX-License-Identifier: MIT

# JSON goes in and comes out without loss.

. "$(dirname "$0")/kit"

make_segment

# Text in, the same text out: forms that are canonical already.
same() {
	kit_name=$1
	if kv put v "$2" --json >"$tap_dir/output" 2>&1; then
		prints "$2" "$kit_name" kv get v --json
	else
		tap_report 1 "$kit_name"
	fi
}

# Other text in, canonical text out.
becomes() {
	kit_name=$1
	if kv put v "$2" --json >"$tap_dir/output" 2>&1; then
		prints "$3" "$kit_name" kv get v --json
	else
		tap_report 1 "$kit_name"
	fi
}

same "null" null
same "true" true
same "zero" 0
same "the smallest integer" -9223372036854775808
same "the largest signed integer" 9223372036854775807
same "one more" 9223372036854775808
same "the largest integer" 18446744073709551615
same "an array of large integers" '[18446744073709551615,18446744073709551614,1]'
same "large digits inside text" '"18446744073709551615"'
same "large digits as a name" '{"18446744073709551615":18446744073709551615}'
same "a double that is whole" 1.0
same "negative zero" -0.0
same "a tenth" 0.1
same "a large double" 1e+300
same "the smallest double" 5e-324
same "the largest double" 1.7976931348623157e+308
same "nan" '{"$float":"nan"}'
same "infinity" '{"$float":"-inf"}'
same "text with quotes and backslashes" '"a\"b\\c/d"'
same "text with control bytes" '"\u0000\u0001\n\t\u001b[31m\u007f"'
same "text beyond the basic plane" '"漢字 𝄞 é"'
same "direction overrides are escaped" '"\u202e\u2066"'
same "nested containers" '{"a":[1,[2,[3,{"b":null}]]],"c":{}}'
same "the empty array" '[]'
same "the empty object" '{}'
same "order of names is kept" '{"z":1,"a":2,"m":3}'
same "bytes" '{"$bin":"AP+A"}'
same "no bytes" '{"$bin":""}'
same "text that is not UTF-8" '{"$str":"//5B"}'
same "an extension" '{"$ext":[-5,"AQID"]}'
same "an extension of 16 bytes" '{"$ext":[1,"AAECAwQFBgcICQoLDA0ODw=="]}'
same "a map with keys of other types" '{"$map":[[1,"a"],[null,"b"],[[1],{"c":2}]]}'
same "a map with a name twice" '{"$map":[["a",1],["a",2]]}'
same "a map that looks like bytes" '{"$map":[["$bin","AA=="]]}'
same "a map with an unknown dollar name" '{"$map":[["$x",1]]}'
same "a dollar name among others" '{"$bin":"AA==","a":1}'
same "a name with a NUL byte" '{"$map":[["a\u0000b",1]]}'
same "forms inside forms" '{"$map":[[{"$bin":"AA=="},{"$map":[[1.5,{"$ext":[0,""]}]]}]]}'
becomes "blanks go" ' [ 1 , 2 ] ' '[1,2]'
becomes "escapes become letters" '"\u00e9\ud834\udd1e"' '"é𝄞"'
becomes "many digits and a point are a double" 18446744073709551615.5 1.8446744073709552e+19
becomes "exponents become doubles" 1E2 100.0
becomes "a map form that is not needed goes" '{"$map":[["a",1]]}' '{"a":1}'
becomes "a str form that is not needed goes" '{"$str":"YQ=="}' '"a"'
becomes "an unknown form of one name is a map" '{"$x":1}' '{"$map":[["$x",1]]}'

nest() {
	awk -v n="$1" 'BEGIN { for (i = 0; i < n; i++) printf "["; for (i = 0; i < n; i++) printf "]" }'
}
same "32 levels" "$(nest 32)"
complains 2 "deeper than 32" "33 levels are refused" kv put v "$(nest 33)" --json
complains 2 "not the JSON" "100000 levels are refused" sh -c \
	"awk 'BEGIN { for (i = 0; i < 100000; i++) printf \"[\" }' |
	'$SHMKV' put '$seg' v --json --from -"

for bad in '' '{' '[1,]' 'x' '1 2' '"a' '{"a":1,"a":2}' 18446744073709551616 -9223372036854775809 \
	'1e400' '{"$bin":"A"}' '{"$bin":"AA"}' '{"$bin":"AB=="}' '{"$bin":1}' '{"$str":"!!!!"}' \
	'{"$ext":["a","AA=="]}' '{"$ext":[128,"AA=="]}' '{"$ext":[1]}' '{"$float":"x"}' \
	'{"$float":1.5}' '{"$map":{}}' '{"$map":[[1]]}' '{"$map":[1]}' '"\ud800"'; do
	complains 2 "VALUE is not the JSON" "refused: $bad" kv put v "$bad" --json
done
printf '"\377"' >"$tap_dir/latin"
complains 2 "VALUE is not the JSON" "refused: bytes that are not UTF-8" \
	kv put v --json --from "$tap_dir/latin"

# ---- from one key to another, and through dump -----------------------------------------

big='{"a":[1,2.5,-3,18446744073709551615,{"$float":"inf"}],"b":{"$bin":"AAEC"},"c":"é\u0000"}'
kv put one "$big" --json >/dev/null
kv get one --json | kv put two --json --from - >/dev/null
prints "$(kv get one --hex)" "get --json into put --json gives the same msgpack" kv get two --hex
json '.key == "two" and .value.b["$bin"] == "AAEC"' "dump --ndjson shows it" \
	dump --ndjson --keys two

# 2000 values of all kinds, through a document and back.
awk 'BEGIN { srand(7); for (i = 0; i < 2000; i++)
	printf "[%d,%.17g,\"t%d\",{\"$bin\":\"%s\"},{\"k%d\":%s}]\n", rand() * 2^31 - 2^30,
		rand() * 10 ^ int(rand() * 600 - 300), i, i % 2 ? "AAAA" : "", i,
		i % 3 ? "null" : "18446744073709551615" }' |
	awk '{ gsub(/'\''/, ""); printf "put k%d '\''%s'\'' --json\n", NR, $0 }' >"$tap_dir/script"
"$SHMKV" attach "$seg" <"$tap_dir/script" >/dev/null
prints 2000 "2000 values are stored by a script" sh -c "'$SHMKV' scan '$seg' --prefix k | wc -l"
dump --hex --keys k | sort >"$tap_dir/before"
dump --ndjson --keys k >"$tap_dir/lines"
sed "s/^{\"key\":\"\\(k[0-9]*\\)\",\"value\":\\(.*\\)}\$/put \\1 '\\2' --json/" "$tap_dir/lines" \
	>"$tap_dir/script"
kv clear >/dev/null
"$SHMKV" attach "$seg" <"$tap_dir/script" >/dev/null
dump --hex --keys k | sort >"$tap_dir/after"
ok_if "dumped as NDJSON and put again they are the same bytes" cmp "$tap_dir/before" "$tap_dir/after"

# ---- answers and failures in JSON -------------------------------------------------------

json '.key == "v" and (.token | type == "string")' "put --json reports the token" \
	kv put v 1 --int --json
prints '"1"' "--str says that VALUE is text although --json is there" sh -c \
	"'$SHMKV' put '$seg' v 1 --str --json >/dev/null && '$SHMKV' get '$seg' v --json"
prints '"1"' "--json before the verb does not say what VALUE is" sh -c \
	"'$SHMKV' --json put '$seg' v 1 >/dev/null && '$SHMKV' get '$seg' v --json"

error_has() {
	[ ! -s "$tap_dir/out" ] && jq -e "$1" "$tap_dir/err"
}
exits 1 "a failure with --json" kv get absent --json
ok_if "is JSON on standard error" error_has \
	'.error == "ENOENT" and (.detail | length > 0) and (.hint | length > 0)'
exits 3 "no such segment with --json" "$SHMKV" get "$seg-no" k --json
ok_if "has the name of the code" error_has ".error == \"ENOENT\" and .segment == \"$seg-no\""
exits 2 "wrong usage with --json" kv get --nonsense --json
ok_if "is EINVAL" error_has '.error == "EINVAL" and .verb == "get"'
printf 'get %s \377\033' "$seg" >"$tap_dir/odd"
exits 2 "odd bytes in the words of a failure" "$SHMKV" get "$seg" k "$(printf '\377\033')" --json
ok_if "stay valid JSON" error_has '.error == "EINVAL"'
exits 2 "dump fails in JSON too" "$SHMKV_DUMP" --json
ok_if "with the same members" error_has '.error == "EINVAL" and (.hint | length > 0)'

tap_end
