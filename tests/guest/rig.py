# SPDX-License-Identifier: BSD-3-Clause
"""What a guest test needs of the machine it runs on, and a guest behind viommu.

    rig = Rig(folder)
    vm = rig.boot("lazy", "viommu.test=facts iommu.strict=0", options=["--registers", "trap"])
"""

import contextlib
import fcntl
import json
import os
import shlex
import shutil
import subprocess
import tempfile

from vm import Vm, VmError, qemu_args, xen_args

TOP = os.path.normpath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))
VIOMMU = os.path.join(TOP, "build", "bin", "viommu")
DISK_SIZE = 256 << 20  # sparse, unless it is filled
GUEST_MEMORY = "/memfd:memory-backend-memfd"  # as qemu_args() asks QEMU for it
DEVICE = "00:11.0"  # where viommud puts the first disk


def check(condition, what):
    if not condition:
        raise VmError(what)


def script(name, *options, env=None):
    """What a script of the project prints; its progress lines go to ours."""
    result = subprocess.run([os.path.join(TOP, "scripts", name), *options], stdin=subprocess.DEVNULL,
                            stdout=subprocess.PIPE, text=True, env={**os.environ, **(env or {})})
    check(result.returncode == 0, f"scripts/{name} failed, see above")
    return result.stdout


def make_disk(path, fill):
    with open(path, "wb") as f:
        if fill:
            for _ in range(DISK_SIZE >> 20):
                f.write(os.urandom(1 << 20))
        f.truncate(DISK_SIZE)


def mappings(pid):
    """(name, KiB that are there) of each mapping of a process."""
    name = ""
    with open(f"/proc/{pid}/smaps", encoding="utf-8") as f:
        for line in f:
            words = line.split(None, 5)
            if not words[0].endswith(":"):
                name = words[5].strip() if len(words) > 5 else ""
            elif words[0] == "Rss:":
                yield name, int(words[1])


class Guest:
    """A machine that has been started: its console, and the daemon that serves it."""

    def __init__(self, vm, daemon_dir, viommu):
        self.vm = vm
        self.daemon_dir = daemon_dir
        self._viommu = viommu

    def ask(self, command, *operands):
        """The answer of `viommu COMMAND --json`."""
        result = subprocess.run([self._viommu, command, "--dir", self.daemon_dir, "--json", *operands],
                                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                stderr=subprocess.STDOUT, text=True, timeout=30)
        check(result.returncode == 0, f"viommu {command} failed: {result.stdout.strip()}")
        return json.loads(result.stdout)

    def daemon_memory_mib(self):
        """What viommud has of memory, without the guest's."""
        return sum(rss for name, rss in mappings(self.ask("status")["pid"]) if not name.startswith(GUEST_MEMORY)) / 1024


