# SPDX-License-Identifier: BSD-3-Clause
"""A small vhost-user front end with a driver of split rings, good or hostile."""
import array
import mmap
import os
import select
import socket
import struct

from rig import MIB, PATIENCE, Wrong, until

GET_FEATURES, SET_FEATURES, SET_OWNER, RESET_OWNER, SET_MEM_TABLE = 1, 2, 3, 4, 5
SET_VRING_NUM, SET_VRING_ADDR, SET_VRING_BASE, GET_VRING_BASE = 8, 9, 10, 11
SET_VRING_KICK, SET_VRING_CALL, SET_VRING_ERR = 12, 13, 14
GET_PROTOCOL_FEATURES, SET_PROTOCOL_FEATURES, GET_QUEUE_NUM, SET_VRING_ENABLE = 15, 16, 17, 18
SET_BACKEND_REQ_FD, GET_CONFIG, SET_CONFIG, RESET_DEVICE = 21, 24, 25, 34
GET_MAX_MEM_SLOTS, ADD_MEM_REG, REM_MEM_REG, SET_STATUS, GET_STATUS = 36, 37, 38, 39, 40

F_STATS, F_REPORTING, F_PROTOCOL, F_VERSION_1 = 1 << 1, 1 << 5, 1 << 30, 1 << 32
FEATURES = F_STATS | F_REPORTING | F_PROTOCOL | F_VERSION_1
P_MQ, P_REPLY_ACK, P_BACKEND_REQ, P_CONFIG = 1 << 0, 1 << 3, 1 << 5, 1 << 9
P_RESET_DEVICE, P_MEM_SLOTS, P_STATUS = 1 << 13, 1 << 15, 1 << 16
PROTOCOL = P_MQ | P_REPLY_ACK | P_BACKEND_REQ | P_CONFIG | P_RESET_DEVICE | P_MEM_SLOTS

# Each kind of address is another number, so that one taken for another cannot work.
GPA, USER, OFFSET = 0x1_0000_0000, 0x7F00_1234_0000, 0x30000
SIZE = 16 * MIB
RING_SIZE = 64
INFLATE, DEFLATE, STATS, REPORT = 0, 1, 2, 3  # Linux's numbers without hinting


class Ring:
    """The driver's side of a split ring at a place in the memory."""

    def __init__(self, memory, index, place):
        self.memory, self.index, self.size = memory, index, RING_SIZE
        self.desc, self.avail, self.used = place, place + 0x1000, place + 0x2000
        self.buffers = place + 0x3000  # one of 1 KiB for each of 32 entries
        self.next = 0
        self.kick, self.call, self.err = (os.eventfd(0, os.EFD_NONBLOCK) for _ in range(3))

    def put(self, place, layout, *values):
        struct.pack_into(layout, self.memory, place, *values)

    def get(self, place, layout):
        return struct.unpack_from(layout, self.memory, place)

    def offer(self, buffers, kick=True):
        """Makes one chain of (address, length, flags) available."""
        head = self.next * 4 % self.size
        for i, (gpa, length, flags) in enumerate(buffers):
            more = 1 if i + 1 < len(buffers) else 0
            self.put(self.desc + 16 * (head + i), "<QIHH", gpa, length, flags | more, head + i + 1)
        self.put(self.avail + 4 + 2 * (self.next % self.size), "<H", head)
        self.next += 1
        self.put(self.avail + 2, "<H", self.next & 0xFFFF)
        if kick:
            os.eventfd_write(self.kick, 1)

    def offer_bytes(self, content, kick=True):
        place = self.buffers + 1024 * (self.next % 16)
        self.memory[place:place + len(content)] = content
        self.offer([(GPA + place, len(content), 0)], kick)

    def offer_pages(self, places, kick=True):
        """Pages, by their place in the memory, as the balloon wants them."""
        self.offer_bytes(b"".join(struct.pack("<I", (GPA + p) >> 12) for p in places), kick)

    def used_index(self):
        return self.get(self.used + 2, "<H")[0]

    def wait_used(self, count):
        until(f"{count} buffers of ring {self.index} are used", lambda: self.used_index() == count)

    def interrupted(self):
        return bool(select.select([self.call], [], [], 0)[0])

    def failed(self):
        return bool(select.select([self.err], [], [], 0)[0])

    def close(self):
        for fd in (self.kick, self.call, self.err):
            os.close(fd)


