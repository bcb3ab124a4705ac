#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# Installs a build into an empty folder and builds a program against what lies there, with
# pkg-config and nothing else, in C and in C++ where there is a compiler for it.
#
#	tests/install.sh BUILD-DIRECTORY
set -euo pipefail
cd "$(dirname "$0")/.."

build=$1
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cases=0

meson install -C "$build" --destdir "$folder/root" >/dev/null
pc=$(find "$folder/root" -name vmemdev.pc -printf '%h')
lib=$(dirname "$pc")
export PKG_CONFIG_PATH=$pc PKG_CONFIG_SYSROOT_DIR=$folder/root

cat >"$folder/user.c" <<'END'
#include <stdio.h>
#include <vmemdev/vmemdev.h>

int main(void)
{
	struct vmemdev_balloon balloon;

	/* A size of another library version must be refused, whatever the rest. */
	if (vmemdev_balloon_init(&balloon, sizeof(balloon) + 8, NULL) >= 0)
		return 1;
	if (vmemdev_version() >> 16 != VMEMDEV_VERSION_MAJOR)
		return 2;
	return puts(vmemdev_strerror(VMEMDEV_E_ABI)) < 0;
}
END
cat >"$folder/linux.c" <<'END'
#include <vmemdev/linux.h>

int main(void)
{
	struct vmemdev_linux_ram_config config = {0};

	return config.struct_size != 0;
}
END
cp "$folder/user.c" "$folder/user.cc"

works() {
	cases=$((cases + 1))
	echo "case $cases: $*"
}

for header in include/vmemdev/*.h; do
	[ "$(basename "$header")" = linux.h ] && [ ! -e "$pc/vmemdev-linux.pc" ] && continue
	installed=$(find "$folder/root" -path "*/include/vmemdev/$(basename "$header")")
	cmp "$header" "$installed" || { echo "FAIL: $header was not installed as it is"; exit 1; }
done
works "every public header is installed"

[ "$(pkg-config --modversion vmemdev)" = "$(sed -n "s/^  version: '\(.*\)',/\1/p" meson.build)" ]
works "pkg-config knows the version"

read -r -a flags <<<"$(pkg-config --cflags --libs vmemdev)"
gcc -std=c11 "$folder/user.c" "${flags[@]}" -o "$folder/shared"
LD_LIBRARY_PATH=$lib "$folder/shared"
works "a program with the shared library"

read -r -a flags <<<"$(pkg-config --cflags vmemdev)"
gcc -std=c11 "$folder/user.c" "${flags[@]}" "$lib/libvmemdev.a" -o "$folder/static"
"$folder/static"
works "a program with the static library"

if command -v g++ >/dev/null; then
	g++ -std=c++17 "$folder/user.cc" "${flags[@]}" "$lib/libvmemdev.a" -o "$folder/cxx"
	"$folder/cxx"
	works "a C++ program with the static library"
fi

if [ -e "$pc/vmemdev-linux.pc" ]; then
	read -r -a flags <<<"$(pkg-config --cflags --libs vmemdev-linux)"
	gcc -std=c11 "$folder/linux.c" "${flags[@]}" -o "$folder/linux"
	LD_LIBRARY_PATH=$lib "$folder/linux"
	works "a program with vmemdev-linux"
fi

skip=0 why=
command -v g++ >/dev/null || { skip=1; why=" (there is no g++)"; }
echo "PASS: $cases passed, 0 failed, $skip skipped$why"
