# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
#
# Runs real Linux guests under the toy VMM; demo.sh and tests/e2e/run.sh source this.
#
# What is run is a *scenario*: a POSIX shell script that starts the toy VMM and watches
# it. It runs on this machine where hardware KVM is, and otherwise inside an emulated
# machine that has hardware KVM (QEMU emulates AMD's SVM). Either way the scenario finds
# one directory, the *stage*, with everything that it needs, and writes tagged lines.

LAB_DIR=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
LAB_CACHE=${VMEMDEV_CACHE:-${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/vmemdev}
LAB_SILENCE=60   # seconds without a pulse after which an emulated machine is given up
LAB_MACHINE_MIB=4096 # what an emulated machine may take, with what QEMU keeps besides its memory
LAB_PLACE=       # hardware | emulated, chosen by lab_choose_place

lab_say()
{
	printf '%s\n' "$*"
}

lab_die()
{
	printf 'error: %s\n' "$*" >&2
	exit 1
}

# --- packages -------------------------------------------------------------------------

lab_as_root()
{
	if [ "$(id -u)" -eq 0 ]; then
		"$@"
	elif command -v sudo >/dev/null; then
		sudo -- "$@"
	else
		lab_die "'$*' needs root; run this as root, or install sudo and run it again"
	fi
}

lab_apt()
{
	lab_as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -o Dpkg::Use-Pty=0 "$@"
}

# Refreshes the package lists once a run, and only when something is missing.
lab_apt_update()
{
	[ -z "${lab_apt_updated:-}" ] || return 0
	lab_say "  refreshing the package lists (apt-get update)"
	# A foreign source that fails is not our concern, as long as what is needed comes.
	lab_apt update || lab_say "  apt-get update had failures; going on all the same"
	lab_apt_updated=1
}

# lab_packages "NAME PURPOSE" ...: installs those that are missing, saying what each is for.
lab_packages()
{
	local entry name missing=()

	command -v apt-get >/dev/null || lab_die "apt-get not found; this needs Debian 12 or a relative"
	for entry in "$@"; do
		name=${entry%% *}
		dpkg-query -W -f='${Status}' "$name" 2>/dev/null | grep -q 'ok installed' && continue
		missing+=("$name")
		lab_say "  will install $name: ${entry#* }"
	done
	if [ ${#missing[@]} -eq 0 ]; then
		lab_say "  all $# packages are installed"
		return
	fi
	lab_apt_update
	lab_say "  installing ${#missing[@]} packages (a minute or two on a fresh machine)"
	# The installer's chatter is of use only when it fails.
	local log
	log=$(mktemp)
	if ! lab_apt install -y --no-install-recommends "${missing[@]}" >"$log" 2>&1; then
		tail -n 30 "$log" >&2
		rm -f "$log"
		lab_die "apt-get could not install: ${missing[*]}"
	fi
	rm -f "$log"
}

# What running a guest needs, beside what building needs. Call after lab_choose_place.
lab_guest_packages()
{
	local list=(
		"busybox-static the user land of the guests"
		"gcc compiles the two programs that guests need beside it"
		"libc6-dev its C library, linked statically"
		"cpio packs the guests' initial file systems"
		"xz-utils unpacks kernel modules"
	)

	[ "$LAB_PLACE" = hardware ] ||
		list+=("qemu-system-x86 emulates a machine with hardware KVM, as this one has none")
	lab_packages "${list[@]}"
}

# --- where to run ---------------------------------------------------------------------

lab_choose_place()
{
	# Some clouds show a /dev/kvm that interprets guest code and gives up on a real
	# kernel, so the processor has to have the extension as well.
	if ! grep -qwE 'svm|vmx' /proc/cpuinfo; then
		LAB_PLACE=emulated
		lab_say "where: inside an emulated machine (QEMU with SVM): /proc/cpuinfo shows neither svm nor vmx"
	elif ! (exec 3<>/dev/kvm) 2>/dev/null; then
		LAB_PLACE=emulated
		lab_say "where: inside an emulated machine (QEMU with SVM): /dev/kvm cannot be opened here"
	else
		LAB_PLACE=hardware
		lab_say "where: on this machine's hardware KVM (svm or vmx in /proc/cpuinfo, /dev/kvm opens)"
	fi
	if [ "${VMEMDEV_LAB_PLACE:-$LAB_PLACE}" != "$LAB_PLACE" ]; then
		LAB_PLACE=$VMEMDEV_LAB_PLACE
		lab_say "where: VMEMDEV_LAB_PLACE overrides that: $LAB_PLACE"
	fi
	case $LAB_PLACE in
	hardware | emulated) ;;
	*) lab_die "VMEMDEV_LAB_PLACE is '$LAB_PLACE', expected 'hardware' or 'emulated'" ;;
	esac
}

# --- kernels --------------------------------------------------------------------------

lab_kernel_pattern()
{
	case $1 in
	6.12) echo '^linux-image-6\.12\.[0-9]+\+deb12-cloud-amd64-unsigned$' ;;
	6.1) echo '^linux-image-6\.1\.0-[0-9]+-cloud-amd64-unsigned$' ;;
	*) lab_die "unknown kernel '$1', expected 6.12 or 6.1" ;;
	esac
}

