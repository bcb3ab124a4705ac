#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# Fuzzes the harnesses of this folder, two at a time, each for the same time. Where that buys few
# runs, as the machine is busy, a harness goes on until it has had its least number of them, or
# four times the time.
#
#	fuzz/run.sh                          all of them, half a minute each
#	fuzz/run.sh --seconds 3600 [NAME...] a campaign, of all or of some
#	fuzz/run.sh --merge [NAME...]        afterwards: the best of what it found into fuzz/corpus
#
# Options: --build FOLDER (build/fuzz), where clang builds them and where all that is found
# is kept: found/NAME/ (inputs of new coverage), crashes/NAME-* (inputs that fail), logs/;
# --runs N, the least number of runs (300 for each second).
set -euo pipefail
cd "$(dirname "$0")/.."

all=(split packed balloon mem pmem mmio state device)
jobs=2 seconds=30 runs='' patience=4 build=build/fuzz merge='' length=4096 keep=60
names=()

say() { printf '%s\n' "$*"; }
die() { printf 'fuzz/run.sh: %s\n' "$*" >&2; exit 2; }

arguments() {
	while [ $# -gt 0 ]; do
		case $1 in
		--seconds) seconds=${2:?--seconds needs a number}; shift ;;
		--runs) runs=${2:?--runs needs a number}; shift ;;
		--build) build=${2:?--build needs a folder}; shift ;;
		--merge) merge=yes ;;
		-h | --help) sed -n '3,13s/^# \{0,1\}//p' "$0"; exit 0 ;;
		-*) die "unknown option '$1'; --help lists them" ;;
		*) [[ " ${all[*]} " == *" $1 "* ]] || die "'$1' is no harness; they are: ${all[*]}"
			names+=("$1") ;;
		esac
		shift
	done
	[[ $seconds =~ ^[1-9][0-9]*$ ]] || die "--seconds '$seconds' is no number above 0"
	runs=${runs:-$((300 * seconds))}
	[[ $runs =~ ^[1-9][0-9]*$ ]] || die "--runs '$runs' is no number above 0"
	[ ${#names[@]} -gt 0 ] || names=("${all[@]}")
}

build_all() {
	command -v clang >/dev/null || die "clang is needed: install clang and libclang-rt-14-dev"
	if [ ! -e "$build/build.ninja" ]; then
		CC=clang meson setup "$build" -Dfuzz=enabled -Dexamples=disabled -Dlinux=disabled \
			--buildtype=debugoptimized -Dwerror=true >"$build.log" 2>&1 ||
			{ tail -n 20 "$build.log"; die "the build could not be set up"; }
	fi
	ninja -C "$build" "${names[@]/#/fuzz/fuzz_}" >"$build.log" 2>&1 ||
		{ tail -n 40 "$build.log"; die "the harnesses did not build"; }
}

# How many runs a log tells of, in all its parts.
executions() {
	awk '/^#[0-9]/ { part = substr($1, 2) + 0 }
	     /^stat::number_of_executed_units:/ { sum += $2; part = 0 }
	     END { print sum + part }' "$1"
}

part=

fuzz_part() { # NAME OPTION...
	local name=$1
	shift
	"$build/fuzz/fuzz_$name" "$@" -max_len=$length -timeout=10 -rss_limit_mb=1024 \
		-dict="fuzz/$name.dict" -print_final_stats=1 \
		-artifact_prefix="$build/crashes/$name-" "$build/found/$name" "fuzz/corpus/$name" \
		>>"$build/logs/$name.log" 2>&1 &
	part=$!
	wait "$part"
}

# One harness, in the background: its log tells the rest.
fuzz() {
	local name=$1 log=$build/logs/$1.log had

	trap 'kill "$part" 2>/dev/null; exit 143' TERM
	mkdir -p "$build/found/$name" "$build/crashes"
	: >"$log"
	fuzz_part "$name" -max_total_time="$seconds"
	had=$(executions "$log")
	if [ "$had" -lt "$runs" ]; then
		fuzz_part "$name" -max_total_time=$(((patience - 1) * seconds)) -runs=$((runs - had))
	fi
}

# Executions, coverage and what failed, out of a log.
report() {
	local name=$1 status=$2 log=$build/logs/$1.log had edges file few=''

	had=$(executions "$log")
	[ "$had" -ge "$runs" ] || few=", fewer than $runs: this machine is busy"
	edges=$(sed -n 's/.* cov: \([0-9]*\) .*/\1/p' "$log" | tail -n 1)
	printf '%-8s %10s executions  %5s edges  %s\n' "$name" "$had" "${edges:-0}" \
		"$([ "$status" = 0 ] && echo "ok$few" || echo FAILED)"
	if [ "$status" = 0 ]; then
		passed=$((passed + 1))
		return
	fi
	failed=$((failed + 1))
	grep -E 'does not hold|ERROR|runtime error|SUMMARY' "$log" | sed 's/^/    /' || true
	file=$(sed -n 's/.*Test unit written to //p' "$log" | tail -n 1)
	say "    log: $log"
	[ -z "$file" ] || say "    again: $build/fuzz/fuzz_$name $file"
}

declare -A running=()
passed=0 failed=0

stop_all() {
	local pid

	trap - INT TERM
	for pid in "${!running[@]}"; do
		kill "$pid" 2>/dev/null || true
	done
	wait
	say "interrupted; what was found is in $build/found and $build/crashes"
	exit 130
}

fuzz_all() {
	local name pid status next=0

	while [ $next -lt ${#names[@]} ] || [ ${#running[@]} -gt 0 ]; do
		while [ $next -lt ${#names[@]} ] && [ ${#running[@]} -lt $jobs ]; do
			fuzz "${names[next]}" &
			running[$!]=${names[next]}
			next=$((next + 1))
		done
		status=0
		wait -n -p pid "${!running[@]}" || status=$?
		name=${running[$pid]}
		unset "running[$pid]"
		report "$name" "$status"
	done
}

# Inputs that were found, not written by seeds.c, have names of 12 hexadecimal digits.
is_find() { [[ ${1##*/} =~ ^[0-9a-f]{12}$ ]]; }

# The seeds, and the fewest of all finds, old and new, that reach each edge the seeds do not; the
# largest if that is more than $keep in all. Older finds that are not among them go.
merge_all() {
	local name fresh old file count needed

	for name in "${names[@]}"; do
		fresh=$build/merged/$name
		old=$build/merged/$name-old
		rm -rf "$fresh" "$old"
		mkdir -p "$fresh" "$old" "$build/found/$name"
		for file in "fuzz/corpus/$name"/*; do
			if is_find "$file"; then cp "$file" "$old"; else cp "$file" "$fresh"; fi
		done
		"$build/fuzz/fuzz_$name" -set_cover_merge=1 -use_counters=0 -max_len=$length "$fresh" \
			"$old" "$build/found/$name" >"$build/logs/$name-merge.log" 2>&1 ||
			die "merging $name failed; see $build/logs/$name-merge.log"
		needed=$(find "$fresh" -type f | wc -l)
		find "fuzz/corpus/$name" -regextype egrep -type f -regex '.*/[0-9a-f]{12}' -delete
		count=$(find "fuzz/corpus/$name" -type f | wc -l)
		while read -r file && [ "$count" -lt $keep ]; do
			[ ! -e "fuzz/corpus/$name/$file" ] || continue
			cp "$fresh/$file" "fuzz/corpus/$name/${file:0:12}"
			count=$((count + 1))
		done < <(find "$fresh" -type f -printf '%s %f\n' | sort -rn | cut -d ' ' -f 2)
		say "$name: $count inputs of the $needed that reach every edge known"
	done
}

main() {
	arguments "$@"
	mkdir -p "$build/logs"
	say "building ${#names[@]} harnesses in $build"
	build_all
	if [ -n "$merge" ]; then
		merge_all
		return
	fi
	trap stop_all INT TERM
	say "fuzzing for $seconds s and $runs runs each, $jobs at a time: ${names[*]}"
	fuzz_all
	if [ $failed -gt 0 ]; then
		say "FAIL: $passed passed, $failed failed, 0 skipped"
		exit 1
	fi
	say "PASS: $passed passed, 0 failed, 0 skipped (fuzzed for $seconds s each)"
}

main "$@"
