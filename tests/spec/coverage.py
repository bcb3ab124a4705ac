#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Says for each requirement which test shows it, or why none does; fails on a gap.

usage: coverage.py ROOT [--output FILE] [--update]

Reads tests/spec/ids.txt (ID | level | about), tests/spec/open.txt and the tests. A test
names what it shows in the comment right above it:

    /* shows: VQ-SPLIT-01 VQ-SPLIT-02 */
    static void layout_is_that_of_the_text(void **state)

and, in the scripts of tests/e2e, in a line '# shows: ID...' above a function, or above
anything else, and then the script as a whole shows it. Fails if an ID has neither test
nor reason, or both; if a comment names no known ID; if a test is written but not
registered with cmocka, or its file not with meson; and if tests/spec/COVERAGE.md is not what would be written now
(--update writes it).
"""
import argparse
import collections
import pathlib
import re
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "checks"))
import common  # noqa: E402

IDS, OPEN, TABLE = "tests/spec/ids.txt", "tests/spec/open.txt", "tests/spec/COVERAGE.md"
C_TESTS, SCRIPTS = ("tests/unit", "tests/linux", "tests/guest"), "tests/e2e"
KINDS = ("open", "not applicable", "review")

ID = r"[A-Z]+(?:-[A-Z]+)*-\d+"
SHOWS = re.compile(rf"shows:((?:[\s,*#]*{ID}\b)*)([^\n]*)")
TEST_HEAD = re.compile(r"\s*(?:static\s+)?void\s+(\w+)\s*\(\s*void\s*\*\*\s*\w+\s*\)")
TITLE = """<!-- SPDX-License-Identifier: BSD-3-Clause -->
# What shows each requirement

Written by `tests/spec/coverage.py --update`; the tests fail when it is out of date. The IDs
stand for the requirements that VIRTIO 1.4 puts on the device (by keyword or by prose), for
hostile inputs (HOST), for places where the text is unclear (AMB) and for what Linux's
drivers do (LNX).
"""


def read_ids(path):
    """ID -> (level, about), in the file's order."""
    ids = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            name, level, about = line.split(" | ", 2)
            ids[name] = (level, about)
    return ids


def expand(words, ids):
    """'A-1', or 'A-1 to A-4', as a list of IDs."""
    first, _, last = words.partition(" to ")
    if not last:
        return [first]
    stem, low = first.rsplit("-", 1)
    high = last.rsplit("-", 1)[1]
    wanted = range(int(low), int(high) + 1)
    return [i for i in ids if i.rsplit("-", 1)[0] == stem and int(i.rsplit("-", 1)[1]) in wanted]


def read_open(path, ids, findings):
    """ID -> reason."""
    reasons = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if not line or line.startswith("#"):
            continue
        words, kind, reason = ([*map(str.strip, line.split(":", 2)), "", ""])[:3]
        if kind not in KINDS or not reason:
            findings.add(path, number, f"is not 'ID: {' | '.join(KINDS)}: reason'")
        for name in expand(words, ids):
            if name not in ids:
                findings.add(path, number, f"names the unknown ID {name}")
            if name in reasons:
                findings.add(path, number, f"gives a second reason for {name}")
            reasons[name] = f"{kind}: {reason}"
    return reasons


def registering_macros(texts):
    """Macros of the tests that make an entry of a cmocka test list out of a function."""
    macros, found = {}, {"cmocka_unit_test\\w*"}
    for text in texts:
        for match in re.finditer(r"#[ \t]*define[ \t]+(\w+)\((\w+)((?:[^\n]*\\\n)*[^\n]*)", text):
            macros[match[1]] = (match[2], match[3])
    changed = True
    while changed:
        changed = False
        for name, (first, body) in macros.items():
            calls = rf"\b(?:{'|'.join(found)})\s*\(\s*{first}\b|\{{\s*#\s*{first}\b"
            if name not in found and re.search(calls, body):
                found.add(name)
                changed = True
    return found


def shown_ids(match, path, number, ids, findings):
    names = re.findall(ID, match[1])
    rest = match[2].replace("*/", "").strip()
    if not names or rest:
        findings.add(path, number, f"'shows:' wants IDs and nothing else, not '{rest}'")
    for name in names:
        if name not in ids:
            findings.add(path, number, f"names the unknown ID {name}")
    return [name for name in names if name in ids]


def is_built(path):
    """Whether the meson.build beside a suite names it, with or without its suffix."""
    build = path.parent / "meson.build"
    return build.exists() and re.search(rf"'{path.stem}(?:{path.suffix})?'",
                                        build.read_text(encoding="utf-8")) is not None


