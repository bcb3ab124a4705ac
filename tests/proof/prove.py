#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Analyse the entry points that entries.txt names, two at a time; see run.sh."""
import csv
import os
import re
import resource
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).resolve().parent
OPTIONS = [
    "-machdep", "gcc_x86_64", "-c11",
    "-eva", "-eva-no-show-progress", "-eva-msg-key=-final-states,-initial-state",
    # Answers of a function stay apart, loops of known length are unrolled.
    "-eva-split-return", "full", "-eva-split-return-function", "vmemdev_chain_read:4:24:160",
    "-eva-auto-loop-unroll", "24", "-eva-split-limit", "300",
    "-eva-slevel", "15", "-eva-slevel-merge-after-loop", "@all",
]
CORE = "config bitmap record device state".split()
RING = "virtqueue split packed chain".split()
MEMORY = 6 << 30
SHOWN = ("Valid", "Considered valid", "Dead")


def rows(name):
    """The fields of each line of a table, by '|'; '#' begins a comment."""
    for line in (HERE / name).read_text().splitlines():
        if line.strip() and not line.startswith("#"):
            yield [field.strip() for field in line.split("|")]


def function_body(text, function):
    found = re.search(r"^\S[^\n;]*\b" + function + r"\([^;{]*\)\n\{\n(.*?)^\}$", text, re.S | re.M)
    if not found:
        raise SystemExit(f"hints.txt: expected a function {function}; take the line out or mend it")
    return found.span(1)


def hinted(line, hints):
    """A line with its hints. 'branch': what a bool function returns is told by two returns."""
    if hints == "branch":
        return re.sub(r"return (.*);", r"if (\1) return true; return false;", line)
    return "".join(f"/*@ {hint.strip()}; */ " for hint in hints.split(";") if hint.strip()) + line


def copy_library(source, target):
    """The library, with the hints of hints.txt put in, nearly all of which are comments."""
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source / "lib", target / "lib")
    for file, function, before, hints in rows("hints.txt"):
        path = target / "lib" / file
        text = path.read_text()
        start, end = function_body(text, function)
        body = text[start:end]
        if body.count(before) != 1:
            raise SystemExit(f"hints.txt: {file}, {function}: expected '{before}' once, found it "
                             f"{body.count(before)} times; make the line fit the source")
        path.write_text(text[:start] + body.replace(before, hinted(before, hints)) + text[end:])


def command(entry, source, work):
    name, driver, files, defines, limits = entry
    includes = [f"-I{HERE}/include", f"-I{HERE}", f"-I{work}/lib", f"-I{source}/include"]
    defines = ["-DVMEMDEV_GUEST_SEAM", *defines.split()]
    models = driver.split()
    modelled = "queue.c" in models
    sources = [str(HERE / f) for f in models]
    sources += [f"{work}/lib/core/{f}.c" for f in CORE + ([] if modelled else RING)]
    sources += [f"{work}/lib/{f}" for f in files.split()]
    limits = ",".join(limits_of(models) + limits.split())
    return ["frama-c", *OPTIONS, "-cpp-extra-args=" + " ".join(includes + defines),
            "-eva-slevel-function", limits, *sources,
            "-then", "-report-csv", str(work / f"{name}.csv")]


def limits_of(models):
    """What limits.txt has for an entry point of these files."""
    parts = {"all", "host" if "host.c" in models else "", "" if "queue.c" in models else "ring"}
    return [f"{function}:{states}" for part, function, states in rows("limits.txt")
            if part in parts]


def tell(text):
    print(text, flush=True)


def number(pattern, text):
    found = re.search(pattern, text)
    return int(found.group(1)) if found else 0


def open_properties(path):
    """What was not shown, as (file, function, property)."""
    with path.open(newline="") as table:
        for row in csv.DictReader(table, delimiter="\t", quoting=csv.QUOTE_NONE):
            # What a function requires is judged where it is called.
            if row["property kind"] != "precondition" and row["status"] not in SHOWN:
                # A static function that several files have is numbered by the analyser.
                function = re.sub(r"_\d+$", "", row["function"])
                yield row["file"], function, " ".join(row["property"].split())


