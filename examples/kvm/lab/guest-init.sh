#!/bin/busybox sh
# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=dash
#
# First process of a guest under the toy VMM. It loads the drivers, says every half second
# what memory the guest has, and runs the commands that come in on the console:
#
#   in:   ID COMMAND...          out:  OUT ID LINE      for each line that it printed
#                                      REPLY ID STATUS

bb=/bin/busybox
$bb mount -t devtmpfs dev /dev
exec 0</dev/console 1>/dev/console 2>&1
$bb --install -s /bin
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sys /sys
stty -echo -onlcr

while read -r module; do
	insmod "/modules/$module" || echo "guest: cannot load $module"
done </modules/order

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

# What a kernel says when a driver or a device misbehaved, or "none".
complaints()
{
	dmesg | grep -E 'WARNING:|BUG:|Oops|[Cc]all [Tt]race|is broken|virtio.*(error|fail)|unknown error|blocked for more than|page allocation failure|Out of memory' ||
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
