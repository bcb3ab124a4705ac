# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=sh
#
# sh vm.sh SCENARIO: runs a scenario script in the stage, the current directory, which has
# the binaries toyvmm and toyvmm-ctl and a directory with vmlinuz and initrd for each guest
# kernel. For busybox's sh, as that is what an emulated machine has. A scenario uses the
# functions below, and says what it finds in lines; some are tagged:
#
#   guest| TEXT       a line of the guest's console
#   @alive            every few seconds, whatever the guest does
#   @status N         the end: 0 if all went well

VM_PID=        # the running toyvmm
VM_DIR=        # its console, control socket and so on
VM_SERIAL=0    # number of guests started

say()
{
	printf '%s\n' "$*"
}

# until_true SECONDS COMMAND...: polls a condition; fails when it did not come true in time.
until_true()
{
	deadline=$(($(now) + $1))
	shift
	until "$@"; do
		[ "$(now)" -lt "$deadline" ] || return 1
		sleep 0.2
	done
}

now()
{
	read -r up _ </proc/uptime
	echo "${up%.*}"
}

vm_alive()
{
	[ -n "$VM_PID" ] && kill -0 "$VM_PID" 2>/dev/null
}

# vm_start KERNEL APPEND TOYVMM_OPTION...: boots a guest and waits until it takes commands.
vm_start()
{
	kernel=$1 append=$2
	shift 2
	VM_SERIAL=$((VM_SERIAL + 1))
	VM_DIR=$VM_TMP/$VM_SERIAL
	mkdir "$VM_DIR"
	mkfifo "$VM_DIR/in" "$VM_DIR/tail"
	: >"$VM_DIR/console"
	echo 0 >"$VM_DIR/sequence"
	exec 3<>"$VM_DIR/in" # held open, or the guest would see its console end
	./toyvmm --kernel "$kernel/vmlinuz" --initrd "${VM_INITRD:-$kernel/initrd}" \
		--append "console=ttyS0 quiet panic=-1 ${VM_APPEND:-} $append" --control "$VM_DIR/control" "$@" \
		<"$VM_DIR/in" >>"$VM_DIR/console" 2>&1 3>&- &
	VM_PID=$!
	vm_relay <"$VM_DIR/tail" 3>&- &
	tail -n +1 -f "$VM_DIR/console" >"$VM_DIR/tail" 3>&- &
	VM_TAIL=$!
	until_true "${VM_BOOT_SECONDS:-60}" vm_ready && vm_alive && return
	vm_alive || say "toyvmm ended before the guest was ready"
	return 1
}

# vm_go_on TOYVMM_OPTION...: another process with the guest of the one before, at the same console
# and the same control socket, with --restore FILE or --takeover SOCKET among its options. Waits
# until it answers; fails if it ended instead.
vm_go_on()
{
	./toyvmm --control "$VM_DIR/control" "$@" \
		<"$VM_DIR/in" >>"$VM_DIR/console" 2>&1 3>&- &
	VM_PID=$!
	until_true "${VM_BOOT_SECONDS:-60}" vm_answers && vm_alive
}

# It, and none that was there before.
vm_answers()
{
	! vm_alive || vm_ctl info 2>/dev/null | grep -q "\"pid\":$VM_PID,"
}

# Marks the lines of the guest's console, each with one write, as others write meanwhile. A
# last line that was cut off is left out, or it would run into what comes next.
vm_relay()
{
	while IFS= read -r line; do
		printf 'guest| %s\n' "$line"
	done
}

vm_ready()
{
	! vm_alive || grep -q '^GUEST ready' "$VM_DIR/console"
}

# vm_guest COMMAND...: runs it in the guest and prints what it printed; returns its status,
# or 124 if no answer came.
vm_guest()
{
	vm_send "$*"
	until_true "${VM_GUEST_SECONDS:-90}" vm_replied && vm_alive || return 124
	sed -n "s/\r*$//; s/^OUT $VM_SEQ //p" "$VM_DIR/console"
	return "$(sed -n "s/\r*$//; s/^REPLY $VM_SEQ //p" "$VM_DIR/console")"
}

# Numbers the commands, so that each finds its answer. The number is in a file because
# commands are given in subshells too.
vm_send()
{
	read -r VM_SEQ <"$VM_DIR/sequence"
	VM_SEQ=$((VM_SEQ + 1))
	echo $VM_SEQ >"$VM_DIR/sequence"
	printf '%s %s\n' $VM_SEQ "$*" >&3
}

vm_replied()
{
	! vm_alive || grep -q "^REPLY $VM_SEQ " "$VM_DIR/console"
}

vm_ctl()
{
	command=$1
	shift
	./toyvmm-ctl "$VM_DIR/control" "$command" "$@"
}

# vm_info [DEVICE.]KEY: one value out of the VMM's one-line answer; DEVICE is balloon, mem0...
# The guest's statistics are in the way there: "toyvmm-ctl stats" has them a line each.
vm_info()
{
	case $1 in
	balloon.*) part='s/"stats":{[^}]*},*//; s/.*"balloon":{\([^}]*\)}.*/\1/;' ;;
	*.*) part="s/.*\"id\":\"${1%%.*}\"\\([^}]*\\)}.*/\\1/;" ;;
	*) part= ;;
	esac
	vm_ctl info | sed -n "$part s/.*\"${1#*.}\":\"\{0,1\}\([^\",}]*\).*/\1/p"
}

# The same in kilobytes, as the kernels count; -1 if there is no such value.
vm_info_kb()
{
	bytes=$(vm_info "$1")
	echo $((${bytes:--1024} / 1024))
}

# Kilobytes that the host's kernel says are resident in the VMM, which it counts apart where
# they are huge pages: its word, not ours.
vm_rss()
{
	rss=0
	while read -r key value _; do
		case $key in
		VmRSS: | HugetlbPages:) rss=$((rss + value)) ;;
		esac
	done <"/proc/$VM_PID/status"
	echo $rss
}

# The newest memory line of the guest as "TOTAL FREE" in kilobytes.
vm_guest_memory()
{
	tail -n 8 "$VM_DIR/console" |
		sed -n 's/^GUEST time=.* MemTotal=\([0-9]*\) MemFree=\([0-9]*\) kB.*/\1 \2/p' | tail -n 1
}

# vm_stop: powers the guest off; fails if toyvmm did not end by itself with status 0.
vm_stop()
{
	vm_alive && vm_send poweroff -f
	until_true 30 vm_gone && wait "$VM_PID"
	vm_end $?
}

vm_gone()
{
	! vm_alive
}

vm_kill()
{
	[ -z "$VM_PID" ] || kill -9 "$VM_PID" 2>/dev/null
	vm_end 1
}

vm_end()
{
	[ -z "$VM_PID" ] || kill "$VM_TAIL" 2>/dev/null
	exec 3>&-
	VM_PID=
	return "$1"
}

vm_finish()
{
	vm_kill
	kill "$VM_PULSE" 2>/dev/null
	rm -rf "$VM_TMP"
	echo "@status $1"
}

VM_TMP=$(mktemp -d /tmp/vm.XXXXXX)
trap 'vm_finish $?' EXIT
trap 'exit 1' INT TERM
while sleep 5; do
	echo @alive
done &
VM_PULSE=$!
# shellcheck disable=SC1090
. "./$1"
