#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Clients that misbehave towards a real viommud, a line a case: test_hostile_client.py VIOMMUD [NAME-PART ...]

After each case viommud serves somebody new, and has no descriptor and no mapping more than before.
"""

import contextlib
import errno
import fcntl
import mmap
import os
import random
import socket
import struct
import sys
import threading
import time

from served import (BAR0, CASES, CONFIG, DATA, DEADLINE, ENTRIES, PAGE, RAM, RAM_SIZE, READ, Daemon, Nvme, case, check,
                    check_serves, equal, memfd, run_cases)
from protocol_client import (DMA_MAP, DMA_READ, DMA_UNMAP, EVENTFD, FEATURE, GET_INFO, GET_IRQ_INFO, GET_REGION_INFO,
                             GET_REGION_IO_FDS, HDR, INTX, MSIX, REGION_READ, REGION_WRITE, RESET, SET_IRQS, TRIGGER,
                             UNMAP_ALL, VERSION, WRITE_MULTI, eventfd, irq_payload, map_payload, multi_payload,
                             region_payload, unmap_payload, version_payload)

VIOMMUD = os.path.abspath(sys.argv[1])
MAPS_MAX = 65535
KERNEL_FDS_MAX = 253  # in one message
SLACK = 4 << 20  # bytes of memory that an allocator may keep
ANSWER_DUE = 5  # seconds that the daemon waits for an answer

# The socket that gets memory, in each of the machines.
MACHINES = {"none": ("--iommu", "none"), "sidecore": (), "trap": ("--registers", "trap")}
MEMORY_SOCKET = {"none": "nvme0", "sidecore": "iommu", "trap": "iommu"}


def on_each_memory_socket(name):
    def add(function):
        for machine in MACHINES:
            CASES.append(("%s: %s of --iommu %s" % (name, MEMORY_SOCKET[machine], machine), function, (machine,)))
        return function
    return add


def memory_client(d, **how):
    return d.connect("iommu" if d.has_unit() else "nvme0", **how)


def is_gone(c):
    check(c.gone(), "it is still connected")


# ---------------------------------------------------------------- descriptors


@on_each_memory_socket("descriptors: as many as a message holds, in messages that want none, one or eventfds")
def _(d):
    fds = [memfd(PAGE)] * KERNEL_FDS_MAX
    with memory_client(d) as c:
        for command, payload in ((DMA_MAP, map_payload(0, PAGE)), (GET_INFO, struct.pack("<IIII", 16, 0, 0, 0)),
                                 (SET_IRQS, irq_payload(INTX, 0, 1, EVENTFD | TRIGGER)), (RESET, b"")):
            for _ in range(20):
                c.call(command, payload, fds=fds)
        c.alive()
    os.close(fds[0])


@on_each_memory_socket("descriptors: sent with each byte of a message that never ends")
def _(d):
    fds = [memfd(PAGE)] * 100
    with memory_client(d) as c:
        for byte in HDR.pack(1, DMA_MAP, 48, 0, 0) + map_payload(0, PAGE)[:-1]:
            c.send_raw(bytes([byte]), fds)
        c.wait_until_read()
        check(d.census()[0] < 200, "it keeps them: %d" % d.census()[0])
    os.close(fds[0])


@on_each_memory_socket("descriptors: connections that send some and go")
def _(d):
    fds = [memfd(PAGE)] * KERNEL_FDS_MAX
    for i in range(200):
        with memory_client(d, negotiate=i % 2) as c, contextlib.suppress(ConnectionError):
            c.send_raw(HDR.pack(1, DMA_MAP, 4096, 0, 0), fds)
    os.close(fds[0])


@on_each_memory_socket("descriptors: of all kinds, as memory and as interrupts")
def _(d):
    with contextlib.ExitStack() as stack:
        pair = [stack.enter_context(s) for s in socket.socketpair()]
        pipe = os.pipe()
        kinds = [pair[0].fileno(), *pipe, os.open("/", os.O_RDONLY), os.open("/dev/zero", os.O_RDWR), eventfd(),
                 os.open("/proc/self/status", os.O_RDONLY), os.open(d.disks[0], os.O_RDONLY)]
        c = stack.enter_context(memory_client(d))
        for fd in kinds:
            error, _ = c.call(DMA_MAP, map_payload(0, PAGE), fds=[fd])
            check(error, "descriptor %d was mapped to be written" % fd)
            c.call(SET_IRQS, irq_payload(MSIX, 0, 1, EVENTFD | TRIGGER), fds=[fd])
        c.alive()
        for fd in kinds[1:]:
            os.close(fd)


# ----------------------------------------------------------------------- sizes


SIZES = (0, 1, 15, 16, 17, 1 << 20, 1 << 21, 0x7fffffff, 0x80000000, 0xffffffff)


@on_each_memory_socket("sizes: any in any header, with little behind it")
def _(d):
    for command in range(20):
        for size in SIZES:
            with memory_client(d) as c, contextlib.suppress(ConnectionError):
                c.send_raw(HDR.pack(1, command, size, 0, 0) + b"\xff" * 64)
    check(d.resident() < 64 << 20, "%d bytes of memory" % d.resident())


@on_each_memory_socket("sizes: of regions, maps and counts, at all edges")
def _(d):
    edges = (0, 1, PAGE - 1, PAGE, PAGE + 1, 1 << 31, 1 << 32, 1 << 46, 1 << 52, 1 << 63, (1 << 64) - PAGE,
             (1 << 64) - 1)
    with memory_client(d) as c:
        fd = memfd(PAGE)
        for a in edges:
            for b in edges:
                c.call(DMA_MAP, map_payload(a, b), fds=[fd])
                c.call(DMA_MAP, map_payload(0, PAGE, b), fds=[fd])
                c.call(DMA_MAP, map_payload(a, b))
                c.call(DMA_UNMAP, unmap_payload(a, b))
                c.call(REGION_READ, region_payload(0, a, b & 0xffffffff))
                c.call(REGION_WRITE, region_payload(7, a, b & 0xffffffff, b"x" * 8))
        c.unmap(0, 0, UNMAP_ALL)
        c.alive()
        os.close(fd)


# ------------------------------------------------------------------------ maps


@on_each_memory_socket("maps: overlapping in every way are refused, and what is there stays")
def _(d):
    with memory_client(d) as c:
        one, other = memfd(8 * PAGE), memfd(8 * PAGE)
        c.map(4 * PAGE, 4 * PAGE, one)
        for first in range(1, 8):
            for pages in range(1, 8):
                if first + pages > 4 and (first, pages) != (4, 4):
                    c.refused(errno.EEXIST, DMA_MAP, map_payload(first * PAGE, pages * PAGE), fds=[other])
        equal(c.unmap(0, 16 * PAGE), 4 * PAGE, "bytes that were mapped")
        c.map(5 * PAGE, PAGE, other)
        os.close(one)
        os.close(other)


@on_each_memory_socket("maps: 65,535 without a file, and one more")
def _(d):
    start, before = d.main_cpu_seconds(), d.resident()
    for _ in range(2):
        with memory_client(d) as c:
            send_maps(c, MAPS_MAX, None)
            c.refused(errno.ENOSPC, DMA_MAP, map_payload(1 << 40, PAGE))
            check("error" not in d.ask("reach", device="nvme0"), "no reach")
            c.alive()
        d.wait_until(d.alone, "the session does not end")
    check(d.resident() - before < SLACK + (24 << 20), "%d bytes more" % (d.resident() - before))
    took = d.main_cpu_seconds() - start
    check(took < 30, "it took %d s of processor time" % took)


@on_each_memory_socket("maps: 65,535 of one file are few mappings")
def _(d):
    with memory_client(d) as c:
        fd = memfd(MAPS_MAX * PAGE)
        send_maps(c, MAPS_MAX, fd)
        check(d.census()[1] <= 2, "%d mappings" % d.census()[1])
        equal(c.unmap(0, 0, UNMAP_ALL), MAPS_MAX * PAGE, "bytes that were mapped")
        os.close(fd)


@on_each_memory_socket("maps: a thousand files, and what is over the limit is refused")
def _(d):
    with memory_client(d) as c:
        refused = 0
        for i in range(1100):
            fd = memfd(PAGE)
            refused += c.call(DMA_MAP, map_payload(2 * i * PAGE, PAGE), fds=[fd])[0] == errno.ENOSPC
            os.close(fd)
        equal(refused, 1100 - 1024, "refused")
        check(d.census()[0] < 100, "%d descriptors are kept" % d.census()[0])


def send_maps(c, count, fd):
    """Every other page, so that none are neighbours; many messages before their replies are read."""
    at = 0
    while at < count:
        batch = range(at, min(at + 64, count))
        for i in batch:
            c.send(DMA_MAP, map_payload(2 * i * PAGE, PAGE, i * PAGE if fd else 0), fds=[fd] if fd else ())
        for i in batch:
            equal(c.recv_reply()[0][4], 0, "error of map %d" % i)
        at += len(batch)


# ------------------------------------------------------- memory that goes away


@on_each_memory_socket("truncated: a file that is shorter than its map")
def _(d):
    with memory_client(d) as c:
        fd = memfd(PAGE)
        c.refused(errno.EINVAL, DMA_MAP, map_payload(0, 2 * PAGE), fds=[fd])
        c.refused(errno.EINVAL, DMA_MAP, map_payload(0, PAGE, PAGE), fds=[fd])
        os.close(fd)


@on_each_memory_socket("truncated: a guest's memory, under the controller's DMA")
def _(d):
    for round_number in range(20):
        with Nvme(d) as n:
            for i in range(ENTRIES // 2):
                n.submit(1, READ, DATA, 8 * i, 0, 7)
            time.sleep(0.0001 * round_number)
            os.ftruncate(n.ram, 0)
            with contextlib.suppress(ConnectionError, EOFError):  # with VT-d it is not this connection that ends
                for tail in range(ENTRIES):
                    n.client.write(BAR0, 0x1008, struct.pack("<I", tail))
            is_gone(n.memory_client())
        d.wait_until(d.alone, "the session does not end")


def share_of_registers(c):
    """The register page as QEMU gets it."""
    reply = c.ok(GET_REGION_INFO, struct.pack("<IIIIQQ", 4096, 0, BAR0, 0, 0, 0))
    check(len(c.fds) == 1 and len(reply) > 32, "no page to map")
    return c.fds[0]


GCMD, RTADDR, IQT, IQA = 0x18, 0x20, 0x88, 0x90
TE, SRTP, QIE = 1 << 31, 1 << 30, 1 << 26


def with_tables(c, page):
    """Translation on, with root table and queue in the guest's memory: an endless queue of bad entries."""
    def write(offset, form, value):
        if page is None:
            c.write(BAR0, offset, struct.pack(form, value))
        else:
            page[offset:offset + struct.calcsize(form)] = struct.pack(form, value)

    def command(bit):
        write(GCMD, "<I", bit)
        end = time.monotonic() + DEADLINE
        while not struct.unpack("<I", c.read(BAR0, 0x1c, 4))[0] & bit:
            check(time.monotonic() < end, "no answer to GCMD 0x%x" % bit)

    write(RTADDR, "<Q", RAM)
    command(SRTP)
    write(IQA, "<Q", RAM + PAGE)
    command(SRTP | QIE)
    command(SRTP | QIE | TE)
    write(IQT, "<Q", 8 * 16)


