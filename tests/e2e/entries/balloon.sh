# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=sh
# The balloon takes memory out of the guest, the host's memory follows, and what the guest
# keeps in its other memory stays what it is.
# shows: CFG-04 BAL-GEN-05 BAL-INF-02 BAL-INF-05 BAL-DEF-02 BAL-DEF-03 LNX-BAL-03

large=$((160 * MIB))
small=$((64 * MIB))

total=$(guest_total)
free=$(guest_free)
used=$(((free / MIB - 40) / 16 * 16))
note "the guest uses $used MiB and frees them, so that the host holds them"
check "the guest uses $used MiB" vm_guest fill $used || return
vm_guest empty
note "the guest keeps 64 MiB in use"
check "the guest fills 64 MiB" vm_guest fill 64 || return
free=$(guest_free)
rss=$(vm_rss)
check "the host holds at least $used MiB: $(mib "$rss") MiB" [ "$rss" -ge $((used * MIB)) ]

set_balloon $large || return
check_moved "inflated: guest's MemTotal" "$total" "$(guest_total)" -eq $((total - large))
check_moved "inflated: guest's MemFree" "$free" "$(guest_free)" -le $((free - large + SLACK))
after=$(rss_settled -le $((RAM - large + SLACK)))
check_moved "inflated: host's resident memory" "$rss" "$after" -le $((RAM - large + SLACK))
check_moved "inflated: by nearly as much" "$rss" "$after" -le $((rss - large * 3 / 4))

set_balloon $small || return
check_moved "deflated a part: guest's MemTotal" "$((total - large))" "$(guest_total)" \
	-eq $((total - small))
set_balloon 0 || return
check_moved "deflated: guest's MemTotal" "$((total - small))" "$(guest_total)" -eq "$total"

note "reading back what the guest kept in use"
check "the guest's data survived inflate and deflate" vm_guest intact
vm_guest empty
note "the guest uses $used MiB again"
before=$(vm_rss)
check "the guest uses $used MiB again" vm_guest fill $used
after=$(rss_settled -ge $((used * MIB)))
check_moved "used again: host's resident memory" "$before" "$after" -ge $((used * MIB))
vm_guest empty

check_is "pages that the device ignored" "$(vm_info balloon.pages_ignored)" 0
check_is "discards that failed" "$(vm_info balloon.host_failures)" 0
check_is "a fault" "$(vm_info balloon.fault)" none
