# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=sh
# virtio-mem adds memory that is really memory, on the NUMA node it was given, and takes it
# back; the host's memory follows.
# shows: MEM-CFG-05 MEM-CFG-08 MEM-OP-01 MEM-OP-03 MEM-OP-04 MEM-PLUG-07 MEM-UNPL-05 LNX-MEM-01
# shows: LNX-MEM-06 LNX-MEM-07 LNX-MEM-09

part=$((256 * MIB))
filled=224 # MiB; a little is left free, or the guest would be short of memory

total=$(guest_total)
rss=$(vm_rss)
set_plugged $part || return
check_within 20 "plugged: guest's MemTotal grows" guest_total_is $((total + part))
check_moved "plugged: guest's MemTotal" "$total" "$(guest_total)" -eq $((total + part))
check_moved "plugged: memory of the guest's NUMA node $MEM_NODE" 0 "$(vm_guest node "$MEM_NODE")" \
	-eq $part

note "the guest fills $filled MiB of the new memory with a pattern"
check "the guest fills $filled MiB on node $MEM_NODE" vm_guest fill $filled "mpol=bind:$MEM_NODE" ||
	return
after=$(rss_settled -ge $((filled * MIB)))
check_moved "filled: host's resident memory" "$rss" "$after" -ge $((filled * MIB))

set_plugged "$REGION" || return
check_within 20 "plugged all: guest's MemTotal grows" guest_total_is $((total + REGION))
check_moved "plugged all: guest's MemTotal" $((total + part)) "$(guest_total)" \
	-eq $((total + REGION))
note "reading the pattern back"
check "the pattern in the new memory is intact" vm_guest intact
vm_guest empty

rss=$(vm_rss)
resident=$(vm_info_kb resident)
set_plugged 0 || return
check_within 20 "unplugged: guest's MemTotal falls" guest_total_is "$total"
check_moved "unplugged: guest's MemTotal" $((total + REGION)) "$(guest_total)" -eq "$total"
after=$(rss_settled -le $((RAM + SLACK)))
check_moved "unplugged: host's resident memory" "$rss" "$after" -le $((RAM + SLACK))
check_moved "unplugged: resident guest memory" "$resident" "$(vm_info_kb resident)" \
	-le $((resident - filled * MIB * 9 / 10))

for size in 3M 2G; do
	check "a request for $size is refused" refused set-requested mem0 "$size"
done
mem_sound mem0
