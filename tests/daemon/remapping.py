# SPDX-License-Identifier: BSD-3-Clause
"""The guest's half of a VT-d unit, over vfio-user: tables in the memory that served.Nvme lends, and the queue."""
import os
import struct
import time

from served import BAR0, DEADLINE, PAGE, RAM, RAM_SIZE, check

GCMD, GSTS, RTADDR, IQT, IQA, FSTS = 0x18, 0x1c, 0x20, 0x88, 0x90, 0x34
TE, SRTP, QIE = 1 << 31, 1 << 30, 1 << 26
ROOT, CONTEXTS, QUEUE, STATUS, TABLES = (RAM + n * PAGE for n in (0x80, 0x81, 0x82, 0x83, 0x84))
READ, WRITE = 1, 2
LEVELS = 4


class Remapping:
    """Every page of RAM is mapped to itself, in domain `domain`, for the device in `slot`."""

    def __init__(self, nvme, domain=1, slot=0x11):
        self.client, self.ram, self.slot = nvme.unit, nvme.ram, slot
        self.tail, self.sequence, self.used = 0, 0, TABLES
        self.table = self.new_table()
        for gpa in range(RAM, RAM + RAM_SIZE, PAGE):
            self.map(gpa, gpa, READ | WRITE)
        self.put(ROOT, CONTEXTS | 1, 0)
        self.enter(domain)
        for step in self.start_up:
            step(self)

    def set_root(self):
        self.set(RTADDR, "<Q", ROOT)
        self.command(SRTP)

    def enable_queue(self):
        self.set(IQA, "<Q", QUEUE)
        self.set(IQT, "<Q", 0)
        self.command(QIE)

    def translate(self):
        self.command(QIE | TE)

    def put(self, gpa, *words):
        os.pwrite(self.ram, struct.pack("<%dQ" % len(words), *words), gpa - RAM)

    def get(self, gpa):
        return struct.unpack("<Q", os.pread(self.ram, 8, gpa - RAM))[0]

    def new_table(self):
        self.used += PAGE
        return self.used - PAGE

    def map(self, iova, gpa, rights):
        """Rights 0 take it away; invalidating is the caller's."""
        table = self.table
        for level in range(LEVELS - 1, 0, -1):
            entry = table + (iova >> 12 + 9 * level & 511) * 8
            if not self.get(entry):
                self.put(entry, self.new_table() | READ | WRITE)
            table = self.get(entry) & ~0xfff
        self.put(table + (iova >> 12 & 511) * 8, gpa | rights if rights else 0)

    def enter(self, domain):
        """The device's context entry; invalidating is the caller's."""
        self.put(CONTEXTS + (self.slot << 3) * 16, self.table | 1, domain << 8 | LEVELS - 2)

    def set(self, offset, form, value):
        self.client.write(BAR0, offset, struct.pack(form, value))

    def until(self, is_so, what):
        end = time.monotonic() + DEADLINE
        while not is_so():
            check(time.monotonic() < end, what)

    def command(self, bits):
        self.set(GCMD, "<I", bits)
        self.until(lambda: struct.unpack("<I", self.client.read(BAR0, GSTS, 4))[0] & bits == bits, "GSTS")

    def submit(self, low, high):
        self.put(QUEUE + self.tail, low, high)
        self.tail = (self.tail + 16) % PAGE
        self.set(IQT, "<Q", self.tail)

    def wait(self):
        self.sequence += 1
        self.submit(self.sequence << 32 | 1 << 5 | 5, STATUS)
        self.until(lambda: self.get(STATUS) & 0xffffffff == self.sequence, "no wait descriptor was completed")

    def flush(self):
        """Contexts and IOTLB, all of it."""
        self.submit(1 << 4 | 1, 0)
        self.submit(1 << 4 | 2, 0)
        self.wait()

    def flush_page(self, domain, iova):
        self.submit(domain << 16 | 3 << 4 | 2, iova)
        self.wait()

    start_up = (set_root, enable_queue, flush, translate)
