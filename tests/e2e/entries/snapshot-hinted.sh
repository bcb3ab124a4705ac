# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=sh
# What the guest has hinted as free is left out of a snapshot, but not what it has written since:
# it takes hinted pages back when it is short of memory, without a word.
# shows: BAL-HINT-06 BAL-HINT-12

file=$VM_TMP/snapshot

round_is()
{
	[ "$(vm_info balloon.round)" = "$1" ]
}

guest_at_rest
use_and_free 128
check "hint start" command_ok hint start
check_within 60 "the guest has sent all its hints" round_is ended || return
hinted=$(vm_info_kb balloon.hinted)
free=$(guest_free)
used=$(((free + hinted * 2 / 5) / MIB))
note "the guest uses $used MiB, more than the $(mib "$free") MiB that are free in it"
check "the guest uses $used MiB, of what it had hinted, too" vm_guest fill $used || return
old=$VM_PID
snapshot "$file" then=quit || return
note_saved
check_moved "hinted, and left out" "$hinted" "$(saved hinted)" -ge $((16 * MIB))
check_moved "but not what was written since" "$hinted" "$(saved hinted)" -le $((hinted * 3 / 4))
ended_well "$old"

restore "$file" memfd || return
check "what the guest wrote there is intact" vm_guest intact
check_is "the round that was open" "$(vm_info balloon.round)" ended
vm_guest empty
check "hint done" command_ok hint "done"
guest_at_rest
balloon_sound
