# SPDX-License-Identifier: BSD-3-Clause
"""Reads and writes of the device's regions, one at a time and many in a message, and reset."""

import errno
import os
import struct

from protocol_client import (
    BAR0, BAR1, BAR3, BAR4, BAR5, CONFIG, MAX_XFER, NO_REPLY, REGION_READ, REGION_WRITE, RESET, VGA, WRITE_MULTI,
    equal, multi_payload, region_payload)
from runner import case, cases


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