class Rig:
    """A QEMU, a kernel, an initrd, and a folder for consoles and disks; what is not given is found or made."""

    def __init__(self, folder, viommu=VIOMMU, qemu=None, kernel=None, initrd=None):
        self.folder = os.path.abspath(folder)
        os.makedirs(self.folder, exist_ok=True)
        # Sockets want a folder that nobody else can exchange, and a short path: the tree may lie anywhere.
        self._sockets = tempfile.TemporaryDirectory(prefix="viommu-guest-")
        self._lock = open(os.path.join(self.folder, "lock"), "w", encoding="utf-8")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise VmError(f"another run uses {self.folder}; wait for its end") from None
        check(os.access(viommu, os.X_OK), f"{viommu} is missing; run make first")
        self.viommu = viommu
        self.qemu = qemu or script("fetch-qemu").strip()
        self.modules = None
        if not (kernel and initrd):
            made = dict(line.split("=", 1) for line in script("make-guest").splitlines())
            kernel, initrd, self.modules = kernel or made["KERNEL"], initrd or made["INITRD"], made["MODULES"]
        self.kernel, self.initrd = kernel, initrd

    @contextlib.contextmanager
    def disks(self, name, count, fill=False):
        """New disks, as long as the block lasts. fill: no block of a disk is a hole."""
        made = [os.path.join(self.folder, f"{name}.disk{i}") for i in range(count)]
        for path in made:
            make_disk(path, fill)
        try:
            yield made
        finally:
            for path in made:
                os.remove(path)

    def _join(self, name, *archives):
        """One initrd of several archives."""
        path = os.path.join(self.folder, name)
        with open(path, "wb") as to:
            for part in archives:
                with open(part, "rb") as f:
                    shutil.copyfileobj(f, to)
        return path

    def module_args(self):
        """To be added for QEMU to give the kernel its driver of virtio-iommu."""
        return ["-initrd", self._join("modules.initrd", self.modules, self.initrd)]

    def newest_args(self):
        """To be added for QEMU to boot the newest kernel that Debian has, with its driver of virtio-iommu."""
        made = dict(line.split("=", 1) for line in script("make-guest", env={"VIOMMU_GUEST_SUITE": "trixie-backports"}).splitlines())
        return ["-kernel", made["KERNEL"], "-initrd", self._join("newest.initrd", made["MODULES"], made["INITRD"])]

    def debian(self):
        """(Xen, Debian's kernel that is not for clouds, an initrd with the driver that this one has as a module)"""
        made = dict(line.split("=", 1) for line in script("make-guest", "--xen").splitlines())
        return made["XEN"], made["DOM0_KERNEL"], self._join("debian.initrd", made["DOM0_MODULES"], self.initrd)

    def xen_args(self, cmdline, log):
        """To be added for QEMU to boot Xen, whose last words on an option are the ones that count."""
        return xen_args(*self.debian(), cmdline, log)

    def debian_args(self):
        """To be added for QEMU to boot Debian's kernel in place of the cloud's."""
        _, kernel, initrd = self.debian()
        return ["-kernel", kernel, "-initrd", initrd]

    def command(self, daemon_dir, disks, cmdline, options=(), rogue=True, behind=(), iommu="vtd", cpus=1, qemu=(), machine="q35",
                xen=None):
        """behind: the IOMMU of each disk, all of the model `iommu`, or options name them. xen: a file for its console; it is booted, and the kernel in it."""
        qemu = [*qemu, *(self.xen_args(cmdline, xen) if xen else ())]
        command = [self.viommu, "run", "--dir", daemon_dir, *options]
        for unit in dict.fromkeys(behind) if iommu else ():
            command += ["--iommu", f"{iommu},id={unit}"]
        for path, unit in zip(disks, behind or [None] * len(disks)):
            command += ["--nvme", path + (",rogue=on" if rogue else "") + (f",iommu={unit}" if unit else "")]
        return [*command, "--", self.qemu, *qemu_args(self.kernel, self.initrd, cmdline, cpus=cpus, machine=machine), *qemu]

    @contextlib.contextmanager
    def start(self, name, cmdline, disks=1, fill=False, kept=(), **how):
        """A Guest that runs, and is ended when the block is left. Its disks are new, or those that are kept."""
        daemon_dir = os.path.join(self._sockets.name, name)
        with self.disks(name, 0 if kept else disks, fill) as made:
            vm = Vm(self.command(daemon_dir, kept or made, cmdline, **how), self.folder, name).start()
            try:
                yield Guest(vm, daemon_dir, self.viommu)
            finally:
                vm.stop()

    @contextlib.contextmanager
    def start_apart(self, name, cmdline, disk, **how):
        """viommud (a Popen) and QEMU (a Vm) side by side, as `viommu run --print` says: nobody ends one for the other."""
        command = self.command(os.path.join(self._sockets.name, name), [disk], cmdline, **how)
        command.insert(2, "--print")
        printed = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, check=True, text=True).stdout
        daemon, added = (part.partition("\n")[2].replace("\\\n", "") for part in printed.split("# to ")[1:])
        with subprocess.Popen(shlex.split(daemon), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True) as viommud:
            try:
                check(viommud.stdout.readline().startswith("viommud: ready"), "viommud does not start")
                vm = Vm([*command[command.index("--") + 1:], *shlex.split(added)], self.folder, name).start()
                try:
                    yield viommud, vm
                finally:
                    vm.stop()
            finally:
                viommud.kill()

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
