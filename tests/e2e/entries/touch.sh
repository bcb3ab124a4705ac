# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=sh
# Files fill what is plugged, and a process reads and overwrites one of them all the time,
# word by word, while memory comes, and while memory goes that the file lies in.
# shows: MEM-OP-01 MEM-OP-03 MEM-OP-04 MEM-OP-09 MEM-OP-10

PLUGGED=768
HALF=352 # a file of this size and another one leave 64 MiB, for Linux to be at ease

# Of the guest's pages, in kilobytes: how many have been moved elsewhere so far
moved()
{
	echo $(($(vm_guest "awk '/^pgmigrate_success / { print \$2 }' /proc/vmstat") * 4))
}

rounds()
{
	vm_guest "wc -c </tmp/rounds"
}

rounds_are_above()
{
	[ "$(rounds)" -gt "$1" ]
}

# at_work TEXT: since it was asked last, the process has come round, and found what it left
at_work()
{
	had=$(rounds)
	check_within 60 "$1: round after round, $had so far" rounds_are_above "$had"
	check "$1: all words are as it left them" vm_guest "[ ! -s /tmp/work-said ]"
}

total=$(guest_total)
rss=$(vm_rss)
resize_to mem0 $((PLUGGED * MIB)) || return
check "the guest fills $HALF MiB" vm_guest fill $HALF mpol=bind:1 || return
options=size=100%,huge=always,mpol=bind:1
vm_guest "mkdir -p /second; mount -t tmpfs -o $options second /second"
check "the guest fills $HALF MiB more" vm_guest pattern fill /second/file $HALF || return
check_moved "touched: host's resident memory" "$rss" "$(vm_rss)" \
	-ge $((rss + 2 * HALF * MIB - SLACK))
vm_guest "rm -f /tmp/stop"
vm_guest "pattern work /second/file /tmp/stop >/tmp/rounds 2>/tmp/work-said & worker=\$!"
at_work "at rest"

resize_to mem0 $((1024 * MIB))
check_within 20 "guest's MemTotal grows" guest_total_is $((total + 1024 * MIB))
at_work "grown"
check "the other file is intact" vm_guest intact
vm_guest empty

before=$(moved)
resize_to mem0 $((512 * MIB))
check_within 20 "guest's MemTotal falls" guest_total_is $((total + 512 * MIB))
check_moved "pages that moved so that memory could go" 0 $(($(moved) - before)) -ge $((64 * MIB))
at_work "shrunk"

check "the process ends, having found all as it left it" vm_guest ": >/tmp/stop; wait \$worker"
said=$(vm_guest cat /tmp/work-said)
check_is "what it complained of" "${said:-nothing}" nothing
check "the file is intact" vm_guest pattern check /second/file
vm_guest umount /second
resize_to mem0 0
check_within 20 "guest's MemTotal falls" guest_total_is "$total"
check_moved "unplugged: host's resident memory" "$rss" "$(rss_settled -le $((RAM + SLACK)))" \
	-le $((RAM + SLACK))
mem_sound mem0
