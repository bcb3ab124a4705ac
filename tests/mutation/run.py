#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Puts one plausible fault at a time into a copy of the library: the suites have to notice.

    tests/mutation/run.py               all of faults.txt
    tests/mutation/run.py --sample 20   as many, chosen anew with each library (or --seed TEXT)
    tests/mutation/run.py --only TEXT   those whose place, text or description has TEXT in it

Works in build/mutation (or --build FOLDER), where copies of the tree stay for the next time. Needs
what the build needs; faults for a big-endian or a 32-bit machine are skipped unless tests/run.sh
has made build/cross/s390x.ini and build/cross/i386.ini. Ends with a table of which suite noticed
what. A fault that none notices is a failure, and so is one whose text is not in the source.
"""
import argparse
import concurrent.futures
import hashlib
import json
import os
import pathlib
import queue
import random
import re
import resource
import shutil
import signal
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
LIST = pathlib.Path(__file__).with_name("faults.txt")
HEAD = re.compile(r"^(lib/\S+)(?: (\w+))?$")
PARTS = ("lib", "include", "tests", "fuzz", "bindings", "examples", "meson.build",
         "meson_options.txt")
SUITES = ("unit", "hostile", "fuzz", "replay")
# A suite that takes more than so many seconds hangs, and one that writes more bytes loops. What
# counts first is the processor's time: it does not depend on what else the machine does.
LIMIT = 300
LIMIT_CPU = 60
LIMIT_OUTPUT = 64 << 20


def cross_file(machine):
    """What tests/run.sh leaves for builds for that machine."""
    return ROOT / f"build/cross/{machine}.ini"


class Bad(Exception):
    """The list, the tree or the build is not as it has to be."""


class Fault:
    """A block of the list."""

    def __init__(self, block):
        lines = [line for line in block.splitlines() if not line.startswith("#")]
        head = HEAD.match(lines[0])
        by = [line[3:].split() for line in lines if line.startswith("by ")]
        self.old = [line[1:].strip() for line in lines if line.startswith("-")]
        self.new = [line[1:].strip() for line in lines if line.startswith("+")]
        if head is None or not self.old or len(self.new) != 1 or len(by) != 1:
            raise Bad(f"{LIST.name}: {lines[0]!r}: expected 'FILE [FUNCTION]', '-OLD', '+NEW', "
                      "'by SUITE...' and what it stands for")
        self.file, self.function = head[1], head[2]
        self.new, self.suites = self.new[0], by[0]
        self.text = " ".join(lines[[line.startswith("by ") for line in lines].index(True) + 1:])
        self.place = f"{self.file} {self.function or '*'}"

    def has(self, text):
        return any(text in part for part in (self.place, *self.old, self.new, self.text))

    def applied(self, source):
        """@source with the fault in it."""
        first, end = 0, len(source)
        if self.function is not None:
            head = re.search(rf"^\w[^\n;]*\b{self.function}\([^;{{]*\)\s*\{{", source, re.M)
            if head is None:
                raise Bad(f"{self.place}: there is no such function any more: {self.text}")
            first, end = head.end(), source.index("\n}", head.end())
        wanted = re.compile(r"\s+".join(re.escape(line) for line in self.old))
        found = list(wanted.finditer(source, first, end))
        if len(found) != 1:
            raise Bad(f"{self.place}: expected {' '.join(self.old)!r} once, found it {len(found)} "
                      f"times: {self.text}")
        return source[:found[0].start()] + self.new + source[found[0].end():]


def read_list():
    blocks = re.split(r"\n\s*\n", LIST.read_text(encoding="utf-8").strip())
    return [Fault(block) for block in blocks
            if not all(line.startswith("#") for line in block.splitlines())]


def run(command, cwd, limit=None, env=None):
    """Returns (exit status, or None if it was stopped, output)."""

    def bounded():
        if limit is not None:
            resource.setrlimit(resource.RLIMIT_CPU, (LIMIT_CPU, LIMIT_CPU))
            resource.setrlimit(resource.RLIMIT_FSIZE, (LIMIT_OUTPUT, LIMIT_OUTPUT))
    out = cwd / "run-output"
    with open(out, "wb") as sink:
        process = subprocess.Popen(command, cwd=cwd, env=env, stdin=subprocess.DEVNULL,
                                   stdout=sink, stderr=subprocess.STDOUT, start_new_session=True,
                                   preexec_fn=bounded)
        try:
            status = process.wait(limit)
        except subprocess.TimeoutExpired:
            status = None
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
    return status, out.read_text(encoding="utf-8", errors="replace")


def which_test(output):
    """The first test that failed, as cmocka names it."""
    found = re.search(r"^\[ +FAILED +\] (?!\d+ test)(\S+)", output, re.M)
    return f" {found[1]}" if found else ""


class Tree:
    """A copy of the sources with its builds: one for each kind of machine that is asked for."""
    kinds = {"": [], "asan": ["-Db_sanitize=address,undefined", "-Db_lundef=false",
                              "-Dc_args=-fno-sanitize-recover=all"]}

    def __init__(self, path):
        self.path = path
        self.tests = {}
        self.good = set()
        self.refresh()
        self.sources = {str(file.relative_to(path)): file.read_text(encoding="utf-8")
                        for file in path.glob("lib/**/*.[ch]")}

    def refresh(self):
        """Copy what differs, so that what was built stays built."""
        for part in PARTS:
            source = ROOT / part
            files = [source] if source.is_file() else \
                [path for path in source.rglob("*") if path.is_file()]
            for path in files:
                to = self.path / path.relative_to(ROOT)
                if not to.exists() or to.read_bytes() != path.read_bytes():
                    to.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copy2(path, to)
                    os.utime(to)

    def build_dir(self, kind):
        """The build of @kind, made if it is not there."""
        build = self.path / f"build-{kind or 'plain'}"
        if kind not in self.tests:
            options = self.kinds.get(kind)
            if options is None:
                options = ["--cross-file", cross_file(kind),
                           "--cross-file", self.path / f"tests/cross/{kind}.ini"]
            if not (build / "build.ninja").exists():
                shutil.rmtree(build, ignore_errors=True)
                status, output = run(["meson", "setup", build, self.path, "-Dlinux=disabled",
                                      "-Dexamples=disabled", "-Doptimization=1", "-Ddebug=false",
                                      *options], self.path)
                if status != 0:
                    raise Bad(f"meson setup {build} failed:\n{output[-2000:]}")
            else:
                self.ninja(build, ["build.ninja"])
            listed = subprocess.run(["meson", "introspect", "--tests", build], check=True,
                                    capture_output=True, text=True).stdout
            self.tests[kind] = {test["name"]: test for test in json.loads(listed)}
        return build

    def ninja(self, build, targets):
        status, output = run(["ninja", "-C", build, "-j1", *targets], self.path)
        if status != 0:
            raise Bad(f"does not compile:\n{output[-3000:]}")

    def write(self, fault, faulty):
        source = self.sources[fault.file]
        (self.path / fault.file).write_text(fault.applied(source) if faulty else source,
                                            encoding="utf-8")

    def suite(self, name):
        """Build and run one suite. Returns None if it passes, else how it failed."""
        if name == "ordering":
            status, _ = run([sys.executable, "tests/ordering/mapping.py", "."], self.path, LIMIT)
            return None if status == 0 else " the model of notifications"
        kind, _, test_name = name.rpartition(":")
        build = self.build_dir(kind)
        test = self.tests[kind].get(test_name)
        if test is None:
            raise Bad(f"there is no suite {test_name} in {build.name}")
        self.ninja(build, [os.path.relpath(test["cmd"][0], build)])
        command = test["cmd"]
        if kind not in self.kinds:
            command = ["meson", "test", "--no-rebuild", "--verbose", test_name]
        env = {**os.environ, **test["env"], "ASAN_OPTIONS": "detect_leaks=0"}
        status, output = run(command, build, LIMIT, env)
        if status == 0:
            return None
        if status in (None, -signal.SIGKILL, -signal.SIGXCPU):
            return " hangs"
        return which_test(output) or f" (exit {status})"

    def all_suites(self):
        """Returns the suite that failed, or None."""
        self.ninja(self.build_dir(""), [])
        for kind in SUITES:
            for name, test in self.tests[""].items():
                if any(suite.endswith(f":{kind}") for suite in test["suite"]):
                    failed = self.suite(name)
                    if failed is not None:
                        return name + failed
        return None


def possible(fault):
    """The suites that can run here."""
    return [name for name in fault.suites if ":" not in name or name.split(":")[0] in Tree.kinds or
            cross_file(name.split(":")[0]).exists()]


def judge(tree, fault, quick):
    """Returns (verdict, who noticed)."""
    suites = possible(fault)
    if not suites:
        return "skipped", f"there is no {cross_file(fault.suites[0].split(':')[0])}"
    for name in suites:
        if name not in tree.good:
            failed = tree.suite(name)
            if failed is not None:
                raise Bad(f"{name} fails without any fault:{failed}")
            tree.good.add(name)
    tree.write(fault, True)
    try:
        for name in suites:
            failed = tree.suite(name)
            if failed is not None:
                return "caught", name + failed
        who = None if quick else tree.all_suites()
        return ("caught", f"{who} (not among: {' '.join(suites)})") if who else ("SURVIVES", "")
    finally:
        tree.write(fault, False)


def choose(faults, args):
    if args.only:
        return [fault for fault in faults if fault.has(args.only)]
    if not args.sample:
        return faults
    seed = args.seed
    if seed is None:
        content = hashlib.sha256()
        for path in sorted([*ROOT.glob("lib/**/*.[ch]"), LIST]):
            content.update(path.read_bytes())
        seed = content.hexdigest()[:12]
    print(f"{args.sample} of {len(faults)} faults, chosen by --seed {seed}")
    return random.Random(seed).sample(faults, min(args.sample, len(faults)))


def options():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--sample", type=int, help="only so many, chosen by the seed")
    parser.add_argument("--seed", help="what chooses the sample; else what the library's files hold")
    parser.add_argument("--only", help="only those that have this text in them")
    parser.add_argument("--quick", action="store_true", help="no suites but those a fault names")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="how many at a time")
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build/mutation")
    return parser.parse_args()


def misplaced(faults):
    """{fault: why} of those whose text is not in the source."""
    wrong = {}
    for fault in faults:
        try:
            fault.applied((ROOT / fault.file).read_text(encoding="utf-8"))
        except (Bad, OSError) as error:
            wrong[fault] = str(error)
    return wrong


def judge_all(chosen, args):
    """{fault: (verdict, who noticed)}, told as they come."""
    results, trees = {}, queue.Queue()
    for i in range(max(1, min(args.jobs, len(chosen)))):
        trees.put(Tree(args.build.resolve() / f"tree{i}"))

    def work(fault):
        tree = trees.get()
        try:
            result = judge(tree, fault, args.quick)
        except Bad as error:
            result = ("ERROR", str(error))
        finally:
            trees.put(tree)
        results[fault] = result
        who = result[1].partition("\n")[0]
        print(f"[{len(results)}/{len(chosen)}] {fault.place}: {fault.text} {result[0]}: {who}",
              flush=True)

    with concurrent.futures.ThreadPoolExecutor(trees.qsize()) as pool:
        list(pool.map(work, chosen))
    return results


def main():
    args = options()
    try:
        faults = read_list()
    except Bad as error:
        sys.exit(f"run.py: {error}")
    wrong = misplaced(faults)
    chosen = [fault for fault in choose(faults, args) if fault not in wrong]
    if not chosen and not wrong:
        sys.exit(f"run.py: --only '{args.only}' is in no fault; expected text that stands in {LIST}")
    results = judge_all(chosen, args)
    print(f"\n{'place':52} {'noticed by':76} fault")
    for fault in chosen:
        verdict, who = results[fault]
        first = who.partition("\n")[0] if verdict == "caught" else verdict
        print(f"{fault.place:52} {first:76} {fault.text}")
    for why in wrong.values():
        print(f"FAIL: {why}")
    count = {verdict: sum(result[0] == verdict for result in results.values())
             for verdict in ("caught", "skipped")}
    for fault, (verdict, why) in results.items():
        if verdict not in count:
            print(f"FAIL: {fault.place}: {verdict}: -{' '.join(fault.old)} +{fault.new}: {why}")
    failed = len(wrong) + len(results) - sum(count.values())
    why = "no build for another machine at hand" if count["skipped"] else "nothing left out"
    print(f"{'FAIL' if failed else 'PASS'}: {count['caught']} passed, {failed} failed, "
          f"{count['skipped']} skipped ({why})")
    return failed > 0


if __name__ == "__main__":
    sys.exit(main())
