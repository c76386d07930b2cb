# SPDX-License-Identifier: BSD-3-Clause
"""The guest's half of an AMD-Vi unit, over vfio-user: tables and rings in the memory that served.Nvme lends."""
import os
import struct
import time

from served import BAR0, CONFIG, DEADLINE, PAGE, RAM, RAM_SIZE, check

DEV_TAB, CMD_BASE, EVT_BASE, CONTROL, EFR = 0x00, 0x08, 0x10, 0x18, 0x30
CMD_HEAD, CMD_TAIL, EVT_HEAD, EVT_TAIL, STATUS = 0x2000, 0x2008, 0x2010, 0x2018, 0x2020
IOMMU_EN, EVENT_LOG_EN, EVENT_INT_EN, CMD_BUF_EN = 1, 1 << 2, 1 << 3, 1 << 12
COMPLETION_WAIT, INVALIDATE_DEVTAB, INVALIDATE_PAGES, INVALIDATE_ALL = 1, 2, 3, 8
TABLE, COMMANDS, EVENTS, STORE, PAGES = (RAM + n * PAGE for n in (0x80, 0x82, 0x83, 0x84, 0x85))
PRESENT, READ, WRITE = 1, 1 << 61, 1 << 62
LEVELS = 3
RING = PAGE  # bytes: 256 entries, which 8 stands for
IO_PAGE_FAULT = 2


class AmdVi:
    """Every page of RAM is mapped to itself, in domain `domain`, for the device in `slot`."""

    def __init__(self, nvme, domain=1, slot=0x11):
        self.client, self.ram, self.slot, self.domain = nvme.unit, nvme.ram, slot, domain
        self.tail = self.sequence = self.taken = 0
        self.used = PAGES
        self.table = self.new_table()
        for gpa in range(RAM, RAM + RAM_SIZE // 2, PAGE):
            self.map(gpa, gpa)
        self.enter()
        self.start()

    def start(self):
        self.set(DEV_TAB, TABLE | 1)  # two pages, for slots below 0x20
        self.set(CMD_BASE, COMMANDS | 8 << 56)
        self.set(EVT_BASE, EVENTS | 8 << 56)
        for register in (CMD_HEAD, CMD_TAIL, EVT_HEAD, EVT_TAIL):
            self.set(register, 0)
        self.set(CONTROL, IOMMU_EN | EVENT_LOG_EN | EVENT_INT_EN | CMD_BUF_EN)
        self.submit(INVALIDATE_DEVTAB << 60 | self.slot << 3, 0)
        self.wait()

    def put(self, gpa, *words):
        os.pwrite(self.ram, struct.pack("<%dQ" % len(words), *words), gpa - RAM)

    def get(self, gpa):
        return struct.unpack("<Q", os.pread(self.ram, 8, gpa - RAM))[0]

    def new_table(self):
        self.used += PAGE
        return self.used - PAGE

    def map(self, iova, gpa, rights=READ | WRITE):
        """Rights 0 take it away; invalidating is the caller's."""
        table = self.table
        for level in range(LEVELS - 1, 0, -1):
            entry = table + (iova >> 12 + 9 * level & 511) * 8
            if not self.get(entry):
                self.put(entry, self.new_table() | READ | WRITE | level << 9 | PRESENT)
            table = self.get(entry) & 0xffffffffff000
        self.put(table + (iova >> 12 & 511) * 8, gpa | rights | PRESENT if rights else 0)

    def enter(self, word0=None):
        """The device's entry; the first word is V, TV, mode, table and rights."""
        self.put(TABLE + (self.slot << 3) * 32, self.table | LEVELS << 9 | 3 | READ | WRITE if word0 is None else word0, self.domain, 0, 0)

    def set(self, offset, value):
        self.client.write(BAR0, offset, struct.pack("<Q", value))

    def read(self, offset):
        return struct.unpack("<Q", self.client.read(BAR0, offset, 8))[0]

    def until(self, is_so, what):
        end = time.monotonic() + DEADLINE
        while not is_so():
            check(time.monotonic() < end, what)

    def submit(self, low, high):
        self.put(COMMANDS + self.tail, low, high)
        self.tail = (self.tail + 16) % RING
        self.set(CMD_TAIL, self.tail)

    def wait(self):
        self.sequence += 1
        self.submit(COMPLETION_WAIT << 60 | STORE | 1, self.sequence)
        self.until(lambda: self.get(STORE) == self.sequence, "no completion wait was stored")

    def flush_page(self, iova):
        self.submit(INVALIDATE_PAGES << 60 | self.domain << 32, iova)
        self.wait()

    def flush_device(self):
        self.submit(INVALIDATE_DEVTAB << 60 | self.slot << 3, 0)
        self.submit(INVALIDATE_PAGES << 60 | self.domain << 32, 0x7ffffffffffff000 | 1)
        self.wait()

    def event(self):
        """(code, device, domain, flags, address) of the next one."""
        self.until(lambda: self.read(EVT_TAIL) != self.taken, "no event")
        low, address = struct.unpack("<QQ", os.pread(self.ram, 16, EVENTS + self.taken - RAM))
        self.taken = (self.taken + 16) % RING
        self.set(EVT_HEAD, self.taken)
        return low >> 60, low & 0xffff, low >> 32 & 0xffff, low >> 48 & 0xfff, address


def place(client, base):
    """What firmware does: gives the registers an address, and enables decoding."""
    client.write(CONFIG, 0x10, struct.pack("<I", base))
    client.write(CONFIG, 4, struct.pack("<H", 6))
