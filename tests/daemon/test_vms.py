#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""One viommud that serves several VMs, a line a case: test_vms.py VIOMMUD"""

import contextlib
import errno
import os
import re
import resource
import socket
import struct
import subprocess
import sys

from served import CASES, DATA, READ, Daemon, Nvme, case, check, check_serves, equal, make_disk, memfd, run_cases
from protocol_client import (DMA_MAP, ERR, EVENTFD, GET_INFO, INTX, MASK, MSIX, PAGE, SET_IRQS, TRIGGER, UNMASK,
                             eventfd, map_payload)  # found by served

VIOMMUD = os.path.abspath(sys.argv[1])
KINDS = {"a": (), "b": ("--registers", "trap"), "c": ("--iommu", "none")}


def refuses(words, *options):
    """It does not start, and says so in a line with these words."""
    p = subprocess.run([VIOMMUD, *options], capture_output=True, text=True, check=False, timeout=20)
    check(p.returncode == 2 and words in p.stderr and p.stderr.count("\n") == 1,
          "exit status %d, and it says %r" % (p.returncode, p.stderr))


@case("each VM has its own sockets, memory and disk, at the same addresses")
def each():
    with Daemon(VIOMMUD, vms=KINDS) as d:
        equal(sorted(os.listdir(d.dir)), ["a", "b", "c"], "what is in the folder")
        for vm in d.vms.values():
            check_serves(vm)
        machines = {name: Nvme(vm) for name, vm in d.vms.items()}
        data = {name: os.urandom(PAGE) for name in machines}
        for name, n in machines.items():
            n.write(0, data[name])
        for name, n in machines.items():
            equal(n.read(0, PAGE), data[name], "what %s reads" % name)
            equal(d.vms[name].ask("reach", device="nvme0")["device"], "nvme0", "reach")
            equal(d.vms[name].ask("status")["vm"], name, "status")
            n.__exit__()


@case("counters are those of the VM that is asked")
def counters():
    with Daemon(VIOMMUD, vms=KINDS) as d:
        with Nvme(d.vms["a"]) as n:
            n.read(0, PAGE)
        reads = {name: vm.ask("counters")["counters"]["bytes_read"]["value"] for name, vm in d.vms.items()}
        check(reads["a"] > 0 and reads["b"] == reads["c"] == 0, "bytes read by a, b and c: %s" % reads)


@case("the end of one VM is not that of another")
def ends():
    with Daemon(VIOMMUD, vms=KINDS) as d, Nvme(d.vms["b"]) as n:
        check("error" in d.vms["a"].ask("shutdown"), "one VM's socket ends all")
        for _ in range(20):
            gone = Nvme(d.vms["a"])
            for i in range(8):
                gone.submit(1, READ, DATA, i)
            gone.__exit__()
            n.write(8, b"b" * PAGE)
        equal(n.read(8, PAGE), b"b" * PAGE, "what b reads")
        check_serves(d.vms["a"])


@case("lines of the log name the VM")
def log():
    with Daemon(VIOMMUD, "--verbose", vms=KINDS) as d:
        check_serves(d.vms["b"])
        with d.vms["a"].connect() as c:
            c.send_raw(b"no header of a message" * 4)
        d.wait_until(d.vms["a"].alone, "the session does not end")
        status, said = d.end()
        lines = said.splitlines()
        equal(status, 0, "exit status")
        check("viommud: b: nvme0: a client is there" in lines, "b's client: %r" % lines)
        check(lines and all(line.startswith(("viommud: a: nvme0: ", "viommud: b: ")) for line in lines), "%r" % lines)


@case("memory without a file, for which others would have to wait, is left out")
def slow_memory():
    with Daemon(VIOMMUD, vms=KINDS) as d:
        with d.vms["a"].connect("iommu") as c, Nvme(d.vms["b"]) as n:
            c.map(0, 1 << 24)
            n.write(8, b"b" * PAGE)
            equal(d.vms["a"].ask("reach", device="nvme0")["memory_pages"], 0, "pages")
        check("a: memory at 0x0 came without a file" in d.end()[1], "it does not say so")


