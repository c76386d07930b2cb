# SPDX-License-Identifier: BSD-3-Clause
"""Sessions: who gets in, who is cut off, and what ends one."""

import errno
import os
import socket
import struct
import time

from protocol_client import (
    BAR2, BAR5, CMD_HOST_READ, CMD_HOST_WRITE, CMD_POSTED, MAX_XFER, NO_REPLY, PAGE, REGION_READ, REGION_WRITE, REGS,
    UNMAP_ALL, check, equal, memfd, region_payload)
from runner import case


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
