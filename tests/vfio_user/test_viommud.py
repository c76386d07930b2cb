#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""viommud's functions and a client that misbehaves, one line per case: test_viommud.py VIOMMUD [NAME-PART ...]"""

import contextlib
import errno
import os
import re
import select
import signal
import struct
import subprocess
import sys
import tempfile
import time

from protocol_client import (
    BAR0, CONFIG, DMA_READ, DMA_UNMAP, ERROR, EVENTFD, HDR, INTX, MSIX, NONE, PAGE, RESET, TRIGGER, UNMASK, Client,
    check, equal, eventfd, signalled, unmap_payload)

DEADLINE = 20  # seconds, for whatever must happen
SOON = 4  # seconds; the daemon waits 5 for an answer
CASES = []


def case(name):
    def add(function):
        CASES.append((name, function))
        return function
    return add


class Daemon:
    def __init__(self, folder, *options):
        self.dir = os.path.join(folder, "run")
        disk = os.path.join(folder, "disk")
        with open(disk, "wb") as f:
            f.truncate(1 << 20)
        # A pipe that nobody reads is full on a machine that is slow enough for many lines.
        self.stderr = os.path.join(folder, "stderr")
        with open(self.stderr, "wb") as stderr:
            self.process = subprocess.Popen([sys.argv[1], "--dir", self.dir, "--nvme", disk, *options],
                                            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=stderr)
        check(select.select([self.process.stdout], [], [], DEADLINE)[0], "not ready in time")
        self.process.stdout.readline()

    def connect(self, name):
        c = Client(os.path.join(self.dir, name + ".sock"))
        c.sock.settimeout(SOON)
        return c

    def end(self):
        """What it said on stderr."""
        self.process.send_signal(signal.SIGTERM)
        self.process.communicate(timeout=DEADLINE)
        equal(self.process.returncode, 0, "exit status")
        with open(self.stderr, encoding="utf-8") as f:
            return f.read()


@contextlib.contextmanager
def daemon(*options):
    with tempfile.TemporaryDirectory(prefix="viommu-test-") as folder:
        d = Daemon(folder, *options)
        try:
            yield d
        finally:
            if d.process.poll() is None:
                d.process.kill()
                d.process.communicate()


