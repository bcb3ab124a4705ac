#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Shows that each structure check can fail.

usage: selftest.py

Makes a small tree that every check accepts, then plants one violation after the other
and wants it found, at its place and in words that name it.
"""
import pathlib
import subprocess
import sys
import tempfile

CHECKS = pathlib.Path(__file__).resolve().parent
SPDX = "/* SPDX-License-Identifier: BSD-3-Clause */\n"

HEADER = SPDX + """#ifndef VMEMDEV_{upper}_H
#define VMEMDEV_{upper}_H
/**
 * @file {name}.h - one line.
 * Purpose: a mock of a public header.
 *
 * It says what it is for
 * at some length,
 * and then some more,
 * so that the lines of comment
 * are enough for the code
 * that follows below.
 *
 * Trust: nobody.
 * Threads: one.
 */
#include <stddef.h>
#include <stdint.h>
{include}
#ifdef __cplusplus
extern "C" {{
#endif
/** A thing. */
struct vmemdev_{name} {{
	uint64_t (*ask)(void *ctx, int what); /* a callback */
	uint32_t size_, other_[1];            /* two members */
}};
/**
 * Does it. returns: 0
 */
int vmemdev_{name}_do(struct vmemdev_{name} *thing);
#ifdef __cplusplus
}}
#endif
#endif
"""

LONG = "void vmemdev_long(void)\n{\n" + "\t;\n" * 60 + "}\n"
LONGER = "static void test_long(void)\n{\n" + "\t;\n" * 100 + "}\n"
TEST = SPDX + """#include <vmemdev/mem.h>
/* shows: ONE-01 */
static void one(void **state)
{
	(void)state;
}
#define ENTRY(f, text) {#f text, f, 0, 0, 0}
#define TWICE(f) ENTRY(f, "a"), ENTRY(f, "b")
/* Also on two lines. shows: ONE-02
 * ONE-03 */
