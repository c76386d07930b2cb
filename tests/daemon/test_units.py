#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Two units of one VM, each with a device of its own, a line a case: test_units.py VIOMMUD"""

import contextlib
import os
import signal
import struct
import subprocess
import sys
import tempfile
import time
import zlib

from served import BAR0, CASES, CONFIG, DATA, DEADLINE, PAGE, RAM, RAM_SIZE, READ, Daemon, Nvme, case, check, equal, memfd, run_cases
from remapping import QUEUE, Remapping
from protocol_client import DMA_WRITE, RESET

VIOMMUD = os.path.abspath(sys.argv[1])
MODES = {"sidecore": (), "trap": ("--registers", "trap")}
BASES = (0xfeb80000, 0xfeb90000)
FLOODED_READS = 40
FLOODED_TIMES, FLOODED_SECONDS = 10, 0.05  # as long as without a flood; the test itself needs the processor, too
IECTL = 0xa0
KIND_UNIT = 2  # of a section in a saved state
SECTION = struct.Struct("<IIQ")
HEADER = struct.Struct("<8sIIQ")


def daemon(*options, behind=("a", "b")):
    return Daemon(VIOMMUD, "--iommu", "vtd,id=a", "--iommu", "vtd,id=b", *options, behind=behind)


@contextlib.contextmanager
def guests(*options):
    """A daemon, and a driver for each controller. The clients of the units lend memory of their own."""
    with daemon(*options) as d, Nvme(d, "nvme0", "iommu") as a, Nvme(d, "nvme1", "iommu1") as b:
        yield d, a, b


def function(d, name):
    return next(f for f in d.ask("status")["functions"] if f["name"] == name)


def counter(d, name, **of):
    return d.ask("counters", **of)["counters"][name]["value"]


def reads_back(n, block):
    data = os.urandom(PAGE)
    n.write(block, data)
    return n.read(block, PAGE) == data


# ------------------------------------------------------------------ what is told

@case("units and devices are told by their names, with sockets and slots of their own")
def told():
    with daemon() as d:
        status = d.ask("status")
        found = [(f["kind"], f["name"], f.get("iommu"), f["address"]) for f in status["functions"]]
        equal(found, [("iommu", "a", None, "10.0"), ("iommu", "b", None, "f.0"), ("nvme", "nvme0", "a", "11.0"),
                      ("nvme", "nvme1", "b", "12.0")], "functions")
        equal(sorted(os.listdir(d.dir)), ["control.sock", "iommu.sock", "iommu1.sock", "nvme0.sock", "nvme1.sock"], "sockets")
        equal([d.ask(command, device=device)["iommu"] for command in ("reach", "dump") for device in ("nvme0", "nvme1")],
              ["a", "b", "a", "b"], "the units that reach and dump tell")
        equal([unit["iommu"] for unit in d.ask("stat")["units"]], ["a", "b"], "units of stat")
        for command in ("stat", "counters"):
            check("'c'" in d.ask(command, iommu="c").get("error", ""), "%s of a unit that is not there" % command)


@case("stat of one unit is about it and its devices alone")
def stat_of_one():
    with guests() as (d, a, b):
        tables = Remapping(b, slot=0x12)
        check(reads_back(b, 0), "data")
        tables.flush()
        equal((counter(d, "queue_waits", iommu="a"), counter(d, "queue_waits", iommu="b")), (0, counter(d, "queue_waits")),
              "wait descriptors of a, and of b")
        for unit, device in (("a", "nvme0"), ("b", "nvme1")):
            stat = d.ask("stat", iommu=unit)
            equal([one["device"] for one in stat["devices"]], [device], "devices behind " + unit)
            equal([one["iommu"] for one in stat["units"]], [unit], "units")