class FrontEnd:
    """One connection, and memory that outlives it."""

    def __init__(self, path, file=None):
        self.file = os.memfd_create("guest") if file is None else os.dup(file)
        if file is None:
            os.ftruncate(self.file, OFFSET + SIZE)
            # So that what the rings take does not show where memory is measured.
            os.pwrite(self.file, bytes(4 * 0x10000), OFFSET)
        whole = mmap.mmap(self.file, OFFSET + SIZE)
        self.memory = memoryview(whole)[OFFSET:]
        self.rings = [Ring(self.memory, i, 0x10000 * i) for i in range(4)]
        self.backend, self.theirs = socket.socketpair()
        self.ack = False
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(path)
        self.socket.settimeout(PATIENCE)

    # ---- messages ----

    def send_raw(self, content, fds=()):
        if fds:
            self.socket.sendmsg([content], [(socket.SOL_SOCKET, socket.SCM_RIGHTS,
                                             array.array("i", fds))])
        else:
            self.socket.sendall(content)

    def send(self, request, payload=b"", fds=(), flags=1):
        self.send_raw(struct.pack("=III", request, flags, len(payload)) + payload, fds)

    def read(self, length):
        content = b""
        while len(content) < length:
            more = self.socket.recv(length - len(content))
            if not more:
                raise ConnectionResetError("the back end hung up")
            content += more
        return content

    def receive(self, request):
        answered, flags, length = struct.unpack("=III", self.read(12))
        if answered != request or flags != 5:
            raise Wrong(f"an answer to {answered} with flags {flags}, expected {request}, 5")
        return self.read(length)

    def query(self, request, payload=b"", layout="=Q"):
        self.send(request, payload)
        return struct.unpack(layout, self.receive(request))

    def tell(self, request, payload=b"", fds=()):
        """A request without an answer of its own. returns: what REPLY_ACK says, 0 is good"""
        if not self.ack:
            self.send(request, payload, fds)
            return 0
        self.send(request, payload, fds, flags=9)
        return struct.unpack("=Q", self.receive(request))[0]

    def do(self, request, payload=b"", fds=()):
        if self.tell(request, payload, fds) != 0:
            raise Wrong(f"request {request} was refused")

    def hung_up_on(self):
        """Whether the back end closes the connection, whatever it says before."""
        try:
            while self.socket.recv(4096):
                pass
        except ConnectionError:
            pass
        except TimeoutError:
            return False
        return True

    # ---- the steps of setting up ----

    def greet(self, protocol=PROTOCOL):
        self.send(SET_OWNER)
        self.query(GET_FEATURES)
        self.query(GET_PROTOCOL_FEATURES)
        self.send(SET_PROTOCOL_FEATURES, struct.pack("=Q", protocol))
        self.ack = bool(protocol & P_REPLY_ACK)
        if protocol & P_BACKEND_REQ:
            self.do(SET_BACKEND_REQ_FD, fds=[self.theirs.fileno()])

    def set_features(self, features=FEATURES):
        self.do(SET_FEATURES, struct.pack("=Q", features))

    def table(self, *regions):
        """The payload for regions of (gpa, size, user, offset)."""
        return struct.pack("=II", len(regions), 0) + b"".join(
            struct.pack("=QQQQ", *region) for region in regions)

    def set_memory(self):
        self.do(SET_MEM_TABLE, self.table((GPA, SIZE, USER, OFFSET)), [self.file])

    def state(self, index, number):
        return struct.pack("=II", index, number)

    def ring_addr(self, ring, flags=0, offset=USER):
        return struct.pack("=IIQQQQ", ring.index, flags, ring.desc + offset, ring.used + offset,
                           ring.avail + offset, 0)

    def set_ring(self, ring, base=0):
        number = struct.pack("=Q", ring.index)
        self.do(SET_VRING_CALL, number, [ring.call])
        self.do(SET_VRING_ERR, number, [ring.err])
        self.do(SET_VRING_NUM, self.state(ring.index, ring.size))
        self.do(SET_VRING_BASE, self.state(ring.index, base))
        self.do(SET_VRING_ADDR, self.ring_addr(ring))
        self.do(SET_VRING_KICK, number, [ring.kick])

    def enable(self, ring, on=1):
        self.do(SET_VRING_ENABLE, self.state(ring.index, on))

    def get_base(self, ring):
        index, base = self.query(GET_VRING_BASE, self.state(ring.index, 0), "=II")
        if index != ring.index:
            raise Wrong(f"the base of ring {index}, expected that of {ring.index}")
        return base

    def start(self, bases=(0, 0, 0, 0), protocol=PROTOCOL):
        """Everything, as a front end does that knows a driver is ready."""
        self.greet(protocol)
        self.set_features()
        self.set_memory()
        for ring, base in zip(self.rings, bases):
            self.set_ring(ring, base)
        for ring in self.rings:
            self.enable(ring)
        return self

    def read_config(self, offset, length):
        head = struct.pack("=III", offset, length, 0)
        self.send(GET_CONFIG, head + bytes(length))
        return self.receive(GET_CONFIG)[12:]

    def allocated(self):
        return os.fstat(self.file).st_blocks * 512

    def fill(self, places):
        for place in places:
            self.memory[place:place + 4096] = bytes([place >> 12 & 0xFF or 1]) * 4096

    def close(self):
        for end in (self.socket, self.backend, self.theirs):
            end.close()
        if self.file >= 0:
            for ring in self.rings:
                ring.close()
            os.close(self.file)
        self.file = -1
