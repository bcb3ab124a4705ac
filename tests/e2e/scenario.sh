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
STARTS=1                  # of the guest so far, in its VMM
MEM_IDS=                  # of all memory devices
HUGE_REGION=1024          # GiB of a memory device that is nearly empty
DISK=                     # where the files of persistent memory are
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
	limit=$(($1 * ${VM_PATIENCE:-1})) text=$2
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

# The VMM's resident set once it obeys OPERATOR LIMIT, or after ten seconds and more: the guest may
# still be busy giving pages back when its driver reports the end.
rss_settled()
{
	until_true $((10 * ${VM_PATIENCE:-1})) rss_is "$1" "$2" || true
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

# resize_to ID KIB: the VMM brings the device to that size and tells how it went.
resize_to()
{
	if vm_ctl resize "$1" "$(($2 * 1024))" timeout=120 >"$VM_DIR/resize-$1" 2>&1; then
		pass "resize: $(tail -n 1 "$VM_DIR/resize-$1")"
	else
		wrong "resize $1 to $(mib "$2") MiB: $(tail -n 1 "$VM_DIR/resize-$1")" || return
	fi
	check_moved "$1: plugged" 0 "$(vm_info_kb "$1.plugged")" -eq "$2"
}

# Kilobytes of memory of one of the guest's NUMA nodes, which are there while they have some.
guest_node()
{
	vm_guest "[ ! -d /sys/devices/system/node/node$1 ] && echo 0 || node $1"
}

# check_slots ID: KVM has slots for what is plugged and no more.
check_slots()
{
	slot=$(vm_info_kb "$1.slot_size")
	plugged=$(vm_info_kb "$1.plugged")
	check_is "$1: KVM's slots of $(mib "$slot") MiB, with $(mib "$plugged") MiB plugged" \
		"$(vm_info "$1.slots")" $(((plugged + slot - 1) / slot))
}

# Nothing went wrong with a memory device, as far as itself can tell.
mem_sound()
{
	check_is "$1: requests that failed" "$(vm_info "$1.error")" 0
	check_is "$1: plugs or discards that failed" "$(vm_info "$1.host_failures")" 0
	check_is "$1: requests that went past the target" "$(vm_info "$1.nack")" 0
	check_is "$1: a fault" "$(vm_info "$1.fault")" none
}

# No device needs a reset, and the guest's kernel has not complained.
guest_sound()
{
	balloon=$(vm_guest device 5)
	mem=$(vm_guest device 24)
	check_is "a fault of the balloon" "$(vm_info balloon.fault)" none
	check "the guest still names the balloon: $balloon" [ -n "$balloon" ]
	for id in $MEM_IDS; do
		check_is "a fault of $id" "$(vm_info "$id.fault")" none
	done
	check_is "memory devices that the guest names" "$(echo "$mem" | wc -w)" \
		"$(echo "$MEM_IDS" | wc -w)"
	for device in $balloon $mem; do
		# 0x40 would be DEVICE_NEEDS_RESET, 0x80 FAILED
		check_is "status of $device" \
			"$(vm_guest cat "/sys/bus/virtio/devices/$device/status")" 0x0000000f
	done
	check_is "complaints in the guest's kernel log" "$(vm_guest complaints)" none
	check "the guest has started $STARTS times, as it was to" guest_started
}

guest_started()
{
	[ "$(grep -c '^GUEST ready' "$VM_DIR/console")" -eq "$STARTS" ] && vm_alive
}

# Events go to the file "events", from now on.
watch_events()
{
	./toyvmm-ctl "$VM_DIR/control" events >"$VM_DIR/events" &
	EVENTS=$!
	until_true 10 test -s "$VM_DIR/events"
}

unwatch_events()
{
	kill "$EVENTS"
}

not()
{
	! "$@"
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

# --- guests that go on in another process ---------------------------------------------

# The guest works on memory, and looks at each word of it, until work_ends.
work_begins()
{
	check "the guest fills 64 MiB" vm_guest fill 64 || return
	check "and works on them" vm_guest \
		"rm -f /tmp/stop; { pattern work /mem/file /tmp/stop; echo \" ended \$?\"; } >/tmp/work 2>&1 &"
}

work_rounds()
{
	vm_guest "tr -cd . </tmp/work | wc -c"
}

work_moved()
{
	[ "$(work_rounds)" -gt "$1" ]
}

work_goes_on()
{
	rounds=$(work_rounds)
	check_within 60 "the guest goes on working on its memory, after $rounds rounds" \
		work_moved "$rounds"
}

work_over()
{
	vm_guest "grep -q ended /tmp/work"
}

work_ends()
{
	vm_guest "touch /tmp/stop"
	check_within 60 "the guest's work comes to its end" work_over
	check "each word was what it should be" vm_guest "grep -q ' ended 0' /tmp/work"
	check "and all of them at the end" vm_guest intact
	vm_guest empty
}

# The guest's kernel workers, which do what a device asks for, get a thirtieth of the time until the
# guest is calm: what they are at takes long. Its shell is not held up.
guest_busy()
{
	loop="while :; do :; done & echo \$! >>/tmp/busy"
	check "the guest is busy" vm_guest \
		"rm -f /tmp/busy; renice -15 -p 1; for cpu in /sys/bus/cpu/devices/*; do $loop; done"
}

guest_calm()
{
	check "the guest is calm again" vm_guest "kill \$(cat /tmp/busy); renice 0 -p 1"
}

# snapshot FILE [then=quit]: SAVED is then what the VMM said of it.
snapshot()
{
	vm_ctl snapshot "$@" >"$VM_DIR/snapshot" 2>&1 || {
		wrong "snapshot: $(tail -n 1 "$VM_DIR/snapshot")"
		return 1
	}
	SAVED=$(tail -n 1 "$VM_DIR/snapshot")
}

# saved KEY: a figure of that, in kilobytes. DEVICE.KEY: of a device, when it was saved
saved()
{
	case $1 in
	balloon.*) part='s/.*"balloon":{\([^}]*\)}.*/\1/;' ;;
	*.*) part="s/.*\"id\":\"${1%%.*}\"\\([^}]*\\)}.*/\\1/;" ;;
	*) part= ;;
	esac
	bytes=$(echo "$SAVED" | sed -n "$part s/.*\"${1#*.}\":\([0-9]*\).*/\1/p")
	echo $((${bytes:--1024} / 1024))
}

