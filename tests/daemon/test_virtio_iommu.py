#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""A virtio-iommu unit and its virtqueues, a line a case: test_virtio_iommu.py VIOMMUD VIOMMU"""

import os
import struct
import subprocess
import sys

from served import BAR0, CASES, CONFIG, DATA, PAGE, RAM, RAM_SIZE, READ, Daemon, Nvme, case, check, equal, run_cases
from protocol_client import RESET  # found by served
import virtio_driver as vd
from virtio_driver import EVENTS, INVAL, NOENT, OK, REQUESTS, Virtio

VIOMMUD, VIOMMU = (os.path.abspath(path) for path in sys.argv[1:3])
MODES = {"sidecore": (), "trap": ("--registers", "trap")}
SECRET, OTHER = RAM + 0xf0 * PAGE, RAM + 0xf1 * PAGE
IOVA = 0x40000000
UNKNOWN, DOMAIN, MAPPING = range(3)  # reasons of an event


def daemon(*options, **more):
    return Daemon(VIOMMUD, "--iommu", "virtio", *options, **more)


def viommu(d, command, *operands):
    done = subprocess.run([VIOMMU, command, "--dir", d.dir, *operands], capture_output=True, text=True, check=False, timeout=30)
    check(done.returncode == 0, "%s: %s" % (command, done.stderr))
    return done.stdout


