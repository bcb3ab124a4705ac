# SPDX-License-Identifier: BSD-3-Clause
"""Debian's user-mode Linux, with its stock balloon driver, on the vhost-user back end."""
import os
import signal
import subprocess

import rig
from rig import MIB, check, check_is, note, until

RAM = 256


class Guest:
    """One user-mode Linux, from its boot to its end."""

    def __init__(self, options, daemon):
        self.console = os.path.join(daemon.folder, "console")
        environment = dict(os.environ)
        # Holes have to be punched into the file that is its memory.
        if os.access("/dev/shm", os.W_OK | os.X_OK):
            environment["TMPDIR"] = "/dev/shm"
        with open(self.console, "wb") as console:
            self.process = subprocess.Popen(
                [options["uml"], f"mem={RAM}M", f"initrd={options['initrd']}",
                 f"virtio_uml.device={daemon.socket}:5", f"uml_dir={daemon.folder}",
                 "con=null", "con0=fd:0,fd:1", "panic=-1", "quiet"],
                stdin=subprocess.PIPE, stdout=console, stderr=subprocess.STDOUT, bufsize=0,
                env=environment, start_new_session=True)
        self.answers = 0
        self.take()

    def lines(self):
        with open(self.console, encoding="utf-8", errors="replace") as console:
            return [line.strip() for line in console.read().split("\n")[:-1]]

    def take(self):
        """The next answer."""
        def answer():
            lines = [line for line in self.lines() if line.startswith("@")]
            if len(lines) <= self.answers and self.process.poll() is not None:
                raise rig.Wrong("the guest has ended:\n" + "\n".join(self.lines()[-15:]))
            return lines[self.answers:self.answers + 1]
        try:
            line = until("an answer of the guest", answer)[0]
        except rig.Wrong as wrong:
            raise rig.Wrong(f"{wrong}\n" + "\n".join(self.lines()[-15:])) from None
        self.answers += 1
        return line[1:]

    def ask(self, command):
        self.process.stdin.write(command.encode() + b"\n")
        return self.take()

    def memory(self):
        """MemTotal and MemFree, in bytes."""
        return [int(number) * 1024 for number in self.ask("mem").split()]

    def off(self):
        self.process.stdin.write(b"off\n")
        until("the guest powers off", lambda: self.process.poll() is not None)

    def kill(self):
        """It and its children, which are a process group of their own."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


def moved(text, before, after, right):
    check(f"{text}: {before / MIB:.1f} -> {after / MIB:.1f} MiB", right)


def use_and_free(guest, mib):
    note(f"the guest uses {mib} MiB and frees them, so that the host holds them")
    check_is(f"the guest uses {mib} MiB", guest.ask(f"use {mib}"), "ok")
    check_is("and frees them", guest.ask("unuse"), "ok")


def resize(daemon, mib):
    check_is("target", daemon.ask(f"target {mib}M"), {"target": mib * MIB})
    until(f"a balloon of {mib} MiB", lambda: daemon.info("balloon.actual") == mib * MIB)


def allocated(daemon):
    return daemon.info("memory.allocated")


def no_trouble(daemon):
    info = daemon.info()
    check_is("requests refused, connections broken, guest errors, fault, failed discards, pages "
             "outside of memory",
             [info["refused"], info["broken"], info["guest_errors"], info["balloon"]["fault"],
              info["balloon"]["host_failures"], info["balloon"]["pages_ignored"]],
             [0, 0, 0, "none", 0, 0])


def inflate(daemon, guest):
    """inflate and deflate, with the guest's and the host's figures; statistics"""
    check_is("the guest keeps 16 MiB", guest.ask("keep 16"), "ok")
    kept = guest.ask("sum")
    use_and_free(guest, 180)
    total, free = guest.memory()
    held = allocated(daemon)
    check(f"the host holds {held / MIB:.1f} MiB", held >= 180 * MIB)

    resize(daemon, 160)
    less_total, less_free = guest.memory()
    less = allocated(daemon)
    moved("inflated: guest's MemTotal", total, less_total, less_total == total - 160 * MIB)
    moved("inflated: guest's MemFree", free, less_free, less_free <= free - 152 * MIB)
    moved("inflated: the guest's memory file, as the host sees it", held, less,
          less <= held - 110 * MIB)
    check_is("the guest's 16 MiB are what they were", guest.ask("sum"), kept)

    check_is("an answer to 'stats'", daemon.ask("stats"), {})
    until("statistics", lambda: daemon.info("balloon.stats_sets") >= 2)
    stats = daemon.info("balloon.stats")
    check_is("the statistics' total memory", stats["available"], less_total)
    check("the statistics' free memory is the guest's MemFree, but for 8 MiB",
          abs(stats["unused"] - less_free) < 8 * MIB)

    resize(daemon, 40)
    moved("deflated a part: guest's MemTotal", less_total, guest.memory()[0],
          guest.memory()[0] == total - 40 * MIB)
    resize(daemon, 0)
    moved("deflated: guest's MemTotal", less_total, guest.memory()[0], guest.memory()[0] == total)
    check_is("the guest uses 180 MiB again", guest.ask("use 180"), "ok")
    again = allocated(daemon)
    moved("used again: the guest's memory file", less, again, again >= 180 * MIB)
    check_is("the guest's 16 MiB are what they were", guest.ask("sum"), kept)
    no_trouble(daemon)


def reporting(daemon, guest):
    """free page reporting: the host's memory falls without any balloon"""
    check_is("the guest keeps 16 MiB", guest.ask("keep 16"), "ok")
    kept = guest.ask("sum")
    # Linux reports as long as 128 MiB and more are free, so some of it may be reported twice.
    check_is("the guest uses 120 MiB", guest.ask("use 120"), "ok")
    held = allocated(daemon)
    check(f"the host holds {held / MIB:.1f} MiB", held >= 120 * MIB)
    check_is("the guest frees them", guest.ask("unuse"), "ok")
    until("reports of 80 MiB", lambda: allocated(daemon) <= held - 80 * MIB)
    less = allocated(daemon)
    moved("freed: the guest's memory file, as the host sees it", held, less, True)
    pages = daemon.info("balloon.pages_reported")
    check(f"pages reported: {pages}", pages >= 80 * 256)
    check_is("the balloon", daemon.info("balloon.actual"), 0)
    check_is("the guest uses 120 MiB again", guest.ask("use 120"), "ok")
    moved("used again: the guest's memory file", less, allocated(daemon),
          allocated(daemon) >= 120 * MIB)
    check_is("the guest's 16 MiB are what they were", guest.ask("sum"), kept)
    no_trouble(daemon)


