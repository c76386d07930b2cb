#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""The state of a VM moves from one viommud to another, a line a case: test_state.py VIOMMUD VIOMMU"""

import os
import random
import struct
import subprocess
import sys
import tempfile
import time
import zlib

from served import (BAR0, CASES, CONFIG, DATA, DEADLINE, DISK_SIZE, PAGE, RAM, READ, WRITE, Daemon, Nvme, case, check,
                    check_serves, equal, memfd, run_cases)
from protocol_client import RESET  # found by served
from remapping import FSTS, GSTS, IQT, QIE, QUEUE, TE, Remapping

VIOMMUD, VIOMMU = (os.path.abspath(path) for path in sys.argv[1:3])
KINDS = {"sidecore": (), "trap": ("--registers", "trap"), "none": ("--iommu", "none")}
HIDDEN = RAM + 0x90 * PAGE  # a page that the journey takes away
IQE, PPF = 1 << 4, 1 << 1
DBBUF = 0x7c  # the admin command Doorbell Buffer Config
UNIT_HEADER, UNIT_PAGE = 32, 4112  # what stands in a unit's state before its other numbers (lib/vtd/state.c)
FRCD = 0x4000  # where the record is: told by CAP.FRO, see fault_record()


def viommu(*arguments):
    return subprocess.run([VIOMMU, *arguments], capture_output=True, text=True, check=False, timeout=30)