@case("an address that is expected is that of one unit")
def expected():
    with daemon("--expect", "0x%x,iommu=b" % BASES[1], "--expect", "0x%x" % BASES[0]) as d, \
            d.connect("iommu") as a, d.connect("iommu1") as b:
        equal([function(d, name)["expected_base"] for name in "ab"], list(BASES), "expected")
        for client, base in ((a, BASES[0]), (b, BASES[0] + 0x100000)):
            client.write(CONFIG, 0x10, struct.pack("<I", base))
            client.write(CONFIG, 4, struct.pack("<H", 2))
        equal([function(d, name)["base_mismatch"] for name in "ab"], [False, True], "mismatch")
        check(d.ask("status")["base_mismatch"], "not told of the whole")
        check("ok" in d.ask("expect", iommu="b", base=BASES[0] + 0x100000), "expect")
        equal([function(d, name)["base_mismatch"] for name in "ab"], [False, False], "mismatch, expected anew")
        check("'c'" in d.ask("expect", iommu="c", base=BASES[0])["error"], "expect of a unit that is not there")


@case("of an address that is expected again and again the last one counts")
def expected_again():
    again = [part for base in range(6) for part in ("--expect", "0x%x,iommu=b" % (BASES[0] + base * PAGE))]
    with daemon(*again, "--expect", "0x%x" % BASES[0]) as d:
        equal([function(d, name)["expected_base"] for name in "ab"], [BASES[0], BASES[0] + 5 * PAGE], "expected")


# ------------------------------------------------------------------------ apart

def translation(d):
    status = d.ask("status")
    return [f["translation"] for f in status["functions"] if f["kind"] == "iommu"] + [status["translation"]]


@case("translation is that of one unit, and the whole is as unprotected as its worst")
def apart():
    with guests() as (d, a, b):
        equal(translation(d), ["never", "never", "never"], "translation")
        Remapping(a)
        equal(translation(d), ["on", "never", "never"], "translation, a's on")
        check(reads_back(a, 0) and reads_back(b, 0), "data")
        equal([d.ask("dump", device=name)["tables"]["translation"] for name in ("nvme0", "nvme1")], ["paged", "off"], "devices")
        Remapping(b, slot=0x12)
        equal(translation(d), ["on", "on", "on"], "translation, both on")
        check(reads_back(a, 1) and reads_back(b, 1), "data")


@case("a reset, and the end of its clients, leave the other unit at work")
def ends_apart():
    with guests() as (d, a, b):
        Remapping(a)
        tables = Remapping(b, slot=0x12)
        check(reads_back(a, 0) and reads_back(b, 0), "data")
        a.unit.ok(RESET)
        equal(translation(d), ["off", "on", "off"], "translation after a reset of a")
        check(reads_back(b, 1), "data behind b after the reset")
        a.disconnect()
        d.wait_until(lambda: not function(d, "a")["connected"], "its client is still there")
        tables.flush()
        check(reads_back(b, 2), "data behind b after a's clients have gone")
        equal(translation(d)[1], "on", "translation of b")


@case("a client of the second unit that breaks the protocol hurts only its own session")
def hostile():
    with guests() as (d, a, b):
        Remapping(a)
        for junk in (bytes(64), b"\xff" * 64, os.urandom(4096)):
            b.unit.send_raw(junk)
            check(reads_back(a, 0), "data behind a")
            b.unit.close()
            d.wait_until(lambda: not function(d, "b")["connected"], "the session goes on")
            b.unit = d.connect("iommu1")
        b.unit.map(RAM, RAM_SIZE, b.ram)
        Remapping(b, slot=0x12)
        check(reads_back(b, 0), "data behind b in a new session")


def messages(client):
    """How many writes to the interrupt range have come."""
    client.alive()  # what was sent before this reply is there
    found = sum(command == DMA_WRITE for (_, command, _, _, _), _ in client.requests)
    client.requests = []
    return found


@case("a unit's own interrupts go out through a device behind it, and through another one when that cannot")
def interrupts():
    with guests() as (d, a, b):
        Remapping(a)
        tables = Remapping(b, slot=0x12)
        for offset, value in ((IECTL + 4, 0x4021), (IECTL + 8, 0xfee00000), (IECTL, 0)):
            tables.set(offset, "<I", value)
        for master, expected in ((True, [0, 1]), (False, [1, 0])):
            b.client.write(CONFIG, 4, struct.pack("<H", 6 if master else 2))
            tables.set(0x9c, "<I", 1)  # ICS: the last one is over
            tables.submit(1 << 4 | 5, 0)
            found = [0, 0]

            def have_come():
                for i, n in enumerate((a, b)):
                    found[i] += messages(n.client)
                return any(found)

            d.wait_until(have_come, "no interrupt")
            equal(found, expected, "interrupts through nvme0 and nvme1")


