#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""viommu run: what it refuses, what it adds to QEMU's arguments, and how it ends, with QEMUs that are shell scripts.

usage: test_run.py VIOMMUD VIOMMU [WORD]    WORD: only the cases whose name has it
"""
import contextlib
import json
import os
import shlex
import shutil
import signal
import socket
import struct
import sys
import tempfile
import threading

from rig import DEADLINE, VIOMMU, VIOMMUD, case, cases, check, main, refused, run, runs, started, until


# -------------------------------------------------------------- refused, in one line

BAD = {
    "nothing": (["run"], "--"),
    "several_vms": (["run", "--vm", "a", "--nvme", "x", "--", "qemu-system-x86_64"], "one"),
    "without_dashes": (["run", "--nvme", "x", "qemu-system-x86_64"], "--"),
    "without_qemu": (["run", "--nvme", "x", "--"], "QEMU"),
    "print_without_dir": (["run", "--print", "--nvme", "x", "--", "q"], "--dir"),
    "no_such_qemu": (["run", "--nvme", "x", "--", "/nonexistent/qemu"], "/nonexistent/qemu"),
    "qemu_too_old": (["run", "--nvme", "x", "--", "true"], "10.1", "qemu-system-x86_64"),
    "machine": (["run", "--nvme", "x", "--", "q", "-M", "isapc"], "q35", "pc"),
    "machine_type": (["run", "--nvme", "x", "--", "q", "-machine", "accel=tcg,type=microvm"], "q35"),
    "memory_private": (["run", "--nvme", "x", "--", "q", "-M", "q35,memory-backend=m", "-object",
                        "memory-backend-ram,id=m,size=1G"], "share=on"),
    "memory_private_json": (["run", "--nvme", "x", "--", "q", "-M", "q35,memory-backend=m", "-object",
                             '{"qom-type":"memory-backend-file","id":"m","size":1}'], "share=on"),
    "memory_unshared": (["run", "--nvme", "x", "--", "q", "-M", "q35,memory-backend=m", "-object",
                         "memory-backend-memfd,id=m,size=1G,share=off"], "share=on"),
    "numa_private": (["run", "--nvme", "x", "--", "q", "-object", "memory-backend-ram,id=m,size=1G", "-numa",
                      "node,memdev=m"], "share=on"),
    "memory_hexadecimal": (["run", "--nvme", "x", "--", "q", "-m", "0x200"], "-m 0x200", "512M"),
    "qemu_fetch": (["run", "--qemu-fetch", "maybe", "--nvme", "x", "--", "q"], "--qemu-fetch", "on or off"),
    "qemu_fetch_without_value": (["run", "--qemu-fetch"], "--qemu-fetch", "on or off"),
    "daemonize": (["run", "--nvme", "x", "--", "q", "-daemonize"], "-daemonize"),
    "mem_path": (["run", "--nvme", "x", "--", "q", "-mem-path", "/dev/shm"], "memory-backend-file"),
}


def add_bad(name, arguments, words):
    cases.append(("bad_" + name, lambda: refused(run(VIOMMU, *arguments), *words)))


for bad_name, (bad_arguments, *bad_words) in BAD.items():
    add_bad(bad_name, bad_arguments, bad_words)


# ------------------------------------------------------------------ QEMUs that are none

FAKE_QEMU = """#!/bin/sh
case "$*" in
"-device help") echo 'name "vfio-user-pci", bus PCI' ;;
*-snapshot*) echo "$*" > "$0.pass"; echo "qemu: no such luck" >&2; exit 1 ;;
*) for a; do printf '%s\\n' "$a"; done; exit 7 ;;
esac
"""


# A script around QEMU, which stays in the firmware pass until it is killed.
WRAPPED_QEMU = """#!/bin/sh
case "$*" in
"-device help") echo 'name "vfio-user-pci", bus PCI' ;;
*) printf '%s\\n' "$@" > "$0.arguments"; sleep 60 & echo $! > "$0.pid"; wait ;;
esac
"""


# As a guest whose firmware places the registers, whose devices master the bus, and which does nothing with its IOMMU.
PLACING_QEMU = """#!/bin/sh
case "$*" in
"-device help") echo 'name "vfio-user-pci", bus PCI' ;;
*) exec python3 "$0.py" "$@" ;;
esac
"""
PLACING_CLIENT = """
import json, struct, sys, time
sys.path.insert(0, %r)
from protocol_client import CONFIG, Client
paths = [json.loads(a)["socket"]["path"] for a in sys.argv if a.startswith("{") and "vfio-user-pci" in a]
clients = [Client(path) for path in paths]
for i, (client, path) in enumerate(zip(clients, paths)):
    unit = "/iommu" in path
    if unit:
        client.write(CONFIG, 0x10, struct.pack("<I", 0xfebe0000 - 0x10000 * i))
    client.write(CONFIG, 4, struct.pack("<H", 2 if unit else 6))
