# SPDX-License-Identifier: BSD-3-Clause
"""What a client asks of the device before it uses it: info, regions, interrupts, features."""

import errno
import mmap
import struct

from protocol_client import (
    BAR0, BAR1, BAR3, BAR5, CONFIG, ERR, FEATURE, GET_INFO, GET_IRQ_INFO, GET_REGION_INFO, GET_REGION_IO_FDS, INTX,
    MSI, MSIX, PAGE, REQ, ROM, VGA, equal)
from runner import case, cases


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
