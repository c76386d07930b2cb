# SPDX-License-Identifier: BSD-3-Clause
"""A real viommud, what it holds, and a driver for the NVMe controllers that it serves."""

import contextlib
import json
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "vfio_user"))
from protocol_client import BAR0, CONFIG, PAGE, Client, check, equal, memfd  # noqa: E402,F401

DEADLINE = 20  # seconds, for whatever must happen
DISK_SIZE = 1 << 20
SHADOWED = 1 << 30  # KiB of address space that only a sanitizer takes


def make_disk(folder, name):
    path = os.path.join(folder, name)
    with open(path, "wb") as f:
        f.truncate(DISK_SIZE)
    os.chmod(path, 0o666)
    return path


class Machine:
    """What is served for one VM: self.dir is where its sockets are, self.disks its files."""

    def connect(self, name="nvme0", **how):
        return Client(os.path.join(self.dir, name + ".sock"), **how)

    def has_unit(self):
        return os.path.exists(os.path.join(self.dir, "iommu.sock"))

    def ask(self, command, **more):
        with contextlib.closing(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)) as s:
            s.settimeout(DEADLINE)
            s.connect(os.path.join(self.dir, "control.sock"))
            s.sendall(json.dumps({"command": command, **more}).encode() + b"\n")
            line = b""
            while not line.endswith(b"\n"):
                piece = s.recv(65536)
                check(piece, "no reply to %s" % command)
                line += piece
            return json.loads(line)

    def patiently(self, command):
        """Asked again while the work thread has no processor to come to it."""
        end = time.monotonic() + DEADLINE
        while True:
            reply = self.ask(command)
            if not reply.get("busy") or time.monotonic() > end:
                return reply

    def save(self):
        """The state."""
        reply = self.patiently("save")
        check("state" in reply, "it is not saved: %s" % reply)
        return bytes.fromhex(reply["state"])

    def restore(self, state):
        """The reply."""
        for offset in range(0, len(state), 2048):
            check("ok" in self.ask("restore", offset=offset, data=state[offset:offset + 2048].hex()), "a piece")
        return self.patiently("restore")

    def alone(self):
        """Nobody is connected, so what the last client left has gone."""
        return not any(f["connected"] for f in self.ask("status")["functions"])


class Vm(Machine):
    """One of the VMs of a daemon that serves several."""

    def __init__(self, daemon, name, disks):
        self.daemon, self.dir, self.disks = daemon, os.path.join(daemon.dir, name), disks

    def wait_until(self, is_so, what):
        self.daemon.wait_until(is_so, what)


