#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
#
# A Debian guest shrinks and grows under the toy VMM, and the host's memory follows: one
# command on a bare Debian 12, with or without hardware KVM. Leaves a picture and a table.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
repo=$(cd "$here/../.." && pwd)
# shellcheck source-path=SCRIPTDIR source=lab/lab.sh
. "$here/lab/lab.sh"

usage()
{
	cat <<USAGE
usage: $0 [--out DIR] [--kernel 6.12|6.1]
Installs what it needs, builds, boots a Debian guest under the toy VMM, shrinks and grows it
by balloon and virtio-mem, and shows what guest and host hold meanwhile.
  --out DIR     where picture, table and logs go (default: $repo/demo-out)
  --kernel K    the guest's kernel series (default: 6.12)
Exit status: 0 if the host's memory followed, 1 if not or if something failed, 2 wrong usage.
USAGE
}

out=$repo/demo-out
series=6.12
while [ $# -gt 0 ]; do
	case $1 in
	--out | --kernel)
		[ $# -ge 2 ] || { echo "$1: expected a value; try --help" >&2; exit 2; }
		if [ "$1" = --out ]; then out=$2; else series=$2; fi
		shift 2
		;;
	--help) usage; exit 0 ;;
	*) echo "unexpected argument '$1'; try --help" >&2; exit 2 ;;
	esac
done
case $series in
6.12 | 6.1) ;;
*) echo "--kernel $series: expected 6.12 or 6.1" >&2; exit 2 ;;
esac
mkdir -p "$out"
out=$(cd "$out" && pwd)
work=$out/.work # everything but the results, and all that is ever removed
mkdir -p "$work"

install_packages()
{
	lab_packages \
		"gcc compiles the library and the toy VMM" \
		"libc6-dev the C library and the kernel's KVM interface" \
		"meson configures the build" \
		"ninja-build runs the build" \
		"pkgconf finds libraries for the build" \
		"libjson-c-dev JSON for the toy VMM's control socket" \
		"acpica-tools compiles the toy VMM's ACPI tables" \
		"gnuplot-nox draws the picture"
	lab_guest_packages
}

build()
{
	local log=$out/build.log

	if ! {
		rm -rf "$work/build"
		meson setup "$work/build" "$repo" --buildtype=release \
			-Dlinux=enabled -Dexamples=enabled -Dtests=disabled &&
			meson compile -C "$work/build"
	} >"$log" 2>&1; then
		tail -n 40 "$log"
		lab_die "the build failed; the whole log is $log"
	fi
}

stage()
{
	rm -rf "$work/stage"
	mkdir "$work/stage"
	cp "$work"/build/examples/kvm/toyvmm{,-ctl} "$work/stage/"
	cp "$here/lab/demo-scenario.sh" "$work/stage/scenario.sh"
	lab_kernel "$series"
	lab_guest_image "$LAB_KERNEL" "$work/stage/kernel" "$work"
	# The emulated machine's own kernel; 6.12 whatever the guest runs.
	[ "$series" = 6.12 ] || [ "$LAB_PLACE" = hardware ] || lab_kernel 6.12
	echo "$LAB_KERNEL" >"$work/stage/outer-kernel"
}

bar()
{
	local length=$(($1 / 48)) # 1.5 GiB are 32 characters

	printf '%*s' "$length" '' | tr ' ' "$2"
}

phase_text()
{
	case $1 in
	boot) echo "a guest with 512 MiB boots; the host gives it what it touches" ;;
	use) echo "the guest uses its memory and frees it again; the host cannot know" ;;
	balloon) echo "the balloon takes 256 MiB from the guest, and the host gets them back" ;;
	give-back) echo "the balloon is emptied, the guest uses its memory again" ;;
	plug) echo "virtio-mem plugs 1 GiB into the running guest, which uses it" ;;
	unplug) echo "virtio-mem unplugs it, and the host gets it back" ;;
	end) echo "the guest powers off" ;;
	esac
}

