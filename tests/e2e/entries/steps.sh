# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=sh
# From 128 MiB to several GiB and back in steps. After each, the guest's MemTotal and the
# size of the NUMA node are those that we count, and KVM has slots for no more than that.
# shows: MEM-CFG-05 MEM-CFG-08 MEM-PLUG-07 MEM-UNPL-05 LNX-MEM-06 LNX-MEM-07

total=$(guest_total)
largest=$((REGION / MIB))
for size in 128 640 "$largest" 1536 256 0; do
	resize_to mem0 $((size * MIB)) || return
	check_within 20 "guest's MemTotal follows" guest_total_is $((total + size * MIB))
	check_moved "guest's MemTotal" "$total" "$(guest_total)" -eq $((total + size * MIB))
	check_moved "memory of the guest's NUMA node 1" 0 "$(guest_node 1)" -eq $((size * MIB))
	check_slots mem0
done
mem_sound mem0
