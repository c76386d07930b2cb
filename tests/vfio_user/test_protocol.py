#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""vfio-user, one line per protocol case: test_protocol.py VFU_TEST_SERVER [NAME-PART ...]"""

import atexit
import ctypes
import errno
import fcntl
import json
import mmap
import os
import random
import resource
import select
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import termios
import threading
import time

VERSION, DMA_MAP, DMA_UNMAP, GET_INFO, GET_REGION_INFO, GET_REGION_IO_FDS, GET_IRQ_INFO, SET_IRQS = range(1, 9)
REGION_READ, REGION_WRITE, DMA_READ, DMA_WRITE, RESET, DIRTY_PAGES, WRITE_MULTI, FEATURE = range(9, 17)
MIG_READ, MIG_WRITE = 17, 18
NO_REPLY, ERROR = 0x10, 0x20
MAP_R, MAP_W, MAP_RW, UNMAP_ALL = 1, 2, 3, 2
NONE, BOOL, EVENTFD, MASK, UNMASK, TRIGGER = 1, 2, 4, 8, 16, 32
INTX, MSI, MSIX, ERR, REQ = range(5)
BAR0, BAR1, BAR2, BAR3, BAR4, BAR5, ROM, CONFIG, VGA = range(9)
PAGE = 4096
MAX_XFER = 1 << 20
HDR = struct.Struct("<HHIII")

REGS = {n: i * 8 for i, n in enumerate(
    "map_calls unmap_calls mapped_bytes mapped_count resets connects disconnects "
    "mask_calls last_mask last_unmap last_unmap_size".split())}
REGS.update({n: (16 + i) * 8 for i, n in enumerate(
    "address length value command busy result refuse_map retrigger".split())})
CMD_DMA_READ, CMD_DMA_WRITE, CMD_HOST_READ, CMD_HOST_WRITE = 1, 2, 3, 4
CMD_POSTED, CMD_TRIGGER, CMD_DISCONNECT, CMD_DMA_READ_INLINE, CMD_MAP_FLAGS = 16, 17, 18, 19, 20

libc = ctypes.CDLL(None, use_errno=True)
CAPS = {"capabilities": {"max_msg_fds": 16, "max_data_xfer_size": MAX_XFER, "pgsizes": 4096,
                         "max_dma_maps": 65535, "write_multiple": True,
                         "migration": {"pgsize": 4096, "max_bitmap_size": 1 << 28}}}


class Failed(Exception):
    pass


def check(ok, what="not so"):
    if not ok:
        raise Failed(what)


def equal(a, b, what=""):
    if a != b:
        raise Failed("%s: %r is not %r" % (what or "value", a, b))


def eventfd(value=0):
    fd = libc.eventfd(value, os.O_NONBLOCK | os.O_CLOEXEC)
    check(fd >= 0, "eventfd")
    return fd


def signalled(fd, wait=0.0):
    """The counter of an eventfd, which is reset."""
    if not select.select([fd], [], [], wait)[0]:
        return 0
    return struct.unpack("<Q", os.read(fd, 8))[0]


def memfd(size, fill=None):
    fd = os.memfd_create("guest", os.MFD_CLOEXEC)
    os.ftruncate(fd, size)
    if fill:
        os.pwrite(fd, fill, 0)
    return fd


def version_payload(caps=CAPS, major=0, minor=0, text=None):
    if text is None:
        text = json.dumps(caps).encode() + b"\0"
    return struct.pack("<HH", major, minor) + text


def map_payload(iova, size, offset=0, flags=MAP_RW, argsz=32):
    return struct.pack("<IIQQQ", argsz, flags, offset, iova, size)


def unmap_payload(iova, size, flags=0, argsz=24):
    return struct.pack("<IIQQ", argsz, flags, iova, size)


def region_payload(region, offset, count, data=b""):
    return struct.pack("<QII", offset, region, count) + data


def irq_payload(index, first, count, flags, data=b"", argsz=None):
    return struct.pack("<IIIII", 20 + len(data) if argsz is None else argsz, flags, index, first, count) + data


def multi_payload(writes, count=None):
    out = struct.pack("<Q", len(writes) if count is None else count)
    for region, offset, data, *size in writes:
        out += struct.pack("<QII8s", offset, region, size[0] if size else len(data), data)
    return out


class Client:
    def __init__(self, path, negotiate=True, caps=CAPS):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(20)
        while True:
            try:
                self.sock.connect(path)
                break
            except BlockingIOError:  # many wait at the door
                time.sleep(0.001)
        self.buffer, self.fds, self.next_id = b"", [], random.randrange(65536)
        self.requests = []  # of the server, that came while we waited for a reply
        if negotiate:
            self.ok(VERSION, version_payload(caps))

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.close()

    def close(self):
        self.sock.close()
        for fd in self.fds:
            os.close(fd)
        self.fds = []

    def send_raw(self, data, fds=()):
        if fds:
            n = socket.send_fds(self.sock, [data], list(fds))
            data = data[n:]
        if data:
            self.sock.sendall(data)

    def message(self, command, payload=b"", flags=0, size=None, id=None):
        if id is None:
            id = self.next_id = (self.next_id + 1) & 0xffff
        return HDR.pack(id, command, 16 + len(payload) if size is None else size, flags, 0) + payload

    def send(self, command, payload=b"", fds=(), flags=0, size=None, id=None):
        self.send_raw(self.message(command, payload, flags, size, id), fds)
        return self.next_id if id is None else id

    def wait_until_read(self):
        """Until the server has taken all that was sent."""
        for _ in range(4000):
            if not struct.unpack("i", fcntl.ioctl(self.sock, termios.TIOCOUTQ, b"\0" * 4))[0]:
                return
            time.sleep(0.005)
        raise Failed("the server does not read")

    def recv_exact(self, n):
        while len(self.buffer) < n:
            data, fds, _, _ = socket.recv_fds(self.sock, 1 << 20, 16)
            self.fds += fds
            if not data:
                raise EOFError
            self.buffer += data
        out, self.buffer = self.buffer[:n], self.buffer[n:]
        return out

    def recv(self):
        header = HDR.unpack(self.recv_exact(16))
        return header, self.recv_exact(header[2] - 16)

    def recv_reply(self):
        while True:
            header, payload = self.recv()
            if header[3] & 0xf == 1:
                return header, payload
            self.requests.append((header, payload))

    def recv_request(self):
        if self.requests:
            return self.requests.pop(0)
        header, payload = self.recv()
        equal(header[3] & 0xf, 0, "type of a request")
        return header, payload

    def call(self, command, payload=b"", fds=(), flags=0, size=None):
        """errno (0: success), payload"""
        id = self.send(command, payload, fds, flags, size)
        (rid, rcommand, rsize, rflags, error), reply = self.recv_reply()
        equal((rid, rcommand), (id, command), "id and command of the reply")
        equal(rflags & ~ERROR, 1, "flags of the reply")
        if rflags & ERROR:
            equal(rsize, 16, "size of an error reply")
            check(0 < error < 200, "errno %d" % error)
            return error, b""
        equal(error, 0, "error field")
        return 0, reply

    def ok(self, *args, **kw):
        error, reply = self.call(*args, **kw)
        if error:
            raise Failed("command %d: %s" % (args[0], os.strerror(error)))
        return reply

    def refused(self, want, *args, **kw):
        error, _ = self.call(*args, **kw)
        equal(errno.errorcode.get(error, error), errno.errorcode[want], "errno")

    def gone(self):
        """The server closes, after whatever it still says."""
        try:
            while self.sock.recv(1 << 16):
                pass
            return True
        except ConnectionError:
            return True
        except socket.timeout:
            return False

    def alive(self):
        check(len(self.ok(GET_INFO, struct.pack("<IIII", 16, 0, 0, 0))) == 16, "no longer serves")

    def map(self, iova, size, fd=None, offset=0, flags=MAP_RW):
        self.ok(DMA_MAP, map_payload(iova, size, offset, flags), fds=[] if fd is None else [fd])

    def unmap(self, iova, size, flags=0):
        return struct.unpack("<IIQQ", self.ok(DMA_UNMAP, unmap_payload(iova, size, flags)))[3]

    def read(self, region, offset, count):
        reply = self.ok(REGION_READ, region_payload(region, offset, count))
        equal(reply[:16], region_payload(region, offset, count), "what was read")
        equal(len(reply), 16 + count, "size of a read")
        return reply[16:]

    def write(self, region, offset, data):
        reply = self.ok(REGION_WRITE, region_payload(region, offset, len(data), data))
        equal(reply, region_payload(region, offset, len(data)), "what was written")

    def reg(self, name):
        return struct.unpack("<q", self.read(BAR2, REGS[name], 8))[0]

    def set_reg(self, name, value):
        self.write(BAR2, REGS[name], struct.pack("<Q", value & (1 << 64) - 1))

    def start(self, command, address=0, length=0, value=0):
        self.set_reg("address", address)
        self.set_reg("length", length)
        self.set_reg("value", value)
        self.set_reg("command", command)

    def finish(self):
        for _ in range(2000):
            if not self.reg("busy"):
                return self.reg("result")
            time.sleep(0.005)
        raise Failed("the device is still busy")

    def run(self, *args):
        self.start(*args)
        return self.finish()

    def answer(self, memory):
        """One DMA_READ or DMA_WRITE of the server, with `memory` from address 0 on."""
        (id, command, _, flags, _), payload = self.recv_request()
        address, count = struct.unpack_from("<QQ", payload)
        if command == DMA_READ:
            reply = payload[:16] + bytes(memory[address:address + count])
        else:
            memory[address:address + count] = payload[16:]
            reply = payload[:16]
        if not flags & NO_REPLY:
            self.send_raw(HDR.pack(id, command, 16 + len(reply), 1, 0) + reply)
        return command, address, count

    def irqs(self, *args, fds=(), **kw):
        self.ok(SET_IRQS, irq_payload(*args, **kw), fds=fds)

    def trigger(self, index, vector):
        return self.run(CMD_TRIGGER, index, vector)


class Server:
    def __init__(self, program, *args):
        self.dir = tempfile.TemporaryDirectory()
        self.path = self.dir.name + "/s"
        self.args = [program, self.path] + list(args)
        self.start()

    def start(self):
        self.process = subprocess.Popen(self.args, stdout=subprocess.PIPE)
        atexit.register(self.process.kill)
        equal(self.process.stdout.readline(), b"ready\n", "first line of the server")

    def connect(self, **kw):
        return Client(self.path, **kw)

    def fd_count(self):
        return len(os.listdir("/proc/%d/fd" % self.process.pid))

    def map_count(self):
        """Mappings of files that can be a client's. Sanitizers map and unmap for themselves."""
        with open("/proc/%d/maps" % self.process.pid) as f:
            return sum("memfd:" in line or "/dev/shm" in line or "/tmp/" in line and "rw-s" in line for line in f)

    def idle(self):
        """Once nobody is connected and what a client left behind is gone."""
        for _ in range(400):
            with self.connect() as c:
                if c.reg("connects") == c.reg("disconnects") + 1 and c.reg("mapped_bytes") == 0:
                    return
            time.sleep(0.005)
        raise Failed("sessions that do not end")

    def wait_for(self, predicate, what):
        for _ in range(2000):
            if predicate():
                return
            time.sleep(0.005)
        raise Failed(what)

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            status = self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise Failed("does not end on SIGTERM")
        self.process.stdout.close()
        return status


