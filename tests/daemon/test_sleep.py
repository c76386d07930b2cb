#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""What viommud says of a guest that woke without its IOMMU, a line a case: test_sleep.py VIOMMUD"""

import contextlib
import os
import struct
import sys
import time

from served import CASES, CONFIG, Daemon, case, check, equal, run_cases
from protocol_client import RESET  # found by served

VIOMMUD = os.path.abspath(sys.argv[1])
COMMAND, BAR = 4, 0x10
DECODE, MASTER = struct.pack("<H", 2), struct.pack("<H", 6)
LOST, AGAIN = "THE GUEST HAS LOST ITS IOMMU", "have an address again"


def boot(client):
    """What firmware does with the function."""
    client.write(CONFIG, BAR, struct.pack("<I", 0xfebe0000))
    client.write(CONFIG, COMMAND, DECODE)


def reset(*clients):
    """What QEMU does with each of its functions: the reset, and zeros into each BAR."""
    for client in clients:
        client.ok(RESET)
        client.write(CONFIG, COMMAND, bytes(2))
        for i in range(6):
            client.write(CONFIG, BAR + 4 * i, bytes(4))


def is_lost(vm):
    return vm.ask("status")["registers_lost"]


def wakes(vm, iommu, nvme):
    boot(iommu)
    reset(iommu, nvme)


def boots_again(vm, iommu, nvme):
    wakes(vm, iommu, nvme)
    boot(iommu)


def boots_slowly(vm, iommu, nvme):
    """Firmware is at work on it."""
    wakes(vm, iommu, nvme)
    iommu.write(CONFIG, BAR, b"\xff" * 4)


def ends(vm, iommu, nvme):
    wakes(vm, iommu, nvme)
    iommu.close()
    vm.wait_until(lambda: not vm.ask("status")["functions"][0]["connected"], "the session does not end")


def starts(vm, iommu, nvme):
    """As QEMU resets what has never been booted."""
    reset(iommu, nvme)


def goes_on(vm, iommu, nvme):
    wakes(vm, iommu, nvme)
    nvme.write(CONFIG, COMMAND, MASTER)
    check(is_lost(vm), "a device goes on without the IOMMU, and it is not said")
    nvme.write(CONFIG, COMMAND, DECODE)
    nvme.write(CONFIG, COMMAND, MASTER)


def said_of(lines, name, words):
    return sum(line.startswith("viommud: %s: " % name) and words in line for line in lines)


@case("a guest that wakes without registers is told of once, and no other")
def told():
    guests = {"reboot": boots_again, "slow": boots_slowly, "end": ends, "start": starts, "dma": goes_on, "wake": wakes}
    with Daemon(VIOMMUD, vms={name: () for name in guests}) as d, contextlib.ExitStack() as stack:
        functions = {name: [stack.enter_context(d.vms[name].connect(f)) for f in ("iommu", "nvme0")] for name in guests}
        for name, play in guests.items():
            play(d.vms[name], *functions[name])
        # It was the last of them, so the time of the others is over, too.
        d.wait_until(lambda: is_lost(d.vms["wake"]), "a guest woke without registers, and it is not said")
        equal({name for name in guests if is_lost(d.vms[name])}, {"wake", "dma"}, "who has lost its registers")
        for name in ("wake", "dma"):
            boot(functions[name][0])
            check(not is_lost(d.vms[name]), "%s has registers again, and it is not said" % name)
        _, said = d.end()
    lines = said.splitlines()
    equal({name: said_of(lines, name, LOST) for name in guests if said_of(lines, name, LOST)}, {"wake": 1, "dma": 1},
          "the alarms")
    equal(sum(AGAIN in line for line in lines), 2, "the ends of alarms")
    check(all(word in line for line in lines if LOST in line for word in ("S3", "disable_s3=1", "reset")), "%r" % lines)


@case("resets as fast as they come do not flood the log")
def limited():
    began = time.monotonic()
    with Daemon(VIOMMUD) as d, d.connect("iommu") as iommu, d.connect() as nvme:
        for _ in range(100):
            wakes(d, iommu, nvme)
            nvme.write(CONFIG, COMMAND, MASTER)
        _, said = d.end()
    most = 10 + 2 * (time.monotonic() - began) + 2  # LOG_BURST and LOG_PER_SECOND, however slow the machine is
    check(1 <= said.count(LOST) <= most, "%d lines" % said.count(LOST))


if __name__ == "__main__":
    sys.exit(run_cases(CASES, lambda function, args: function(*args)))
