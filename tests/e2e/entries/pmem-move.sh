# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=sh
# A guest that writes and flushes all the time is saved, in the middle of a flush if the disk is
# slow enough (tests/kvm/pmem.c makes sure of that), and goes on in another process; then another
# takes it over. The file is the same all the while, and no write or flush fails.
# shows: PMEM-06 PMEM-12 PMEM-14

file=$VM_TMP/snapshot

# Four programs at once, each of which writes and waits until the disk has it, over and over: so
# much that nearly always one waits.
writers_begin()
{
	vm_guest "rm -f /tmp/stop /mem/random*"
	for i in 1 2 3 4; do
		write="dd if=/mem/pattern of=/mem/writer$i bs=1M count=2 conv=fsync,notrunc 2>/tmp/dd$i"
		vm_guest "while [ ! -e /tmp/stop ]; do $write && echo . >>/tmp/wrote$i || cat /tmp/dd$i >>/tmp/failed; done >/dev/null &"
	done
}

least_written()
{
	vm_guest "wc -l /tmp/wrote[1-4]" | awk '$2 != "total" { print $1 }' | sort -n | head -n 1
}

writers_moved()
{
	[ "$(least_written)" -gt "$1" ]
}

writers_go_on()
{
	rounds=$(least_written)
	check_within 60 "all writers go on, after $rounds rounds at least" writers_moved "$rounds"
}

flushing()
{
	echo "$SAVED" | grep -q '"id":"pmem0","flushing":true'
}

go_on_with()
{
	# shellcheck disable=SC2046
	vm_go_on "$@" $(guest_options "$GUEST")
}

check "the guest mounts the file system" vm_guest "mount -t ext4 -o dax /dev/pmem0 /mem" || return
vm_guest "touch /tmp/wrote1 /tmp/wrote2 /tmp/wrote3 /tmp/wrote4"
check "it fills a file" vm_guest "pattern fill /mem/pattern 8; sync"
writers_begin
writers_go_on
tries=0 SAVED=
until flushing; do
	tries=$((tries + 1))
	[ $tries -le 2 ] || break
	old=$VM_PID
	snapshot "$file" then=quit || return
	ended_well "$old"
	check "another process goes on with the snapshot" go_on_with --restore "$file" || return
done
if flushing; then
	pass "saved in the middle of a flush, at attempt $tries"
else
	note "no flush was going on when it was saved: this disk is too fast"
fi
rm -f "$file"
writers_go_on
check "flushes in this process: $(vm_info pmem0.requests)" [ "$(vm_info pmem0.requests)" -gt 0 ]

old=$VM_PID
check "another process takes the guest over" go_on_with --takeover "$VM_DIR/control" || return
note "$(grep -- '--takeover .*goes on here' "$VM_DIR/console" | tail -n 1)"
ended_well "$old"
writers_go_on
vm_guest "touch /tmp/stop; wait"
check_is "writes that failed" "$(vm_guest "cat /tmp/failed 2>/dev/null | wc -l")" 0
check "the pattern is intact" vm_guest "pattern check /mem/pattern"
vm_guest "dd if=/mem/pattern of=/tmp/part bs=1M count=2 2>/dev/null"
for i in 1 2 3 4; do
	check "and what writer $i wrote" vm_guest cmp /tmp/part "/mem/writer$i"
done
vm_guest rm /tmp/part
check_is "flushes that failed" "$(vm_info pmem0.host_failures)" 0
check "umount" vm_guest umount /mem
e2fs e2fsck -fn "$DISK/data" >"$VM_DIR/fsck" 2>&1
check_is "what e2fsck says of the file, by its status" $? 0
