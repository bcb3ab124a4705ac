# SPDX-License-Identifier: BSD-3-Clause
"""The vhost-user back end, asked by a front end of our own: the protocol, and every abuse of it
that came to mind. After each abuse the next connection has to work as if nothing had been."""
import json
import os
import random
import socket
import struct
import subprocess
import tempfile

import rig
from frontend import (ADD_MEM_REG, DEFLATE, FEATURES, F_VERSION_1, FrontEnd, GET_CONFIG,
                      GET_FEATURES, GET_MAX_MEM_SLOTS, GET_PROTOCOL_FEATURES, GET_QUEUE_NUM,
                      GET_STATUS, GET_VRING_BASE, GPA, INFLATE, OFFSET, P_BACKEND_REQ, P_CONFIG,
                      P_MQ, P_REPLY_ACK, P_STATUS, PROTOCOL, REM_MEM_REG, REPORT, RESET_DEVICE,
                      SET_BACKEND_REQ_FD, SET_CONFIG, SET_FEATURES, SET_MEM_TABLE, SET_OWNER,
                      SET_PROTOCOL_FEATURES, SET_STATUS, SET_VRING_ADDR, SET_VRING_BASE,
                      SET_VRING_CALL, SET_VRING_ENABLE, SET_VRING_KICK, SET_VRING_NUM, SIZE, STATS,
                      USER)
from rig import MIB, check, check_is, note, until

DATA = 1 * MIB  # from here on the memory holds no rings
NEEDS_RESET = 0x40


def pages(first, count):
    return range(DATA + 4096 * first, DATA + 4096 * (first + count), 4096)


def number(value):
    return struct.pack("=Q", value)


def works(daemon, front=None):
    """A whole life of a device on a new connection: a hundred pages go, their neighbours stay."""
    front = front or FrontEnd(daemon.socket).start()
    ring = front.rings[INFLATE]
    base = ring.used_index()
    front.fill(pages(0, 300))
    before = front.allocated()
    ring.offer_pages(pages(100, 100))
    ring.wait_used(base + 1)
    check_is("bytes that the host has back", before - front.allocated(), 100 * 4096)
    check("what was given up reads zero, and the rest is as it was",
          bytes(front.memory[DATA + 100 * 4096:DATA + 200 * 4096]) == bytes(100 * 4096)
          and front.memory[DATA + 99 * 4096] != 0 and front.memory[DATA + 200 * 4096] != 0)
    return front


# ---- the protocol, used well ----

def negotiation(daemon):
    """features, protocol features, queues, configuration"""
    front = FrontEnd(daemon.socket)
    front.send(SET_OWNER)
    features, = front.query(GET_FEATURES)
    check_is("offered of what a driver needs", features & FEATURES, FEATURES)
    check_is("protocol features", front.query(GET_PROTOCOL_FEATURES)[0] & PROTOCOL, PROTOCOL)
    front.send(SET_PROTOCOL_FEATURES, number(PROTOCOL | P_STATUS))
    check_is("queues", front.query(GET_QUEUE_NUM)[0], 5)
    check_is("memory slots", front.query(GET_MAX_MEM_SLOTS)[0], 16)
    daemon.ask("target 8M")
    check_is("the target in pages", front.read_config(0, 4), struct.pack("<I", 2048))
    check_is("configuration beyond its end", front.read_config(200, 56), bytes(56))
    front.ack = True
    check_is("features that are not offered", front.tell(SET_FEATURES, number(FEATURES | 1 << 50)),
             1)
    check_is("features without VERSION_1",
             front.tell(SET_FEATURES, number(FEATURES & ~F_VERSION_1)), 1)
    check_is("features that are offered", front.tell(SET_FEATURES, number(FEATURES)), 0)
    front.close()


def inflate(daemon):
    """pages go and come back, with interrupts and a claimed size"""
    front = works(daemon)
    check("the driver is told", until("an interrupt", front.rings[INFLATE].interrupted))
    front.rings[DEFLATE].offer_pages(pages(100, 100))
    front.rings[DEFLATE].wait_used(1)
    front.do(SET_CONFIG, struct.pack("=III", 4, 4, 0) + struct.pack("<I", 77))
    check_is("what the guest says it has", daemon.info("balloon.actual"), 77 * 4096)
    check_is("pages inflated", daemon.info("balloon.pages_inflated"), 100)
    front.close()