@case("truncated: a unit's tables and queue: sidecore", "sidecore")
def truncated_tables(d):
    for _ in range(5):
        with d.connect("iommu") as c:
            ram = memfd(RAM_SIZE)
            os.pwrite(ram, struct.pack("<QQ", 2 | 1 << 4, 0) * 256, PAGE)
            c.map(RAM, RAM_SIZE, ram)
            page = mmap.mmap(share_of_registers(c), PAGE) if d.polled else None
            with_tables(c, page)
            os.ftruncate(ram, 0)
            with contextlib.suppress(Exception):  # the session may end at any of these
                for i in range(1000):
                    tail = struct.pack("<Q", i % 256 * 16)
                    if page:
                        page[IQT:IQT + 8] = tail
                    c.write(BAR0, IQT, tail)
            is_gone(c)
            os.close(ram)
        d.wait_until(d.alone, "the session does not end")


case("truncated: a unit's tables and queue: trap", "trap")(truncated_tables)


@case("truncated: the register page cannot be", "sidecore")
def _(d):
    with d.connect("iommu") as c:
        fd = share_of_registers(c)
        for size in (0, 1, PAGE - 1, 2 * PAGE):
            try:
                os.ftruncate(fd, size)
            except PermissionError:
                continue
            check(False, "it has %d bytes now" % size)
        equal(fcntl.fcntl(fd, fcntl.F_GET_SEALS) & 7, 7, "seals")
        c.alive()


