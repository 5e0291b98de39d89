#!/bin/sh
# SPDX-License-Identifier: MIT

# Completion in bash knows verbs, segments and options.

. "$(dirname "$0")/kit"

if ! command -v bash >/dev/null; then
	tap_skip "completion" "bash is not installed"
	tap_end
fi

make_segment

# The last word is what has been typed of the word to complete.
complete_words() {
	bash -c '. "$SRC/tools/completion.bash"
		function=$1
		shift
		COMP_WORDS=("$@")
		COMP_CWORD=$(($# - 1))
		"$function"
		printf "%s\n" "${COMPREPLY[@]}"' bash "$@"
}

prints "$(printf 'check\nclear\ncas\ncount\ncreate' | sort)" "verbs" \
	sh -c "$(command -v bash) -c '. \"$SRC/tools/completion.bash\"; COMP_WORDS=(\"$SHMKV\" c)
		COMP_CWORD=1; _shmkv; printf \"%s\n\" \"\${COMPREPLY[@]}\"' | sort"
prints "$seg" "segment names" complete_words _shmkv "$SHMKV" get "$seg"
prints "--prefix" "options of a verb" complete_words _shmkv "$SHMKV" scan "$seg" --pr
prints xxh3 "kinds of hash" complete_words _shmkv "$SHMKV" create x --hash x
prints lfu "policies of eviction" complete_words _shmkv "$SHMKV" create x --evict lf
prints never "times" complete_words _shmkv "$SHMKV" put "$seg" k v --ttl n
prints pins "orders of top" complete_words _shmkv "$SHMKV" top "$seg" --sort pin
prints eager "policies of huge pages" complete_words _shmkv "$SHMKV" create x --huge-pages e
prints recover "verbs behind help" complete_words _shmkv "$SHMKV" help rec
prints "$tap_dir/outside" "files" sh -c "touch '$tap_dir/outside'; bash -c '. \"$SRC/tools/completion.bash\"
	COMP_WORDS=(shmkv put x k --bin $tap_dir/outs); COMP_CWORD=5; _shmkv; echo \"\${COMPREPLY[@]}\"'"
prints "$seg" "dump: segment names" complete_words _shmkv_dump "$SHMKV_DUMP" "$seg"
prints "--ndjson" "dump: options" complete_words _shmkv_dump "$SHMKV_DUMP" --nd

tap_end