def config_change(daemon):
    """a new target reaches the front end on the back end's own channel"""
    front = works(daemon)
    daemon.ask("target 4M")
    front.backend.settimeout(rig.PATIENCE)
    check_is("the message", front.backend.recv(64), struct.pack("=III", 2, 1, 0))
    check_is("the target in pages", front.read_config(0, 4), struct.pack("<I", 1024))
    note("nobody reads that channel for 5000 more")
    for i in range(5000):
        daemon.ask(f"target {i % 2}M")
    works(daemon, front)
    front.close()


def reporting(daemon):
    """free pages are reported, ranges of any length"""
    front = works(daemon)
    front.fill(pages(0, 1024))
    before = front.allocated()
    front.rings[REPORT].offer([(GPA + DATA, 2 * MIB, 2), (GPA + DATA + 3 * MIB, 64 * 1024, 2)])
    front.rings[REPORT].wait_used(1)
    check_is("bytes that the host has back", before - front.allocated(), 2 * MIB + 64 * 1024)
    check_is("pages reported", daemon.info("balloon.pages_reported"), 512 + 16)
    front.close()


def stats(daemon):
    """statistics: the first set before the device runs, then on demand"""
    front = FrontEnd(daemon.socket)
    ring = front.rings[STATS]
    ring.offer_bytes(struct.pack("<HQHQ", 4, 11 * MIB, 5, 99 * MIB))
    front.start()
    until("the first set", lambda: daemon.info("balloon.stats_sets") == 1)
    check_is("free memory", daemon.info("balloon.stats.unused"), 11 * MIB)
    check_is("buffers given back unasked", ring.used_index(), 0)
    check_is("an answer to 'stats'", daemon.ask("stats"), {})
    ring.wait_used(1)
    ring.offer_bytes(struct.pack("<HQ", 4, 12 * MIB))
    until("the second set", lambda: daemon.info("balloon.stats_sets") == 2)
    check_is("free memory", daemon.info("balloon.stats.unused"), 12 * MIB)
    front.close()


def base(daemon):
    """a ring stops at a known place, and goes on there"""
    front = works(daemon)
    ring = front.rings[INFLATE]
    for i in range(4):
        ring.offer_pages(pages(100 + i, 1))
    ring.wait_used(5)
    check_is("position at the stop", front.get_base(ring), 5)
    before = daemon.info("balloon.pages_inflated")
    front.fill(pages(200, 3))
    for i in range(3):
        ring.offer_pages(pages(200 + i, 1))
    check_is("rings that are still served", daemon.info("rings"), [1, 2, 3])
    check_is("buffers used while it is stopped", ring.used_index(), 5)
    front.set_ring(ring, 5)
    ring.wait_used(8)
    check_is("pages inflated after it", daemon.info("balloon.pages_inflated") - before, 3)
    front.close()


def stats_in_flight(daemon):
    """the statistics buffer that the device keeps is not lost with the ring"""
    front = FrontEnd(daemon.socket)
    ring = front.rings[STATS]
    ring.offer_bytes(struct.pack("<HQ", 4, 5 * MIB))
    front.start()
    until("the first set", lambda: daemon.info("balloon.stats_sets") == 1)
    check_is("position at the stop, in front of the kept buffer", front.get_base(ring), 0)
    front.set_ring(ring, 0)
    os.eventfd_write(ring.kick, 1)
    until("the same buffer again", lambda: daemon.info("balloon.stats_sets") == 2)
    check_is("an answer to 'stats'", daemon.ask("stats"), {})
    ring.wait_used(1)
    front.close()


def suspend(daemon):
    """all rings stop and go on, as when a machine is paused: nothing is forgotten"""
    front = works(daemon)
    front.do(SET_CONFIG, struct.pack("=III", 4, 4, 0) + struct.pack("<I", 100))
    bases = [front.get_base(ring) for ring in front.rings]
    check_is("positions", bases, [1, 0, 0, 0])
    front.set_features()
    front.set_memory()
    for ring, position in zip(front.rings, bases):
        front.set_ring(ring, position)
    works(daemon, front)
    check_is("what the guest says it has", daemon.info("balloon.actual"), 100 * 4096)
    note("now the same, but the rings begin anew: another driver")
    for ring in front.rings:
        front.get_base(ring)
        front.memory[ring.desc:ring.desc + 0x3000] = bytes(0x3000)
        ring.next = 0
    front.set_features()
    for ring in front.rings:
        front.set_ring(ring, 0)
    works(daemon, front)
    check_is("what the new driver's guest says it has", daemon.info("balloon.actual"), 0)
    front.close()