CASES = []


def case(name, *args):
    def add(function):
        CASES.append((name, function, args))
        return function
    return add


def cases(name, table):
    """One case for each line of a table: NAME: (arguments)"""
    def add(function):
        for key, args in table.items():
            CASES.append(("%s: %s" % (name, key), function, args))
        return function
    return add


# --- version ---------------------------------------------------------------------------------------------------

@case("version: the answer has our capabilities, in a text that ends with NUL")
def _(s):
    with s.connect(negotiate=False) as c:
        reply = c.ok(VERSION, version_payload())
        equal(struct.unpack_from("<HH", reply), (0, 0), "version")
        equal(reply[-1:], b"\0", "last byte")
        check(len(reply) <= len(version_payload()), "longer than QEMU's buffer, which is as large as its request")
        caps = json.loads(reply[4:-1])["capabilities"]
        equal(caps, {"max_msg_fds": 16, "max_data_xfer_size": MAX_XFER, "pgsizes": 4096, "max_dma_maps": 65535,
                     "write_multiple": True}, "capabilities")


@case("version: without JSON")
def _(s):
    with s.connect(negotiate=False) as c:
        reply = c.ok(VERSION, version_payload(text=b""))
        check("write_multiple" not in json.loads(reply[4:-1])["capabilities"], "more than the client knows of")
        c.alive()


@case("version: a higher minor gets ours")
def _(s):
    with s.connect(negotiate=False) as c:
        equal(struct.unpack_from("<HH", c.ok(VERSION, version_payload(minor=7))), (0, 0), "version")


@cases("version refused, and the client may try again", {
    "another major": (errno.EPROTONOSUPPORT, version_payload(major=1)),
    "text without NUL": (errno.EINVAL, version_payload(text=b"{}")),
    "no JSON": (errno.EINVAL, version_payload(text=b"hello\0")),
    "half a JSON": (errno.EINVAL, version_payload(text=b'{"capabilities":{\0')),
    "only NUL": (errno.EINVAL, version_payload(text=b"\0")),
    "an array": (errno.EINVAL, version_payload(text=b"[]\0")),
    "capabilities a number": (errno.EINVAL, version_payload({"capabilities": 5})),
    "max_msg_fds a text": (errno.EINVAL, version_payload({"capabilities": {"max_msg_fds": "x"}})),
    "max_msg_fds negative": (errno.EINVAL, version_payload({"capabilities": {"max_msg_fds": -1}})),
    "max_data_xfer_size 0": (errno.EINVAL, version_payload({"capabilities": {"max_data_xfer_size": 0}})),
    "max_data_xfer_size 1.5": (errno.EINVAL, version_payload({"capabilities": {"max_data_xfer_size": 1.5}})),
    "write_multiple a number": (errno.EINVAL, version_payload({"capabilities": {"write_multiple": 1}})),
    "nested too deep": (errno.EINVAL, version_payload(text=b'{"a":' * 1000 + b"1" + b"}" * 1000 + b"\0")),
    "a text of 1 MiB": (errno.EINVAL, version_payload(text=b" " * (1 << 20) + b"\0")),
})
def _(s, error, payload):
    with s.connect(negotiate=False) as c:
        c.refused(error, VERSION, payload)
        c.ok(VERSION, version_payload())
        c.alive()


@case("version: unknown capabilities are passed over")
def _(s):
    with s.connect(negotiate=False) as c:
        c.ok(VERSION, version_payload({"x": 1, "capabilities": {"twin_socket": {"supported": True}, "y": [1]}}))
        c.alive()


@case("version: a second one is refused")
def _(s):
    with s.connect() as c:
        c.refused(errno.EINVAL, VERSION, version_payload())
        c.alive()


@case("version: with a descriptor is refused")
def _(s):
    with s.connect(negotiate=False) as c:
        fd = memfd(PAGE)
        c.refused(errno.EINVAL, VERSION, version_payload(), fds=[fd])
        os.close(fd)
        c.ok(VERSION, version_payload())


# --- framing ---------------------------------------------------------------------------------------------------

EXAMPLES = {
    # name: command, payload, the least payload, errno at full length
    "VERSION": (VERSION, version_payload(), 4, 0),
    "DMA_MAP": (DMA_MAP, map_payload(0x100000, PAGE), 32, 0),
    "DMA_UNMAP": (DMA_UNMAP, unmap_payload(0x100000, PAGE), 24, 0),
    "DEVICE_GET_INFO": (GET_INFO, struct.pack("<IIII", 16, 0, 0, 0), 16, 0),
    "GET_REGION_INFO": (GET_REGION_INFO, struct.pack("<IIIIQQ", 32, 0, 0, 0, 0, 0), 32, 0),
    "GET_REGION_IO_FDS": (GET_REGION_IO_FDS, struct.pack("<IIII", 16, 0, 0, 0), 16, 0),
    "GET_IRQ_INFO": (GET_IRQ_INFO, struct.pack("<IIII", 16, 0, MSIX, 0), 16, 0),
    "SET_IRQS": (SET_IRQS, irq_payload(MSIX, 0, 4, BOOL | TRIGGER, b"\1\1\0\1"), 24, 0),
    "REGION_READ": (REGION_READ, region_payload(BAR0, 0, 4), 16, 0),
    "REGION_WRITE": (REGION_WRITE, region_payload(BAR0, 0, 4, b"abcd"), 20, 0),
    "WRITE_MULTI": (WRITE_MULTI, multi_payload([(BAR0, 0, b"ab"), (BAR0, 8, b"12345678")]), 56, 0),
    "DEVICE_FEATURE": (FEATURE, struct.pack("<II", 8, 1 << 18 | 1), 8, errno.ENOTTY),
}


@cases("every length from 0 to full, the header telling the truth", EXAMPLES)
def _(s, command, payload, least, full):
    for n in range(len(payload) + 1):
        with s.connect(negotiate=command != VERSION) as c:
            error, _ = c.call(command, payload[:n])
            if n < least:
                equal(error, errno.EINVAL, "errno at %d of %d" % (n, len(payload)))
            elif n == len(payload):
                equal(error, full, "errno at full length")
            c.call(RESET)  # still framed


@cases("the client goes at every byte", EXAMPLES)
def _(s, command, payload, least, full):
    whole = HDR.pack(1, command, 16 + len(payload), 0, 0) + payload
    for n in range(len(whole) + 1):
        with s.connect(negotiate=command != VERSION) as c:
            c.send_raw(whole[:n])
    with s.connect() as c:
        c.alive()


@cases("one byte at a time", EXAMPLES)
def _(s, command, payload, least, full):
    with s.connect(negotiate=command != VERSION) as c:
        for byte in HDR.pack(77, command, 16 + len(payload), 0, 0) + payload:
            c.send_raw(bytes([byte]))
        header, _ = c.recv_reply()
        equal((header[0], header[1], header[4]), (77, command, full), "reply")


@cases("a size smaller than the header ends the session", {str(n): (n,) for n in (0, 1, 15)})
def _(s, size):
    with s.connect() as c:
        c.refused(errno.EINVAL, RESET, size=size)
        check(c.gone(), "still connected")
    with s.connect() as c:
        c.alive()


@case("a message too large is skipped and refused")
def _(s):
    with s.connect() as c:
        for extra in (1, 100, 5 << 20):
            size = MAX_XFER + 64 + extra
            c.refused(errno.EMSGSIZE, REGION_WRITE, b"x" * (size - 16))
        c.alive()


@case("the largest write there is")
def _(s):
    with s.connect() as c:
        data = os.urandom(MAX_XFER)
        c.write(BAR5, 0, data)
        equal(c.read(BAR5, 0, MAX_XFER) == data, True, "same data")


@case("a size of 4 GiB that never comes: the client goes, the server serves")
def _(s):
    with s.connect() as c:
        c.send(RESET, b"x" * 100, size=0xffffffff)
    with s.connect() as c:
        c.alive()


@cases("unknown command", {str(n): (n,) for n in (0, 19, 100, 65535)})
def _(s, command):
    with s.connect() as c:
        c.refused(errno.ENOTSUP, command)
        c.refused(errno.ENOTSUP, command, b"x" * 50)
        c.alive()


@cases("not supported", {"DIRTY_PAGES": (DIRTY_PAGES,), "MIG_DATA_READ": (MIG_READ,), "MIG_DATA_WRITE": (MIG_WRITE,),
                         "DMA_READ from the client": (DMA_READ,), "DMA_WRITE from the client": (DMA_WRITE,)})
def _(s, command):
    with s.connect() as c:
        c.refused(errno.ENOTSUP, command, b"\0" * 16)
        c.alive()


@case("anything before VERSION is refused")
def _(s):
    with s.connect(negotiate=False) as c:
        for name, (command, payload, _, _) in EXAMPLES.items():
            if command != VERSION:
                c.refused(errno.EINVAL, command, payload)
        c.refused(errno.EINVAL, RESET)
        c.ok(VERSION, version_payload())
        equal(c.reg("mapped_count"), 0, "maps")


@case("a client that leaves without VERSION is not the device's business")
def _(s):
    with s.connect() as c:
        before = c.reg("connects"), c.reg("resets")
    for _ in range(3):
        s.connect(negotiate=False).close()
    with s.connect() as c:
        equal((c.reg("connects"), c.reg("resets")), (before[0] + 1, before[1] + 1), "connects and resets")


@case("unknown message types are refused")
def _(s):
    with s.connect() as c:
        for kind in range(2, 16):
            c.refused(errno.EINVAL, RESET, flags=kind)
        c.alive()


@case("replies that nobody waits for are ignored")
def _(s):
    with s.connect() as c:
        for command in (0, RESET, DMA_READ, DMA_WRITE, 999):
            c.send(command, b"\0" * 16, flags=1)
            c.send(command, flags=1 | ERROR)
        c.alive()


@case("a reply before VERSION is refused")
def _(s):
    with s.connect(negotiate=False) as c:
        c.refused(errno.EINVAL, DMA_READ, flags=1)
        c.ok(VERSION, version_payload())


@case("pipelined requests are answered in order, ids echoed")
def _(s):
    with s.connect() as c:
        data = b"".join(c.message(REGION_READ, region_payload(CONFIG, i % 64, 4), id=i * 7 & 0xffff)
                        for i in range(2000))
        threading.Thread(target=c.send_raw, args=(data,)).start()
        for i in range(2000):
            header, payload = c.recv_reply()
            equal(header[0], i * 7 & 0xffff, "id")
            equal(payload[:16], region_payload(CONFIG, i % 64, 4), "reply")


