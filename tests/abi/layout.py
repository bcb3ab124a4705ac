#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Checks that no public struct has changed its layout unnoticed (x86-64).

usage: layout.py ROOT CC [--update]

Reads the structs out of the public headers, lets the compiler print size, alignment and
the offset of every member, and compares that with tests/abi/layout.txt. A layout that
changed is a break of the ABI: write it into the CHANGELOG, raise the soversion, and run
this with --update. Exit code 77 (skipped) on other machines than x86-64.
"""
import difflib
import pathlib
import platform
import re
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "checks"))
import common  # noqa: E402

LIST = "tests/abi/layout.txt"
HEAD = ("# SPDX-License-Identifier: BSD-3-Clause\n"
        "# Layout of the public structs on x86-64; written by tests/abi/layout.py --update.\n"
        "# struct: size, alignment; member: offset, size.\n")


def member_names(body):
    """The members of a struct body, in order; fails loudly on what it cannot read."""
    for declaration in filter(str.strip, body.split(";")):
        pointer = re.search(r"\(\s*\*\s*(\w+)\s*\)\s*\(", declaration)
        if pointer:
            yield pointer[1]
            continue
        if re.search(r"[({:]", declaration):
            sys.exit(f"layout.py cannot read the member '{declaration.strip()}': nested structs "
                     "and bit-fields do not belong into public structs")
        for part in declaration.split(","):
            yield re.search(r"(\w+)\s*(?:\[[^\]]*\]\s*)*$", part)[1]


def structs(path):
    """(name, members) of each struct that a header defines."""
    text = common.without_preprocessor(common.blank(path.read_text(encoding="utf-8")))
    for match in re.finditer(r"\bstruct\s+(\w+)\s*\{", text):
        end = common.closing(text, match.end() - 1)
        yield match[1], list(member_names(text[match.end():end]))


def program(headers):
    """A C program that prints the layout, and the number of structs in it."""
    lines, count = ["#include <stdio.h>"], 0
    lines += [f"#include <vmemdev/{header.name}>" for header in headers]
    lines += ["#define HEAD(s) printf(\"struct %s: %zu, %zu\\n\", #s, sizeof(struct s), "
              "_Alignof(struct s))",
              "#define MEMBER(s, m) printf(\"  %s.%s: %zu, %zu\\n\", #s, #m, "
              "offsetof(struct s, m), sizeof(((struct s *)0)->m))",
              "int main(void)", "{"]
    for header in headers:
        for name, members in structs(header):
            count += 1
            lines.append(f"\tHEAD({name});")
            lines += [f"\tMEMBER({name}, {member});" for member in members]
    return "\n".join([*lines, "\treturn 0;", "}", ""]), count


def main(root, compiler, update):
    if platform.machine() not in ("x86_64", "AMD64"):
        print(f"skipped: {LIST} is for x86-64, this is {platform.machine()}")
        sys.exit(common.SKIP)
    headers = [h for h in common.sources(root, "include/vmemdev", suffixes=(".h",))]
    text, count = program(headers)
    with tempfile.TemporaryDirectory() as folder:
        source, binary = pathlib.Path(folder) / "layout.c", pathlib.Path(folder) / "layout"
        source.write_text(text, encoding="utf-8")
        common.output_of(*compiler.split(), "-std=c11", "-I", root / "include", source,
                         "-o", binary)
        printed = HEAD + subprocess.run([binary], stdout=subprocess.PIPE, text=True,
                                        check=True).stdout
    path = root / LIST
    if update:
        path.write_text(printed, encoding="utf-8")
    findings = common.Findings(root)
    committed = path.read_text(encoding="utf-8") if path.exists() else ""
    difference = list(difflib.unified_diff(committed.splitlines(), printed.splitlines(), LIST,
                                           "as compiled", lineterm="", n=0))
    if difference:
        findings.add(path, 0, "the layout is another one; if that was decided, run layout.py with"
                     " --update:\n" + "\n".join(difference))
    findings.finish(count, "structs")


if __name__ == "__main__":
    ARGUMENTS = [a for a in sys.argv[1:] if a != "--update"]
    if len(ARGUMENTS) != 2:
        sys.exit(__doc__)
    main(pathlib.Path(ARGUMENTS[0]).resolve(), ARGUMENTS[1], "--update" in sys.argv)
