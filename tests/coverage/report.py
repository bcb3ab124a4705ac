#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Coverage of the pure library, from a build directory in which its suites have run.

    report.py BUILD LIST

Prints a table of lines and branches by file, and compares the branches that nothing took with
LIST, in which each is explained. Exits with 1 if one is missing there, or one is there that was
taken. The library is compiled several times, for tests that stand at its seam; what one of the
copies did counts.
"""
import argparse
import json
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
PURE = ("lib/core/", "lib/device/", "lib/transport/")
COPIES = ("libvmemdev", "libreplay")  # the library as it is, with the seam, and for fuzz targets
SOURCE = re.compile(r"(^|_lib_)(core|device|transport)_\w+\.c\.gcno$")
MOST = 40  # findings that are told
HEAD = re.compile(r"^(\S+) (\w+) (\d+)$")


def notes(build):
    """The compiler's notes on the pure library's sources; the copy without the seam first."""
    found = [path for path in build.rglob("*.gcno")
             if path.parent.name.startswith(COPIES) and SOURCE.search(path.name)]
    return sorted(found, key=lambda path: (path.parent.name != "libvmemdev.a.p", str(path)))


def gcov(build, paths):
    """gcov's own JSON, a document for each of the objects."""
    got = subprocess.run(["gcov", "--json-format", "--stdout", "--branch-probabilities",
                          *map(str, paths)], cwd=build, capture_output=True, text=True, check=True)
    return [json.loads(line) for line in got.stdout.splitlines() if line.startswith("{")]


def source_of(build, name):
    """The name of a source of the pure library within the project, or None."""
    path = (build / name).resolve()
    if not path.is_relative_to(ROOT):
        return None
    name = str(path.relative_to(ROOT))
    return name if name.startswith(PURE) else None


def merge(build, documents):
    """{file: {line: [count, {function: [count of each branch]}]}}, summed over all copies."""
    files = {}
    for document in documents:
        for part in document["files"]:
            name = source_of(build, part["file"])
            if name is None:
                continue
            lines = files.setdefault(name, {})
            for line in part["lines"]:
                entry = lines.setdefault(line["line_number"], [0, {}])
                entry[0] += line["count"]
                counts = [branch["count"] for branch in line["branches"]]
                before = entry[1].setdefault(line.get("function_name", "-"), [0] * len(counts))
                if len(before) != len(counts):
                    sys.exit(f"{name}:{line['line_number']}: {len(counts)} branches in one copy of "
                             f"the library and {len(before)} in another; expected the same source")
                for i, count in enumerate(counts):
                    before[i] += count
    return files


def plain(function):
    """An internal function's name as it is in the source."""
    return function.removeprefix("vmemdev_i_")


def untaken(files):
    """{(file, function, text of the line): [not taken, branches, line numbers]}."""
    found = {}
    for name, lines in files.items():
        text = (ROOT / name).read_text(encoding="utf-8").splitlines()
        for number, (_, functions) in sorted(lines.items()):
            for function, counts in functions.items():
                key = (name, plain(function), text[number - 1].strip())
                entry = found.setdefault(key, [0, 0, []])
                entry[0] += counts.count(0)
                entry[1] += len(counts)
                if 0 in counts:
                    which = [str(i) for i, count in enumerate(counts) if count == 0]
                    entry[2].append(f"{number} (branches {', '.join(which)})")
    return {key: entry for key, entry in found.items() if entry[0] > 0}


def explained(path):
    """The list: a head "FILE FUNCTION COUNT", the line's text, and why; then an empty line."""
    entries = {}
    for block in re.split(r"\n\s*\n", path.read_text(encoding="utf-8")):
        lines = [line for line in block.splitlines() if not line.startswith("#")]
        if not lines:
            continue
        head = HEAD.match(lines[0])
        if head is None or len(lines) < 3:
            sys.exit(f"{path}: {lines[0]!r}: expected 'FILE FUNCTION COUNT', then the line's text, "
                     "then why nothing takes these branches")
        key = (head[1], head[2], lines[1].strip())
        if key in entries:
            sys.exit(f"{path}: {key} is there twice; sum them up")
        entries[key] = int(head[3])
    return entries


def share(part, whole):
    return f"{part:5}/{whole:<5} {100 * part / whole:5.1f} %" if whole else "    -            "


def table(files, listed):
    """Prints a line a file."""
    rows = []
    for name, lines in sorted(files.items()):
        branches = [count for _, functions in lines.values()
                    for counts in functions.values() for count in counts]
        rows.append((name, sum(count > 0 for count, _ in lines.values()), len(lines),
                     sum(count > 0 for count in branches), len(branches),
                     sum(count for key, count in listed.items() if key[0] == name)))
    rows.append(("all", *(sum(row[i] for row in rows) for i in range(1, 6))))
    print(f"{'file':32} {'lines':>19} {'branches':>19} explained")
    for name, line, lines, branch, branches, known in rows:
        print(f"{name:32} {share(line, lines)} {share(branch, branches)} {known:5}")


def differences(found, listed, name):
    """What was not taken, and what was, against the list: (file, what to say) of each."""
    wrong = []
    for (file, function, text), (count, whole, where) in sorted(found.items()):
        known = listed.get((file, function, text), 0)
        if known < count:
            wrong.append((file, f"{file}:{'; '.join(where)}: {function}(): {count} of {whole} "
                                f"branches are not taken and {known} are explained: {text}"))
    for (file, function, text), count in sorted(listed.items()):
        taken = count - found.get((file, function, text), [0])[0]
        if taken > 0:
            wrong.append((file, f"{file}: {function}(): {taken} of the {count} branches that "
                                f"{name} explains are taken, or gone: {text}"))
    return wrong


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("build", type=pathlib.Path)
    parser.add_argument("list", type=pathlib.Path)
    args = parser.parse_args()
    build = args.build.resolve()
    paths = notes(build)
    if not paths:
        sys.exit(f"{build}: no notes of the compiler; expected a build with -Db_coverage=true")
    measured = (build / "meson-logs/testlog.json").stat().st_mtime
    newer = [str(path.relative_to(ROOT)) for path in ROOT.glob("lib/**/*.[ch]")
             if str(path.relative_to(ROOT)).startswith(PURE) and path.stat().st_mtime > measured]
    if newer:
        sys.exit(f"{', '.join(newer)}: changed since {build} was built; run tests/coverage/run.sh")
    files = merge(build, gcov(build, paths))
    listed = explained(args.list)
    table(files, listed)
    wrong = differences(untaken(files), listed, args.list.name)
    bad = {name for name, _ in wrong} & set(files)
    print(f"complete: {len(files) - len(bad)} of {len(files)} files")
    for _, text in wrong[:MOST]:
        print(f"FAIL: {text}")
    if len(wrong) > MOST:
        print(f"FAIL: and {len(wrong) - MOST} more of that kind; did the suites run to their end?")
    return len(wrong) > 0


if __name__ == "__main__":
    sys.exit(main())