class Daemon(Machine):
    def __init__(self, program, *options, under=(), disks=1, behind=(), vms=None, folder_is_there=True, **popen):
        """vms: the options of each VM by its name, one disk each. Else there is the only VM, with `disks` of them,
        or one for each unit that `behind` names."""
        self.folder = tempfile.TemporaryDirectory(prefix="viommu-test-")
        os.chmod(self.folder.name, 0o711)
        self.dir = os.path.join(self.folder.name, "run")
        if folder_is_there:
            os.mkdir(self.dir, 0o700)
            if "user" in popen:
                os.chown(self.dir, popen["user"], -1)
        command = [*under, program, "--dir", self.dir, *options]
        self.disks = [make_disk(self.folder.name, "disk%d" % i) for i in range(0 if vms else len(behind) or disks)]
        for path, unit in zip(self.disks, behind or [None] * len(self.disks)):
            command += ["--nvme", path + (",iommu=" + unit if unit else "")]
        self.vms = {}
        for name, vm_options in (vms or {}).items():
            self.vms[name] = Vm(self, name, [make_disk(self.folder.name, "disk-" + name)])
            command += ["--vm", name, *vm_options, "--nvme", *self.vms[name].disks]
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE, text=True, **popen)
        check(select.select([self.process.stdout], [], [], DEADLINE)[0], "not ready in time")
        check(self.process.stdout.readline().startswith("viommud: ready"), "it did not start")

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        if self.process.poll() is None:
            self.process.kill()
            self.process.communicate()
        self.folder.cleanup()

    def end(self, how=signal.SIGTERM):
        """Exit status and what it said on stderr."""
        self.process.send_signal(how)
        _, words = self.process.communicate(timeout=DEADLINE)
        return self.process.returncode, words

    def wait_until(self, is_so, what):
        end = time.monotonic() + DEADLINE
        while not is_so():
            check(self.process.poll() is None, "viommud is dead: %s" % self.process.returncode)
            check(time.monotonic() < end, what)
            time.sleep(0.005)

    def threads(self):
        """The fields of /proc/PID/task/TID/status of each thread."""
        base = "/proc/%d/task" % self.process.pid
        for thread in os.listdir(base):
            with open(os.path.join(base, thread, "status"), encoding="ascii") as f:
                yield dict(line.rstrip("\n").split(":\t", 1) for line in f if ":\t" in line)

    def main_cpu_seconds(self):
        """Processor time of the thread that serves sockets, which is the same on a busy machine."""
        with open("/proc/%d/task/%d/stat" % (self.process.pid, self.process.pid), encoding="ascii") as f:
            fields = f.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def census(self):
        """Descriptors, and mappings of files that can be a client's."""
        with open("/proc/%d/maps" % self.process.pid, encoding="utf-8") as f:
            maps = sum("memfd:guest" in line for line in f)
        return len(os.listdir("/proc/%d/fd" % self.process.pid)), maps

    def memory(self, key):
        """KiB, of /proc/PID/status."""
        with open("/proc/%d/status" % self.process.pid, encoding="ascii") as f:
            return next(int(line.split()[1]) for line in f if line.startswith(key + ":"))

    def is_sanitized(self):
        return self.memory("VmSize") > SHADOWED

    def resident(self):
        """Bytes of memory that are its own: what clients lend is not. 0 where sanitizers keep what was freed."""
        return 0 if self.is_sanitized() else self.memory("RssAnon") << 10


# ------------------------------------------------------------- an NVMe driver

RAM = 0x100000  # where the guest's memory is
RAM_SIZE = 1 << 20
ADMIN_SQ, ADMIN_CQ, IO_SQ, IO_CQ, DATA = (RAM + n * PAGE for n in range(5))
ENTRIES = 16
WRITE, READ, IDENTIFY = 1, 2, 6
CAP_MASTER = struct.pack("<H", 6)


