#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Checks the names that the libraries need and give.

usage: symbols.py archive ARCHIVE
       symbols.py prefix ARCHIVE
       symbols.py exports ROOT LIBRARY=SHARED-OBJECT... [--update]

archive: the pure library needs nothing but memcpy, memmove, memset and memcmp, and
each name it defines for the linker begins with vmemdev_.

prefix: only the latter, for a library that does use libc.

exports: for each shared library, the names it exports are those of its symbol map,
those of the prototypes in its public headers, and those of the committed list
tests/abi/exports.txt. --update writes the list anew: a name that leaves it is a break
of the ABI, and belongs into the CHANGELOG.
"""
import pathlib
import re
import sys

import common

NEEDED = {"memcpy", "memmove", "memset", "memcmp"}
# What compilers call instead of an instruction that a small processor lacks; libgcc and
# compiler-rt bring them, no libc is asked. Then what the linker makes, and what the
# sanitizers and coverage put in.
RUNTIME = re.compile(r"__(?:aeabi_\w+|u?(?:div|mod|divmod)[sdt]i[34]|(?:ash[lr]|lshr|mul|cmp|ucmp)di[234]|(?:clz|ctz|popcount|bswap)[sd]i2)"
                     r"|_GLOBAL_OFFSET_TABLE_")
INSTRUMENT = re.compile(r"__(?:asan|ubsan|gcov|llvm|sanitizer|tsan|msan)_\w*")
PREFIX = "vmemdev_"
LIST = "tests/abi/exports.txt"
HEADERS = {"vmemdev-linux": {"linux.h"}}


def symbols(path):
    """(defined, undefined) global names of an object or an archive."""
    defined, undefined = set(), set()
    for line in common.output_of(common.tool("nm"), "-g", "-P", path).splitlines():
        fields = line.split()
        if len(fields) < 2 or len(fields[1]) != 1:
            continue
        (undefined if fields[1] in "Uw" else defined).add(fields[0])
    return defined, undefined - defined


def check_names(path, defined, undefined, findings, needed=NEEDED):
    for name in sorted(undefined - needed):
        if not RUNTIME.fullmatch(name) and not INSTRUMENT.fullmatch(name):
            findings.add(path, 0, f"needs {name}; only {', '.join(sorted(needed))} are allowed")
    for name in sorted(defined):
        if not name.startswith(PREFIX) and not INSTRUMENT.fullmatch(name):
            findings.add(path, 0, f"defines {name} for everybody; a global name begins with "
                         f"{PREFIX}")


def check_archive(path, hosted):
    findings = common.Findings()
    defined, undefined = symbols(path)
    check_names(path, defined, set() if hosted else undefined, findings)
    findings.finish(len(defined), "global names")


def exported(path):
    names = set()
    for line in common.output_of(common.tool("nm"), "-D", "-g", "-P", "--defined-only",
                                 path).splitlines():
        fields = line.split()
        if fields and fields[1] != "A":  # the version nodes themselves
            names.add(fields[0].split("@")[0])
    return names


def mapped(path, findings):
    """Names in the global parts of a linker map; patterns are refused."""
    text = common.blank(path.read_text(encoding="utf-8"), keep_strings=True)
    text = re.sub(r"#[^\n]*", "", text)
    names = set()
    for part in re.findall(r"global\s*:(.*?)(?:local\s*:|\})", text, re.S):
        for name in filter(None, (n.strip() for n in part.split(";"))):
            if re.fullmatch(r"\w+", name):
                names.add(name)
            else:
                findings.add(path, 0, f"'{name}' is a pattern; list each name")
    return names


def prototypes(paths):
    names = set()
    for path in paths:
        text = common.without_preprocessor(common.blank(path.read_text(encoding="utf-8")))
        while "{" in text:  # struct bodies hold function pointers, not prototypes
            start = text.index("{")
            text = text[:start] + text[common.closing(text, start) + 1:]
        names |= set(re.findall(r"\b(vmemdev_\w+)\s*\(", text))
    return names


def read_list(path):
    lists, library = {}, None
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        if line.startswith("[") and line.endswith("]"):
            library = line[1:-1]
            lists[library] = set()
        elif line and not line.startswith("#"):
            lists.setdefault(library, set()).add(line)
    return lists


def write_list(path, lists):
    lines = ["# SPDX-License-Identifier: BSD-3-Clause",
             "# Names that the shared libraries export; checked by tests/checks/symbols.py."]
    for library, names in sorted(lists.items()):
        lines += ["", f"[{library}]", *sorted(names)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def compare(findings, where, what, names, expected, meaning):
    for name in sorted(names - expected):
        findings.add(where, 0, f"{name} is in {what} but not in {meaning}")
    for name in sorted(expected - names):
        findings.add(where, 0, f"{name} is in {meaning} but not in {what}")


def check_exports(root, pairs, update):
    findings, total = common.Findings(root), 0
    lists = read_list(root / LIST)
    for library, path in pairs:
        names = exported(path)
        total += len(names)
        own = HEADERS.get(library)
        headers = [h for h in common.sources(root, "include")
                   if (h.name in own if own else h.name not in set().union(*HEADERS.values()))]
        maps = list((root / "lib").rglob(f"{library}.map"))
        if update:
            lists[library] = names
        compare(findings, library, "the library", names, prototypes(headers),
                "the public headers' prototypes")
        compare(findings, library, "the library", names, lists.get(library, set()),
                f"{LIST} (after a decision: --update)")
        if not maps:
            findings.add(library, 0, f"no {library}.map below lib: it must list what is exported")
        for symbol_map in maps:
            compare(findings, library, "the library", names, mapped(symbol_map, findings),
                    str(symbol_map.relative_to(root)))
        for name in sorted(n for n in names if not n.startswith(PREFIX)):
            findings.add(library, 0, f"exports {name}; an exported name begins with {PREFIX}")
    if update:
        write_list(root / LIST, lists)
    findings.finish(total, "exported names")


def main(arguments):
    update = "--update" in arguments
    arguments = [a for a in arguments if a != "--update"]
    if len(arguments) == 2 and arguments[0] in ("archive", "prefix"):
        check_archive(arguments[1], arguments[0] == "prefix")
    elif len(arguments) > 2 and arguments[0] == "exports":
        check_exports(pathlib.Path(arguments[1]).resolve(),
                      [a.split("=", 1) for a in arguments[2:]], update)
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])
