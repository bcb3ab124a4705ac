# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=sh
# A guest that cannot give memory back, because a pipe holds pages all over it: the resize
# stalls, says so and says where; data, device and other resizes are none the worse, and once
# the pipe is gone, the memory goes.
# shows: HOST-MEM-09 LNX-MEM-02 MEM-UNPL-05 MEM-PLUG-07

PLUGGED=256
FILLED=192 # of which a page in each MiB is pinned
STALL=10   # seconds

# The newest event of a resize in that state
resize_event()
{
	grep '"event":"resize"' "$VM_DIR/events" | grep "\"state\":\"$1\"" | tail -n 1
}

# No time-out, as then toyvmm-ctl itself goes away when nothing moves any more.
stalls()
{
	timeout 60 ./toyvmm-ctl "$VM_DIR/control" resize mem0 "$1" stall=$STALL \
		>"$VM_DIR/resize-mem0" 2>&1
	[ $? -eq 1 ]
}

total=$(guest_total)
resize_to mem0 $((PLUGGED * MIB)) || return
check "the guest fills $FILLED MiB" vm_guest fill $FILLED mpol=bind:1 || return
pinner=$(vm_guest pattern pin /mem/file)
check "a process pins a page in each MiB of them: $pinner" vm_guest "kill -0 $pinner" || return

watch_events
check "a resize to 0 does not come to its end" stalls 0
plugged=$(vm_info_kb mem0.plugged)
check "it says: $(grep stalled "$VM_DIR/resize-mem0")" \
	grep -q "^mem0: stalled at $(mib "$plugged") MiB " "$VM_DIR/resize-mem0"
event=$(resize_event stalled)
note "the event: $event"
check_is "so does an event, in bytes" "$(echo "$event" | sed 's/.*"plugged":\([0-9]*\).*/\1/')" \
	$((plugged * 1024))
check_moved "left plugged: no less than is pinned" $((PLUGGED * MIB)) "$plugged" \
	-ge $((FILLED * MIB))
check_moved "left plugged: the rest could go" $((PLUGGED * MIB)) "$plugged" \
	-le $(((PLUGGED - 16) * MIB))
check_is "the device's resize" "$(vm_info mem0.resize)" stalled

check "resize-cancel" command_ok resize-cancel mem0
check_is "the device's resize" "$(vm_info mem0.resize)" cancelled
check_is "requested is now what is plugged" "$(vm_info mem0.requested)" "$(vm_info mem0.plugged)"
check_within 20 "guest's MemTotal follows" guest_total_is $((total + plugged))
check_moved "guest's MemTotal" "$total" "$(guest_total)" -eq $((total + plugged))
check "what the guest keeps there is intact" vm_guest intact

note "the device still works: it grows, and shrinks once nothing is pinned"
resize_to mem0 $((2 * PLUGGED * MIB))
check_within 20 "guest's MemTotal grows" guest_total_is $((total + 2 * PLUGGED * MIB))
check "what the guest keeps there is intact" vm_guest intact
vm_guest kill "$pinner"
check_within 10 "the process is gone, and the guest frees what it filled" \
	vm_guest "empty 2>/dev/null"
resize_to mem0 0
check_within 20 "guest's MemTotal falls" guest_total_is "$total"
unwatch_events
mem_sound mem0
