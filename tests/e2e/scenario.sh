# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=sh
#
# Runs the entries that the file "selection" names, each line "GUEST KERNEL ENTRY", in one
# guest for all lines of the same GUEST. For vm.sh, beside whose tags it says
#
#   @entry GUEST/ENTRY PASS|FAIL|SKIP [reason]
#
# Entries are sourced. They use the functions below; a failed check makes the entry fail and
# lets it go on, "|| return" ends an entry that makes no sense any more.

MIB=1024                  # figures are in kilobytes, as the kernels count
RAM=$((384 * MIB))
REGION=$((1024 * MIB))    # of the memory device
MEM_NODE=1                # its NUMA node, which has no other memory
# The VMM's own code and tables, and pages that the running guest touches meanwhile.
SLACK=$((24 * MIB))

mib()
{
	echo "$((($1 + MIB / 2) / MIB))"
}

note()
{
	say "    ....  $*"
}

pass()
{
	say "    ok    $*"
}

wrong()
{
	say "    WRONG $*"
	ENTRY_FAILED=1
	return 1
}

# check TEXT COMMAND...: the command is to succeed.
check()
{
	text=$1
	shift
	if "$@"; then pass "$text"; else wrong "$text"; fi
}

# check_is TEXT VALUE EXPECTED
check_is()
{
	if [ "$2" = "$3" ]; then
		pass "$1: $2"
	else
		wrong "$1: '$2', expected '$3'"
	fi
}

# check_within SECONDS TEXT COMMAND...: the command is to succeed before long.
check_within()
{
	limit=$1 text=$2
	shift 2
	if until_true "$limit" "$@"; then
		pass "$text"
	else
		wrong "$text: not within $limit seconds"
	fi
}

# check_moved TEXT BEFORE AFTER OPERATOR LIMIT: a figure before and after, and what is
# expected of it after; -eq, -le or -ge. All in kilobytes, shown in MiB.
check_moved()
{
	case $4 in
	-le) bound="at most" ;;
	-ge) bound="at least" ;;
	*) bound=exactly ;;
	esac
	text="$1: $(mib "$2") -> $(mib "$3") MiB"
	if test "$3" "$4" "$5"; then
		pass "$text"
	else
		wrong "$text, expected $bound $(mib "$5") MiB ($3 KiB, expected $5 KiB)"
	fi
}

# The VMM's resident set once it obeys OPERATOR LIMIT, or after ten seconds: the guest may
# still be busy giving pages back when its driver reports the end.
rss_settled()
{
	until_true 10 rss_is "$1" "$2" || true
	vm_rss
}

rss_is()
{
	test "$(vm_rss)" "$1" "$2"
}

guest_total()
{
	vm_guest "awk '/^MemTotal/ { print \$2 }' /proc/meminfo"
}

guest_free()
{
	vm_guest "awk '/^MemFree/ { print \$2 }' /proc/meminfo"
}

guest_total_is()
{
	[ "$(guest_total)" -eq "$1" ]
}

balloon_is()
{
	[ "$(vm_info_kb balloon.actual)" -eq "$1" ]
}

plugged_is()
{
	[ "$(vm_info_kb mem0.plugged)" -eq "$1" ]
}

set_balloon()
{
	check "set-balloon $(mib "$1")M" command_ok set-balloon "$(($1 * 1024))" &&
		check_within 90 "balloon of $(mib "$1") MiB is reached exactly" balloon_is "$1"
}

set_plugged()
{
	check "set-requested mem0 $(mib "$1")M" command_ok set-requested mem0 "$(($1 * 1024))" &&
		check_within 90 "plugged size is $(mib "$1") MiB, exactly" plugged_is "$1"
}

# command_ok COMMAND...: succeeds if the VMM does what is asked.
command_ok()
{
	vm_ctl "$@" >"$VM_DIR/answer"
}

# refused COMMAND...: succeeds if the VMM answers with an error and goes on.
refused()
{
	! vm_ctl "$@" >"$VM_DIR/answer" 2>&1 && grep -q error "$VM_DIR/answer" && vm_alive
}

# --- guests and entries ---------------------------------------------------------------

# What differs between guests, so that each way of the rings meets a real driver.
guest_options()
{
	case $1 in
	6.12-split) echo "--memory 384M --cpus 2 --balloon --mem size=1G,block=2M,node=$MEM_NODE" ;;
	6.12-packed)
		ring=notification-data=on,in-order=on
		echo "--packed --memory 384M --balloon=$ring" \
			"--mem size=1G,block=2M,node=$MEM_NODE,$ring"
		;;
	6.1-split)
		ring=indirect=off,event-idx=off
		echo "--memory 384M --balloon=$ring --mem size=1G,block=2M,node=$MEM_NODE,$ring"
		;;
	6.1-packed)
		echo "--packed --memory 384M,backing=memfd --cpus 2 --balloon=must-tell-host=on" \
			"--mem size=1G,block=4M,node=$MEM_NODE"
		;;
	esac
}

show_console()
{
	grep -v '^GUEST time' "$VM_DIR/console" | tail -n 25 | sed 's/^/    guest: /'
}

start_guest()
{
	options=$(guest_options "$GUEST")
	say "--- $GUEST: toyvmm $options"
	# shellcheck disable=SC2086
	if vm_start "$1" "memhp_default_state=online_movable swiotlb=noforce" $options; then
		return
	fi
	say "    the guest did not come up; the end of its console:"
	show_console
	vm_kill
}

run_entry()
{
	ENTRY=$1 ENTRY_FAILED=0
	say "$GUEST/$ENTRY"
	# shellcheck disable=SC1090
	. "./entries/$ENTRY.sh"
	if [ $ENTRY_FAILED -eq 0 ]; then
		echo "@entry $GUEST/$ENTRY PASS"
	else
		[ -z "$VM_PID" ] || show_console
		echo "@entry $GUEST/$ENTRY FAIL"
	fi
}

GUEST=
while read -r guest kernel entry <&4; do
	if [ "$guest" != "$GUEST" ]; then
		[ -z "$VM_PID" ] || vm_stop || true
		GUEST=$guest
		BOOTED=yes
		start_guest "$kernel" || BOOTED=no
	fi
	if [ "$BOOTED" = no ]; then
		echo "@entry $GUEST/$entry FAIL the guest did not boot"
	elif vm_alive; then
		run_entry "$entry"
	else
		echo "@entry $GUEST/$entry FAIL toyvmm ended before"
	fi
done 4<selection
[ -z "$VM_PID" ] || vm_stop || true
