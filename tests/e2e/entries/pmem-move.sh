# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=sh
# A guest is saved in the middle of a flush, while the disk of its file holds still, and goes on in
# another process, which makes that flush once more: only then has the guest's program written. The
# same when another process takes the guest over.
# shows: PMEM-06 PMEM-12 PMEM-14

file=$VM_TMP/snapshot

go_on_with()
{
	# shellcheck disable=SC2046
	vm_go_on "$@" $(guest_options "$GUEST")
}

by_snapshot()
{
	snapshot "$file" then=quit || return
	[ -z "${VM_OWN_MACHINE:-}" ] || check "it was saved in the middle of a flush" saved_flushing
	ended_well "$old"
	check "another process goes on with the snapshot" go_on_with --restore "$file"
}

saved_flushing()
{
	echo "$SAVED" | grep -q '"id":"pmem0","flushing":true'
}

by_takeover()
{
	check "another process takes the guest over" go_on_with --takeover "$VM_DIR/control" || return
	note "$(grep -- '--takeover .*goes on here' "$VM_DIR/console" | tail -n 1)"
	ended_well "$old"
}

flush_goes_on()
{
	[ "$(vm_info pmem0.flushing)" = true ]
}

# How often a VMM said that it waits for the disk
waits()
{
	grep -c 'waiting for the flush' "$VM_DIR/console"
}

waits_again()
{
	[ "$(waits)" -gt "$1" ]
}

# let_go WAITS: the disk holds still until the VMM waits for it. Succeeds if it then still has the
# guest.
let_go()
{
	until_true 60 waits_again "$1" && not moved
	let_go_status=$?
	fsfreeze --unfreeze "$VM_TMP/below"
	return $let_go_status
}

moved()
{
	[ -e "$file" ] || grep -q -- '--takeover .*goes on here' "$VM_DIR/console"
}

# on_disk NAME: checksum of a file of the guest's, as the disk would have it after a failure of
# power
on_disk()
{
	after_crash cp "$VM_TMP/after/data" "$VM_TMP/data"
	e2fs e2fsck -fy "$VM_TMP/data" >"$VM_DIR/fsck" 2>&1
	e2fs debugfs -R "cat /$1" "$VM_TMP/data" 2>/dev/null | sha256sum
	rm "$VM_TMP/data"
}

# The guest writes a file and waits until the disk has it, in the background.
write_begins()
{
	vm_guest "rm -f /tmp/written; { dd if=/tmp/random of=/mem/$1 bs=64k conv=fsync 2>/dev/null; echo \$? >/tmp/written; } &"
}

write_over()
{
	vm_guest "[ -e /tmp/written ]"
}

# The disk holds still, and a flush of the file is on its way.
flush_begins()
{
	check "the host's disk holds still" fsfreeze --freeze "$VM_TMP/below" || return
	write_begins "$1"
	check_within 30 "the guest writes $1, and a flush of the host's file goes on" flush_goes_on
	check "the guest waits for it" not write_over
	check "the disk does not have $1" [ "$(on_disk "$1")" != "$sum" ]
	let_go "$(waits)" &
	LET_GO=$!
}

# move_in_a_flush NAME COMMAND: it brings the guest to another process
move_in_a_flush()
{
	old=$VM_PID
	sum=$(vm_guest "dd if=/dev/urandom of=/tmp/random bs=64k count=16 2>/dev/null; sha256sum </tmp/random")
	if [ -n "${VM_OWN_MACHINE:-}" ]; then flush_begins "$1" || return; else write_begins "$1"; fi
	"$2"
	move_status=$?
	[ -z "${VM_OWN_MACHINE:-}" ] ||
		check "the old process kept the guest until the flush had ended" wait "$LET_GO"
	[ $move_status -eq 0 ] || return
	check_within 60 "the guest's program comes to its end in the new process" write_over || return
	check_is "its exit status" "$(vm_guest "cat /tmp/written")" 0
	check "flushes of the file in this process: $(vm_info pmem0.host_calls)" \
		[ "$(vm_info pmem0.host_calls)" -gt 0 ]
	check_is "flushes that failed" "$(vm_info pmem0.failed)" 0
	check_is "$1, as the guest has it" "$(vm_guest "sha256sum </mem/$1")" "$sum"
	[ -n "${VM_OWN_MACHINE:-}" ] || return 0
	check_is "$1, as the disk has it" "$(on_disk "$1")" "$sum"
}

check "the guest makes an ext4 file system" \
	vm_guest "/e2fs/run mke2fs -q -F -t ext4 -b 4096 /dev/pmem0" || return
check "it mounts that" vm_guest "mount -t ext4 -o dax /dev/pmem0 /mem" || return
move_in_a_flush saved by_snapshot || return
rm "$file"
move_in_a_flush taken by_takeover || return
vm_guest rm /tmp/random
check "umount" vm_guest umount /mem
e2fs e2fsck -fn "$DISK/own/data" >"$VM_DIR/fsck" 2>&1
check_is "what e2fsck says of the file, by its status" $? 0
