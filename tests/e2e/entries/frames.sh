# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=sh
# A balloon that is told of host pages of 2 MiB hands them to the host whole, never in parts,
# though the guest names 4 KiB at a time, 1 MiB at most in a request. Where the guest's RAM is
# really made of such pages, they go back to the host's pool.
# shows: BAL-INF-06 BAL-GEN-06 LNX-BAL-03

FRAME=2048
size=$((128 * MIB))
least=$((size / 2)) # Linux takes fragments too, of pages that it goes on using

inflated()
{
	echo $(($(balloon_pages_kb pages_inflated) - inflated))
}

# Free pages of the host's pool, in kilobytes
pool()
{
	echo $(($(host_meminfo HugePages_Free) * FRAME))
}

guest_at_rest
used=$(fillable)
use_and_free "$used" || return
rss=$(vm_rss)
pool=$(pool)
inflated=$(balloon_pages_kb pages_inflated)
set_balloon "$MIB" || return
check_moved "1 MiB is no whole frame: discarded" 0 "$(inflated)" -eq 0
check_is "remembered as given up, KiB" "$(vm_info_kb balloon.given)" "$MIB"

set_balloon $size || return
check_is "remembered as given up, KiB" "$(vm_info_kb balloon.given)" $size
check_moved "discarded of $(mib $size) MiB" 0 "$(inflated)" -ge $least
check_is "parts of frames among it, KiB" $(($(inflated) % FRAME)) 0
after=$(rss_settled -le $((rss - least)))
check_moved "host's resident memory" "$rss" "$after" -le $((rss - least))
[ "$(guest_huge_pages "$GUEST")" -eq 0 ] ||
	check_moved "free huge pages of the host" "$pool" "$(pool)" -ge $((pool + least))

set_balloon 0 || return
check_is "remembered as given up, KiB" "$(vm_info_kb balloon.given)" 0
check "the guest uses $used MiB again" vm_guest fill "$used"
check "what it keeps there is intact" vm_guest intact
check_moved "used again: host's resident memory" "$after" "$(vm_rss)" -ge $((rss - SLACK))
vm_guest empty
balloon_sound
