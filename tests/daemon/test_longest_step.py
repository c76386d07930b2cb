#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""No message holds the thread that serves all VMs: test_longest_step.py VIOMMUD [NAME-PART ...]

Each case does the most that a client can with one kind of message, to a viommud of its own, and then asks it for the
longest step of that thread. Processor time is judged by the promise, which is 10 ms. What is judged is twice that, in
the best of five runs: interrupts, and on a virtual machine the time that its processor did not run, are charged to whom
they hit. What breaks the promise is seen still: it took hundreds of milliseconds, and does so each time. A busy machine
makes time by the clock as long as it likes, so that is judged by a limit that only a thread that waits for somebody
comes to. Sanitizers have SANITIZED times as much.
"""

import contextlib
import os
import struct
import sys
import threading
import time

from served import CASES, Daemon, PAGE, RAM, Nvme, case, check, check_serves, equal, memfd, run_cases
from remapping import Remapping
from protocol_client import (BAR0, CONFIG, DMA_MAP, ERROR, EVENTFD, FEATURE, GET_INFO, GET_IRQ_INFO, GET_REGION_INFO,
                             Failed, HDR, MAX_XFER, MSIX, NO_REPLY, BOOL, TRIGGER, REGION_READ, RESET, SET_IRQS, UNMAP_ALL,
                             VERSION, WRITE_MULTI, eventfd, irq_payload, map_payload, multi_payload, region_payload,
                             version_payload)

VIOMMUD = os.path.abspath(sys.argv[1])
LIMIT_NS = 20000000
WAITS_NS = 500000000
LENT = 1 << 30
SANITIZED = 5
ATTEMPTS = 5
MAPS = 65535
MANY = (MAX_XFER - 8) // 24  # writes that a message holds

MACHINES = {"none": ("--iommu", "none"), "sidecore": (), "trap": ("--registers", "trap"), "four units": ("--iommu", "vtd") * 4}
MEMORY_SOCKET = {"none": "nvme0", "sidecore": "iommu", "trap": "iommu", "four units": "iommu"}


class TooLong(Failed):
    """Of one run."""


def longest(d):
    """Nanoseconds of processor time, and by the clock."""
    counters = d.ask("counters")["counters"]
    return [counters["main_step_%s_max" % kind]["value"] for kind in ("cpu_ns", "ns")]


def check_steps(d, what):
    cpu, wall = longest(d)
    limit = LIMIT_NS * (SANITIZED if d.is_sanitized() else 1)
    print("     %s: %.2f ms of processor time, %.2f ms by the clock" % (what, cpu / 1e6, wall / 1e6), flush=True)
    check(cpu, "it is not measured")
    if cpu >= limit:
        raise TooLong("a step of %.1f ms" % (cpu / 1e6))
    if wall >= limit * WAITS_NS // LIMIT_NS:
        raise TooLong("a step that waited for %.1f ms" % (wall / 1e6))


REGISTER_WRITES = {
    "the invalidation queue's tail": [(0x88, struct.pack("<Q", 16 * n)) for n in (1, 255)],
    "context invalidations": [(0x28, struct.pack("<Q", 1 << 63 | 1 << 61))],
    "IOTLB invalidations": [(0xf8, struct.pack("<Q", 1 << 63 | 1 << 60)), (0x1108, struct.pack("<Q", 1 << 63 | 1 << 60))],
    "translation on and off": [(0x18, struct.pack("<I", value)) for value in (1 << 31, 0)],
}


def on(*machines):
    def add(name):
        def add_each(function):
            for machine in machines:
                CASES.append(("%s: --iommu %s" % (name, machine), function, (machine,)))
            return function
        return add_each
    return add


def on_registers(name):
    def add(function):
        for kind, writes in REGISTER_WRITES.items():
            for machine in ("trap", "sidecore"):
                CASES.append((name % kind + ": " + machine, function, (machine, writes)))
        return function
    return add


def connect(d, **how):
    return d.connect("iommu" if d.has_unit() else "nvme0", **how)


def pipeline(c, messages):
    """(command, payload, fds) each, and all replies."""
    messages = list(messages)
    sender = threading.Thread(target=lambda: [c.send(m, payload, fds) for m, payload, fds in messages])
    sender.start()
    errors = [c.recv_reply()[0][4] for _ in messages]
    sender.join()
    return errors


def map_all(c, fd=None):
    """From the top down, each a region of its own."""
    errors = pipeline(c, ((DMA_MAP, map_payload(2 * page * PAGE, PAGE, page * PAGE if fd else 0), [fd] if fd else [])
                          for page in reversed(range(MAPS))))
    check(not any(errors), "a map was refused")


# -------------------------------------------------------------------- messages


@on_registers("43,690 writes of registers in a message: %s")
def _(d, writes):
    with Nvme(d) as n:
        for offset, value in ((0x20, RAM + 0x80 * PAGE), (0x90, RAM + 0x82 * PAGE)):
            n.unit.write(BAR0, offset, struct.pack("<Q", value))
        for value in (1 << 30, 1 << 26):
            n.unit.write(BAR0, 0x18, struct.pack("<I", value))
        # A queue of IOTLB invalidations.
        os.pwrite(n.ram, struct.pack("<QQ", 1 << 4 | 2, 0) * 256, 0x82 * PAGE)
        n.unit.send(WRITE_MULTI, multi_payload([(BAR0, *writes[i % len(writes)]) for i in range(MANY)]))
        # It takes seconds, and more beside others. Its end is the protocol test's.
        for _ in range(50):
            check(d.ask("status")["ok"], "others are not served meanwhile")
    check_steps(d, "all")


@on("none")("43,690 writes of a controller's registers in a message")
def _(d):
    for region, offset in ((BAR0, 0x14), (BAR0, 0x1000), (4, 0), (CONFIG, 4)):
        with d.connect() as c:
            values = [struct.pack("<I", value) for value in (1, 0)]
            c.ok(WRITE_MULTI, multi_payload([(region, offset, values[i % 2]) for i in range(MANY)]))
    check_steps(d, "all")


@on("none", "trap")("65,535 ranges without a file, unmapped at once, and left behind")
def _(d):
    with connect(d) as c:
        map_all(c)
        equal(c.unmap(0, 0, UNMAP_ALL), MAPS * PAGE, "bytes that were mapped")
        check_steps(d, "unmap")
        map_all(c)
    d.wait_until(d.alone, "the session does not end")
    check_serves(d)
    check_steps(d, "the end of the session")


@on("none", "trap")("65,535 ranges of a file, unmapped in part and at once, and left behind")
def _(d):
    fd = memfd(MAPS * PAGE)
    with connect(d) as c:
        map_all(c, fd)
        equal(c.unmap(0, MAPS * PAGE), (MAPS + 1) // 2 * PAGE, "bytes that were mapped in the first half")
        equal(c.unmap(0, 0, UNMAP_ALL), MAPS // 2 * PAGE, "and in the second")
        map_all(c, fd)
    os.close(fd)
    check_serves(d)
    check_steps(d, "all")


@on("none")("1,024 files are lent, grown and left behind")
def _(d):
    with connect(d) as c:
        fds = [memfd(PAGE) for _ in range(8)]
        for i in range(128):
            for fd in fds:
                os.ftruncate(fd, (i + 1) << 24)
            errors = pipeline(c, ((DMA_MAP, map_payload((8 * i + k) * PAGE, PAGE, i << 24), [fd])
                                  for k, fd in enumerate(fds)))
            check(len(set(errors)) == 1, "refused in part: %s" % errors)
    for fd in fds:
        os.close(fd)
    check_serves(d)
    check_steps(d, "all")


@on("none", "trap")("a gigabyte whose last owner is the daemon, unmapped, and left behind")
def _(d):
    for leave in (False, True):
        with connect(d) as c:
            fd = memfd(LENT)
            os.posix_fallocate(fd, 0, LENT)
            equal(pipeline(c, [(DMA_MAP, map_payload(4 << 30, LENT), [fd])]), [0], "what the map says")
            os.close(fd)
            if not leave:
                equal(c.unmap(4 << 30, LENT), LENT, "bytes that were mapped")
    check_serves(d)
    check_steps(d, "all")


@on("none", "trap")("thousands of large mappings, which the thread that unmaps does not keep up with")
def _(d):
    size = 16 << 20
    fds = [memfd(size) for _ in range(200)]
    with connect(d) as c:
        for _ in range(10):
            errors = pipeline(c, ((DMA_MAP, map_payload(2 * i * size, size), [fd]) for i, fd in enumerate(fds)))
            check(not any(errors), "a map was refused")
            equal(c.unmap(0, 0, UNMAP_ALL), len(fds) * size, "bytes that were mapped")
    for fd in fds:
        os.close(fd)
    check_serves(d)
    d.wait_until(lambda: d.census()[1] == 0, "what was lent stays mapped")
    check_steps(d, "all")


@on("none", "trap")("interrupts: all vectors, every other one, with and without eventfds")
def _(d):
    with d.connect() as c:
        vectors = struct.unpack("<IIII", c.ok(GET_IRQ_INFO, struct.pack("<IIII", 16, 0, MSIX, 0)))[3]
        fd = eventfd()
        every_other = bytes(i % 2 for i in range(vectors))
        for _ in range(50):
            for first in range(0, vectors, 16):
                count = min(16, vectors - first)
                c.irqs(MSIX, first, count, EVENTFD | TRIGGER, fds=[fd] * count)
            pipeline(c, [(SET_IRQS, irq_payload(MSIX, 0, vectors, BOOL | TRIGGER, every_other), ())] * 50)
            c.irqs(MSIX, 0, vectors, EVENTFD | TRIGGER)
        os.close(fd)
    check_steps(d, "all")


@on("none", "sidecore", "trap")("thousands of small messages, sent at once")
def _(d):
    with connect(d) as c:
        for command, payload in ((RESET, b""), (GET_INFO, struct.pack("<IIII", 16, 0, 0, 0)),
                                 (GET_REGION_INFO, struct.pack("<IIIIQQ", 32, 0, 0, 0, 0, 0)),
                                 (FEATURE, struct.pack("<II", 8, 1 << 18)), (99, b""),
                                 (REGION_READ, region_payload(BAR0, 0, 4)), (REGION_READ, region_payload(BAR0, 8, MAX_XFER)),
                                 (REGION_READ, region_payload(CONFIG, 0, 256))):
            pipeline(c, [(command, payload, ())] * 3000)
            message = c.message(command, payload, NO_REPLY)
            c.send_raw(message * 3000)
        c.alive()
    check_steps(d, "all")


@on("none", "trap")("messages as large as can be, and larger")
def _(d):
    with connect(d) as c:
        for _ in range(20):
            c.call(REGION_READ, bytes(MAX_XFER))
        with contextlib.suppress(OSError, EOFError):
            c.send_raw(HDR.pack(1, REGION_READ, 1 << 28, 0, 0))
            for _ in range(255):
                c.send_raw(bytes(1 << 20))
    check_steps(d, "all")


@on("none", "trap")("a first message full of JSON")
def _(d):
    for size in 8000, 65000:
        for text in (b'{"capabilities":{' + b",".join(b'"k%d":{}' % i for i in range(size // 11)) + b"}}\0",
                     b'{"capabilities":[' + b",".join([b"[]"] * (size // 3 - 10)) + b"]}\0", b"[" * size + b"\0",
                     b'{"a":"' + b"\\u0041" * (size // 6 - 10) + b'"}\0'):
            with connect(d, negotiate=False) as c:
                c.call(VERSION, version_payload(text=text))
    check_steps(d, "all")


# -------------------------------------------------------------------- commands


@on("sidecore", "trap")("reach and dump: 65,500 ranges of memory behind each of 512 pages of 1 GiB")
def _(d):
    with Nvme(d) as n:
        r = Remapping(n)
        table = r.new_table()
        r.put(r.table + 8, table | 3)
        r.put(table, *[4 << 30 | 1 << 7 | 3] * 512)
        errors = pipeline(n.unit, ((DMA_MAP, map_payload((4 << 30) + 2 * page * PAGE, PAGE), ())
                                   for page in range(65500)))
        check(not any(errors), "a map was refused")
        for command in "reach", "dump":
            reply = d.ask(command, device="nvme0")
            check(not reply["complete"] and len(reply["ranges"]) == 10000, "%s is complete" % command)
            check(reply["range_count"] > 1000000, "%d ranges are counted" % reply["range_count"])
            check_steps(d, command)


@on("none", "sidecore")("every other command")
def _(d):
    with Nvme(d):
        for command, more in (("status", {}), ("stat", {}), ("counters", {}), ("reach", {"device": "nvme0"}),
                              ("dump", {"device": "nvme0"}), ("expect", {"base": 1 << 20}), ("save", {}),
                              ("restore", {"offset": 0, "data": "00" * 4000}), ("restore", {}), ("unknown", {})):
            for _ in range(5):
                d.ask(command, **more)
        d.ask("restore", offset=0, data="00" * 4000)
    check_steps(d, "all")


@on("four units")("a state of four units is tried on spare ones, and taken over")
def _(d):
    state = d.ask("save").get("state")
    check(state, "no state")
    for _ in range(5):
        for at in range(0, len(state), 4000):
            check("ok" in d.ask("restore", offset=at // 2, data=state[at:at + 4000]), "a piece")
        d.ask("restore")
    check_steps(d, "all")


# ------------------------------------------------------------------ the runner


def run(function, args):
    for attempt in range(ATTEMPTS):
        try:
            run_once(function, args)
            return
        except TooLong:
            if attempt == ATTEMPTS - 1:
                raise


def run_once(function, args):
    with Daemon(VIOMMUD, *MACHINES[args[0]]) as d:
        threading.Thread(target=d.process.stderr.read, daemon=True).start()
        function(d, *args[1:])
        check(d.process.poll() is None, "viommud is dead")


def main():
    parts = sys.argv[2:]
    return run_cases([c for c in CASES if not parts or any(p in c[0] for p in parts)], run)


if __name__ == "__main__":
    sys.exit(main())
