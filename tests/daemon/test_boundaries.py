#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""What viommud must not do, as its clients would see it, a line a case: test_boundaries.py VIOMMUD"""

import os
import stat
import struct
import sys
import time
import zlib

from served import (ADMIN_CQ, BAR0, CAP_MASTER, CASES, CONFIG, ENTRIES, IDENTIFY, DATA, PAGE, RAM, Daemon, Nvme, case,
                    check, equal, memfd, run_cases)
from protocol_client import DMA_WRITE  # found by served
from remapping import Remapping

VIOMMUD = os.path.abspath(sys.argv[1])
MODES = {"sidecore": (), "trap": ("--registers", "trap")}
HOLD = 1.0  # seconds; longer than no new command is taken after a state was saved
MESSAGES = 0xfee01000
IECTL = 0xa0
BASE, BAR_SIZE = 0xfeb80000, 0x10000


# --------------------------------------------------------- a VM that was saved

def completion(n):
    """The next place in the admin completion queue, as the guest sees it."""
    return os.pread(n.ram, 16, ADMIN_CQ - RAM + n.heads[0] % ENTRIES * 16)


def frozen(mode):
    with Daemon(VIOMMUD, *MODES[mode]) as d, Nvme(d) as n:
        before = completion(n)
        d.save()
        n.submit(0, IDENTIFY, DATA, 1)
        end = time.monotonic() + HOLD
        while time.monotonic() < end:
            equal(completion(n), before, "the admin completion queue")
            time.sleep(0.02)
        check(d.ask("status")["frozen"], "not frozen any more")


for mode_name in MODES:
    case("a VM that was saved stays as it is: registers %s" % mode_name, mode_name)(frozen)


@case("a state whose length is another, with the right checksum")
def length():
    with Daemon(VIOMMUD) as d, Nvme(d):
        state = bytearray(d.save())
    told = struct.unpack_from("<Q", state, 16)[0]
    equal(told, len(state), "the length that the state tells")
    with Daemon(VIOMMUD) as d:
        for other in (0, told - 8, told + 8, told + (1 << 32), (1 << 64) - 1):
            body = bytearray(state[:-4])
            struct.pack_into("<Q", body, 16, other)
            body += struct.pack("<I", zlib.crc32(bytes(body)))
            for offset in range(0, len(body), 2048):
                d.ask("restore", offset=offset, data=body[offset:offset + 2048].hex())
            check("error" in d.ask("restore"), "length %d was taken" % other)


# ------------------------------------------------------------------ interrupts

def messages(client):
    """Data of the writes to the interrupt range that have come."""
    client.alive()  # what was sent before this reply is there
    found = [struct.unpack_from("<QQI", payload) for (_, command, _, _, _), payload in client.requests
             if command == DMA_WRITE]
    client.requests = []
    return [data for address, _, data in found if address == MESSAGES]


@case("no interrupt leaves without a device that masters the bus")
def interrupts():
    with Daemon(VIOMMUD) as d, Nvme(d) as n:
        unit = Remapping(n)
        for offset, value in ((IECTL + 4, 0x4021), (IECTL + 8, MESSAGES), (IECTL, 0)):
            unit.set(offset, "<I", value)

        def interrupt():
            unit.set(0x9c, "<I", 1)  # ICS: the last one is over
            unit.submit(1 << 4 | 5, 0)

        def lost():
            return d.ask("counters")["counters"]["interrupts_lost"]["value"]

        def comes(what):
            """One, however long it takes, and none besides."""
            interrupt()
            found = []
            d.wait_until(lambda: found.extend(messages(n.client)) or found, "no interrupt " + what)
            equal(found, [0x4021], what)

        comes("with bus mastering")
        n.client.write(CONFIG, 4, struct.pack("<H", 2))
        before = lost()
        interrupt()
        d.wait_until(lambda: lost() > before, "it is not counted as lost")
        equal(messages(n.client), [], "without bus mastering")
        n.client.write(CONFIG, 4, CAP_MASTER)
        comes("with bus mastering again")


# ---------------------------------------------------------------------- memory

def pages(d):
    return d.ask("reach", device="nvme0")["memory_pages"]


@case("the page of its own registers, which the client announces like memory, is none")
def own_page():
    with Daemon(VIOMMUD) as d, d.connect("nvme0"), d.connect("iommu") as c:
        memory = memfd(1 << 20)
        c.map(RAM, 1 << 20, memory)
        before = pages(d)
        equal(before, 256, "pages of memory")
        c.write(CONFIG, 0x10, struct.pack("<I", BASE))
        c.write(CONFIG, 4, struct.pack("<H", 2))
        c.map(BASE, PAGE, memory)
        equal(pages(d), before, "pages with that of the registers")
        c.map(BASE + BAR_SIZE, PAGE, memory)
        equal(pages(d), before + 1, "pages with one behind it")
        os.close(memory)


# ----------------------------------------------------------------------- files

@case("a command that there is not, of any length and in any letters, is refused in JSON")
def no_such_command():
    with Daemon(VIOMMUD) as d:
        for name in ("nothing", "a" + 40 * "\u00e4", 1000 * "\u00e4"):
            error = d.ask(name)["error"]
            check(error.startswith("there is no command '" + name[:7]) and "there are status" in error, error)


@case("its sockets are its user's alone, whatever the umask was")
def modes():
    with Daemon(VIOMMUD, folder_is_there=False, umask=0) as d:
        equal(stat.S_IMODE(os.stat(d.dir).st_mode), 0o700, "mode of the folder")
        for name in ("nvme0.sock", "iommu.sock", "control.sock"):
            found = os.stat(os.path.join(d.dir, name))
            check(stat.S_ISSOCK(found.st_mode) and not found.st_mode & 0o077, "mode of %s: %o" % (name, found.st_mode))


if __name__ == "__main__":
    sys.exit(run_cases(CASES, lambda function, args: function(*args)))
