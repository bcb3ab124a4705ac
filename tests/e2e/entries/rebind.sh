# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=sh
# Drivers let go of their devices and take them again: reset and a second negotiation.
# shows: STAT-02 FEAT-07 RST-01 LNX-BAL-18 LNX-COR-01 LNX-MMIO-01 LNX-MMIO-03

size=$((48 * MIB))

bind_driver()
{
	vm_guest "echo $2 >/sys/bus/virtio/drivers/$1/$3"
}

# A balloon that gives way when memory is short takes nothing from MemTotal, but all from MemFree.
case $GUEST in
*-lean)
	guest_at_rest
	taken=0
	;;
*) taken=$size ;;
esac
balloon=$(vm_guest device 5)
total=$(guest_total)
free=$(guest_free)
set_balloon $size || return
inflated=$(guest_total)
check_moved "inflated: guest's MemTotal" "$total" "$inflated" -eq $((total - taken))
check_moved "inflated: guest's MemFree" "$free" "$(guest_free)" -le $((free - size + SLACK))
features=$(vm_info balloon.features)
check "virtio_balloon lets go" bind_driver virtio_balloon "$balloon" unbind || return
check_is "the balloon is empty" "$(vm_info balloon.actual)" 0
check_is "the balloon device is live" "$(vm_info balloon.driver_ok)" false
check_moved "guest's MemTotal" "$inflated" "$(guest_total)" -eq "$total"
check_within 20 "guest's MemFree is what it was" guest_free_is -ge $((free - SLACK))
check "virtio_balloon takes the device again" bind_driver virtio_balloon "$balloon" bind || return
check_is "the same features are negotiated" "$(vm_info balloon.features)" "$features"
check_within 90 "the balloon comes back to its target by itself" balloon_is $size
check_moved "the balloon is back: guest's MemFree" "$free" "$(guest_free)" \
	-le $((free - size + SLACK))
set_balloon 0

case $GUEST in *-lean) return ;; esac
mem=$(vm_guest device 24)
features=$(vm_info mem0.features)
check "virtio_mem lets go" bind_driver virtio_mem "$mem" unbind || return
check "a request while there is no driver" command_ok set-requested mem0 256M
check_is "nothing is plugged without a driver" "$(vm_info mem0.plugged)" 0
check "virtio_mem takes the device again" bind_driver virtio_mem "$mem" bind || return
check_is "the same features are negotiated" "$(vm_info mem0.features)" "$features"
check_within 90 "the request is met" plugged_is $((256 * MIB))
check_within 20 "guest's MemTotal grows" guest_total_is $((total + 256 * MIB))
set_plugged 0
check_within 20 "guest's MemTotal falls" guest_total_is "$total"
