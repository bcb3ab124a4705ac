#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Fails if a public header does not stand alone.

usage: headers.py ROOT [COMPILER...]

Each header, included alone, compiles as C11 and as C++17 without a warning, padding
included; and includes only stdbool, stddef, stdint and headers of ours. All but linux.h
do without a libc. Without compilers named: gcc, g++, clang and clang++, those that are
installed, and at least one for C and one for C++.
"""
import concurrent.futures
import os
import pathlib
import re
import shutil
import subprocess
import sys

import common
import layers

FLAGS = ["-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Wshadow", "-Wpadded", "-Werror",
         "-Wundef", "-fsyntax-only"]
COMPILERS = ("gcc", "g++", "clang", "clang++")
HOSTED = {"linux.h"}
SHOWN = 4  # errors of one compilation


def is_cxx(compiler):
    return os.path.basename(compiler).split("-")[0].endswith("++")


def compile_alone(root, compiler, header):
    command = [compiler, "-x", "c++" if is_cxx(compiler) else "c",
               "-std=c++17" if is_cxx(compiler) else "-std=c11", *FLAGS, "-I", root / "include"]
    if header.name not in HOSTED:
        command.append("-ffreestanding")
    # Twice, so that a missing include guard is found too.
    text = f"#include <vmemdev/{header.name}>\n" * 2 + "int header_stands_alone;\n"
    done = subprocess.run([*command, "-"], input=text, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode == 0:
        return None
    errors = [line for line in done.stdout.splitlines() if "error:" in line]
    shown = "\n    ".join(errors[:SHOWN] or done.stdout.splitlines()[:SHOWN])
    return f"does not compile alone with {compiler}:\n    {shown}"


def check_text(path, findings):
    text = path.read_text(encoding="utf-8")
    for number, line in enumerate(common.blank(text, keep_strings=True).splitlines(), 1):
        match = layers.INCLUDE.match(line)
        if match and not match[2].startswith("vmemdev/") \
                and match[2] not in layers.PUBLIC_SYSTEM:
            findings.add(path, number, f"includes {match[2]}; a public header may include only "
                         f"{', '.join(sorted(layers.PUBLIC_SYSTEM))}")
        if re.match(r"\s*#\s*define\s+\w+\(", line):
            findings.add(path, number, "defines a macro with arguments; other languages cannot "
                         "call it: make it a function")
        if re.search(r"\binline\b", line):
            findings.add(path, number, "defines an inline function; it is no symbol of the "
                         "library: move it there")


def main(arguments):
    root = pathlib.Path(arguments[0]).resolve()
    compilers = arguments[1:] or [c for c in COMPILERS if shutil.which(c)]
    findings = common.Findings(root)
    headers = list(common.sources(root, "include/vmemdev", suffixes=(".h",)))
    for wanted, name in ((False, "C"), (True, "C++")):
        if not any(is_cxx(c) == wanted for c in compilers):
            findings.add("headers.py", 0, f"there is no {name} compiler to try")
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        jobs = [(h, pool.submit(compile_alone, root, c, h)) for h in headers for c in compilers]
        for header, job in jobs:
            if job.result():
                findings.add(header, 0, job.result())
    for header in headers:
        check_text(header, findings)
    findings.finish(len(jobs), f"compilations ({', '.join(map(str, compilers))})")


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    main(sys.argv[1:])
