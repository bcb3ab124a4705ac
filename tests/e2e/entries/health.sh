# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=sh
# After all that: no device needs a reset, the guest's kernel has not complained, and the
# guest powers off.
# shows: LNX-MEM-06

check_is "a fault of the balloon" "$(vm_info balloon.fault)" none
devices=$(vm_guest device 5)
check "the guest still names the balloon: $devices" [ -n "$devices" ]
case $GUEST in
*-lean) ;;
*)
	check_is "a fault of the memory device" "$(vm_info mem0.fault)" none
	mem=$(vm_guest device 24)
	check "the guest still names the memory device: $mem" [ -n "$mem" ]
	devices="$devices $mem"
	;;
esac
for device in $devices; do
	# 0x40 would be DEVICE_NEEDS_RESET, 0x80 FAILED
	check_is "status of $device" "$(vm_guest cat "/sys/bus/virtio/devices/$device/status")" \
		0x0000000f
done
check_is "complaints in the guest's kernel log" "$(vm_guest complaints)" none
check "the guest powers off, and toyvmm ends with status 0" vm_stop
