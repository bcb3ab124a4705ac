# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=sh
# A guest is saved in the middle of an inflate, its VMM ends, and the guest goes on in another
# process, with other host memory: the inflate comes to its end, and nothing that the guest has
# in memory is lost.
# shows: STAT-09 MMIO-10

target=$((112 * MIB))
file=$VM_TMP/snapshot

begin_inflate()
{
	command_ok set-balloon $((target * 1024)) && until_true 30 inflating
}

inflating()
{
	[ "$(vm_info_kb balloon.actual)" -gt 0 ]
}

work_begins || return
guest_busy || return
old=$VM_PID
check "an inflate begins" begin_inflate || return
snapshot "$file" then=quit || return
note_saved
check_moved "saved in the middle: balloon, of $(mib "$(saved balloon.target)") MiB wanted" 0 \
	"$(saved balloon.actual)" -le $((target - 4))
check "and it had begun: $(saved balloon.actual) KiB" [ "$(saved balloon.actual)" -gt 0 ]
check_is "what was wanted" "$(saved balloon.target)" $target
ended_well "$old"

restore "$file" anon || return
guest_calm
check_within 90 "the balloon of $(mib $target) MiB is reached" balloon_is $target
check_moved "it holds as much, as the device remembers" "$(saved balloon.actual)" \
	"$(vm_info_kb balloon.given)" -eq $target
# What was read into memory may have come in huge pages, more than was written.
check_moved "host's resident memory" 0 "$(rss_settled -le $((RAM - target + 2 * SLACK)))" \
	-le $((RAM - target + 2 * SLACK))
work_goes_on
set_balloon 0
work_ends
balloon_sound