@case("the same id again and again")
def _(s):
    with s.connect() as c:
        c.send_raw(c.message(RESET, id=5) * 10)
        equal([c.recv_reply()[0][0] for _ in range(10)], [5] * 10, "ids")


@case("messages split and merged at random")
def _(s):
    with s.connect() as c:
        rng = random.Random(1)
        data = b"".join(c.message(REGION_WRITE, region_payload(BAR5, 0, n, b"y" * n), id=n)
                        for n in range(1, 400))
        while data:
            n = rng.randrange(1, 700)
            c.send_raw(data[:n])
            data = data[n:]
        for n in range(1, 400):
            equal(c.recv_reply()[0][0], n, "id")


@case("descriptors belong to the message they came with, also when messages are merged")
def _(s):
    with s.connect() as c:
        fd = memfd(PAGE)
        # The fd comes with the first byte of the pair: so it is the first one's.
        pair = c.message(DMA_MAP, map_payload(0, PAGE), id=1) + c.message(DMA_MAP, map_payload(PAGE, PAGE), id=2)
        c.send_raw(pair, fds=[fd])
        equal([c.recv_reply()[0][4] for _ in range(2)], [0, 0], "errors")
        equal(c.run(CMD_MAP_FLAGS, 0), 7, "first map")
        equal(c.run(CMD_MAP_FLAGS, PAGE), 3, "second map")
        os.close(fd)


@case("a descriptor that comes with the body of a message is the message's too")
def _(s):
    with s.connect() as c:
        fd = memfd(PAGE)
        whole = c.message(DMA_MAP, map_payload(0, PAGE), id=1)
        c.send_raw(whole[:20])
        c.send_raw(whole[20:], fds=[fd])
        equal(c.recv_reply()[0][4], 0, "error")
        equal(c.run(CMD_MAP_FLAGS, 0), 7, "map")
        os.close(fd)


@case("descriptors with a command that takes none are refused and closed")
def _(s):
    with s.connect() as c:
        fd = memfd(PAGE)
        before = s.fd_count()
        for _, (command, payload, _, _) in EXAMPLES.items():
            if command not in (DMA_MAP, VERSION):
                c.refused(errno.EINVAL, command, payload, fds=[fd])
        c.refused(errno.EINVAL, RESET, fds=[fd])
        c.refused(errno.ENOTSUP, 99, fds=[fd])
        equal(s.fd_count(), before, "descriptors of the server")
        os.close(fd)


@case("a flood of descriptors: 253 in a message, 253 with every byte of one")
def _(s):
    with s.connect() as c:
        fd = memfd(PAGE)
        before = s.fd_count()
        c.refused(errno.EINVAL, DMA_MAP, map_payload(0, PAGE), fds=[fd] * 253)
        c.refused(errno.EINVAL, RESET, fds=[fd] * 253)
        c.refused(errno.EINVAL, SET_IRQS, irq_payload(MSIX, 0, 17, EVENTFD | TRIGGER), fds=[fd] * 17)
        for byte in c.message(DMA_MAP, map_payload(0, PAGE)):
            c.send_raw(bytes([byte]), fds=[fd] * 253)
        equal(c.recv_reply()[0][4], errno.EINVAL, "errno")
        equal(s.fd_count(), before, "descriptors of the server")
        os.close(fd)
        c.alive()


@case("descriptors of a message that never gets complete are closed")
def _(s):
    fd = memfd(PAGE)
    with s.connect() as c:
        before = s.fd_count()
    for _ in range(20):
        with s.connect() as c:
            c.send_raw(c.message(DMA_MAP, map_payload(0, PAGE))[:30], fds=[fd] * 10)
    os.close(fd)
    with s.connect() as c:
        s.wait_for(lambda: s.fd_count() == before, "descriptors stay open")


@case("no reply when none is wanted, not even an error")
def _(s):
    with s.connect() as c:
        c.send(RESET, flags=NO_REPLY)
        c.send(99, flags=NO_REPLY)
        c.send(REGION_READ, region_payload(BAR0, 0, 4), flags=NO_REPLY)
        c.send(REGION_READ, b"x", flags=NO_REPLY)
        c.send(DMA_MAP, map_payload(0, PAGE), flags=NO_REPLY)
        c.alive()
        equal(c.reg("mapped_count"), 1, "maps")


@case("random bytes, many sessions")
def _(s):
    rng = random.Random(7)
    fd = memfd(PAGE)
    for i in range(150):
        with s.connect(negotiate=i % 3 != 0) as c:
            try:
                for _ in range(20):
                    payload = rng.randbytes(rng.choice((0, 4, 8, 16, 20, 24, 32, 40, 100)))
                    if rng.random() < 0.5:  # small numbers reach further
                        payload = bytes(b if rng.random() < 0.2 else 0 for b in payload)
                    c.send(rng.randrange(0, 20), payload, fds=[fd] * rng.choice((0, 0, 0, 1, 2, 16)),
                           flags=rng.choice((0, 0, NO_REPLY, 1, 0x21)))
                if i % 5 == 0:
                    c.send_raw(rng.randbytes(200))
            except ConnectionError:
                pass
    os.close(fd)
    with s.connect() as c:
        c.alive()


# --- information -----------------------------------------------------------------------------------------------

@case("device info")
def _(s):
    with s.connect() as c:
        equal(struct.unpack("<IIII", c.ok(GET_INFO, struct.pack("<IIII", 16, 0, 0, 0))), (16, 3, 9, 5), "info")
        equal(len(c.ok(GET_INFO, struct.pack("<IIII", 1000, 0, 0, 0))), 16, "size")
        c.refused(errno.EINVAL, GET_INFO, struct.pack("<IIII", 15, 0, 0, 0))


def region_info(c, index, argsz):
    reply = c.ok(GET_REGION_INFO, struct.pack("<IIIIQQ", argsz, 0, index, 0, 0, 0))
    return struct.unpack_from("<IIIIQQ", reply), reply[32:]


@cases("region info", {
    "BAR1 read-only": (BAR1, (32, 1, BAR1, 0, 0x1000, 0)),
    "BAR3 write-only": (BAR3, (32, 2, BAR3, 0, 0x1000, 0)),
    "BAR5": (BAR5, (32, 3, BAR5, 0, 0x200000, 0)),
    "CONFIG": (CONFIG, (32, 3, CONFIG, 0, 256, 0)),
    "VGA, which is not there": (VGA, (32, 0, VGA, 0, 0, 0)),
})
def _(s, index, want):
    with s.connect() as c:
        equal(region_info(c, index, 4096), (want, b""), "info")
        equal(c.fds, [], "descriptors")


@case("region info: capabilities that do not fit are announced, and no fd comes")
def _(s):
    with s.connect() as c:
        for argsz in (32, 33, 63):
            info, caps = region_info(c, BAR0, argsz)
            equal((info[0], info[1], info[3], caps), (64, 15, 32, b""), "info at %d" % argsz)
            equal(c.fds, [], "descriptors")


@case("region info: sparse mmap, and the fd is the region's memory")
def _(s):
    with s.connect() as c:
        info, caps = region_info(c, BAR0, 64)
        equal(info, (64, 15, BAR0, 32, 0x4000, 0), "info")
        equal(struct.unpack("<HHIIIQQ", caps), (1, 1, 0, 1, 0, 0x1000, 0x1000), "sparse capability")
        equal(len(c.fds), 1, "descriptors")
        with mmap.mmap(c.fds[0], PAGE, offset=0x1000) as m:
            m[:5] = b"hello"
            equal(c.read(BAR0, 0x1000, 5), b"hello", "through the region")
            c.write(BAR0, 0x1100, b"there")
            equal(m[0x100:0x105], b"there", "through the mapping")


@case("region info: a region that can be mapped whole has no sparse capability")
def _(s):
    with s.connect() as c:
        info, caps = region_info(c, ROM, 32)
        equal((info, caps), ((32, 5, ROM, 0, 0x2000, 0x3000), b""), "info")
        with mmap.mmap(c.fds[0], PAGE, offset=0x3000) as m:
            equal(m[:4], b"ROM!", "memory")


@cases("region info refused", {"argsz 31": (31, 0), "argsz 0": (0, 0), "index 9": (64, 9), "index -1": (64, 0xffffffff)})
def _(s, argsz, index):
    with s.connect() as c:
        c.refused(errno.EINVAL, GET_REGION_INFO, struct.pack("<IIIIQQ", argsz, 0, index, 0, 0, 0))


@case("region io fds: none")
def _(s):
    with s.connect() as c:
        equal(c.ok(GET_REGION_IO_FDS, struct.pack("<IIII", 4096, 0, BAR0, 0)), struct.pack("<IIII", 16, 0, 0, 0), "reply")
        c.refused(errno.EINVAL, GET_REGION_IO_FDS, struct.pack("<IIII", 15, 0, BAR0, 0))
        c.refused(errno.EINVAL, GET_REGION_IO_FDS, struct.pack("<IIII", 16, 1, BAR0, 0))
        c.refused(errno.EINVAL, GET_REGION_IO_FDS, struct.pack("<IIII", 16, 0, 9, 0))


@cases("irq info", {"INTX": (INTX, 7, 1), "MSI": (MSI, 9, 8), "MSIX": (MSIX, 9, 64), "ERR": (ERR, 9, 1),
                    "REQ": (REQ, 9, 1)})
def _(s, index, flags, count):
    with s.connect() as c:
        reply = c.ok(GET_IRQ_INFO, struct.pack("<IIII", 16, 0, index, 0))
        equal(struct.unpack("<IIII", reply), (16, flags, index, count), "info")
        c.refused(errno.EINVAL, GET_IRQ_INFO, struct.pack("<IIII", 15, 0, index, 0))


@case("irq info: index out of range")
def _(s):
    with s.connect() as c:
        for index in (5, 0xffffffff):
            c.refused(errno.EINVAL, GET_IRQ_INFO, struct.pack("<IIII", 16, 0, index, 0))


@cases("device feature", {
    "probe of migration": (8, 1 << 18 | 1, errno.ENOTTY), "get": (8, 1 << 16 | 2, errno.ENOTTY),
    "set": (8, 1 << 17 | 6, errno.ENOTTY), "probe of all methods": (8, 7 << 16 | 0xffff, errno.ENOTTY),
    "get and set at once": (8, 3 << 16 | 1, errno.EINVAL), "no method": (8, 1, errno.EINVAL),
    "unknown flag": (8, 1 << 19 | 1 << 18 | 1, errno.EINVAL), "argsz 7": (7, 1 << 18 | 1, errno.EINVAL),
})
def _(s, argsz, flags, error):
    with s.connect() as c:
        c.refused(error, FEATURE, struct.pack("<II", argsz, flags))


# --- region access ---------------------------------------------------------------------------------------------

