#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Fails if the public headers explain too little.

usage: comments.py ROOT

The headers are the manual: together they need at least 0.8 lines of comment for a line
of code, and each of them opens with what it is for, whom it trusts, and threads.
"""
import pathlib
import re
import sys

import common

RATIO = 0.8
OPENING = ("@file", "Purpose", "Trust", "Threads")


def count(text):
    """(lines with code, lines with comment); the licence line counts as neither."""
    code = sum(1 for line in common.blank(text, keep_strings=True).splitlines() if line.strip())
    comment = 0
    for match in common.TOKEN.finditer(text):
        if match[0][0] == "/" and "SPDX" not in match[0]:
            # A line that holds only comment marks says nothing.
            comment += sum(1 for line in match[0].splitlines() if re.search(r"\w", line))
    return code, comment


def main():
    root = pathlib.Path(sys.argv[1]).resolve()
    findings = common.Findings(root)
    code = comment = files = 0
    for path in common.sources(root, "include", suffixes=(".h",)):
        text = path.read_text(encoding="utf-8")
        lines = count(text)
        code, comment, files = code + lines[0], comment + lines[1], files + 1
        opening = re.search(r"/\*\*.*?\*/", text, re.S)
        for word in OPENING:
            if not opening or not re.search(word, opening[0], re.I):
                findings.add(path, 0, f"the opening comment does not say '{word}'")
    if files and comment < RATIO * code:
        findings.add("include", 0, f"{comment} lines of comment for {code} of code: "
                     f"{comment / code:.2f}, and {RATIO} is needed")
    findings.finish(files, "public headers")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main()
