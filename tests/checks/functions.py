#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Fails if a function is too long: 60 lines in lib, 100 lines anywhere.

usage: functions.py ROOT

Counted as a reader counts: from the first line of the head to the closing brace.
"""
import pathlib
import re
import sys

import common

LIMIT_LIB = 60
LIMIT = 100


def functions(text):
    """(name, first line, last line) of each function defined in a C text."""
    text = common.without_preprocessor(common.blank(text))
    start = position = 0
    while position < len(text):
        char = text[position]
        if char in ";}":
            start = position + 1
        elif char == "{":
            head, end = text[start:position], common.closing(text, position)
            if end < 0:
                return
            name = re.search(r"(\w+)\s*\(", head)
            if name and re.search(r"\)\s*(__attribute__\s*\(\(.*\)\)\s*)?$", head, re.S) \
                    and "=" not in head:
                first = start + len(head) - len(head.lstrip())
                yield name[1], common.line_of(text, first), common.line_of(text, end)
                start = end + 1
            position = end
        position += 1


def main():
    root = pathlib.Path(sys.argv[1]).resolve()
    findings, seen = common.Findings(root), 0
    for path in common.sources(root, "include", "lib", "examples", "tests", "fuzz"):
        limit = LIMIT_LIB if path.is_relative_to(root / "lib") else LIMIT
        for name, first, last in functions(path.read_text(encoding="utf-8")):
            seen += 1
            if last - first + 1 > limit:
                findings.add(path, first, f"{name}() has {last - first + 1} lines, at most {limit}"
                             " are allowed here: split it")
    findings.finish(seen, "functions")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main()