def unannounced(daemon):
    """a driver is replaced without a word, as user-mode Linux does it"""
    front = works(daemon)
    for ring in front.rings:
        front.memory[ring.desc:ring.desc + 0x3000] = bytes(0x3000)
        ring.next = 0
    front.set_features()
    for ring in front.rings:
        front.set_ring(ring, 0)
    works(daemon, front)
    front.close()


def enable(daemon):
    """a disabled ring is left alone, and catches up when it is enabled"""
    front = works(daemon)
    ring = front.rings[INFLATE]
    front.enable(ring, 0)
    ring.offer_pages(pages(0, 1))
    check_is("rings that are served", daemon.info("rings"), [1, 2, 3])
    check_is("buffers used meanwhile", ring.used_index(), 1)
    front.enable(ring, 1)
    ring.wait_used(2)
    front.close()


def early_kick(daemon):
    """a kick that comes while rings are still being enabled"""
    front = FrontEnd(daemon.socket)
    front.greet()
    front.set_features()
    front.set_memory()
    for ring in front.rings:
        front.set_ring(ring)
    front.rings[INFLATE].offer_pages(pages(0, 1))
    front.enable(front.rings[INFLATE])
    check_is("rings that are served", daemon.info("rings"), [])
    for ring in front.rings[1:]:
        front.enable(ring)
    front.rings[INFLATE].wait_used(1)
    note("had it started at the kick, this queue would be another")
    front.fill(pages(0, 16))
    front.rings[REPORT].offer([(GPA + DATA, 16 * 4096, 2)])
    front.rings[REPORT].wait_used(1)
    check_is("pages reported", daemon.info("balloon.pages_reported"), 16)
    front.close()


def status(daemon):
    """with a device status, the driver's DRIVER_OK is what starts the device"""
    front = FrontEnd(daemon.socket)
    ring = front.rings[INFLATE]
    ring.offer_pages(pages(0, 1))
    front.start(protocol=PROTOCOL | P_STATUS)
    check_is("running before DRIVER_OK", daemon.info("balloon.driver_ok"), False)
    for bits in (1, 3, 11, 15):
        front.do(SET_STATUS, number(bits))
    check_is("status", front.query(GET_STATUS)[0], 15)
    ring.wait_used(1)
    works(daemon, front)
    ring.put(ring.avail + 2, "<H", 40000)
    os.eventfd_write(ring.kick, 1)
    until("NEEDS_RESET", lambda: front.query(GET_STATUS)[0] & NEEDS_RESET)
    front.do(SET_STATUS, number(0))
    check_is("status after a reset", front.query(GET_STATUS)[0], 0)
    check_is("rings after a reset", daemon.info("rings"), [])
    front.close()


def reset_device(daemon):
    """RESET_DEVICE leads back to the beginning"""
    front = works(daemon)
    front.do(RESET_DEVICE)
    check_is("rings", daemon.info("rings"), [])
    for ring in front.rings:
        front.memory[ring.desc:ring.desc + 0x3000] = bytes(0x3000)
        ring.next = 0
    front.set_features()
    for ring in front.rings:
        front.set_ring(ring)
        front.enable(ring)
    works(daemon, front)
    front.close()


