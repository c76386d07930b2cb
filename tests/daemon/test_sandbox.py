#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""viommud in its sandbox, and where a part of it is missing: test_sandbox.py VIOMMUD WITHOUT"""

import contextlib
import ctypes
import errno
import fcntl
import os
import re
import signal
import struct
import subprocess
import sys
import time

from served import CASES, DATA, IDENTIFY, READ, Daemon, Nvme, case, check, check_serves, equal, run_cases
from protocol_client import EVENTFD, INTX, SET_IRQS, TRIGGER, Failed, eventfd, irq_payload, signalled  # found by served

VIOMMUD, WITHOUT = map(os.path.abspath, sys.argv[1:3])
NOBODY = 65534
PIDFD_GETFD = 438
KILLED_DEADLINE = 60  # seconds, until what a kill has left is gone
MODES = {"sidecore": (), "trap": ("--registers", "trap"), "none": ("--iommu", "none")}


# What looks for leaks at the end traces the process and starts another, which is what a sandbox is against.
ENVIRONMENT = dict(os.environ, ASAN_OPTIONS=os.environ.get("ASAN_OPTIONS", "") + ":detect_leaks=0")


def serve(*options, lacking=None, **how):
    under = [WITHOUT, lacking] if lacking else []
    return Daemon(VIOMMUD, "--sandbox", "on", *options, under=under, env=ENVIRONMENT, **how)


def check_clean_end(d, words=r""):
    check(os.listdir(d.dir), "no sockets while it serves")
    status, said = d.end()
    check(status == 0 and re.fullmatch(words, said), "exit status %d, and it says %r" % (status, said))
    equal(os.listdir(d.dir), [], "what is left in its folder")


def check_session(d):
    """All that a life of serving has: several clients, one after the other, and the commands."""
    for _ in range(3):
        for i in range(len(d.disks)):
            check_serves(d, "nvme%d" % i)
        check("error" not in d.ask("counters") and "error" not in d.ask("reach", device="nvme0"), "a command fails")
    names = [f["name"] for f in d.ask("status")["functions"]]
    for name in names:
        with d.connect(name) as c:
            c.alive()
    d.wait_until(d.alone, "sessions do not end")


@case("every thread: no new privileges, no capabilities, a filter")
def every_thread():
    for options in MODES.values():
        with serve(*options) as d:
            threads = list(d.threads())
            check(len(threads) >= 2, "%d threads" % len(threads))
            for fields in threads:
                equal((fields["NoNewPrivs"], fields["Seccomp"]), ("1", "2"), "NoNewPrivs, Seccomp")
                for kind in ("CapEff", "CapPrm", "CapInh", "CapAmb"):
                    equal(int(fields[kind], 16), 0, kind)


@case("off is off")
def off():
    with Daemon(VIOMMUD, "--sandbox", "off") as d:
        equal({fields["Seccomp"] for fields in d.threads()}, {"0"}, "Seccomp")
        check_session(d)
        check_clean_end(d)


def serves_in(mode):
    with serve(*MODES[mode], disks=2) as d:
        check_session(d)
        check_clean_end(d)


for mode_name in MODES:
    case("serves and ends clean: %s" % mode_name, mode_name)(serves_in)


@case("serves and ends clean: disks by threads, where there is no io_uring")
def without_uring():
    with serve(lacking="io_uring_setup") as d:
        check(len(list(d.threads())) > 2, "no threads for the disk")
        equal({fields["Seccomp"] for fields in d.threads()}, {"2"}, "Seccomp")
        check_session(d)
        check_clean_end(d)


def interrupts(lacking):
    """Eventfds, which a sandboxed process can still tell from what is none."""
    with serve(lacking=lacking) as d, Nvme(d) as n:
        own, other = eventfd(), os.open("/dev/null", os.O_RDWR)
        n.client.refused(errno.EINVAL, SET_IRQS, irq_payload(INTX, 0, 1, EVENTFD | TRIGGER), fds=[other])
        n.client.irqs(INTX, 0, 1, EVENTFD | TRIGGER, fds=[own])
        n.run(0, IDENTIFY, DATA, 1)
        check(signalled(own, 5), "no interrupt")


