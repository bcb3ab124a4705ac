#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# All tests of the project with one command, on a bare Debian 12 (root or sudo).
#
#	tests/run.sh             everything, in half an hour on two cores
#	tests/run.sh STEP...     only these steps; tests/run.sh --list names them
#
# Builds into build/, logs into build/logs/. Packages are installed where they are
# missing, and only those that the wanted steps need.
set -euo pipefail
cd "$(dirname "$0")/.."

# Step, and what it does.
steps() {
	cat <<'END'
unit      gcc: build without a warning, run the suites
clang     clang: the same, without replays and memory that is read once
sanitize  clang with address and undefined-behaviour sanitizers: the same
race      clang with thread sanitizer: devices on threads, guests that scribble
s390x     a big-endian machine under qemu-user: the suites of the pure library
i386      a 32-bit machine under qemu-user: the same
fuzz      libFuzzer on each trust boundary for half a minute, and as OSS-Fuzz builds them
ordering  a model of notifications explored in every order: no wake-up is lost
proof     Frama-C's Eva over the pure library: no run-time error left unargued
coverage  line and branch coverage of the pure library: each branch is taken or explained
mutation  faults in the library, one at a time: the suites notice (a sample; see its --help)
checks    structure: layers, symbols, ABI, headers, freestanding builds, coverage table
install   install into an empty folder, build a program against it by pkg-config
vhost     User-mode Linux, and our own front end, on the vhost-user daemon
e2e       real Debian kernels on the toy VMM
END
}

# Package, the steps that need it ("*": each), and what for. The end-to-end script
# installs what it needs besides.
packages() {
	cat <<'END'
meson                   *                    the build
ninja-build             *                    the build
pkgconf                 *                    finds cmocka and, once installed, ourselves
gcc                     *                    C compiler
libc6-dev               *                    C library headers
binutils                *                    nm and size: which symbols and data a library has
libcmocka-dev           *                    the test framework
libjson-c-dev           *                    JSON on the toy VMM's control socket
acpica-tools            *                    iasl: compiles the toy VMM's ACPI tables
python3                 *                    structure checks, and counting results
python3-cffi            unit,clang           the C interface as the python binding sees it
strace                  unit,clang,sanitize  counts the system calls of lib/linux
g++                     checks               the public headers as C++
clang                   clang,sanitize,race,fuzz,checks  second compiler; compiles for all targets
libclang-rt-14-dev      sanitize,race,fuzz   run-time part of clang's sanitizers, libFuzzer
spin                    ordering             explores the model of notifications
frama-c-base            proof                Eva, the analyser of tests/proof
gcc-s390x-linux-gnu     s390x                big-endian compiler
libc6-dev-s390x-cross   s390x                its C library
gcc-i686-linux-gnu      i386                 32-bit compiler
libc6-dev-i386-cross    i386                 its C library
qemu-user-static        s390x,i386           runs their programs
END
}

jobs=$(nproc)
logs=$PWD/build/logs
child=
declare -a names=() results=() counts=() seconds=() reasons=()
passed=0 failed=0 skipped=0

say() { printf '%s\n' "$*"; }
die() { printf 'tests/run.sh: %s\n' "$*" >&2; exit 2; }

as_root() {
	if [ "$(id -u)" = 0 ]; then
		"$@"
	elif command -v sudo >/dev/null; then
		sudo "$@"
	else
		say "packages are missing, and this is neither root nor is there sudo; run as root: $*"
		return 1
	fi
}