def memory_slots(daemon):
    """regions come and go one by one, while rings run"""
    front = works(daemon)
    more = os.memfd_create("more")
    os.ftruncate(more, 16 * MIB)
    regions = [(GPA * 2 + i * MIB, MIB, USER * 2 + i * MIB, i * MIB) for i in range(16)]
    for region in regions[:15]:
        front.do(ADD_MEM_REG, number(0) + struct.pack("=QQQQ", *region), [more])
    check_is("the seventeenth region",
             front.tell(ADD_MEM_REG, number(0) + struct.pack("=QQQQ", *regions[15]), [more]), 1)
    check_is("regions", len(daemon.info("memory.regions")), 16)
    works(daemon, front)
    os.pwrite(more, b"x" * MIB, 3 * MIB)
    ring = front.rings[REPORT]
    ring.offer([(regions[3][0], MIB, 2)])
    ring.wait_used(1)
    check_is("what was reported there", os.pread(more, MIB, 3 * MIB), bytes(MIB))
    for region in regions[:15]:
        front.do(REM_MEM_REG, number(0) + struct.pack("=QQQQ", *region))
    check_is("a region that is not there",
             front.tell(REM_MEM_REG, number(0) + struct.pack("=QQQQ", *regions[0])), 1)
    check_is("regions", len(daemon.info("memory.regions")), 1)
    works(daemon, front)
    note("the rings' own memory goes away")
    front.do(REM_MEM_REG, number(0) + struct.pack("=QQQQ", GPA, SIZE, USER, OFFSET))
    os.eventfd_write(front.rings[INFLATE].kick, 1)
    until("the ring's error descriptor", front.rings[INFLATE].failed)
    check_is("guest errors", daemon.info("guest_errors"), 1)
    front.close()
    works(daemon).close()


def reconnect(daemon):
    """a front end goes away with requests outstanding, and comes back"""
    first = works(daemon)
    daemon.ask("target 4M")
    ring = first.rings[INFLATE]
    first.enable(ring, 0)
    first.fill(pages(0, 8))
    ring.offer_pages(pages(0, 8))
    ring.offer_pages(pages(0, 8))
    first.socket.close()
    until("the connection is closed", lambda: not daemon.info("connected"))
    check_is("memory that is still mapped", daemon.info("memory.size"), 0)
    second = FrontEnd(daemon.socket, first.file)
    for old, new in zip(first.rings, second.rings):
        new.next = old.next
    check_is("what was used before", second.rings[INFLATE].used_index(), 1)
    second.start(bases=[ring.used_index() for ring in second.rings])
    os.eventfd_write(second.rings[INFLATE].kick, 1)
    second.rings[INFLATE].wait_used(3)
    check_is("what was outstanding is done", bytes(second.memory[DATA:DATA + 8 * 4096]),
             bytes(8 * 4096))
    check_is("the target is still", second.read_config(0, 4), struct.pack("<I", 1024))
    check_is("connections", daemon.info("connections"), 2)
    second.close()


def killed(daemon):
    """the back end is killed, and a new one goes on where it was"""
    front = works(daemon)
    ring = front.rings[INFLATE]
    front.fill(pages(0, 8))
    daemon.kill()
    ring.offer_pages(pages(0, 8))
    check("the front end notices", front.hung_up_on())
    successor = rig.Daemon(daemon.process.args[0], folder=daemon.folder)
    again = FrontEnd(successor.socket, front.file)
    again.rings[INFLATE].next = ring.next
    again.start(bases=[ring.used_index() for ring in again.rings])
    os.eventfd_write(again.rings[INFLATE].kick, 1)
    again.rings[INFLATE].wait_used(2)
    check_is("what was outstanding is done", bytes(again.memory[DATA:DATA + 8 * 4096]),
             bytes(8 * 4096))
    again.close()
    successor.end()


def second_front_end(daemon):
    """one device has one driver: another front end is turned away"""
    front = works(daemon)
    check("the second is hung up on", FrontEnd(daemon.socket).hung_up_on())
    works(daemon, front)
    front.close()


def commands(daemon):
    """what the operator can say wrong"""
    for line in ("", "target", "target x", "target 1", "target 16T", "nonsense", "stats"):
        check(f"'{line}' is answered with an error", "error" in daemon.ask(line))
    check_is("target", daemon.ask("target 64M"), {"target": 64 * MIB})
    program = daemon.process.args[0]
    for wrong in ((), ("--socket",), ("--socket", "x", "y"), ("--socket", "x", "--target", "1Q")):
        check_is(f"status of {wrong}", subprocess.run([program, *wrong], stderr=subprocess.DEVNULL,
                                                      check=False).returncode, 2)
    check_is("a second daemon at the same socket", subprocess.run(
        [program, "--socket", daemon.socket], stderr=subprocess.DEVNULL, check=False).returncode, 1)
    note("a control socket, with events")
    folder = tempfile.mkdtemp()
    other = rig.Daemon(program, "--control", f"{folder}/control")
    with socket.socket(socket.AF_UNIX) as operator:
        operator.settimeout(rig.PATIENCE)
        operator.connect(f"{folder}/control")
        lines = operator.makefile()
        operator.sendall(b"target 4M\nevents\n")
        check_is("answers", [json.loads(lines.readline()) for _ in range(2)],
                 [{"target": 4 * MIB}, {}])
        front = works(other)
        front.do(SET_CONFIG, struct.pack("=III", 4, 4, 0) + struct.pack("<I", 9))
        front.close()
        events = [json.loads(lines.readline()) for _ in range(4)]
        check_is("events", [event["event"] for event in events],
                 ["connected", "actual", "actual", "disconnected"])
        check_is("the size of the second", events[1]["bytes"], 9 * 4096)
    other.end()