time.sleep(600)
"""


@contextlib.contextmanager
def fake_qemu(script=FAKE_QEMU):
    with tempfile.TemporaryDirectory() as folder:
        path, disk = os.path.join(folder, "qemu"), os.path.join(folder, "disk")
        with open(path, "w", encoding="ascii") as f:
            f.write(script)
        os.chmod(path, 0o755)
        with open(disk, "wb") as f:
            f.truncate(1 << 20)
        yield path, disk


@contextlib.contextmanager
def placing_qemu():
    with fake_qemu(PLACING_QEMU) as (qemu, disk):
        with open(qemu + ".py", "w", encoding="ascii") as f:
            f.write(PLACING_CLIENT % os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "vfio_user"))
        yield qemu, disk


def read_pid(path):
    """What a script has written there, which may take until now."""
    until(lambda: os.path.exists(path) and os.path.getsize(path), path)
    with open(path, encoding="ascii") as f:
        pid = int(f.read())
    os.remove(path)
    return pid


def viommud_of(p):
    with open(f"/proc/{p.pid}/task/{p.pid}/children", encoding="ascii") as f:
        children = [int(pid) for pid in f.read().split()]
    for pid in children:
        with open(f"/proc/{pid}/comm", encoding="ascii") as f:
            if f.read() == "viommud\n":
                return pid
    raise AssertionError(f"no viommud among {children}")


@contextlib.contextmanager
def ended_at_last(pid):
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


@case
def is_interrupted_while_viommud_starts():
    """A viommud that is never ready, beside a viommu."""
    with fake_qemu() as (qemu, disk):
        folder = os.path.dirname(qemu)
        os.symlink(VIOMMU, os.path.join(folder, "viommu"))
        with open(os.path.join(folder, "viommud"), "w", encoding="ascii") as f:
            f.write('#!/bin/sh\necho $$ > "$0.pid"\nexec sleep 60\n')
        os.chmod(f.name, 0o755)
        for sig in (signal.SIGINT, signal.SIGTERM):
            with started(os.path.join(folder, "viommu"), "run", "--nvme", disk, "--", qemu) as p:
                viommud = read_pid(f.name + ".pid")
                with ended_at_last(viommud):
                    p.send_signal(sig)
                    check(p.wait(5) == 128 + sig, f"exit status {p.returncode}")
                    check(not runs(viommud), "viommud goes on")


@contextlib.contextmanager
def in_the_firmware_pass():
    """viommu, its folder, and the pid of the QEMU that a script around it has started."""
    with fake_qemu(WRAPPED_QEMU) as (qemu, disk):
        folder = os.path.join(os.path.dirname(qemu), "run")
        with started(VIOMMU, "run", "--dir", folder, "--nvme", disk, "--", qemu) as p:
            pid = read_pid(qemu + ".pid")
            with ended_at_last(pid):
                yield p, folder, pid


@case
def ends_qemu_behind_a_script():
    with in_the_firmware_pass() as (p, folder, qemu):
        p.terminate()
        check(p.wait(DEADLINE) == 128 + signal.SIGTERM, f"exit status {p.returncode}")
        until(lambda: not runs(qemu), "QEMU ends")
        check(not os.path.exists(folder), "the folder is left")


@case
def ends_qemu_behind_a_script_in_the_real_run():
    """The script is killed by the signal, and its QEMU still has a device."""
    for sig in (signal.SIGTERM, signal.SIGINT):
        with fake_qemu(WRAPPED_QEMU) as (qemu, disk):
            folder = os.path.join(os.path.dirname(qemu), "run")
            with started(VIOMMU, "run", "--iommu", "none", "--dir", folder, "--nvme", disk, "--", qemu) as p, \
                    socket.socket(socket.AF_UNIX) as s:
                pid = read_pid(qemu + ".pid")
                with ended_at_last(pid):
                    s.connect(os.path.join(folder, "nvme0.sock"))
                    s.sendall(struct.pack("<HHIIIHH", 1, 1, 20, 0, 0, 0, 1))  # vfio-user's version 0.1
                    check(s.recv(1), "viommud does not answer")
                    p.send_signal(sig)
                    check(p.wait(DEADLINE) == 128 + sig, f"exit status {p.returncode}")
                    check(not runs(pid), "QEMU goes on")
                    check(not os.path.exists(folder), "the folder is left")


@case
def leaves_nothing_when_it_ends_by_a_signal():
    for sig, status in ((signal.SIGQUIT, 128 + signal.SIGQUIT), (signal.SIGKILL, -signal.SIGKILL)):
        with in_the_firmware_pass() as (p, folder, qemu):
            check(os.path.exists(os.path.join(folder, "dmar.bin")), "there is no table")
            p.send_signal(sig)
            check(p.wait(DEADLINE) == status, f"exit status {p.returncode}")
            until(lambda: not os.path.exists(folder), "the folder goes")


@case
def notices_that_viommud_ends_in_the_firmware_pass():
    with in_the_firmware_pass() as (p, folder, qemu):
        os.kill(viommud_of(p), signal.SIGKILL)
        check(p.wait(5) == 1, f"exit status {p.returncode}")
        check("viommud has ended" in p.stderr.read().splitlines()[-1], "not said")
        until(lambda: not runs(qemu), "QEMU ends")


def bound(path):
    with socket.socket(socket.AF_UNIX) as s:
        s.bind(path)


@case
def warns_of_a_guest_that_turns_nothing_on():
    """A device masters the bus for a while, and translation stays off."""
    with placing_qemu() as (qemu, disk):
        folder = os.path.join(os.path.dirname(qemu), "run")
        with started(VIOMMU, "run", "--dir", folder, "--nvme", disk, "--", qemu) as p:
            lines = []
            reader = threading.Thread(target=lambda: lines.extend(iter(p.stderr.readline, "")))
            reader.start()
            until(lambda: any("NOT PROTECTED" in line for line in lines) or p.poll() is not None, lines, 90)
            check(p.poll() is None, f"it ended: {lines}")
            status = run(VIOMMU, "status", "--dir", folder).stdout
            check("NEVER turned on" in status, status)
            p.terminate()
            p.wait(DEADLINE)
            reader.join()
            warnings = [line for line in lines if "NOT PROTECTED" in line]
            check(len(warnings) == 1 and "'iommu'" in warnings[0] and "intel_iommu=on" in warnings[0] and folder in warnings[0], lines)


@case
def leaves_what_is_not_its_own():
    """When viommud is killed: files and sockets of others in the folder, and what has taken one of its names."""
    with fake_qemu(WRAPPED_QEMU) as (qemu, disk):
        folder = os.path.join(os.path.dirname(qemu), "run")
        os.mkdir(folder, 0o700)
        with open(os.path.join(folder, "notes.sock"), "w", encoding="ascii") as f:
            f.write("precious")
        bound(os.path.join(folder, "other.sock"))
        os.symlink("other.sock", os.path.join(folder, "link.sock"))
        with started(VIOMMU, "run", "--iommu", "none", "--dir", folder, "--nvme", disk, "--", qemu) as p:
            pid = read_pid(qemu + ".pid")
            with ended_at_last(pid):
                check("control.sock" in os.listdir(folder), "it does not serve there")
                os.rename(os.path.join(folder, "nvme0.sock"), os.path.join(folder, "before.sock"))
                bound(os.path.join(folder, "nvme0.sock"))
                os.kill(viommud_of(p), signal.SIGKILL)
                check(p.wait(DEADLINE) == 1, f"exit status {p.returncode}")
        left = sorted(os.listdir(folder))
        check(left == ["before.sock", "link.sock", "notes.sock", "nvme0.sock", "other.sock"], left)


@case
def tidies_up_after_a_viommud_that_was_killed():
    with fake_qemu(WRAPPED_QEMU) as (qemu, disk):
        for named in (True, False):
            folder = os.path.join(os.path.dirname(qemu), "run")
            own = ["--dir", folder] if named else []
            with started(VIOMMU, "run", "--iommu", "none", *own, "--nvme", disk, "--", qemu) as p:
                pid = read_pid(qemu + ".pid")
                with ended_at_last(pid):
                    with open(qemu + ".arguments", encoding="utf-8") as f:
                        served = os.path.dirname(json.loads(f.read().splitlines()[-1])["socket"]["path"])
                    os.kill(viommud_of(p), signal.SIGKILL)
                    check(p.wait(DEADLINE) == 1, f"exit status {p.returncode}")
                    check("was killed by signal 9" in p.stderr.read().splitlines()[-1], "not said")
                    check(not runs(pid), "QEMU goes on")
            check(os.listdir(served) == [] if named else not os.path.exists(served), f"left: {served}")


@case
def passes_on_what_viommud_refuses():
    with fake_qemu() as (qemu, disk):
        refused(run(VIOMMU, "run", "--nvme", disk, "--registers", "both", "--", qemu), "viommud: --registers")
        refused(run(VIOMMU, "run", "--", qemu), "viommud:", "--nvme")


@case
def lets_processors_start_in_the_firmware_pass():
    """There -S is left out, where it is an option of QEMU."""
    with fake_qemu() as (qemu, disk):
        run(VIOMMU, "run", "--nvme", disk, "--", qemu, "-name", "-S", "-S", "-nographic", "-S", "-foo", "-S", "--S")
        with open(qemu + ".pass", encoding="ascii") as f:
            check(f.read().split()[:5] == ["-name", "-S", "-nographic", "-foo", "-S"], "another line")


@case
def tells_what_qemu_said():
    with fake_qemu() as (qemu, disk):
        result = run(VIOMMU, "run", "--nvme", disk, "--", qemu)
        check(result.returncode == 1 and "no such luck" in result.stderr.splitlines()[-1], result)


# ------------------------------------------------------ a QEMU that is missing or too old

OLD_QEMU = """#!/bin/sh
echo 'name "e1000e", bus PCI'
"""


class Place:
    """A folder with viommu and what belongs beside it, and a PATH that leads to nothing but `machine` and the shell."""

    def __init__(self, folder, private):
        self.folder, self.private = folder, os.path.join(folder, "private", "qemu")
        self.path = os.path.join(folder, "machine")
        for name in ("private", "machine"):
            os.mkdir(os.path.join(folder, name))
        os.symlink(VIOMMU, os.path.join(folder, "viommu"))
        os.symlink(VIOMMUD, os.path.join(folder, "viommud"))
        for name in ("sh", "echo", "cat"):
            os.symlink(shutil.which(name), os.path.join(self.path, name))
        self.program("disk", "")
        os.truncate(os.path.join(folder, "disk"), 1 << 20)
        self.program("viommu-fetch-qemu", f'#!/bin/sh\necho called >> "$0.calls"\n{private}\n')
        self.program(self.private, FAKE_QEMU)

    def program(self, name, text):
        path = os.path.join(self.folder, name)
        with open(path, "w", encoding="ascii") as f:
            f.write(text)
        os.chmod(path, 0o755)
        return path

    def run(self, *options, qemu="qemu-system-x86_64"):
        return run("env", f"PATH={self.path}", os.path.join(self.folder, "viommu"), "run", "--iommu", "none",
                   "--nvme", os.path.join(self.folder, "disk"), *options, "--", qemu, "-m", "64")

    def fetched(self):
        return os.path.exists(os.path.join(self.folder, "viommu-fetch-qemu.calls"))


@contextlib.contextmanager
def place(private='echo "${0%/*}/private/qemu"'):
    with tempfile.TemporaryDirectory() as folder:
        yield Place(folder, private)


def add_old_qemu(p):
    return p.program("machine/qemu-system-x86_64", OLD_QEMU)


@case
def fetches_a_qemu_where_it_is_missing_or_too_old():
    for prepare in (lambda p: None, add_old_qemu):
        for options in ([], ["--qemu-fetch", "on"], ["--qemu-fetch=on"]):
            with place() as p:
                prepare(p)
                result = p.run(*options)
                check(result.returncode == 7 and result.stdout.startswith("-m\n64\n"), result)
                check(p.fetched() and f"using {p.private}\n" in result.stderr and "private copy" in result.stderr, result)


@case
def fetches_no_qemu_that_is_not_needed():
    with place() as p:
        p.program("machine/qemu-system-x86_64", FAKE_QEMU)
        result = p.run()
        check(result.returncode == 7 and not p.fetched() and "private" not in result.stderr, result)


@case
def fetches_no_qemu_when_told_not_to():
    for prepare, word in ((lambda p: None, "No such file"), (add_old_qemu, "vfio-user-pci")):
        for off in (["--qemu-fetch", "off"], ["--qemu-fetch=off"]):
            with place() as p:
                prepare(p)
                refused(p.run(*off), word, "10.1", "--qemu-fetch off")
                check(not p.fetched(), "it was fetched")


@case
def fetches_no_qemu_in_place_of_a_path():
    with place() as p:
        refused(p.run(qemu=add_old_qemu(p)), "vfio-user-pci", "10.1")
        refused(p.run(qemu="qemu-system-aarch64"), "qemu-system-aarch64")
        check(not p.fetched(), "it was fetched")


@case
def says_why_no_qemu_was_fetched():
    for private, word in (("echo 'no mirror' >&2; exit 1", "for the reason above"), ("exit 0", "for the reason above"),
                          ("echo /nonexistent/qemu", "/nonexistent/qemu")):
        with place(private) as p:
            result = p.run()
            check(result.returncode == 1 and word in result.stderr.splitlines()[-1] and not result.stdout, result)
    with place() as p:
        os.remove(os.path.join(p.folder, "viommu-fetch-qemu"))
        result = p.run()
        check(result.returncode == 1 and "viommu-fetch-qemu" in result.stderr.splitlines()[-1], result)


@case
def prints_the_qemu_that_was_fetched():
    with place() as p:
        result = p.run("--print", "--dir", os.path.join(p.folder, "run"))
        check(result.returncode == 0 and f"# {p.private}\n" in result.stdout, result)
        check(all(line.startswith(("#", " ", "/")) for line in result.stdout.splitlines()), result.stdout)


JSON_OF_OTHER_TYPES = (
    '{"qom-type":null}', '{"qom-type":"memory-backend-ram","id":null}', '{"qom-type":7,"id":[]}', '{"qom-type":{}}',
    '{"qom-type":"memory-backend-ram","id":"x","share":null}', "{", "{}", "{]", '{"driver":null}', '{"driver":[{}]}',
)


OCCUPIED_QEMU = """#!/bin/sh
case "$*" in
"-device help") echo 'name "vfio-user-pci", bus PCI' ;;
*) echo "qemu: PCI: slot 16 function 0 not available for vfio-user-pci, in use by e1000,id=(null)" >&2; exit 1 ;;
esac
"""


@case
def tells_how_to_choose_another_slot():
    with fake_qemu(OCCUPIED_QEMU) as (qemu, disk):
        result = run(VIOMMU, "run", "--nvme", disk, "--", qemu)
        last = result.stderr.splitlines()[-1]
        check(result.returncode == 1 and "slot 16" in last and "another slot with addr=" in last, result)


@case
def leaves_odd_json_to_qemu():
    with fake_qemu() as (qemu, disk):
        for option in ("-object", "-device"):
            for text in JSON_OF_OTHER_TYPES:
                result = run(VIOMMU, "run", "--iommu", "none", "--nvme", disk, "--", qemu, option, text)
                check(result.returncode == 7 and result.stdout.startswith(f"{option}\n{text}\n"), (text, result))


@case
def refuses_a_second_iommu():
    with fake_qemu() as (qemu, disk):
        for device in ("intel-iommu,caching-mode=on", "driver=virtio-iommu-pci", "virtio-iommu,addr=3", "amd-iommu",
                       '{"driver":"intel-iommu"}', '{"id":"x","driver":"virtio-iommu-pci"}'):
            own = ["--nvme", disk, "--", qemu, "-device", device]
            refused(run(VIOMMU, "run", *own), "-device", "--iommu none", "drop")
            result = run(VIOMMU, "run", "--iommu", "none", *own)
            check(result.returncode == 7, result)


@case
def prints_what_a_shell_reads():
    """Also where viommud is in a folder with a space in its name."""
    with fake_qemu() as (qemu, disk):
        folder = os.path.join(os.path.dirname(qemu), "a folder")
        os.mkdir(folder)
        for program in (VIOMMU, VIOMMUD):
            os.symlink(program, os.path.join(folder, os.path.basename(program)))
        options = ["--iommu", "none", "--dir", os.path.join(folder, "run"), "--nvme", disk]
        result = run(os.path.join(folder, "viommu"), "run", "--print", *options, "--", qemu)
        check(result.returncode == 0, result)
        viommud = result.stdout.split("#")[1].partition("\n")[2]
        check(shlex.split(viommud.replace("\\\n", "")) == [os.path.join(folder, "viommud"), *options], viommud)


def units_in(table):
    """(registers, slots of the devices) of each unit in a DMAR table without its ACPI header."""
    at, found = 12, []
    while at < len(table):
        kind, length, flags, pages, _, base = struct.unpack_from("<HHBBHQ", table, at)
        check((kind, flags, pages) == (0, 0, 0), (kind, flags, pages))
        found.append((base, [table[scope + 6] for scope in range(at + 16, at + length, 8)]))
        at += length
    return found


@case
def makes_a_table_of_two_units():
    with placing_qemu() as (qemu, disk):
        folder = os.path.join(os.path.dirname(qemu), "run")
        disks = [f"{disk}{i}" for i in range(3)]
        for path in disks:
            shutil.copy(disk, path)
        options = ["--dir", folder, "--iommu", "vtd,id=a", "--iommu", "vtd,id=b", "--nvme", disks[0] + ",iommu=b", "--nvme", disks[1],
                   "--nvme", disks[2] + ",iommu=a"]
        result = run(VIOMMU, "run", "--print", *options, "--", qemu)
        check(result.returncode == 0, result)
        check("a at 0xfebe0000, b at 0xfebd0000 (" in result.stderr, result.stderr)
        viommud = shlex.split(result.stdout.split("#")[1].partition("\n")[2].replace("\\\n", ""))
        check(viommud[1:] == [*options, "--expect", "0xfebe0000", "--expect", "0xfebd0000,iommu=b"], viommud)
        with open(os.path.join(folder, "dmar.bin"), "rb") as f:
            units = units_in(f.read())
        check(units == [(0xfebe0000, [0x12, 0x13]), (0xfebd0000, [0x11])], units)


@case
def makes_a_table_of_virtio_units():
    """Nothing has to be placed, so no firmware is watched; beside a unit of VT-d each table tells of its own."""
    with placing_qemu() as (qemu, disk):
        folder = os.path.join(os.path.dirname(qemu), "run")
        disks = [f"{disk}{i}" for i in range(3)]
        for path in disks:
            shutil.copy(disk, path)
        devices = ["--nvme", disks[0] + ",iommu=b", "--nvme", disks[1], "--nvme", disks[2] + ",iommu=b"]
        result = run(VIOMMU, "run", "--print", "--dir", folder, "--iommu", "virtio,id=a", "--iommu", "virtio,id=b", *devices, "--", qemu)
        check(result.returncode == 0 and "firmware" not in result.stderr, result)
        check("sig=VIOT,rev=0," in result.stdout and "DMAR" not in result.stdout and "--expect" not in result.stdout, result.stdout)
        with open(os.path.join(folder, "viot.bin"), "rb") as f:
            table = f.read()
        units = [struct.pack("<BBHHHQ", 3, 0, 16, 0, slot << 3, 0) for slot in (0x10, 0xf)]
        behind = [struct.pack("<BBHIHHHHH6x", 1, 0, 24, slot << 3, 0, 0, slot << 3, slot << 3, at)
                  for slot, at in ((0x12, 48), (0x11, 88), (0x13, 88))]
        wanted = struct.pack("<HHQ", 5, 48, 0) + units[0] + behind[0] + units[1] + behind[1] + behind[2]
        check(table == wanted, table.hex())
        result = run(VIOMMU, "run", "--print", "--dir", folder, "--iommu", "virtio,id=a", "--iommu", "vtd,id=b", *devices, "--", qemu)
        check(result.returncode == 0 and "sig=VIOT" in result.stdout and "sig=DMAR" in result.stdout, result)
        with open(os.path.join(folder, "dmar.bin"), "rb") as f:
            units = units_in(f.read())
        check(units == [(0xfebe0000, [0x11, 0x13])], units)


@case
def makes_a_table_of_an_amdvi_unit():
    """Two functions of one slot: the second one has the registers, by the first one the guest knows the unit."""
    with placing_qemu() as (qemu, disk):
        folder = os.path.join(os.path.dirname(qemu), "run")
        result = run(VIOMMU, "run", "--print", "--dir", folder, "--iommu", "amdvi", "--nvme", disk, "--", qemu)
        check(result.returncode == 0 and "sig=IVRS,rev=2," in result.stdout and "--expect 0xfebe0000" in result.stdout, result)
        devices = [json.loads(word) for word in shlex.split(result.stdout.split("# to add")[1].partition("\n")[2].replace("\\\n", "")) if word.startswith("{")]
        check([(d["driver"], d["addr"], d.get("multifunction")) for d in devices] ==
              [("vfio-user-pci", "10.1", None), ("vfio-user-pci", "10.0", True), ("vfio-user-pci", "11.0", None)], devices)
        with open(os.path.join(folder, "ivrs.bin"), "rb") as f:
            table = f.read()
        head, features = table[:12 + 24], table[12 + 24:12 + 40]
        check(head == struct.pack("<IQBBHHHQHHI", 1 | 2 << 5 | 46 << 8 | 64 << 15, 0, 0x11, 0, 44, 0x80, 0x40, 0xfebe0000, 0, 0, 0), head.hex())
        check(struct.unpack("<QQ", features)[0] & 1 << 6, features.hex())
        check(table[12 + 40:] == struct.pack("<BHB", 2, 0x88, 0), table.hex())


@case
def adds_a_function_0_for_the_gart():
    with placing_qemu() as (qemu, disk):
        folder = os.path.join(os.path.dirname(qemu), "run")
        options = ["--dir", folder, "--iommu", "gart", "--nvme", disk]
        for machine, bus in (([], "pcie.0"), (["-M", "pc"], "pci.0")):
            result = run(VIOMMU, "run", "--print", *options, "--", qemu, *machine)
            check(result.returncode == 0 and "NOT PROTECTED" in result.stderr, result)
            check("--expect" not in result.stdout and "acpitable" not in result.stdout, result.stdout)
            devices = [json.loads(word) for word in shlex.split(result.stdout.split("# to add")[1].partition("\n")[2].replace("\\\n", "")) if word.startswith("{")]
            check([(d["driver"], d["bus"], d["addr"], d.get("multifunction")) for d in devices] ==
                  [("pci-testdev", bus, "18.0", True), ("vfio-user-pci", bus, "18.3", None), ("vfio-user-pci", bus, "11.0", None)], devices)
        result = run(VIOMMU, "run", *options, "--", qemu, "-device", "intel-iommu")
        check(result.returncode == 2 and "second IOMMU" in result.stderr, result)


@case
def answers_before_it_starts_anything():
    with fake_qemu() as (qemu, _):
        for options in (["--version"], ["--nvme", "/nonexistent", "--version"]):
            result = run(VIOMMU, "run", *options, "--", qemu)
            check(result.returncode == 0 and result.stdout.startswith("viommu ") and not result.stderr, result)
        result = run(VIOMMU, "run", "--nvme", "/nonexistent", "--help")
        check(result.returncode == 0 and result.stdout.startswith("usage: viommu run"), result)


@case
def lets_qemu_answer():
    with fake_qemu() as (qemu, _):
        for question in (["-version"], ["-m", "1G", "--help"], ["-machine", "help"], ["-device", "nvme,help"]):
            result = run(VIOMMU, "run", "--", qemu, *question)
            check(result.returncode == 7 and result.stdout.splitlines() == question, (question, result))
        refused(run(VIOMMU, "run", "--", qemu, "-name", "-version", "-append", "help"), "viommud:", "--nvme")
        refused(run(VIOMMU, "run", "--", "/nonexistent/qemu", "-version"), "/nonexistent/qemu")


@case
def completes_the_command_line():
    with fake_qemu() as (qemu, disk):
        start = [VIOMMU, "run", "--iommu", "none", "--nvme", disk, "--", qemu]
        result = run(*start, "-m", "512", "-foo", "bar")
        lines = result.stdout.splitlines()
        check(result.returncode == 7, f"not QEMU's exit status: {result}")
        check(lines[:4] == ["-m", "512", "-foo", "bar"], lines)
        check("memory-backend-memfd,id=viommu-ram,size=512M,share=on" in lines, lines)
        check("q35,memory-backend=viommu-ram" in lines, lines)
        device = json.loads(lines[-1])
        check((device["driver"], device["bus"], device["addr"]) == ("vfio-user-pci", "pcie.0", "11.0"), device)
        folder = os.path.dirname(device["socket"]["path"])
        check(f"--dir {folder}'" in result.stderr, f"{folder} is not told: {result.stderr}")
        check(not os.path.exists(folder), "the folder is left")
        lines = run(*start, "-M", "q35,accel=tcg", "-m", "size=1G,slots=2").stdout.splitlines()
        check("memory-backend-memfd,id=viommu-ram,size=1G,share=on" in lines, lines)
        check("memory-backend=viommu-ram" in lines, lines)
        for own, size in ((["-m", "0xA00000a"], "0xA00000a"), (["-m", "1.5G"], "1.5G"),
                          (["-M", "q35,memory.size=256M"], "256M"), (["-M", "q35,memory.size=0x10000000"], "0x10000000"),
                          (["-M", "memory.size=268435456"], "268435456"), (["-M", "memory.size=1G", "-m", "2"], "2M"),
                          ([], "128M"), (["-name", "-m", "-m", "64"], "64M")):
            lines = run(*start, *own).stdout.splitlines()
            check(f"memory-backend-memfd,id=viommu-ram,size={size},share=on" in lines, (own, lines))
        own = ["-M", "q35,memory-backend=m", "-object", "memory-backend-ram,id=m,size=1G,share=on"]
        lines = run(*start, *own).stdout.splitlines()
        check(lines[:4] == own and lines[4] == "-device" and len(lines) == 6, lines)


def added_globals(qemu, disk, own):
    """The values of -global that QEMU is started with, behind the user's own arguments."""
    run(VIOMMU, "run", "--nvme", disk, "--", qemu, *own)
    with open(qemu + ".pass", encoding="ascii") as f:
        line = f.read().split()[len(own):]
    return [value for name, value in zip(line, line[1:]) if name == "-global"]


