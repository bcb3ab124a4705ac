# SPDX-License-Identifier: BSD-3-Clause
"""What the structure checks share: reading C sources, and reporting what was found."""
import pathlib
import re
import shutil
import subprocess
import sys

SKIP = 77  # the exit code that meson and automake read as "skipped"

# A comment or a literal; whichever begins first wins, as in the language itself.
TOKEN = re.compile(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.S)


def blank(text, keep_strings=False):
    """The text with comments and the insides of literals blanked; line numbers stay."""
    def hide(match):
        token = match[0]
        if token[0] == "/":
            return re.sub(r"[^\n]", " ", token)
        return token if keep_strings else token[0] + " " * (len(token) - 2) + token[-1]
    return TOKEN.sub(hide, text)


def without_preprocessor(text):
    """Blanked text without directives and without the parts that only C++ sees."""
    text = re.sub(r"^[ \t]*#[ \t]*ifdef[ \t]+__cplusplus\b.*?^[ \t]*#[ \t]*endif[^\n]*",
                  lambda m: re.sub(r"[^\n]", " ", m[0]), text, flags=re.S | re.M)
    return re.sub(r"^[ \t]*#(?:[^\n]*\\\n)*[^\n]*",
                  lambda m: re.sub(r"[^\n]", " ", m[0]), text, flags=re.M)


def line_of(text, position):
    return text.count("\n", 0, position) + 1


def sources(root, *folders, suffixes=(".c", ".h")):
    """The files below the given folders (or the folders' names, when files), sorted."""
    for folder in folders:
        base = pathlib.Path(root) / folder
        for path in [base] if base.is_file() else sorted(base.rglob("*")):
            if path.is_file() and path.suffix in suffixes:
                yield path


def closing(text, position):
    """Where the bracket that opens at position is closed; -1 if nowhere."""
    pairs = {"(": ")", "{": "}", "[": "]"}
    opening, end, depth = text[position], pairs[text[position]], 0
    for i in range(position, len(text)):
        if text[i] == opening:
            depth += 1
        elif text[i] == end:
            depth -= 1
            if depth == 0:
                return i
    return -1


def tool(name):
    """The program of that name, or an exit that says what is missing."""
    path = shutil.which(name)
    if path is None:
        sys.exit(f"{sys.argv[0]}: the program '{name}' is needed and was not found; install it")
    return path


def output_of(*command):
    """What a program prints; an exit with its own words if it fails."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                          check=False)
    if done.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))}: failed with {done.returncode}:\n{done.stderr}")
    return done.stdout


class Findings:
    """Collects what is wrong; finish() prints it and ends the program."""

    def __init__(self, root="."):
        self.root = pathlib.Path(root)
        self.found = []

    def add(self, path, line, message):
        path = pathlib.Path(path)
        if path.is_relative_to(self.root):
            path = path.relative_to(self.root)
        self.found.append(f"{path}:{line}: {message}" if line else f"{path}: {message}")

    def finish(self, looked_at, what):
        """@looked_at is how many things were checked: a check of nothing is a failure."""
        for finding in self.found:
            print(finding)
        if looked_at == 0:
            print(f"FAIL: found no {what} to check below {self.root}: is this the project's root?")
            sys.exit(1)
        if self.found:
            print(f"FAIL: {len(self.found)} findings in {looked_at} {what}")
            sys.exit(1)
        print(f"ok: {looked_at} {what}")
        sys.exit(0)
