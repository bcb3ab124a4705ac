#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# Line and branch coverage of the pure library by all of its suites, replays and corpora, as a
# table. Each branch that nothing takes has to be explained in unreached.txt, and nothing else may
# be in there.
#
#	tests/coverage/run.sh            builds into build/coverage, runs, reports: two minutes
#	tests/coverage/run.sh --report   only reports what the last run has covered
#
# Needs meson, ninja, cmocka, python3, and gcc with its gcov. Without optimisation a branch is one
# that stands in the source, and random suites do fewer steps; both make the figures steady.
set -euo pipefail
cd "$(dirname "$0")/../.."

build=build/coverage
jobs=$(nproc)
failed=0

measure() {
	if [ ! -e "$build/build.ninja" ]; then
		rm -rf "$build"
		# Only the library is measured, and threads must not lose counts.
		CC=gcc meson setup "$build" -Dlinux=disabled -Dexamples=disabled -Doptimization=0 \
			-Db_coverage=true \
			-Dc_args='-DFEWER_STEPS -fprofile-update=atomic -fprofile-filter-files=.*/lib/.*'
	fi
	echo "building"
	ninja -C "$build" -j "$jobs" >"$build/ninja.log" || { tail -n 40 "$build/ninja.log"; exit 1; }
	find "$build" -name '*.gcda' -delete
	echo "running"
	meson test -C "$build" --no-rebuild --num-processes "$jobs" --timeout-multiplier 3 \
		--suite unit --suite hostile --suite replay --suite fuzz ||
		failed=1
}

case ${1-} in
'') measure ;;
--report) ;;
*) echo "run.sh: '$1' is no option; there is only --report" >&2; exit 2 ;;
esac
status=0
python3 tests/coverage/report.py "$build" tests/coverage/unreached.txt >"$build/report.txt" || status=$?
cat "$build/report.txt"
passed=$(sed -n 's/^complete: \([0-9]*\) of .*/\1/p' "$build/report.txt")
bad=$(grep -c '^FAIL' "$build/report.txt" || true)
[ "$status" = 0 ] || [ "$bad" -gt 0 ] || bad=1
if [ "$failed" = 1 ]; then
	echo "FAIL: suites failed in this build; $build/meson-logs/testlog.txt has what they said"
	bad=$((bad + 1))
fi
word=PASS
[ "$bad" = 0 ] || word=FAIL
echo "$word: ${passed:-0} passed, $bad failed, 0 skipped (nothing left out)"
[ "$bad" = 0 ]
