# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=sh
# Twice the guest starts again with memory plugged. When it resets the machine, all of it is
# unplugged, and the new driver finds an empty device. When one kernel hands over to the next
# (kexec), no reset but that of the device happens, and that unplugs nothing: the new driver
# has to, and does, before it plugs anew.
# shows: MEM-OP-06 MEM-INIT-02 MEM-INIT-03 MEM-INIT-05 MEM-ALL-03 LNX-MEM-05

PLUGGED=384
FILLED=320

# starts TEXT COMMAND: the guest is to do it and to come up again
starts()
{
	STARTS=$((STARTS + 1))
	vm_send "$2"
	check_within 60 "$1: the guest comes up again" guest_started
}

node_has()
{
	[ "$(guest_node 1)" -eq "$1" ]
}

# What the guest has now is what it had: the requested size is as it was, so it plugs again.
# Where a kernel lies, and so what it takes for itself, may differ by some pages.
check_again()
{
	check_within 60 "$1: plugged again: $PLUGGED MiB" plugged_is $((PLUGGED * MIB))
	check_within 20 "$1: memory of NUMA node 1: $PLUGGED MiB" node_has $((PLUGGED * MIB))
	before=$total
	total=$(guest_total)
	check_moved "$1: guest's MemTotal" "$before" "$total" -ge $((before - MIB))
	check_moved "$1: guest's MemTotal" "$before" "$total" -le $((before + MIB))
}

# check_found TEXT UNPLUG_ALLS WORD: what the new driver found, by its requests and its words
check_found()
{
	check_is "$1: UNPLUG_ALL requests of the new driver" \
		$(($(vm_info mem0.unplug_all_requests) - unplug_alls)) "$2"
	check_is "$1: the new driver says that all has to be unplugged first" \
		"$(vm_guest "dmesg | grep -q 'unplugging all memory is required' && echo yes || echo no")" "$3"
}

# The plugged size of the first event that tells of one.
first_plugged()
{
	sed -n '/"event":"plugged".*"id":"mem0"/{s/.*"bytes":\([0-9]*\).*/\1/p;q;}' "$VM_DIR/events"
}

total=$(($(guest_total) + PLUGGED * MIB))
resize_to mem0 $((PLUGGED * MIB)) || return
check_within 20 "guest's MemTotal grows" guest_total_is $total
check "the guest fills $FILLED MiB" vm_guest fill $FILLED mpol=bind:1 || return
rss=$(vm_rss)
unplug_alls=$(vm_info mem0.unplug_all_requests)
watch_events

starts "system reset" "reboot -f" || return
event=$(grep '"event":"reset"' "$VM_DIR/events")
check "an event tells of the reset: $event" [ -n "$event" ]
check_again "system reset"
check_is "system reset: plugged, in the first event of it" "$(first_plugged)" 0
check_found "system reset" 0 no
check_moved "system reset: host's resident memory" "$rss" "$(vm_rss)" \
	-le $((rss - FILLED * MIB + SLACK))

# The image that this guest has come from, made of what is in it.
files="find bin init modules; printf '%s\\n' dev proc sys tmp mem"
check "the guest makes an initial file system of its own" vm_guest \
	"cd /; { $files; } | cpio -o -H newc >/tmp/initrd" || return
unwatch_events
watch_events
starts "kexec" "kexec /vmlinuz /tmp/initrd" || return
check "no event tells of a reset" not grep -q '"event":"reset"' "$VM_DIR/events"
check_again "kexec"
check_found "kexec" 1 yes
check_is "kexec: plugged, in the first event of it" "$(first_plugged)" 0
unwatch_events
resize_to mem0 0
check_within 20 "guest's MemTotal falls" guest_total_is $((total - PLUGGED * MIB))
mem_sound mem0
