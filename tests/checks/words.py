#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Fails if a file of the project holds words that do not belong into it.

usage: words.py ROOT

Paths of somebody's machine, notes to oneself that no issue keeps, code that was
switched off, and files without their licence line.
"""
import pathlib
import re
import sys

import common

TEXT = {".c", ".h", ".cc", ".cpp", ".py", ".sh", ".build", ".map", ".md", ".txt", ".ini",
        ".asl", ".S", ".ld", ""}
LICENSED = {".c", ".h", ".cc", ".cpp", ".py", ".sh", ".build", ".map", ".ini", ".asl", ".S"}
FOLDERS = ("include", "lib", "examples", "tests", "fuzz", "bindings", ".ci")

# Each pattern is written so that this file does not match itself.
BANNED = (
    (re.compile(r"(?<![\w.])/(?:home|Users|root|work|mnt)/[\w.]"), "a path of somebody's machine"),
    (re.compile(r"\b(?:TODO|FIXME|XXX|HACK)\b(?!.*#\d)"), "a note without an issue (#number)"),
    (re.compile(r"^\s*#\s*if\s+0\b"), "code that is switched off"),
    (re.compile(r"^\s*//.*;\s*$|^\s*/\*.*;\s*\*/\s*$"), "code in a comment"),
    (re.compile(r"\b(?:large language[ ]model|chat[ ]?gpt|co[-]?pilot)\b", re.I), "tool chatter"),
    (re.compile(r"^(?:<{7}|>{7}|={7})(?:\s|$)"), "a merge that was not finished"),
)


def text_files(root):
    for name in FOLDERS:
        yield from (p for p in sorted((root / name).rglob("*")) if p.is_file())
    yield from (p for p in sorted(root.iterdir()) if p.is_file())


def main():
    root = pathlib.Path(sys.argv[1]).resolve()
    findings, files = common.Findings(root), 0
    for path in text_files(root):
        if path.suffix not in TEXT or path.resolve() == pathlib.Path(__file__).resolve():
            continue
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except UnicodeDecodeError:
            continue
        files += 1
        if path.suffix in LICENSED and not any("SPDX-License-Identifier: BSD-3-Clause" in line
                                               for line in lines[:2]):
            findings.add(path, 1, "does not begin with its SPDX-License-Identifier line")
        for number, line in enumerate(lines, 1):
            for pattern, what in BANNED:
                if pattern.search(line):
                    findings.add(path, number, f"{what}: {line.strip()[:80]}")
    findings.finish(files, "text files")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main()