def reload(daemon, guest):
    """the driver is unloaded with an inflated balloon and loaded again, three times"""
    total = guest.memory()[0]
    for _ in range(3):
        resize(daemon, 64)
        inflated = daemon.info("balloon.pages_inflated")
        check_is("the driver is loaded again", guest.ask("reload"), "ok")
        until("the new driver inflates to the same target",
              lambda: daemon.info("balloon.pages_inflated") >= inflated + 64 * 256)
        moved("guest's MemTotal", total, guest.memory()[0], guest.memory()[0] == total - 64 * MIB)
    resize(daemon, 0)
    check_is("guest's MemTotal", guest.memory()[0], total)
    check_is("connections", daemon.info("connections"), 1)
    no_trouble(daemon)


def killed(daemon, guest, boot):
    """the guest is killed while it inflates; the next one finds everything as it should be"""
    check_is("target", daemon.ask("target 192M"), {"target": 192 * MIB})
    until("some of it", lambda: daemon.info("balloon.pages_inflated") >= 1024)
    guest.kill()
    until("the connection is closed", lambda: not daemon.info("connected"))
    check_is("what is left of it", [daemon.info("memory.size"), daemon.info("balloon.actual")],
             [0, 0])
    check_is("a smaller target", daemon.ask("target 64M"), {"target": 64 * MIB})
    guest = boot()
    until("the next guest inflates by itself",
          lambda: daemon.info("balloon.actual") == 64 * MIB)
    resize(daemon, 0)
    guest.off()
    until("the connection is closed", lambda: not daemon.info("connected"))
    check_is("connections", daemon.info("connections"), 2)
    no_trouble(daemon)


ENTRIES = {"inflate": inflate, "reporting": reporting, "reload": reload, "killed": killed}
OPTIONS = {inflate: ("--no-deflate-on-oom", "--no-reporting"),
           reload: ("--no-deflate-on-oom",)}


def run_with(options):
    def run(function):
        daemon = rig.Daemon(options["daemon"], *OPTIONS.get(function, ()))
        guests = []

        def boot():
            guests.append(Guest(options, daemon))
            return guests[-1]

        try:
            if function is killed:
                killed(daemon, boot(), boot)
            else:
                function(daemon, boot())
                guests[0].off()
            daemon.end()
        except rig.Wrong as wrong:
            raise rig.Wrong(f"{wrong}\n    the end of the daemon's log:\n{daemon.tail()}") from None
        finally:
            for guest in guests:
                guest.kill()
            daemon.kill()
    return run


if __name__ == "__main__":
    rig.main("uml", ENTRIES, run_with)
