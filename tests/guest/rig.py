# SPDX-License-Identifier: BSD-3-Clause
"""What a guest test needs of the machine it runs on, and a guest behind viommu.

    rig = Rig(folder)
    vm = rig.boot("lazy", "viommu.test=facts iommu.strict=0", options=["--registers", "trap"])
"""

import contextlib
import fcntl
import json
import os
import subprocess

from vm import Vm, VmError, qemu_args

TOP = os.path.normpath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))
VIOMMU = os.path.join(TOP, "build", "bin", "viommu")
DISK_SIZE = 256 << 20  # sparse
DEVICE = "00:11.0"  # where viommud puts the first disk


def check(condition, what):
    if not condition:
        raise VmError(what)


def script(name):
    """What a script of the project prints; its progress lines go to ours."""
    result = subprocess.run([os.path.join(TOP, "scripts", name)], stdin=subprocess.DEVNULL,
                            stdout=subprocess.PIPE, text=True)
    check(result.returncode == 0, f"scripts/{name} failed, see above")
    return result.stdout


class Guest:
    """A machine that has been started: its console, and the daemon that serves it."""

    def __init__(self, vm, daemon_dir):
        self.vm = vm
        self.daemon_dir = daemon_dir

    def ask(self, command, *operands):
        """The answer of `viommu COMMAND --json`."""
        result = subprocess.run([VIOMMU, command, "--dir", self.daemon_dir, "--json", *operands],
                                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                stderr=subprocess.STDOUT, text=True, timeout=30)
        check(result.returncode == 0, f"viommu {command} failed: {result.stdout.strip()}")
        return json.loads(result.stdout)


class Rig:
    """A QEMU, a kernel, an initrd, and a folder for consoles and disks."""

    def __init__(self, folder):
        self.folder = os.path.abspath(folder)
        os.makedirs(self.folder, exist_ok=True)
        self._lock = open(os.path.join(self.folder, "lock"), "w", encoding="utf-8")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise VmError(f"another run uses {self.folder}; wait for its end") from None
        check(os.access(VIOMMU, os.X_OK), "build/bin/viommu is missing; run make first")
        self.qemu = script("fetch-qemu").strip()
        made = dict(line.split("=", 1) for line in script("make-guest").splitlines())
        self.kernel, self.initrd = made["KERNEL"], made["INITRD"]

    @contextlib.contextmanager
    def start(self, name, cmdline, options=(), disks=1, rogue=True, cpus=1, qemu=()):
        """A Guest that runs, and is ended when the block is left."""
        made = [os.path.join(self.folder, f"{name}.disk{i}") for i in range(disks)]
        daemon_dir = os.path.join(self.folder, name + ".run")
        for path in made:
            with open(path, "wb") as f:
                f.truncate(DISK_SIZE)
        command = [VIOMMU, "run", "--dir", daemon_dir, *options]
        for path in made:
            command += ["--nvme", path + (",rogue=on" if rogue else "")]
        command += ["--", self.qemu, *qemu_args(self.kernel, self.initrd, cmdline, cpus=cpus), *qemu]
        vm = Vm(command, self.folder, name).start()
        try:
            yield Guest(vm, daemon_dir)
        finally:
            vm.stop()
            for path in made:
                os.remove(path)

    def boot(self, name, cmdline, deadline=180, while_idle=None, **how):
        """Runs a guest to its end, and gives its facts. while_idle(guest) is
        called when the scenario idle has said that the disk is at rest."""
        with self.start(name, cmdline, **how) as guest:
            if while_idle:
                guest.vm.wait_for("idle", deadline)
                while_idle(guest)
            check(guest.vm.follow(deadline), f"not over after {deadline} s; see {guest.vm.console}")
        return guest.vm


def last_words(path, most=3):
    """The end of a file, in one line."""
    with open(path, encoding="utf-8", errors="replace") as f:
        return " | ".join(f.read().split("\n")[-most - 1:-1])
