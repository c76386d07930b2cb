#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""A GART in a northbridge's configuration space, a line a case: test_gart.py VIOMMUD VIOMMU"""

import os
import struct
import subprocess
import sys
import time
import zlib

from served import CASES, CONFIG, DATA, DEADLINE, PAGE, RAM, READ, WRITE, Daemon, Nvme, case, check, equal, run_cases
from remapping import Remapping
from protocol_client import RESET  # found by served

VIOMMUD, VIOMMU = (os.path.abspath(path) for path in sys.argv[1:3])
CONTROL, BASE, TABLE, CACHE = 0x90, 0x94, 0x98, 0x9c
EN, INV, PTE_ERR, VALID = 1, 1, 2, 1
APERTURE, TABLE_AT = 0x40000000, RAM + 0x80 * PAGE
TABLE_SIZE = 32 << 10  # of the 32 MiB that SIZE 0 stands for
SCRATCH, SECRET = RAM + 0xf0 * PAGE, RAM + 0xf8 * PAGE
ERRNO_EINVAL = 22


def daemon(*options):
    return Daemon(VIOMMUD, "--iommu", "gart", *options)


def viommu(d, command, *operands):
    done = subprocess.run([VIOMMU, command, "--dir", d.dir, *operands], capture_output=True, text=True, check=False, timeout=30)
    check(done.returncode == 0, "%s: %s" % (command, done.stderr))
    return done.stdout


def get(unit, offset):
    return struct.unpack("<I", unit.read(CONFIG, offset, 4))[0]


def put(unit, offset, value):
    unit.write(CONFIG, offset, struct.pack("<I", value))


