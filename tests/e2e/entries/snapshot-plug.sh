# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=sh
# A guest is saved in the middle of a resize and goes on. Then its VMM is killed, and the guest
# goes on from where it was saved, in another process, which finishes the resize.
# shows: STAT-09 MMIO-10

file=$VM_TMP/snapshot
part=$((REGION / 2)) # the rest is for the entry "update"
total=$(guest_total)

some_plugged()
{
	[ "$(vm_info_kb mem0.plugged)" -gt 0 ]
}

resize_is()
{
	[ "$(vm_info mem0.resize)" = "$1" ]
}

work_begins || return
guest_busy || return
vm_ctl resize mem0 $((part * 1024)) timeout=300 >"$VM_DIR/resize" 2>&1 &
check_within 60 "the guest begins to plug" some_plugged || return
snapshot "$file" || return
note_saved
check_moved "saved in the middle: plugged, of $(mib "$(saved mem0.requested)") MiB" 0 \
	"$(saved mem0.plugged)" -le $((part - 4 * MIB))
check "and it had begun: $(mib "$(saved mem0.plugged)") MiB" [ "$(saved mem0.plugged)" -gt 0 ]
guest_calm
check_within 90 "the guest goes on: plugged $(mib "$part") MiB" plugged_is "$part"
work_goes_on
kill -9 "$VM_PID"
wait "$VM_PID" 2>/dev/null

restore "$file" memfd || return
note "plugged, just after: $(mib "$(vm_info_kb mem0.plugged)") MiB"
guest_calm
check_within 90 "the resize ends in this process: plugged $(mib "$part") MiB" plugged_is "$part"
check_within 10 "and says so" resize_is "done"
check_within 20 "guest's MemTotal follows" guest_total_is $((total + part))
check_moved "memory of the guest's NUMA node $MEM_NODE" 0 "$(guest_node "$MEM_NODE")" -eq "$part"
check_slots mem0
work_goes_on
work_ends
mem_sound mem0