# The newest package of a series that apt can fetch; empty if there is none.
lab_kernel_package()
{
	apt-cache search --names-only "$(lab_kernel_pattern "$1")" | cut -d' ' -f1 | sort -V | tail -n 1
}

# The newest complete copy of a series in the cache; empty if there is none.
lab_kernel_cached()
{
	local dir

	for dir in "$LAB_CACHE"/linux-image-*; do
		[ ! -f "$dir/vmlinuz" ] || basename "$dir"
	done | grep -E "$(lab_kernel_pattern "$1")" | sort -V | tail -n 1
}

# lab_kernel SERIES: fetches and unpacks a Debian kernel; sets LAB_KERNEL to its directory,
# which holds vmlinuz and modules/. One run at a time: they share the cache.
lab_kernel()
{
	local lock

	mkdir -p "$LAB_CACHE"
	exec {lock}>"$LAB_CACHE/lock"
	if ! flock -n "$lock"; then
		lab_say "  waiting for another run that is at the kernels in $LAB_CACHE"
		flock "$lock"
	fi
	lab_kernel_alone "$1"
	exec {lock}>&-
}

lab_kernel_alone()
{
	local series=$1 package tmp

	package=$(lab_kernel_package "$series")
	if [ -z "$package" ]; then
		lab_apt_update
		package=$(lab_kernel_package "$series")
	fi
	[ -n "$package" ] || package=$(lab_kernel_cached "$series")
	[ -n "$package" ] || lab_die "apt knows no kernel $series ($(lab_kernel_pattern "$series"));" \
		"add bookworm-security (6.1, 6.12) to the apt sources and try again"
	LAB_KERNEL=$LAB_CACHE/$package
	if [ -f "$LAB_KERNEL/vmlinuz" ]; then
		lab_say "  kernel $series: $package (already here)"
		return
	fi

	lab_say "  kernel $series: fetching $package (about 30 MB)"
	rm -rf "$LAB_CACHE"/fetch.* # what an interrupted run left
	tmp=$(mktemp -d "$LAB_CACHE/fetch.XXXXXX")
	if ! lab_kernel_fetch "$package" "$tmp"; then
		rm -rf "$tmp"
		package=$(lab_kernel_cached "$series")
		[ -n "$package" ] || lab_die "could not fetch a kernel $series; check the network"
		lab_say "  kernel $series: using $package, fetched earlier"
		LAB_KERNEL=$LAB_CACHE/$package
		return
	fi
	# Renamed into place only now: a directory of the final name is always complete.
	rm -rf "$LAB_KERNEL"
	mv "$tmp/kernel" "$LAB_KERNEL"
	rm -rf "$tmp"
}

