#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# Runs build.sh as OSS-Fuzz would, once for each sanitizer of project.yaml, into a temporary
# folder, and each harness on its corpus. What fails is kept: build/oss-fuzz/ has its log and,
# if one was written, the input.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
kept=$here/../../build/oss-fuzz
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

fail() { # LOG REASON
	mkdir -p "$kept"
	kept=$(cd "$kept" && pwd)
	cp "$1" "$kept/log"
	cp "$tmp"/crash-* "$tmp"/timeout-* "$tmp"/oom-* "$kept" 2>/dev/null || true
	grep -aE -A 12 'does not hold|ERROR: |runtime error|error:' "$1" | head -n 60 ||
		tail -n 30 "$1"
	echo "FAIL: $2; $kept has the log and the input"
	exit 1
}

try() { # NAME FLAGS
	local name=$1 out=$tmp/$1 dict harness

	echo "building with sanitizer '$name'"
	CC=clang CXX=clang++ LIB_FUZZING_ENGINE=-fsanitize=fuzzer OUT=$out WORK=$tmp/work-$name \
		CFLAGS="-O1 -g -fsanitize=fuzzer-no-link $2" CXXFLAGS="-g $2" \
		"$here/build.sh" >"$tmp/log" 2>&1 ||
		fail "$tmp/log" "build.sh does not build with sanitizer '$name'"
	for dict in "$out"/*.dict; do
		harness=$(basename "$dict" .dict)
		mkdir "$out/$harness-corpus"
		python3 -m zipfile -e "$out/${harness}_seed_corpus.zip" "$out/$harness-corpus"
		"$out/$harness" -runs=200 -dict="$dict" -artifact_prefix="$tmp/" \
			"$out/$harness-corpus" >"$tmp/log" 2>&1 ||
			fail "$tmp/log" "$harness, built with sanitizer '$name', failed on its corpus"
		count=$((count + 1))
	done
}

count=0
try address -fsanitize=address
try undefined '-fsanitize=undefined -fno-sanitize-recover=undefined'
[ "$count" = 16 ] || { echo "FAIL: $count harnesses were built; expected 8 twice"; exit 1; }
echo "PASS: $count passed, 0 failed, 0 skipped"