note_saved()
{
	note "written $(mib "$(saved written)") MiB, a record of $(saved record) KiB; not written:" \
		"unplugged $(mib "$(saved unplugged)"), ballooned $(mib "$(saved ballooned)")," \
		"hinted $(mib "$(saved hinted)"), absent $(mib "$(saved absent)")," \
		"zero $(mib "$(saved zero)") MiB; stood still for" \
		"$(echo "$SAVED" | sed 's/.*"paused_ms":\([0-9]*\).*/\1/') ms"
	all=0
	for kind in written unplugged ballooned hinted absent zero; do
		all=$((all + $(saved $kind)))
	done
	check_moved "all of guest memory is accounted for" 0 $all -eq $((RAM + REGION))
}

# ended_well PID: that VMM is to end by itself, with status 0
ended_well()
{
	VM_OLD=$1
	check_within 30 "the old process ends" not kill -0 "$VM_OLD" 2>/dev/null
	check "with status 0" wait "$VM_OLD"
}

# restore FILE BACKING
restore()
{
	# shellcheck disable=SC2046
	check "another process goes on with the snapshot, in $2 memory" \
		vm_go_on --restore "$1" $(move_options "$GUEST" "$2") || return
	rm -f "$1"
	note "$(grep -- '--restore .*goes on' "$VM_DIR/console" | tail -n 1)"
}

# --- persistent memory ----------------------------------------------------------------

# check_flushes ID REQUESTS CALLS: there were more than so many, and none failed.
check_flushes()
{
	requests=$(vm_info "$1.requests") calls=$(vm_info "$1.host_calls")
	check "$1: flushes that the guest asked for: $2 -> $requests" [ "$requests" -gt "$2" ]
	check "$1: flushes of the file: $3 -> $calls" [ "$calls" -gt "$3" ]
	check "$1: no more flushes of the file than the guest asked for" \
		[ $((calls - $3)) -le $((requests - $2)) ]
	check_is "$1: flushes that failed" "$(vm_info "$1.host_failures")" 0
}

# check_fails TEXT COMMAND: the guest is to fail, and says what it heard.
check_fails()
{
	heard=$(vm_guest "$2")
	fails_status=$?
	check "$1: $heard" [ $fails_status -eq 1 ]
}

