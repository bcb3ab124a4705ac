#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# Runs build.sh as OSS-Fuzz would, into a temporary folder, and each harness on its corpus.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

CC=clang CXX=clang++ LIB_FUZZING_ENGINE=-fsanitize=fuzzer OUT=$tmp/out WORK=$tmp/work \
	CFLAGS='-O1 -g -fsanitize=fuzzer-no-link,address' CXXFLAGS='-g -fsanitize=address' \
	"$here/build.sh"
count=0
for dict in "$tmp"/out/*.dict; do
	name=$(basename "$dict" .dict)
	mkdir "$tmp/$name"
	python3 -m zipfile -e "$tmp/out/${name}_seed_corpus.zip" "$tmp/$name"
	if ! "$tmp/out/$name" -runs=200 -dict="$dict" "$tmp/$name" >"$tmp/log" 2>&1; then
		tail -n 30 "$tmp/log"
		echo "FAIL: $name, built as OSS-Fuzz does it, failed on its corpus"
		exit 1
	fi
	count=$((count + 1))
done
[ "$count" = 8 ] || { echo "FAIL: $count harnesses were built; expected 8"; exit 1; }
echo "PASS: $count passed, 0 failed, 0 skipped"
