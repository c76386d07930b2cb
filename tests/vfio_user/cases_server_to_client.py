# SPDX-License-Identifier: BSD-3-Clause
"""Memory by message: the server's own DMA_READ and DMA_WRITE requests to the client."""

import errno
import os
import struct

from protocol_client import (
    BAR2, BAR5, CAPS, CMD_DISCONNECT, CMD_DMA_READ, CMD_DMA_READ_INLINE, CMD_DMA_WRITE, CMD_POSTED, DMA_READ,
    DMA_WRITE, ERROR, HDR, MAX_XFER, NO_REPLY, PAGE, REGION_WRITE, REGS, RESET, check, equal, region_payload)
from runner import case, cases


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


def late(c, request):
    """The answer to a request of the server, after all."""
    (id, command, _, _, _), payload = request
    count = struct.unpack_from("<Q", payload, 8)[0]
    c.send(command, payload[:16] + (b"x" * count if command == DMA_READ else b""), flags=1, id=id)


@cases("a reset lets go of dma that waits, and its late answer is dropped", {
    "read": (CMD_DMA_READ,), "write": (CMD_DMA_WRITE,),
})
def _(s, command):
    caps = {"capabilities": dict(CAPS["capabilities"], max_data_xfer_size=3000)}
    with s.connect(caps=caps) as c:
        for _ in range(3):
            c.start(command, 0, 10000)
            request = c.recv_request()
            c.ok(RESET)
            equal(c.reg("busy"), 0, "still waits")
            equal(c.reg("result"), -errno.ECANCELED, "result")
            late(c, request)
        c.start(command, 0, 8)
        late(c, c.recv_request())
        equal(c.finish(), 0, "result of the next one")


@case("cancelled dma that is never answered is bounded")
def _(s):
    with s.connect() as c:
        owed = []
        for answered in (True, False):
            for _ in range(64):
                c.start(CMD_DMA_READ, 0, 8)
                owed.append(c.recv_request())
                c.ok(RESET)
                equal(c.finish(), -errno.ECANCELED, "result")
            while answered and owed:
                late(c, owed.pop())
        c.start(CMD_DMA_READ, 0, 8)
        c.recv_request()
        c.send(RESET)
        check(c.gone(), "still connected")


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
