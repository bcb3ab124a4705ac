#!/bin/busybox sh
# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=dash
# The only process of the user-mode Linux guest: takes commands from its console, and answers
# each with a line that begins with "@". Its own words may be mixed with the kernel's.
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
mkdir -p /tmp
mount -t tmpfs -o size=95% files /tmp
stty -echo
insmod /virtio_balloon.ko && echo "@ready"
while read -r command argument; do
	case $command in
	mem) answer=$(awk '/^(MemTotal|MemFree):/ { print $2 }' /proc/meminfo | xargs) ;;
	use) answer=$(dd if=/dev/zero of=/tmp/used bs=1M count="$argument" 2>/dev/null && echo ok) ;;
	unuse) answer=$(rm -f /tmp/used && echo ok) ;;
	keep) answer=$(dd if=/dev/urandom of=/tmp/kept bs=1M count="$argument" 2>/dev/null && echo ok) ;;
	sum) answer=$(md5sum /tmp/kept | cut -d' ' -f1) ;;
	reload) answer=$(rmmod virtio_balloon && insmod /virtio_balloon.ko && echo ok) ;;
	off) poweroff -f ;;
	esac
	echo "@$answer"
done
