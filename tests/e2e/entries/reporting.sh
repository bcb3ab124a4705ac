# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=sh
# A workload comes and goes; free page reporting lets the host's memory follow by itself, with
# no balloon. What comes next finds its memory working.
# shows: BAL-REP-01 BAL-REP-04 BAL-REP-06 LNX-BAL-01 LNX-BAL-07 LNX-BAL-10

# What is in pieces stays, and reported ranges below report-min do.
bound()
{
	echo $((peak - used * MIB * 3 / 4 + $(balloon_pages_kb pages_short) - short))
}

workload_comes()
{
	before=$(vm_rss)
	check "the workload uses $used MiB" vm_guest fill "$used" || return
	peak=$(rss_settled -ge $((used * MIB)))
	short=$(balloon_pages_kb pages_short) # of before, which does not excuse anything now
	check_moved "in use: host's resident memory" "$before" "$peak" -ge $((used * MIB))
}

workload_goes()
{
	check "the workload's memory is as it left it" vm_guest intact
	vm_guest empty
	check_within 60 "the host's memory follows" rss_fell
	check_moved "freed and reported: host's resident memory" "$peak" "$(vm_rss)" -le "$(bound)"
}

rss_fell()
{
	rss_is -le "$(bound)"
}

used=128 # MiB, of which even then enough is left when 128 MiB wait in a report
guest_at_rest
reported=$(balloon_pages_kb pages_reported)
workload_comes || return
workload_goes
note "the same once more, in memory that was reported"
workload_comes || return
workload_goes
check_moved "reported in all" "$reported" "$(balloon_pages_kb pages_reported)" \
	-ge $((reported + used * MIB))
note "$(balloon_count ranges) ranges in $(balloon_count host_calls) calls of the host," \
	"$(balloon_count pages_short) pages in ranges below the minimum"
check_is "the balloon, all this time" "$(vm_info balloon.actual)" 0
check_is "pages kept for their poison" "$(balloon_count pages_poisoned)" 0
check_is "inputs that the device ignored" "$(balloon_count inputs_ignored)" 0
balloon_sound
