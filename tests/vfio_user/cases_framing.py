# SPDX-License-Identifier: BSD-3-Clause
"""Messages on the wire: lengths, types, ids, descriptors that come with them, and bytes of a hostile client."""

import errno
import os
import random
import struct
import threading

from protocol_client import (
    BAR0, BAR5, BOOL, CMD_MAP_FLAGS, CONFIG, DIRTY_PAGES, DMA_MAP, DMA_READ, DMA_UNMAP, DMA_WRITE, ERROR, EVENTFD,
    FEATURE, GET_INFO, GET_IRQ_INFO, GET_REGION_INFO, GET_REGION_IO_FDS, HDR, MAX_XFER, MIG_READ, MIG_WRITE, MSIX,
    NO_REPLY, PAGE, REGION_READ, REGION_WRITE, RESET, SET_IRQS, TRIGGER, VERSION, WRITE_MULTI, check, equal,
    irq_payload, map_payload, memfd, multi_payload, region_payload, unmap_payload, version_payload)
from runner import case, cases

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