static void two(void **state)
{
	(void)state;
}
static const struct CMUnitTest tests[] = {cmocka_unit_test(one), TWICE(two)};
int main(void) { return cmocka_run_group_tests(tests, 0, 0); }
"""


def header(name, include=""):
    return HEADER.format(name=name, upper=name.upper(), include=include)


def source(*lines):
    return SPDX + "\n".join(lines) + "\n"


TREE = {
    "include/vmemdev/base.h": header("base"),
    "include/vmemdev/device.h": header("device", "#include <vmemdev/base.h>"),
    "include/vmemdev/mem.h": header("mem", "#include <vmemdev/device.h>"),
    "include/vmemdev/balloon.h": header("balloon", "#include <vmemdev/device.h>"),
    "include/vmemdev/mmio.h": header("mmio", "#include <vmemdev/device.h>"),
    "include/vmemdev/linux.h": header("linux", "#include <vmemdev/mem.h>"),
    "lib/core/order.h": source("#include <stdatomic.h>"),
    "lib/core/guest.h": source('#include "core/order.h"'),
    "lib/core/guest.c": source('#include "core/guest.h"', "#include <vmemdev/base.h>",
                               "int vmemdev_base_do(struct vmemdev_base *thing)", "{",
                               "\treturn thing->size_ != 0;", "}"),
    "lib/device/mem.c": source('#include "core/guest.h"', "#include <vmemdev/mem.h>"),
    "lib/device/balloon.c": source("#include <vmemdev/balloon.h>"),
    "lib/transport/mmio.c": source("#include <vmemdev/mmio.h>"),
    "lib/linux/ram.c": source("#include <stdlib.h>", "#include <vmemdev/linux.h>"),
    "examples/bare/main.c": source("#include <vmemdev/mem.h>", '/* "it\'s" ->never_ seen */'),
    "tests/unit/suite.c": TEST,
    "tests/unit/meson.build": "# SPDX-License-Identifier: BSD-3-Clause\nsuites = ['suite']\n",
    "tests/e2e/boot.sh": "# SPDX-License-Identifier: BSD-3-Clause\n# shows: ONE-04\nboot() {\n",
    "tests/spec/ids.txt": "".join(f"ONE-0{i} | MUST | thing {i}\n" for i in range(1, 7)),
    "README.md": "```c\nint vmemdev_a(void);\nint main(void) { return vmemdev_a(); }\n```\n",
    "tests/spec/open.txt": "ONE-05 to ONE-06: open: later\n",
    "tests/spec/WOUNDS.md": "| somebody#1 | it broke | unit/suite.c: one<br>e2e/boot.sh |\n"
                            "| somebody#2 | it hung | cannot happen: there is no such thing |\n",
    "tests/ordering/queue.pml": "/* maps: lib/core/guest.c vmemdev_base_do: return | size_ */\n",
}

# Check, file, what replaces it ("+" in front: what is put at its end), words to be found.
PLANTED = (
    ("layers", "lib/core/guest.c", "+#include <vmemdev/mem.h>", "core may not include vmemdev/mem.h"),
    ("layers", "lib/core/guest.c", "+#include <stdio.h>", "core may not include stdio.h"),
    ("layers", "lib/core/guest.c", "+#include <vmemdev/mmio.h>", "core may not include"),
    ("layers", "lib/device/mem.c", "+#include <vmemdev/balloon.h>", "device may not include"),
    ("layers", "lib/device/mem.c", '+#include "balloon.c"', "device may not include balloon.c"),
    ("layers", "lib/device/mem.c", "+#include <vmemdev/mmio.h>", "device may not include"),
    ("layers", "lib/transport/mmio.c", "+#include <vmemdev/mem.h>", "transport may not include"),
    ("layers", "lib/linux/ram.c", '+#include "core/guest.h"', "linux may not include core/guest.h"),
    ("layers", "lib/linux/ram.c", "+#include <vmemdev/mmio.h>", "linux may not include"),
    ("layers", "include/vmemdev/base.h", "+#include <vmemdev/device.h>", None),
    ("layers", "include/vmemdev/mem.h", "+#include <vmemdev/balloon.h>", "pub-device may not"),
    ("layers", "include/vmemdev/base.h", "+#include <stdio.h>", "pub-core may not include stdio.h"),
    ("layers", "include/vmemdev/new.h", "+int x;", "belongs to no layer"),
    ("layers", "lib/new/x.c", "+int x;", "belongs to no layer"),
    ("layers", "examples/bare/main.c", '+#include "core/guest.h"', "consumer may not include"),
    ("layers", "tests/unit/suite.c", '+#include "core/guest.h"', None),
    ("layers", "examples/bare/main.c", '+#include "made-by-the-build.hex"', None),
    ("layers", "lib/linux/ram.c", '+#include "nowhere.h"', "linux may not include nowhere.h"),
    ("functions", "lib/core/guest.c", "+" + LONG, "vmemdev_long() has 63 lines"),
    ("functions", "tests/unit/suite.c", "+" + LONG, None),
    ("functions", "tests/unit/suite.c", "+" + LONGER, "test_long() has 103 lines"),
    ("comments", "include/vmemdev/base.h", "+" + "int x;\n" * 200, "is needed"),
    ("comments", "include/vmemdev/base.h", SPDX + "/** @file base.h Purpose: x. Trust: y */\n",
     "does not say 'Threads'"),
    ("private", "examples/bare/main.c", "+int f(struct s *p) { return p->size_; }", "member size_"),
    ("private", "lib/linux/ram.c", "+int f(struct s p) { return p.desc_; }", "member desc_"),
    ("private", "lib/linux/ram.c", "+int f(struct s p) { return p.size_; }", None),
    ("private", "tests/unit/suite.c", "+void g(struct s *p) { p->pad_[0] = 1; }", None),
    ("private", "tests/unit/suite.c", "+int g(struct s p) { return p.size_of; }", None),
    ("memory", "lib/device/mem.c", "+_Atomic int x;", "names _Atomic"),
    ("memory", "lib/core/guest.c", "+void f(void) { atomic_thread_fence(0); }", "atomic_thread_fence"),
    ("memory", "lib/device/mem.c", "+int f(g *g) { return g->ops_->map(g, 0); }", "calls the host's map"),
    ("memory", "lib/device/mem.c", "+int f(r *r) { return *(int *)r->host; }", "host address"),
    ("memory", "lib/device/mem.c", "+void f(r *r, void *h) { r->host = h; }", None),
    ("memory", "lib/device/mem.c", "+int f(q *q) { return q->desc_[1]; }", "indexes ring memory"),
    ("memory", "lib/device/mem.c", "+int f(q *q) { return *q->driver_; }", "dereferences"),
    ("memory", "lib/device/mem.c", "+void f(q *q) { memcpy(q->a, q->table_ + 1, 2); }", "copies ring"),
    ("memory", "lib/device/mem.c", "+int f(q *q) { return order_read16(q->x); }", "makes an access"),
    ("memory", "lib/device/mem.c", "+void f(q *q) { order_full(); a = n * q->x.desc_; }", None),
    ("words", "lib/core/guest.c", "+/* see /ho" + "me/me/x */", "path of somebody's machine"),
    ("words", "lib/core/guest.c", "+/* TO" + "DO: more */", "note without an issue"),
    ("words", "lib/core/guest.c", "+/* TO" + "DO: more, #12 */", None),
    ("words", "lib/core/guest.c", "+#i" + "f 0", "switched off"),
    ("words", "lib/core/guest.c", "int x;\n", "does not begin with its SPDX"),
    ("headers", "include/vmemdev/base.h", "+struct p { char c; int i; };", "does not compile"),
    ("headers", "include/vmemdev/base.h", "+bool f(void);", "does not compile"),
    ("headers", "include/vmemdev/base.h", "+#include <limits.h>", "includes limits.h"),
    ("headers", "include/vmemdev/base.h", "+#define F(x) x", "macro with arguments"),
    ("headers", "include/vmemdev/base.h", "+int new;", "with g++"),
    ("freestanding", "lib/core/guest.c", "+int vmemdev_x;", "writable data"),
    ("freestanding", "lib/core/guest.c", "+int helper(void); int helper(void) { return 1; }",
     "defines helper"),
    ("freestanding", "lib/core/guest.c",
     "+int puts(const char *); int vmemdev_f(void); int vmemdev_f(void) { return puts(\"\"); }",
     "needs puts"),
    ("freestanding", "lib/core/guest.c", "+static const char *const t[] = {\"a\"};\n"
     "const char *vmemdev_t(int i); const char *vmemdev_t(int i) { return t[i]; }", None),
    ("coverage", "tests/unit/suite.c", TEST.replace("ONE-01", "ONE-99"), "unknown ID ONE-99"),
    ("coverage", "tests/unit/suite.c", TEST.replace("ONE-01", ""), "wants IDs"),
    ("coverage", "tests/unit/suite.c", TEST.replace("cmocka_unit_test(one), ", ""),
     "one is not registered"),
    ("coverage", "tests/unit/suite.c", TEST.replace("TWICE(two)", "two"), "two is not registered"),
    ("coverage", "tests/unit/suite.c", TEST.replace("static void one", "int x;\nstatic void one"),
     "right above a test function"),
    ("coverage", "tests/unit/suite.c", "+static void three(void **state)\n{\n}\n", "three is written"),
    ("coverage", "tests/unit/suite.c", TEST.replace(" ONE-02", " ONE-05"), "must go"),
    ("coverage", "tests/unit/meson.build", "suites = ['another_suite']\n", "named in no meson.build"),
    ("coverage", "tests/spec/open.txt", "ONE-05: open: later\n", "ONE-06: no test shows it"),
    ("coverage", "tests/spec/open.txt", "ONE-05 to ONE-06: perhaps: later\n", "is not 'ID: "),
    ("coverage", "tests/spec/COVERAGE.md", "+another line", "out of date"),
    ("wounds", "tests/spec/WOUNDS.md", "+| a#1 | b | unit/gone.c: one |", "no file tests/unit/gone.c"),
    ("wounds", "tests/spec/WOUNDS.md", "+| a#1 | b | e2e/gone.sh |", "no file tests/e2e/gone.sh"),
    ("wounds", "tests/spec/WOUNDS.md", "+| a#1 | b | unit/suite.c: three |", "has no test three"),
    ("wounds", "tests/spec/WOUNDS.md", "+| a#1 | b | unit/suite.c |", "which function"),
    ("wounds", "tests/spec/WOUNDS.md", "+| a#1 | b | cannot happen: no |", "is neither a test"),
    ("wounds", "tests/spec/WOUNDS.md", "+| a#1 | b | |", "a row is"),
    ("wounds", "tests/spec/WOUNDS.md", "+| somebody#1 | b | e2e/boot.sh |", "a second time"),
    ("wounds", "tests/unit/suite.c", TEST.replace("TWICE(two)", "two").replace("cmocka_unit_test(one), ",
                                                                              ""), "has no test one"),
    ("wounds", "tests/unit/meson.build", "suites = ['another_suite']\n", "named in no meson.build"),
    ("mapping", "lib/core/guest.c", SPDX + "int vmemdev_base_is(int a)\n{\n\treturn a;\n}\n",
     "no function vmemdev_base_do"),
    ("mapping", "lib/core/guest.c", SPDX + "int vmemdev_base_do(int a)\n{\n\treturn a;\n}\n",
     "has no 'size_'"),
    ("mapping", "tests/ordering/queue.pml", "/* maps: lib/core/guest.c vmemdev_base_do: size_ | return */\n",
     "has no 'return'"),
    ("mapping", "tests/ordering/queue.pml", "/* nothing */\n", "found no steps"),
    ("layout", "include/vmemdev/base.h", header("base").replace("other_[1]", "other_[3]"),
     "the layout is another one"),
    ("layout", "include/vmemdev/base.h", header("base").replace("size_, other_[1]", "size_:4, x_:28"),
     "cannot read the member"),
    ("exports", "lib/vmemdev.map", "X {\nglobal:\n\tvmemdev_*;\nlocal:\n\t*;\n};\n", "is a pattern"),
    ("exports", "include/vmemdev/mem.h", header("mem") + "int vmemdev_new(void);\n",
     "vmemdev_new is in the public headers' prototypes but not in the library"),
    ("exports", "tests/abi/exports.txt", "[vmemdev]\n", "but not in tests/abi/exports.txt"),
    ("archive", "code.c", "int vmemdev_a(void) { return 0; }\nint b(void) { return 0; }\n",
     "defines b"),
    ("prefix", "code.c", "int puts(const char *);\nint b(void) { return puts(\"\"); }\n",
     "defines b"),
    ("prefix", "code.c", "int puts(const char *);\nint vmemdev_b(void) { return puts(\"\"); }\n",
     None),
    ("readme", "README.md", "```c\nint main(void) { return 1; }\n```\n", "the example fails"),
    ("readme", "README.md", "```c\nint f(void) { return x; }\n```\n", "does not compile"),
    ("readme", "README.md", "```sh\nsudo tests/none.sh\n```\n", "tests/none.sh is not there"),
    ("archive", "code.c", "int abs(int);\nint vmemdev_a(void) { return abs(1) + getpid(); }\n",
     "needs getpid"),
    ("archive", "code.c", "void *memcpy(void *, const void *, unsigned long);\n"
     "void *vmemdev_a(void *a, void *b) { return memcpy(a, b, 999); }\n", None),
)


def command(check, root):
    if check == "layout":
        return [CHECKS.parent / "abi/layout.py", root, "cc"]
    if check in ("coverage", "wounds"):
        return [CHECKS.parent / f"spec/{check}.py", root]
    if check == "mapping":
        return [CHECKS.parent / "ordering/mapping.py", root]
    if check == "exports":
        return [CHECKS / "symbols.py", "exports", root, f"vmemdev={root}/vmemdev.so"]
    if check in ("archive", "prefix"):
        return [CHECKS / "symbols.py", check, root / "code.o"]
    if check == "readme":
        return [CHECKS / "readme.py", root, "cc", root / "code.o"]
    return [CHECKS / f"{check}.py", root]


def run(*words):
    return subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          check=False)


def build(root):
    """What the checks of binaries look at: a library of all prototypes, and one object."""
    names = sorted(f"vmemdev_{p.stem}_do" for p in (root / "include/vmemdev").iterdir()
                   if p.stem not in ("linux", "new"))
    (root / "all.c").write_text(SPDX + "".join(f"int {n}(void) {{ return 0; }}\n" for n in names))
    if not (root / "lib/vmemdev.map").exists():
        (root / "lib/vmemdev.map").write_text(
            "/* SPDX-License-Identifier: BSD-3-Clause */\nX {\nglobal:\n\t"
            + "\n\t".join(n + ";" for n in names) + "\nlocal:\n\t*;\n};\n")
    if not (root / "tests/abi/exports.txt").exists():
        (root / "tests/abi/exports.txt").write_text("[vmemdev]\n" + "\n".join(names) + "\n")
    for words in (["cc", "-shared", "-fPIC", root / "all.c", "-o", root / "vmemdev.so"],
                  ["cc", "-w", "-ffreestanding", "-c", root / "code.c", "-o", root / "code.o"]):
        done = run(*words)
        if done.returncode != 0:
            sys.exit(f"selftest.py: cannot build its mock:\n{done.stdout}")


def plant(root, files):
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def fresh(folder, number, checks):
    """The clean tree, with the generated lists written that the checks compare with."""
    root = pathlib.Path(folder) / str(number)
    plant(root, TREE)
    plant(root, {"tests/abi/x.txt": "", "code.c": SPDX + "int vmemdev_a(void) { return 0; }\n"})
    for check in {"layout", "coverage"} & set(checks):
        run(sys.executable, *command(check, root), "--update")
    return root


def main():
    wrong = 0
    with tempfile.TemporaryDirectory() as folder:
        checks = sorted({planted[0] for planted in PLANTED})
        clean = fresh(folder, "clean", checks)
        build(clean)
        for check in checks:
            done = run(sys.executable, *command(check, clean))
            if done.returncode == 77:
                print(f"skipped: {check}: {done.stdout.strip()}")
            elif done.returncode != 0:
                wrong += 1
                print(f"{check} does not accept the clean tree:\n{done.stdout}")
        for number, (check, name, text, words) in enumerate(PLANTED):
            root = fresh(folder, number, [check])
            path = root / name
            old = path.read_text() if path.exists() else SPDX
            plant(root, {name: old + text[1:] + "\n" if text[0] == "+" else text})
            if check in ("exports", "archive", "prefix", "readme"):
                build(root)
            done = run(sys.executable, *command(check, root))
            found = done.returncode != 0 and (words or "") in done.stdout
            if done.returncode != 77 and found != (words is not None):
                wrong += 1
                print(f"{check}: planted in {name}: {text[:100]!r}\n"
                      f"  wanted: {words or 'no finding'}\n  got: {done.stdout[:1000]}")
    if wrong:
        sys.exit(f"FAIL: {wrong} of {len(PLANTED)} plants were not treated as wanted")
    print(f"ok: {len(PLANTED)} plants treated as wanted")


if __name__ == "__main__":
    main()