installed() {
	[ "$(dpkg-query -W -f='${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

install_packages() {
	local package steps purpose step wanted missing=()

	if ! command -v apt-get >/dev/null; then
		say "no apt-get here: the tools must be there already (tests/run.sh names their packages)"
		return 0
	fi
	while read -r package steps purpose; do
		wanted=
		for step in "$@"; do
			[[ $steps == '*' || ,$steps, == *,$step,* ]] && wanted=yes
		done
		if [ -n "$wanted" ] && ! installed "$package"; then
			missing+=("$package")
			say "installing $package: $purpose"
		fi
	done < <(packages)
	if [ ${#missing[@]} = 0 ]; then
		say "all packages are there"
		return 0
	fi
	# A foreign package source that fails is not our concern, as long as ours come.
	as_root env DEBIAN_FRONTEND=noninteractive apt-get -o Acquire::Retries=3 update ||
		say "apt-get update had failures; trying to install all the same"
	as_root env DEBIAN_FRONTEND=noninteractive apt-get -o Acquire::Retries=3 install -y \
		--no-install-recommends "${missing[@]}"
}

# cmocka for another architecture, without making this machine a multi-architecture one:
# apt works on lists of its own below build/, and the packages are only unpacked.
foreign_cmocka() {
	local arch=$1 root=$PWD/build/cross/$1 state=$PWD/build/cross/apt
	local apt=(apt-get -o "Dir::State::lists=$state/lists" -o "Dir::Cache=$state/cache"
		-o "APT::Architectures::=$(dpkg --print-architecture)" -o "APT::Architectures::=$arch"
		-o Acquire::Languages=none -o Acquire::Retries=3 -o Debug::NoLocking=1)

	[ "$(id -u)" = 0 ] && apt+=(-o APT::Sandbox::User=root)
	if [ ! -e "$root/usr/include/cmocka.h" ]; then
		rm -rf "$root" "$root.part"
		mkdir -p "$state/lists/partial" "$state/cache/archives/partial" "$root.part"
		say "fetching cmocka for $arch"
		"${apt[@]}" update || say "apt-get update had failures; trying all the same"
		(cd "$root.part" && "${apt[@]}" download "libcmocka0:$arch" "libcmocka-dev:$arch")
		for package in "$root.part"/*.deb; do
			dpkg -x "$package" "$root.part"
		done
		mv "$root.part" "$root"
	fi
	printf "[constants]\ncmocka = '%s'\n" "$root" >"build/cross/$arch.ini"
}

# configure NAME OPTION...: set up build/NAME, unless it is already.
configure() {
	local name=$1
	shift
	if [ ! -e "build/$name/build.ninja" ]; then
		rm -rf "build/$name"
		meson setup "build/$name" -Dwerror=true "$@"
	fi
}

build_and_test() {
	local name=$1
	shift
	ninja -C "build/$name" -j "$jobs"
	meson test -C "build/$name" --no-rebuild --print-errorlogs --num-processes "$jobs" "$@"
}

step_unit() {
	CC=gcc configure gcc
	build_and_test gcc --no-suite checks
}

step_clang() {
	CC=clang configure clang
	# What is left out of the tests shows the same with any compiler.
	build_and_test clang --no-suite checks --no-suite replay --no-suite once
}

step_sanitize() {
	# The examples are static programs, and python is not built for a sanitizer.
	CC=clang configure sanitize -Db_sanitize=address,undefined -Db_lundef=false \
		-Dc_args='-fno-sanitize-recover=all -fno-omit-frame-pointer' -Dexamples=disabled
	build_and_test sanitize --no-suite checks --no-suite bindings
}

step_race() {
	CC=clang configure race -Db_sanitize=thread -Db_lundef=false -Dexamples=disabled
	ninja -C build/race -j "$jobs" tests/hostile/test_race_threads
	meson test -C build/race --no-rebuild --print-errorlogs --suite race
}

# lib/linux is compiled too, but what it tells the kernel is not qemu-user's to show.
cross() {
	foreign_cmocka "$1"
	configure "$1" --cross-file "build/cross/$1.ini" --cross-file "tests/cross/$1.ini" \
		-Dexamples=disabled
	build_and_test "$1" --suite unit --suite fuzz --timeout-multiplier 10
}

step_s390x() { cross s390x; }
step_i386() { cross i386; }

step_fuzz() {
	fuzz/oss-fuzz/try.sh
	fuzz/run.sh --build build/fuzz
}

step_ordering() { tests/ordering/run.sh; }

step_proof() { tests/proof/run.sh; }

step_coverage() { tests/coverage/run.sh; }

step_mutation() { tests/mutation/run.py --sample 40; }

step_checks() {
	CC=gcc configure gcc
	build_and_test gcc --suite checks
}

step_install() {
	CC=gcc configure gcc
	tests/install.sh build/gcc
}

step_vhost() {
	CC=gcc configure gcc
	ninja -C build/gcc -j "$jobs"
	tests/vhost-user/run.sh --build build/gcc
}

step_e2e() {
	CC=gcc configure gcc
	ninja -C build/gcc -j "$jobs"
	tests/e2e/run.sh --build build/gcc
}

# The build directory whose test log a step writes, if it runs meson tests.
tested_in() {
	case $1 in
	unit | checks) echo build/gcc ;;
	fuzz | ordering | proof | coverage | mutation | install | vhost | e2e) ;;
	*) echo "build/$1" ;;
	esac
}

# Prints "PASSED FAILED SKIPPED", then a line for each test that was skipped: what, why.
# A cmocka program counts as the tests in it. Programs of our own end with a line
# "PASS: N passed, M failed, K skipped (why)"; any other counts as one test.
count() {
	python3 - "$@" <<'END'
import json, re, sys
status, log, *meson_logs = sys.argv[1:]
totals, reasons = [0, 0, 0], []

def add(name, text, result):
    # cmocka names what failed or was skipped once more in its summary.
    cases = [len(set(re.findall(rf"^\[ +{word} +\] (?!\d+ test)(.*)$", text, re.M)))
             for word in ("OK", "FAILED", "SKIPPED")]
    own = re.findall(r"^(?:PASS|FAIL): (\d+) passed, (\d+) failed, (\d+) skipped(?: \((.*)\))?$",
                     text, re.M)
    if own:
        cases = [int(n) for n in own[-1][:3]]
        if cases[2]:
            reasons.append(f"{name}: {own[-1][3] or 'no reason given'}")
    elif sum(cases):
        reasons.extend(f"{name}: {case}" for case in
                       sorted(set(re.findall(r"^\[ +SKIPPED +\] (?!\d+ test)(.*)$", text, re.M))))
    elif result in ("SKIP", "EXPECTEDFAIL"):
        cases = [0, 0, 1]
        reasons.append(f"{name}: {(text.strip().splitlines() or ['no reason given'])[-1]}")
    else:
        cases = [int(result == "OK"), 0, 0]
    if result not in ("OK", "SKIP", "EXPECTEDFAIL") and cases[1] == 0:
        cases[1] = 1  # a crash, a time-out, or a failing exit after good cases
    for i in range(3):
        totals[i] += cases[i]

for path in meson_logs:
    for line in open(path, encoding="utf-8"):
        test = json.loads(line)
        add(test["name"], test.get("stdout", "") + test.get("stderr", ""), test["result"])
if not meson_logs:
    add("step", open(log, encoding="utf-8", errors="replace").read(), "OK" if status == "0" else "FAIL")
elif status != "0" and totals[1] == 0:
    totals[1] = 1  # it did not even build
print(*totals)
print("\n".join(reasons))
END
}

# Waits for a step that runs by itself, and tells every so often where it is.
watch_over() {
	local pid=$1 log=$2 start=$SECONDS told=0

	while kill -0 "$pid" 2>/dev/null; do
		if ((SECONDS - start - told >= 15)); then
			told=$((SECONDS - start))
			say "    ${told} s: $(tail -c 400 "$log" | tr '\r\033' '\n ' | grep -v '^ *$' | tail -n 1 | cut -c 1-90)"
		fi
		sleep 0.5
	done
	wait "$pid"
}

run_step() {
	local name=$1 log=$logs/$1.log start=$SECONDS status=0 dir testlog="" numbers why
	local before=$logs/started

	say "[$((${#names[@]} + 1))/$total] $name: $(steps | sed -n "s/^$name  *//p")"
	touch "$before"
	set -m # a process group of its own, so that an interrupt ends all of it
	(set -e; "step_$name") >"$log" 2>&1 </dev/null &
	child=$!
	set +m
	watch_over "$child" "$log" || status=$?
	child=

	dir=$(tested_in "$name")
	if [ -n "$dir" ] && [ "$dir/meson-logs/testlog.json" -nt "$before" ]; then
		testlog=$dir/meson-logs/testlog.json
	fi
	if [ "$status" = 0 ] && [ -n "$dir" ] && ! grep -q . "${testlog:-/dev/null}"; then
		say "no test ran in $dir: expected meson to find the step's suites" >>"$log"
		status=1
	fi
	{
		read -r -a numbers
		while read -r why; do
			[ -n "$why" ] && reasons+=("$name: $why")
		done
	} < <(count "$status" "$log" ${testlog:+"$testlog"})
	passed=$((passed + numbers[0]))
	failed=$((failed + numbers[1]))
	skipped=$((skipped + numbers[2]))
	names+=("$name")
	counts+=("${numbers[0]} passed, ${numbers[1]} failed, ${numbers[2]} skipped")
	seconds+=($((SECONDS - start)))
	if [ "$status" = 0 ] && [ "${numbers[1]}" = 0 ]; then
		results+=(ok)
	else
		results+=(FAILED)
		[ "${numbers[1]}" = 0 ] && failed=$((failed + 1))
		say "---- $name failed (exit $status); the end of ${log#"$PWD"/}:"
		tail -n 200 "$log"
		say "----"
	fi
	say "    ${results[-1]}: ${counts[-1]} in ${seconds[-1]} s"
}

summary() {
	local i why verdict=PASS

	say ""
	printf '%-10s %-7s %6s  %s\n' step result time tests
	for i in "${!names[@]}"; do
		printf '%-10s %-7s %4d s  %s\n' "${names[i]}" "${results[i]}" "${seconds[i]}" "${counts[i]}"
	done
	say "logs: build/logs/; whole run: $SECONDS s"
	why=
	for i in "${!reasons[@]}"; do
		why+="${why:+; }${reasons[i]}"
	done
	((failed == 0)) || verdict=FAIL
	say "$verdict: $passed passed, $failed failed, $skipped skipped (${why:-nothing left out})"
	((failed == 0))
}

# Steps run in the background, where sudo cannot ask for a password: let it ask now.
ask_password() {
	if [ "$(id -u)" != 0 ] && command -v sudo >/dev/null && ! sudo -n true 2>/dev/null; then
		say "packages may have to be installed, which needs root:"
		sudo -v || say "going on without root"
	fi
}

interrupted() {
	[ -z "$child" ] || kill -- "-$child" 2>/dev/null || true
	say "interrupted"
	exit 130
}

main() {
	local wanted=() step

	for step in "$@"; do
		case $step in
		--list) steps; exit 0 ;;
		-h | --help) sed -n '3,9s/^# \{0,1\}//p' "$0"; steps; exit 0 ;;
		*) steps | grep -q "^$step " ||
			die "'$step' is no step; the steps are: $(steps | cut -d ' ' -f 1 | tr '\n' ' ')" ;;
		esac
		wanted+=("$step")
	done
	[ ${#wanted[@]} -gt 0 ] || mapfile -t wanted < <(steps | cut -d ' ' -f 1)
	total=${#wanted[@]}
	mkdir -p "$logs"
	trap interrupted INT TERM

	ask_password
	say "packages (log: build/logs/packages.log)"
	set -m
	(set -e; install_packages "${wanted[@]}") >"$logs/packages.log" 2>&1 &
	child=$!
	set +m
	if ! watch_over "$child" "$logs/packages.log"; then
		tail -n 30 "$logs/packages.log"
		die "the packages could not be installed; see above"
	fi
	child=
	grep '^installing ' "$logs/packages.log" || true
	for step in "${wanted[@]}"; do
		run_step "$step"
	done
	summary
}

main "$@"
