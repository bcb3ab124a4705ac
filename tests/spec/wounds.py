#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Fails if tests/spec/WOUNDS.md names a test that does not exist or is not run.

usage: wounds.py ROOT

Each row of its tables is "| where | what went wrong | here |"; the last cell holds tests,
with <br> between them, or 'cannot happen: ' and a reason. A test is a file below tests/ and,
for a cmocka suite, the name of one of its functions:

    unit/vq_hostile.c: HOST_VQ_01_impossible_index
    e2e/entries/reboot.sh
"""
import pathlib
import re
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "checks"))
import common  # noqa: E402
import coverage  # noqa: E402

TABLE = "tests/spec/WOUNDS.md"
TEST = re.compile(r"([\w/.-]+\.(?:c|sh|py))(?:: (\w+))?")
REASON = re.compile(r"cannot happen: \w.{15,}")


class Suites:
    """The C files below tests/, and what registers a test function in them."""

    def __init__(self, root):
        files = common.sources(root / "tests", ".", suffixes=(".c", ".h"))
        self.texts = {path: path.read_text(encoding="utf-8") for path in files}
        self.register = "|".join(coverage.registering_macros(self.texts.values()))

    def runs(self, path, name):
        code = common.blank(self.texts.get(path, ""))
        heads = {head[1] for head in coverage.TEST_HEAD.finditer(code)}
        return name in heads and re.search(rf"\b(?:{self.register})\s*\(\s*{name}\b", code)


def wrong_with(root, suites, name):
    """What is wrong with what stands for a test, or None."""
    match = TEST.fullmatch(name)
    if not match:
        return f"'{name}' is neither a test nor 'cannot happen: ' with a reason"
    path = root / "tests" / match[1]
    if not path.is_file():
        return f"there is no file tests/{match[1]}"
    if path.suffix != ".c":
        return f"'{name}': a script is named as a whole" if match[2] else None
    if not match[2]:
        return f"'{name}' does not say which function of the suite"
    if not suites.runs(path, match[2]):
        return f"tests/{match[1]} has no test {match[2]} that is registered with cmocka"
    if not coverage.is_built(path):
        return f"tests/{match[1]} is named in no meson.build, so that nobody runs it"
    return None


def main():
    root = pathlib.Path(sys.argv[1]).resolve()
    findings, suites, rows, seen = common.Findings(root), Suites(root), 0, set()
    for number, line in enumerate((root / TABLE).read_text(encoding="utf-8").splitlines(), 1):
        if not line.startswith("|") or line.startswith(("|---", "| where |")):
            continue
        rows += 1
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) != 3 or not all(cells):
            findings.add(TABLE, number, "a row is '| where | what went wrong | here |'")
            continue
        if cells[0] in seen:
            findings.add(TABLE, number, f"answers {cells[0]} a second time")
        seen.add(cells[0])
        if REASON.fullmatch(cells[2]):
            continue
        for name in cells[2].split("<br>"):
            wrong = wrong_with(root, suites, name)
            if wrong:
                findings.add(TABLE, number, wrong)
    findings.finish(rows, "rows")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main()
