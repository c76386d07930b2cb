# SPDX-License-Identifier: BSD-3-Clause
"""What needs a server of its own: options, limits, sockets, and the end."""

import errno
import json
import os
import resource
import struct
import subprocess
import time

from protocol_client import (
    CMD_DMA_READ, DMA_MAP, DMA_UNMAP, EVENTFD, INTX, MASK, MSIX, NONE, PAGE, TRIGGER, UNMASK, VERSION, check,
    equal, eventfd, map_payload, memfd, unmap_payload, version_payload)
from runner import Server, case


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


@case("own server: all files that are lent together have a limit, which is told")
def _(s):
    own = Server(s.args[0], "--max-lent", str(64 * PAGE))
    files = [memfd(32 * PAGE) for _ in range(3)]
    with own.connect() as c:
        c.map(0, PAGE, files[0])
        c.map(PAGE, PAGE, files[1])
        before = own.map_count()
        c.refused(errno.ENOSPC, DMA_MAP, map_payload(2 * PAGE, PAGE), fds=[files[2]])
        os.ftruncate(files[1], 33 * PAGE)
        c.refused(errno.ENOSPC, DMA_MAP, map_payload(2 * PAGE, PAGE, 32 * PAGE), fds=[files[1]])
        equal(own.map_count(), before, "mappings")
        c.unmap(0, PAGE)
        c.map(2 * PAGE, PAGE, files[1], offset=32 * PAGE)
    for fd in files:
        os.close(fd)
    equal(own.stop(), 0, "exit status")


@case("own server: descriptors that the kernel could not pass on are told as what they are")
def _(s):
    own = Server(s.args[0])
    fd = memfd(PAGE)
    with own.connect() as c:
        c.map(0, PAGE, fd)
        limit = resource.prlimit(own.process.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(own.process.pid, resource.RLIMIT_NOFILE, (own.fd_count(), limit[1]))
        c.refused(errno.EMFILE, DMA_MAP, map_payload(PAGE, PAGE), fds=[fd])
        resource.prlimit(own.process.pid, resource.RLIMIT_NOFILE, limit)
        c.map(PAGE, PAGE, fd)
    os.close(fd)
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


@case("own server: an eventfd that is full and blocks holds nobody up")
def _(s):
    own = Server(s.args[0])
    fd = eventfd()
    with own.connect() as c:
        c.sock.settimeout(5)
        c.irqs(MSIX, 0, 1, EVENTFD | TRIGGER, fds=[fd])
        os.set_blocking(fd, True)
        os.write(fd, struct.pack("<Q", (1 << 64) - 2))
        for _ in range(200):  # one fills it
            c.irqs(MSIX, 0, 1, NONE | TRIGGER)
            equal(c.trigger(MSIX, 0), 1, "trigger")
        c.alive()
    with own.connect() as c:
        c.alive()
    os.close(fd)
    equal(own.stop(), 0, "exit status")


@case("own server: a control eventfd that blocks and that somebody reads first holds nobody up")
def _(s):
    own = Server(s.args[0])
    fd = eventfd()
    with own.connect() as c:
        c.sock.settimeout(5)
        # One for both: the read for the one leaves nothing for the other.
        c.irqs(INTX, 0, 1, EVENTFD | MASK, fds=[fd])
        c.irqs(INTX, 0, 1, EVENTFD | UNMASK, fds=[fd])
        os.set_blocking(fd, True)
        for _ in range(10):
            os.write(fd, struct.pack("<Q", 1))
            c.alive()
    os.close(fd)
    equal(own.stop(), 0, "exit status")