@case("a unit's own interrupts go out through its own function where firmware lets that one master the bus")
def interrupts_of_its_own():
    with guests() as (d, a, b):
        tables = Remapping(b, slot=0x12)
        for offset, value in ((IECTL + 4, 0x4021), (IECTL + 8, 0xfee00000), (IECTL, 0)):
            tables.set(offset, "<I", value)
        for n in (a, b):
            n.client.write(CONFIG, 4, struct.pack("<H", 2))  # no device masters the bus
        b.unit.write(CONFIG, 0x10, struct.pack("<I", BASES[1]))
        command = struct.unpack("<H", b.unit.read(CONFIG, 4, 2))[0]
        b.unit.write(CONFIG, 4, struct.pack("<H", command | 2))
        equal([function(d, name)["bus_master"] for name in ("a", "b", "nvme0", "nvme1")], [False, True, False, False], "bus masters")
        tables.submit(1 << 4 | 5, 0)
        d.wait_until(lambda: messages(b.unit), "no interrupt")
        equal(messages(a.client) + messages(b.client) + messages(a.unit), 0, "messages of others")
        equal(counter(d, "interrupts_lost"), 0, "lost")
        b.unit.ok(RESET)
        check(not function(d, "b")["bus_master"], "it masters the bus after a reset")


@case("each VM of a daemon has units of its own")
def vms():
    units = ("--iommu", "vtd,id=a", "--iommu", "vtd,id=b")
    with Daemon(VIOMMUD, vms={"x": units, "y": units}) as d, Nvme(d.vms["x"], "nvme0", "iommu") as x, \
            Nvme(d.vms["y"], "nvme0", "iommu") as y:
        Remapping(x)
        equal([translation(d.vms[name]) for name in "xy"], [["on", "never", "on"], ["never"] * 3], "translation")
        check(reads_back(x, 0) and reads_back(y, 0), "data")
        for name in "xy":
            check("iommu1.sock" in os.listdir(d.vms[name].dir), "the second unit's socket")


@case("a start that fails at the second unit leaves nothing of the first")
def fails_at_the_second():
    with tempfile.TemporaryDirectory() as folder:
        in_the_way, disk = os.path.join(folder, "iommu1.sock"), os.path.join(folder, "disk")
        for path in (in_the_way, disk):
            with open(path, "wb") as f:
                f.truncate(1 << 20)
        ended = subprocess.run([VIOMMUD, "--dir", folder, "--iommu", "vtd", "--iommu", "vtd", "--nvme", disk],
                               stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=DEADLINE, check=False)
        equal(ended.returncode, 1, "exit status")
        check("iommu1.sock" in ended.stderr, ended.stderr)
        equal(sorted(os.listdir(folder)), ["disk", "iommu1.sock"], "what is left")


@case("a unit that no device stands behind is served and told, and leaves nothing unprotected")
def without_devices():
    with daemon(behind=("b",)) as d, Nvme(d, "nvme0", "iommu1") as b:
        equal(translation(d), ["never", "never", "never"], "translation")
        Remapping(b)
        equal(translation(d), ["never", "on", "on"], "translation of the unit with the device, and of the whole")
        check(reads_back(b, 0), "data")
        with d.connect("iommu") as a:
            for bit in (1 << 30, 1 << 31):  # a root table at 0, translation
                a.write(BAR0, 0x18, struct.pack("<I", bit))
            d.wait_until(lambda: translation(d) == ["on", "on", "on"], "the unit without devices is not told as on")
        check("ok" in d.restore(d.save()), "its own state is refused")
        check(reads_back(b, 1), "data after a restore")


