#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Fails if guest memory or memory ordering is handled outside its one place.

usage: memory.py ROOT

Guest memory is dereferenced in lib/core/guest.c and guest.h alone, each value once.
Atomics, fences and volatile stand in lib/core/order.h alone, and only guest.h uses the
accesses that they make up; a full barrier may be named where a protocol needs it.
"""
import pathlib
import re
import sys

import common

PURE = ("lib/core", "lib/device", "lib/transport")
GUEST = {"lib/core/guest.c", "lib/core/guest.h"}
ORDER = "lib/core/order.h"

ATOMIC = re.compile(r"\b(?:_Atomic|volatile|stdatomic|atomic_\w+|__atomic_\w+|__sync_\w+"
                    r"|memory_order_\w+|asm|__asm__)\b")

# Host addresses of rings and tables, as the public structs name them.
POINTER = r"(?:->|\.)\s*(?:desc_|driver_|table_)"
DEREFERENCE = (
    (re.compile(r"\border_(?:read|write|load|store)\w*\s*\("), "makes an access of order.h"),
    (re.compile(r"(?:->|\.)\s*map\s*\("), "calls the host's map"),
    (re.compile(r"(?:->|\.)\s*host\b(?!\s*=[^=])"), "uses a region's host address"),
    (re.compile(POINTER + r"\s*\["), "indexes ring memory"),
    (re.compile(r"(?:^|[=(,;{}!~&|?:+\-]|\breturn)\s*\*\s*\(?\s*\w+" + POINTER + r"\b"),
     "dereferences ring memory"),
    (re.compile(r"\b(?:memcpy|memmove|memset|memcmp|(?:load|store)_le\d+)\s*\([^;]*" + POINTER +
                r"\b"), "copies ring memory itself"),
)


def main():
    root = pathlib.Path(sys.argv[1]).resolve()
    findings, files = common.Findings(root), 0
    for path in common.sources(root, *PURE):
        files += 1
        name = str(path.relative_to(root))
        text = common.blank(path.read_text(encoding="utf-8"), keep_strings=True)
        if name != ORDER:
            for match in ATOMIC.finditer(text):
                findings.add(path, common.line_of(text, match.start()),
                             f"names {match[0]}; memory ordering belongs into {ORDER}")
        if name in GUEST or name == ORDER:
            continue
        for pattern, what in DEREFERENCE:
            for match in pattern.finditer(text):
                findings.add(path, common.line_of(text, match.end() - 1),
                             f"{what}; guest memory is touched in lib/core/guest.[ch] only")
    findings.finish(files, "files of the pure library")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main()