@case("the register page is full of noise, for a second", "sidecore")
def _(d):
    noise = random.Random(1)
    with Nvme(d) as n:
        page = mmap.mmap(share_of_registers(n.unit), PAGE)
        os.pwrite(n.ram, noise.randbytes(RAM_SIZE), 0)
        end = time.monotonic() + 1
        while time.monotonic() < end:
            page[:] = noise.randbytes(PAGE)
            at = noise.choice((GCMD, RTADDR, IQT, IQA, 0x28, 0x34, 0x38))
            page[at:at + 8] = struct.pack("<Q", noise.choice((RAM, 0, (1 << 64) - 1, TE | SRTP | QIE, 1 << 27)))
        page.close()
        n.unit.alive()


# -------------------------------------------------------------------- sessions


def script():
    """A session as one string of bytes, with a descriptor for some of its messages."""
    messages = [(VERSION, version_payload(), None), (GET_INFO, struct.pack("<IIII", 16, 0, 0, 0), None),
                (DMA_MAP, map_payload(RAM, RAM_SIZE), "memory"), (DMA_MAP, map_payload(0, PAGE), None),
                (REGION_WRITE, region_payload(CONFIG, 4, 2, b"\6\0"), None),
                (SET_IRQS, irq_payload(INTX, 0, 1, EVENTFD | TRIGGER), "eventfd"),
                (REGION_READ, region_payload(BAR0, 0, 8), None),
                (WRITE_MULTI, multi_payload([(CONFIG, 4, b"\6\0"), (CONFIG, 4, b"\6\0")]), None),
                (GET_REGION_INFO, struct.pack("<IIIIQQ", 4096, 0, BAR0, 0, 0, 0), None),
                (GET_REGION_IO_FDS, struct.pack("<IIII", 16, 0, BAR0, 0), None),
                (GET_IRQ_INFO, struct.pack("<IIII", 16, 0, MSIX, 0), None),
                (FEATURE, struct.pack("<II", 8, 1 << 18 | 1), None), (DMA_UNMAP, unmap_payload(0, PAGE), None),
                (RESET, b"", None)]
    for i, (command, payload, kind) in enumerate(messages):
        yield HDR.pack(i, command, 16 + len(payload), 0, 0) + payload, kind