@case("folders that it made are removed, others stay")
def folders():
    for there in (False, True):
        with Daemon(VIOMMUD, "--sandbox", "on", folder_is_there=there, vms=KINDS,
                    env=dict(os.environ, ASAN_OPTIONS="detect_leaks=0")) as d:
            equal(d.end(), (0, ""), "exit status and words")
            equal(os.path.exists(d.dir), there, "is the folder left?")
            check(not there or os.listdir(d.dir) == [], "something is left in it")


@case("options")
def options():
    with Daemon(VIOMMUD, vms={"a": (), "b": ()}) as d:
        disk, other = d.vms["a"].disks[0], d.vms["b"].disks[0]
        refuses("stands before the first --vm", "--nvme", disk, "--vm", "a")
        refuses("no device to serve to b", "--vm", "a", "--nvme", disk, "--vm", "b")
        refuses("'a' names two VMs", "--vm", "a", "--nvme", disk, "--vm", "a", "--nvme", other)
        refuses("at most 8 VMs", *(w for i in range(9) for w in ("--vm", "v%d" % i, "--nvme", disk)))
        for name in ("", "..", ".a", "a/b", "a b", "x" * 33):
            refuses("write a name", "--vm", name, "--nvme", disk)
        check_serves(d.vms["a"])


@case("a folder of a VM that is another's already")
def taken():
    with Daemon(VIOMMUD, vms=KINDS) as d:
        p = subprocess.run([VIOMMUD, "--dir", os.path.join(d.dir, "a"), "--nvme", d.vms["a"].disks[0]],
                           capture_output=True, text=True, check=False, timeout=20)
        check(p.returncode and "another viommud serves" in p.stderr, "it says %r" % p.stderr)
        check_serves(d.vms["a"])


@case("a low soft limit of descriptors: each VM can use all of its vectors, whatever the others have")
def descriptors():
    with Daemon(VIOMMUD, vms=KINDS, under=("prlimit", "--nofile=64:4096")) as d:
        mine = [eventfd() for _ in range(16)]
        clients = [vm.connect() for vm in d.vms.values()]
        for c in clients:
            for first in range(0, 65, 16):
                fds = mine[:min(16, 65 - first)]
                c.irqs(MSIX, first, len(fds), EVENTFD | TRIGGER, fds=fds)
        for c in clients:
            c.close()
        for fd in mine:
            os.close(fd)
        for vm in d.vms.values():
            check_serves(vm)


@case("a hard limit that several VMs do not fit into is refused, and told to a single one")
def hard_limit():
    limit = ("prlimit", "--nofile=400:400")
    with Daemon(VIOMMUD, vms={"a": (), "b": ()}) as d:
        more = [w for name in ("c", "d") for w in ("--vm", name, "--nvme", make_disk(d.folder.name, name))]
        p = subprocess.run([*limit, VIOMMUD, *more], capture_output=True, text=True, check=False, timeout=20)
        check(p.returncode == 1 and "file descriptors" in p.stderr and "ulimit -Hn" in p.stderr, p)
    with Daemon(VIOMMUD, under=limit) as d:
        check_serves(d)
        status, words = d.end()
        check(status == 0 and "may have 400" in words and words.count("\n") == 1, "it says %r" % words)


@case("descriptors that a message loses since there is no place for them are refused, and the log says why")
def lost_descriptors():
    fd = memfd(PAGE)
    with Daemon(VIOMMUD, "--iommu", "none") as d:
        limits = resource.prlimit(d.process.pid, resource.RLIMIT_NOFILE)
        with d.connect() as c:
            resource.prlimit(d.process.pid, resource.RLIMIT_NOFILE, (3, limits[1]))
            c.refused(errno.EMFILE, DMA_MAP, map_payload(0, PAGE), fds=[fd])
            resource.prlimit(d.process.pid, resource.RLIMIT_NOFILE, limits)
            c.map(0, PAGE, fd)
        status, words = d.end()
        check(status == 0 and "RLIMIT_NOFILE" in words, "it says %r" % words)
    os.close(fd)