# ---- the protocol, abused ----

def after_abuse(daemon, front):
    front.close()
    until("the connection is closed", lambda: not daemon.info("connected"))
    works(daemon).close()
    until("the connection is closed", lambda: not daemon.info("connected"))


def framing(daemon):
    """messages that are none"""
    def header(request, flags, size):
        return struct.pack("=III", request, flags, size)

    pipe = os.pipe()
    for what, content, fds in (
            ("version 0", header(GET_FEATURES, 0, 0), ()),
            ("version 2", header(GET_FEATURES, 2, 0), ()),
            ("an answer", header(GET_FEATURES, 5, 0), ()),
            ("a payload of 4 GiB", header(SET_FEATURES, 1, 0xFFFFFFFF), ()),
            ("a payload of 513 bytes", header(SET_MEM_TABLE, 1, 513) + bytes(513), ()),
            ("a payload that is too short", header(SET_FEATURES, 1, 4) + bytes(4), ()),
            ("a payload that is too long", header(SET_VRING_NUM, 1, 16) + bytes(16), ()),
            ("request 0", header(0, 1, 0), ()),
            ("request 2^32 - 1", header(0xFFFFFFFF, 1, 0), ()),
            ("a request of another kind of device", header(20, 1, 8) + bytes(8), ()),
            ("a feature's request without the feature", header(GET_STATUS, 1, 0), ()),
            ("a descriptor too many", header(GET_FEATURES, 1, 0), pipe[:1]),
            ("9 descriptors", header(SET_MEM_TABLE, 1, 8) + bytes(8), pipe[:1] * 9),
            ("200 descriptors", header(SET_MEM_TABLE, 1, 8) + bytes(8), pipe[:1] * 200)):
        front = FrontEnd(daemon.socket)
        try:
            front.send_raw(content, fds)
        except ConnectionError:
            pass  # it has seen enough
        check(f"{what}: hung up on", front.hung_up_on())
        front.close()
    check_is("connections closed for it", daemon.info("broken"), 14)
    note("a good table with a descriptor too many")
    front = FrontEnd(daemon.socket)
    front.greet()
    front.send(SET_MEM_TABLE, front.table(*((GPA + i * MIB, MIB, USER + i * MIB, OFFSET + i * MIB)
                                            for i in range(8))), [front.file] * 9)
    check("hung up on", front.hung_up_on())
    front.close()
    note("messages that end early")
    whole = header(SET_FEATURES, 1, 8) + number(FEATURES)
    for length in range(1, len(whole)):
        front = FrontEnd(daemon.socket)
        front.send_raw(whole[:length], pipe[:1])
        front.close()
    works(daemon).close()
    for fd in pipe:
        os.close(fd)


def noise(daemon):
    """random bytes, and good messages with random contents"""
    chance = random.Random(1)
    file = os.memfd_create("noise")
    os.ftruncate(file, 4 * MIB)
    requests = [r for r in range(1, 45) if r != GET_FEATURES]
    for _ in range(150):
        front = FrontEnd(daemon.socket)
        try:
            if chance.random() < 0.2:
                front.send_raw(chance.randbytes(chance.randrange(1, 400)))
            else:
                front.start()
                for _ in range(chance.randrange(1, 12)):
                    payload = b"".join(
                        struct.pack("=I", chance.choice((0, 1, 2, 3, 4, 8, 64, 4096, 1 << 20,
                                                         GPA >> 32, 0xFFFFFFFF)))
                        for _ in range(chance.choice((0, 1, 2, 2, 2, 4, 10, 18))))
                    fds = [chance.choice((file, front.rings[0].kick, 0))] * chance.choice(
                        (0, 0, 1, 1, 2))
                    front.send(chance.choice(requests), payload, fds, chance.choice((1, 9)))
        except (ConnectionError, rig.Wrong):
            pass
        front.close()
    until("the connection is closed", lambda: not daemon.info("connected"))
    works(daemon).close()


