#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Fails if a struct's private member is touched outside the pure library.

usage: private.py ROOT

Members whose name ends in an underscore are visible so that objects can be embedded,
not so that they can be used. lib/linux may use those of its own structs; a test may put
something into the padding of a config, to see it refused, and one may age guest memory; what
the proof has in the place of lib/core's files fills their structs as they do.
"""
import pathlib
import re
import sys

import common

ACCESS = re.compile(r"(?:->|\.)\s*([A-Za-z]\w*_)\b(?!\s*\()")

STAND_INS = {f"tests/proof/{name}.c" for name in ("memory", "queue", "table")}


def main():
    root = pathlib.Path(sys.argv[1]).resolve()
    findings, files = common.Findings(root), 0
    own = root / "include/vmemdev/linux.h"
    own_members = set(re.findall(r"\b[A-Za-z]\w*_\b", common.blank(own.read_text(encoding="utf-8"))))
    for path in common.sources(root, "lib/linux", "examples", "tests", "fuzz", "bindings",
                               suffixes=(".c", ".h", ".cc", ".cpp")):
        if str(path.relative_to(root)) in STAND_INS:
            continue
        files += 1
        allowed = {"pad_"} if path.is_relative_to(root / "tests") else set()
        if path == root / "tests/unit/guest_regions.c":
            allowed.add("generation_")
        if path.is_relative_to(root / "lib/linux"):
            allowed = own_members
        text = common.blank(path.read_text(encoding="utf-8"))
        for match in ACCESS.finditer(text):
            if match[1] in allowed:
                continue
            findings.add(path, common.line_of(text, match.start()),
                         f"touches the private member {match[1]}; use the public functions")
    findings.finish(files, "files outside the pure library")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main()
