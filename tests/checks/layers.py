#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Fails if a file includes another from a layer that it must not see.

usage: layers.py ROOT

The layers, from the bottom: public headers; lib/core; lib/device and lib/transport,
which do not see each other, nor do the files inside one of them; lib/linux, which is a
host like any other and sees public headers alone. Examples, fuzzers and tests
include public headers too; the unit tests and the proof may look into lib/core.
"""
import pathlib
import re
import sys

import common

# Public headers by layer. A header that is not here may be included by nobody.
PUBLIC = {
    "base": "pub-core", "guest": "pub-core", "virtqueue": "pub-core", "device": "pub-core",
    "balloon": "pub-device", "mem": "pub-device", "mem_resize": "pub-device",
    "mem_slots": "pub-device", "pmem": "pub-device",
    "mmio": "pub-transport", "pci": "pub-transport",
    "linux": "pub-linux",
    "vmemdev": "umbrella",
}
EVERYTHING = set(PUBLIC.values())

# Which layers a layer may include, besides itself.
MAY = {
    "pub-core": {"pub-core"},
    "pub-device": {"pub-core"},
    "pub-transport": {"pub-core"},
    "pub-linux": {"pub-core", "pub-device"},
    "umbrella": {"pub-core", "pub-device", "pub-transport"},
    "core": {"pub-core"},
    "device": {"pub-core", "pub-device", "core"},
    "transport": {"pub-core", "pub-transport", "core"},
    "linux": {"pub-core", "pub-device", "pub-linux"},
    "consumer": EVERYTHING,
    "unit": EVERYTHING | {"core", "consumer"},
}

# Layers whose members do not see each other.
SIBLINGS = {"device", "transport", "pub-device", "pub-transport"}

# The public headers hold out in any C or C++; the pure library needs no libc.
PUBLIC_SYSTEM = {"stdbool.h", "stddef.h", "stdint.h"}
PURE_SYSTEM = PUBLIC_SYSTEM | {"limits.h", "stdatomic.h"}

INCLUDE = re.compile(r'[ \t]*#[ \t]*include[ \t]*([<"])([^>"\n]+)[>"]')


def subject(path):
    """What a file is about: mem_bitmap.c belongs to mem."""
    return pathlib.Path(path).stem.split("_")[0]


def layer_of(root, path):
    parts = path.relative_to(root).parts
    if parts[0] == "include":
        return PUBLIC.get(path.stem)
    if parts[0] == "lib":
        return parts[1] if parts[1] in MAY else None
    inside = (("tests", "unit"), ("tests", "hostile"), ("tests", "proof"))
    return "unit" if parts[:2] in inside else "consumer"


def target(root, path, quoted, name):
    """Layer and path of an included file; layer "system" for one that is not ours."""
    if name.startswith("vmemdev/"):
        return PUBLIC.get(pathlib.Path(name).stem), pathlib.Path(name)
    if not quoted:
        return "system", pathlib.Path(name)
    for folder in (path.parent, root / "lib", root / "lib/core", root / "tests"):
        found = (folder / name).resolve()
        if found.is_file() and found.is_relative_to(root):
            return layer_of(root, found), found
    return None, pathlib.Path(name)


def system_allowed(layer, name):
    if layer in ("core", "device", "transport"):
        return name in PURE_SYSTEM
    if layer == "pub-linux" or not layer.startswith(("pub-", "umbrella")):
        return layer != "pub-linux" or name in PUBLIC_SYSTEM
    return name in PUBLIC_SYSTEM


def check_file(root, path, findings):
    layer = layer_of(root, path)
    if layer is None:
        findings.add(path, 0, "belongs to no layer; put it into one, or add it to layers.py")
        return
    text = common.blank(path.read_text(encoding="utf-8"), keep_strings=True)
    for number, line in enumerate(text.splitlines(), 1):
        match = INCLUDE.match(line)
        if not match:
            continue
        to, found = target(root, path, match[1] == '"', match[2])
        if to is None and layer in ("consumer", "unit") and not match[2].startswith("vmemdev/"):
            continue  # a file that the build makes
        if to == "system":
            allowed = system_allowed(layer, match[2])
        elif to == layer:
            allowed = layer not in SIBLINGS or subject(found) == subject(path)
        else:
            allowed = to in MAY[layer]
            if layer in SIBLINGS and to == "pub-" + layer:
                allowed = subject(found) == subject(path)
        if not allowed:
            findings.add(path, number, f"{layer} may not include {match[2]} ({to or 'unknown'})")


def main():
    root = pathlib.Path(sys.argv[1]).resolve()
    findings = common.Findings(root)
    files = list(common.sources(root, "include", "lib", "examples", "tests", "fuzz", "bindings"))
    for path in files:
        check_file(root, path, findings)
    findings.finish(len(files), "files")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main()
