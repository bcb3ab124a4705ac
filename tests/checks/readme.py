#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Fails if what README.md tells the reader to do does not work.

usage: readme.py ROOT CC ARCHIVE...

Each block of C is compiled without a warning, linked with the static libraries, and run
if it has a main(); each script of ours that is named in a shell block must be there and
be executable.
"""
import os
import pathlib
import re
import subprocess
import sys
import tempfile

import common

FLAGS = ["-std=gnu11", "-Wall", "-Wextra", "-Wpedantic", "-Werror"]


def blocks(text, language):
    """(line, content) of each fenced block in a language."""
    for match in re.finditer(rf"^```{language}\n(.*?)^```", text, re.S | re.M):
        yield common.line_of(text, match.start(1)), match[1]


def try_program(root, compiler, archives, code):
    """What goes wrong with a C block, or nothing."""
    runs = re.search(r"\bint main\(", code)
    with tempfile.TemporaryDirectory() as folder:
        source, binary = pathlib.Path(folder) / "readme.c", pathlib.Path(folder) / "readme"
        source.write_text(code, encoding="utf-8")
        command = [*compiler.split(), *FLAGS, "-I", root / "include", source, "-o", binary]
        command += archives if runs else ["-c"]
        for step in [command, [binary]] if runs else [command]:
            done = subprocess.run(step, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                  text=True, check=False, timeout=60)
            if done.returncode != 0:
                return f"{'does not compile' if step is command else 'fails'}:\n{done.stdout}"
    return ""


def main(root, compiler, archives):
    readme = root / "README.md"
    text = readme.read_text(encoding="utf-8") if readme.exists() else ""
    findings, seen = common.Findings(root), 0
    for line, code in blocks(text, "c"):
        seen += 1
        problem = try_program(root, compiler, archives, code)
        if problem:
            findings.add(readme, line, f"the example {problem}")
    for line, code in blocks(text, "sh"):
        for script in re.findall(r"(?:^|\s)((?:[\w.-]+/)+[\w-]+\.sh)\b", code):
            seen += 1
            if not os.access(root / script, os.X_OK):
                findings.add(readme, line, f"{script} is not there, or not executable")
    findings.finish(seen, "examples and commands in README.md")


if __name__ == "__main__":
    if len(sys.argv) < 4:
        sys.exit(__doc__)
    main(pathlib.Path(sys.argv[1]).resolve(), sys.argv[2], sys.argv[3:])
