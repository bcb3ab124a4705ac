# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=sh
# The statistics that the balloon brings are what the guest's own /proc/meminfo and
# /proc/vmstat say right before and right after.
# shows: BAL-STAT-01 BAL-STAT-02 BAL-STAT-03 BAL-STAT-04 BAL-STAT-05 BAL-STAT-08 LNX-BAL-02
# shows: LNX-BAL-19

NEARBY=$((2 * MIB)) # by which memory may be elsewhere in between

# stat_of FILE NAME
stat_of()
{
	sed -n "s/^$2 //p" "$VM_DIR/$1"
}

sets()
{
	vm_ctl stats >"$VM_DIR/stats" && stat_of stats sets
}

more_sets_than()
{
	[ "$(sets)" -gt "$1" ]
}

# info_stat NAME: of the statistics in the answer to "info"
info_stat()
{
	vm_ctl info | sed -n "s/.*\"stats\":{[^}]*\"$1\":\([0-9]*\).*/\1/p"
}

rss_agrees()
{
	rss=$(vm_rss)
	vm_ctl stats >"$VM_DIR/sizes"
	held=$(($(stat_of sizes rss) + $(stat_of sizes hugetlb)))
	[ $held -ge $((rss - SLACK)) ] && [ $held -le $((rss + SLACK)) ]
}

guest_kills()
{
	vm_guest "awk '/^oom_kill / { print \$2 }' /proc/vmstat"
}

one_was_killed()
{
	[ "$(guest_kills)" -gt "$kills" ]
}

# A process that asks to be the first to go goes.
kill_one()
{
	kills=$(guest_kills)
	check_is "complaints in the guest's kernel log" "$(vm_guest complaints)" none
	vm_guest "(echo 1000 >/proc/self/oom_score_adj; exec sleep 600) &"
	vm_guest "until [ \$(cat /proc/\$!/oom_score_adj) -eq 1000 ]; do sleep 0.1; done"
	vm_guest "dmesg -n 1; echo f >/proc/sysrq-trigger" # the console is the test's
	check_within 20 "the guest kills a process as if for want of memory" one_was_killed
	vm_guest "dmesg -n 4; dmesg -c >/dev/null" # so that it is no complaint of later entries
}

# Counts only grow, so the one in the set lies in between; memory goes up and down.
is_between()
{
	low=$2 high=$4 value=$3
	case $1 in
	unused | available | usable | disk_caches)
		[ "$low" -le "$high" ] || low=$4 high=$2
		low=$((low - NEARBY)) high=$((high + NEARBY))
		;;
	esac
	[ "$value" -ge "$low" ] && [ "$value" -le "$high" ]
}

# compare NAME: the three readings of one statistic
compare()
{
	readings="$(stat_of before "$1") | $(stat_of stats "$1") | $(stat_of after "$1")"
	check "$1: $readings" is_between "$1" "$(stat_of before "$1")" "$(stat_of stats "$1")" \
		"$(stat_of after "$1")"
}

read_and_compare()
{
	vm_guest statistics >"$VM_DIR/before"
	had=$(sets)
	asked=$(date +%s)
	check "poll-stats" command_ok poll-stats
	check_within 20 "a new set of statistics arrives" more_sets_than "$had" || return
	vm_guest statistics >"$VM_DIR/after"
	note "the guest before | the balloon's word | the guest after (KiB, or counts)"
	for name in $expected; do
		compare "$name"
	done
	check_is "actual, what the balloon leaves" "$(stat_of stats actual)" $((RAM - ballooned))
	check "last_update: $(($(stat_of stats last_update) - asked)) s after it was asked for" \
		[ "$(stat_of stats last_update)" -ge "$asked" ]
	# Of a guest that reports its free pages, it may be falling just now.
	check_within 20 "rss and hugetlb are what the host's kernel says, $(vm_rss) KiB" rss_agrees
	check_is "info has the same set, last_update" "$(info_stat last_update)" \
		"$(stat_of stats last_update)"
	check_is "and minor_fault" "$(info_stat minor_fault)" "$(stat_of stats minor_fault)"
}

expected="swap_in swap_out major_fault minor_fault unused available usable disk_caches
	hugetlb_pgalloc hugetlb_pgfail"
newer="oom_kill alloc_stall async_scan direct_scan async_reclaim direct_reclaim"
case $GUEST in
6.1-*) absent=$newer ;;
*) expected="$expected $newer" absent= ;;
esac

ballooned=0
check "the driver sent a set when it started" more_sets_than 0 || return
for name in $absent; do
	check_is "$name, which this kernel does not send" "$(stat_of stats "$name")" ""
done
guest_at_rest
read_and_compare || return
unused=$(stat_of stats unused) caches=$(stat_of stats disk_caches)

note "the guest keeps 96 MiB in a file in memory, and 4 huge pages; 1000 more it cannot have"
check "the guest fills 96 MiB" vm_guest fill 96 || return
for pages in 4 1004 4; do
	vm_guest "echo $pages >/proc/sys/vm/nr_hugepages"
done
read_and_compare || return
check_moved "unused" "$unused" "$(stat_of stats unused)" -le $((unused - 64 * MIB))
check_moved "disk_caches" "$caches" "$(stat_of stats disk_caches)" -ge $((caches + 95 * MIB))
check "hugetlb_pgalloc: $(stat_of stats hugetlb_pgalloc)" [ "$(stat_of stats hugetlb_pgalloc)" -ge 4 ]
check "hugetlb_pgfail: $(stat_of stats hugetlb_pgfail)" [ "$(stat_of stats hugetlb_pgfail)" -ge 1 ]
vm_guest "echo 0 >/proc/sys/vm/nr_hugepages; empty"

note "a balloon of 32 MiB, and a process that is killed"
kill_one
ballooned=$((32 * MIB))
set_balloon $ballooned || return
read_and_compare
case $GUEST in
6.1-*) ;;
*) check "oom_kill: $(stat_of stats oom_kill)" [ "$(stat_of stats oom_kill)" -ge 1 ] ;;
esac
set_balloon 0

had=$(sets)
check "stats-period 1" command_ok stats-period 1
check_within 30 "two more sets come by themselves" more_sets_than $((had + 1))
check "stats-period 0" command_ok stats-period 0
check_is "inputs that the device ignored" "$(balloon_count inputs_ignored)" 0
balloon_sound