def read_to(n, address, block=0, length=PAGE):
    """Status of a command that reads blocks to this device address."""
    n.submit(1, READ, address, block, 0, length // 512 - 1)
    return n.complete(1)[1]


def page(n, gpa):
    return os.pread(n.ram, PAGE, gpa - RAM)


def fill(n, block=0, byte=b"a"):
    n.write(block, byte * PAGE)


# ---------------------------------------------------------------- the function

@case("an operating system finds a modern virtio device, and where its structures are")
def identity():
    with daemon() as d, d.connect("iommu") as unit:
        equal(unit.read(CONFIG, 0, 4) + unit.read(CONFIG, 8, 4), struct.pack("<HHI", 0x1af4, 0x1057, 0x08060001), "identity")
        at, kinds = unit.read(CONFIG, 0x34, 1)[0], {}
        while at:
            kind, following, length, which = unit.read(CONFIG, at, 4)
            if kind == 9:
                kinds[which] = unit.read(CONFIG, at, length)
            at = following
        equal(sorted(kinds), [1, 2, 3, 4, 5], "capabilities")
        places = {k: struct.unpack_from("<BxxxII", c, 4) for k, c in kinds.items() if k != 5}
        equal(places, {1: (0, 0, 0x38), 2: (0, 0x3000, 0x1000), 3: (0, 0x1000, 1), 4: (0, 0x2000, 40)}, "structures")
        equal([f["address"] for f in d.ask("status")["functions"]], ["10.0", "11.0"], "addresses")


@case("features, and the ranges that requests may use, are told")
def configuration():
    with daemon() as d, Nvme(d) as n:
        v = Virtio(n)
        offered = 0
        for half in range(2):
            v.put("<I", vd.DEVICE_SELECT, half)
            offered |= v.get("<I", vd.DEVICE_FEATURE) << 32 * half
        equal(offered, Virtio.features | vd.MMIO, "features")
        equal([v.config("<I", offset) for offset in range(8, 24, 4)], [0, 0, 0xffffffff, 0xffff], "input range")
        check(v.config("<I", 0) & PAGE, "page size mask")
        equal((v.get("<H", 0x12), v.get("<B", vd.STATUS)), (2, 15), "queues, status")


@case("features that were not offered, and none without VERSION_1, are not accepted")
def bad_features():
    for features in (Virtio.features | 1 << 40, Virtio.features & ~vd.VERSION_1):
        with daemon() as d, Nvme(d) as n:
            v = Virtio.__new__(Virtio)
            v.client, v.ram, v.features = n.unit, n.ram, features
            try:
                v.begin()
            except Exception:  # pylint: disable=broad-except
                equal(v.get("<B", vd.STATUS) & vd.FEATURES_OK, 0, "FEATURES_OK")
            else:
                check(False, "they are accepted: 0x%x" % features)


# ------------------------------------------------------------------ translation

def in_each_mode(function):
    for name, options in MODES.items():
        CASES.append(("%s: %s" % (name, function.__doc__), function, options))
    return function


@in_each_mode
def translates(*options):
    """a device reaches what was mapped, and nothing once it was unmapped"""
    with daemon(*options) as d, Nvme(d) as n:
        fill(n)
        v = Virtio(n).protect()
        equal(v.map(IOVA, SECRET), OK, "map")
        equal((read_to(n, IOVA), page(n, SECRET)), (0, b"a" * PAGE), "through the mapping")
        equal(v.unmap(IOVA), OK, "unmap")
        os.pwrite(n.ram, b"s" * PAGE, SECRET - RAM)
        check(read_to(n, IOVA) != 0, "an access goes through after UNMAP was answered")
        equal(page(n, SECRET), b"s" * PAGE, "the page")
        equal(v.detach(), OK, "detach")
        equal(read_to(n, SECRET), 0, "in no domain, with bypass")


@case("adjacent mappings whose memory is not adjacent are read each in its place")
def scatter():
    with daemon() as d, Nvme(d) as n:
        fill(n, 0, b"a")
        fill(n, 8, b"b")
        v = Virtio(n).protect()
        for i, gpa in enumerate((OTHER, SECRET)):
            equal(v.map(IOVA + i * PAGE, gpa), OK, "map")
        n.submit(1, READ, IOVA + 512, 0, 0, 7)  # 4096 bytes from 512 on: over both
        # PRP1 with an offset takes a second page, which PRP2 names.
        n.complete(1)
        n.run(1, READ, IOVA + 512, 0, 0, 7, IOVA + PAGE)
        equal((page(n, OTHER)[512:], page(n, SECRET)[:512]), (b"a" * (PAGE - 512), b"a" * 512), "both pages")


@case("requests of a batch come back in order, with one notification, and none while the sidecore is awake")
def batch():
    with daemon("--idle-us", "1000000") as d, Nvme(d) as n:
        v = Virtio(n).protect()
        queue = v.queues[REQUESTS]
        d.wait_until(lambda: queue.used()[0] & 1, "notifications are wanted though the sidecore is awake")
        answers = [v.lay(i, v.map_request(IOVA + i * PAGE, SECRET, PAGE)) for i in range(7)]
        queue.offer(*range(0, 14, 2))
        v.kick()
        equal([queue.take() for _ in range(7)], [(2 * i, 4) for i in range(7)], "used ring")
        equal([os.pread(n.ram, 4, a - RAM) for a in answers], [b"\0\0\0\0"] * 7, "answers")


@case("an idle sidecore asks for notifications, and one wakes it")
def idle():
    with daemon() as d, Nvme(d) as n:
        v = Virtio(n).protect()
        for _ in range(3):
            d.wait_until(lambda: not v.queues[REQUESTS].used()[0] & 1, "notifications are not wanted though it is idle")
            equal((v.map(IOVA, SECRET), v.unmap(IOVA)), (OK, OK), "requests")


@case("an indirect buffer, and one that ends in an indirect table, are requests too")
def indirect():
    with daemon() as d, Nvme(d) as n:
        v = Virtio(n).protect()
        queue, table = v.queues[REQUESTS], vd.BUFFERS + 8 * PAGE
        answer = v.lay(0, v.map_request(IOVA, SECRET, PAGE))
        at = vd.BUFFERS
        queue.describe(0, at, 20, vd.NEXT, 1, table)
        queue.describe(1, at + 20, 16, vd.NEXT, 2, table)
        queue.describe(2, answer, 4, vd.WRITE_FLAG, 0, table)
        queue.describe(5, table, 48, vd.INDIRECT_FLAG)
        queue.offer(5)
        v.kick()
        equal((queue.take(), os.pread(n.ram, 4, answer - RAM)), ((5, 4), bytes(4)), "an indirect table alone")
        answer = v.lay(0, v.unmap_request(IOVA, PAGE))
        queue.describe(6, at, 28, vd.NEXT, 7)
        queue.describe(7, table, 16, vd.INDIRECT_FLAG)
        queue.describe(0, answer, 4, vd.WRITE_FLAG, 0, table)
        queue.offer(6)
        v.kick()
        equal((queue.take(), os.pread(n.ram, 4, answer - RAM)), ((6, 4), bytes(4)), "a table behind a descriptor")


@case("statuses, and what cannot be understood comes back unwritten")
def statuses():
    with daemon() as d, Nvme(d) as n:
        v = Virtio(n)
        equal(v.attach(endpoint=0x10 << 3), NOENT, "the unit's own function is no endpoint")
        equal(v.attach(endpoint=0x1f << 3), NOENT, "an endpoint that is not there")
        equal(v.map(IOVA, SECRET), NOENT, "a domain that is not there")
        equal(v.attach(), OK, "attach")
        equal((v.map(IOVA, SECRET), v.map(IOVA, OTHER)), (OK, INVAL), "twice the same address")
        equal(v.ask(b"\x77" + bytes(19)), b"", "a type that nobody knows")
        equal(v.ask(b"\1"), b"", "a request without its end")
        answer = v.ask(struct.pack("<B3xI64x", vd.PROBE_REQUEST, v.endpoint), 516)
        equal((len(answer), answer[512]), (516, OK), "probe")
        equal(struct.unpack_from("<HHB3xQQ", answer), (1, 20, 1, 0xfee00000, 0xfeefffff), "the range of interrupt messages")


# ------------------------------------------------------------------------ events

@case("what is blocked is told by an event with reason, direction, endpoint and address, and an interrupt")
def events():
    with daemon() as d, Nvme(d) as n:
        v = Virtio(n).protect()
        interrupt = os.eventfd(0, os.EFD_NONBLOCK)
        n.unit.write(CONFIG, 0x42, struct.pack("<H", 0x8000 | 2))
        n.unit.irqs(2, 2, 1, 0x24, fds=[interrupt])  # MSI-X, the vector of the event queue, an eventfd to trigger
        check(read_to(n, IOVA) != 0, "it went through")
        v.offer_events()
        equal(v.event(), (MAPPING, 2 | 1 << 8, v.endpoint, IOVA), "the event of a write")
        d.wait_until(lambda: is_signalled(interrupt), "no interrupt")
        os.close(interrupt)


def is_signalled(fd):
    try:
        return os.read(fd, 8)
    except BlockingIOError:
        return False


@case("events wait for buffers, the rest is lost and counted, and a buffer that is too short comes back empty")
def back_pressure():
    with daemon() as d, Nvme(d) as n:
        v = Virtio(n).protect()
        for i in range(70):
            check(read_to(n, IOVA + i * PAGE) != 0, "it went through")
        v.offer_events(1, 23)
        equal(v.queues[EVENTS].take(), (0, 0), "a short buffer")
        for i in range(64):
            v.offer_events(1)
            equal(v.event()[3], IOVA + i * PAGE, "address of event %d" % i)
        lost = d.ask("stat")["counters"]["faults_lost"]
        check(lost, "nothing is counted as lost")


# --------------------------------------------------------------- broken drivers

def breaks(name, lay):
    """lay(v, q): what the driver does to its request queue."""
    def run():
        with daemon() as d, Nvme(d) as n:
            v = Virtio(n).protect()
            lay(v, v.queues[REQUESTS])
            v.kick()
            d.wait_until(lambda: v.get("<B", vd.STATUS) & vd.NEEDS_RESET, "the device does not ask for a reset")
            check(read_to(n, IOVA) != 0, "the device is not protected any more")
            v.reset()
            v.begin()
            equal((v.attach(), v.map(IOVA, SECRET)), (OK, OK), "after the reset")
    CASES.append(("a driver that puts %s has to reset the device" % name, run, ()))


breaks("a head out of range into the ring", lambda v, q: q.offer(vd.SIZE))
breaks("more buffers into the ring than it has", lambda v, q: os.pwrite(v.ram, struct.pack("<H", (q.made + 17) & 0xffff), q.driver + 2 - RAM))
breaks("a chain without an end", lambda v, q: (q.describe(0, vd.BUFFERS, 4, vd.NEXT, 0), q.offer(0)))
breaks("what is read behind what is written",
       lambda v, q: (q.describe(0, vd.BUFFERS, 4, vd.NEXT | vd.WRITE_FLAG, 1), q.describe(1, vd.BUFFERS, 4, 0), q.offer(0)))
breaks("an indirect table into one",
       lambda v, q: (q.describe(0, vd.BUFFERS, 16, vd.INDIRECT_FLAG), q.describe(0, vd.BUFFERS, 16, vd.INDIRECT_FLAG, 0, vd.BUFFERS), q.offer(0)))
breaks("addresses without memory",
       lambda v, q: (q.describe(0, 1 << 40, 20, vd.NEXT, 1), q.describe(1, vd.BUFFERS, 4, vd.WRITE_FLAG), q.offer(0)))


@case("a queue that broke with a request under way keeps no state from being saved")
def broken_and_saved():
    with daemon() as d, Nvme(d) as n:
        v = Virtio(n).protect()
        v.lay(0, v.map_request(IOVA, SECRET, PAGE))
        v.queues[REQUESTS].offer(0, vd.SIZE)
        v.kick()
        d.wait_until(lambda: v.get("<B", vd.STATUS) & vd.NEEDS_RESET, "the device does not ask for a reset")
        check(d.save(), "no state")


# ------------------------------------------------------------------------ resets

@case("a driver's reset keeps devices where they are until the next driver attaches them")
def keeps():
    with daemon() as d, Nvme(d) as n:
        fill(n)
        v = Virtio(n).protect()
        equal(v.map(IOVA, SECRET), OK, "map")
        v.reset()
        equal((read_to(n, IOVA), page(n, SECRET)), (0, b"a" * PAGE), "an address of before")
        check(read_to(n, OTHER) != 0, "a reset turned the protection off")
        v.begin()
        equal(v.map(IOVA, OTHER), NOENT, "the domain of before, for the next driver")
        equal((read_to(n, IOVA), page(n, SECRET)), (0, b"a" * PAGE), "an address of before, for the next driver")
        check(read_to(n, OTHER) != 0, "a request of the next driver turned the protection off")
        v.protect()
        check(read_to(n, IOVA) != 0, "an address of before, in a domain of the next driver")


@case("a reset of the function is a power-on: bypass, or blocked where boot-bypass=off says so")
def power_on():
    for option, result in (("virtio", 0), ("virtio,boot-bypass=off", None)):
        with Daemon(VIOMMUD, "--iommu", option) as d, d.connect("iommu") as unit:
            equal(unit.read(BAR0, vd.DEVICE + 36, 1)[0], result is not None, "bypass")
            equal([f["translation"] for f in d.ask("status")["functions"][:1]], ["never" if result == 0 else "on"], "translation")


@case("a reset of the function in the midst of requests leaves nothing of them")
def reset_amid():
    with daemon() as d, Nvme(d) as n:
        for _ in range(20):
            v = Virtio(n).protect()
            for i in range(7):
                v.lay(i, v.map_request(IOVA + i * PAGE, SECRET, PAGE))
            v.queues[REQUESTS].offer(*range(0, 14, 2))
            v.kick()
            n.unit.ok(RESET)
            equal(v.get("<B", vd.STATUS), 0, "status")
        v = Virtio(n).protect()
        equal(v.map(IOVA, SECRET), OK, "map")


# ------------------------------------------------------------------------- states

@case("the state goes to another viommud, with domains, mappings, queues and events that wait")
def moves():
    with daemon() as d, daemon() as e, Nvme(d) as n:
        fill(n)
        v = Virtio(n).protect()
        equal(v.map(IOVA, SECRET), OK, "map")
        check(read_to(n, IOVA + PAGE) != 0, "it went through")
        state = d.save()
        n.disconnect()
        with open(d.disks[0], "rb") as f, open(e.disks[0], "r+b") as to:
            to.write(f.read())
        n.connect(e)
        v.client = n.unit
        check("ok" in e.restore(state), "restore")
        equal((read_to(n, IOVA), page(n, SECRET)), (0, b"a" * PAGE), "by the mapping of before")
        v.offer_events()
        equal(v.event()[3], IOVA + PAGE, "the event of before")
        equal((v.unmap(IOVA), read_to(n, IOVA) != 0), (OK, True), "the queue goes on where it was")


# ---------------------------------------------------------------------- commands

@case("status, describe and reach tell what the requests have made")
def commands():
    with daemon() as d, Nvme(d) as n:
        check("virtio-iommu, request queue polled" in viommu(d, "status"), "status")
        check("translation was NEVER turned on" in viommu(d, "status"), "status before")
        v = Virtio(n).protect()
        equal(v.map(IOVA, SECRET), OK, "map")
        check("translation is on" in viommu(d, "status"), "status")
        reach = d.ask("reach", device="nvme0")
        equal((reach["translation"], reach["protects"], reach["pages"]), ("mapped", True, RAM_SIZE // PAGE // 2 + 1), "reach")
        text = viommu(d, "dump", "nvme0")
        check("%012x" % IOVA in text and "mappings" in text, "dump: " + text)
        v.detach()
        check("translation is OFF" in viommu(d, "status"), "status after")


@case("a unit that has one of its devices in no domain is not told as on")
def not_all_on():
    with daemon(disks=2) as d, Nvme(d) as n:
        Virtio(n).protect()
        equal(d.ask("status")["translation"], "off", "translation, of one in a domain and one in none")
        equal(d.ask("reach", device="nvme1")["translation"], "off", "of the other device")


@case("with boot-bypass=off a device in no domain is blocked, and the guest can set the unit up")
def blocked_from_the_start():
    drivers = []
    with Daemon(VIOMMUD, "--iommu", "virtio,boot-bypass=off") as d, Nvme(d, before=lambda n: drivers.append(Virtio(n).protect())) as n:
        fill(n)
        equal((drivers[0].map(IOVA, SECRET), read_to(n, IOVA)), (OK, 0), "in a domain")
        drivers[0].detach()
        equal(d.ask("reach", device="nvme0")["blocked"], True, "blocked, in no domain")


@case("a unit of VT-d stands beside one of virtio-iommu, each before its own device")
def beside():
    with Daemon(VIOMMUD, "--iommu", "virtio,id=a", "--iommu", "vtd,id=b", behind=("a", "b")) as d:
        functions = d.ask("status")["functions"]
        equal([(f["name"], f.get("model"), f.get("iommu")) for f in functions],
              [("b", "vtd", None), ("a", "virtio", None), ("nvme0", None, "a"), ("nvme1", None, "b")], "functions")
        with Nvme(d) as n:
            v = Virtio(n).protect()
            equal((read_to(n, IOVA) != 0, v.map(IOVA, SECRET), read_to(n, IOVA)), (True, OK, 0), "nvme0")


def main():
    return run_cases(CASES, lambda function, options: function(*options))


if __name__ == "__main__":
    sys.exit(main())