class Journey:
    """A VMM that outlives its daemons, with a guest's driver whose steps it takes one by one."""

    def __init__(self, kind, folder):
        self.kind, self.folder, self.state = kind, folder, os.path.join(folder, "state")
        self.disk = os.path.join(folder, "disk")
        with open(self.disk, "wb") as f:
            f.truncate(DISK_SIZE)
        self.daemon = self.new_daemon()
        self.nvme = Nvme.__new__(Nvme)
        self.nvme.ram = memfd(2 * DISK_SIZE)
        self.nvme.tails, self.nvme.heads, self.nvme.count = [0, 0], [0, 0], 0
        self.nvme.connect(self.daemon)
        self.unit, self.event = None, 0

    def new_daemon(self):
        return Daemon(VIOMMUD, *KINDS[self.kind], "--nvme", self.disk, disks=0)

    def end(self):
        self.nvme.disconnect()
        self.daemon.__exit__()

    def move(self):
        saved = viommu("save", "--dir", self.daemon.dir, self.state)
        check(saved.returncode == 0, "save: " + saved.stderr)
        check(self.daemon.ask("status")["frozen"], "the VM is not frozen after it was saved")
        self.end()
        self.daemon = self.new_daemon()
        self.nvme.connect(self.daemon)
        restored = viommu("restore", "--dir", self.daemon.dir, self.state)
        check(restored.returncode == 0, "restore: " + restored.stderr)
        if self.unit:
            self.unit.client = self.nvme.unit

    def fault_record(self):
        offset = (struct.unpack("<Q", self.nvme.unit.read(BAR0, 8, 8))[0] >> 24 & 0x3ff) * 16
        return offset, struct.unpack("<QQ", self.nvme.unit.read(BAR0, offset, 8) +
                                     self.nvme.unit.read(BAR0, offset + 8, 8))

    # --------------------------------------------------------------- the steps

    def build_tables(self):
        """In memory only; the registers come in the steps that follow."""
        start_up, Remapping.start_up = Remapping.start_up, ()
        self.unit = Remapping(self.nvme)
        Remapping.start_up = start_up

    def write(self):
        for i in range(9):
            self.nvme.write(8 * i, bytes([i + 1]) * PAGE)

    def read(self):
        for i in range(9):
            equal(self.nvme.read(8 * i, PAGE), bytes([i + 1]) * PAGE, "page %d" % i)

    def leave_command(self):
        """Rung for; whether it was fetched is the daemon's affair."""
        self.left = self.nvme.submit(1, READ, DATA + PAGE, 8 * 3, 0, PAGE // 512 - 1)

    def take_command(self):
        equal(self.nvme.complete(1), (self.left, 0), "the command that was left")
        equal(os.pread(self.nvme.ram, PAGE, DATA + PAGE - RAM), b"\4" * PAGE, "what it read")

    def set_feature(self):
        self.nvme.run(0, 9, 0, 4, 350)

    def get_feature(self):
        self.nvme.submit(0, 10, 0, 4)
        at = self.nvme.heads[0] % 16
        equal(self.nvme.complete(0)[1], 0, "status of Get Features")
        equal(struct.unpack_from("<I", os.pread(self.nvme.ram, 4, PAGE + at * 16))[0], 350, "the feature")

    def want_event(self):
        self.event = self.nvme.submit(0, 12, 0, 0)

    def make_event(self):
        self.nvme.client.write(BAR0, 0x1008, struct.pack("<I", 999))

    def take_event(self):
        equal(self.nvme.complete(0), (self.event, 0), "the event")

    def take_page_away(self):
        self.unit.map(HIDDEN, HIDDEN, 0)
        self.unit.flush_page(1, HIDDEN)

    def fault(self):
        self.nvme.submit(1, READ, HIDDEN, 0, 0, 7)
        check(self.nvme.complete(1)[1] != 0, "a page that was taken away was written")

    def take_fault(self):
        _, (low, _) = self.fault_record()
        equal(low & ~0xfff, HIDDEN, "the address in the fault record")
        check(struct.unpack("<I", self.nvme.unit.read(BAR0, FSTS, 4))[0] & PPF, "no fault is pending")

    def clear_fault(self):
        offset, (_, high) = self.fault_record()
        check(high >> 63, "the fault record is empty")
        self.unit.set(offset + 8, "<Q", 1 << 63)
        check(not struct.unpack("<I", self.nvme.unit.read(BAR0, FSTS, 4))[0] & PPF, "the fault is still pending")

    def bad_descriptor(self):
        self.unit.submit(15, 0)
        self.unit.until(lambda: struct.unpack("<I", self.nvme.unit.read(BAR0, FSTS, 4))[0] & IQE, "no IQE")

    def mend_descriptor(self):
        check(struct.unpack("<I", self.nvme.unit.read(BAR0, FSTS, 4))[0] & IQE, "IQE is gone")
        self.unit.put(QUEUE + (self.unit.tail - 16) % PAGE, 1 << 4 | 2, 0)
        self.unit.set(FSTS, "<I", IQE)
        self.unit.wait()

    def give_page_back(self):
        self.unit.map(HIDDEN, HIDDEN, READ | WRITE)
        self.nvme.run(1, READ, HIDDEN, 8 * 4, 0, 7)
        equal(os.pread(self.nvme.ram, PAGE, HIDDEN - RAM), b"\5" * PAGE, "the page that came back")

    def shut_down(self):
        self.nvme.client.write(BAR0, 0x14, struct.pack("<I", 1 | 1 << 14 | 6 << 16 | 4 << 20))
        self.daemon.wait_until(lambda: self.nvme.client.read(BAR0, 0x1c, 4)[0] >> 2 & 3 == 2, "no shutdown")


def of_nvme(name):
    return lambda j: getattr(j.nvme, name)()


def of_unit(name):
    return lambda j: getattr(j.unit, name)()


J = Journey
CONTROLLER = [of_nvme("master_the_bus"), of_nvme("place_admin_queues"), of_nvme("enable"), of_nvme("create_queues"),
              J.set_feature, J.want_event]
UNIT = [J.build_tables, of_unit("set_root"), of_unit("enable_queue"), of_unit("flush"), of_unit("translate"),
        J.take_page_away]
WORK = [J.write, J.leave_command, J.take_command, J.make_event, J.take_event, J.read, J.get_feature]
TROUBLE = [J.fault, J.take_fault, J.clear_fault, J.bad_descriptor, J.mend_descriptor, J.give_page_back]
STEPS = {"sidecore": UNIT + CONTROLLER + WORK + TROUBLE + [J.read, J.shut_down],
         "none": CONTROLLER + WORK + [J.shut_down]}
STEPS["trap"] = STEPS["sidecore"]


def travel(kind, stops):
    with tempfile.TemporaryDirectory(prefix="viommu-test-") as folder:
        j = Journey(kind, folder)
        try:
            for i, step in enumerate(STEPS[kind]):
                step(j)
                if i in stops:
                    j.move()
        except Exception as error:
            raise type(error)("moved after step %s: %s" % (stops, error)) from error
        finally:
            j.end()


@case("between any two steps, registers polled", "sidecore")
@case("between any two steps, without an IOMMU", "none")
def any_two_steps(kind):
    for i in range(len(STEPS[kind])):
        travel(kind, {i})


@case("after each step, registers polled", "sidecore")
@case("after each step, registers trapped", "trap")
def each_step(kind):
    travel(kind, set(range(len(STEPS[kind]))))


# ------------------------------------------------------------------ what is refused

def give(daemon, state):
    """The reply to a state, through the socket; asked again while the work thread has no processor to come to it."""
    end = time.monotonic() + DEADLINE
    while True:
        for offset in range(0, len(state), 2048):
            daemon.ask("restore", offset=offset, data=state[offset:offset + 2048].hex())
        reply = daemon.ask("restore")
        if not reply.get("busy") or time.monotonic() > end:
            return reply


def crc32c_table():
    for n in range(256):
        for _ in range(8):
            n = n >> 1 ^ (0x82f63b78 if n & 1 else 0)
        yield n


CRC32C = list(crc32c_table())


def crc32c(data):
    crc = 0xffffffff
    for byte in data:
        crc = crc >> 8 ^ CRC32C[(crc ^ byte) & 255]
    return crc ^ 0xffffffff


FUNCTION, UNIT, NVME = 1, 2, 3  # kinds of section


def sections(body):
    """(kind, offset, length)"""
    at = 24
    while at + 16 <= len(body):
        kind, _, length = struct.unpack_from("<IIQ", body, at)
        at += 16
        yield kind, at, length
        at += (length + 7) & ~7


def units(body):
    """(offset, length) of the state of each unit."""
    for kind, at, length in sections(body):
        if kind == UNIT and 4 <= length <= len(body) - at:
            yield at, length


def sealed(body):
    """With the checksums that a forger would put there: that of each unit, and that of all."""
    body = bytearray(body)
    for at, length in units(body):
        struct.pack_into("<I", body, at + length - 4, crc32c(body[at:at + length - 4]))
    return bytes(body) + struct.pack("<I", zlib.crc32(bytes(body)))


def told_and_done(d, iommu):
    """Is translation on as the guest reads it, and as its device finds it?"""
    told = struct.unpack("<I", iommu.read(BAR0, GSTS, 4))[0] & TE
    return bool(told), d.ask("dump", device="nvme0")["tables"]["translation"] != "off"


def saved_state(*options, **more):
    with Daemon(VIOMMUD, *options, **more) as d, Nvme(d) as n:
        if n.unit:
            Remapping(n)
        n.write(0, b"x" * PAGE)
        with tempfile.TemporaryDirectory(prefix="viommu-test-") as folder:
            path = os.path.join(folder, "state")
            done = viommu("save", "--dir", d.dir, path)
            check(done.returncode == 0, done.stderr)
            equal(oct(os.stat(path).st_mode & 0o777), "0o600", "who may read what the guest did")
            with open(path, "rb") as f:
                return f.read()


@case("each byte, changed, is found")
def flipped():
    state = saved_state()
    with Daemon(VIOMMUD) as d:
        for i in sorted({*range(64), *range(0, len(state), 61), *range(len(state) - 8, len(state))}):
            changed = bytearray(state)
            changed[i] ^= 1 << i % 8
            check("error" in give(d, changed), "byte %d changed, and it was taken" % i)
        for length in range(0, len(state), 997):
            check("error" in give(d, state[:length]), "%d bytes of it were taken" % length)
        check("error" in give(d, state + b"\0"), "one byte more was taken")
        check_serves(d)


def forgeries(state):
    """{offset: byte} for a state: first each number of the unit as a flag, then anything."""
    rand, ((unit, length),) = random.Random(4), units(state)
    for at in (*range(unit + UNIT_HEADER + UNIT_PAGE, unit + length - 4, 8), unit + UNIT_HEADER + 16 + GSTS + 3):
        for value in (0, 1, 0x80):
            yield {at: value}
    for _ in range(300):
        yield {rand.randrange(len(state)): rand.choice((0, 1, 0x7f, 0x80, 0xff, rand.randrange(256)))
               for _ in range(rand.choice((1, 1, 1, 4, 16)))}


@case("changed with new checksums: refused, or a VM that can be reset and does what it says; never a crash")
def forged():
    state, taken = saved_state("--registers", "trap")[:-4], 0
    with Daemon(VIOMMUD, "--registers", "trap") as d:
        with d.connect("iommu") as iommu:
            for changes in forgeries(state):
                changed = bytearray(state)
                for at, byte in changes.items():
                    changed[at] = byte
                taken += "ok" in give(d, sealed(changed)) and changed != state
                told, done = told_and_done(d, iommu)
                equal(told, done, "translation as the guest is told, and as it is, with %s" % changes)
            check(d.process.poll() is None, "viommud died")
        check(taken > 50, "only %d were taken: nothing was tried" % taken)
        for name in "nvme0", "iommu":
            with d.connect(name) as client:
                client.ok(RESET)
        d.wait_until(d.alone, "the session does not end")
        check_serves(d)


@case("another version, other options and other disks are refused in words")
def other_machines():
    state = saved_state()
    version = bytearray(state[:-4])
    version[8] = 2
    with Daemon(VIOMMUD) as d:
        check("version 2" in give(d, sealed(version))["error"], "of another version")
        check("did not write it" in give(d, b"x" * 100)["error"], "no state")
        check("ok" in give(d, state), "the right one")
    for options, disks in ((("--iommu", "none"), 1), (("--iommu", "vtd,caching-mode=on"), 1), ((), 2)):
        with Daemon(VIOMMUD, *options, disks=disks) as d:
            check("other options" in give(d, state)["error"], "%s, %d disks" % (options, disks))
            check_serves(d)


@case("a function that cannot be, and a section more than is served, are refused in words")
def forged_parts():
    state = saved_state()[:-4]
    function = next(at for kind, at, _ in sections(state) if kind == FUNCTION)
    other, more = bytearray(state), bytearray(state)
    other[function] ^= 1  # the vendor
    more += struct.pack("<IIQQ", NVME, 1, 8, 0)
    struct.pack_into("<IQ", more, 12, struct.unpack_from("<I", more, 12)[0] + 1, len(more) + 4)
    with Daemon(VIOMMUD) as d:
        check("cannot be" in give(d, sealed(other))["error"], "of another vendor")
        check("more than this viommud serves" in give(d, sealed(more))["error"], "with a section more")
        check("ok" in give(d, sealed(state)), "the right one")


@case("a frozen VM goes on when it is restored, or reset")
def thaws():
    with Daemon(VIOMMUD) as d, Nvme(d) as n, tempfile.TemporaryDirectory(prefix="viommu-test-") as folder:
        path = os.path.join(folder, "state")
        n.write(0, b"1" * PAGE)
        check(viommu("save", "--dir", d.dir, path).returncode == 0, "save")
        command = n.submit(1, READ, DATA, 0, 0, 7)
        check(d.ask("status")["frozen"], "not frozen")
        check(viommu("restore", "--dir", d.dir, path).returncode == 0, "restore")
        n.client.write(BAR0, 0x1008, struct.pack("<I", n.tails[1] % 16))  # the doorbell that fell between
        equal(n.complete(1), (command, 0), "the command")
        check(viommu("save", "--dir", d.dir, path).returncode == 0, "save")
        n.client.ok(RESET)
        check(not d.ask("status")["frozen"], "still frozen")


@case("status tells whether translation is on, off by now, or was never turned on; dump speaks of no cache then")
def translation_is_told():
    def said(command, *operands):
        done = viommu(command, "--dir", d.dir, *operands)
        check(done.returncode == 0, done.stderr)
        return done.stdout

    with Daemon(VIOMMUD) as d, Nvme(d) as n:
        for i, (told, words) in enumerate((("never", "was NEVER turned on"), ("on", "translation is on"),
                                           ("off", "translation is OFF"))):
            if i == 1:
                unit = Remapping(n)
            if i == 2:
                unit.command(QIE)
            n.read(0, PAGE)
            equal(d.ask("status")["translation"], told, "status")
            check(words in said("status"), said("status"))
            check(("cached" in said("dump", "nvme0")) == (told == "on"), said("dump", "nvme0"))
    with Daemon(VIOMMUD, "--iommu", "none") as d:
        check("translation" not in d.ask("status") and "none" in said("status"), said("status"))


@case("a VM that was restored with translation on, and turns it off, is not told as one that never had it on")
def restored_translation_is_told():
    with Daemon(VIOMMUD) as d, Nvme(d) as n:
        Remapping(n)
        state = d.save()
    for registers in (), ("--registers", "trap"):
        with Daemon(VIOMMUD, *registers) as d:
            equal(d.ask("status")["translation"], "never", "before the restore")
            check("ok" in give(d, state), "the state is refused")
            equal(d.ask("status")["translation"], "on", "after the restore")
            with d.connect("iommu") as iommu:
                iommu.ok(RESET)
            d.wait_until(lambda: d.ask("status")["translation"] != "on", "translation stays on")
            equal(d.ask("status")["translation"], "off", "after a reset")


@case("a VMM that ends while its controller is polled: no word about memory that goes with it")
def ends_quietly():
    for options in KINDS.values():
        with Daemon(VIOMMUD, *options) as d, Nvme(d) as n:
            shadow, events = DATA + PAGE, DATA + 2 * PAGE
            n.run(0, DBBUF, shadow, 0, prp2=events)
            if n.unit:
                n.unit.close()
                time.sleep(0.2)
            n.client.close()
            d.wait_until(d.alone, "the session does not end")
            equal(d.end(), (0, ""), "exit status and words")


@case("a command that stays under way keeps the state from being saved")
def busy():
    with Daemon(VIOMMUD) as d, Nvme(d) as n:
        n.client.write(CONFIG, 4, struct.pack("<H", 2))
        d.save()  # an idle controller without the bus


if __name__ == "__main__":
    sys.exit(run_cases(CASES, lambda function, args: function(*args)))