# after_crash COMMAND...: runs it with "after", a directory of what the disk of "data" would have
# after a failure of power. The other name has Linux take this for another disk, of which it knows nothing.
after_crash()
{
	mkdir -p "$VM_TMP/after-below" "$VM_TMP/after"
	ln "$VM_TMP/image" "$VM_TMP/crashed"
	mount -o loop,ro "$VM_TMP/crashed" "$VM_TMP/after-below" &&
		mount -o loop,ro "$VM_TMP/after-below/image" "$VM_TMP/after" && "$@"
	crash_status=$?
	umount "$VM_TMP/after" "$VM_TMP/after-below"
	rm "$VM_TMP/crashed"
	return $crash_status
}

# --- guests and entries ---------------------------------------------------------------

# What differs between guests, so that each option meets a real driver. The lean ones report
# free pages, deflate on OOM, and most have a balloon without some of its queues.
guest_options()
{
	mem="--mem node=$MEM_NODE"
	lean=reporting=on,deflate-on-oom=on
	case $1 in
	6.12-split)
		echo "--memory 384M --cpus 2 --balloon=must-tell-host=off,frame=off" \
			"$mem,size=1G,block=2M"
		;;
	6.12-packed)
		ring=notification-data=on,in-order=on
		echo "--packed --memory 384M --balloon=$ring" \
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
	6.12-split-mem)
		echo "--memory 512M --cpus 2 --reboot=restart --balloon=frame=off $mem,size=4G,block=2M" \
			"--mem size=${HUGE_REGION}G,block=2M,node=2,guarded=on" \
			"--mem size=256M,block=2M,slots=off,guarded=on"
		;;
	6.1-packed-mem)
		echo "--packed --memory 512M --reboot=restart --balloon=frame=off" \
			"$mem,size=4G,block=4M,slots=512M,persistent-suspend=on" \
			"--mem size=${HUGE_REGION}G,block=1M,node=2,guarded=on"
		;;
	*-pmem)
		ring=
		case $1 in *-packed-*) ring=--packed ;; esac
		echo "$ring --memory 256M,backing=memfd --balloon --pmem path=$DISK/own/data,region=shmem" \
			"--pmem path=$DISK/root,queue-size=2 --pmem path=$DISK/fixed,readonly" \
			"--pmem path=$DISK/thin/file,id=thin"
		;;
	*-move) move_options "$1" memfd ;;
	esac
}

# move_options GUEST BACKING: what the guest does not see may differ where it goes on.
move_options()
{
	case $1 in
	6.12-packed-move)
		echo "--packed --memory 256M,backing=$2 --cpus 2 --balloon=reporting=on" \
			"--mem node=$MEM_NODE,size=1G,block=2M,slots=128M,guarded=on"
		;;
	6.1-split-move)
		echo "--memory 256M,backing=$2 --balloon=reporting=on,frame=2M" \
			"--mem node=$MEM_NODE,size=1G,block=4M"
		;;
	esac
}

# The largest region that the processor can address beside the rest, up to 1 TiB.
choose_huge_region()
{
	bits=$(sed -n '/^address sizes/{s/.*: \([0-9]*\) bits physical.*/\1/p;q;}' /proc/cpuinfo)
	if [ "${bits:-0}" -lt 41 ]; then
		HUGE_REGION=$((1 << (${bits:-36} - 31)))
		say "this processor has addresses of ${bits:-36} bits: $HUGE_REGION GiB stand for 1 TiB"
	fi
}

# The guests that start themselves anew have their kernel in their initial file system.
choose_initrd()
{
	VM_INITRD=
	case $GUEST in
	*-mem)
		VM_INITRD=$VM_TMP/initrd
		{ cat "$1/initrd" && (cd "$1" && echo vmlinuz | cpio -o -H newc); } >"$VM_INITRD"
		;;
	*-pmem) make_disks "$1/initrd" ;;
	esac
}

# A program of e2fsprogs, on the host.
e2fs()
{
	./e2fs/run "$@"
}

# make_disk IMAGE DIRECTORY: a file system on a file, so that what is in IMAGE is what a disk would
# have, and nothing that the kernel keeps in memory.
make_disk()
{
	e2fs mke2fs -q -t ext4 -O ^has_journal "$1" && mkdir -p "$2" && mount -o loop "$1" "$2"
}

