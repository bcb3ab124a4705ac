# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=sh
# By command, the guest takes its free memory aside and names it; it keeps that memory until
# the host is done, but for what it needs itself. A hint discards nothing.
# shows: BAL-HINT-02 BAL-HINT-08 BAL-HINT-09 BAL-HINT-10 BAL-HINT-11 BAL-HINT-13
# shows: LNX-BAL-11 LNX-BAL-12 LNX-BAL-13 BAL-GEN-05

LEFT=$((64 * MIB)) # free memory in pieces that Linux does not hint, and reserves

round_is()
{
	[ "$(vm_info balloon.round)" = "$1" ]
}

# Every round begins anew: its hints are those of memory that is free by then.
start_round()
{
	check "hint start" command_ok hint start &&
		check_within 60 "the guest has sent all its hints" round_is ended
}

guest_at_rest
free=$(guest_free)
reported=$(balloon_pages_kb pages_reported)
rss=$(vm_rss)
rounds=$(balloon_count rounds)
check_is "no round at first" "$(vm_info balloon.round)" none
start_round || return
hinted=$(vm_info_kb balloon.hinted)
check_moved "hinted, of $(mib "$free") MiB free" 0 "$hinted" -ge $((free - LEFT))
held=$(guest_free)
check_moved "guest's MemFree while it holds them" "$free" "$held" -le $((free - hinted + SLACK))
held_by_host=$(vm_rss)
# What a guest has reported meanwhile is discarded, and that alone.
reported=$(($(balloon_pages_kb pages_reported) - reported))
check_moved "a hint discards nothing: host's resident memory" "$rss" "$held_by_host" \
	-ge $((rss - reported - MIB))

check "hint stop" command_ok hint stop
check_is "the round after stop" "$(vm_info balloon.round)" none
check "the guest still holds its pages" guest_free_is -le $((held + SLACK))

used=$((hinted / 2 / MIB))
note "the guest uses $used MiB, more than the $(mib "$held") MiB that are free in it"
check "the guest uses $used MiB of what it held" vm_guest fill $used
check "what it keeps there is intact" vm_guest intact
vm_guest empty

note "started twice in a row, then to its end, then done"
check "hint start" command_ok hint start
start_round || return
check_is "rounds" "$(balloon_count rounds)" $((rounds + 3))
held=$(guest_free)
check "hint done" command_ok hint "done"
check_within 20 "the guest has its memory back" guest_free_is -ge $((free - SLACK))
check_moved "done: guest's MemFree" "$held" "$(guest_free)" -ge $((free - SLACK))
check_is "the round after done" "$(vm_info balloon.round)" none
balloon_sound