def play(c, fds, count):
    """The script up to a byte."""
    for message, kind in script():
        part = message[:count]
        if part:
            c.send_raw(part, [fds[kind]] if kind else ())
        count -= len(part)


def disconnect_at_every_byte(d, name):
    fds = {"memory": memfd(RAM_SIZE), "eventfd": eventfd()}
    for count in range(sum(len(message) for message, _ in script()) + 1):
        with d.connect(name, negotiate=False) as c:
            with contextlib.suppress(ConnectionError):
                play(c, fds, count)
    for fd in fds.values():
        os.close(fd)


for every_machine in MACHINES:
    case("gone at every byte of a session: nvme0 of --iommu %s" % every_machine, every_machine, "nvme0")(
        disconnect_at_every_byte)
case("gone at every byte of a session: iommu of --iommu sidecore", "sidecore", "iommu")(disconnect_at_every_byte)
case("gone at every byte of a session: iommu of --iommu trap", "trap", "iommu")(disconnect_at_every_byte)


def ask_for_memory(d, stack):
    """(lender, header, payload): a controller wants a command from memory that comes by message."""
    n = stack.enter_context(d.connect("nvme0"))
    lender = stack.enter_context(d.connect("iommu")) if d.has_unit() else n
    lender.map(RAM, RAM_SIZE)
    n.write(CONFIG, 4, b"\6\0")
    for offset, form, value in ((0x24, "<I", 0xf000f), (0x28, "<Q", RAM), (0x30, "<Q", RAM + PAGE),
                                (0x14, "<I", 1 | 6 << 16 | 4 << 20)):
        n.write(BAR0, offset, struct.pack(form, value))
    d.wait_until(lambda: n.read(BAR0, 0x1c, 4)[0] & 1, "the controller does not get ready")
    n.write(BAR0, 0x1000, struct.pack("<I", 1))
    return lender, *lender.recv_request()


@on_each_memory_socket("gone at every byte of an answer to the server")
def _(d):
    size = 96  # a header, the access, a command
    for count in range(size + 1):
        with contextlib.ExitStack() as stack:
            lender, (number, command, *_), payload = ask_for_memory(d, stack)
            equal((command, payload[8:16]), (DMA_READ, struct.pack("<Q", 64)), "the request")
            lender.send_raw((HDR.pack(number, DMA_READ, size, 1, 0) + payload[:16] + bytes(64))[:count])
        d.wait_until(d.alone, "the session does not end")


