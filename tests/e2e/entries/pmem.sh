# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=sh
# The guest makes a file system, writes and syncs, and is gone without warning. The disk has what
# was synced, and has had nothing before: where this machine is ours, by what would be left of it
# after a failure of power.
# shows: PMEM-06 PMEM-12 PMEM-14 LNX-PMEM-01

# starts_with SUM FILE: whether these are the first 8 KiB
starts_with()
{
	[ "$(dd if="$2" bs=4k count=2 2>/dev/null | sha256sum)" = "$1" ]
}

# on_disk SUM: whether the disk has these first 8 KiB of the guest's memory
on_disk()
{
	after_crash starts_with "$1" "$VM_TMP/after/data"
}

write_files()
{
	vm_guest "dd if=/dev/urandom of=/mem/random1 bs=1M count=4 2>/dev/null" &&
		vm_guest "dd if=/dev/urandom of=/mem/random2 bs=1k count=99 2>/dev/null" &&
		vm_guest "pattern fill /mem/pattern 8"
}

# check_files: what the guest had synced, out of a copy of its file system
check_files()
{
	e2fs e2fsck -fy "$VM_TMP/data" >"$VM_DIR/fsck" 2>&1
	check "e2fsck has no more to do than to replay the journal" [ $? -le 1 ]
	for file in random1 random2 pattern; do
		found=$(e2fs debugfs -R "cat /$file" "$VM_TMP/data" 2>/dev/null | sha256sum)
		check_is "$file" "$found" \
			"$(echo "$sums" | awk "\$2 == \"$file\" { print \$1 }")  -"
	done
	rm "$VM_TMP/data"
}

requests=$(vm_info pmem0.requests) calls=$(vm_info pmem0.host_calls)
first=$(vm_guest "dd if=/dev/urandom bs=4k count=2 2>/dev/null >/tmp/8k; sha256sum </tmp/8k")
check "the guest writes 8 KiB and does not flush" \
	vm_guest "dd if=/tmp/8k of=/dev/pmem0 bs=4k oflag=direct 2>/dev/null"
check "the host's file has them" starts_with "$first" "$DISK/own/data"
check_is "flushes that the guest asked for" "$(vm_info pmem0.requests)" "$requests"
[ -z "${VM_OWN_MACHINE:-}" ] || check "the disk has not" not on_disk "$first"
check "the guest writes more, and flushes" \
	vm_guest "dd if=/tmp/8k of=/dev/pmem0 bs=4k seek=1024 conv=fsync 2>/dev/null"
check_flushes pmem0 "$requests" "$calls"
[ -z "${VM_OWN_MACHINE:-}" ] || check "the disk has them" on_disk "$first"

check "the guest makes an ext4 file system" \
	vm_guest "/e2fs/run mke2fs -q -t ext4 -b 4096 /dev/pmem0" || return
check "it mounts that, without a cache of its own (DAX)" \
	vm_guest "mount -t ext4 -o dax /dev/pmem0 /mem" || return
check "it writes files" write_files || return
requests=$(vm_info pmem0.requests) calls=$(vm_info pmem0.host_calls)
sums=$(vm_guest "sync; cd /mem; sha256sum *1 *2 pattern; cd /")
check_flushes pmem0 "$requests" "$calls"

pid=$VM_PID
vm_kill
wait "$pid" 2>/dev/null
check_is "toyvmm was killed, with status" $? 137
if [ -n "${VM_OWN_MACHINE:-}" ]; then
	note "what the disk has after a failure of power:"
	after_crash cp "$VM_TMP/after/data" "$VM_TMP/data"
else
	note "what the host's file has; what the disk has is not to be seen on a machine not ours:"
	cp "$DISK/own/data" "$VM_TMP/data"
fi
check_files

# shellcheck disable=SC2046
check "another guest starts" \
	vm_start "$KERNEL" "$(guest_append "$GUEST")" $(guest_options "$GUEST") || return
check "it mounts the file system" vm_guest "mount -t ext4 /dev/pmem0 /mem" || return
check_is "files in there" "$(vm_guest "cd /mem; sha256sum *1 *2 pattern; cd /")" "$sums"
check "the pattern is intact" vm_guest "pattern check /mem/pattern"
check "umount" vm_guest umount /mem