# The files of persistent memory: one for the guest to make a file system on, its root, one that
# it can only read, and one on a disk that has less room than it says. On a machine that is not ours
# the disks are directories. The first has a disk of its own, which holds still, as a slow one does,
# while the file system below it is frozen: then what is written to the file is in the host's
# memory, and a flush of it waits.
make_disks()
{
	DISK=$VM_TMP/disk
	mkdir "$DISK" "$VM_TMP/tree"
	if [ -n "${VM_OWN_MACHINE:-}" ]; then
		truncate -s 32M "$VM_TMP/main"
		make_disk "$VM_TMP/main" "$DISK"
		truncate -s 40M "$VM_TMP/image"
		make_disk "$VM_TMP/image" "$VM_TMP/below"
		truncate -s 32M "$VM_TMP/below/image"
		make_disk "$VM_TMP/below/image" "$DISK/own"
		mkdir "$VM_TMP/thin" "$DISK/thin"
		mount -t tmpfs -o size=4M thin "$VM_TMP/thin"
		truncate -s 24M "$VM_TMP/thin/image"
		make_disk "$VM_TMP/thin/image" "$DISK/thin"
		# Nothing is to come to a disk without being asked for.
		echo 0 >/proc/sys/vm/dirty_writeback_centisecs
	else
		mkdir "$DISK/thin" "$DISK/own"
	fi
	truncate -s 24M "$DISK/own/data"
	truncate -s 16M "$DISK/root" "$DISK/thin/file"
	truncate -s 8M "$DISK/fixed"
	(cd "$VM_TMP/tree" && cpio -idm 2>/dev/null) <"$1"
	cp -r e2fs "$VM_TMP/tree/"
	e2fs mke2fs -q -t ext4 -d "$VM_TMP/tree" "$DISK/root"
	rm -rf "$VM_TMP/tree"
	e2fs mke2fs -q -t ext4 -d entries "$DISK/fixed"
}

remove_disks()
{
	[ -z "${VM_OWN_MACHINE:-}" ] || umount "$DISK/thin" "$VM_TMP/thin" \
		"$DISK/own" "$VM_TMP/below" "$DISK"
	rm -rf "$DISK"
	DISK=
}

guest_append()
{
	append="memhp_default_state=online_movable swiotlb=noforce"
	case $1 in
	# Linux accepts PAGE_POISON only if it overwrites what it frees, here with zeros.
	6.1-packed-lean) append="$append init_on_free=1" ;;
	# Or else Linux overwrites all memory with zeros as it gives it back, which takes long, and
	# what it hints, which then is no more what it was when the round began.
	*-mem | *-move) append="$append init_on_alloc=0" ;;
	*-pmem) append="root=/dev/pmem1" ;;
	esac
	echo "$append"
}

# The first six features that the guest's balloon driver is to accept, bit 0 first:
# MUST_TELL_HOST, STATS_VQ, DEFLATE_ON_OOM, FREE_PAGE_HINT, PAGE_POISON, PAGE_REPORTING
guest_features()
{
	case $1 in
	6.12-split) echo 010100 ;;
	6.12-split-lean) echo 111101 ;;
	6.12-packed-lean | 6.1-split-lean) echo 101001 ;;
	6.1-packed-lean) echo 101111 ;;
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
	choose_initrd "$1"
	options=$(guest_options "$GUEST")
	say "--- toyvmm $options"
	if ! reserve_huge_pages "$(guest_huge_pages "$GUEST")"; then
		BOOTED="SKIP $(guest_huge_pages "$GUEST") huge pages of 2 MiB cannot be reserved here"
		return
	fi
	BOOTED=yes
	# shellcheck disable=SC2086
	if vm_start "$1" "$(guest_append "$GUEST")" $options; then
		STARTS=1
		RAM=$(vm_info_kb memory)
		REGION=$(vm_info_kb mem0.size)
		MEM_IDS=$(vm_ctl info | grep -o '"id":"mem[0-9]*"' | cut -d'"' -f4)
		KERNEL=$1
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
	[ -z "$DISK" ] || remove_disks
}

run_entry()
{
	ENTRY=$1 ENTRY_FAILED=0 ENTRY_SKIPPED=
	say "$ENTRY"
	# shellcheck disable=SC1090
	. "./entries/$ENTRY.sh"
	if [ $ENTRY_FAILED -eq 0 ]; then
		echo "@entry $GUEST/$ENTRY ${ENTRY_SKIPPED:-PASS}"
	else
		[ -z "$VM_PID" ] || show_console
		echo "@entry $GUEST/$ENTRY FAIL"
	fi
}

choose_huge_region
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