def rogue(mode):
    with guests(*MODES[mode]) as (d, a, b):
        tables = Remapping(a)
        Remapping(b, slot=0x12)
        tables.map(DATA, 0, 0)
        tables.flush_page(1, DATA)
        a.submit(1, READ, DATA, 0, 0, 0)
        check(a.complete(1)[1] != 0, "a read into memory that is not mapped went through")
        check(reads_back(b, 0), "data of the other unit's device, in the same domain and at the same address")
        d.wait_until(lambda: d.ask("stat")["last_faults"], "no fault")
        faults = {(f["iommu"], f["device"], f["iova"] & ~(PAGE - 1)) for f in d.ask("stat")["last_faults"]}
        equal(faults, {("a", "nvme0", DATA)}, "faults")
        equal(d.ask("stat", iommu="b")["last_faults"], [], "faults of the other")
        equal(sorted((one["iommu"], one["domain"], one["devices"]) for one in d.ask("stat")["domains"] if one["devices"]),
              [("a", 1, ["nvme0"]), ("b", 1, ["nvme1"])], "domains")


for mode_name in MODES:
    case("a rogue device behind one unit leaves the other's devices alone: registers %s" % mode_name, mode_name)(rogue)


class Flood:
    """A queue that is filled again as soon as it is empty, by a process of its own: a thread would keep the reads from the interpreter."""

    def __init__(self, tables):
        self.tables = tables
        for at in range(0, PAGE, 16):
            tables.put(QUEUE + at, 1 << 4 | 2, 0)

    def run(self):
        tail = self.tables.tail
        while True:
            tail = (tail + PAGE - 16) % PAGE
            self.tables.set(0x88, "<Q", tail)

    def __enter__(self):
        self.child = os.fork()
        if not self.child:
            try:
                self.run()
            finally:
                os._exit(1)

    def __exit__(self, *unused):
        os.kill(self.child, signal.SIGKILL)
        os.waitpid(self.child, 0)


def timed_reads(b, data, after_each=lambda: None):
    """Seconds that the reads take alone."""
    seconds = 0
    for _ in range(FLOODED_READS):
        began = time.monotonic()
        check(b.read(0, PAGE) == data, "the other unit's device reads something else")
        seconds += time.monotonic() - began
        after_each()
    return seconds


def flood(mode):
    with guests(*MODES[mode]) as (d, a, b):
        tables = Remapping(a)
        Remapping(b, slot=0x12)
        data = os.urandom(PAGE)
        b.write(0, data)
        quiet = timed_reads(b, data)

        def flood_goes_on():
            before = counter(d, "queue_descriptors", iommu="a")
            d.wait_until(lambda: counter(d, "queue_descriptors", iommu="a") > before, "the flood does not go on")

        with Flood(tables):
            flooded = timed_reads(b, data, flood_goes_on)
        quiet = max(quiet, timed_reads(b, data))  # of a machine that got busy meanwhile
        limit = FLOODED_TIMES * quiet + FLOODED_READS * FLOODED_SECONDS
        check(flooded < limit, "reads took %.3f s, %.3f s without the flood" % (flooded, quiet))
        hits, misses = (counter(d, name, iommu="b") for name in ("iotlb_hits", "iotlb_misses"))
        equal(counter(d, "iotlb_global_invalidations", iommu="b"), 1, "invalidations of the other unit")
        check(hits > FLOODED_READS > misses, "hits %d, misses %d: its cache is dropped" % (hits, misses))


for mode_name in MODES:
    case("a flood of invalidations of one unit leaves the other's cache and devices alone: registers %s" % mode_name,
         mode_name)(flood)


@case("the register page of either unit is no memory of either")
def pages():
    with daemon() as d, d.connect("iommu") as a, d.connect("iommu1") as b:
        memory = memfd(1 << 20)
        for client, base in ((a, BASES[0]), (b, BASES[1])):
            client.map(RAM, 1 << 20, memory)
            client.write(CONFIG, 0x10, struct.pack("<I", base))
            client.write(CONFIG, 4, struct.pack("<H", 2))
        for client in (a, b):
            for base in BASES:
                client.map(base, PAGE, memory)
        equal([d.ask("reach", device=name)["memory_pages"] for name in ("nvme0", "nvme1")], [256, 256], "pages of memory")
        os.close(memory)


def place(client, base):
    client.write(CONFIG, 0x10, struct.pack("<I", base))
    client.write(CONFIG, 4, struct.pack("<H", 2))


