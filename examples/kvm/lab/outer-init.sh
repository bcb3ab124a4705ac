#!/bin/busybox sh
# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=dash
#
# First process of the emulated machine: brings up KVM, runs the scenario, powers off.
# The scenario has the second serial line to itself, kernel messages have the first.

bb=/bin/busybox
$bb mount -t devtmpfs dev /dev
$bb --install -s /bin
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t tmpfs -o size=512M tmp /tmp
stty -F /dev/ttyS1 raw -echo
exec </dev/null >/dev/ttyS1 2>&1
cat /dev/ttyS1 >/dev/null & # what comes in is to interrupt, and no more

# Collapsing given-up memory back into huge pages is a policy of the host's, not what is
# shown here, and would blur the figures.
echo 0 >/sys/kernel/mm/transparent_hugepage/khugepaged/defrag

while read -r module; do
	insmod "/modules/$module" || echo "outer machine: cannot load $module"
done </modules/order

# QEMU's SVM does not tell KVM of a guest's XSETBV, and Linux then warns about a CPUID that
# does not fit. What takes long in an emulated machine, or if that has to share its processor,
# is no stall.
export VM_APPEND="noxsave rcupdate.rcu_cpu_stall_timeout=300 nowatchdog"

# Time passes here also while others have the host's processors: nothing is given up as soon as
# elsewhere.
export VM_PATIENCE=3 VM_BOOT_SECONDS=180 VM_GUEST_SECONDS=270

# Scenarios may mount what they like here, and it ends with them.
export VM_OWN_MACHINE=1

cd /lab || poweroff -f
sh ./vm.sh scenario.sh
# The line is empty when all that was said has left the machine.
stty -F /dev/ttyS1 sane 2>/dev/null
poweroff -f