@case("region read and write, every size from 1 to 64 at every offset")
def _(s):
    with s.connect() as c:
        shadow = bytearray(c.read(CONFIG, 0, 256))
        for n in range(1, 65):
            at = n * 3 % (256 - n)
            data = os.urandom(n)
            c.write(CONFIG, at, data)
            shadow[at:at + n] = data
        equal(c.read(CONFIG, 0, 256), bytes(shadow), "config space")


@cases("region read refused", {
    "count 0": (errno.EINVAL, BAR0, 0, 0), "beyond the end": (errno.EINVAL, CONFIG, 253, 4),
    "at the end": (errno.EINVAL, CONFIG, 256, 1), "far out": (errno.EINVAL, CONFIG, 1 << 63, 4),
    "offset wraps": (errno.EINVAL, CONFIG, (1 << 64) - 2, 4), "count 4 GiB": (errno.EINVAL, BAR5, 0, 0xffffffff),
    "over the transfer limit": (errno.EINVAL, BAR5, 0, MAX_XFER + 1), "region not there": (errno.EINVAL, VGA, 0, 1),
    "index 9": (errno.EINVAL, 9, 0, 1), "index -1": (errno.EINVAL, 0xffffffff, 0, 1),
    "write-only": (errno.EPERM, BAR3, 0, 4), "the device fails": (errno.EIO, BAR4, 0, 4),
})
def _(s, error, region, offset, count):
    with s.connect() as c:
        c.refused(error, REGION_READ, region_payload(region, offset, count))
        c.alive()


@cases("region write refused", {
    "count 0": (errno.EINVAL, BAR0, 0, 0, b""), "beyond the end": (errno.EINVAL, CONFIG, 253, 4, b"abcd"),
    "offset wraps": (errno.EINVAL, CONFIG, (1 << 64) - 2, 4, b"abcd"),
    "less data than count": (errno.EINVAL, BAR0, 0, 8, b"abcd"),
    "more data than count": (errno.EINVAL, BAR0, 0, 2, b"abcd"),
    "count 4 GiB": (errno.EINVAL, BAR5, 0, 0xffffffff, b"abcd"),
    "region not there": (errno.EINVAL, VGA, 0, 1, b"a"), "index 9": (errno.EINVAL, 9, 0, 1, b"a"),
    "read-only": (errno.EPERM, BAR1, 0, 4, b"abcd"), "the device fails": (errno.ENXIO, BAR4, 0, 4, b"abcd"),
})
def _(s, error, region, offset, count, data):
    with s.connect() as c:
        c.refused(error, REGION_WRITE, region_payload(region, offset, count, data))
        c.alive()


@case("posted writes happen in order, before the next reply")
def _(s):
    with s.connect() as c:
        for i in range(500):
            c.send(REGION_WRITE, region_payload(BAR0, i % 64 * 4, 4, struct.pack("<I", i)), flags=NO_REPLY)
        equal(c.read(BAR0, 499 % 64 * 4, 4), struct.pack("<I", 499), "last write")
        c.send(REGION_WRITE, region_payload(BAR4, 0, 4, b"fail"), flags=NO_REPLY)
        c.alive()


@case("write multi")
def _(s):
    with s.connect() as c:
        writes = [(BAR0, i * 8, struct.pack("<Q", i * 0x0101010101010101)[:1 + i % 8]) for i in range(200)]
        c.write(BAR0, 0, b"\0" * 1600)
        equal(c.ok(WRITE_MULTI, multi_payload(writes)), struct.pack("<Q", 200), "reply")
        got = c.read(BAR0, 0, 1600)
        for _, at, data in writes:
            equal(got[at:at + len(data)], data, "write at %d" % at)
        c.send(WRITE_MULTI, multi_payload([(BAR0, 0, b"posted")]), flags=NO_REPLY)
        equal(c.read(BAR0, 0, 6), b"posted", "posted")


@case("write multi: none at all")
def _(s):
    with s.connect() as c:
        equal(c.ok(WRITE_MULTI, multi_payload([])), struct.pack("<Q", 0), "reply")


@case("write multi: stops at the first that fails")
def _(s):
    with s.connect() as c:
        c.write(BAR0, 0, b"........")
        c.refused(errno.EPERM, WRITE_MULTI, multi_payload([(BAR0, 0, b"a"), (BAR1, 0, b"b"), (BAR0, 1, b"c")]))
        equal(c.read(BAR0, 0, 2), b"a.", "memory")


