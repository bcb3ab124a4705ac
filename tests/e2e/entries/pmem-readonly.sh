# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=sh
# A file that is readonly can be mounted and read. What the guest writes in spite of that goes
# nowhere, and it hears of it at the next flush.
# shows: PMEM-08 PMEM-09 LNX-PMEM-01

sums=$(sha256sum "$DISK/fixed")
check_is "pmem2: readonly" "$(vm_info pmem2.readonly)" true
check "mount -o ro" vm_guest "mount -t ext4 -o ro /dev/pmem2 /mem" || return
check_is "a file in there" "$(vm_guest "sha256sum </mem/pmem-readonly.sh")" \
	"$(sha256sum <entries/pmem-readonly.sh)"
check_fails "writing is refused" "touch /mem/x"
check_is "nothing was written" "$(vm_info pmem2.dropped_writes)" 0
check "umount" vm_guest umount /mem

watch_events
check_fails "the guest writes to the device itself" \
	"dd if=/bin/busybox of=/dev/pmem2 bs=4k count=1 conv=fsync"
event=$(grep '"write-dropped"' "$VM_DIR/events")
check "an event tells of it: $event" [ -n "$event" ]
unwatch_events
check "writes that went nowhere: $(vm_info pmem2.dropped_writes)" \
	[ "$(vm_info pmem2.dropped_writes)" -gt 0 ]
check "flushes that failed: $(vm_info pmem2.failed)" [ "$(vm_info pmem2.failed)" -gt 0 ]
check_is "the host's file" "$(sha256sum "$DISK/fixed")" "$sums"
