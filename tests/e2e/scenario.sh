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
RAM=0                     # of the running guest
REGION=0                  # of its memory device
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

balloon_count()
{
	vm_info "balloon.$1"
}

# What a counter of pages stands for, in kilobytes.
balloon_pages_kb()
{
	echo $(($(vm_info "balloon.$1") * 4))
}

# balloon_count_is COUNTER OPERATOR VALUE
balloon_count_is()
{
	test "$(vm_info "balloon.$1")" "$2" "$3"
}

balloon_sound()
{
	check_is "discards that failed" "$(balloon_count host_failures)" 0
	check_is "a fault" "$(vm_info balloon.fault)" none
}

guest_free_is()
{
	test "$(guest_free)" "$1" "$2"
}

# The balloon is empty and nothing runs, nor does a report wait, whose pages do not count as
# free while the host makes it wait.
guest_at_rest()
{
	check_within 30 "the guest is at rest" guest_free_is -ge $(($(guest_total) - 40 * MIB))
}

# What the guest can fill in one go without being short of memory, in MiB.
fillable()
{
	echo $((($(guest_free) / MIB - 40) / 16 * 16))
}

# use_and_free MIB: the guest's free memory is then held by the host, and stays so: were
# pages reported, they were so while that had no effect, and a page is reported but once.
use_and_free()
{
	quiet=$(balloon_count pages_inhibited)
	check "inhibit" command_ok inhibit
	check "the guest uses $1 MiB" vm_guest fill "$1" || return
	vm_guest empty
	case $GUEST in
	*-lean)
		check_within 60 "the guest has reported its free pages in vain" \
			balloon_count_is pages_inhibited -ge $((quiet + $1 * 256 * 9 / 10))
		;;
	esac
	check "uninhibit" command_ok uninhibit
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

# What differs between guests, so that each option meets a real driver. The lean ones report
# free pages, deflate on OOM, and most have a balloon without some of its queues.
guest_options()
{
	mem="--mem node=$MEM_NODE"
	lean=reporting=on,deflate-on-oom=on
	case $1 in
	6.12-split) echo "--memory 384M --cpus 2 --balloon $mem,size=1G,block=2M" ;;
	6.12-packed)
		ring=notification-data=on,in-order=on
		echo "--packed --memory 384M --balloon=$ring,must-tell-host=on,frame=4K" \
			"$mem,size=1G,block=2M,$ring"
		;;
	6.1-split)
		ring=indirect=off,event-idx=off
		echo "--memory 384M --balloon=$ring,must-tell-host=on,frame=4K $mem,size=1G,block=2M,$ring"
		;;
	6.1-packed)
		echo "--packed --memory 384M,backing=memfd --cpus 2 --balloon=must-tell-host=require" \
			"$mem,size=512M,block=4M"
		;;
	6.12-split-lean) echo "--memory 256M --balloon=$lean,report-min=4M,queues=text" ;;
	6.12-packed-lean)
		echo "--packed --memory 384M,backing=hugetlb" \
			"--balloon=$lean,stats=off,hinting=off,report-limit=1G"
		;;
	6.1-split-lean) echo "--memory 256M --balloon=$lean,stats=off,hinting=off,frame=2M" ;;
	6.1-packed-lean)
		echo "--packed --memory 256M,backing=memfd --balloon=$lean,stats=off"
		;;
	esac
}

guest_append()
{
	append="memhp_default_state=online_movable swiotlb=noforce"
	case $1 in
	# Linux accepts PAGE_POISON only if it overwrites what it frees, here with zeros.
	6.1-packed-lean) append="$append init_on_free=1" ;;
	esac
	echo "$append"
}

# The first six features that the guest's balloon driver is to accept, bit 0 first:
# MUST_TELL_HOST, STATS_VQ, DEFLATE_ON_OOM, FREE_PAGE_HINT, PAGE_POISON, PAGE_REPORTING
guest_features()
{
	case $1 in
	6.12-split) echo 010100 ;;
	6.12-split-lean) echo 011101 ;;
	6.12-packed-lean | 6.1-split-lean) echo 101001 ;;
	6.1-packed-lean) echo 001111 ;;
	*) echo 110100 ;;
	esac
}

# Huge pages that the guest's RAM takes.
guest_huge_pages()
{
	case $1 in
	6.12-packed-lean) echo 192 ;;
	*) echo 0 ;;
	esac
}

host_meminfo()
{
	awk "/^$1:/ { print \$2 }" /proc/meminfo
}

# Sets huge pages aside on the host; fails if there are not $1 free ones then.
reserve_huge_pages()
{
	HUGE_PAGES_BEFORE=$(cat /proc/sys/vm/nr_hugepages)
	[ "$1" -eq 0 ] && return
	echo $((HUGE_PAGES_BEFORE + $1)) 2>/dev/null >/proc/sys/vm/nr_hugepages
	[ "$(host_meminfo HugePages_Free)" -ge "$1" ]
}

release_huge_pages()
{
	[ "$(cat /proc/sys/vm/nr_hugepages)" -eq "$HUGE_PAGES_BEFORE" ] ||
		echo "$HUGE_PAGES_BEFORE" >/proc/sys/vm/nr_hugepages
}

show_console()
{
	grep -v '^GUEST time' "$VM_DIR/console" | tail -n 25 | sed 's/^/    guest: /'
}

# Sets BOOTED to yes, or to the result of all entries of the guest.
start_guest()
{
	options=$(guest_options "$GUEST")
	say "--- $GUEST: toyvmm $options"
	if ! reserve_huge_pages "$(guest_huge_pages "$GUEST")"; then
		BOOTED="SKIP $(guest_huge_pages "$GUEST") huge pages of 2 MiB cannot be reserved here"
		return
	fi
	BOOTED=yes
	# shellcheck disable=SC2086
	if vm_start "$1" "$(guest_append "$GUEST")" $options; then
		RAM=$(vm_info_kb memory)
		REGION=$(vm_info_kb mem0.size)
		return
	fi
	BOOTED="FAIL the guest did not boot"
	say "    the guest did not come up; the end of its console:"
	show_console
	vm_kill
}

stop_guest()
{
	[ -z "$VM_PID" ] || vm_stop || true
	[ -z "$GUEST" ] || release_huge_pages
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
		stop_guest
		GUEST=$guest
		start_guest "$kernel"
	fi
	if [ "$BOOTED" != yes ]; then
		echo "@entry $GUEST/$entry $BOOTED"
	elif vm_alive; then
		run_entry "$entry"
	else
		echo "@entry $GUEST/$entry FAIL toyvmm ended before"
	fi
done 4<selection
stop_guest
