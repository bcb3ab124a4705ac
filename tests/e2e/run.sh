#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
#
# End-to-end tests: Debian's kernels 6.12 and 6.1, with split and with packed rings, under the
# toy VMM.
#
#	tests/e2e/run.sh --build DIR               everything; DIR is a meson build directory
#	tests/e2e/run.sh --build DIR --only GLOB   only entries such as 6.1-packed/balloon
#	tests/e2e/run.sh --build DIR --jobs N      N emulated machines side by side, not one a core
#	tests/e2e/run.sh --list                    the entries
#
# Installs what it needs (Debian 12, root or sudo). Leaves what each guest said in DIR/e2e/GUEST.
# Exit status: 0 if all passed, 1 if not, 2 wrong usage.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source-path=SCRIPTDIR source=../../examples/kvm/lab/lab.sh
. "$here/../../examples/kvm/lab/lab.sh"

# Guests, and the entries that run in each, in this order.
declare -A ENTRIES=(
	[6.12-split]="drivers features balloon stats hinting mem rebind health"
	[6.12-packed]="drivers features balloon stats hinting inhibit mem rebind health"
	[6.1-split]="drivers features balloon stats hinting inhibit mem rebind health"
	[6.1-packed]="drivers features balloon stats hinting mem rebind health"
	[6.12-split-lean]="features stats reporting oom health"
	[6.12-packed-lean]="features rebind reporting frames oom health"
	[6.1-split-lean]="features rebind reporting frames oom health"
	[6.1-packed-lean]="features reporting hinting oom health"
	[6.12-split-mem]="steps touch pinned nodes huge reboot guarded"
	[6.1-packed-mem]="steps touch pinned nodes huge reboot guarded"
	[6.12-packed-pmem]="pmem-root pmem-readonly pmem-failure pmem pmem-move health"
	[6.1-split-pmem]="pmem-root pmem-readonly pmem-failure pmem pmem-move health"
	[6.12-packed-move]="snapshot-inflate snapshot-hinted snapshot-plug update health"
	[6.1-split-move]="snapshot-inflate snapshot-hinted snapshot-plug update health"
)
GUESTS=(6.12-split 6.12-packed 6.1-split 6.1-packed
	6.12-split-lean 6.12-packed-lean 6.1-split-lean 6.1-packed-lean
	6.12-split-mem 6.1-packed-mem 6.12-packed-pmem 6.1-split-pmem
	6.12-packed-move 6.1-split-move)
SECONDS_A_GUEST=600 # several times what the slowest needs on an idle machine

bad_usage()
{
	echo "tests/e2e/run.sh: $1; try --help" >&2
	exit 2
}

build='' only='*' jobs=''
while [ $# -gt 0 ]; do
	case $1 in
	--build | --only | --jobs)
		[ $# -ge 2 ] || bad_usage "$1: expected a value"
		case $1 in
		--build) build=$2 ;;
		--only) only=$2 ;;
		--jobs) jobs=$2 ;;
		esac
		shift 2
		;;
	--list)
		# shellcheck disable=SC2086
		for guest in "${GUESTS[@]}"; do printf "$guest/%s\n" ${ENTRIES[$guest]}; done
		exit 0
		;;
	-h | --help) sed -n '4,13s/^# \{0,1\}//p' "$0"; exit 0 ;;
	*) bad_usage "unexpected argument '$1'" ;;
	esac
done

# The lines for the file "selection": guest, kernel, entry.
select_entries()
{
	local guest entry

	for guest in "${GUESTS[@]}"; do
		for entry in ${ENTRIES[$guest]}; do
			# shellcheck disable=SC2053
			[[ $guest/$entry != $only ]] || echo "$guest ${guest%%-*} $entry"
		done
	done
}

stage()
{
	local series list

	rm -rf "$work"
	mkdir -p "$work/stage" "$work/kernels"
	cp "$build"/examples/kvm/toyvmm{,-ctl} "$work/stage/"
	cp "$here/scenario.sh" "$work/stage/"
	cp -r "$here/entries" "$work/stage/"
	lab_e2fs "$work/stage/e2fs"
	select_entries >"$work/selection"
	list=$(cut -d' ' -f2 "$work/selection" | sort -u)
	for series in $list; do
		lab_kernel "$series"
		lab_guest_image "$LAB_KERNEL" "$work/kernels/$series" "$work"
	done
	[ "$LAB_PLACE" = hardware ] || lab_kernel 6.12
	echo "$LAB_KERNEL" >"$work/stage/outer-kernel"
}

# How many machines run side by side: as many as there are processors, of which each machine keeps
# one busy, and as memory is there for. Guests on this machine's own KVM are fast, and would get in
# each other's way: some set its huge pages aside.
choose_jobs()
{
	local wanted=${jobs:-$(nproc)} free room

	jobs=1
	[ "$LAB_PLACE" = emulated ] || return 0
	free=$(($(awk '/^MemAvailable:/ { print $2 }' /proc/meminfo) / 1024))
	room=$((free / LAB_MACHINE_MIB))
	jobs=$wanted
	if [ "$room" -lt "$wanted" ]; then
		jobs=$((room > 1 ? room : 1))
		lab_say "not $wanted machines side by side, but $jobs: each may take $LAB_MACHINE_MIB MiB, $free are available"
	fi
}