@cases("write multi refused", {
    "count too high": (errno.EINVAL, multi_payload([(BAR0, 0, b"a")], count=2)),
    "count too low": (errno.EINVAL, multi_payload([(BAR0, 0, b"a")] * 3, count=2)),
    "count 2^61": (errno.EINVAL, multi_payload([(BAR0, 0, b"a")], count=1 << 61)),
    "count that wraps": (errno.EINVAL, multi_payload([(BAR0, 0, b"a")], count=(1 << 64) // 24 + 1)),
    "9 bytes": (errno.EINVAL, multi_payload([(BAR0, 0, b"a", 9)])),
    "0 bytes": (errno.EINVAL, multi_payload([(BAR0, 0, b"a", 0)])),
    "out of range": (errno.EINVAL, multi_payload([(CONFIG, 250, b"12345678")])),
})
def _(s, error, payload):
    with s.connect() as c:
        c.refused(error, WRITE_MULTI, payload)
        c.alive()


@case("reset reaches the device")
def _(s):
    with s.connect() as c:
        before = c.reg("resets")
        equal(c.ok(RESET), b"", "reply")
        equal(c.reg("resets"), before + 1, "resets")


# --- DMA maps --------------------------------------------------------------------------------------------------

@case("dma map with an fd: the device reads and writes the client's memory")
def _(s):
    fd = memfd(16 * PAGE, b"guest memory")
    with s.connect() as c:
        c.map(0x10000, 16 * PAGE, fd)
        equal(c.run(CMD_HOST_READ, 0x10000, 12), 0, "read")
        equal(c.read(BAR5, 0, 12), b"guest memory", "read")
        c.write(BAR5, 0, b"from the device")
        equal(c.run(CMD_HOST_WRITE, 0x10000 + 15 * PAGE, 15), 0, "write")
        equal(os.pread(fd, 15, 15 * PAGE), b"from the device", "written")
    os.close(fd)


@case("dma map with an offset")
def _(s):
    fd = memfd(4 * PAGE)
    os.pwrite(fd, b"third", 2 * PAGE)
    with s.connect() as c:
        c.map(0, PAGE, fd, offset=2 * PAGE)
        equal(c.run(CMD_HOST_READ, 0, 5), 0, "read")
        equal(c.read(BAR5, 0, 5), b"third", "read")
    os.close(fd)


@case("dma map without an fd has no host memory")
def _(s):
    with s.connect() as c:
        c.map(0, PAGE)
        equal(c.run(CMD_MAP_FLAGS, 0), 3, "flags")


@case("dma map of an ordinary file and of shm")
def _(s):
    with tempfile.TemporaryFile() as f, s.connect() as c:
        f.truncate(2 * PAGE)
        c.map(0, 2 * PAGE, f.fileno())
        c.write(BAR5, 0, b"into a file")
        equal(c.run(CMD_HOST_WRITE, PAGE, 11), 0, "write")
        equal(os.pread(f.fileno(), 11, PAGE), b"into a file", "file")


@case("dma map at the last page of the address space")
def _(s):
    with s.connect() as c:
        c.map((1 << 64) - PAGE, PAGE)
        c.refused(errno.EEXIST, DMA_MAP, map_payload((1 << 64) - 2 * PAGE, 2 * PAGE))
        equal(c.unmap((1 << 64) - PAGE, PAGE), PAGE, "unmapped")


@cases("dma map refused", {
    "size 0": (errno.EINVAL, map_payload(0, 0)), "size unaligned": (errno.EINVAL, map_payload(0, 100)),
    "iova unaligned": (errno.EINVAL, map_payload(100, PAGE)),
    "wraps": (errno.EINVAL, map_payload((1 << 64) - PAGE, 2 * PAGE)),
    "no permission": (errno.EINVAL, map_payload(0, PAGE, flags=0)),
    "unknown flag": (errno.EINVAL, map_payload(0, PAGE, flags=7)), "argsz 31": (errno.EINVAL, map_payload(0, PAGE, argsz=31)),
})
def _(s, error, payload):
    with s.connect() as c:
        c.refused(error, DMA_MAP, payload)
        equal(c.reg("mapped_count"), 0, "maps")


@cases("dma map with an fd refused", {
    "file too short": (errno.EINVAL, map_payload(0, 5 * PAGE)),
    "offset beyond the file": (errno.EINVAL, map_payload(0, PAGE, 4 * PAGE)),
    "offset and size beyond it": (errno.EINVAL, map_payload(0, 2 * PAGE, 3 * PAGE)),
    "offset unaligned": (errno.EINVAL, map_payload(0, PAGE, 100)),
    "offset wraps": (errno.EINVAL, map_payload(0, 2 * PAGE, (1 << 64) - PAGE)),
    "offset negative": (errno.EINVAL, map_payload(0, PAGE, 1 << 63)),
    "size of half the world": (errno.EINVAL, map_payload(0, 1 << 63)),
})
def _(s, error, payload):
    fd = memfd(4 * PAGE)
    with s.connect() as c:
        before = s.fd_count(), s.map_count()
        c.refused(error, DMA_MAP, payload, fds=[fd])
        equal(c.reg("mapped_count"), 0, "maps")
        equal((s.fd_count(), s.map_count()), before, "descriptors and mappings")
    os.close(fd)


@case("dma map: a page that is only half in the file is refused")
def _(s):
    fd = memfd(PAGE + 100)
    with s.connect() as c:
        c.refused(errno.EINVAL, DMA_MAP, map_payload(0, 2 * PAGE), fds=[fd])
        c.map(0, PAGE, fd)
    os.close(fd)


@case("dma map refuses what is no memory: eventfd, pipe, socket, directory, device")
def _(s):
    r, w = os.pipe()
    a, b = socket.socketpair()
    bad = [eventfd(), r, w, a.detach(), b.detach(), os.open("/", os.O_RDONLY), os.open("/dev/null", os.O_RDWR),
           os.open("/dev/zero", os.O_RDWR)]
    with s.connect() as c:
        before = s.fd_count()
        for fd in bad:
            c.refused(errno.EINVAL, DMA_MAP, map_payload(0, PAGE), fds=[fd])
            os.close(fd)
        equal(s.fd_count(), before, "descriptors")


@case("dma map with two descriptors is refused")
def _(s):
    fd = memfd(PAGE)
    with s.connect() as c:
        c.refused(errno.EINVAL, DMA_MAP, map_payload(0, PAGE), fds=[fd, fd])
    os.close(fd)


@case("dma map for writing needs an fd that can be written; for reading it does not")
def _(s):
    with tempfile.NamedTemporaryFile() as f, s.connect() as c:
        f.write(b"r" * PAGE)
        f.flush()
        fd = os.open(f.name, os.O_RDONLY)
        c.refused(errno.EACCES, DMA_MAP, map_payload(0, PAGE), fds=[fd])
        c.map(0, PAGE, fd, flags=MAP_R)
        equal(c.run(CMD_HOST_READ, 0, 4), 0, "read")
        equal(c.read(BAR5, 0, 4), b"rrrr", "read")
        os.close(fd)


@case("dma map that the device refuses leaves nothing behind")
def _(s):
    fd = memfd(PAGE)
    with s.connect() as c:
        before = s.fd_count(), s.map_count()
        c.set_reg("refuse_map", errno.ENOSPC)
        c.refused(errno.ENOSPC, DMA_MAP, map_payload(0, PAGE), fds=[fd])
        equal((s.fd_count(), s.map_count()), before, "descriptors and mappings")
        c.map(0, PAGE, fd)
    os.close(fd)


@case("identical map again is granted, and nothing changes")
def _(s):
    fd, other = memfd(4 * PAGE), memfd(4 * PAGE)
    with s.connect() as c:
        c.map(0, 4 * PAGE, fd)
        calls = c.reg("map_calls")
        c.map(0, 4 * PAGE, fd)
        equal(c.reg("map_calls"), calls, "calls")
        for payload, fds in ((map_payload(0, 4 * PAGE, flags=MAP_R), [fd]), (map_payload(0, 4 * PAGE), [other]),
                             (map_payload(0, 4 * PAGE), []), (map_payload(0, 2 * PAGE), [fd]),
                             (map_payload(PAGE, 2 * PAGE, PAGE), [fd]), (map_payload(3 * PAGE, 2 * PAGE), [])):
            c.refused(errno.EEXIST, DMA_MAP, payload, fds=fds)
        c.map(8 * PAGE, PAGE)
        c.map(8 * PAGE, PAGE)
        c.refused(errno.EEXIST, DMA_MAP, map_payload(0, 16 * PAGE))
        equal(c.reg("mapped_bytes"), 5 * PAGE, "bytes")
    os.close(fd)
    os.close(other)


@case("a read-only map is mapped read-only, also beside a writable one of the same file")
def _(s):
    fd = memfd(2 * PAGE)
    with s.connect() as c:
        before = s.map_count()
        c.map(0, PAGE, fd)
        c.map(PAGE, PAGE, fd, offset=PAGE, flags=MAP_R)
        with open("/proc/%d/maps" % s.process.pid) as f:
            modes = sorted(line.split()[1] for line in f if "memfd:guest" in line)
        equal(modes, ["r--s", "rw-s"], "mappings")
        equal(c.run(CMD_MAP_FLAGS, PAGE), 5, "flags")
        c.unmap(0, 0, UNMAP_ALL)
        equal(s.map_count(), before, "mappings")
    os.close(fd)


@case("one mapping for a file, however many pages of it are lent, in any order")
def _(s):
    fd = memfd(256 * PAGE)
    order = list(range(256))
    random.Random(3).shuffle(order)
    with s.connect() as c:
        before = s.map_count(), s.fd_count()
        for page in order:
            c.map(page * 2 * PAGE, PAGE, fd, offset=page * PAGE)
        equal(s.map_count() - before[0], 1, "mappings")
        equal(s.fd_count(), before[1], "descriptors")
        for page in order[:-1]:
            equal(c.unmap(page * 2 * PAGE, PAGE), PAGE, "unmapped")
        equal(s.map_count() - before[0], 1, "mappings while one page is left")
        c.unmap(order[-1] * 2 * PAGE, PAGE)
        equal(s.map_count(), before[0], "mappings")
    os.close(fd)


@case("a file that grows: what was mapped stays, the rest is reached too")
def _(s):
    fd = memfd(PAGE, b"one")
    with s.connect() as c:
        before = s.map_count()
        c.map(0, PAGE, fd)
        os.ftruncate(fd, 3 * PAGE)
        os.pwrite(fd, b"three", 2 * PAGE)
        c.map(PAGE, PAGE, fd, offset=2 * PAGE)
        for iova, want in ((0, b"one"), (PAGE, b"three")):
            equal(c.run(CMD_HOST_READ, iova, len(want)), 0, "read")
            equal(c.read(BAR5, 0, len(want)), want, "data")
        c.unmap(0, 0, UNMAP_ALL)
        equal(s.map_count(), before, "mappings")
    os.close(fd)


@case("many files: bounded, and refused beyond")
def _(s):
    with s.connect() as c:
        before = s.map_count()
        for i in range(1025):
            fd = memfd(PAGE)
            error, _ = c.call(DMA_MAP, map_payload(i * PAGE, PAGE), fds=[fd])
            os.close(fd)
            if error:
                break
        equal((i, error), (1024, errno.ENOSPC), "files and errno")
        c.unmap(0, 0, UNMAP_ALL)
        equal(s.map_count(), before, "mappings")


@case("huge sparse files cannot eat the server's address space")
def _(s):
    with s.connect() as c:
        error = 0
        for i in range(40):
            fd = memfd(1 << 40)
            error, _ = c.call(DMA_MAP, map_payload(i * PAGE, PAGE), fds=[fd])
            os.close(fd)
            if error:
                break
        # Under a sanitizer the address space itself is smaller than the limit.
        check(i <= 16 and error in (errno.ENOSPC, errno.ENOMEM), "%d files of 1 TiB, errno %d" % (i, error))
        c.alive()


# --- DMA unmap -------------------------------------------------------------------------------------------------

@case("unmap: exactly")
def _(s):
    with s.connect() as c:
        c.map(0, 4 * PAGE)
        equal(c.unmap(0, 4 * PAGE), 4 * PAGE, "unmapped")
        equal((c.reg("mapped_bytes"), c.reg("last_unmap"), c.reg("last_unmap_size")), (0, 0, 4 * PAGE), "calls")


@case("unmap: of nothing succeeds, and again")
def _(s):
    with s.connect() as c:
        for _ in range(2):
            equal(c.unmap(0, 1 << 40), 0, "unmapped")
        c.map(0, PAGE)
        equal(c.unmap(PAGE, PAGE), 0, "unmapped beside it")
        equal([c.unmap(0, PAGE), c.unmap(0, PAGE)], [PAGE, 0], "unmapped twice")


@case("unmap: one over many maps and holes")
def _(s):
    with s.connect() as c:
        for i in range(50):
            c.map(i * 3 * PAGE, PAGE)
        calls = c.reg("unmap_calls")
        equal(c.unmap(0, 1 << 30), 50 * PAGE, "unmapped")
        equal(c.reg("unmap_calls") - calls, 50, "calls")


@case("unmap: QEMU's windows over the whole address space")
def _(s):
    with s.connect() as c:
        for i in range(20):
            c.map(0x1000 << i, PAGE)
        total, at = 0, 0
        for bits in [12] + list(range(12, 63)):
            total += c.unmap(at, 1 << bits)
            at += 1 << bits
        total += c.unmap(1 << 63, 1 << 63)
        equal((total, c.reg("mapped_bytes")), (20 * PAGE, 0), "unmapped")


@case("unmap: ALL")
def _(s):
    with s.connect() as c:
        c.map(0, PAGE)
        c.map(1 << 40, PAGE)
        c.map((1 << 64) - PAGE, PAGE)
        equal(c.unmap(0, 0, UNMAP_ALL), 3 * PAGE, "unmapped")
        equal(c.unmap(0, 0, UNMAP_ALL), 0, "unmapped")
        equal(c.reg("mapped_bytes"), 0, "bytes")


@cases("unmap refused", {
    "size 0": (unmap_payload(0, 0),), "size unaligned": (unmap_payload(0, 100),),
    "iova unaligned": (unmap_payload(100, PAGE),), "wraps": (unmap_payload((1 << 64) - PAGE, 2 * PAGE),),
    "ALL with a size": (unmap_payload(0, PAGE, UNMAP_ALL),), "ALL with an iova": (unmap_payload(PAGE, 0, UNMAP_ALL),),
    "dirty bitmap": (unmap_payload(0, PAGE, 1),), "unknown flag": (unmap_payload(0, PAGE, 8),),
    "argsz 23": (unmap_payload(0, PAGE, argsz=23),),
})
def _(s, payload):
    with s.connect() as c:
        c.map(0, 4 * PAGE)
        c.refused(errno.EINVAL, DMA_UNMAP, payload)
        equal(c.reg("mapped_bytes"), 4 * PAGE, "bytes")


@case("unmap: bisects a map, and the pieces keep their memory")
def _(s):
    fd = memfd(8 * PAGE)
    for i in range(8):
        os.pwrite(fd, b"page %d" % i, i * PAGE)
    with s.connect() as c:
        before = s.map_count()
        c.map(0x100000, 8 * PAGE, fd)
        equal(c.unmap(0x100000 + 3 * PAGE, 2 * PAGE), 2 * PAGE, "unmapped")
        equal((c.reg("last_unmap"), c.reg("last_unmap_size")), (0x100000 + 3 * PAGE, 2 * PAGE), "call")
        for i in range(8):
            if i in (3, 4):
                equal(c.run(CMD_HOST_READ, 0x100000 + i * PAGE, 6), -errno.EFAULT, "hole")
                continue
            equal(c.run(CMD_HOST_READ, 0x100000 + i * PAGE, 6), 0, "read")
            equal(c.read(BAR5, 0, 6), b"page %d" % i, "data")
        # The hole can be filled, the pieces are identical maps of their own, and what overlaps is refused.
        c.map(0x100000, 3 * PAGE, fd)
        c.map(0x100000 + 5 * PAGE, 3 * PAGE, fd, offset=5 * PAGE)
        c.refused(errno.EEXIST, DMA_MAP, map_payload(0x100000 + 4 * PAGE, 2 * PAGE), fds=[fd])
        c.map(0x100000 + 3 * PAGE, 2 * PAGE, fd, offset=3 * PAGE)
        equal(c.unmap(0x100000, 8 * PAGE), 8 * PAGE, "all of it")
        equal(s.map_count(), before, "mappings")
    os.close(fd)


@case("unmap: against a model, 3000 random maps and unmaps")
def _(s):
    rng = random.Random(11)
    fd = memfd(64 * PAGE)
    owner = [None] * 64  # which map a page belongs to
    with s.connect() as c:
        for i in range(3000):
            first = rng.randrange(64)
            size = rng.randrange(1, 1 + min(12, 64 - first))
            if rng.random() < 0.6:
                taken = any(owner[first:first + size])
                error, _ = c.call(DMA_MAP, map_payload(first * PAGE, size * PAGE, first * PAGE), fds=[fd])
                if not taken:
                    equal(error, 0, "map %d" % i)
                    owner[first:first + size] = [i + 1] * size
                else:
                    # Only one map, of exactly these pages, makes it identical.
                    same = (len(set(owner[first:first + size])) == 1 and owner[first] is not None
                            and (first == 0 or owner[first - 1] != owner[first])
                            and (first + size == 64 or owner[first + size] != owner[first]))
                    equal(error, 0 if same else errno.EEXIST, "map %d over something" % i)
            else:
                want = sum(o is not None for o in owner[first:first + size]) * PAGE
                equal(c.unmap(first * PAGE, size * PAGE), want, "unmap %d" % i)
                owner[first:first + size] = [None] * size
                # What is left behind the hole is a map of its own now.
                for j in range(first + size, 64):
                    if owner[j] is None or first == 0 or owner[j] != owner[first - 1]:
                        break
                    owner[j] = -(i + 1)
        equal(c.reg("mapped_bytes"), sum(o is not None for o in owner) * PAGE, "bytes")
    os.close(fd)


@case("a client that dies leaves no map, mapping or descriptor")
def _(s):
    fd = memfd(64 * PAGE)
    with s.connect() as c:
        before = s.fd_count(), s.map_count()
        resets, ends = c.reg("resets"), c.reg("disconnects")
    for i in range(5):
        with s.connect() as c:
            for page in range(64):
                c.map(page * PAGE, PAGE, fd, offset=page * PAGE)
            c.irqs(MSIX, 0, 4, EVENTFD | TRIGGER, fds=[eventfd_once()] * 4)
    with s.connect() as c:
        equal((c.reg("mapped_bytes"), c.reg("mapped_count")), (0, 0), "maps")
        equal((c.reg("resets") - resets, c.reg("disconnects") - ends), (6, 6), "resets and disconnects")
        equal((s.fd_count(), s.map_count()), before, "descriptors and mappings")
    os.close(fd)


def eventfd_once(cache=[]):
    if not cache:
        cache.append(eventfd())
    return cache[0]


@case("65,535 maps of one file, then no more; look-ups stay fast; unmapped one by one and at once")
def _(s):
    fd = memfd(65535 * PAGE)
    begin = time.monotonic()
    with s.connect() as c:
        before = s.map_count()

        def pipeline(messages, want=0):
            def feed():
                for data, fds in messages:
                    c.send_raw(data, fds)
            sender = threading.Thread(target=feed)
            sender.start()
            for i in range(len(messages)):
                equal(c.recv_reply()[0][4], want, "errno of %d" % i)
            sender.join()

        # From the top down: the worst order for a sorted array.
        pages = list(range(65535))[::-1]
        pipeline([(c.message(DMA_MAP, map_payload(p * 2 * PAGE, PAGE, p * PAGE)), [fd]) for p in pages])
        equal(c.reg("mapped_bytes"), 65535 * PAGE, "bytes")
        equal(s.map_count() - before, 1, "mappings")
        c.refused(errno.ENOSPC, DMA_MAP, map_payload(1 << 40, PAGE), fds=[fd])
        c.map(65534 * 2 * PAGE, PAGE, fd, offset=65534 * PAGE)
        random.Random(5).shuffle(pages)
        pipeline([(c.message(DMA_UNMAP, unmap_payload(p * 2 * PAGE, PAGE)), []) for p in pages[:30000]])
        equal(c.unmap(0, 0, UNMAP_ALL), 35535 * PAGE, "unmapped")
        equal(s.map_count(), before, "mappings")
    os.close(fd)
    took = time.monotonic() - begin
    check(took < 60, "took %.1f s" % took)


# --- interrupts ------------------------------------------------------------------------------------------------

@case("irqs: an eventfd is signalled")
def _(s):
    with s.connect() as c:
        fds = [eventfd() for _ in range(4)]
        c.irqs(MSIX, 10, 4, EVENTFD | TRIGGER, fds=fds)
        equal(c.trigger(MSIX, 12), 1, "trigger")
        equal([signalled(fd) for fd in fds], [0, 0, 1, 0], "eventfds")
        equal([c.trigger(MSIX, 9), c.trigger(MSIX, 14), c.trigger(MSI, 0)], [0, 0, 0], "not set")
        equal([c.trigger(MSIX, 64), c.trigger(5, 0), c.trigger(1000, 1000)], [0, 0, 0], "not there")
        for fd in fds:
            os.close(fd)


@case("irqs: replaced and taken away, without a leak")
def _(s):
    with s.connect() as c:
        a, b = eventfd(), eventfd()
        before = s.fd_count()
        c.irqs(MSIX, 0, 1, EVENTFD | TRIGGER, fds=[a])
        c.irqs(MSIX, 0, 1, EVENTFD | TRIGGER, fds=[b])
        equal(s.fd_count(), before + 1, "descriptors")
        c.trigger(MSIX, 0)
        equal([signalled(a), signalled(b)], [0, 1], "eventfds")
        c.irqs(MSIX, 0, 1, EVENTFD | TRIGGER)
        equal(c.trigger(MSIX, 0), 0, "after it was taken away")
        equal(s.fd_count(), before, "descriptors")
        os.close(a)
        os.close(b)


@case("irqs: all 64 taken away with one message without descriptors")
def _(s):
    with s.connect() as c:
        fd = eventfd()
        before = s.fd_count()
        for i in range(0, 64, 16):
            c.irqs(MSIX, i, 16, EVENTFD | TRIGGER, fds=[fd] * 16)
        equal(s.fd_count(), before + 64, "descriptors")
        c.irqs(MSIX, 0, 64, EVENTFD | TRIGGER)
        equal(s.fd_count(), before, "descriptors")
        os.close(fd)


@case("irqs: count 0 switches an index off")
def _(s):
    with s.connect() as c:
        fd = eventfd()
        before = s.fd_count()
        c.irqs(MSIX, 0, 16, EVENTFD | TRIGGER, fds=[fd] * 16)
        c.irqs(MSI, 0, 8, EVENTFD | TRIGGER, fds=[fd] * 8)
        c.irqs(MSIX, 0, 0, NONE | TRIGGER)
        equal(s.fd_count(), before + 8, "descriptors")
        equal([c.trigger(MSIX, 0), c.trigger(MSI, 7)], [0, 1], "triggers")
        os.close(fd)


@case("irqs: VFIO's array with -1 in it")
def _(s):
    with s.connect() as c:
        a, b = eventfd(), eventfd()
        c.irqs(MSIX, 0, 4, EVENTFD | TRIGGER, struct.pack("<iiii", -1, 5, -1, 6), fds=[a, b])
        equal([c.trigger(MSIX, i) for i in range(4)], [0, 1, 0, 1], "triggers")
        equal([signalled(a), signalled(b)], [1, 1], "eventfds")
        c.irqs(MSIX, 0, 2, EVENTFD | TRIGGER, struct.pack("<ii", -1, -1))
        equal([c.trigger(MSIX, i) for i in range(4)], [0, 0, 0, 1], "triggers")
        c.refused(errno.EINVAL, SET_IRQS, irq_payload(MSIX, 0, 2, EVENTFD | TRIGGER, struct.pack("<ii", 1, -1)), fds=[a, b])
        c.refused(errno.EINVAL, SET_IRQS, irq_payload(MSIX, 0, 2, EVENTFD | TRIGGER, struct.pack("<ii", 1, 1)), fds=[a])
        os.close(a)
        os.close(b)


@cases("set irqs refused", {
    "index 5": (errno.EINVAL, irq_payload(5, 0, 1, NONE | TRIGGER)),
    "index -1": (errno.EINVAL, irq_payload(0xffffffff, 0, 1, NONE | TRIGGER)),
    "start out of range": (errno.EINVAL, irq_payload(MSIX, 65, 0, NONE | TRIGGER)),
    "range over the end": (errno.EINVAL, irq_payload(MSIX, 60, 5, NONE | TRIGGER)),
    "count 2^32 - 1": (errno.EINVAL, irq_payload(MSIX, 1, 0xffffffff, NONE | TRIGGER)),
    "start + count wraps": (errno.EINVAL, irq_payload(MSIX, 0xffffffff, 2, NONE | TRIGGER)),
    "two kinds of data": (errno.EINVAL, irq_payload(MSIX, 0, 1, NONE | BOOL | TRIGGER, b"\1")),
    "no kind of data": (errno.EINVAL, irq_payload(MSIX, 0, 1, TRIGGER)),
    "two actions": (errno.EINVAL, irq_payload(MSIX, 0, 1, NONE | TRIGGER | MASK)),
    "no action": (errno.EINVAL, irq_payload(MSIX, 0, 1, NONE)),
    "unknown flag": (errno.EINVAL, irq_payload(MSIX, 0, 1, NONE | TRIGGER | 64)),
    "argsz 19": (errno.EINVAL, irq_payload(MSIX, 0, 1, NONE | TRIGGER, argsz=19)),
    "bools missing": (errno.EINVAL, irq_payload(MSIX, 0, 4, BOOL | TRIGGER, b"\1\1\1")),
    "count 0 with mask": (errno.EINVAL, irq_payload(MSIX, 0, 0, NONE | MASK)),
    "count 0 with bool": (errno.EINVAL, irq_payload(MSIX, 0, 0, BOOL | TRIGGER)),
    "count 0 with eventfd": (errno.EINVAL, irq_payload(MSIX, 0, 0, EVENTFD | TRIGGER)),
    "count 0 with start": (errno.EINVAL, irq_payload(MSIX, 3, 0, NONE | TRIGGER)),
    "mask eventfd of MSI-X": (errno.ENOTTY, irq_payload(MSIX, 0, 1, EVENTFD | MASK)),
})
def _(s, error, payload):
    with s.connect() as c:
        c.refused(error, SET_IRQS, payload)
        c.alive()


@case("set irqs refuses descriptors that are no eventfds, too many and too few, and closes them")
def _(s):
    with s.connect() as c:
        r, w = os.pipe()
        good, mem, epoll = eventfd(), memfd(PAGE), select.epoll()
        before = s.fd_count()
        for bad in (r, w, mem, epoll.fileno()):
            c.refused(errno.EINVAL, SET_IRQS, irq_payload(MSIX, 0, 2, EVENTFD | TRIGGER), fds=[good, bad])
        c.refused(errno.EINVAL, SET_IRQS, irq_payload(MSIX, 0, 2, EVENTFD | TRIGGER), fds=[good])
        c.refused(errno.EINVAL, SET_IRQS, irq_payload(MSIX, 0, 2, EVENTFD | TRIGGER), fds=[good] * 3)
        c.refused(errno.EINVAL, SET_IRQS, irq_payload(MSIX, 0, 2, NONE | TRIGGER), fds=[good])
        c.refused(errno.EINVAL, SET_IRQS, irq_payload(MSIX, 0, 17, EVENTFD | TRIGGER), fds=[good] * 16)
        equal(s.fd_count(), before, "descriptors")
        equal(c.trigger(MSIX, 0), 0, "half of a refused request")
        for fd in (r, w, good, mem):
            os.close(fd)
        epoll.close()


@case("irqs: a full eventfd does not stop the device")
def _(s):
    with s.connect() as c:
        fd = libc.eventfd(0, os.O_CLOEXEC)  # blocking
        os.write(fd, struct.pack("<Q", (1 << 64) - 2))
        c.irqs(MSIX, 0, 1, EVENTFD | TRIGGER, fds=[fd])
        equal(c.trigger(MSIX, 0), 1, "trigger")
        c.alive()
        os.close(fd)


@case("irqs: masked ones wait, and come once at the unmask")
def _(s):
    with s.connect() as c:
        fd = eventfd()
        c.irqs(MSIX, 0, 1, EVENTFD | TRIGGER, fds=[fd])
        c.irqs(MSIX, 0, 1, NONE | MASK)
        equal([c.trigger(MSIX, 0), c.trigger(MSIX, 0), signalled(fd)], [1, 1, 0], "while masked")
        c.irqs(MSIX, 0, 1, NONE | UNMASK)
        equal(signalled(fd), 1, "after the unmask")
        c.irqs(MSIX, 0, 1, NONE | UNMASK)
        equal(signalled(fd), 0, "after another")
        os.close(fd)


@case("irqs: the device hears of masks, in runs")
def _(s):
    with s.connect() as c:
        calls = c.reg("mask_calls")
        c.irqs(MSIX, 4, 8, NONE | MASK)
        equal((c.reg("mask_calls") - calls, c.reg("last_mask") & (1 << 64) - 1), (1, MSIX | 4 << 8 | 8 << 32 | 1 << 63), "mask")
        c.irqs(MSIX, 10, 6, BOOL | UNMASK, b"\1\1\0\0\1\0")
        equal((c.reg("mask_calls") - calls, c.reg("last_mask")), (3, MSIX | 14 << 8 | 1 << 32), "unmask")


@case("irqs: the client triggers them itself")
def _(s):
    with s.connect() as c:
        fds = [eventfd() for _ in range(4)]
        c.irqs(MSI, 0, 4, EVENTFD | TRIGGER, fds=fds)
        c.irqs(MSI, 0, 4, BOOL | TRIGGER, b"\0\1\0\1")
        equal([signalled(fd) for fd in fds], [0, 1, 0, 1], "eventfds")
        c.irqs(MSI, 0, 4, NONE | TRIGGER)
        equal([signalled(fd) for fd in fds], [1, 1, 1, 1], "eventfds")
        for fd in fds:
            os.close(fd)


@case("INTx masks itself when it is triggered")
def _(s):
    with s.connect() as c:
        fd = eventfd()
        c.irqs(INTX, 0, 1, EVENTFD | TRIGGER, fds=[fd])
        equal([c.trigger(INTX, 0), c.trigger(INTX, 0), signalled(fd)], [1, 1, 1], "two triggers, one interrupt")
        c.irqs(INTX, 0, 1, NONE | UNMASK)
        equal(signalled(fd), 1, "the second, after the unmask")
        c.irqs(INTX, 0, 1, NONE | UNMASK)
        equal(signalled(fd), 0, "no third")
        # A line that is still up when it is unmasked: the device triggers again, and that is not doubled.
        c.set_reg("retrigger", 1)
        c.trigger(INTX, 0)
        c.trigger(INTX, 0)
        equal(signalled(fd), 1, "interrupt")
        c.irqs(INTX, 0, 1, NONE | UNMASK)
        equal(signalled(fd), 1, "again")
        c.irqs(INTX, 0, 1, NONE | UNMASK)
        equal(signalled(fd), 0, "and no more")
        os.close(fd)


@case("INTx: mask and unmask by eventfd")
def _(s):
    with s.connect() as c:
        before = s.fd_count()
        trigger, mask, unmask = eventfd(), eventfd(), eventfd()
        c.irqs(INTX, 0, 1, EVENTFD | TRIGGER, fds=[trigger])
        c.irqs(INTX, 0, 1, EVENTFD | MASK, fds=[mask])
        c.irqs(INTX, 0, 1, EVENTFD | UNMASK, fds=[unmask])
        c.irqs(INTX, 0, 1, EVENTFD | UNMASK, fds=[unmask])
        equal(s.fd_count(), before + 3, "descriptors")
        os.write(mask, struct.pack("<Q", 1))
        s.wait_for(lambda: c.reg("last_mask") & (1 << 64) - 1 == 1 << 32 | 1 << 63, "not masked")
        c.trigger(INTX, 0)
        equal(signalled(trigger), 0, "while masked")
        os.write(unmask, struct.pack("<Q", 1))
        equal(signalled(trigger, 5), 1, "after the unmask")
        c.irqs(INTX, 0, 0, NONE | TRIGGER)
        equal(s.fd_count(), before, "descriptors")
        for fd in (trigger, mask, unmask):
            os.close(fd)


@case("irqs: a new eventfd starts unmasked")
def _(s):
    with s.connect() as c:
        fd = eventfd()
        c.irqs(INTX, 0, 1, EVENTFD | TRIGGER, fds=[fd])
        c.trigger(INTX, 0)
        c.irqs(INTX, 0, 1, EVENTFD | TRIGGER, fds=[fd])
        c.trigger(INTX, 0)
        equal(signalled(fd), 2, "interrupts")
        os.close(fd)


# --- memory by message -----------------------------------------------------------------------------------------

@case("dma read by message")
def _(s):
    with s.connect() as c:
        memory = bytearray(os.urandom(PAGE))
        c.start(CMD_DMA_READ, 100, 200)
        equal(c.answer(memory), (DMA_READ, 100, 200), "request")
        equal(c.finish(), 0, "result")
        equal(c.read(BAR5, 0, 200), bytes(memory[100:300]), "data")


@case("dma write by message")
def _(s):
    with s.connect() as c:
        memory = bytearray(PAGE)
        c.write(BAR5, 0, b"the quick brown fox")
        c.start(CMD_DMA_WRITE, 50, 19)
        equal(c.answer(memory), (DMA_WRITE, 50, 19), "request")
        equal(c.finish(), 0, "result")
        equal(bytes(memory[50:69]), b"the quick brown fox", "memory")


@cases("dma write by message, reply", {
    "a bare header": (b"", 0), "access with a count of 4 bytes": (struct.pack("<QI", 0, 8), 0),
    "access with a count of 8 bytes": (struct.pack("<QQ", 0, 8), 0), "of 5 bytes": (b"12345", -errno.EPROTO),
    "with the data": (struct.pack("<QQQ", 0, 8, 0), -errno.EPROTO),
})
def _(s, reply, want):
    with s.connect() as c:
        c.start(CMD_DMA_WRITE, 0, 8)
        (id, command, _, _, _), _ = c.recv_request()
        c.send(command, reply, flags=1, id=id)
        equal(c.finish(), want, "result")


@cases("dma read by message, reply", {
    "short": (struct.pack("<QQ", 0, 8) + b"1234567", 1, 0, -errno.EPROTO),
    "long": (struct.pack("<QQ", 0, 8) + b"123456789", 1, 0, -errno.EPROTO),
    "empty": (b"", 1, 0, -errno.EPROTO), "without data": (struct.pack("<QQ", 0, 8), 1, 0, -errno.EPROTO),
    "another count": (struct.pack("<QQ", 0, 7) + b"12345678", 1, 0, -errno.EPROTO),
    "another address": (struct.pack("<QQ", 1, 8) + b"12345678", 1, 0, -errno.EPROTO),
    "an error": (b"", 1 | ERROR, errno.EFAULT, -errno.EFAULT), "an error without errno": (b"", 1 | ERROR, 0, -errno.EIO),
    "an error that is none": (b"", 1 | ERROR, 0xffffffff, -errno.EIO),
})
def _(s, reply, flags, error, want):
    with s.connect() as c:
        c.start(CMD_DMA_READ, 0, 8)
        (id, command, _, _, _), _ = c.recv_request()
        c.send_raw(HDR.pack(id, command, 16 + len(reply), flags, error) + reply)
        equal(c.finish(), want, "result")
        c.alive()


@case("dma read by message: replies with another id or command are not it")
def _(s):
    with s.connect() as c:
        c.start(CMD_DMA_READ, 0, 8)
        (id, command, _, _, _), payload = c.recv_request()
        c.send(command, payload + b"x" * 8, flags=1, id=id ^ 1)
        c.send(DMA_WRITE, payload, flags=1, id=id)
        equal(c.reg("busy"), 1, "still waits")
        c.send(command, payload + b"12345678", flags=1, id=id)
        equal(c.finish(), 0, "result")
        equal(c.read(BAR5, 0, 8), b"12345678", "data")


@case("dma read by message: a reply byte by byte, between other requests")
def _(s):
    with s.connect() as c:
        c.start(CMD_DMA_READ, 0, 8)
        (id, command, _, _, _), payload = c.recv_request()
        for byte in HDR.pack(id, command, 40, 1, 0) + payload + b"abcdefgh":
            c.send_raw(bytes([byte]))
        equal(c.finish(), 0, "result")


@case("the client's requests are served while a dma read waits")
def _(s):
    with s.connect() as c:
        c.start(CMD_DMA_READ, 0, 8)
        for _ in range(100):
            c.alive()
        c.map(0, PAGE)
        c.unmap(0, PAGE)
        c.answer(bytearray(PAGE))
        equal(c.finish(), 0, "result")


@case("a large dma read and write are split by the client's limit")
def _(s):
    caps = {"capabilities": dict(CAPS["capabilities"], max_data_xfer_size=3000)}
    with s.connect(caps=caps) as c:
        memory = bytearray(os.urandom(10000))
        c.start(CMD_DMA_READ, 0, 10000)
        equal([c.answer(memory)[1:] for _ in range(4)], [(0, 3000), (3000, 3000), (6000, 3000), (9000, 1000)], "reads")
        equal(c.finish(), 0, "result")
        equal(c.read(BAR5, 0, 10000), bytes(memory), "data")
        copy = bytearray(10000)
        c.start(CMD_DMA_WRITE, 0, 10000)
        equal([c.answer(copy)[2] for _ in range(4)], [3000, 3000, 3000, 1000], "writes")
        equal(c.finish(), 0, "result")
        equal(copy, memory, "data")


@case("2 MiB through messages of 1 MiB")
def _(s):
    with s.connect() as c:
        memory = bytearray(os.urandom(2 << 20))
        c.start(CMD_DMA_READ, 0, 2 << 20)
        equal([c.answer(memory)[2] for _ in range(2)], [MAX_XFER, MAX_XFER], "reads")
        equal(c.finish(), 0, "result")
        copy = bytearray(2 << 20)
        c.start(CMD_DMA_WRITE, 0, 2 << 20)
        equal([c.answer(copy)[2] for _ in range(2)], [MAX_XFER, MAX_XFER], "writes")
        equal(c.finish(), 0, "result")
        check(copy == memory, "data differs")


@case("a posted dma write from a callback")
def _(s):
    with s.connect() as c:
        equal(c.run(CMD_POSTED, 0xfee00000, 4, 0x4041), 0, "result")
        (_, command, size, flags, _), payload = c.recv_request()
        equal((command, size, flags, payload), (DMA_WRITE, 36, NO_REPLY, struct.pack("<QQI", 0xfee00000, 4, 0x4041)), "message")
        equal([c.run(CMD_POSTED, 0, n) for n in (0, 9)], [-errno.EINVAL] * 2, "sizes")
        # QEMU answers with an error even though it was told not to.
        c.send(DMA_WRITE, flags=1 | ERROR)
        c.alive()


@case("a dma read inside a callback is refused, not a deadlock")
def _(s):
    with s.connect() as c:
        equal(c.run(CMD_DMA_READ_INLINE, 0), -errno.EDEADLK, "result")


@case("the client dies while a dma read waits")
def _(s):
    for command in (CMD_DMA_READ, CMD_DMA_WRITE):
        with s.connect() as c:
            c.start(command, 0, 8)
            c.recv_request()
        with s.connect() as c:
            equal(c.finish(), -errno.ENOTCONN, "result")


@case("the client dies in the middle of the reply to a dma read")
def _(s):
    with s.connect() as c:
        c.start(CMD_DMA_READ, 0, 1000)
        (id, command, _, _, _), payload = c.recv_request()
        c.send_raw(HDR.pack(id, command, 1032, 1, 0) + payload + b"x" * 500)
    with s.connect() as c:
        equal(c.finish(), -errno.ENOTCONN, "result")


@case("the device ends the session")
def _(s):
    with s.connect() as c:
        ends = c.reg("disconnects")
        c.send(REGION_WRITE, region_payload(BAR2, REGS["command"], 8, struct.pack("<Q", CMD_DISCONNECT)))
        check(c.gone(), "still connected")
    with s.connect() as c:
        equal(c.reg("disconnects"), ends + 1, "disconnects")


# --- sessions --------------------------------------------------------------------------------------------------

@case("a second client is shown out, the first one is served on")
def _(s):
    with s.connect() as c:
        for _ in range(10):
            with s.connect(negotiate=False) as other:
                check(other.gone(), "second client not refused")
            c.alive()
        equal(c.reg("connects"), c.reg("disconnects") + 1, "sessions")


@case("a client that comes as the last one goes gets in")
def _(s):
    for _ in range(200):
        c = s.connect(negotiate=False)
        c.close()
        with s.connect() as c:
            c.alive()


@case("a client that shuts down its sending half only is gone")
def _(s):
    with s.connect() as c:
        c.sock.shutdown(socket.SHUT_WR)
        check(c.gone(), "still connected")


@case("a client that does not read its answers is cut off, and the server stays small")
def _(s):
    with s.connect() as c:
        request = c.message(REGION_READ, region_payload(BAR5, 0, MAX_XFER))
        try:
            for _ in range(200):
                c.send_raw(request)
        except ConnectionError:
            pass
        with open("/proc/%d/status" % s.process.pid) as f:
            high = next(int(line.split()[1]) for line in f if line.startswith("VmHWM"))
        check(c.gone(), "still connected")
    check(high < 600 << 10, "used %d KiB" % high)
    with s.connect() as c:
        c.alive()


@case("a slow reader within the limit gets everything")
def _(s):
    with s.connect() as c:
        data = os.urandom(MAX_XFER)
        c.write(BAR5, 0, data)
        for i in range(10):
            c.send(REGION_READ, region_payload(BAR5, 0, MAX_XFER), id=i)
        time.sleep(0.3)
        for i in range(10):
            header, payload = c.recv_reply()
            equal(header[0], i, "id")
            check(payload[16:] == data, "data differs")


@case("posted dma writes to a client that does not read: -EAGAIN, not a queue without end")
def _(s):
    with s.connect() as c:
        c.set_reg("length", 8)
        write = region_payload(BAR2, REGS["command"], 8, struct.pack("<Q", CMD_POSTED))
        for _ in range(20):
            c.send_raw(c.message(REGION_WRITE, write, flags=NO_REPLY) * 1000)
        c.send(REGION_READ, region_payload(BAR2, REGS["result"], 8), id=1)
        c.wait_until_read()
        header, payload = c.recv_reply()
        equal(struct.unpack("<q", payload[16:])[0], -errno.EAGAIN, "last result")
        check(1000 < len(c.requests) < 20000, "%d messages came" % len(c.requests))
        c.alive()


@case("a client truncates memory that it has lent: its session ends, the device reads zeroes")
def _(s):
    fd = memfd(16 * PAGE, b"x" * 16 * PAGE)
    before = s.map_count()
    for command in (CMD_HOST_READ, CMD_HOST_WRITE):
        with s.connect() as c:
            c.map(0, 16 * PAGE, fd)
            equal(c.run(CMD_HOST_READ, 0, 16), 0, "read")
            os.ftruncate(fd, 0)
            c.start(command, 8 * PAGE, 100)
            check(c.gone(), "still connected")
        os.ftruncate(fd, 16 * PAGE)
    with s.connect() as c:
        c.finish()
        c.map(0, 16 * PAGE, fd)
        equal(c.run(CMD_HOST_READ, 0, 16), 0, "the next client")
        c.unmap(0, 0, UNMAP_ALL)
        equal(s.map_count(), before, "mappings")
    os.close(fd)


# --- servers of their own --------------------------------------------------------------------------------------

@case("own server: map count limit, and an unmap that would cut into too many pieces ends the session")
def _(s):
    own = Server(s.args[0], "--max-maps", "4")
    with own.connect(negotiate=False) as c:
        caps = json.loads(c.ok(VERSION, version_payload())[4:-1])["capabilities"]
        equal(caps["max_dma_maps"], 4, "announced limit")
        for i in range(4):
            c.map(i << 20, 1 << 20)
        c.refused(errno.ENOSPC, DMA_MAP, map_payload(1 << 30, PAGE))
        c.map(0, 1 << 20)
        c.unmap(0, 1 << 20)
        c.map(0, 1 << 20)
        for i in range(4):
            equal(c.unmap((i << 20) + 16 * PAGE, PAGE), PAGE, "bisect")
        c.refused(errno.ENOSPC, DMA_UNMAP, unmap_payload(8 * PAGE, PAGE))
        check(c.gone(), "still connected")
    with own.connect() as c:
        equal(c.reg("mapped_bytes"), 0, "bytes")
    equal(own.stop(), 0, "exit status")


@case("own server: no answer to a dma read in time ends the session")
def _(s):
    own = Server(s.args[0], "--timeout", "100")
    with own.connect() as c:
        c.start(CMD_DMA_READ, 0, 8)
        check(c.gone(), "still connected")
    with own.connect() as c:
        equal(c.finish(), -errno.ETIMEDOUT, "result")
    equal(own.stop(), 0, "exit status")


@case("own server: a device without use for memory maps none")
def _(s):
    own = Server(s.args[0], "--no-dma")
    fd = memfd(PAGE)
    with own.connect() as c:
        before = own.fd_count(), own.map_count()
        c.map(0, PAGE, fd)
        c.map(0, PAGE, fd)
        c.refused(errno.EEXIST, DMA_MAP, map_payload(0, PAGE))
        equal((own.fd_count(), own.map_count()), before, "descriptors and mappings")
        equal(c.unmap(0, PAGE), PAGE, "unmapped")
    os.close(fd)
    equal(own.stop(), 0, "exit status")


@case("own server: ends while a client is connected and a dma read waits, and removes its socket")
def _(s):
    own = Server(s.args[0])
    fd = memfd(PAGE)
    with own.connect() as c:
        c.map(0, PAGE, fd)
        c.start(CMD_DMA_READ, 0, 8)
        c.recv_request()
        equal(own.stop(), 0, "exit status")
        check(c.gone(), "still connected")
    check(not os.path.exists(own.path), "the socket is still there")
    os.close(fd)


@case("own server: a stale socket is replaced, a live one is not, nor is a file")
def _(s):
    own = Server(s.args[0])
    equal(subprocess.run(own.args, stderr=subprocess.DEVNULL).returncode, 1, "a second server")
    with own.connect() as c:
        c.alive()
    own.process.kill()
    own.process.wait()
    check(os.path.exists(own.path), "no stale socket")
    own.process.stdout.close()
    own.start()
    with own.connect() as c:
        c.alive()
    equal(own.stop(), 0, "exit status")
    with open(own.path, "w") as f:
        f.write("precious")
    equal(subprocess.run(own.args, stderr=subprocess.DEVNULL).returncode, 1, "on a file")
    equal(open(own.path).read(), "precious", "file")
    equal(subprocess.run([own.args[0], own.dir.name + "/" + "x" * 200], stderr=subprocess.DEVNULL).returncode, 1, "long path")


@case("own server: without a descriptor left it turns clients away and stays idle")
def _(s):
    own = Server(s.args[0])
    soft, hard = resource.prlimit(own.process.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(own.process.pid, resource.RLIMIT_NOFILE, (own.fd_count(), hard))
    for _ in range(3):
        with own.connect(negotiate=False) as c:
            check(c.gone(), "not refused")
    ticks = lambda: sum(map(int, open("/proc/%d/stat" % own.process.pid).read().split()[13:15]))
    before = ticks()
    time.sleep(0.3)
    check(ticks() - before < 10, "it spins")
    resource.prlimit(own.process.pid, resource.RLIMIT_NOFILE, (soft, hard))
    with own.connect() as c:
        c.alive()
    equal(own.stop(), 0, "exit status")


# --- the runner ------------------------------------------------------------------------------------------------

def run_case(server, name, function, args):
    try:
        function(server, *args)
        if server.process.poll() is not None:
            raise Failed("the server is dead: %d" % server.process.returncode)
        server.idle()
    except Exception as e:  # one case must not hide the others
        print("FAIL %s: %s: %s" % (name, type(e).__name__, e), flush=True)
        if server.process.poll() is not None:
            server.start()
        return False
    print("ok   %s" % name, flush=True)
    return True


def census(server):
    """Descriptors and mappings with one client that does nothing: nothing of the one before it is left then."""
    with server.connect() as c:
        c.alive()
        return server.fd_count(), server.map_count()


def check_leaks(server, before):
    equal(census(server), before, "descriptors and mappings")


def main():
    server = Server(sys.argv[1])
    parts = sys.argv[2:]
    chosen = [c for c in CASES if not parts or any(p in c[0] for p in parts)]
    before = census(server)
    passed = sum(run_case(server, *c) for c in chosen)
    last = [("after all of it: no descriptor and no mapping more than at the start", check_leaks, (before,)),
            ("after all of it: the server ends with status 0", lambda s: equal(s.stop(), 0, "status"), ())]
    total = len(chosen) + len(last)
    passed += run_case(server, *last[0])
    try:
        last[1][1](server)
        passed += 1
        print("ok   " + last[1][0])
    except Failed as e:
        print("FAIL %s: %s" % (last[1][0], e))
    print("%d passed, %d failed" % (passed, total - passed))
    return passed != total


if __name__ == "__main__":
    sys.exit(main())
