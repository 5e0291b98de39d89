# SPDX-License-Identifier: MIT
#
# Completion of shmkv and shmkv-dump for bash: verbs, segment names, options, and the words
# that options know. Verbs and options are what --help prints, so that they cannot differ.

_shmkv_segments() {
	local file
	for file in /dev/shm/shmkv.*; do
		[ -e "$file" ] && echo "${file#/dev/shm/shmkv.}"
	done
}

_shmkv_options() {
	"$@" --help 2>/dev/null | grep -o -e '--[a-z][a-z-]*' | sort -u
}

_shmkv_reply() {
	local IFS=$'\n'
	# Word by word: names consist of characters that need no quotes.
	mapfile -t COMPREPLY < <(compgen -W "$1" -- "$2")
}

_shmkv() {
	local tool=${COMP_WORDS[0]} word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]}
	local verb=${COMP_WORDS[1]}

	COMPREPLY=()
	case $before in
	--hash)
		_shmkv_reply $'siphash13\nxxh3' "$word"
		return
		;;
	--evict)
		_shmkv_reply $'none\nlru\nlfu' "$word"
		return
		;;
	--huge-pages)
		_shmkv_reply $'never\nlazy\neager' "$word"
		return
		;;
	--ttl)
		# A time has no words but these; scan and dump take --ttl without one.
		[ "$verb" = scan ] || {
			_shmkv_reply $'never\nkeep\ndefault' "$word"
			return
		}
		;;
	--sort)
		_shmkv_reply $'rate\ncalls\npid\npins\nstate' "$word"
		return
		;;
	--bin | --from)
		local IFS=$'\n'
		compopt -o filenames 2>/dev/null
		mapfile -t COMPREPLY < <(compgen -f -- "$word")
		return
		;;
	esac
	if [ "$COMP_CWORD" -eq 1 ]; then
		_shmkv_reply "$("$tool" --help 2>/dev/null | sed -n 's/^  \([a-z]*\)  .*/\1/p')" "$word"
	elif [[ $word == -* ]]; then
		_shmkv_reply "$(_shmkv_options "$tool" "$verb")" "$word"
	elif [ "$COMP_CWORD" -eq 2 ] && [ "$verb" = help ]; then
		_shmkv_reply "$("$tool" --help 2>/dev/null | sed -n 's/^  \([a-z]*\)  .*/\1/p')" "$word"
	elif { [ "$verb" = peek ] && [ "$COMP_CWORD" -eq 2 ]; } ||
		{ [[ $verb =~ ^(save|load|export|import)$ ]] && [ "$COMP_CWORD" -eq 3 ]; }; then
		local IFS=$'\n'
		compopt -o filenames 2>/dev/null
		mapfile -t COMPREPLY < <(compgen -f -- "$word")
	elif [ "$COMP_CWORD" -eq 2 ] && [ "$verb" != create ] && [ "$verb" != load ]; then
		_shmkv_reply "$(_shmkv_segments)" "$word"
	fi
}

_shmkv_dump() {
	local tool=${COMP_WORDS[0]} word=${COMP_WORDS[COMP_CWORD]}

	if [[ $word == -* ]]; then
		_shmkv_reply "$(_shmkv_options "$tool")" "$word"
	else
		_shmkv_reply "$(_shmkv_segments)" "$word"
	fi
}

complete -F _shmkv shmkv
complete -F _shmkv_dump shmkv-dump