def hostile_tables(daemon):
    """memory tables that cannot be: refused, and the one that was there stays"""
    front = works(daemon)
    file = front.file
    end = OFFSET + SIZE
    reader = os.open(f"/proc/self/fd/{file}", os.O_RDONLY)
    folder = os.open(tempfile.gettempdir(), os.O_RDONLY)
    pipe = os.pipe()
    good = (GPA, SIZE, USER, OFFSET)
    top = (1 << 64) - MIB

    def refused(what, payload, fds):
        check_is(what, front.tell(SET_MEM_TABLE, payload, fds), 1)

    refused("no region", front.table(), [])
    refused("9 regions", struct.pack("=II", 9, 0) + bytes(9 * 32), [file] * 8)
    refused("2^32 - 1 regions", struct.pack("=II", 0xFFFFFFFF, 0) + bytes(32), [file])
    refused("more regions than bytes", struct.pack("=II", 2, 0) + bytes(32), [file] * 2)
    refused("no descriptor", front.table(good), [])
    refused("a descriptor too many", front.table(good), [file, file])
    for what, region in (("size 0", (GPA, 0, USER, 0)),
                         ("a size that is no multiple of 4096", (GPA, 4097, USER, 0)),
                         ("an address that is no multiple of 4096", (GPA + 8, MIB, USER, 0)),
                         ("an offset that is no multiple of 4096", (GPA, MIB, USER, 100)),
                         ("a size beyond the file", (GPA, SIZE + 4096, USER, OFFSET)),
                         ("an offset beyond the file", (GPA, MIB, USER, end)),
                         ("an offset that wraps", (GPA, MIB, USER, top + MIB - 4096)),
                         ("a size of 2^64 - 4096", (GPA, (1 << 64) - 4096, USER, 0)),
                         ("guest addresses that wrap", (top, 2 * MIB, USER, 0)),
                         ("guest addresses beyond 16 TiB", ((1 << 44) - 4096, MIB, USER, 0)),
                         ("user addresses that wrap", (GPA, 2 * MIB, top, 0))):
        refused(what, front.table(region), [file])
    refused("guest addresses that overlap",
            front.table((GPA, MIB, USER, 0), (GPA + MIB - 4096, MIB, USER + MIB, 0)), [file] * 2)
    refused("user addresses that overlap",
            front.table((GPA, MIB, USER, 0), (GPA + MIB, MIB, USER + MIB - 4096, 0)), [file] * 2)
    for what, fd in (("a file that cannot be written", reader), ("a directory", folder),
                     ("a pipe", pipe[0]), ("an eventfd", front.rings[0].kick),
                     ("a socket", front.socket.fileno())):
        refused(what, front.table((GPA, MIB, USER, 0)), [fd])
    check_is("requests refused", daemon.info("refused"), 24)
    note("the old table is still in use")
    works(daemon, front)
    check_is("ADD_MEM_REG over what is there",
             front.tell(ADD_MEM_REG, number(0) + struct.pack("=QQQQ", *good), [file]), 1)
    works(daemon, front)
    after_abuse(daemon, front)