def memory_pages(d):
    return [d.ask("reach", device=name)["memory_pages"] for name in ("nvme0", "nvme1")]


@case("a register page that was announced before its unit got the address is taken back from all units")
def pages_before():
    memory = memfd(1 << 20)
    with daemon() as d, d.connect("iommu") as a, d.connect("iommu1") as b:
        for client in (a, b):
            client.map(RAM, 1 << 20, memory)
            for base in BASES:
                client.map(base, PAGE, memory)
        equal(memory_pages(d), [258, 258], "pages before")
        place(a, BASES[0])
        equal(memory_pages(d), [257, 257], "pages with the registers of a")
        place(b, BASES[1])
        equal(memory_pages(d), [256, 256], "pages with the registers of both")
        state = d.save()
        with daemon() as other, other.connect("iommu") as a, other.connect("iommu1") as b:
            for client in (a, b):
                client.map(RAM, 1 << 20, memory)
                for base in BASES:
                    client.map(base, PAGE, memory)
            check("ok" in other.restore(state), "the state is refused")
            equal(memory_pages(other), [256, 256], "pages after a restore")
    os.close(memory)


# ----------------------------------------------------------------------- states

def sections(state):
    """(kind, index, where its bytes begin, how many)"""
    at, found = HEADER.size, []
    for _ in range(HEADER.unpack_from(state)[2]):
        kind, index, length = SECTION.unpack_from(state, at)
        found.append((kind, index, at + SECTION.size, length))
        at += SECTION.size + (length + 7 & ~7)
    return found


@case("both units are in a state, and go on from it")
def moves():
    with guests() as (d, a, b):
        tables = Remapping(a), Remapping(b, slot=0x12)
        reply = d.patiently("save")
        equal(reply["units"], 2, "units in the state")
        state = bytes.fromhex(reply["state"])
        equal([(kind, index) for kind, index, _, _ in sections(state)], [(3, 0), (3, 1 | 1 << 16), (2, 0), (2, 1), (1, 0), (1, 1)], "sections")
        with daemon() as other:
            for n, names in ((a, ("nvme0", "iommu")), (b, ("nvme1", "iommu1"))):
                n.disconnect()
                n.connect(other, *names)
            for n, its in ((a, tables[0]), (b, tables[1])):
                its.client = n.unit
            equal(other.restore(state).get("units"), 2, "units that go on")
            equal(translation(other), ["on", "on", "on"], "translation")
            check(reads_back(a, 0) and reads_back(b, 0), "data")
            tables[0].flush()
            tables[1].flush()


@case("a state of devices that stood behind other units is refused")
def moved_devices():
    with guests() as (d, _, _):
        state = d.save()
        with daemon(behind=("b", "a")) as other:
            check("another IOMMU" in other.restore(state)["error"], "not refused")


@case("a state of units of other widths is refused, also when each of them is there")
def widths():
    def of_widths(a, b):
        return Daemon(VIOMMUD, "--iommu", "vtd,id=a,aw=%d" % a, "--iommu", "vtd,id=b,aw=%d" % b, behind=("a", "b"))

    with of_widths(39, 48) as d, of_widths(39, 48) as same, of_widths(48, 39) as other:
        state = d.save()
        check("ok" in same.restore(state), "the same widths are refused")
        check("IOMMU 'a'" in other.restore(state)["error"], "not refused")


@case("a state that one unit refuses leaves the other as it is")
def all_or_nothing():
    with guests() as (d, a, b):
        off = bytearray(d.save())
        check("ok" in d.restore(off), "its own state is refused")
        Remapping(a)
        Remapping(b, slot=0x12)
        _, _, at, _ = next(one for one in sections(off) if one[:2] == (KIND_UNIT, 1))
        off[at + 64] ^= 1
        off[-4:] = struct.pack("<I", zlib.crc32(bytes(off[:-4])))
        check("state of the IOMMU 'b' " in d.restore(off)["error"], "not refused for the second unit")
        equal(translation(d), ["on", "on", "on"], "translation")
        check(reads_back(a, 0) and reads_back(b, 0), "data")


if __name__ == "__main__":
    sys.exit(run_cases(CASES, lambda function, args: function(*args)))
