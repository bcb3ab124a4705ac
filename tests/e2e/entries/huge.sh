# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=sh
# A region of 1 TiB with 1 GiB plugged costs memory slots, and memory, of 1 GiB only.
# shows: MEM-CFG-05 MEM-CFG-11 MEM-OP-04 LNX-MEM-07

region=$(vm_info_kb mem1.size)
slot=$(vm_info_kb mem1.slot_size)
total=$(guest_total)
rss=$(vm_rss)
check_is "region, in GiB" $((region / MIB / 1024)) "$HUGE_REGION"
check_is "slots that it would have as a whole" "$(vm_info mem1.slots_max)" $((region / slot))
check_slots mem1
for size in 128 1024; do
	resize_to mem1 $((size * MIB)) || return
	check_within 20 "guest's MemTotal grows" guest_total_is $((total + size * MIB))
	check_moved "guest's MemTotal" "$total" "$(guest_total)" -eq $((total + size * MIB))
	check_slots mem1
done
check_moved "untouched: host's resident memory, all of the VMM's tables in it" "$rss" "$(vm_rss)" \
	-le $((RAM + SLACK))
check "the guest fills 224 MiB of it" vm_guest fill 224 mpol=bind:2
check "they are intact" vm_guest intact
check_moved "filled: host's resident memory" "$rss" "$(rss_settled -ge $((224 * MIB)))" \
	-ge $((224 * MIB))
vm_guest empty
resize_to mem1 0
check_slots mem1
check_moved "unplugged: host's resident memory" "$rss" "$(rss_settled -le $((RAM + SLACK)))" \
	-le $((RAM + SLACK))
mem_sound mem1
