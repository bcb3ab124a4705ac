# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=sh
# The host's disk turns out to be full, as disks that promise more than there is do. The guest
# hears of an I/O error; and of none when there is room again and it writes once more.
# shows: PMEM-08 PMEM-09 LNX-PMEM-01

write="dd if=/dev/urandom of=/dev/pmem3 bs=1M count=8 conv=fsync"

if [ -z "${VM_OWN_MACHINE:-}" ]; then
	ENTRY_SKIPPED="SKIP this machine is not ours to mount a disk without room"
	return
fi
watch_events
check_fails "8 MiB are too much" "$write"
check "the guest hears of it: flushes that failed: $(vm_info thin.failed)" \
	[ "$(vm_info thin.failed)" -gt 0 ]
check "flushes of the file that failed: $(vm_info thin.host_failures)" \
	[ "$(vm_info thin.host_failures)" -gt 0 ]
event=$(grep '"flush-failed"' "$VM_DIR/events" | head -n 1)
check "an event tells of it: $event" [ -n "$event" ]
unwatch_events
check "the VMM says so: $(grep -m 1 'toyvmm: thin:' "$VM_DIR/console")" \
	grep -q 'toyvmm: thin: .*fdatasync' "$VM_DIR/console"

mount -o remount,size=24M "$VM_TMP/thin"
failed=$(vm_info thin.failed) requests=$(vm_info thin.requests)
check "there is room again, and 8 MiB are well" vm_guest "$write >/dev/null 2>&1"
check_is "flushes that failed meanwhile" $(($(vm_info thin.failed) - failed)) 0
check "flushes that the guest asked for: $requests -> $(vm_info thin.requests)" \
	[ "$(vm_info thin.requests)" -gt "$requests" ]