case("interrupts, by the kernel's asynchronous I/O", None)(interrupts)
case("interrupts, by writes", "io_setup")(interrupts)


@case("ends clean with a client that is at work")
def ends_at_work():
    with serve() as d, Nvme(d) as n:
        for i in range(8):
            n.submit(1, READ, DATA, i)
        check_clean_end(d)


def copies_of(path, process):
    """The descriptors of a file that a process has, as our own."""
    libc, pidfd = ctypes.CDLL(None, use_errno=True), os.pidfd_open(process.pid)
    base, copies = "/proc/%d/fd" % process.pid, []
    for number in os.listdir(base):
        with contextlib.suppress(FileNotFoundError):  # of a session that is about to end
            if os.readlink(os.path.join(base, number)) == path:
                copies.append(libc.syscall(PIDFD_GETFD, pidfd, int(number), 0))
    os.close(pidfd)
    check(copies and min(copies) >= 0, "the disk's descriptors: %s" % copies)
    return copies


@case("the disk is unlocked at the end, though the kernel has it open for a ring")
def unlocked():
    for options in MODES.values():
        with serve(*options) as d, open(d.disks[0], "r+b") as disk:
            check_session(d)
            copies = copies_of(d.disks[0], d.process)  # as a ring has one that is not put away yet
            check_clean_end(d)
            lock = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 100, 200, 0)
            fcntl.fcntl(disk, fcntl.F_OFD_SETLK, lock)
            for fd in copies:
                os.close(fd)


def serve_again(how, disk):
    """At once after an end. What a kill leaves with the disk goes when the kernel has time for it, which may be long."""
    end = time.monotonic() + KILLED_DEADLINE
    while True:
        try:
            return serve("--nvme", disk, disks=0)
        except Failed as error:
            if how != signal.SIGKILL or "did not start" not in str(error) or time.monotonic() > end:
                raise


def restarts(how):
    """The same disk again, some times, on a machine that has other things to do."""
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(2 * os.cpu_count())]
    try:
        with serve() as first:
            with Nvme(first) as n:
                n.submit(1, READ, DATA, 0)
                first.end(how)
            for _ in range(8):
                with serve_again(how, first.disks[0]) as d:
                    with Nvme(d) as n:
                        n.submit(1, READ, DATA, 0)
                        d.end(how)
    finally:
        for process in busy:
            process.kill()
            process.wait()


case("starts on the disk of one that has just ended, on a busy machine", signal.SIGTERM)(restarts)
case("starts on the disk of one that was just killed, on a busy machine", signal.SIGKILL)(restarts)


@case("an ordinary user")
def ordinary_user():
    if os.geteuid():
        return  # all the other cases were
    with serve(user=NOBODY, extra_groups=[]) as d:
        check_session(d)
        check_clean_end(d)


MISSING = {
    "Landlock": "landlock_create_ruleset",
    "seccomp": "seccomp",
    "dropping capabilities": "capset",
}


def goes_on_without(part):
    with serve(lacking=MISSING[part]) as d:
        check_session(d)
        check_clean_end(d, r"viommud: sandbox: %s: [^\n]*; going on without this part\n" % part)


for part_name in MISSING:
    case("goes on without: %s" % part_name, part_name)(goes_on_without)


@case("a folder that it made is removed")
def made_folder():
    with serve(folder_is_there=False) as d:
        check(os.path.isdir(d.dir), "not made")
        equal(d.end(), (0, ""), "exit status and words")
        check(not os.path.exists(d.dir), "it is left")


if __name__ == "__main__":
    sys.exit(run_cases(CASES, lambda function, args: function(*args)))
