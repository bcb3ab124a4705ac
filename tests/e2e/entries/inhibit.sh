# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=sh
# While discards are inhibited the balloon does what it is told, and the host's memory stays;
# afterwards what is given up then is discarded, and nothing else.
# shows: BAL-INF-04 BAL-INF-04 BAL-DEF-02 LNX-BAL-03

large=$((192 * MIB))
small=$((128 * MIB))

given_is()
{
	[ "$(vm_info_kb balloon.given)" -eq "$1" ]
}

used=$(fillable)
check "the guest uses $used MiB and frees them" vm_guest fill "$used" || return
vm_guest empty
rss=$(vm_rss)
kept=$(balloon_count pages_inhibited)
check "inhibit" command_ok inhibit
check_is "discards are inhibited" "$(vm_info balloon.inhibited)" 1
set_balloon $large || return
check_moved "inflated, inhibited: host's resident memory" "$rss" "$(vm_rss)" -ge $((rss - SLACK))
check_moved "not discarded" 0 $((($(balloon_count pages_inhibited) - kept) * 4)) -ge $large
set_balloon $small || return
check "given up are now $(mib $small) MiB" given_is $small
filled=$(fillable)
check "the guest fills $filled MiB, also where the balloon was" vm_guest fill "$filled" || return

rss=$(vm_rss)
check "uninhibit" command_ok uninhibit
after=$(rss_settled -le $((rss - small * 3 / 4)))
check_moved "uninhibited: host's resident memory" "$rss" "$after" -le $((rss - small * 3 / 4))
check "what the guest took back from the balloon is intact" vm_guest intact
vm_guest empty
set_balloon 0
check "nothing is given up any more" given_is 0
balloon_sound
