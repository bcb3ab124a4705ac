# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=sh
# Linux's drivers find both devices, and negotiate what was offered.
# shows: FEAT-01 LNX-COR-01 LNX-COR-04 LNX-COR-05 LNX-COR-11 LNX-MMIO-03 LNX-MEM-11 MEM-INIT-05

feature()
{
	vm_guest "cut -c $(($2 + 1)) /sys/bus/virtio/devices/$1/features"
}

driver_of()
{
	vm_guest "basename \$(readlink /sys/bus/virtio/devices/$1/driver)"
}

# BIT EXPECTED TEXT, for both devices.
check_feature()
{
	for device in $balloon $mem; do
		check_is "$3, $device" "$(feature "$device" "$1")" "$2"
	done
}

balloon=$(vm_guest device 5)
mem=$(vm_guest device 24)
check "the guest has a balloon device" [ -n "$balloon" ] || return
check "the guest has a memory device" [ -n "$mem" ] || return

check_is "driver of $balloon" "$(driver_of "$balloon")" virtio_balloon
check_is "driver of $mem" "$(driver_of "$mem")" virtio_mem
for device in $balloon $mem; do
	check_is "status of $device" "$(vm_guest cat "/sys/bus/virtio/devices/$device/status")" \
		0x0000000f
done

packed=0 said=false indirect=1 notification_data=0
case $GUEST in *-packed) packed=1 said=true ;; esac
case $GUEST in 6.1-split) indirect=0 ;; esac
case $GUEST in 6.12-packed) notification_data=1 ;; esac
# The balloon driver takes only single descriptors: these kernels turn INDIRECT_DESC down.
check_is "INDIRECT_DESC (bit 28), $balloon" "$(feature "$balloon" 28)" 0
check_is "INDIRECT_DESC (bit 28), $mem" "$(feature "$mem" 28)" $indirect
check_feature 29 $indirect "EVENT_IDX (bit 29)"
check_feature 32 1 "VERSION_1 (bit 32)"
check_feature 34 $packed "RING_PACKED (bit 34)"
# Offered to one guest, and not to be taken by a driver as old as this one.
check_feature 35 0 "IN_ORDER (bit 35)"
check_feature 38 $notification_data "NOTIFICATION_DATA (bit 38)"
check_is "the VMM's word on the balloon's ring, packed" "$(vm_info balloon.packed)" $said
check_is "the VMM's word on the memory device's ring, packed" "$(vm_info mem0.packed)" $said
check_is "UNPLUGGED_INACCESSIBLE (bit 1), $mem" "$(feature "$mem" 1)" 1

check_is "the balloon starts empty" "$(vm_info balloon.actual)" 0
check_is "nothing is plugged at the start" "$(vm_info mem0.plugged)" 0
