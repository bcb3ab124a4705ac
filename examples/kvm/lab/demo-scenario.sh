# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=sh
#
# What demo.sh shows, as a scenario for vm.sh. Beside vm.sh's own tags it says
#
#   @sample SECONDS TOTAL FREE HOST        memory in KiB: guest, guest, host
#   @phase SECONDS NAME                    a new phase begins
#   @row NAME|TARGET|TOTAL|FREE|HOST|EXPECTED|ok or FAIL

MIB=1024
RAM=$((512 * MIB))
BALLOON=$((256 * MIB))
PLUG=$((1024 * MIB))
# The VMM's own code and tables, and pages that come and go as the guest runs.
SLACK=$((24 * MIB))

mib()
{
	echo "$((($1 + MIB / 2) / MIB))"
}

# Hundredths of a second since boot.
clock()
{
	read -r up _ </proc/uptime
	echo "${up%.*}${up#*.}"
}

seconds()
{
	elapsed=$(($(clock) - START))
	printf '%d.%02d\n' $((elapsed / 100)) $((elapsed % 100))
}

sample_forever()
{
	while vm_alive; do
		guest=$(vm_guest_memory)
		[ -z "$guest" ] || echo "@sample $(seconds) $guest $(vm_rss)"
		sleep 0.5
	done
}

# The same as vm_guest_memory, but from this moment, and an answer for certain.
guest_memory_now()
{
	vm_guest memory | sed 's/.*MemTotal=\([0-9]*\) MemFree=\([0-9]*\) kB/\1 \2/'
}

guest_total_is()
{
	guest=$(guest_memory_now)
	[ "${guest% *}" -eq "$1" ]
}

phase()
{
	PHASE=$1
	echo "@phase $(seconds) $1"
}

host_at_most()
{
	[ "$(vm_rss)" -le "$1" ]
}

host_at_least()
{
	[ "$(vm_rss)" -ge "$1" ]
}

# row TARGET EXPECTED CONDITION...: ends a phase; the condition may take a moment to come true.
row()
{
	row_target=$1 row_expected=$2 row_ok=ok
	shift 2
	until_true 15 "$@" || row_ok=FAIL DEMO_STATUS=1
	host=$(vm_rss)
	guest=$(guest_memory_now)
	echo "@sample $(seconds) $guest $host"
	guest="$(mib "${guest% *}")|$(mib "${guest#* }")"
	echo "@row $PHASE|$row_target|$guest|$(mib "$host")|$row_expected|$row_ok"
}

give_up()
{
	say "FAILED: $*; the end of the guest's console:"
	tail -n 30 "$VM_DIR/console"
	exit 1
}

balloon_is()
{
	[ "$(vm_info_kb balloon.actual)" -eq "$1" ]
}

plugged_is()
{
	[ "$(vm_info_kb mem0.plugged)" -eq "$1" ]
}

# Uses nearly all memory that is free in the guest, so that the host has to provide it.
touch_all()
{
	free=$(guest_memory_now)
	TOUCHED=$(((${free#* } / MIB - 40) / 16 * 16))
	vm_guest fill "$TOUCHED" || give_up "the guest could not use $TOUCHED MiB"
	vm_guest empty || give_up "the guest could not free its memory"
}

# set_balloon KB: until the device, and the guest's kernel too, say that it is so.
set_balloon()
{
	vm_ctl set-balloon "$(($1 * 1024))" >/dev/null || give_up "toyvmm refused a balloon target"
	until_true 90 balloon_is "$1" || give_up "the balloon did not come to $(mib "$1") MiB"
	until_true 20 guest_total_is $((TOTAL - $1)) || give_up "the guest's MemTotal is not as expected"
}

set_plugged()
{
	vm_ctl set-requested mem0 "$(($1 * 1024))" >/dev/null || give_up "toyvmm refused a request"
	until_true 90 plugged_is "$1" || give_up "the guest did not come to $(mib "$1") MiB plugged"
	until_true 20 guest_total_is $((TOTAL + $1)) || give_up "the guest's MemTotal is not as expected"
}

START=$(clock)
DEMO_STATUS=0
phase boot
# Without swiotlb, or else Linux sets 64 MiB aside because memory above 4 GiB may come.
vm_start kernel "memhp_default_state=online_movable swiotlb=noforce" --memory 512M --cpus 1 --balloon \
	--mem size=1G,block=2M,node=0 || give_up "the guest did not boot"
TOTAL=$(guest_memory_now)
TOTAL=${TOTAL% *}
sample_forever &
SAMPLER=$!
row "512 MiB" "below $(mib $RAM) MiB" host_at_most $RAM

phase use
touch_all
row "use $TOUCHED MiB, free it" "at least $((TOUCHED)) MiB: nobody told the host" \
	host_at_least $((TOUCHED * MIB))

phase balloon
set_balloon $BALLOON
row "balloon $(mib $BALLOON) MiB" "at most $(mib $((RAM - BALLOON + SLACK))) MiB" \
	host_at_most $((RAM - BALLOON + SLACK))

phase give-back
set_balloon 0
touch_all
row "balloon 0, use $TOUCHED MiB" "at least $((TOUCHED)) MiB" host_at_least $((TOUCHED * MIB))

phase plug
set_plugged $PLUG
touch_all
row "plug $(mib $PLUG) MiB, use $TOUCHED MiB" "at least $((TOUCHED)) MiB" \
	host_at_least $((TOUCHED * MIB))

phase unplug
set_plugged 0
row "plug 0" "at most $(mib $((RAM + SLACK))) MiB" host_at_most $((RAM + SLACK))

phase end
kill $SAMPLER
vm_stop || give_up "toyvmm did not end by itself with status 0"
exit $DEMO_STATUS
