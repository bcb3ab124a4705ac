#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# Explores a model of how driver and device call each other (queue.pml) in every order that a
# machine with store buffers allows: nobody may sleep while there is work for him. Then breaks
# it in each of the ways that are known to lose wake-ups, and wants that found.
#
#	tests/ordering/run.sh          less than a minute
#	tests/ordering/run.sh --long   also larger rings: minutes, and 3 GiB of memory
#
# Needs spin, gcc and python3 (Debian packages of these names) and writes only to a temporary
# folder. mapping.py compares the model with the library's source first.
set -euo pipefail
cd "$(dirname "$0")"

# What is explored: '+' has to hold, in all states, '*' too, in the long run; '-' has to be caught.
cases() {
	cat <<'END'
+ split, flags alone
+ split, event index                             EVENT_IDX
+ split, event index, twice the index space      EVENT_IDX INDICES=8
+ packed, flags alone                             PACKED
+ packed, event index                             PACKED EVENT_IDX
* packed, flags alone, three slots                PACKED SIZE=3
* packed, event index, three slots                PACKED EVENT_IDX SIZE=3 DEPTH=1 ONE_SLOT_EACH ONE_ENTRY_EACH ASKS_AFTER_EACH_BATCH
- device: no fence between wish and look          EVENT_IDX BROKEN_NO_FENCE_AFTER_WISH
- device: no fence between wish and look          PACKED EVENT_IDX BROKEN_NO_FENCE_AFTER_WISH
- device: no second look after the wish           EVENT_IDX BROKEN_NO_SECOND_LOOK
- device: no second look after the wish           PACKED EVENT_IDX BROKEN_NO_SECOND_LOOK
- device: wish written after the last look        EVENT_IDX BROKEN_WISH_AFTER_LOOK
- device: wish written after the last look        PACKED EVENT_IDX BROKEN_WISH_AFTER_LOOK
- device: wish written only once                  EVENT_IDX BROKEN_WISH_NEVER_RENEWED
- device: wish written only once                  PACKED EVENT_IDX BROKEN_WISH_NEVER_RENEWED
- device: wish without its wrap counter           PACKED EVENT_IDX BROKEN_WISH_WITHOUT_WRAP
- device: no fence before the driver's event      BROKEN_NO_FENCE_BEFORE_EVENT
- device: no fence before the driver's event      EVENT_IDX BROKEN_NO_FENCE_BEFORE_EVENT
- device: no fence before the driver's event      PACKED BROKEN_NO_FENCE_BEFORE_EVENT
- device: no fence before the driver's event      PACKED EVENT_IDX BROKEN_NO_FENCE_BEFORE_EVENT
- device: event compared off by one               EVENT_IDX BROKEN_OFF_BY_ONE
- device: event compared off by one               PACKED EVENT_IDX BROKEN_OFF_BY_ONE
- device: the event's wrap counter ignored        PACKED EVENT_IDX BROKEN_WRAP_IGNORED
- device: only the last of two batches counted    EVENT_IDX BROKEN_ONLY_LAST_BATCH
- device: only the last of two batches counted    PACKED EVENT_IDX BROKEN_ONLY_LAST_BATCH
- driver: no fence before the device's event      EVENT_IDX BROKEN_DRIVER_NO_FENCE_BEFORE_EVENT
- driver: no fence before the device's event      PACKED EVENT_IDX BROKEN_DRIVER_NO_FENCE_BEFORE_EVENT
- driver: no fence before its last look           BROKEN_DRIVER_NO_FENCE_BEFORE_LOOK
- driver: no fence before its last look           EVENT_IDX BROKEN_DRIVER_NO_FENCE_BEFORE_LOOK
- driver: no fence before its last look           PACKED EVENT_IDX BROKEN_DRIVER_NO_FENCE_BEFORE_LOOK
END
}

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
passed=0 failed=0

bad() {
	failed=$((failed + 1))
	echo "FAILED: $*"
}

# explore DEFINE...: leaves in $folder/said what the verifier says, or why there is none.
explore() {
	local level=-O2

	[ "$sign" = + ] || level=-O0 # found at once, so that compiling takes longest
	(cd "$folder" && rm -f said ./*.trail && spin -a "${@/#/-D}" queue.pml >said 2>&1 &&
		gcc "$level" -w -DSAFETY -DCOLLAPSE -DMEMLIM=3000 -o pan pan.c >said 2>&1 &&
		./pan -m4000000 -w22 >said 2>&1) || true
}

number() { sed -n "s/$1/\1/p" "$folder/said" | head -n 1; }

# A statement that no state reaches would mean that the model does not do what it says. (A
# buffer of two slots fits into a ring of two only first, not after another.)
unreached() {
	sed -n '/unreached in/,$p' "$folder/said" | grep 'state [0-9]' | grep -v -e '-end-' -e '"word = 2"' || true
}

verdict() {
	local sign=$1 name=$2

	if ! grep -q 'errors: ' "$folder/said" || grep -qE 'max search depth too small|out of memory|reached -DMEMLIM' "$folder/said"; then
		bad "$name: the verifier did not get to an end"
		tail -n 15 "$folder/said"
	elif [ "$sign" = + ] && ! grep -q 'errors: 0$' "$folder/said"; then
		bad "$name: a wake-up can be lost; these are the last steps"
		(cd "$folder" && spin -t -p "${defines[@]/#/-D}" queue.pml 2>&1 | tail -n 60) || true
	elif [ "$sign" = + ] && [[ " ${defines[*]} " == *' EVENT_IDX '* ]] && [ -n "$(unreached)" ]; then
		bad "$name: parts of the model are never reached:"
		unreached
	elif [ "$sign" = - ] && ! grep -q 'assertion violated' "$folder/said"; then
		bad "$name: this must lose a wake-up, and none was found lost"
	else
		passed=$((passed + 1))
	fi
}

case $* in
'') long= ;;
--long) long=yes ;;
*) echo "run.sh: '$*' is no option; there is only --long" >&2; exit 2 ;;
esac
cp ./*.pml "$folder"
if python3 mapping.py ../..; then
	passed=$((passed + 1))
else
	bad "the model does not follow the library's source"
fi

printf '\n%-52s %-8s %10s %9s %7s\n' what wanted states depth time
while read -r sign line; do
	name=${line%%  *}
	read -r -a defines <<<"${line#"$name"}"
	if [ "$sign" = '*' ]; then
		[ -n "$long" ] || continue
		sign=+
	fi
	if [ "$sign" = - ]; then
		[[ " ${defines[*]} " == *' PACKED '* ]] && name="packed $name" || name="split $name"
	fi
	explore "${defines[@]}"
	printf '%-52s %-8s %10s %9s %6s s\n' "$name" \
		"$([ "$sign" = + ] && echo holds || echo caught)" \
		"$(number ' *\([0-9.e+]*\) states, stored.*')" "$(number '.*depth reached \([0-9]*\),.*')" \
		"$(number 'pan: elapsed time \([0-9.]*\) seconds.*')"
	verdict "$sign" "$name"
done < <(cases)

word=PASS
[ "$failed" = 0 ] || word=FAIL
echo "$word: $passed passed, $failed failed, 0 skipped (nothing left out)"
[ "$failed" = 0 ]