class Gart:
    """The guest's half: a table in the memory that served.Nvme lends, all of whose entries lead to SCRATCH."""

    def __init__(self, nvme):
        self.unit, self.ram = nvme.unit, nvme.ram
        os.pwrite(self.ram, struct.pack("<I", SCRATCH | VALID) * (TABLE_SIZE // 4), TABLE_AT - RAM)
        put(self.unit, TABLE, TABLE_AT >> 8)
        put(self.unit, BASE, APERTURE >> 25)
        put(self.unit, CONTROL, EN)
        self.flush()

    def enter(self, page, entry):
        os.pwrite(self.ram, struct.pack("<I", entry), TABLE_AT - RAM + 4 * page)

    def flush(self):
        put(self.unit, CACHE, INV)
        end = time.monotonic() + DEADLINE
        while get(self.unit, CACHE) & INV:
            check(time.monotonic() < end, "INV stays")


def read_to(n, address, block=0):
    """Status of a command that reads a block of a page to this device address."""
    n.submit(1, READ, address, block, 0, PAGE // 512 - 1)
    return n.complete(1)[1]


def page(n, gpa):
    return os.pread(n.ram, PAGE, gpa - RAM)


# ---------------------------------------------------------- configuration space

@case("an operating system finds a northbridge's function 3, and nothing else of it can be written")
def identity():
    with daemon() as d, d.connect("iommu") as unit:
        equal((get(unit, 0), get(unit, 8) >> 8, unit.read(CONFIG, 0xe, 1)[0]), (0x11031022, 0x060000, 0x80), "identity")
        before = unit.read(CONFIG, 0, 0x90)
        for offset in range(0, 0x90, 4):
            put(unit, offset, 0xffffffff)
        equal(unit.read(CONFIG, 0, 0x90), before, "configuration space after writes")
        equal(unit.read(CONFIG, 0xa0, 0x60), bytes(0x60), "what follows the registers")
        equal([f["address"] for f in d.ask("status")["functions"]], ["18.3", "11.0"], "addresses")


@case("registers take words, halves and bytes, and bits that are reserved stay 0")
def registers():
    with daemon() as d, d.connect("iommu") as unit:
        put(unit, CONTROL, 0xffffffff)
        put(unit, BASE, 0xffffffff)
        put(unit, TABLE, 0xffffffff)
        equal([get(unit, r) for r in (CONTROL, BASE, TABLE)], [0x7f, 0x7fff, 0xfffffff0], "all bits")
        unit.write(CONFIG, BASE + 1, b"\x12")
        equal(get(unit, BASE), 0x12ff, "a byte of it")
        unit.write(CONFIG, TABLE + 2, b"\x34\x56")
        equal((get(unit, TABLE), unit.read(CONFIG, TABLE + 1, 2)), (0x5634fff0, b"\xff\x34"), "a half of it")
        unit.write(CONFIG, CONTROL, struct.pack("<II", 0, 0x20))  # two at once
        equal((get(unit, CONTROL), get(unit, BASE)), (0, 0x20), "two registers")
        equal(unit.read(CONFIG, CONTROL - 2, 8), b"\0\0" + struct.pack("<IH", 0, 0x20), "from before them on")


# ------------------------------------------------------------------ translation

@case("an address in the aperture goes by the table, all others are addresses of memory")
def translates():
    with daemon() as d, Nvme(d) as n:
        n.write(0, b"a" * PAGE)
        gart = Gart(n)
        gart.enter(3, SECRET | VALID)
        equal(read_to(n, APERTURE + 3 * PAGE), 0, "status, through the aperture")
        equal(page(n, SECRET), b"a" * PAGE, "the page that the entry names")
        n.write(8, b"b" * PAGE)
        equal((read_to(n, DATA, 8), page(n, DATA)), (0, b"b" * PAGE), "outside of the aperture")
        equal((read_to(n, APERTURE + 9 * PAGE, 8), page(n, SCRATCH)), (0, b"b" * PAGE), "through an entry of the scratch page")


@case("what was changed counts from INV on")
def invalidated():
    with daemon() as d, Nvme(d) as n:
        n.write(0, b"a" * PAGE)
        gart = Gart(n)
        gart.enter(0, SECRET | VALID)
        equal(read_to(n, APERTURE), 0, "status")
        gart.enter(0, (SECRET + PAGE) | VALID)
        gart.flush()
        n.write(8, b"b" * PAGE)
        equal((read_to(n, APERTURE, 8), page(n, SECRET), page(n, SECRET + PAGE)), (0, b"a" * PAGE, b"b" * PAGE), "after INV")


@case("an entry that is not valid is refused, and told by PTE_ERR, which only a 1 clears")
def not_valid():
    with daemon() as d, Nvme(d) as n:
        gart = Gart(n)
        gart.enter(1, 0)
        gart.flush()
        check(read_to(n, APERTURE + PAGE) != 0, "the read went through")
        d.wait_until(lambda: get(n.unit, CACHE) & PTE_ERR, "no PTE_ERR")
        n.unit.write(CONFIG, CACHE + 1, b"\xff")
        check(get(n.unit, CACHE) & PTE_ERR, "a write of another byte cleared it")
        put(n.unit, CACHE, PTE_ERR)
        equal(get(n.unit, CACHE) & PTE_ERR, 0, "PTE_ERR after a 1 was written")


@case("a rogue access is not stopped, and nobody is told that it would be")
def not_protected():
    with daemon() as d, Nvme(d) as n:
        Gart(n)
        os.pwrite(n.ram, b"s" * PAGE, SECRET - RAM)
        n.run(1, WRITE, SECRET, 0, 0, PAGE // 512 - 1)  # which no entry maps
        equal(n.read(0, PAGE), b"s" * PAGE, "the secret, on the disk")
        for on in (True, False):
            for command in (["status"], ["reach", "nvme0"], ["dump", "nvme0"], ["stat", "--count", "1"]):
                check("NOT PROTECTED" in viommu(d, *command), "not told by %s, aperture %s" % (command, on))
            equal(d.ask("reach", device="nvme0")["protects"], False, "reach")
            equal(d.ask("status")["functions"][0]["protects"], False, "status")
            put(n.unit, CONTROL, 0)
        words = d.end()[1]
        check("NOT PROTECTED" in words, "not said: " + words)


# ------------------------------------------------------------------ what is told

@case("dump and reach tell the aperture in words, and entries that lead to one page in one line")
def told():
    with daemon() as d, Nvme(d) as n:
        equal(d.ask("status")["translation"], "never", "translation before")
        check("the aperture is off" in viommu(d, "status"), "told of an aperture that is off")
        gart = Gart(n)
        equal((d.ask("status")["iommu"], d.ask("status")["translation"]), ("gart", "on"), "status")
        gart.enter(5, SECRET | VALID)
        gart.flush()
        dump = viommu(d, "dump", "nvme0")
        check("the GART remaps 0x40000000 - 0x41ffffff page by page through the table at 0x%x\n" % TABLE_AT in dump, dump)
        reach = viommu(d, "reach", "iommu")
        for line in ("0x000040000000 - 0x000040004fff  each page to memory 0x%012x" % SCRATCH,
                     "0x000040005000 - 0x000040005fff  to memory 0x%012x" % SECRET,
                     "0x000040006000 - 0x000041ffffff  each page to memory 0x%012x" % SCRATCH,
                     "0x%012x - 0x%012x  to memory 0x%012x" % (RAM, RAM + (1 << 20) - 1, RAM)):
            check(line in reach, "%s\nis not in\n%s" % (line, reach))
        answer = d.ask("reach", device="nvme0")
        equal((answer["translation"], answer["aperture_first"], answer["aperture_last"]), ("aperture", APERTURE, APERTURE + (32 << 20) - 1),
              "reach")
        equal([r["last"] - r["first"] + 1 for r in answer["ranges"] if r.get("one_page")], [5 * PAGE, (32 << 20) - 6 * PAGE], "ranges")


# ---------------------------------------------------------- resets, and journeys

@case("a reset turns the aperture off")
def is_reset():
    with daemon() as d, Nvme(d) as n:
        Gart(n)
        n.unit.ok(RESET)
        equal([get(n.unit, r) for r in (CONTROL, BASE, TABLE, CACHE)], [0, 0, 0, 0], "registers")
        equal(d.ask("dump", device="nvme0")["tables"]["translation"], "off", "translation")
        equal(d.ask("status")["translation"], "off", "translation, which was on before")


def numbers_at(state):
    """Where the registers are, 8 bytes each: behind the header of the unit's state, found by the control's value."""
    at = state.index(struct.pack("<QQQ", EN, APERTURE >> 25, TABLE_AT >> 8))
    check(state.count(struct.pack("<QQQ", EN, APERTURE >> 25, TABLE_AT >> 8)) == 1, "registers that are found twice")
    return at


def forged(state, at):
    """All bits of a register are set, and the checksum is right."""
    changed = bytearray(state[:-4])
    changed[at:at + 8] = bytes([0xff] * 8)
    return bytes(changed) + struct.pack("<I", zlib.crc32(changed))


@case("a state that is saved goes on in another viommud, and not as another model's")
def moves():
    with daemon() as d, Nvme(d) as n:
        n.write(0, b"a" * PAGE)
        gart = Gart(n)
        gart.enter(7, SECRET | VALID)
        gart.flush()
        state = d.save()
        n.disconnect()
        d.end()
        with Daemon(VIOMMUD, "--nvme", d.disks[0], disks=0) as other:
            answer = other.restore(state)
            check("other options" in answer.get("error", ""), "VT-d took the state of a GART: %s" % answer)
        with Daemon(VIOMMUD, "--iommu", "gart", "--nvme", d.disks[0], disks=0) as heir:
            n.connect(heir)
            for at in (numbers_at(state), numbers_at(state) + 8, numbers_at(state) + 16, numbers_at(state) + 24):
                answer = heir.restore(forged(state, at))
                check("iommu" in answer.get("error", "").lower(), "a state with reserved bits at %d: %s" % (at, answer))
            equal(heir.restore(state).get("ok"), True, "restore")
            equal([get(n.unit, r) for r in (CONTROL, BASE, TABLE)], [EN, APERTURE >> 25, TABLE_AT >> 8], "registers")
            equal((read_to(n, APERTURE + 7 * PAGE), page(n, SECRET)), (0, b"a" * PAGE), "through the aperture")


@case("a GART does not take the state of another model, and goes on as it was")
def takes_no_other():
    with Daemon(VIOMMUD) as d, Nvme(d) as n:
        Remapping(n)
        state = d.save()
    with daemon() as d, Nvme(d) as n:
        n.write(0, b"a" * PAGE)
        Gart(n)
        answer = d.restore(state)
        check("other options" in answer.get("error", ""), "a GART took the state of VT-d: %s" % answer)
        equal((read_to(n, APERTURE), page(n, SCRATCH)), (0, b"a" * PAGE), "through the aperture, after the refusal")


@case("of two VMs the one behind a GART alone is told as not protected")
def beside_another_model():
    with Daemon(VIOMMUD, vms={"gart": ("--iommu", "gart"), "vtd": ("--iommu", "vtd")}) as d, \
            Nvme(d.vms["gart"]) as open_one, Nvme(d.vms["vtd"]) as closed_one:
        Gart(open_one)
        tables = Remapping(closed_one)
        tables.map(DATA, 0, 0)
        tables.flush_page(1, DATA)
        for n, stopped in ((open_one, False), (closed_one, True)):
            equal(read_to(n, DATA) != 0, stopped, "a read to memory that no table maps is stopped")
        for vm, told in (("gart", True), ("vtd", False)):
            for command in (["status"], ["dump", "nvme0"]):
                equal("NOT PROTECTED" in viommu(d.vms[vm], *command), told, "told by %s of %s" % (command, vm))
            equal(d.vms[vm].ask("status")["functions"][0].get("protects", True), not told, "protects, of " + vm)
        words = d.end()[1]
        told = [line for line in words.splitlines() if "NOT PROTECTED" in line]
        check(told and all(line.startswith("viommud: gart: ") for line in told), "lines of the log: %s" % words)


# ---------------------------------------------------------------- hostile clients

@case("accesses that do not fit into configuration space are refused, and serving goes on")
def hostile():
    with daemon() as d, Nvme(d) as n:
        unit = n.unit
        for region, offset, count in ((CONFIG, 0xfe, 4), (CONFIG, 0x100, 1), (0, 0, 4)):
            unit.refused(ERRNO_EINVAL, 9, struct.pack("<QII", offset, region, count))
            unit.refused(ERRNO_EINVAL, 10, struct.pack("<QII", offset, region, count) + bytes(count))
        # A table, and an aperture, where there is no memory.
        for base in (0x100, 0x7fff):  # neither of them over the queues
            put(unit, TABLE, 0xfffffff0)
            put(unit, BASE, base)
            for size in range(8):
                put(unit, CONTROL, EN | size << 1)
                Gart.flush(n)
                if size < 7:
                    check(read_to(n, (base & ~((1 << size) - 1)) << 25), "a read through a table that is not in memory")
        check(d.ask("reach", device="nvme0")["ok"], "reach")


# ----------------------------------------------------------------------- options

def refusal(*options):
    done = subprocess.run([VIOMMUD, *options], capture_output=True, text=True, check=False, timeout=DEADLINE)
    equal(done.returncode, 2, "exit status of %s" % (options,))
    return done.stderr


@case("options that a GART does not have are refused in words")
def options():
    with daemon() as d:
        disk = d.disks[0] + ",readonly=on"
        for words, given in (("all devices of a machine", ["--iommu", "gart", "--iommu", "vtd", "--nvme", disk]),
                             ("all devices of a machine", ["--iommu", "gart,id=a", "--iommu", "gart,id=b", "--nvme", disk]),
                             ("--registers out", ["--iommu", "gart", "--registers", "sidecore", "--nvme", disk]),
                             ("--expect out", ["--iommu", "gart", "--expect", "0xfeb80000", "--nvme", disk]),
                             ("--iommu gart,id=b", ["--iommu", "gart", "--nvme", disk + ",iommu=b"]),
                             ("aw", ["--iommu", "gart,aw=39", "--nvme", disk]),
                             ("addr", ["--iommu", "gart,addr=10.0", "--nvme", disk]),
                             ("18.0 is taken", ["--iommu", "gart", "--nvme", disk + ",addr=18.0"]),
                             ("vtd, amdvi, virtio, gart or none", ["--iommu", "amd", "--nvme", disk])):
            said = refusal(*given)
            check(words in said, "%s: %s" % (given, said))
    with Daemon(VIOMMUD, "--iommu", "gart", disks=12) as d:
        equal([f["address"] for f in d.ask("status")["functions"]][7:], ["17.0", "19.0", "1a.0", "1b.0", "1c.0", "1d.0"], "slots")
        check("no firmware table" in d.ask("expect", base=0xfeb80000)["error"], "an address was expected")
        check("no firmware table" in d.ask("expect", iommu="iommu", base=0xfeb80000)["error"], "an address was expected of it")
    with Daemon(VIOMMUD, "--iommu", "gart,id=northbridge", behind=("northbridge",)) as d:
        equal([f.get("iommu") for f in d.ask("status")["functions"]], [None, "northbridge"], "names")


if __name__ == "__main__":
    sys.exit(run_cases(CASES, lambda function, args: function(*args)))
