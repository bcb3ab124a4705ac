#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Compiles the pure library without an operating system, for machines of all kinds.

usage: freestanding.py ROOT [CLANG]

For each target the result may need only the four mem functions, defines only names that
begin with vmemdev_, and has no writable data: not one byte of .data or .bss. Clang
compiles for all of them by itself, so that no cross compiler need be installed; without
clang the check is skipped.
"""
import concurrent.futures
import pathlib
import shutil
import subprocess
import sys
import tempfile

import common
import symbols

# 64 and 32 bits, little- and big-endian, and a microcontroller.
TARGETS = {
    "x86_64-unknown-linux-gnu": ["-fno-pic", "-mno-sse", "-mno-red-zone"],
    "i386-unknown-linux-gnu": ["-fno-pic", "-march=i586"],
    "aarch64-unknown-linux-gnu": ["-fno-pic", "-mgeneral-regs-only"],
    "armv7m-none-eabi": ["-fno-pic"],
    "riscv32-unknown-elf": ["-fno-pic", "-march=rv32imac"],
    "powerpc-unknown-linux-gnu": ["-fno-pic"],
    "s390x-unknown-linux-gnu": ["-fno-pic"],
}
OPTIMISE = ("-O0", "-O2")
PURE = ("lib/core", "lib/device", "lib/transport")
FLAGS = ["-std=c11", "-ffreestanding", "-fno-builtin", "-nostdinc", "-Wall", "-Wextra",
         "-Wpedantic", "-Wconversion", "-Wshadow", "-Werror", "-ffunction-sections"]
WRITABLE = (".data", ".bss", ".tdata", ".tbss", ".sdata", ".sbss")


def is_writable(section):
    """.data.rel.ro holds constants that a dynamic linker fills in: it does not count."""
    return not section.startswith(".data.rel.ro") and any(
        section == name or section.startswith(name + ".") for name in WRITABLE)


def sections(path):
    """(name, size) of each section of an object."""
    for line in common.output_of(common.tool("size"), "-A", "-d", path).splitlines():
        fields = line.split()
        if len(fields) == 3 and fields[1].isdigit():
            yield fields[0], int(fields[1])


def compile_one(clang, include, root, source, target, level, output):
    command = [clang, f"--target={target}", *FLAGS, *TARGETS[target], level, "-isystem", include,
               "-I", root / "include", "-I", root / "lib", "-I", root / "lib/core",
               "-c", source, "-o", output]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          check=False)
    return "" if done.returncode == 0 else done.stdout


def check_target(clang, include, root, files, target, level, folder):
    """Findings of one target, as texts."""
    findings, defined, undefined = common.Findings(root), set(), set()
    where = f"{target} {level}"
    for number, source in enumerate(files):
        output = pathlib.Path(folder) / f"{target}{level}-{number}.o"
        failure = compile_one(clang, include, root, source, target, level, output)
        if failure:
            findings.add(source, 0, f"does not compile for {where}:\n{failure}")
            continue
        more = symbols.symbols(output)
        defined, undefined = defined | more[0], undefined | more[1]
        for section, size in sections(output):
            if size and is_writable(section):
                findings.add(source, 0, f"has {size} bytes of writable data in {section} "
                             f"({where})")
    symbols.check_names(where, defined, undefined - defined, findings)
    return findings.found


def main():
    root = pathlib.Path(sys.argv[1]).resolve()
    clang = shutil.which(sys.argv[2] if len(sys.argv) > 2 else "clang")
    if clang is None:
        print("skipped: clang, which compiles for all targets by itself, is not installed")
        sys.exit(common.SKIP)
    include = common.output_of(clang, "-print-resource-dir").strip() + "/include"
    findings = common.Findings(root)
    files = list(common.sources(root, *PURE, suffixes=(".c",)))
    with tempfile.TemporaryDirectory() as folder, concurrent.futures.ThreadPoolExecutor(2) as pool:
        jobs = [pool.submit(check_target, clang, include, root, files, target, level, folder)
                for target in TARGETS for level in OPTIMISE]
        for job in jobs:
            findings.found += job.result()
    findings.finish(len(files) * len(jobs), "freestanding objects")


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    main()
