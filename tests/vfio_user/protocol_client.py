# SPDX-License-Identifier: BSD-3-Clause
"""The client's side of vfio-user: the messages' codecs, what a test asserts, and a client of the toy device."""

import ctypes
import errno
import fcntl
import json
import os
import random
import select
import socket
import struct
import termios
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
    "mask_calls last_mask last_unmap last_unmap_size most_calls".split())}
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
    return struct.pack("<Q", len(writes) if count is None else count) + b"".join(
        struct.pack("<QII8s", offset, region, size[0] if size else len(data), data)
        for region, offset, data, *size in writes)


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