def read_c_tests(root, ids, findings):
    """ID -> names of tests, from the cmocka suites."""
    shown = collections.defaultdict(list)
    files = list(common.sources(root, *[f for f in C_TESTS if (root / f).is_dir()]))
    texts = {path: path.read_text(encoding="utf-8") for path in files}
    register = "|".join(registering_macros(texts.values()))
    for path, text in texts.items():
        code = common.blank(text)
        for comment in common.TOKEN.finditer(text):
            match = SHOWS.search(comment[0]) if comment[0][0] == "/" else None
            if not match:
                continue
            number = common.line_of(text, comment.start())
            names = shown_ids(match, path, number, ids, findings)
            head = TEST_HEAD.match(code, comment.end())
            if not head:
                findings.add(path, number, "'shows:' does not stand right above a test function"
                             " NAME(void **state)")
                continue
            if not re.search(rf"\b(?:{register})\s*\(\s*{head[1]}\b", code):
                findings.add(path, number, f"{head[1]} is not registered with cmocka_unit_test()")
            for name in names:
                shown[name].append(f"{path.relative_to(root / 'tests')}: {head[1]}")
        if path.suffix == ".c" and "cmocka_run_group_tests" in code and not is_built(path):
            findings.add(path, 0, "is named in no meson.build, so that nobody runs it")
        for head in re.finditer(TEST_HEAD.pattern + r"\s*\{", code):
            if path.suffix == ".c" and len(re.findall(rf"\b{head[1]}\b", code)) == 1:
                findings.add(path, common.line_of(code, head.start(1)),
                             f"{head[1]} is written but never registered")
    return shown


def read_scripts(root, ids, findings):
    """ID -> names of scripts, with the function that does it."""
    shown = collections.defaultdict(list)
    for path in common.sources(root, SCRIPTS, suffixes=(".sh", ".py", "")):
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
        for number, line in enumerate(lines):
            match = SHOWS.search(line) if line.lstrip().startswith("#") else None
            if not match:
                continue
            below = next((l for l in lines[number + 1:] if not l.lstrip().startswith("#")), "")
            function = re.match(r"\s*(?:def\s+)?(\w+)\s*\(", below)
            where = str(path.relative_to(root / "tests")) + (f": {function[1]}" if function else "")
            for name in shown_ids(match, path, number + 1, ids, findings):
                shown[name].append(where)
    return shown


def table(ids, shown, reasons):
    counts = collections.Counter("shown" if i in shown else reasons.get(i, "gap").split(":")[0]
                                 for i in ids)
    summary = ", ".join(f"{counts[k]} {k}" for k in ("shown", *KINDS, "gap") if counts[k])
    lines = [TITLE, f"{len(ids)} requirements: {summary}.", "",
             "| ID | level | about | shown by, or why not |", "|---|---|---|---|"]
    for name, (level, about) in ids.items():
        tests = "<br>".join(sorted(set(shown.get(name, [])))) or reasons.get(name, "**gap**")
        lines.append(f"| {name} | {level} | {about} | {tests} |")
    return "\n".join(lines) + "\n", summary


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("root", type=lambda p: pathlib.Path(p).resolve())
    parser.add_argument("--output", type=pathlib.Path)
    parser.add_argument("--update", action="store_true")
    given = parser.parse_args()
    root, findings = given.root, common.Findings(given.root)

    ids = read_ids(root / IDS)
    reasons = read_open(root / OPEN, ids, findings)
    shown = read_c_tests(root, ids, findings)
    for name, where in read_scripts(root, ids, findings).items():
        shown[name] += where
    for name in ids:
        if name not in shown and name not in reasons:
            findings.add(OPEN, 0, f"{name}: no test shows it, and no reason is given ({ids[name][1]})")
        if name in shown and name in reasons:
            findings.add(OPEN, 0, f"{name}: has a test ({shown[name][0]}), so its reason "
                         f"'{reasons[name]}' must go")

    text, summary = table(ids, shown, reasons)
    if given.output:
        given.output.write_text(text, encoding="utf-8")
    if given.update:
        (root / TABLE).write_text(text, encoding="utf-8")
    elif not (root / TABLE).exists() or (root / TABLE).read_text(encoding="utf-8") != text:
        findings.add(TABLE, 0, "is out of date: run tests/spec/coverage.py . --update")
    print(summary)
    findings.finish(len(ids), "requirements")


if __name__ == "__main__":
    main()