# Shows a scenario's lines as they come, and keeps its figures for picture and table.
show()
{
	local tag a b c d

	: >"$work/samples" && : >"$work/phases" && : >"$work/rows"
	while read -r tag a b c d; do
		case $tag in
		@sample)
			echo "$a $b $c $d" >>"$work/samples"
			printf '%6ss  guest has %4d MiB, %4d free | host holds %4d MiB %s\n' \
				"$a" $((b / 1024)) $((c / 1024)) $((d / 1024)) "$(bar $((d / 1024)) '#')"
			;;
		@phase)
			echo "$a $b" >>"$work/phases"
			printf '%6ss  --- %s: %s\n' "$a" "$b" "$(phase_text "$b")"
			;;
		@row) echo "$a${b:+ $b}${c:+ $c}${d:+ $d}" >>"$work/rows" ;;
		*) echo "$tag${a:+ $a}${b:+ $b}${c:+ $c}${d:+ $d}" ;;
		esac
	done
}

table()
{
	awk -F'|' '
		BEGIN {
			line = "%-10s %-28s %9s %9s %9s  %-38s %s\n"
			printf line, "phase", "what is asked for", "MemTotal", "MemFree", "host RSS",
				"expected of the host", "ok?"
		}
		{ printf line, $1, $2, $3, $4, $5, $6, $7 }
		END { print "(MiB; MemTotal and MemFree as read in the guest)" }
	' "$work/rows"
}

picture()
{
	local last

	last=$(tail -n 1 "$work/samples" | cut -d' ' -f1)
	{
		cat <<'PLOT'
set terminal svg size 1000,520 font "sans-serif,13" background "white"
set title "What the guest has, and what the host really holds"
set xlabel "seconds"
set ylabel "MiB"
set yrange [0:1600]
set grid ytics lc rgb "#dddddd"
set key below
set tmargin 4
PLOT
		awk -v last="$last" '
			{
				printf "set arrow from %s, graph 0 to %s, graph 1 nohead back lc rgb \"#999999\" dt 3\n", $1, $1
				at[NR] = $1; name[NR] = $2
			}
			END {
				at[NR + 1] = last
				for (i = 1; i <= NR; i++)
					if (name[i] != "end")
						printf "set label \"%s\" at %.1f, graph 1.03 center\n", name[i], (at[i] + at[i + 1]) / 2
			}
		' "$work/phases"
		cat <<PLOT
set xrange [0:$last]
set output "$out/memory.svg"
plot "$work/samples" using 1:(\$4/1024) with filledcurves x1 lc rgb "#9ecae1" title "host: resident memory of the VMM", \\
     "$work/samples" using 1:(\$2/1024) with steps lw 2 lc rgb "#d62728" title "guest: MemTotal", \\
     "$work/samples" using 1:((\$2-\$3)/1024) with lines lw 2 lc rgb "#2ca02c" title "guest: in use (MemTotal - MemFree)"
PLOT
	} >"$work/memory.gnuplot"
	gnuplot "$work/memory.gnuplot"
}

started=$SECONDS
lab_choose_place
lab_say "[1/5] packages"
install_packages
lab_say "[2/5] building with meson (about 20 seconds)"
build
lab_say "[3/5] the guest's kernel and initramfs"
stage
if [ "$LAB_PLACE" = emulated ]; then
	lab_say "[4/5] starting the emulated machine (10 seconds), then the guest (another 10)"
else
	lab_say "[4/5] starting the guest"
fi
followed=0
lab_run_again "$work/stage" "$work" 270 show true || followed=1
[ ! -e "$work/guest.log" ] || cp "$work/guest.log" "$out/guest.log"
lab_say "[5/5] results, after $((SECONDS - started)) seconds"
[ ! -s "$work/samples" ] || picture
table | tee "$out/table.txt"
lab_say "picture: $out/memory.svg"
lab_say "table:   $out/table.txt"
if [ "$followed" -ne 0 ]; then
	lab_say "FAILED (guest's console: $out/guest.log)"
	if grep -q '|FAIL$' "$work/rows"; then
		lab_say "the host's memory did not follow the guest's:"
		awk -F'|' '$7 == "FAIL" { print "  " $1 ": the host held " $5 " MiB, expected " $6 }' "$work/rows"
	else
		lab_say "the run did not come to its end; what was measured was as expected"
	fi
	exit 1
fi
lab_say "The host's memory followed the guest's, down and up, by balloon and by virtio-mem."
