# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=sh
# After all that: no device needs a reset, the guest's kernel has not complained, and the
# guest powers off.
# shows: LNX-MEM-06

guest_sound
check "the guest powers off, and toyvmm ends with status 0" vm_stop
