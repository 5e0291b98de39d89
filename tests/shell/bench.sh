#!/bin/sh
# SPDX-License-Identifier: MIT

# The comparison with others: it measures what it says, notices wrong answers, leaves nothing.

. "$(dirname "$0")/tap.sh"

readonly run="peers --quick -n 1024 -s 1 -o none"

# of_rows KIND FILTER: jq on all rows of that kind.
of_rows() {
	jq -es "map(select(.row == \"$1\")) | length > 0 and ($2)" "$tap_dir/rows"
}

ok_if "a run by itself" sh -c "'$SHMKV_BENCH' $run -j >'$tap_dir/rows'"
if command -v jq >/dev/null; then
	ok_if "every row is JSON" jq -e . "$tap_dir/rows"
	ok_if "it names the machine" of_rows machine 'all(.processor and .kernel and .compiler and .commit)'
	ok_if "limits are measured" of_rows limit 'all(.small > 0)'
	ok_if "shmkv and the limits do all there is to do" of_rows cell \
		'group_by(.peer) | all(map(.work) | unique | length == 12)'
	ok_if "no time is zero" of_rows cell 'all(.ns > 0 and .latency_samples > 0)'
	ok_if "quantiles are in order" of_rows cell \
		'all(.p50 <= .p99 and .p99 <= ."p99.9" and ."p99.9" <= ."p99.99" and ."p99.99" <= .max)'
	ok_if "memory is more than key and value" of_rows cell 'all(.bytes_per_entry >= 24)'
	ok_if "nobody waits for the killed" of_rows kill 'all(.never == 0)'
	ok_if "every goal is judged" of_rows goal 'length == 12'
else
	tap_skip "rows of JSON" "jq is not installed"
fi
ok_if "CSV is a header and one line for each cell" sh -c "
	'$SHMKV_BENCH' $run -c 2>'$tap_dir/machine' >'$tap_dir/csv' &&
	[ \$(head -n 1 '$tap_dir/csv' | tr -cd , | wc -c) -eq 17 ] &&
	[ -z \"\$(awk -F, 'NF != 18' '$tap_dir/csv')\" ] && grep -q '^shmkv,churn,' '$tap_dir/csv'"

# spoil NAME: a library that makes shmkv_get answer otherwise after a while.
spoil() {
	cat >"$tap_dir/$1.c" <<-END
		#include <dlfcn.h>
		#include <errno.h>
		#include <stdatomic.h>
		#include <shmkv/shmkv.h>
		int shmkv_get(struct shmkv *kv, const void *key, size_t key_len, void *buf, size_t cap,
			      struct shmkv_value *ret_value, uint64_t *ret_token)
		{
			static atomic_ulong calls;
			static int (*next)(struct shmkv *, const void *, size_t, void *, size_t,
					   struct shmkv_value *, uint64_t *);
			int r;

			if (!next)
				*(void **)&next = dlsym(RTLD_NEXT, "shmkv_get");
			r = next(kv, key, key_len, buf, cap, ret_value, ret_token);
			if (++calls != 700)
				return r;
			$2
		}
	END
	$CC -shared -fPIC -D_GNU_SOURCE -I"$SRC/include" -o "$tap_dir/$1.so" "$tap_dir/$1.c" -ldl
}

# spoiled NAME TEXT: a run with that library ends with 1 and says so.
spoiled() {
	LD_PRELOAD="$tap_dir/$1.so" "$SHMKV_BENCH" $run >"$tap_dir/spoiled" 2>&1
	[ $? -eq 1 ] && grep "shmkv: [a-z].*: entry [0-9]*: $2" "$tap_dir/spoiled"
}

spoil wrong '((char *)buf)[cap - 1] ^= 1; return r;'
ok_if "a wrong value ends the run" spoiled wrong "a wrong value"
spoil lost 'return -ENOENT;'
ok_if "a lost value ends the run" spoiled lost "a value is lost"

# Killed in the middle: the processes it keeps end with it, and names are gone.
"$SHMKV_BENCH" peers -n 100k -o none >"$tap_dir/killed" 2>&1 &
pid=$!
tries=0
until grep -q . "/proc/$pid/task/$pid/children" 2>/dev/null && [ -n "$(pgrep -P "$pid")" ]; do
	tries=$((tries + 1))
	[ $tries -gt 3000 ] && break
	sleep 0.02
done
kids=$(pgrep -P "$pid")
kill -9 "$pid"
wait "$pid" 2>/dev/null
gone() {
	for kid in $kids; do
		tries=0
		while kill -0 "$kid" 2>/dev/null; do
			tries=$((tries + 1))
			[ $tries -gt 1000 ] && return 1
			sleep 0.02
		done
	done
	[ -n "$kids" ]
}
ok_if "its processes end with it" gone
ok_if "nothing stays in shared memory" sh -c "
	ls /dev/shm | grep '^shmkv.bench-$pid' && exit 1
	exit 0"
tap_end