# Keeps what a guest's machine says and its entries' results, and shows all lines as they come,
# with the time and the guest's name.
show()
{
	local guest=$1 line

	while IFS= read -r line; do
		case $line in
		@again)
			: >"$work/$guest/results"
			: >"$work/$guest/said.log"
			continue
			;;
		'@entry '*)
			line=${line#@entry }
			echo "$line" >>"$work/$guest/results"
			line=${line#"$guest/"}
			;;
		*) echo "$line" >>"$work/$guest/said.log" ;;
		esac
		printf '%5ss %s: %s\n' $((SECONDS - started)) "$guest" "$line"
	done
}

# One machine a guest, so that nothing is carried over from one to the next, with a stage of its
# own.
run_guest()
{
	local guest=$1 own=$work/$1

	cp -r "$work/stage" "$own/"
	cp -r "$work/kernels/${guest%%-*}" "$own/stage/"
	grep "^$guest " "$work/selection" >"$own/stage/selection"
	lab_run_again "$own/stage" "$own" "$SECONDS_A_GUEST" cat forget_results 2>&1 |
		show "$guest" || true
	rm -rf "$own/stage" "$own/outer-initrd"
}

# In the stream, as what was said before has to be forgotten, too.
forget_results()
{
	echo @again
}

# Each guest is a process group of its own, to be ended as a whole.
run_guests()
{
	local guest running=0

	trap stop_guests EXIT
	trap 'exit 129' HUP
	trap 'exit 130' INT
	trap 'exit 143' TERM
	for guest in $guests; do
		mkdir "$work/$guest"
		touch "$work/$guest"/{results,said.log,guest.log}
		if [ $running -eq "$jobs" ]; then
			wait -n || true
			running=$((running - 1))
		fi
		set -m
		run_guest "$guest" </dev/null &
		set +m
		running=$((running + 1))
	done
	wait
	trap - EXIT HUP INT TERM
}

stop_guests()
{
	local group

	for group in $(jobs -p); do
		kill -- "-$group" 2>/dev/null || true
	done
	wait
}

# What went wrong in a guest, in one place: its failed checks, and the end of its console.
explain()
{
	echo "--- $1 failed; what it said was wrong, and the end of its console ($work/$1/guest.log):"
	grep -E 'WRONG|did not' "$work/$1/said.log" || echo "    (no check failed: it did not come to its end)"
	{ grep -v '^GUEST time' "$work/$1/guest.log" || true; } | tail -n 30 | sed 's/^/    guest: /'
}

# Counts by what was selected, so that an entry that gave no result has failed.
summary()
{
	local guest entry result reasons='' wrong='' passed=0 failed=0 skipped=0

	echo "--- results"
	while read -r guest _ entry; do
		result=$(sed -n "s,^$guest/$entry ,,p" "$work/$guest/results")
		printf '%-22s %s\n' "$guest/$entry" "${result:-FAIL no result}"
		case $result in
		PASS*) passed=$((passed + 1)) ;;
		SKIP*) skipped=$((skipped + 1)) reasons="${reasons:+$reasons; }$guest/$entry:${result#SKIP}" ;;
		*) failed=$((failed + 1)) wrong="$wrong$guest"$'\n' ;;
		esac
	done <"$work/selection"
	for guest in $(sort -u <<<"$wrong"); do
		explain "$guest"
	done
	[ "$failed" -eq 0 ] && result=PASS || result=FAIL
	echo "$result: $passed passed, $failed failed, $skipped skipped${reasons:+ ($reasons)}"
	[ "$failed" -eq 0 ]
}

[ -z "$jobs" ] || [[ $jobs =~ ^[1-9][0-9]*$ ]] || bad_usage "--jobs '$jobs': expected a number above 0"
[ -n "$build" ] || bad_usage "--build DIR is missing: a directory made by 'meson setup'"
[ -x "$build/examples/kvm/toyvmm" ] ||
	bad_usage "$build/examples/kvm/toyvmm is missing; build with 'meson compile -C $build', examples enabled"
guests=$(select_entries | cut -d' ' -f1 | uniq)
[ -n "$guests" ] || bad_usage "--only '$only' matches no entry; --list shows them"
build=$(cd "$build" && pwd)
work=$build/e2e
started=$SECONDS
lab_choose_place
lab_guest_packages
lab_packages "e2fsprogs makes the guests' file systems, and looks into them without a guest"
stage
choose_jobs
lab_say "running $(wc -l <"$work/selection") entries, guests side by side: $jobs, in: ${guests//$'\n'/ }"
run_guests
summary