def analyse(entry, source, work):
    """Returns what came of it, as a dictionary; seconds are the processor's."""
    name = entry[0]
    table, log = work / f"{name}.csv", work / f"{name}.log"
    table.unlink(missing_ok=True)
    with log.open("w") as out:
        child = subprocess.Popen(command(entry, source, work), cwd=work, stdout=out,
                                 stderr=subprocess.STDOUT, preexec_fn=limit_memory,
                                 env={**os.environ, "LC_ALL": "C.UTF-8", "PWD": str(work)})
        _, code, used = os.wait4(child.pid, 0)
        child.returncode = code
    text = log.read_text()
    done = code == 0 and table.exists() and "ANALYSIS SUMMARY" in text
    return {
        "name": name, "done": done, "log": log, "seconds": used.ru_utime + used.ru_stime,
        "functions": number(r"(\d+) functions? analyzed", text),
        "reached": number(r"(\d+) statements reached", text),
        "statements": number(r"statements reached \(out of (\d+)\)", text),
        "open": set(open_properties(table)) if done else set(),
    }


def limit_memory():
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))


def listed(name):
    """The arguments of alarms.txt for an entry point: {(file, function, property): argument}."""
    return {(file, function, what): why for entries, file, function, what, why in rows("alarms.txt")
            if name in entries.split()}


def judge(result):
    """What is wrong with a result, a line each."""
    if not result["done"]:
        return [f"the analysis did not end; its last words are in {result['log']}"]
    arguments = listed(result["name"])
    wrong = [f"alarm that is not in alarms.txt: {' | '.join(key)}"
             for key in sorted(result["open"] - set(arguments))]
    return wrong + [f"in alarms.txt, but not raised any more: {' | '.join(key)}"
                    for key in sorted(set(arguments) - result["open"])]


HEADER = "entry point        functions  statements  reached  argued  alarms  seconds"


def row(result):
    share = 100 * result["reached"] // max(result["statements"], 1)
    unknown = result["open"] - set(listed(result["name"]))
    return (f"{result['name']:<18} {result['functions']:>9} {result['statements']:>11} "
            f"{share:>7}% {len(result['open'] & set(listed(result['name']))):>7} "
            f"{len(unknown):>7} {result['seconds']:>8.0f}")


def prove(entries, source, work):
    copy_library(source, work)
    passed = failed = 0
    if entries:
        tell(HEADER)
    with ThreadPoolExecutor(2) as pool:
        for result in pool.map(lambda entry: analyse(entry, source, work), entries):
            tell(row(result))
            wrong = judge(result)
            passed, failed = passed + (not wrong), failed + bool(wrong)
            for line in wrong:
                tell(f"    {result['name']}: {line}")
    return passed, failed


def caught(fault, source, work):
    """Whether a fault put into the library raises an alarm that is not there without it."""
    name, entry, file, before, after = fault
    before, after = (text.replace("~~", "||").encode().decode("unicode_escape")
                     for text in (before, after))
    target = work / "faults" / name
    copy_library(source, target)
    path = target / "lib" / file
    text = path.read_text()
    if text.count(before) != 1:
        raise SystemExit(f"faults.txt: {name}: expected '{before}' once in lib/{file}")
    path.write_text(text.replace(before, after))
    [chosen] = [fields for fields in rows("entries.txt") if fields[0] == entry]
    result = analyse(chosen, source, target)
    if not result["done"]:
        raise SystemExit(f"{name}: {judge(result)[0]}")
    return sorted(result["open"] - set(listed(entry)))


def break_it(faults, source, work):
    passed = failed = 0
    if faults:
        tell("\nfault put in                      entry point        alarm it raises")
    with ThreadPoolExecutor(2) as pool:
        for fault, alarms in zip(faults, pool.map(lambda f: caught(f, source, work), faults)):
            seen = " | ".join(alarms[0]) if alarms else "NONE: it was not seen"
            tell(f"{fault[0]:<33} {fault[1]:<18} {seen}")
            passed, failed = passed + bool(alarms), failed + (not alarms)
    return passed, failed


def main():
    source, work, wanted = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:]
    entries, faults = ([row for row in rows(name) if not wanted or row[0] in wanted]
                       for name in ("entries.txt", "faults.txt"))
    unknown = set(wanted) - {row[0] for row in entries + faults}
    if unknown:
        raise SystemExit(f"prove.py: expected names of entries.txt or faults.txt, got {unknown}")
    work.mkdir(parents=True, exist_ok=True)
    results = [prove(entries, source, work), break_it(faults, source, work)]
    passed, failed = map(sum, zip(*results))
    tell(f"{'FAIL' if failed else 'PASS'}: {passed} passed, {failed} failed, 0 skipped")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
