# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=sh
# The balloon holds most of the guest's memory, and then a workload needs more than is left.
# With DEFLATE_ON_OOM it gets it from the balloon instead of being killed.
# shows: BAL-OOM-01 BAL-OOM-02 BAL-DEF-03 LNX-BAL-15 LNX-BAL-16

kills()
{
	vm_guest "awk '/^oom_kill / { print \$2 }' /proc/vmstat"
}

balloon_above()
{
	[ "$(vm_info_kb balloon.actual)" -gt "$1" ]
}

guest_at_rest
total=$(guest_total)
free=$(guest_free)
killed=$(kills)
target=$(((free / MIB - 72) / 16 * 16 * MIB))
set_balloon $target || return
check_moved "inflated: guest's MemFree" "$free" "$(guest_free)" -le $((total - target))
check_moved "inflated: guest's MemTotal, which such a balloon leaves as it is" "$total" \
	"$(guest_total)" -eq "$total"

left=$(guest_free)
need=$(((total - target) / MIB + 8))
rss=$(vm_rss)
note "a workload needs $need MiB where $(mib "$left") MiB are free"
check "the workload gets $need MiB" vm_guest fill $need || return
check "what it keeps there is intact" vm_guest intact
after=$(vm_info_kb balloon.actual)
check_moved "the balloon gave way" $target "$after" -le $((total - need * MIB))
check_moved "the balloon's target" $target "$(vm_info_kb balloon.target)" -eq $target
check_is "processes killed for want of memory meanwhile" $(($(kills) - killed)) 0
check_moved "host's resident memory" "$rss" "$(vm_rss)" -ge "$rss"
vm_guest empty
check "nothing pulls the pages back in the 5 seconds after the workload has gone" \
	not until_true 5 balloon_above "$after"

set_balloon 0
check_moved "deflated: guest's MemFree" "$left" "$(guest_free)" -ge $((free - SLACK))
balloon_sound