@on_each_memory_socket("an answer with another length, address, command, or to nobody")
def _(d):
    for change in ({"size": 95}, {"size": 97}, {"size": 16}, {"address": 1}, {"count": 1 << 63}, {"command": 12}, {"number": 1}):
        with contextlib.ExitStack() as stack:
            lender, (number, *_), payload = ask_for_memory(d, stack)
            address, count = struct.unpack("<QQ", payload[:16])
            size = change.get("size", 96)
            lender.send_raw((HDR.pack((number + change.get("number", 0)) & 0xffff, change.get("command", DMA_READ), size, 1, 0)
                             + struct.pack("<QQ", address + change.get("address", 0), change.get("count", count))
                             + bytes(65))[:size])
            check(d.ask("status")["ok"], "no status")
        d.wait_until(d.alone, "the session does not end")


@on_each_memory_socket("a second client is shown out, and the first one does not notice")
def _(d):
    with Nvme(d) as n:
        n.write(8, b"1" * PAGE)
        for name in ("nvme0", *(["iommu"] if d.has_unit() else [])):
            for _ in range(100):
                with d.connect(name, negotiate=False) as second:
                    is_gone(second)
        equal(n.read(8, PAGE), b"1" * PAGE, "the first client's data")


@on_each_memory_socket("a client that reads no reply is cut off or held, others are served")
def _(d):
    with memory_client(d) as c:
        c.sock.setblocking(False)
        message = c.message(REGION_READ, region_payload(CONFIG, 0, 256))
        with contextlib.suppress(BlockingIOError, ConnectionError):
            for _ in range(200000):
                c.sock.send(message)
        check(d.ask("status")["ok"], "no status")
        check(d.resident() < 64 << 20, "%d bytes of memory" % d.resident())


@case("memory without a file, whose client never answers: cut off in time", "none")
def _(d):
    with contextlib.ExitStack() as stack:
        lender, *_ = ask_for_memory(d, stack)
        start = time.monotonic()
        check(d.ask("status")["ok"], "no status")
        check(time.monotonic() - start < ANSWER_DUE - 1, "status waits for the client")
        is_gone(lender)
        check(time.monotonic() - start < 4 * ANSWER_DUE, "cut off after %d s" % (time.monotonic() - start))


@on_each_memory_socket("a thousand sessions leave no memory behind")
def _(d):
    def sessions(count):
        fd = memfd(RAM_SIZE)
        for _ in range(count):
            with memory_client(d) as c:
                c.map(RAM, RAM_SIZE, fd)
                c.map(0, PAGE)
                c.send_raw(c.message(RESET)[:-1])
        os.close(fd)
        d.wait_until(d.alone, "the session does not end")
        return d.resident()

    before = sessions(100)
    after = sessions(1000)
    check(after - before < SLACK // 4, "%d bytes more after 1,000 sessions" % (after - before))


# ------------------------------------------------------------------ the runner


class Machines:
    """A viommud for each kind of machine, the same one for all cases as long as it lives."""

    def __init__(self, stack):
        self.stack, self.running = stack, {}

    def get(self, machine):
        d = self.running.get(machine)
        if not d or d.process.poll() is not None:
            d = self.stack.enter_context(Daemon(VIOMMUD, *MACHINES[machine]))
            d.polled = machine == "sidecore"
            threading.Thread(target=d.process.stderr.read, daemon=True).start()
            check_serves(d)
            time.sleep(0.1)  # for the connection that has just asked, too
            d.before = d.census()
            self.running[machine] = d
        return d

    def run(self, function, args):
        d = self.get(args[0])
        try:
            function(d, *args[1:])
        except Exception:
            check(d.process.poll() is None, "viommud is dead: %s" % d.process.poll())
            raise
        d.wait_until(d.alone, "a session does not end")
        check_serves(d)
        d.wait_until(lambda: d.census() == d.before,
                     "descriptors and mappings: %s, before %s" % (d.census(), d.before))


def ends_clean(d):
    d.process.terminate()
    equal(d.process.wait(DEADLINE), 0, "exit status")


def main():
    parts = sys.argv[2:]
    chosen = [c for c in CASES if not parts or any(p in c[0] for p in parts)]
    with contextlib.ExitStack() as stack:
        machines = Machines(stack)
        last = [("after all of it viommud ends clean: --iommu %s" % m, None, (m,)) for m in MACHINES]
        return run_cases(chosen + last, lambda function, args: machines.run(function, args) if function else
                         ends_clean(machines.get(args[0])))


if __name__ == "__main__":
    sys.exit(main())
