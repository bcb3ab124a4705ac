# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=sh
# Two memory devices on two NUMA nodes, resized at the same time, also in different directions.
# shows: MEM-CFG-05 MEM-CFG-12 LNX-MEM-06 LNX-MEM-11

start_resize()
{
	vm_ctl resize "$1" "$(($2 * MIB * 1024))" timeout=90 >"$VM_DIR/resize-$1"
}

# check_node ID NODE MIB
check_node()
{
	check "$(tail -n 1 "$VM_DIR/resize-$1")" grep -q "^$1: done at $3 MiB of " "$VM_DIR/resize-$1"
	check_moved "$1: plugged" 0 "$(vm_info_kb "$1.plugged")" -eq $(($3 * MIB))
	check_moved "memory of the guest's NUMA node $2" 0 "$(guest_node "$2")" -eq $(($3 * MIB))
}

# both MIB MIB
both()
{
	note "mem0 to $1 MiB and mem1 to $2 MiB at once"
	start_resize mem0 "$1" &
	start_resize mem1 "$2" || true
	wait $! || true
	check_within 20 "guest's MemTotal follows" guest_total_is $((total + ($1 + $2) * MIB))
	check_moved "guest's MemTotal" "$total" "$(guest_total)" -eq $((total + ($1 + $2) * MIB))
	check_node mem0 1 "$1"
	check_node mem1 2 "$2"
}

total=$(guest_total)
ram=$(guest_node 0)
check_is "node of mem0" "$(vm_info mem0.node)" 1
check_is "node of mem1" "$(vm_info mem1.node)" 2
both 256 640
check "the guest fills 192 MiB of node 2" vm_guest fill 192 mpol=bind:2
both 512 256
check "what the guest keeps in node 2 is intact" vm_guest intact
vm_guest empty
both 0 0
check_moved "memory of the guest's NUMA node 0, which no device is on" "$ram" \
	"$(guest_node 0)" -eq "$ram"
mem_sound mem0
mem_sound mem1