lab_kernel_fetch()
{
	local package=$1 tmp=$2

	# The package lists may be older than the archive, which keeps only some versions.
	(cd "$tmp" && apt-get -qq -o APT::Sandbox::User=root download "$package") || {
		lab_apt_update
		(cd "$tmp" && apt-get -qq -o APT::Sandbox::User=root download "$package") || return 1
	}
	dpkg-deb -x "$tmp"/*.deb "$tmp/unpacked" || return 1
	mkdir "$tmp/kernel"
	mv "$tmp"/unpacked/boot/vmlinuz-* "$tmp/kernel/vmlinuz" &&
		mv "$tmp"/unpacked/lib/modules/* "$tmp/kernel/modules"
}

# lab_modules KERNEL_DIR DEST LIST NAME...: copies modules and all that they depend on to DEST,
# and lists those that were not there yet in DEST/LIST, in the order in which insmod takes them.
lab_modules()
{
	local kernel=$1 dest=$2 order=$2/$3 name

	shift 3
	mkdir -p "$dest"
	: >>"$order"
	for name in "$@"; do
		lab_module "$kernel" "$dest" "$order" "$name"
	done
}

lab_module()
{
	local kernel=$1 dest=$2 order=$3 name=$4 file need

	[ ! -e "$dest/$name.ko" ] || return 0
	# Module names have underscores where file names may have hyphens.
	file=$(find "$kernel/modules" -name "${name//_/[-_]}.ko" -o -name "${name//_/[-_]}.ko.xz" |
		head -n 1)
	if [ -z "$file" ]; then
		grep -qE "/${name//_/[-_]}\.ko$" "$kernel/modules/modules.builtin" && return
		lab_die "kernel in $kernel has no module $name, neither as a file nor built in"
	fi
	case $file in
	*.xz) xz -dc "$file" >"$dest/$name.ko" ;;
	*) cp "$file" "$dest/$name.ko" ;;
	esac
	# A module names those that it needs in a string, "depends=a,b".
	for need in $(tr '\0' '\n' <"$dest/$name.ko" | sed -n 's/^depends=//p' | tr ',' ' '); do
		lab_module "$kernel" "$dest" "$order" "$need"
	done
	echo "$name.ko" >>"$order"
}

# --- initial file systems -------------------------------------------------------------

# lab_root ROOT INIT: a root directory with busybox and one of this directory's init scripts.
lab_root()
{
	local root=$1 init=$2

	rm -rf "$root"
	mkdir -p "$root"/{bin,dev,proc,sys,tmp,mem}
	cp "$(command -v busybox)" "$root/bin/busybox"
	install -m 755 "$LAB_DIR/$init" "$root/init"
}

# Not compressed: unpacking would cost more under emulation than reading costs here.
lab_pack()
{
	(cd "$1" && find . -mindepth 1 | LC_ALL=C sort | cpio --quiet -o -H newc -R 0:0) >"$2" ||
		lab_die "could not pack $1 into $2, $(lab_room "$2"): make room there and try again"
}

lab_room()
{
	echo "where $(df -h --output=avail "$(dirname "$1")" | tail -n 1 | tr -d ' ') are free"
}

# lab_guest_image KERNEL_DIR DEST WORK: vmlinuz and initrd of a guest, for the stage.
lab_guest_image()
{
	local kernel=$1 dest=$2 root=$3/guest-root program

	mkdir -p "$dest"
	lab_root "$root" guest-init.sh
	for program in pattern kexec; do
		gcc -std=gnu11 -O2 -static "$LAB_DIR/$program.c" -o "$root/bin/$program"
	done
	lab_modules "$kernel" "$root/modules" order virtio_mmio virtio_balloon virtio_mem
	lab_modules "$kernel" "$root/modules" order-pmem virtio_pmem nd_pmem
	lab_pack "$root" "$dest/initrd"
	rm -rf "$root"
	cp "$kernel/vmlinuz" "$dest/vmlinuz"
}

# lab_e2fs DEST: mke2fs, debugfs and e2fsck with all that they need, and DEST/run, which runs them
# in a guest and in the emulated machine as well as here.
lab_e2fs()
{
	local dest=$1 program

	mkdir -p "$dest"
	for program in mke2fs debugfs e2fsck; do
		program=$(PATH=$PATH:/usr/sbin:/sbin command -v "$program")
		cp "$program" "$dest/"
		ldd "$program" | grep -o '/[^ ]*' | xargs -r -I{} cp -L {} "$dest/"
	done
	cp /etc/mke2fs.conf "$dest/"
	install -m 755 "$LAB_DIR/e2fs-run.sh" "$dest/run"
}

# --- running --------------------------------------------------------------------------

# lab_run STAGE WORK SECONDS READER: runs STAGE/scenario.sh, and pipes what it says through
# the command READER. Guest console lines go to WORK/guest.log. Returns 0, 1 when the scenario
# failed or had not ended after SECONDS, 3 when the emulated machine as a whole stood still:
# that is the emulator's doing, as in there a pulse goes on whatever becomes of the guest.
lab_run()
{
	local stage=$1 work=$2 seconds=$3 reader=$4 ends

	rm -f "$work/status" "$work/silent" "$work/pid"
	cp "$LAB_DIR/vm.sh" "$stage/vm.sh"
	: >"$work/guest.log"
	[ "$LAB_PLACE" = hardware ] || lab_outer_image "$stage" "$work"
	set +e
	"lab_start_$LAB_PLACE" "$stage" "$work" "$seconds" |
		lab_split "$work" | "$reader"
	ends=("${PIPESTATUS[@]}")
	set -e
	if [ -e "$work/silent" ]; then
		lab_say "the emulated machine stood still for $LAB_SILENCE seconds and was stopped"
		return 3
	fi
	if [ "${ends[0]}" -ne 0 ] || [ ! -s "$work/status" ]; then
		lab_explain "$work" "$seconds" "${ends[0]}"
		return 1
	fi
	[ "${ends[2]}" -eq 0 ] && [ "$(cat "$work/status")" -eq 0 ]
}

# lab_run, but an emulated machine that stood still gets a second chance, with notice.
# Calls the command AGAIN before.
lab_run_again()
{
	local again=$5 status=0

	lab_run "$1" "$2" "$3" "$4" || status=$?
	if [ "$status" -eq 3 ]; then
		lab_say "NOTE: QEMU's emulation of SVM did that, not the guest; running it once more"
		"$again"
		status=0
		lab_run "$1" "$2" "$3" "$4" || status=$?
	fi
	return "$status"
}

lab_start_hardware()
{
	(cd "$1" && timeout --foreground --kill-after=10 "$3" busybox sh ./vm.sh scenario.sh </dev/null)
}

# The emulated machine's initial file system, with the stage in it. Its callers have turned
# "set -e" off.
lab_outer_image()
{
	local stage=$1 work=$2 root=$2/outer-root

	{
		lab_root "$root" outer-init.sh &&
			lab_modules "$(cat "$stage/outer-kernel")" "$root/modules" order kvm_amd loop &&
			cp -r "$stage" "$root/lab" &&
			rm "$root/lab/outer-kernel"
	} || lab_die "could not copy the stage to $root, $(lab_room "$root"): make room there and try again"
	lab_pack "$root" "$work/outer-initrd"
	rm -rf "$root"
}

lab_start_emulated()
{
	local stage=$1 work=$2 seconds=$3

	# One processor: a second one makes nothing faster here, and gives races more room. With
	# 40 bits of address, its own default, no guest could have a region of 1 TiB. Without erms and
	# fsrm Linux copies and clears words, not bytes, each of which costs an emulator as much. It is
	# not to look whether its timer ticks, as on a busy host that may come too late for it. The first
	# serial line is the kernel's, the second the scenario's alone.
	timeout --foreground --kill-after=10 "$seconds" qemu-system-x86_64 \
		-machine q35 -accel tcg,thread=single -cpu max,-erms,-fsrm,+svm,phys-bits=46 -smp 1 \
		-m 3G -no-reboot -nodefaults -display none -pidfile "$work/pid" \
		-serial "file:$work/outer.log" \
		-chardev stdio,id=scenario,signal=off -serial chardev:scenario \
		-kernel "$(cat "$stage/outer-kernel")/vmlinuz" -initrd "$work/outer-initrd" \
		-append "console=ttyS0 quiet panic=-1 no_timer_check" < <(lab_nudge)
}

# QEMU 7.2 has a race between its timers and its emulation of SVM, in which the processor is
# not told of an interrupt that its APIC holds: an idle machine then sleeps for ever. The next
# interrupt to come makes up for it, so let one come, by the serial line, several times a second.
lab_nudge()
{
	while echo 2>/dev/null; do
		sleep 0.2
	done
}

# Takes guest console lines, pulse and final status out of what a scenario says, and echoes of
# what nudges it, and stops an emulated machine that has no pulse.
lab_split()
{
	local line

	while IFS= read -r -t "$LAB_SILENCE" line || lab_was_silent $? "$1"; do
		line=${line%$'\r'}
		case $line in
		'guest| '*) printf '%s\n' "${line#guest| }" >>"$1/guest.log" ;;
		'@status '*) echo "${line#@status }" >"$1/status" ;;
		@alive | '') ;;
		*) printf '%s\n' "$line" ;;
		esac
	done
}

# lab_was_silent STATUS WORK: after a read that failed. Always fails, as there is no line.
lab_was_silent()
{
	# Of a time-out it is 142; one above that is another signal's.
	if [ "$1" -eq 142 ] && [ -s "$2/pid" ]; then
		: >"$2/silent"
		kill "$(cat "$2/pid")"
	fi
	return 1
}

lab_explain()
{
	local work=$1 seconds=$2 status=$3

	if [ "$status" -eq 124 ] || [ "$status" -eq 137 ]; then
		lab_say "FAILED: no end after $seconds seconds; the machine was stopped"
	else
		lab_say "FAILED: the machine ended (status $status) before the scenario did"
	fi
	if [ -s "$work/outer.log" ]; then
		lab_say "--- end of the emulated machine's console ($work/outer.log)"
		tail -n 15 "$work/outer.log"
	fi
	lab_say "--- end of the guest's console ($work/guest.log)"
	grep -v '^GUEST time' "$work/guest.log" | tail -n 30
	lab_say "---"
}
