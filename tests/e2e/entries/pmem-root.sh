# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=sh
# Linux finds its persistent memory, where the specification has it say that it is, and runs from
# a file system on it, which is on the host's file without the guest's help.
# shows: PMEM-02 PMEM-04 LNX-PMEM-03 LNX-PMEM-04 LNX-PMEM-05

feature()
{
	vm_guest "cut -c $(($2 + 1)) /sys/bus/virtio/devices/$1/features"
}

# check_region NUMBER ID: Linux has made a block device of the device's region
check_region()
{
	check_is "address of $2, as Linux has it" \
		"$(($(vm_guest "cat /sys/bus/nd/devices/region$1/resource")))" "$(vm_info "$2.addr")"
	check_is "size of /dev/pmem$1" "$(($(vm_guest "cat /sys/block/pmem$1/size") * 512))" \
		"$(vm_info "$2.size")"
}

pmem=$(vm_guest device 27)
check_is "persistent memory devices of the guest" "$(echo "$pmem" | wc -w)" 4
packed=0 shmem=0
case $GUEST in *-packed-*) packed=1 ;; esac
case $GUEST in 6.12-*) shmem=1 ;; esac
for device in $pmem; do
	check_is "driver of $device" \
		"$(vm_guest "basename \$(readlink /sys/bus/virtio/devices/$device/driver)")" virtio_pmem
	check_is "RING_PACKED (bit 34), $device" "$(feature "$device" 34)" $packed
done
# Offered to both, and known to one.
check_is "SHMEM_REGION (bit 0) of the first" "$(feature "$(echo "$pmem" | head -n 1)" 0)" $shmem
number=0
for id in pmem0 pmem1 pmem2 thin; do
	check_region $number $id
	number=$((number + 1))
done

check_is "what the guest runs from" \
	"$(vm_guest "awk '\$2 == \"/\" { print \$1, \$3 }' /proc/mounts")" "/dev/pmem1 ext4"
check_is "its command line" "$(vm_guest "grep -o 'root=[^ ]*' /proc/cmdline")" root=/dev/pmem1
requests=$(vm_info pmem1.requests) calls=$(vm_info pmem1.host_calls)
sum=$(vm_guest "cat /proc/uptime /proc/version >/written; sync; sha256sum </written")
check "the guest writes a file there: $sum" [ "${#sum}" -ge 64 ]
check_flushes pmem1 "$requests" "$calls"
cp "$DISK/root" "$VM_TMP/root"
e2fs e2fsck -fy "$VM_TMP/root" >"$VM_DIR/fsck" 2>&1
check "e2fsck has no more to do on the host than to replay the journal" [ $? -le 1 ]
check_is "the file, out of the host's file" \
	"$(e2fs debugfs -R 'cat /written' "$VM_TMP/root" 2>/dev/null | sha256sum)" "$sum"
rm "$VM_TMP/root"
