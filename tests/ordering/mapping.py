#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Fails if the model of notifications names what the library does not do.

usage: mapping.py ROOT

Beside a step of the model stands which function of the library it is, and what has to be
in its code, in this order:

    maps: lib/core/split.c ask_for_kick: write_used16( | order_full()
"""
import pathlib
import re
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "checks"))
import common  # noqa: E402

MODELS = "tests/ordering"
MAPS = re.compile(r"maps: (\S+) (\w+): ([^\n]*?)(?: \*/)?$", re.M)


def body(code, name):
    """The code of the function, or None."""
    head = re.search(rf"^\w[^\n;]*\b{name}\([^;{{]*\)\s*\{{", code, re.M)
    return code[head.end() - 1:common.closing(code, head.end() - 1)] if head else None


def main():
    root = pathlib.Path(sys.argv[1]).resolve()
    findings, count = common.Findings(root), 0
    for path in common.sources(root, MODELS, suffixes=(".pml",)):
        text = path.read_text(encoding="utf-8")
        for match in MAPS.finditer(text):
            count, number = count + 1, common.line_of(text, match.start())
            source = root / match[1]
            code = common.blank(source.read_text(encoding="utf-8")) if source.exists() else ""
            inside = body(code, match[2])
            if inside is None:
                findings.add(path, number, f"there is no function {match[2]} in {match[1]}")
                continue
            at = 0
            for piece in match[3].split(" | "):
                found = inside.find(piece.strip(), at)
                if found < 0:
                    findings.add(path, number, f"{match[2]} in {match[1]} has no '{piece.strip()}'"
                                 f" where the model has it")
                    break
                at = found + len(piece.strip())
    findings.finish(count, "steps of the model with their functions")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main()
