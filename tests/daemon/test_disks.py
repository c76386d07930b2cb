#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""What viommud makes of the files that are given as disks, a line a case: test_disks.py VIOMMUD"""

import contextlib
import os
import struct
import subprocess
import sys
import tempfile

from served import CASES, DATA, IDENTIFY, PAGE, RAM, Daemon, Nvme, case, check, equal, run_cases

VIOMMUD = os.path.abspath(sys.argv[1])
SIZE = 1 << 20

IMAGES = {
    "qcow2": b"QFI\xfb" + struct.pack(">I", 3),
    "qed": b"QED\0",
    "vmdk": b"KDMV" + struct.pack("<I", 1),
    "vhdx": b"vhdxfile",
    "vhd": b"conectix",
    "vdi": b"<<< QEMU VM Virtual Disk Image >>>\n".ljust(64, b"\0") + struct.pack("<I", 0xbeda107f),
    "parallels": b"WithoutFreeSpace",
}
VMDK_TEXT = b"# Disk DescriptorFile\nversion=1\n"  # shorter than a block
RAW = {
    "zeros": b"",
    "boot record": b"\xeb\x63\x90".ljust(510, b"\0") + b"\x55\xaa",
    "LUKS": b"LUKS\xba\xbe\0\2",  # a guest's encrypted disk
    "nearly qcow2": b"QFI\xfa",
    "qcow2 in the second block": bytes(512) + IMAGES["qcow2"],
    "vdi elsewhere": struct.pack("<I", 0xbeda107f),
}


@contextlib.contextmanager
def folder_with(**files):
    with tempfile.TemporaryDirectory(prefix="viommu-test-") as folder:
        for name, begin in files.items():
            with open(os.path.join(folder, name), "wb") as f:
                f.write(begin)
                f.truncate(SIZE)
        yield folder


def refusal(*options):
    p = subprocess.run([VIOMMUD, *options], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=20)
    check(p.returncode == 2 and p.stderr.count("\n") == 1 and not p.stdout, "%r" % p)
    return p.stderr


class Serving(Daemon):
    """A viommud with these --nvme, in a folder that is there."""

    def __init__(self, folder, *disks):  # pylint: disable=super-init-not-called
        self.folder = tempfile.TemporaryDirectory(prefix="viommu-test-")
        self.dir = os.path.join(self.folder.name, "run")
        command = [VIOMMUD, "--dir", self.dir]
        for disk in disks:
            command += ["--nvme", os.path.join(folder, disk)]
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                        text=True)
        check(self.process.stdout.readline().startswith("viommud: ready"), "it did not start")


def serial_of(d, name):
    """As Identify Controller shows it."""
    with Nvme(d, name) as n:
        n.run(0, IDENTIFY, DATA, 1)
        return os.pread(n.ram, PAGE, DATA - RAM)[4:24].decode("ascii").rstrip(" ")


def serials(folder, *disks):
    with Serving(folder, *disks) as d:
        shown = [f.get("serial") for f in d.ask("status")["functions"] if f["kind"] == "nvme"]
        seen = [serial_of(d, "nvme%d" % i) for i in range(len(disks))]
        equal(shown, seen, "what status tells")
        _, said = d.end()
    return seen, said


@case("an image of each other format is refused by name, unless it is said to be raw")
def images():
    with folder_with(**IMAGES) as folder:
        for name in IMAGES:
            path = os.path.join(folder, name)
            said = refusal("--nvme", path)
            check(all(word in said for word in (path, "a %s image" % name, "format=raw", "qemu-img convert")), said)
        serials(folder, *(name + ",format=raw" for name in IMAGES))


@case("a short file is looked at, too")
def short():
    with folder_with() as folder:
        path = os.path.join(folder, "disk")
        with open(path, "wb") as f:
            f.write(VMDK_TEXT)
        check("a vmdk image" in refusal("--nvme", path), "it is not refused")


@case("a raw disk is served whatever the guest may have written to it")
def raw():
    with folder_with(**{name.replace(" ", "-"): begin for name, begin in RAW.items()}) as folder:
        serials(folder, *os.listdir(folder))


@case("no format but raw can be asked for")
def formats():
    with folder_with(disk=b"") as folder:
        for name in ("qcow2", "", "RAW"):
            check("raw" in refusal("--nvme", os.path.join(folder, "disk,format=" + name)), name)


LONG = "a-disk-with-a-name-of-40-characters.img"
NAMES = {
    "root.img": "root.img",
    "exactly-20-chars.img": "exactly-20-chars.img",
    LONG: "a-disk-with-cfa59412",  # the checksum is FNV-1a, of 32 bits
    "a b.img": "a_b.img-0e6bbc3b",
    "\u00e4.img": "__.img-5127bf6b",
}


@case("a serial number is made of the file's name")
def names():
    with folder_with(**{name: b"" for name in NAMES}) as folder:
        seen, said = serials(folder, *NAMES)
    equal(seen, list(NAMES.values()), "serial numbers")
    equal(said, "", "what it says")


@case("it stays in another folder, in another file, at another place of the command line, in another size")
def stable():
    with folder_with(**{"other": b"", LONG: b""}) as folder, folder_with(**{LONG: b"different"}) as elsewhere:
        first, _ = serials(folder, LONG, "other")
        os.truncate(os.path.join(elsewhere, LONG), 2 * SIZE)
        second, _ = serials(folder, "other", os.path.join(elsewhere, LONG))
    equal(second[::-1], first, "serial numbers")


@case("files with one name in two folders have two, and it is said that their order counts")
def same_name():
    with folder_with(**{"d": b"", "d-2": b""}) as a, folder_with(d=b"") as b:
        seen, said = serials(a, "d", os.path.join(b, "d"), "d-2")
        equal(len(set(seen)), 3, "different serial numbers")
        check(seen[0] == "d" and "serial=" in said and os.path.join(b, "d") in said, "%r, %r" % (seen, said))
        seen, said = serials(a, "d,serial=mine", os.path.join(b, "d"), "d-2,serial=d")
        equal((seen, "mine" in seen), (["mine", "d-2", "d"], True), "serial numbers")


@case("one serial number for two disks of a VM is refused, for disks of two VMs not")
def twice():
    with folder_with(a=b"", b=b"") as folder:
        a, b = (os.path.join(folder, name) + ",serial=s" for name in "ab")
        check("serial=s" in refusal("--nvme", a, "--nvme", b), "it is not refused")
    with Daemon(VIOMMUD, vms={"a": (), "b": ()}) as d:
        equal([serial_of(vm, "nvme0") for vm in d.vms.values()], ["disk-a", "disk-b"], "serial numbers")


if __name__ == "__main__":
    sys.exit(run_cases(CASES, lambda function, args: function(*args)))
