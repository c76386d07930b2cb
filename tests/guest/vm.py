# SPDX-License-Identifier: BSD-3-Clause
"""Runs a virtual machine whose guest reports on its serial console.

    vm = Vm(["qemu-system-x86_64"] + qemu_args(kernel, initrd, "viommu.test=facts"), folder)
    vm.run(deadline=120)
    assert vm.ok and vm.value("facts.release").startswith("6.")

A line "VIOMMU: key=value" of the guest is a fact; README.md lists them. All
that the machine prints is kept in FOLDER/NAME.console, with the seconds since
its start, and its standard error in FOLDER/NAME.stderr.
"""

import os
import select
import signal
import subprocess
import time

FACT = "VIOMMU: "
PANIC = "Kernel panic - not syncing"


class VmError(Exception):
    """The machine did not get as far as it should have; says why and where to look."""


class Vm:
    """One run of one command line. Facts come in the order of the console."""

    def __init__(self, command, folder, name="vm", env=None):
        self.command = [str(word) for word in command]
        self.console = os.path.join(folder, name + ".console")
        self.stderr = os.path.join(folder, name + ".stderr")
        self.env = env
        self.facts = {}  # key -> list of values
        self.seen_at = {}  # key -> seconds from the start to its first value
        self.status = None  # exit status of the command
        self.seconds = None  # from its start to its end
        self._child = None
        self._start = None
        self._rest = b""
        self._ended = False  # the console is at its end
        os.makedirs(folder, exist_ok=True)

    @property
    def ok(self):
        """Every scenario that was asked for has passed."""
        return self.facts.get("done") == ["ok"] and self.status == 0

    def values(self, key):
        return self.facts.get(key, [])

    def value(self, key):
        """The last value of a key; raises VmError without one."""
        if key not in self.facts:
            raise VmError(f"the guest said nothing about {key}; see {self.console}")
        return self.facts[key][-1]

    def start(self):
        with open(self.stderr, "wb") as stderr:
            self._child = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=stderr,
                env=self.env,
                start_new_session=True,
            )
        self._start = time.monotonic()
        self._log = open(self.console, "w", encoding="utf-8")
        return self

    @property
    def pid(self):
        return self._child.pid

    def run(self, deadline):
        """From start to end; raises VmError when it is not over by the deadline (seconds)."""
        self.start()
        try:
            if not self.follow(deadline):
                raise VmError(self._why(f"not over after {deadline} s"))
        finally:
            self.stop()
        return self

    def wait_for(self, key, deadline):
        """Follows until the guest has said key; raises VmError if it does not, in time."""
        self.follow(deadline, until=lambda: key in self.facts)
        if key not in self.facts:
            when = "until its end" if self._ended else f"within {deadline} s"
            raise VmError(self._why(f"nothing about {key} {when}"))
        return self.value(key)

    def follow(self, deadline, until=lambda: False):
        """Reads the console until its end or until until(); False at the deadline."""
        stdout = self._child.stdout
        end = self._start + deadline
        while not until():
            left = end - time.monotonic()
            if left <= 0 or not select.select([stdout], [], [], left)[0]:
                return False
            data = os.read(stdout.fileno(), 65536)
            if not data:
                self._take_line(self._rest)
                self._rest = b""
                self._ended = True
                return True
            *lines, self._rest = (self._rest + data).split(b"\n")
            for line in lines:
                self._take_line(line)
        return True

    def stop(self, grace=10):
        """Ends the command and what it left running in its process group, and only that."""
        child = self._child
        # A zombie until wait(), so the process group's number stays ours.
        if not (self._ended and self._exits_within(grace)):
            os.killpg(child.pid, signal.SIGTERM)
            self._exits_within(grace)
        os.killpg(child.pid, signal.SIGKILL)
        self.status = child.wait()
        self.seconds = time.monotonic() - self._start
        child.stdout.close()
        self._log.close()

    def _exits_within(self, seconds):
        end = time.monotonic() + seconds
        flags = os.WEXITED | os.WNOWAIT | os.WNOHANG
        while not os.waitid(os.P_PID, self._child.pid, flags):
            if time.monotonic() > end:
                return False
            time.sleep(0.02)
        return True

    def _take_line(self, raw):
        line = raw.decode("utf-8", "replace").rstrip("\r")
        now = time.monotonic() - self._start
        if line:
            self._log.write(f"{now:8.3f} {line}\n")
            self._log.flush()
        if PANIC in line:
            raise VmError(self._why("the guest kernel panicked"))
        at = line.find(FACT)
        if at < 0:
            return
        key, _, value = line[at + len(FACT):].partition("=")
        self.facts.setdefault(key, []).append(value)
        self.seen_at.setdefault(key, now)

    def _why(self, what):
        return f"{what}: {' '.join(self.command[:3])} ...; see {self.console} and {self.stderr}"


def xen_args(xen, kernel, initrd, cmdline, log):
    """The same for Xen, its own console in a file: a multiboot kernel whose modules are those of its first domain."""
    module = f"{kernel} console=ttyS0 {cmdline}".replace(",", ",,")
    options = "com2=115200,8n1 console=com2 loglvl=info guest_loglvl=all iommu=dom0-strict dom0_mem=512M,max:512M"
    return ["-serial", f"file:{log}", "-kernel", str(xen), "-initrd", f"{module},{initrd}", "-append", options]


def qemu_args(kernel, initrd, cmdline, mem="1G", cpus=1, machine="q35"):
    """Arguments of a headless machine under TCG, its memory shareable with other
    processes, that boots the kernel with its console on the standard output."""
    return [
        "-no-user-config", "-nodefaults", "-display", "none",
        "-M", f"{machine},memory-backend=ram",
        "-object", f"memory-backend-memfd,id=ram,size={mem},share=on",
        "-m", mem,
        "-accel", "tcg",
        "-cpu", "max",
        "-smp", str(cpus),
        "-serial", "stdio",
        "-kernel", str(kernel),
        "-initrd", str(initrd),
        "-append", f"console=ttyS0 {cmdline}".strip(),
    ]
