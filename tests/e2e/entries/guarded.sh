# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=sh
# The last of its guest. Linux keeps everybody off memory that virtio_mem does not use; but
# when the driver is gone, root can touch it. Of a device that is not guarded it has what PCs
# have where nothing is; of one that is, the touch is the guest's end, whether KVM has a slot
# there (one guest's slots=off) or not (another's).
# shows: HOST-MEM-05 LNX-MEM-11

MIB_8=$((8 * 1024 * 1024))

unbind()
{
	for device in $(vm_guest device 24); do
		vm_guest "echo $device >/sys/bus/virtio/drivers/virtio_mem/unbind" || return
	done
}

for id in $MEM_IDS; do
	last=$id
done
check_is "mem0: guarded" "$(vm_info mem0.guarded)" false
check_is "$last: guarded" "$(vm_info "$last.guarded")" true
for id in mem0 "$last"; do
	resize_to "$id" $((128 * MIB))
	resize_to "$id" 0
done
guest_sound
address=$(printf '0x%x' $(($(vm_info "$last.addr") + MIB_8)))
check "while the driver is there, nobody touches $address" \
	not vm_guest "devmem $address 32 >/dev/null 2>&1"
check "virtio_mem lets go" unbind || return
harmless=$(printf '0x%x' $(($(vm_info mem0.addr) + MIB_8)))
check_is "reading $harmless, of mem0" "$(vm_guest devmem "$harmless" 32)" 0xFFFFFFFF

pid=$VM_PID
note "the guest writes to $address, of $last, where KVM has $(vm_info "$last.slots") slots"
vm_send devmem "$address" 32 0x77
check_within 30 "toyvmm ends" vm_gone || return
wait "$pid"
check_is "its exit status" $? 4
check "it says: $(grep 'toyvmm:.*touched' "$VM_DIR/console" | head -n 1)" \
	grep -q "touched $address, unplugged memory of $last" "$VM_DIR/console"
vm_end 0
