# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=sh
# Linux accepts of the balloon's features those that it is to have here, and no other: also a
# few of the optional ones alone, with queues that it then numbers without gaps.
# shows: LNX-BAL-01 LNX-BAL-06 LNX-BAL-07 LNX-BAL-09

balloon=$(vm_guest device 5)
check "the guest has a balloon device" [ -n "$balloon" ] || return
check_is "features 0 to 5 that $balloon has" \
	"$(vm_guest "cut -c 1-6 /sys/bus/virtio/devices/$balloon/features")" \
	"$(guest_features "$GUEST")"
check_is "driver of $balloon" \
	"$(vm_guest "basename \$(readlink /sys/bus/virtio/devices/$balloon/driver)")" virtio_balloon
check_is "the balloon device is live" "$(vm_info balloon.driver_ok)" true
check_is "the balloon starts empty" "$(vm_info balloon.actual)" 0
balloon_sound