def hostile_rings(daemon):
    """rings that cannot be"""
    front = FrontEnd(daemon.socket)
    front.greet()
    front.set_features()
    front.set_memory()
    ring = front.rings[0]

    def refused(what, request, payload, fds=()):
        check_is(what, front.tell(request, payload, fds), 1)

    for index in (5, 255, 1 << 31, 0xFFFFFFFF):
        for request in (SET_VRING_NUM, SET_VRING_BASE, SET_VRING_ENABLE):
            refused(f"request {request}, ring {index}", request, front.state(index, 1))
        refused(f"addresses of ring {index}", SET_VRING_ADDR,
                struct.pack("=IIQQQQ", index, 0, USER, USER, USER, 0))
    refused("addresses before a size", SET_VRING_ADDR, front.ring_addr(ring))
    for size in (0, 3, 2048, 65536, 0xFFFFFFFF):
        refused(f"a ring of {size} entries", SET_VRING_NUM, front.state(0, size))
    refused("position 65536", SET_VRING_BASE, front.state(0, 65536))
    front.do(SET_VRING_NUM, front.state(0, 64))
    for what, places in (("guest addresses for user addresses", (GPA, GPA, GPA)),
                         ("addresses below the memory", (USER - 16, USER, USER)),
                         ("a table beyond its end", (USER + SIZE - 512, USER, USER)),
                         ("a used ring beyond its end", (USER, USER + SIZE - 512, USER)),
                         ("an available ring beyond its end", (USER, USER, USER + SIZE - 100)),
                         ("addresses that wrap", ((1 << 64) - 16,) * 3)):
        refused(what, SET_VRING_ADDR, struct.pack("=IIQQQQ", 0, 0, *places, 0))
    refused("a ring with a log", SET_VRING_ADDR, front.ring_addr(ring, flags=1))
    refused("a kick without a descriptor", SET_VRING_KICK, number(0x100))
    refused("a kick that should have one", SET_VRING_KICK, number(0))
    refused("a kick with a number too large", SET_VRING_KICK, number(0x200), [ring.kick])
    refused("a kick that is a file", SET_VRING_KICK, number(0), [front.file])
    refused("a call with both", SET_VRING_CALL, number(0x100), [ring.call])
    refused("enabled with 2", SET_VRING_ENABLE, front.state(0, 2))
    refused("a back end's channel that is a file", SET_BACKEND_REQ_FD, b"", [front.file])
    note("a ring that is misaligned is found out when it is started")
    for r in front.rings:
        front.set_ring(r)
        front.enable(r)
    front.do(SET_VRING_ADDR, front.ring_addr(ring, offset=USER + 1))
    os.eventfd_write(ring.kick, 1)
    check("hung up on", front.hung_up_on())
    check("the ring's error descriptor", ring.failed())
    after_abuse(daemon, front)


def hostile_config(daemon):
    """configuration space beyond all bounds, answered by nothing"""
    front = works(daemon)
    for offset, size, room in ((0, 257, 257), (250, 8, 8), (0xFFFFFFFF, 4, 4), (0, 8, 4),
                               (0, 0xFFFFFFFF, 0)):
        front.send(GET_CONFIG, struct.pack("=III", offset, size, 0) + bytes(min(room, 256)))
        check_is(f"{size} bytes at {offset}", front.receive(GET_CONFIG), b"")
        check_is(f"writing {size} bytes at {offset}",
                 front.tell(SET_CONFIG, struct.pack("=III", offset, size, 0)
                            + bytes(min(room, 256))), 1)
    front.do(SET_CONFIG, struct.pack("=III", 0, 4, 0) + b"\xff" * 4)
    check_is("the target is the host's", front.read_config(0, 4), bytes(4))
    after_abuse(daemon, front)


def hostile_ring_contents(daemon):
    """what only the driver can do wrong: its device stops, and nothing else"""
    outside = GPA + SIZE
    for what, break_it in (
            ("an available index out of reach",
             lambda ring: ring.put(ring.avail + 2, "<H", 30000)),
            ("a chain that loops",
             lambda ring: (ring.put(ring.desc, "<QIHH", GPA + DATA, 4, 1, 0),
                           ring.put(ring.avail + 4, "<H", 0), ring.put(ring.avail + 2, "<H", 1))),
            ("a descriptor out of range",
             lambda ring: (ring.put(ring.avail + 4, "<H", 9999),
                           ring.put(ring.avail + 2, "<H", 1))),
            ("a buffer outside of memory", lambda ring: ring.offer([(outside, 64, 0)]))):
        before = daemon.info("guest_errors")
        front = FrontEnd(daemon.socket).start()
        ring = front.rings[INFLATE]
        break_it(ring)
        os.eventfd_write(ring.kick, 1)
        until(f"{what}: an error", lambda: daemon.info("guest_errors") == before + 1)
        check(f"{what}: told on the error descriptor", ring.failed())
        check(f"{what}: the connection goes on", front.query(GET_FEATURES)[0] & F_VERSION_1)
        after_abuse(daemon, front)
    front = works(daemon)
    before = daemon.info("balloon.pages_ignored")
    front.rings[INFLATE].offer_bytes(struct.pack("<4I", 0, 0xFFFFFFFF, outside >> 12, GPA >> 11))
    front.rings[INFLATE].wait_used(2)
    check_is("pages outside of memory are ignored", daemon.info("balloon.pages_ignored") - before,
             4)
    works(daemon, front)
    after_abuse(daemon, front)