class Nvme:
    """One controller with one pair of I/O queues, and a guest's memory that lies in a memfd.

    With VT-d the memory belongs to the unit, else to the controller."""

    def __init__(self, d, name="nvme0", unit="iommu", before=None):
        """before(self): what the guest does before it uses the controller."""
        self.ram = memfd(RAM_SIZE)
        self.tails, self.heads, self.count = [0, 0], [0, 0], 0
        self.connect(d, name, unit)
        if before:
            before(self)
        self.master_the_bus()
        self.place_admin_queues()
        self.enable()
        self.create_queues()

    def connect(self, d, name="nvme0", unit="iommu"):
        """The sessions, and the memory, which may have been another daemon's before."""
        self.client = d.connect(name)
        self.unit = d.connect(unit) if d.has_unit() else None
        self.memory_client().map(RAM, RAM_SIZE, self.ram)

    def disconnect(self):
        self.client.close()
        if self.unit:
            self.unit.close()

    def master_the_bus(self):
        self.client.write(CONFIG, 4, CAP_MASTER)

    def place_admin_queues(self):
        for offset, form, value in ((0x24, "<I", (ENTRIES - 1) << 16 | ENTRIES - 1), (0x28, "<Q", ADMIN_SQ),
                                    (0x30, "<Q", ADMIN_CQ)):
            self.client.write(BAR0, offset, struct.pack(form, value))

    def enable(self):
        self.client.write(BAR0, 0x14, struct.pack("<I", 1 | 6 << 16 | 4 << 20))
        self.await_ready()

    def create_queues(self):
        size = (ENTRIES - 1) << 16
        self.run(0, 5, IO_CQ, size | 1, 1)
        self.run(0, 1, IO_SQ, size | 1, 1 | 1 << 16)

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.disconnect()
        os.close(self.ram)

    def memory_client(self):
        return self.unit or self.client

    def await_ready(self):
        end = time.monotonic() + DEADLINE
        while not self.client.read(BAR0, 0x1c, 4)[0] & 1:
            check(time.monotonic() < end, "the controller does not get ready")

    def submit(self, queue, opcode, prp, cdw10, cdw11=0, cdw12=0, prp2=0):
        """A command into a queue of the memory, and the doorbell."""
        self.count = (self.count + 1) & 0xffff
        command = struct.pack("<BBHIQQQQIIIIII", opcode, 0, self.count, 1, 0, 0, prp, prp2, cdw10, cdw11, cdw12, 0, 0, 0)
        base = (ADMIN_SQ, IO_SQ)[queue] - RAM
        os.pwrite(self.ram, command, base + self.tails[queue] % ENTRIES * 64)
        self.tails[queue] += 1
        self.client.write(BAR0, 0x1000 + 8 * queue, struct.pack("<I", self.tails[queue] % ENTRIES))
        return self.count

    def complete(self, queue):
        """(command, status) of the next completion."""
        base, at = (ADMIN_CQ, IO_CQ)[queue] - RAM, self.heads[queue]
        phase, end = (at // ENTRIES & 1) ^ 1, time.monotonic() + DEADLINE
        while True:
            command, status = struct.unpack_from("<HH", os.pread(self.ram, 16, base + at % ENTRIES * 16), 12)
            if status & 1 == phase:
                break
            check(time.monotonic() < end, "no completion")
        self.heads[queue] += 1
        self.client.write(BAR0, 0x1004 + 8 * queue, struct.pack("<I", self.heads[queue] % ENTRIES))
        return command, status >> 1

    def run(self, queue, opcode, prp, cdw10, cdw11=0, cdw12=0, prp2=0):
        want = self.submit(queue, opcode, prp, cdw10, cdw11, cdw12, prp2)
        command, status = self.complete(queue)
        check((command, status) == (want, 0), "command %d (opcode %d): status 0x%x" % (command, opcode, status))

    def write(self, block, data):
        """Whole blocks of 512 bytes, at most a page."""
        os.pwrite(self.ram, data, DATA - RAM)
        self.run(1, WRITE, DATA, block, 0, len(data) // 512 - 1)

    def read(self, block, length):
        self.run(1, READ, DATA, block, 0, length // 512 - 1)
        return os.pread(self.ram, length, DATA - RAM)

    def flush(self):
        self.run(1, 0, 0, 0)


def check_serves(d, name="nvme0"):
    """Somebody new is served: data goes to the disk and comes back."""
    data = os.urandom(PAGE)
    with Nvme(d, name) as n:
        n.write(8, data)
        n.flush()
        check(n.read(8, PAGE) == data, "what was written is not what is read")
    with open(d.disks[int(name[4:])], "rb") as f:
        f.seek(8 * 512)
        check(f.read(PAGE) == data, "the disk file has something else")
    d.wait_until(d.alone, "the session does not end")


# ------------------------------------------------------------------ the runner

CASES = []


def case(name, *args):
    def add(function):
        CASES.append((name, function, args))
        return function
    return add


def run_cases(cases, call):
    """call(function, args) runs one; a line for each, and the sum. Returns the exit status."""
    passed = 0
    for name, function, args in cases:
        try:
            call(function, args)
        except Exception as error:  # pylint: disable=broad-except
            print("FAIL %s: %s: %s" % (name, type(error).__name__, error), flush=True)
        else:
            passed += 1
            print("ok   %s" % name, flush=True)
    print("%d passed, %d failed" % (passed, len(cases) - passed))
    return passed != len(cases)
