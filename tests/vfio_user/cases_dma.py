# SPDX-License-Identifier: BSD-3-Clause
"""Memory that the client lends: DMA_MAP and DMA_UNMAP."""

import errno
import os
import random
import socket
import tempfile
import threading
import time

from protocol_client import (
    BAR5, CMD_HOST_READ, CMD_HOST_WRITE, CMD_MAP_FLAGS, DMA_MAP, DMA_UNMAP, EVENTFD, MAP_R, MSIX, PAGE, TRIGGER,
    UNMAP_ALL, check, equal, eventfd, map_payload, memfd, unmap_payload)
from runner import case, cases

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


@case("a file that grows a thousand times is mapped a few times, and all pages are right")
def _(s):
    fd, steps = memfd(PAGE), 1000
    with s.connect() as c:
        before = s.map_count(), s.map_bytes()
        for i in range(steps):
            os.ftruncate(fd, (i + 1) * PAGE)
            os.pwrite(fd, b"page %4d" % i, i * PAGE)
            c.map(i << 32, (i + 1) * PAGE, fd)
        check(s.map_count() - before[0] <= 10, "%d mappings of one file" % (s.map_count() - before[0]))
        check(s.map_bytes() - before[1] <= 4 * steps * PAGE, "%d bytes mapped" % (s.map_bytes() - before[1]))
        for i in range(0, steps, 37):
            for page in (0, i // 2, i):
                equal(c.run(CMD_HOST_READ, (i << 32) + page * PAGE, 9), 0, "read")
                equal(c.read(BAR5, 0, 9), b"page %4d" % page, "data")
        c.unmap(0, 0, UNMAP_ALL)
        equal(s.map_count(), before[0], "mappings")
    os.close(fd)


@case("a file that grew is truncated again: the session ends, the server does not")
def _(s):
    fd = memfd(3 * PAGE)
    with s.connect() as c:
        c.map(0, 3 * PAGE, fd)
        os.ftruncate(fd, 5 * PAGE)
        c.map(16 * PAGE, PAGE, fd, offset=4 * PAGE)
        os.ftruncate(fd, 0)
        c.start(CMD_HOST_READ, 16 * PAGE, 8)
        check(c.gone(), "still connected")
    s.idle()
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
