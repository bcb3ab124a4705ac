#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# Builds all harnesses as OSS-Fuzz wants them, from its variables: CC, CFLAGS and
# LIB_FUZZING_ENGINE say how, OUT says where to; WORK, if it is set, where in between.
# Besides each harness go its corpus as a zip archive and its dictionary.
set -euo pipefail
cd "$(dirname "$0")/../.."
[ -d lib/core ] || cd "${SRC:?expected the source folder}/vmemdev"

: "${CC:?expected the compiler}" "${LIB_FUZZING_ENGINE:?expected what links the engine}"
: "${OUT:?expected the folder for the harnesses}"
CXX=${CXX:-$CC} CFLAGS=${CFLAGS:-} CXXFLAGS=${CXXFLAGS:-$CFLAGS}
objects=${WORK:-$(mktemp -d)}/vmemdev
mkdir -p "$objects" "$OUT"

compile() { # SOURCE...
	local source
	for source in "$@"; do
		# shellcheck disable=SC2086
		"$CC" $CFLAGS -std=c11 -DVMEMDEV_GUEST_SEAM -Iinclude -Ilib -Ilib/core -Itests \
			-c "$source" -o "$objects/${source//\//_}.o"
	done
}

link() { # NAME SOURCE...
	local name=$1
	shift
	# shellcheck disable=SC2086
	"$CXX" $CXXFLAGS "$objects/fuzz_$name.c.o" "${@/#/$objects/}" "$objects/library.a" \
		$LIB_FUZZING_ENGINE -o "$OUT/$name"
	(cd "fuzz/corpus/$name" && python3 -m zipfile -c "$OUT/${name}_seed_corpus.zip" ./*)
	cp "fuzz/$name.dict" "$OUT/$name.dict"
}

ring=(ring lane world)
machine=(machine plans records steps host_balloon host_mem host_pmem lane world)
compile lib/core/*.c lib/device/*.c lib/transport/*.c tests/guest/memory.c tests/guest/queue.c
rm -f "$objects/library.a"
ar rc "$objects/library.a" "$objects"/lib_*.o "$objects"/tests_*.o
for name in split packed balloon mem pmem mmio state device ring lane world machine plans \
	records steps host_balloon host_mem host_pmem; do
	compile "fuzz/$name.c"
done
ring=("${ring[@]/#/fuzz_}")
machine=("${machine[@]/#/fuzz_}")
for name in split packed; do
	link "$name" "${ring[@]/%/.c.o}"
done
for name in balloon mem pmem mmio state device; do
	link "$name" "${machine[@]/%/.c.o}"
done
