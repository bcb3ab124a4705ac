#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
#
# Tests of examples/vhost-user: the protocol, used and abused by a front end of our own, and
# Debian's user-mode Linux with its stock balloon driver.
#
#	tests/vhost-user/run.sh --build DIR               everything; DIR is a meson build directory
#	tests/vhost-user/run.sh --build DIR --only GLOB   only entries such as uml/reporting
#	tests/vhost-user/run.sh --list                    the entries
#
# Takes half a minute. Installs what it needs (Debian 12, root or sudo). Exit status: 0 if all
# passed, 1 if not, 2 wrong usage.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source-path=SCRIPTDIR source=../../examples/kvm/lab/lab.sh
. "$here/../../examples/kvm/lab/lab.sh"

export PYTHONDONTWRITEBYTECODE=1
GROUPS_OF_ENTRIES=(protocol uml)

bad_usage()
{
	echo "tests/vhost-user/run.sh: $1; try --help" >&2
	exit 2
}

# All entries, GROUP/NAME.
list()
{
	local group

	for group in "${GROUPS_OF_ENTRIES[@]}"; do
		python3 "$here/$group.py" --list
	done
}

build='' only='*'
while [ $# -gt 0 ]; do
	case $1 in
	--build | --only)
		[ $# -ge 2 ] || bad_usage "$1: expected a value"
		if [ "$1" = --build ]; then build=$2; else only=$2; fi
		shift 2
		;;
	--list) list; exit 0 ;;
	-h | --help) sed -n '4,13s/^# \{0,1\}//p' "$0"; exit 0 ;;
	*) bad_usage "unexpected argument '$1'" ;;
	esac
done

select_entries()
{
	local entry

	while read -r entry; do
		# shellcheck disable=SC2053
		[[ $entry != $only ]] || echo "$entry"
	done < <(list)
}

packages()
{
	lab_packages "python3 the front end that the protocol is tested with, and what runs the tests"
	if grep -q '^uml/' "$work/selection"; then
		lab_packages \
			"user-mode-linux Linux as an ordinary process, which is a vhost-user front end" \
			"busybox-static the user land of that guest" \
			"cpio packs the guest's initial file system"
	fi
}

# The guest's initial file system: a busybox, the stock driver, and our init.
guest_image()
{
	local root=$work/root module

	module=$(find /usr/lib/uml/modules -name virtio_balloon.ko | sort -V | tail -n 1)
	[ -n "$module" ] ||
		lab_die "no virtio_balloon.ko below /usr/lib/uml/modules, where Debian's user-mode-linux has it"
	mkdir -p "$root"/{bin,proc,sys,dev}
	cp "$(command -v busybox)" "$root/bin/busybox"
	cp "$module" "$root/"
	cp "$here/guest-init.sh" "$root/init"
	chmod +x "$root/init"
	(cd "$root" && find . | cpio -o -H newc --quiet | gzip -1) >"$work/initrd"
}

# Shows a group's lines as they come, with the time, and keeps the entries' results.
show()
{
	local line

	while IFS= read -r line; do
		case $line in
		'@entry '*)
			line=${line#@entry }
			echo "$line" >>"$work/results"
			;;
		esac
		printf '%5ss %s\n' $((SECONDS - started)) "$line"
	done
}

run_group()
{
	local entries

	mapfile -t entries < <(grep "^$1/" "$work/selection" || true)
	[ ${#entries[@]} -gt 0 ] || return 0
	[ "$1" != uml ] || guest_image
	# What it fails to say counts as failed below.
	TMPDIR=$work/tmp python3 "$here/$1.py" --daemon "$program" --initrd "$work/initrd" \
		--uml linux.uml "${entries[@]}" 2>&1 | show || true
}

# Counts by what was selected, so that an entry that gave no result has failed.
summary()
{
	local entry result passed=0 failed=0

	echo "--- results"
	while read -r entry; do
		result=$(sed -n "s,^$entry ,,p" "$work/results")
		printf '%-32s %s\n' "$entry" "${result:-FAIL no result}"
		if [[ $result == PASS* ]]; then passed=$((passed + 1)); else failed=$((failed + 1)); fi
	done <"$work/selection"
	[ "$failed" -eq 0 ] && result=PASS || result=FAIL
	echo "$result: $passed passed, $failed failed, 0 skipped"
	[ "$failed" -eq 0 ]
}

[ -n "$build" ] || bad_usage "--build DIR is missing: a directory made by 'meson setup'"
program=$build/examples/vhost-user/vmemdev-vhost-user-balloon
[ -x "$program" ] ||
	bad_usage "$program is missing; build with 'meson compile -C $build', examples enabled"
program=$(cd "$(dirname "$program")" && pwd)/vmemdev-vhost-user-balloon
# Sockets and consoles go below here; a socket's path must be short.
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/tmp"
started=$SECONDS
select_entries >"$work/selection"
[ -s "$work/selection" ] || bad_usage "--only '$only' matches no entry; --list shows them"
: >"$work/results"
packages
lab_say "running $(wc -l <"$work/selection") entries"
for group in "${GROUPS_OF_ENTRIES[@]}"; do
	run_group "$group"
done
summary
