# SPDX-License-Identifier: BSD-3-Clause
"""Runs cases against one test server, a line a case, each of which must leave the server as it was."""

import atexit
import os
import signal
import subprocess
import tempfile
import time

from protocol_client import Client, Failed, equal


class Server:
    def __init__(self, program, *args):
        self.dir = tempfile.TemporaryDirectory()
        self.path = self.dir.name + "/s"
        self.args = [program, self.path] + list(args)
        self.start()

    def start(self):
        self.process = subprocess.Popen(self.args, stdout=subprocess.PIPE)
        atexit.register(self.process.kill)
        equal(self.process.stdout.readline(), b"ready\n", "first line of the server")

    def connect(self, **kw):
        return Client(self.path, **kw)

    def fd_count(self):
        return len(os.listdir("/proc/%d/fd" % self.process.pid))

    def map_count(self):
        """Mappings of files that can be a client's. Sanitizers map and unmap for themselves."""
        with open("/proc/%d/maps" % self.process.pid) as f:
            return sum("memfd:" in line or "/dev/shm" in line or "/tmp/" in line and "rw-s" in line for line in f)

    def map_bytes(self):
        """How much of the address space they have."""
        with open("/proc/%d/maps" % self.process.pid) as f:
            ends = [line.split()[0].split("-") for line in f if "memfd:" in line]
        return sum(int(last, 16) - int(first, 16) for first, last in ends)

    def idle(self):
        """Once nobody is connected and what a client left behind is gone."""
        for _ in range(400):
            with self.connect() as c:
                if c.reg("connects") == c.reg("disconnects") + 1 and c.reg("mapped_bytes") == 0:
                    return
            time.sleep(0.005)
        raise Failed("sessions that do not end")

    def wait_for(self, predicate, what):
        for _ in range(2000):
            if predicate():
                return
            time.sleep(0.005)
        raise Failed(what)

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            status = self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise Failed("does not end on SIGTERM")
        self.process.stdout.close()
        return status


CASES = []


def case(name, *args):
    def add(function):
        CASES.append((name, function, args))
        return function
    return add


def cases(name, table):
    """One case for each line of a table: NAME: (arguments)"""
    def add(function):
        for key, args in table.items():
            CASES.append(("%s: %s" % (name, key), function, args))
        return function
    return add


def run_case(server, name, function, args):
    try:
        function(server, *args)
        if server.process.poll() is not None:
            raise Failed("the server is dead: %d" % server.process.returncode)
        server.idle()
    except Exception as e:  # one case must not hide the others
        print("FAIL %s: %s: %s" % (name, type(e).__name__, e), flush=True)
        if server.process.poll() is not None:
            server.start()
        return False
    print("ok   %s" % name, flush=True)
    return True


def census(server):
    """Descriptors and mappings with one client that does nothing: nothing of the one before it is left then."""
    with server.connect() as c:
        c.alive()
        return server.fd_count(), server.map_count()


def check_leaks(server, before):
    equal(census(server), before, "descriptors and mappings")


def run(program, parts):
    """The cases with one of `parts` in their names, or all; returns whether one failed."""
    server = Server(program)
    chosen = [c for c in CASES if not parts or any(p in c[0] for p in parts)]
    before = census(server)
    passed = sum(run_case(server, *c) for c in chosen)
    last = [("after all of it: no descriptor and no mapping more than at the start", check_leaks, (before,)),
            ("after all of it: the server ends with status 0", lambda s: equal(s.stop(), 0, "status"), ())]
    total = len(chosen) + len(last)
    passed += run_case(server, *last[0])
    try:
        last[1][1](server)
        passed += 1
        print("ok   " + last[1][0])
    except Failed as e:
        print("FAIL %s: %s" % (last[1][0], e))
    print("%d passed, %d failed" % (passed, total - passed))
    return passed != total
