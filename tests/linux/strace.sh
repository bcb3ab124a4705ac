#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# Do the counters of lib/linux tell the truth? Runs a program under strace and compares the
# system calls that the kernel saw with those that the library counted.
#
# usage: strace.sh PROGRAM
# Exit code 77, skipped: strace is not there or may not trace.
set -euo pipefail

if [ $# -ne 1 ] || [ ! -x "$1" ]; then
	echo "usage: strace.sh PROGRAM; PROGRAM is the built linux_traced" >&2
	exit 2
fi
program=$1
# A leak checker cannot look into a traced program; the other suites run with it.
export ASAN_OPTIONS="${ASAN_OPTIONS:+$ASAN_OPTIONS:}detect_leaks=0"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

if ! strace -o "$work/probe" true 2>"$work/why"; then
	echo "skipped: strace does not work here: $(head -n 1 "$work/why")"
	exit 77
fi

failures=0
for mode in vector single; do
	strace -f -e trace=madvise,process_madvise,fallocate,write -o "$work/trace" \
		"$program" "$mode" >"$work/counted" 2>"$work/marks" || {
		echo "FAIL: $program $mode ended with $?: $(cat "$work/counted" "$work/marks")"
		exit 1
	}
	sed -n '/"begin\\n"/,/"end\\n"/p' "$work/trace" >"$work/between"
	while read -r call counted; do
		seen=$(grep -c -E "^[0-9]+ +$call\(" "$work/between" || true)
		echo "$mode: $call: $counted counted, $seen seen"
		if [ "$seen" -ne "$counted" ]; then
			failures=$((failures + 1))
		fi
	done <"$work/counted"
done

if [ "$failures" -gt 0 ]; then
	echo "FAIL: the counters and the kernel disagree in $failures places; the last trace:"
	cat "$work/between"
	exit 1
fi
echo "ok: the counters agree with the kernel"