class Controller:
    """What a guest's driver does, as far as the first commands. `lender` lends the memory, which is `memory`."""
    CC, CSTS, AQA, ASQ, ACQ, TAIL, HEAD = 0x14, 0x1c, 0x24, 0x28, 0x30, 0x1000, 0x1004
    SQ, CQ, BUFFER, ENTRIES = 0, PAGE, 2 * PAGE, 8

    def __init__(self, nvme, lender):
        self.nvme, self.lender = nvme, lender

    def put(self, register, value, size=4):
        self.nvme.write(BAR0, register, value.to_bytes(size, "little"))

    def wait_ready(self, ready):
        end = time.monotonic() + DEADLINE
        while self.nvme.read(BAR0, self.CSTS, 1)[0] & 1 != ready:
            check(time.monotonic() < end, "not ready in time")
            time.sleep(0.002)

    def enable(self):
        self.memory, self.tail = bytearray(3 * PAGE), 0
        self.nvme.write(CONFIG, 4, b"\6\0")  # memory, bus master
        self.put(self.CC, 0)
        self.wait_ready(0)
        self.put(self.AQA, (self.ENTRIES - 1) * 0x10001)
        self.put(self.ASQ, self.SQ, 8)
        self.put(self.ACQ, self.CQ, 8)
        self.put(self.CC, 0x460001)
        self.wait_ready(1)

    def submit(self):
        """Identify Controller."""
        struct.pack_into("<BBHI16xQ8xI20x", self.memory, self.SQ + 64 * self.tail, 6, 0, self.tail, 0, self.BUFFER, 1)
        self.tail = (self.tail + 1) % self.ENTRIES
        self.put(self.TAIL, self.tail)

    def answer_all(self):
        """Until a completion was written; returns its status."""
        while True:
            _, address, count = self.lender.answer(self.memory)
            if self.CQ <= address < self.CQ + 16 * self.ENTRIES and address % 16 + count == 16:
                return struct.unpack_from("<H", self.memory, address // 16 * 16 + 14)[0] >> 1


def soon(client, *request):
    begin = time.monotonic()
    client.ok(*request)
    check(time.monotonic() - begin < SOON, "it took %.1f s" % (time.monotonic() - begin))


def let_go_of_a_read(d, lender, nvme, *request):
    """In place of an answer to DMA_READ comes `request`; then all goes on."""
    lender.map(0, 3 * PAGE)
    c = Controller(nvme, lender)
    c.enable()
    c.submit()
    (id, command, _, _, _), payload = lender.recv_request()
    equal(command, DMA_READ, "the command")
    soon(lender, *request)
    if request[0] == RESET:
        lender.send(DMA_READ, payload[:16] + bytes(64), flags=1, id=id)
    else:
        lender.send_raw(HDR.pack(id, DMA_READ, 16, 1 | ERROR, errno.EFAULT))
        lender.map(0, 3 * PAGE)
    c.enable()
    c.submit()
    equal(c.answer_all(), 0, "status")
    check("nobody waits" not in d.end(), "the late answer surprises it")


@case("a reset of the IOMMU while the sidecore waits for memory by message")
def _():
    with daemon() as d, d.connect("iommu") as lender, d.connect("nvme0") as nvme:
        let_go_of_a_read(d, lender, nvme, RESET)


@case("an unmap while the sidecore waits for that memory by message")
def _():
    with daemon() as d, d.connect("iommu") as lender, d.connect("nvme0") as nvme:
        let_go_of_a_read(d, lender, nvme, DMA_UNMAP, unmap_payload(0, 3 * PAGE))


@case("without an IOMMU: an unmap while the sidecore waits for that memory by message")
def _():
    with daemon("--iommu", "none") as d, d.connect("nvme0") as c:
        let_go_of_a_read(d, c, c, DMA_UNMAP, unmap_payload(0, 3 * PAGE))


@case("without an IOMMU: a reset while the sidecore waits for memory by message")
def _():
    with daemon("--iommu", "none") as d, d.connect("nvme0") as c:
        let_go_of_a_read(d, c, c, RESET)


@contextlib.contextmanager
def pin_up(*options):
    """A controller with a completion that nobody has taken, and a way to take it. No eventfd is set."""
    with daemon(*options) as d, d.connect("iommu") as lender, d.connect("nvme0") as nvme:
        lender.map(0, 3 * PAGE)
        c = Controller(nvme, lender)
        c.enable()
        c.submit()
        equal(c.answer_all(), 0, "status")
        yield nvme, lambda: c.put(c.HEAD, c.tail)


def set_eventfd(nvme):
    fd = eventfd()
    nvme.irqs(INTX, 0, 1, EVENTFD | TRIGGER, fds=[fd])
    return fd


def replaced(*options):
    with pin_up(*options) as (nvme, take):
        equal(signalled(set_eventfd(nvme), SOON), 1, "set while the pin is up")
        equal(signalled(set_eventfd(nvme), SOON), 1, "another one in its place")
        nvme.irqs(INTX, 0, 0, NONE | TRIGGER)
        fd = set_eventfd(nvme)
        equal(signalled(fd, SOON), 1, "set after the index was switched off")
        nvme.irqs(INTX, 0, 1, EVENTFD | TRIGGER)
        fd = set_eventfd(nvme)
        equal(signalled(fd, SOON), 1, "set after the eventfd was taken away")
        take()
        equal(signalled(set_eventfd(nvme), 0.2), 0, "set while the pin is down")


@case("INTx: an eventfd that is set while the pin is up is signalled, whatever was before")
def _():
    replaced()


@case("INTx: the same with trapped registers")
def _():
    replaced("--registers", "trap")


@case("INTx: the unmask asks again, once, and as long as the pin is up")
def _():
    with pin_up() as (nvme, take):
        fd = set_eventfd(nvme)
        for _ in range(20):
            equal([signalled(fd, SOON), signalled(fd, 0.02)], [1, 0], "signals")
            nvme.irqs(INTX, 0, 1, NONE | UNMASK)
        equal(signalled(fd, SOON), 1, "the last")
        take()
        nvme.irqs(INTX, 0, 1, NONE | UNMASK)
        equal(signalled(fd, 0.2), 0, "after it was taken")


@case("RAM without a file is told, once, and a BAR is not")
def _():
    with daemon() as d, d.connect("iommu") as lender:
        lender.map(0xfd000000, 16 << 20)
        lender.map(0x100000, 512 << 20)
        lender.map(0x40000000, 512 << 20)
        text = d.end()
        check(text.count("\n") == 1 and "0x100000 " in text and "cannot be walked" in text, text)


@case("an eventfd that is full and blocks holds neither the daemon nor its end up")
def _():
    with daemon() as d:
        fd = eventfd()
        with d.connect("nvme0") as c:
            c.irqs(MSIX, 0, 1, EVENTFD | TRIGGER, fds=[fd])
            os.set_blocking(fd, True)
            os.write(fd, struct.pack("<Q", (1 << 64) - 2))
            for _ in range(200):
                c.irqs(MSIX, 0, 1, NONE | TRIGGER)
            equal(struct.unpack("<Q", os.read(fd, 8))[0], (1 << 64) - 1, "the counter")
            with d.connect("iommu") as other:
                other.alive()
            equal(d.end(), "", "what it says")
        os.close(fd)


def said(d):
    """The lines, and how many more are said to have been left out."""
    lines = d.end().splitlines()
    return lines, sum(int(n) for n in re.findall(r"\((\d+) such lines were left out\)", "\n".join(lines)))


@case("registers that are put elsewhere again and again: a few lines, and how many there would be")
def _():
    turns = 2000
    with daemon("--expect", "0xfebe0000") as d:
        with d.connect("iommu") as c:
            for i in range(turns):
                c.ok(RESET)
                c.write(CONFIG, 0x10, struct.pack("<I", 0xfec00000))
                c.write(CONFIG, 4, struct.pack("<H", 2))
            time.sleep(1.5)
            c.ok(RESET)
            c.write(CONFIG, 0x10, struct.pack("<I", 0xfec00000))
            c.write(CONFIG, 4, struct.pack("<H", 2))
        lines, more = said(d)
        wrong = [line for line in lines if "WRONG REGISTER ADDRESS" in line]
        check(1 <= len(wrong) < turns // 4, "%d lines" % len(wrong))
        equal(len(wrong) + more, turns + 1, "lines, and those left out")


@case("clients that come and go, with --verbose: a few lines")
def _():
    turns = 500
    with daemon("--verbose") as d:
        for name in ("iommu", "nvme0"):
            for _ in range(turns):
                d.connect(name).close()
        lines, _ = said(d)
        check(lines and len(lines) < turns, "%d lines" % len(lines))


def main():
    failed = 0
    chosen = [c for c in CASES if len(sys.argv) < 3 or any(p in c[0] for p in sys.argv[2:])]
    for name, function in chosen:
        try:
            function()
            print("ok   %s" % name, flush=True)
        except Exception as e:  # one case must not hide the others
            failed += 1
            print("FAIL %s: %s: %s" % (name, type(e).__name__, e), flush=True)
    print("%d passed, %d failed" % (len(chosen) - failed, failed))
    return failed != 0


if __name__ == "__main__":
    sys.exit(main())
