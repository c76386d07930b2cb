#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""viommud's functions and a client that misbehaves, one line per case: test_viommud.py VIOMMUD [NAME-PART ...]"""

import contextlib
import os
import select
import signal
import struct
import subprocess
import sys
import tempfile

from protocol_client import EVENTFD, MSIX, NONE, TRIGGER, Client, check, equal, eventfd

DEADLINE = 20  # seconds, for whatever must happen
SOON = 3  # seconds; the daemon waits 5 for an answer
CASES = []


def case(name):
    def add(function):
        CASES.append((name, function))
        return function
    return add


class Daemon:
    def __init__(self, folder, *options):
        self.dir = os.path.join(folder, "run")
        disk = os.path.join(folder, "disk")
        with open(disk, "wb") as f:
            f.truncate(1 << 20)
        self.process = subprocess.Popen([sys.argv[1], "--dir", self.dir, "--nvme", disk, *options],
                                        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        check(select.select([self.process.stdout], [], [], DEADLINE)[0], "not ready in time")
        self.process.stdout.readline()

    def connect(self, name):
        c = Client(os.path.join(self.dir, name + ".sock"))
        c.sock.settimeout(SOON)
        return c

    def end(self):
        """What it said on stderr."""
        self.process.send_signal(signal.SIGTERM)
        _, text = self.process.communicate(timeout=DEADLINE)
        equal(self.process.returncode, 0, "exit status")
        return text.decode()


@contextlib.contextmanager
def daemon(*options):
    with tempfile.TemporaryDirectory(prefix="viommu-test-") as folder:
        d = Daemon(folder, *options)
        try:
            yield d
        finally:
            if d.process.poll() is None:
                d.process.kill()
                d.process.communicate()


@case("an eventfd that is full and blocks holds neither the daemon nor its end up")
def _():
    with daemon() as d:
        fd = eventfd()
        with d.connect("nvme0") as c:
            c.irqs(MSIX, 0, 1, EVENTFD | TRIGGER, fds=[fd])
            os.set_blocking(fd, True)
            os.write(fd, struct.pack("<Q", (1 << 64) - 2))
            for _ in range(200):
                c.irqs(MSIX, 0, 1, NONE | TRIGGER)
            equal(struct.unpack("<Q", os.read(fd, 8))[0], (1 << 64) - 1, "the counter")
            with d.connect("iommu") as other:
                other.alive()
            equal(d.end(), "", "what it says")
        os.close(fd)


def main():
    failed = 0
    chosen = [c for c in CASES if len(sys.argv) < 3 or any(p in c[0] for p in sys.argv[2:])]
    for name, function in chosen:
        try:
            function()
            print("ok   %s" % name, flush=True)
        except Exception as e:  # one case must not hide the others
            failed += 1
            print("FAIL %s: %s: %s" % (name, type(e).__name__, e), flush=True)
    print("%d passed, %d failed" % (len(chosen) - failed, failed))
    return failed != 0


if __name__ == "__main__":
    sys.exit(main())
