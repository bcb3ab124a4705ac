# SPDX-License-Identifier: BSD-3-Clause
"""The C API of vmemdev in Python, as its headers declare it.

load() preprocesses the umbrella header with the C compiler, hands it to cffi, and opens
the shared library. What comes back are the C functions themselves: nothing is wrapped,
so the headers are the manual here too.
"""
import pathlib
import subprocess
import tempfile

from cffi import FFI

# cffi knows the types of these headers, and must not see a compiler's own spelling of them.
KNOWN_TYPES = {
    "stdbool.h": "",
    "stddef.h": "",
    "stdint.h": "#define UINT64_C(c) c##ULL\n",
}


def declarations(include_dir, compiler="cc"):
    """All that vmemdev/vmemdev.h declares, as one text that cffi can parse."""
    with tempfile.TemporaryDirectory() as folder:
        for name, text in KNOWN_TYPES.items():
            pathlib.Path(folder, name).write_text(text)
        command = [compiler, "-E", "-P", "-nostdinc", "-I", str(include_dir), "-I", folder,
                   "-x", "c", "-"]
        return subprocess.run(command, input="#include <vmemdev/vmemdev.h>\n", check=True,
                              capture_output=True, text=True).stdout


def load(library, include_dir, compiler="cc"):
    """Open the shared library at @library. Returns (ffi, lib)."""
    ffi = FFI()
    ffi.cdef(declarations(include_dir, compiler))
    return ffi, ffi.dlopen(str(library))