def shortened_file(daemon):
    """the file of the memory is cut short under the rings"""
    for rest in (0, OFFSET + 0x1000):
        front = works(daemon)
        os.ftruncate(front.file, rest)
        os.eventfd_write(front.rings[INFLATE].kick, 1)
        check("hung up on", front.hung_up_on())
        after_abuse(daemon, front)


def waiting_descriptors(daemon):
    """descriptors that would make a careless back end wait for ever"""
    full = os.eventfd(0)
    os.eventfd_write(full, (1 << 64) - 2)
    ends = os.pipe()
    os.set_blocking(ends[1], False)
    try:
        while True:
            os.write(ends[1], bytes(4096))
    except BlockingIOError:
        os.set_blocking(ends[1], True)
    pair = socket.socketpair()
    pair[1].setblocking(False)
    try:
        while True:
            pair[1].send(bytes(4096))
    except BlockingIOError:
        pair[1].setblocking(True)
    for what, fd in (("an eventfd at its limit", full), ("a pipe that is full", ends[1]),
                     ("a socket that is full", pair[1].fileno()),
                     ("one that cannot be written", ends[0])):
        front = FrontEnd(daemon.socket).start()
        front.do(SET_VRING_CALL, number(INFLATE), [fd])
        works(daemon, front)
        check(f"{what}: the operator is answered", daemon.info("connected"))
        front.close()
        until("the connection is closed", lambda: not daemon.info("connected"))
    note("a doorbell whose other end is closed")
    front = FrontEnd(daemon.socket).start()
    doorbell = os.pipe()
    front.do(SET_VRING_KICK, number(DEFLATE), doorbell[:1])
    os.close(doorbell[1])
    works(daemon, front)
    after_abuse(daemon, front)


def deaf(daemon):
    """a front end that reads no answers"""
    front = FrontEnd(daemon.socket)
    front.socket.settimeout(0.2)
    try:
        for _ in range(100000):
            front.send(GET_FEATURES)
    except (ConnectionError, TimeoutError):
        pass
    until("it is hung up on", lambda: daemon.info("broken") == 1)
    after_abuse(daemon, front)


def without_answers(daemon):
    """what cannot be refused by an answer is refused by hanging up"""
    for what, request, payload, protocol in (
            ("a ring that is not there", SET_VRING_NUM, struct.pack("=II", 9, 64),
             PROTOCOL & ~P_REPLY_ACK),
            ("the position of a ring that is not there", GET_VRING_BASE,
             struct.pack("=II", 9, 0), PROTOCOL),
            ("protocol features that were not offered", SET_PROTOCOL_FEATURES,
             number(1 << 40), P_MQ | P_CONFIG | P_BACKEND_REQ)):
        front = FrontEnd(daemon.socket)
        front.greet(protocol)
        front.send(request, payload)
        check(f"{what}: hung up on", front.hung_up_on())
        check("the log says why", "refused" in daemon.tail())
        after_abuse(daemon, front)


ENTRIES = {
    function.__name__.replace("_", "-"): function
    for function in (negotiation, inflate, config_change, reporting, stats, base, stats_in_flight,
                     suspend, unannounced, enable, early_kick, status, reset_device, memory_slots,
                     reconnect, killed, second_front_end, commands, framing, noise, hostile_tables,
                     hostile_rings, hostile_config, hostile_ring_contents, shortened_file,
                     waiting_descriptors, deaf, without_answers)
}


def run_with(options):
    def run(function):
        daemon = rig.Daemon(options["daemon"])
        try:
            function(daemon)
            if function is not killed:
                daemon.end()
        except (rig.Wrong, OSError) as wrong:
            raise rig.Wrong(f"{wrong}\n    the end of the daemon's log:\n{daemon.tail()}") from None
        finally:
            daemon.kill()
    return run


if __name__ == "__main__":
    rig.main("protocol", ENTRIES, run_with)
