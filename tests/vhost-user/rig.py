# SPDX-License-Identifier: BSD-3-Clause
"""What the vhost-user tests share: the daemon as a process, checks, and running entries."""
import json
import os
import pathlib
import select
import signal
import subprocess
import sys
import tempfile
import time

MIB = 1 << 20
PATIENCE = 60  # seconds, far more than anything here takes


class Wrong(Exception):
    """A check that failed."""


def note(text):
    print(f"    ....  {text}", flush=True)


def check(text, right):
    """Says what holds; ends the entry if it does not."""
    if not right:
        raise Wrong(text)
    print(f"    ok    {text}", flush=True)


def check_is(text, value, expected):
    if value != expected:
        raise Wrong(f"{text}: {value!r}, expected {expected!r}")
    print(f"    ok    {text}: {value!r}", flush=True)


def until(text, condition):
    """Waits for a condition, which is asked again and again. returns: what it answered"""
    deadline = time.monotonic() + PATIENCE
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise Wrong(f"{text}: not within {PATIENCE} seconds")
        time.sleep(0.01)


class Daemon:
    """The back end under test, told what to do by its standard input."""

    def __init__(self, program, *options, folder=None):
        self.folder = folder or tempfile.mkdtemp(prefix="vhost-user-")
        self.socket = os.path.join(self.folder, "front")
        self.log = pathlib.Path(self.folder, "log")
        self.log.unlink(missing_ok=True)
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                [program, "--socket", self.socket, "--stdin", *options], stdin=subprocess.PIPE,
                stdout=subprocess.PIPE, stderr=log, bufsize=0)
        self.rest = b""
        until("the daemon listens", lambda: b"listening" in self.log.read_bytes())

    def ask(self, command):
        """One command, one answer. A daemon that hangs gives none."""
        self.process.stdin.write(command.encode() + b"\n")
        deadline = time.monotonic() + PATIENCE
        while b"\n" not in self.rest:
            if not select.select([self.process.stdout], [], [], deadline - time.monotonic())[0]:
                raise Wrong(f"no answer to '{command}' within {PATIENCE} seconds")
            more = os.read(self.process.stdout.fileno(), 65536)
            if not more:
                raise Wrong(f"the daemon has ended instead of answering '{command}':\n"
                            + self.tail())
            self.rest += more
        line, self.rest = self.rest.split(b"\n", 1)
        return json.loads(line)

    def info(self, path=""):
        """All that is known, or one figure: info("balloon.actual")"""
        value = self.ask("info")
        for name in path.split(".") if path else ():
            value = value[name]
        return value

    def tail(self):
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-8:])

    def kill(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()

    def end(self):
        """The orderly end, which a daemon that crashed before does not have."""
        self.process.stdin.close()
        try:
            status = self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.kill()
            raise Wrong("the daemon did not end with its standard input") from None
        check_is("the daemon's exit status", status, 0)
        check("its socket is gone", not os.path.exists(self.socket))
        check("nothing in its log is a sanitizer's", "Sanitizer" not in self.log.read_text(
            errors="replace"))


def run_entries(group, entries, only, run):
    """Runs the entries whose names are in @only, each with run(function)."""
    for name, function in entries.items():
        if f"{group}/{name}" not in only:
            continue
        print(f"{group}/{name}: {(function.__doc__ or '').splitlines()[0]}", flush=True)
        try:
            run(function)
            result = "PASS"
        except Wrong as wrong:
            print(f"    WRONG {wrong}", flush=True)
            result = "FAIL " + str(wrong).splitlines()[0]
        except Exception as trouble:  # whatever it is, the other entries are to run
            print(f"    WRONG {type(trouble).__name__}: {trouble}", flush=True)
            result = f"FAIL {type(trouble).__name__}: {trouble}".splitlines()[0]
        print(f"@entry {group}/{name} {result}", flush=True)


def main(group, entries, run_with):
    """usage: --list | --daemon PROGRAM [OPTION=VALUE...] ENTRY..."""
    arguments = sys.argv[1:]
    if arguments == ["--list"]:
        print("\n".join(f"{group}/{name}" for name in entries))
        return
    options = {}
    while arguments and arguments[0].startswith("--"):
        options[arguments[0][2:]] = arguments[1]
        arguments = arguments[2:]
    run_entries(group, entries, set(arguments), run_with(options))
