#!/bin/busybox sh
# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=dash
#
# First process of a guest under the toy VMM. It loads the drivers, says every half second
# what memory the guest has, and runs the commands that come in on the console. With root=DEVICE
# on the kernel's command line it does so from there, once it has loaded that device's driver:
#
#   in:   ID COMMAND...          out:  OUT ID LINE      for each line that it printed
#                                      REPLY ID STATUS

bb=/bin/busybox
$bb mount -t devtmpfs dev /dev
exec 0</dev/console 1>/dev/console 2>&1
$bb --install -s /bin 2>/dev/null # some may be there
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sys /sys
stty -echo -onlcr

# load LIST: the modules that /modules/LIST names
load()
{
	while read -r module; do
		insmod "/modules/$module" || echo "guest: cannot load $module"
	done <"/modules/$1"
}

# Does not return, unless something is wrong.
go_to_root()
{
	load order-pmem
	until [ -b "$1" ]; do
		sleep 0.1
	done
	mount -t ext4 "$1" /mem || return
	umount /proc /sys
	umount -l /dev
	exec switch_root /mem /init
}

root=$(sed -n 's/.* root=\([^ ]*\).*/\1/p' /proc/cmdline)
if ! grep -q "^/dev/[^ ]* / " /proc/mounts; then
	load order
	[ -z "$root" ] || go_to_root "$root" || echo "guest: cannot go to $root"
fi

memory()
{
	while read -r key value _; do
		case $key in
		MemTotal:) total=$value ;;
		MemFree:) free=$value; break ;;
		esac
	done </proc/meminfo
	read -r uptime _ </proc/uptime
	echo "GUEST time=$uptime MemTotal=$total MemFree=$free kB"
}

# fill MIB [MOUNT_OPTION]: makes the guest really use MIB of memory, so that its host must
# provide it. An option such as mpol=bind:1 says from which NUMA node the memory comes.
fill()
{
	mount -t tmpfs -o "size=100%,huge=always${2:+,$2}" fill /mem && pattern fill /mem/file "$1"
}

# intact: succeeds if what fill wrote is still there.
intact()
{
	pattern check /mem/file
}

# empty: frees what fill used.
empty()
{
	umount /mem
}

# node N: kilobytes of memory of a NUMA node
node()
{
	awk '/MemTotal/ { print $4 }' "/sys/devices/system/node/node$1/meminfo"
}

# device ID: the name (virtioN) of the device with that virtio device id
device()
{
	for d in /sys/bus/virtio/devices/*; do
		[ $(($(cat "$d/device"))) -eq "$1" ] && basename "$d"
	done
}

# What the kernel itself says of its memory, by the names and in the units of "toyvmm-ctl stats".
statistics()
{
	cat /proc/vmstat /proc/meminfo | awk '
		{ v[$1] = $2 }
		function sum(start, name, total) {
			for (name in v)
				if (index(name, start) == 1)
					total += v[name]
			return total + 0
		}
		END {
			print "swap_in", v["pswpin"] * 4
			print "swap_out", v["pswpout"] * 4
			print "major_fault", v["pgmajfault"]
			print "minor_fault", v["pgfault"]
			print "unused", v["MemFree:"]
			print "available", v["MemTotal:"]
			print "usable", v["MemAvailable:"]
			print "disk_caches", v["nr_file_pages"] * 4
			print "hugetlb_pgalloc", v["htlb_buddy_alloc_success"]
			print "hugetlb_pgfail", v["htlb_buddy_alloc_fail"]
			print "oom_kill", v["oom_kill"]
			print "alloc_stall", sum("allocstall_")
			print "async_scan", v["pgscan_kswapd"] * 4
			print "direct_scan", v["pgscan_direct"] * 4
			print "async_reclaim", v["pgsteal_kswapd"] * 4
			print "direct_reclaim", v["pgsteal_direct"] * 4
		}'
}

# What a kernel says when a driver or a device misbehaved, or "none".
complaints()
{
	dmesg | grep -B 4 -A 12 -E 'WARNING:|BUG:|Oops|[Cc]all [Tt]race|is broken|virtio.*(error|fail)|unknown error|blocked for more than|page allocation failure|Out of memory' ||
		echo none
}

memory
echo "GUEST ready $(uname -r)"
while sleep 0.5; do
	memory
done &

while IFS= read -r line; do
	id=${line%% *}
	eval "${line#* }" >/tmp/out 2>&1
	status=$?
	while IFS= read -r text; do
		echo "OUT $id $text"
	done </tmp/out
	echo "REPLY $id $status"
done
echo "GUEST console closed"
poweroff -f