def named_limit(d, options, limit):
    """How many descriptors the refusal under this limit asks for. None: it is refused for its folder alone, which is d's."""
    vms = [w for name, vm in d.vms.items() for w in ("--vm", name, *options, "--nvme", *vm.disks)]
    p = subprocess.run(["prlimit", "--nofile=%d:%d" % (limit, limit), VIOMMUD, "--dir", d.dir, *vms],
                       capture_output=True, text=True, check=False, timeout=20)
    found = re.search(r"may need (\d+) file descriptors", p.stderr)
    check(found or "another viommud serves" in p.stderr, "it says %r" % p.stderr)
    return found and int(found.group(1))


def take_all(vm, mine, stack):
    """Each place of a descriptor that the VM's clients can fill."""
    for _ in range(8):
        s = stack.enter_context(contextlib.closing(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)))
        s.settimeout(20)
        s.connect(os.path.join(vm.dir, "control.sock"))
        s.sendall(b'{"command": "status"}\n')
        check(s.recv(1 << 16), "a caller of the control socket is not answered")
    for name in ("nvme0", "iommu") if vm.has_unit() else ("nvme0",):
        c = stack.enter_context(vm.connect(name))
        wanted = [(ERR, TRIGGER, 0, 1)]
        if name == "nvme0":
            wanted += [(INTX, TRIGGER, 0, 1), (INTX, MASK, 0, 1), (INTX, UNMASK, 0, 1)]
            wanted += [(MSIX, TRIGGER, first, min(16, 65 - first)) for first in range(0, 65, 16)]
        for index, action, first, count in wanted:
            c.irqs(index, first, count, EVENTFD | action, fds=mine[:count])
        c.send_raw(c.message(SET_IRQS, bytes(20))[:-1], mine)  # all but its end
        c.wait_until_read()


def fill(options, count, mine):
    """What the refusal asks for so many VMs, and what viommud holds with that limit and all places taken."""
    vms = {"v%d" % i: options for i in range(count)}
    with Daemon(VIOMMUD, vms=vms) as d:
        needed = named_limit(d, options, 64)
        equal(named_limit(d, options, needed - 1), needed, "what one less is refused for")
        equal(named_limit(d, options, needed), None, "what that many are refused for")
    with Daemon(VIOMMUD, vms=vms, under=("prlimit", "--nofile=%d:%d" % (needed, needed))) as d:
        with contextlib.ExitStack() as stack:
            for vm in d.vms.values():
                take_all(vm, mine, stack)
            held = d.census()[0]
        for vm in d.vms.values():
            check_serves(vm)
    return needed, held


@case("all places of descriptors taken, at exactly the limit that the refusal names")
def exact_limit():
    mine = [eventfd() for _ in range(16)]
    for kind, options in KINDS.items():
        (few_needed, few_held), (needed, held) = fill(options, 2, mine), fill(options, 3, mine)
        check(held + 253 <= needed, "%s: %d are held, a message may bring 253, and %d are asked for" % (kind, held, needed))
        more, told = held - few_held, needed - few_needed
        check(more <= told, "%s: a VM more holds %d more, and %d more are asked for" % (kind, more, told))
    for fd in mine:
        os.close(fd)


@case("a client that floods")
def floods():
    with Daemon(VIOMMUD, vms=KINDS) as d, Nvme(d.vms["b"]) as n, d.vms["a"].connect() as c:
        for i in range(50):
            for _ in range(200):
                c.send_raw(c.message(GET_INFO, struct.pack("<IIII", 16, 0, 0, 0)))
            n.write(8, bytes([i]) * PAGE)
            equal(n.read(8, PAGE), bytes([i]) * PAGE, "what b reads")
            for _ in range(200):
                c.recv_reply()


if __name__ == "__main__":
    sys.exit(run_cases(CASES, lambda function, args: function(*args)))
