# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=sh
# Live update: another process goes on with the guest, whose memory stays in place, in the middle
# of a resize and of work. A new process that cannot leaves the guest to the old one.
# shows: STAT-09 MMIO-10

# take_over SED_SCRIPT: with the guest's options, changed so
take_over()
{
	# shellcheck disable=SC2046
	vm_go_on --takeover "$VM_DIR/control" $(move_options "$GUEST" memfd | sed "$1")
}

some_plugged()
{
	[ "$(vm_info_kb mem0.plugged)" -gt "$before" ]
}

resize_is()
{
	[ "$(vm_info mem0.resize)" = "$1" ]
}

total=$(guest_total)
before=$(vm_info_kb mem0.plugged)
work_begins || return
set_balloon $((48 * MIB)) || return

old=$VM_PID
check "a process with other options is refused" not take_over \
	's/reporting=on/&,queue-size=64/'
VM_PID=$old
refusal=$(grep -- 'expected the options' "$VM_DIR/console" | tail -n 1)
check "and says why: $refusal" [ -n "$refusal" ]
work_goes_on

guest_busy || return
vm_ctl resize mem0 $((REGION * 1024)) timeout=300 >"$VM_DIR/resize" 2>&1 &
check_within 60 "the guest begins to plug" some_plugged || return
check "another process takes the guest over" take_over '' || return
plugged=$(vm_info_kb mem0.plugged)
note "$(grep -- '--takeover .*goes on here' "$VM_DIR/console" | tail -n 1)"
check_moved "in the middle: plugged, just after" "$before" "$plugged" -le $((REGION - 4 * MIB))
ended_well "$old"
guest_calm
check_within 90 "the resize ends in the new process: plugged $(mib "$REGION") MiB" \
	plugged_is "$REGION"
check_within 10 "and says so" resize_is "done"
check_within 20 "guest's MemTotal follows" guest_total_is \
	$((total - 48 * MIB + REGION - before))
check_is "the balloon" "$(vm_info_kb balloon.actual)" $((48 * MIB))
work_goes_on
set_balloon 0
work_ends
balloon_sound
mem_sound mem0