Q35_AWAKE = ["ICH9-LPC.disable_s3=1", "ICH9-LPC.disable_s4=1"]
PC_AWAKE = ["PIIX4_PM.disable_s3=1", "PIIX4_PM.disable_s4=1"]
AWAKE = (
    ([], Q35_AWAKE),
    (["-M", "pc-q35-9.0"], Q35_AWAKE),
    (["-M", "pc"], PC_AWAKE),
    (["-machine", "accel=tcg,type=pc-i440fx-9.0"], PC_AWAKE),
    (["-global", "ICH9-LPC.disable_s3=0"], Q35_AWAKE[1:]),
    (["-global", "driver=ICH9-LPC,property=disable_s4,value=0"], Q35_AWAKE[:1]),
    (["-global", "ICH9-LPC.disable_s4=1", "-global", "ICH9-LPC.disable_s3=0"], []),
    (["-global", "PIIX4_PM.disable_s3=0", "-M", "pc"], PC_AWAKE[1:]),
    # of another machine, of another device, of none
    (["-global", "PIIX4_PM.disable_s3=0"], Q35_AWAKE),
    (["-global", "ICH9-LPC.noreboot=1", "-global", "x.disable_s3=0", "-global", "ICH9-LPC"], Q35_AWAKE),
    (["-name", "-global", "-name", "ICH9-LPC.disable_s3=0"], Q35_AWAKE),
)


@case
def keeps_the_guest_from_sleeping():
    """It would wake without its IOMMU."""
    with fake_qemu() as (qemu, disk):
        for own, wanted in AWAKE:
            found = added_globals(qemu, disk, own)
            check(found == wanted, (own, found))


@case
def lets_the_guest_sleep_without_an_iommu():
    with fake_qemu() as (qemu, disk):
        result = run(VIOMMU, "run", "--iommu", "none", "--nvme", disk, "--", qemu)
        check(result.returncode == 7 and "-global" not in result.stdout, result)


@case
def serves_both_kinds_of_machine():
    with fake_qemu() as (qemu, disk):
        for own, bus, machine in (([], "pcie.0", "q35,memory-backend=viommu-ram"),
                                  (["-M", "pc"], "pci.0", "memory-backend=viommu-ram"),
                                  (["-M", "pc-i440fx-9.0,accel=tcg"], "pci.0", "memory-backend=viommu-ram")):
            result = run(VIOMMU, "run", "--iommu", "none", "--nvme", disk, "--", qemu, *own)
            lines = result.stdout.splitlines()
            check(result.returncode == 7 and machine in lines and json.loads(lines[-1])["bus"] == bus, (own, result))


if __name__ == "__main__":
    sys.exit(main())
