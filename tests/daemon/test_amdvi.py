#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""An AMD-Vi unit and its two PCI functions, a line a case: test_amdvi.py VIOMMUD VIOMMU"""

import os
import struct
import subprocess
import sys

from served import CASES, CONFIG, PAGE, RAM, READ, Daemon, Nvme, case, check, equal, run_cases
from protocol_client import GET_REGION_INFO, RESET  # found by served
import amdvi_driver as ad
from amdvi_driver import AmdVi

VIOMMUD, VIOMMU = (os.path.abspath(path) for path in sys.argv[1:3])
MODES = {"sidecore": ("--registers", "sidecore"), "trap": ("--registers", "trap"), "auto": ()}
SECRET, OTHER = RAM + 0xf0 * PAGE, RAM + 0xf1 * PAGE
IOVA = 0x40000000


def daemon(*options, **more):
    return Daemon(VIOMMUD, "--iommu", "amdvi", *options, **more)


def viommu(d, command, *operands):
    done = subprocess.run([VIOMMU, command, "--dir", d.dir, *operands], capture_output=True, text=True, check=False, timeout=30)
    check(done.returncode == 0, "%s: %s" % (command, done.stderr))
    return done.stdout


def read_to(n, address, block=0):
    """Status of a command that reads a page to this device address."""
    n.submit(1, READ, address, block, 0, PAGE // 512 - 1)
    return n.complete(1)[1]


def page(n, gpa):
    return os.pread(n.ram, PAGE, gpa - RAM)


# ------------------------------------------------------------------ the functions

@case("an operating system finds a function with the IOMMU capability and MSI, and its bus master bit always on")
def visible():
    with daemon() as d, d.connect("pci0") as pci:
        equal(pci.read(CONFIG, 9, 3) + pci.read(CONFIG, 0xe, 1), b"\x00\x06\x08\x80", "class, and more than one function")
        equal(struct.unpack("<I", pci.read(CONFIG, 0x40, 4))[0], 0x180b640f, "IOMMU capability")
        equal(pci.read(CONFIG, 0x64, 4), b"\x05\x00\x80\x00", "MSI capability")
        pci.write(CONFIG, 4, b"\0\0")
        equal(pci.read(CONFIG, 4, 2), b"\4\0", "command register")
        equal([(f["address"], f["kind"]) for f in d.ask("status")["functions"]],
              [("10.1", "iommu"), ("10.0", "iommu-pci"), ("11.0", "nvme")], "functions")


@case("the function with the registers hides once firmware has placed it, and comes back with a reset")
def hides():
    with daemon("--expect", "0xfebe0000") as d, d.connect("iommu") as unit:
        ad.place(unit, 0xfebe0000)
        equal(unit.read(CONFIG, 0, 4), b"\xff" * 4, "identity, hidden")
        check(not d.ask("status")["base_mismatch"], "mismatch")
        unit.ok(RESET)
        check(unit.read(CONFIG, 0, 4) != b"\xff" * 4, "it stays hidden")
        ad.place(unit, 0xfebd0000)
        check(d.ask("status")["base_mismatch"], "no mismatch, elsewhere")
        check("IVRS table says" in d.end()[1], "words")


@case("trapped registers have a page that can be mapped, so that QEMU waits for each write, and polled ones their own")
def areas():
    for mode, offset in (("auto", 0xf000), ("trap", 0xf000), ("sidecore", 0x2000)):
        with daemon(*MODES[mode]) as d, d.connect("iommu") as unit:
            info = unit.ok(GET_REGION_INFO, struct.pack("<IIIIQQ", 4096, 0, 0, 0, 0, 0))
            equal(struct.unpack_from("<QQ", info, 48), (offset, PAGE), mode)


# ------------------------------------------------------------------ translation

def in_each_mode(function):
    for name, options in MODES.items():
        CASES.append(("%s: %s" % (name, function.__doc__), function, options))
    return function


@in_each_mode
def translates(*options):
    """a device reaches what tables allow, and nothing once a completion wait has stored"""
    with daemon(*options) as d, Nvme(d) as n:
        n.write(0, b"a" * PAGE)
        unit = AmdVi(n)
        unit.map(IOVA, SECRET)
        equal((read_to(n, IOVA), page(n, SECRET)), (0, b"a" * PAGE), "through the mapping")
        unit.map(IOVA, 0, 0)
        unit.flush_page(IOVA)
        os.pwrite(n.ram, b"s" * PAGE, SECRET - RAM)
        check(read_to(n, IOVA) != 0, "an access goes through after the completion")
        equal(page(n, SECRET), b"s" * PAGE, "the page")
        unit.enter(3 | ad.READ | ad.WRITE)  # mode 0
        unit.flush_device()
        equal(read_to(n, SECRET), 0, "passed through")


@case("a blocked access is an event, and MSI of the function that the guest knows")
def events():
    with daemon() as d, Nvme(d) as n, d.connect("pci0") as pci:
        unit = AmdVi(n)
        interrupt = os.eventfd(0, os.EFD_NONBLOCK)
        pci.write(CONFIG, 0x66, b"\x81\0")
        pci.irqs(1, 0, 1, 0x24, fds=[interrupt])
        check(read_to(n, IOVA) != 0, "it went through")
        equal(unit.event(), (ad.IO_PAGE_FAULT, 0x11 << 3, 1, 0x20, IOVA), "event of a write")

        def signalled():
            try:
                return os.read(interrupt, 8)
            except BlockingIOError:
                return False
        d.wait_until(signalled, "no interrupt")
        os.close(interrupt)
        equal(d.ask("stat")["counters"]["interrupts_lost"], 0, "interrupts lost")


@case("an interrupt that nobody takes is counted")
def lost():
    with daemon() as d, Nvme(d) as n:
        AmdVi(n)
        check(read_to(n, IOVA) != 0, "it went through")
        d.wait_until(lambda: d.ask("stat")["counters"]["interrupts_lost"] > 0, "it is not counted")


# ------------------------------------------------------------------------- states

@case("the state goes to another viommud, with registers, rings and both functions")
def moves():
    with daemon() as d, daemon() as e, Nvme(d) as n:
        n.write(0, b"a" * PAGE)
        unit = AmdVi(n)
        unit.map(IOVA, SECRET)
        state = d.save()
        n.disconnect()
        with open(d.disks[0], "rb") as f, open(e.disks[0], "r+b") as to:
            to.write(f.read())
        n.connect(e)
        unit.client = n.unit
        check("ok" in e.restore(state), "restore")
        equal((read_to(n, IOVA), page(n, SECRET)), (0, b"a" * PAGE), "by the tables of before")
        unit.map(IOVA, 0, 0)
        unit.flush_page(IOVA)
        check(read_to(n, IOVA) != 0, "the command buffer does not go on")
        equal(unit.event()[0], ad.IO_PAGE_FAULT, "the event log does not go on")


@case("a state with another function's configuration is refused")
def forged():
    with daemon() as d:
        state = bytearray(d.save())
        at = state.index(struct.pack("<I", 0x180b640f))
        state[at] ^= 1
        check("ok" not in d.restore(bytes(state)), "it is taken")


# ---------------------------------------------------------------------- commands

@case("status tells the model, how registers are served, and whether translation is on")
def commands():
    with daemon() as d, Nvme(d) as n:
        check("AMD-Vi, registers trapped" in viommu(d, "status"), viommu(d, "status"))
        check("translation was NEVER turned on" in viommu(d, "status"), "before")
        AmdVi(n)
        check("translation is on" in viommu(d, "status"), "after")
        equal(d.ask("reach", device="nvme0")["translation"], "paged", "reach")
        check("device table entry" in viommu(d, "dump", "nvme0") or "translated by the guest's tables" in viommu(d, "dump", "nvme0"), "dump")
    with daemon("--registers", "sidecore") as d:
        check("AMD-Vi, registers polled" in viommu(d, "status"), "polled")


@case("units of both makers are refused, one of AMD-Vi beside virtio-iommu is not")
def mixes():
    with Daemon(VIOMMUD, "--iommu", "amdvi,id=a", "--iommu", "virtio,id=b", behind=("a", "b")) as d:
        equal([f["name"] for f in d.ask("status")["functions"]], ["a", "a-pci", "b", "nvme0", "nvme1"], "functions")
    done = subprocess.run([VIOMMUD, "--iommu", "amdvi", "--iommu", "vtd,id=b", "--nvme", "/dev/null"], capture_output=True, text=True, check=False)
    check(done.returncode == 2, "they are served: %s" % done.stderr)


def main():
    return run_cases(CASES, lambda function, options: function(*options))


if __name__ == "__main__":
    sys.exit(main())
