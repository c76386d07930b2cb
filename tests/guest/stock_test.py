#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Proves the guest, its scenarios and vm.py without any part of viommu: QEMU's
own NVMe controller behind QEMU's own intel-iommu.

    stock_test.py [--folder FOLDER] [CASE...]
"""

import argparse
import os
import subprocess
import sys
import tempfile

from vm import Vm, VmError, qemu_args

HERE = os.path.dirname(os.path.abspath(__file__))
SCRIPTS = os.path.join(HERE, "..", "..", "scripts")
STRICT = "iommu.strict=1"


class Bench:
    """What every case needs: a QEMU, a guest, a folder."""

    def __init__(self, folder):
        self.folder = folder
        os.makedirs(folder, exist_ok=True)
        self.qemu = output("fetch-qemu").strip()
        made = dict(line.split("=", 1) for line in output("make-guest").splitlines())
        self.kernel, self.initrd = made["KERNEL"], made["INITRD"]

    def boot(self, name, cmdline, deadline=180):
        disk = os.path.join(self.folder, name + ".disk")
        with open(disk, "wb") as f:
            f.truncate(256 << 20)  # sparse
        command = [
            self.qemu,
            *qemu_args(self.kernel, self.initrd, cmdline),
            "-device", "intel-iommu,intremap=off,caching-mode=on",
            "-drive", f"if=none,id=disk,format=raw,file={disk},discard=unmap",
            "-device", "nvme,serial=stock,drive=disk,addr=4",
        ]
        try:
            return Vm(command, self.folder, name).run(deadline)
        finally:
            os.remove(disk)


def output(script):
    return subprocess.run([os.path.join(SCRIPTS, script)], check=True,
                          stdout=subprocess.PIPE, text=True).stdout


def check(condition, what):
    if not condition:
        raise VmError(what)


def case_facts(bench):
    vm = bench.boot("facts", "viommu.test=facts")
    check(vm.ok, f"not ok: {vm.facts}")
    check(any("IOMMU enabled" in line or "Host address width" in line
              for line in vm.values("facts.driver")), "no DMAR lines")
    check("0000:00:04.0" in " ".join(vm.values("facts.group")), "the disk is in no group")
    check("0000:00:04.0 live" in vm.value("facts.nvme"), "no live NVMe controller")


def case_integrity(bench):
    vm = bench.boot("integrity", f"viommu.test=integrity viommu.mb=64 {STRICT}")
    check(vm.ok, f"not ok: {vm.facts}")
    check(vm.value("integrity.written_sha256") == vm.value("integrity.read_sha256"),
          "read and written data differ")
    check(vm.value("integrity.write_zeroes") == "zeros", "write zeroes left something")


def case_invlat(bench):
    vm = bench.boot("invlat", f"viommu.test=invlat {STRICT}")
    check(vm.ok, f"not ok: {vm.facts}")
    # In caching mode mapping invalidates too, so each read does it twice.
    check(int(vm.value("invlat.count")) >= 800, "fewer invalidations than maps and unmaps")
    check(int(vm.value("invlat.p50_ns")) > 0, "no duration")


def case_bench(bench):
    vm = bench.boot("bench", "viommu.test=bench viommu.secs=2")
    check(vm.ok, f"not ok: {vm.facts}")
    check(float(vm.value("bench.random_4096_depth16_iops")) > 0, "no reads")


def case_irq(bench):
    vm = bench.boot("irq", "viommu.test=irq")
    check(vm.ok and vm.value("irq.kind") == "msix", f"no MSI-X: {vm.facts}")
    vm = bench.boot("irq-intx", "viommu.test=irq pci=nomsi")
    check(vm.ok and vm.value("irq.kind") == "intx", f"no INTx: {vm.facts}")


def case_reboot(bench):
    vm = bench.boot("reboot", "viommu.test=reboot")
    check(vm.ok and vm.values("reboot.boot") == ["1", "2", "3"], f"not three boots: {vm.facts}")
    check(vm.value("reboot.boots") == "3", "not three boots")


def case_rogue_refused(bench):
    vm = bench.boot("rogue-refused", "viommu.test=rogue")
    check(vm.value("done") == "fail", "QEMU's controller took the rogue command")
    check("rogue=on" in vm.value("error"), "no plain error")
    address = int(vm.value("rogue.address"), 16)
    check(0 < address < 1 << 30 and address % 4096 == 0, f"not a page of the guest: {address:#x}")


def case_order_and_unknown(bench):
    vm = bench.boot("order", "viommu.test=irq,nonsense,facts")
    check(list(vm.facts)[-1] == "done" and vm.value("done") == "fail", "the verdict is not last")
    check([vm.value(name) for name in ("irq", "nonsense", "facts")] == ["ok", "fail", "ok"],
          "the scenarios did not run in order")


def case_deadline(bench):
    try:
        bench.boot("deadline", "viommu.test=facts", deadline=0.5)
    except VmError as error:
        check("not over after" in str(error), f"another error: {error}")
        return
    raise VmError("the deadline passed unnoticed")


def main():
    cases = {name[5:]: f for name, f in globals().items() if name.startswith("case_")}
    parser = argparse.ArgumentParser()
    parser.add_argument("--folder", help="where consoles are kept")
    parser.add_argument("cases", nargs="*", metavar="CASE", help=" ".join(cases))
    args = parser.parse_args()
    unknown = [name for name in args.cases if name not in cases]
    if unknown:
        parser.error(f"no case {unknown[0]}; there are {' '.join(cases)}")
    bench = Bench(args.folder or tempfile.mkdtemp(prefix="viommu-guest."))
    failed = 0
    for name in args.cases or cases:
        try:
            cases[name](bench)
            print(f"ok   {name}", flush=True)
        except VmError as error:
            failed += 1
            print(f"FAIL {name}: {error}", flush=True)
    passed = len(args.cases or cases) - failed
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
