#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""A stock kernel in a stock QEMU, its disks behind `viommu run`.

    guest_test.py [--folder FOLDER] [--nightly | CASE...]

One line per case, "ok name seconds" or "FAIL name seconds: why"; the last line
is "N passed, N failed". Consoles and the daemon's words are kept in FOLDER.
"""

import argparse
import functools
import json
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time

from models import MODELS, AmdVi, VirtioIommu, Vtd
from rig import DEVICE, TOP, VIOMMU, Rig, check, last_words
from vm import Vm, VmError

BLOCKED, WENT_THROUGH = "13", "0"
ON = "intel_iommu=on"
STRICT, LAZY = f"{ON} iommu.strict=1", f"{ON} iommu.strict=0"
TRAP = ["--registers", "trap"]
BARE = ["--iommu", "none"]
IDLE_PAGES_MAX = 256  # queues, doorbells and what the driver keeps mapped
DAEMON_MEMORY_MAX_MIB = 32

# A warning of the kernel that is about us; others are of the machine it runs on.
OURS = re.compile(r"DMAR|iommu|nvme|\b00:1[0-7]\.|vfio|DMA|I/O error|timeout|WARNING|BUG|Call Trace|RIP:", re.I)

# The kernel counts timer ticks for a moment of its own time, which a busy machine does not give it under TCG.
LATE = "MP-BIOS bug: 8254 timer not connected to IO-APIC"


# --------------------------------------------------------- what a boot has shown

def check_ok(vm):
    check(vm.ok, f"not ok: status {vm.status}, done {vm.values('done')}, {' '.join(vm.values('error'))}; "
                 f"{last_words(vm.stderr)}; see {vm.console}")


def check_quiet(vm, model=Vtd):
    """The kernel complains of nothing but the faults that a scenario has provoked."""
    provoked = [*vm.values("rogue.fault"), *model.expected]
    complaints = [line for line in vm.values("log.error") if LATE not in line] + [line for line in vm.values("log.warning") if OURS.search(line)]
    left = [line for line in complaints if line not in provoked]
    check(not left, f"the kernel says: {'; '.join(left)}")


def check_unit(vm, kind, devices=(DEVICE,), boots=1, model=Vtd):
    """The kernel has found the IOMMU and put each disk into a group of this kind."""
    lines = vm.values("facts.driver")
    for wanted in model.found:
        seen = sum(wanted in line for line in lines)
        check(seen == boots, f"{seen} lines with '{wanted}' in {boots} boots: {lines}")
    groups = vm.values("facts.group")
    wanted = sorted(f"{kind} 0000:{device}" for device in devices) * boots
    found = [group.split(" ", 1)[1] for group in groups]
    check(sorted(found) == sorted(wanted), f"groups {groups}, expected {wanted}")
    check(len(vm.values("facts.nvme")) == boots * len(devices), f"controllers: {vm.values('facts.nvme')}")
    check(all(" live " in line for line in vm.values("facts.nvme")), f"not live: {vm.values('facts.nvme')}")


def check_integrity(vm):
    written, read = vm.value("integrity.written_sha256"), vm.value("integrity.read_sha256")
    check(re.fullmatch("[0-9a-f]{64}", written) and written == read, f"wrote {written}, read {read}")
    check(vm.value("integrity.write_zeroes") == "zeros", f"write zeroes: {vm.value('integrity.write_zeroes')}")
    check(vm.value("integrity.discard") in ("zeros", "unchanged"), f"discard: {vm.value('integrity.discard')}")


def rogue_results(vm):
    return vm.value("rogue.write_result"), vm.value("rogue.read_result"), vm.value("rogue.page")


def check_blocked(vm, boots=1, model=Vtd):
    check(rogue_results(vm) == (BLOCKED, BLOCKED, "unchanged"), f"the rogue: {rogue_results(vm)}")
    lines = vm.values("rogue.fault")
    for address in vm.values("rogue.address"):
        for direction in ("Write", "Read"):
            check(any(re.fullmatch(model.fault(direction, address), line) for line in lines),
                  f"no fault of a {direction} at {address} among {lines}")
    reported = len(model.faults(lines))
    check(reported == 2 * boots, f"{reported} faults reported, {2 * boots} provoked: {lines}")


def check_went_through(vm):
    check(rogue_results(vm) == (WENT_THROUGH, WENT_THROUGH, "overwritten"), f"the rogue: {rogue_results(vm)}")
    check(not vm.values("rogue.fault"), f"faults: {vm.values('rogue.fault')}")


def check_reach(guest):
    """An idle disk in strict mode reaches its queues, and little else."""
    reach = guest.ask("reach", "nvme0")
    check(reach["complete"] and not reach["blocked"], f"reach: {reach}")
    check(reach["memory_pages"] >= 1 << 18, f"{reach['memory_pages']} pages of memory; the guest has 1 GiB")
    check(1 <= reach["pages"] <= IDLE_PAGES_MAX, f"an idle disk reaches {reach['pages']} pages")


def check_dump(guest, model):
    tables = guest.ask("dump", "nvme0")["tables"]
    check(tables["translation"] == model.mapped and model.entries_are_good(tables), f"dump: {tables}")


def check_counters(guest):
    counters = guest.ask("counters")["counters"]
    for name in ("iotlb_hits", "iotlb_misses", "queue_descriptors"):
        check(counters[name]["value"] > 0, f"counter {name} is 0")
    for name in ("queue_errors", "faults_lost"):
        check(counters[name]["value"] == 0, f"counter {name} is {counters[name]['value']}")


def check_memory(guest):
    """Whatever the guest has done, the daemon is small beside it."""
    mib = guest.daemon_memory_mib()
    check(1 < mib <= DAEMON_MEMORY_MAX_MIB, f"viommud has {mib:.1f} MiB besides the guest's memory")


def observe(guest, model=Vtd):
    check_reach(guest)
    check_dump(guest, model)
    check_counters(guest)
    check_memory(guest)


# ------------------------------------------------------------------------- cases

def whole(rig, name, cmdline, kind, test, model=Vtd, options=(), boot=(), **how):
    """boot: arguments of QEMU for another kernel."""
    vm = rig.boot(name, f"{cmdline} viommu.test={test}", options=[*model.options, *options], qemu=[*model.qemu(rig), *boot], **how)
    check_ok(vm)
    check_unit(vm, kind, model=model)
    check_integrity(vm)
    check_blocked(vm, model=model)
    check_quiet(vm, model)
    return vm


def in_the_night(function):
    """A case that runs only with --nightly."""
    function.nightly = True
    return function


def in_the_table(rig, model, registers, policy):
    """A model, how its registers are served, and when Linux invalidates."""
    strict = policy == "strict"
    test = "facts,irq,integrity,rogue,idle" if strict else "facts,integrity,rogue"
    vm = whole(rig, f"{model.name}-{registers}-{policy}", f"{model.on} iommu.strict={int(strict)}", "DMA" if strict else "DMA-FQ", test,
               model, ["--registers", registers], while_idle=(lambda guest: observe(guest, model)) if strict else None)
    check(not strict or vm.value("irq.kind") == "msix", f"interrupts: {vm.values('irq.kind')}")


def case_caching_mode(rig):
    whole(rig, "caching-mode", STRICT, "DMA", "facts,integrity,rogue", options=["--iommu", "vtd,caching-mode=on"])


def case_39_bit(rig):
    whole(rig, "39-bit", STRICT, "DMA", "facts,integrity,rogue", options=["--iommu", "vtd,aw=39"])


def case_rogue_in_passthrough(rig):
    """The control experiment: without translation the rogue must get through."""
    vm = rig.boot("passthrough", f"{ON} iommu=pt viommu.test=facts,rogue")
    check_ok(vm)
    check_unit(vm, "identity")
    check_went_through(vm)
    check_quiet(vm)


def case_no_iommu(rig):
    vm = rig.boot("no-iommu", f"{ON} viommu.test=facts,integrity,rogue", options=BARE)
    check_ok(vm)
    check(not vm.values("facts.unit"), f"an IOMMU where there is none: {vm.values('facts.unit')}")
    check_integrity(vm)
    check_went_through(vm)
    check_quiet(vm)


def case_qemu_iommu(rig):
    """A plain device server behind QEMU's own IOMMU, which does not report the rogue but stops it."""
    vm = rig.boot("qemu-iommu", f"{STRICT} viommu.test=facts,integrity,rogue", options=BARE,
                  qemu=["-device", "intel-iommu,intremap=off,caching-mode=on"])
    check_ok(vm)
    check(any(f" 0000:{DEVICE}" in group for group in vm.values("facts.group")), "the disk is in no group")
    check_integrity(vm)
    write, read, page = rogue_results(vm)
    check(WENT_THROUGH not in (write, read) and page == "unchanged", f"the rogue: {rogue_results(vm)}")
    check_quiet(vm)


def reboot(rig, name, options):
    vm = rig.boot(name, f"{STRICT} viommu.test=facts,rogue,reboot", options=options)
    check_ok(vm)
    check(vm.values("reboot.boot") == ["1", "2", "3"], f"boots: {vm.values('reboot.boot')}")
    check_unit(vm, "DMA", boots=3)
    check_blocked(vm, boots=3)
    check_quiet(vm)


def case_reboot_sidecore(rig):
    reboot(rig, "reboot-sidecore", [])


@in_the_night
def case_reboot_trap(rig):
    reboot(rig, "reboot-trap", TRAP)


def case_intx(rig):
    vm = whole(rig, "intx", f"{STRICT} pci=nomsi", "DMA", "facts,irq,integrity,rogue")
    check(vm.value("irq.kind") == "intx", f"interrupts: {vm.value('irq.kind')}")


def two_disks(rig, name, cmdline, kind, model=Vtd, options=()):
    vm = rig.boot(name, f"{cmdline} viommu.test=facts,together,rogue", disks=2, cpus=2, options=[*model.options, *options], qemu=model.qemu(rig))
    check_ok(vm)
    check_unit(vm, kind, devices=(DEVICE, "00:12.0"), model=model)
    disks = [line.split() for line in vm.values("together.disk")]
    check(len(disks) == 2 and all(written == read for _, written, read in disks), f"disks: {disks}")
    check(disks[0][1] != disks[1][1], "both disks hold the same")
    check(rogue_results(vm) == (BLOCKED, BLOCKED, "unchanged"), f"the rogue: {rogue_results(vm)}")
    serials = [line.split() for line in vm.values("facts.serial")]
    check(sorted(serials) == [[f"0000:{DEVICE}", f"{name}.disk0"], ["0000:00:12.0", f"{name}.disk1"]], f"serial numbers: {serials}")
    check(all(" queues 2" in line for line in vm.values("facts.namespace")), "not a queue for each CPU")
    check_quiet(vm, model)


def case_two_disks_two_cpus_strict(rig):
    two_disks(rig, "two-strict", STRICT, "DMA")


@in_the_night
def case_two_disks_two_cpus_lazy_trap(rig):
    two_disks(rig, "two-lazy-trap", LAZY, "DMA-FQ", options=TRAP)


def check_apart(guest):
    """What one disk did to its unit has not touched the other's."""
    stat = guest.ask("stat")
    units = {unit["iommu"]: unit for unit in stat["units"]}
    check([units[name]["translation"] for name in "ab"] == ["on", "on"], f"units: {units}")
    busy, calm = (units[name]["counters"]["iotlb_page_invalidations"] for name in "ab")
    both = stat["counters"]["iotlb_page_invalidations"]  # of before, or as long ago
    check(0 < busy < both and 0 < calm < both <= busy + calm, f"page invalidations {busy} and {calm}, of {both}")
    check(units["a"]["counters"]["blocked"] >= 2 and units["b"]["counters"]["blocked"] == 0,
          f"blocked by a: {units['a']['counters']['blocked']}, by b: {units['b']['counters']['blocked']}")
    check({fault["iommu"] for fault in guest.ask("stat")["last_faults"]} == {"a"}, "faults of another unit")
    behind = [[one["device"] for one in guest.ask("reach", unit)["devices"]] for unit in "ab"]
    check(behind == [["nvme0"], ["nvme1"]], f"devices behind the units: {behind}")


def two_units(rig, name, **how):
    vm = rig.boot(name, f"{STRICT} viommu.test=facts,beside,idle", disks=2, cpus=2, behind=("a", "b"),
                  while_idle=check_apart, **how)
    check_ok(vm)
    behind = ["dmar0 0000:00:11.0", "dmar1 0000:00:12.0"]
    check(vm.values("facts.behind") == behind, f"devices behind {vm.values('facts.behind')}, expected {behind}")
    bases = [re.search("reg_base_addr ([0-9a-f]+)", line).group(1) for line in vm.values("facts.driver") if "reg_base_addr" in line]
    check(len(set(bases)) == 2, f"registers at {bases}")
    groups = sorted(group.split(" ", 1)[1] for group in vm.values("facts.group"))
    check(groups == ["DMA 0000:00:11.0", "DMA 0000:00:12.0"], f"groups {groups}")
    check(vm.value("beside.written_sha256") == vm.value("beside.read_sha256"), "the second disk")
    check_blocked(vm)
    check_quiet(vm)


def case_two_units(rig):
    two_units(rig, "two-units")


def case_two_units_trap(rig):
    two_units(rig, "two-units-trap", options=TRAP)


def children_of(pid):
    with open(f"/proc/{pid}/task/{pid}/children", encoding="utf-8") as f:
        return [int(word) for word in f.read().split()]


def gone(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8") as f:
            return f.read().rsplit(")", 1)[1].split()[0] == "Z"
    except FileNotFoundError:
        return True


def await_gone(pids, seconds):
    end = time.monotonic() + seconds
    while not all(map(gone, pids)):
        check(time.monotonic() < end, f"processes {[pid for pid in pids if not gone(pid)]} are still there")
        time.sleep(0.05)


def case_daemon_ends(rig):
    """SIGTERM to viommud while the guest writes: a clean end of all, and the reason."""
    with rig.start("daemon-ends", f"{STRICT} viommu.test=facts,bench viommu.secs=30") as guest:
        guest.vm.wait_for("facts", 180)
        time.sleep(1)  # into the reads of bench
        status = guest.ask("status")
        family = children_of(guest.vm.pid)
        check(status["pid"] in family and len(family) == 2, f"{status['pid']} is not of {family}")
        unit = next(f for f in status["functions"] if f["kind"] == "iommu")
        check(unit["bus_master"], "firmware has not let the unit's function master the bus")
        os.kill(status["pid"], signal.SIGTERM)
        check(guest.vm.follow(240), "the machine does not end")
        await_gone([*family, guest.vm.pid], 20)
        sockets = [f["socket"] for f in status["functions"]]
        check(not any(map(os.path.exists, sockets)), f"left behind: {sockets}")
    check(guest.vm.status == 1, f"exit status {guest.vm.status}")
    check("viommud has ended" in last_words(guest.vm.stderr), f"it says: {last_words(guest.vm.stderr)}")


def case_interrupted(rig):
    """SIGTERM to viommu run: QEMU and viommud end with it."""
    with rig.start("interrupted", f"{STRICT} viommu.test=facts,bench viommu.secs=30") as guest:
        guest.vm.wait_for("facts", 180)
        family = children_of(guest.vm.pid)
        os.kill(guest.vm.pid, signal.SIGTERM)
        check(guest.vm.follow(240), "the machine does not end")
        await_gone([*family, guest.vm.pid], 20)


def case_bench_guest(rig):
    """Two modes of the benchmark, short: figures, ratios and the daemon's memory are there."""
    modes = ("none", "viommu_sidecore_lazy")
    command = [VIOMMU, "bench", "guest", "--json", "--quick", "--qemu", rig.qemu,
               "--folder", os.path.join(rig.folder, "bench"), *(word for mode in modes for word in ("--mode", mode))]
    result = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, timeout=240)
    check(result.returncode == 0, f"exit status {result.returncode}: {result.stdout}")
    report = json.loads(result.stdout)
    check(report["machine"]["guest_kernel"] and report["machine"]["cores"] > 0, f"machine: {report['machine']}")
    for mode in modes:
        its = report[mode]
        for key in ("randread_4k_qd1_iops", "randread_4k_qd16_iops", "randwrite_4k_qd1_iops", "randwrite_4k_qd16_iops",
                    "read_128k_mbps", "write_128k_mbps"):
            check(its[key] > 1, f"{mode} {key}: {its[key]}")
        check(its["randread_4k_qd1_p99_us"] >= its["randread_4k_qd1_p50_us"] > 1, f"{mode}: {its}")
        check(1 < its["daemon_memory_mib"] <= DAEMON_MEMORY_MAX_MIB, f"{mode}: {its['daemon_memory_mib']} MiB")
    ratio = report["ratios"]["none"]["viommu_sidecore_lazy"]["randread_4k_qd1_iops"]
    rates = [report[mode]["randread_4k_qd1_iops"] for mode in modes]
    check(abs(ratio - rates[1] / rates[0]) < 0.01, f"ratio {ratio} of {rates}")


CRASH = "nvme_core.io_timeout=2 nvme_core.admin_timeout=2 viommu.test=crash"
PAGE_SIZE = 4096


def check_flushed(vm, disk, seed=1):
    """All that the guest said it had flushed is in the disk file; returns the last page's number."""
    last = int(vm.value("crash.flushed"))
    with open(disk, "rb") as f:
        for number in range(last + 1):
            words = struct.unpack("<512Q", f.read(PAGE_SIZE))
            check(all(word == seed << 56 | number << 16 | i for i, word in enumerate(words)),
                  f"page {number} of {last} was flushed and is not there")
    return last


def kill_under_load(vm, pid, pages=400):
    vm.follow(180, until=lambda: len(vm.values("crash.flushed")) >= pages)
    check(vm.values("crash.flushed"), "the guest has flushed nothing")
    os.kill(pid, signal.SIGKILL)


def crash(rig, name, cmdline, options):
    """viommud is killed under load: a bounded end, the reason in a line, all that was flushed there, and a new start."""
    with rig.disks(name, 1) as (disk,):
        with rig.start(name, f"{cmdline} {CRASH}", options=options, kept=[disk]) as guest:
            guest.vm.wait_for("crash.flushed", 180)
            family = children_of(guest.vm.pid)
            kill_under_load(guest.vm, guest.ask("status")["pid"])
            killed = time.monotonic()
            check(guest.vm.follow(240), "the machine does not end")
            await_gone([*family, guest.vm.pid], 20)
            check(time.monotonic() - killed < 15, f"it took {time.monotonic() - killed:.0f} s")
        check(guest.vm.status == 1, f"exit status {guest.vm.status}")
        said = last_words(guest.vm.stderr, most=1)
        check("viommud was killed by signal 9 (Killed)" in said, f"it says: {said}")
        last = check_flushed(guest.vm, disk)
        vm = rig.boot(name, f"{cmdline} viommu.test=facts,recovered,rogue viommu.flushed={last}", options=options,
                      kept=[disk])
    check_ok(vm)
    check(vm.value("recovered.pages") == str(last + 1), f"recovered: {vm.value('recovered.pages')} of {last + 1}")
    check_quiet(vm)
    return vm


def case_crash_sidecore(rig):
    check_blocked(crash(rig, "crash-sidecore", STRICT, []))


def case_crash_trap(rig):
    check_blocked(crash(rig, "crash-trap", LAZY, TRAP))


def case_crash_no_iommu(rig):
    check_went_through(crash(rig, "crash-no-iommu", ON, BARE))


def case_crash_beside_qemu(rig):
    """QEMU is not ended with viommud here. Its guest sees a dead disk and lives, unless QEMU ends by itself:
    QEMU 11.1 aborts when it reads the end of a vfio-user connection before a write to it has failed."""
    name = "crash-beside-qemu"
    with rig.disks(name, 1) as (disk,), rig.start_apart(name, f"{ON} {CRASH}", disk, options=BARE) as (viommud, vm):
        kill_under_load(vm, viommud.pid)
        killed = time.monotonic()
        check(vm.follow(240), "neither the guest nor QEMU ends")
        seconds = time.monotonic() - killed
        check_flushed(vm, disk)
    if vm.status != -signal.SIGABRT:
        check(vm.value("crash.error").split()[1] == "EIO", f"the guest sees {vm.value('crash.error')}")
        check(int(vm.value("crash.error").split()[3]) < 10000, f"the guest waited: {vm.value('crash.error')}")
        check(vm.values("crash.alive") == ["1", "2", "3"], "the guest does not go on")
        check_ok(vm)
    check(seconds < 30, f"the end took {seconds:.0f} s")


def check_no_sleep(vm):
    check(vm.value("suspend.modes") == "[s2idle]", f"sleep modes: {vm.value('suspend.modes')}")
    check("platform" not in vm.value("suspend.disk"), f"firmware offers S4: {vm.value('suspend.disk')}")


def case_no_sleep(rig):
    """A guest is not offered to sleep in what its IOMMU does not outlive."""
    vm = rig.boot("no-sleep", f"{STRICT} viommu.test=facts,suspend,integrity,rogue")
    check_ok(vm)
    check_no_sleep(vm)
    check_blocked(vm)


def monitor(path, command, answer, seconds=60):
    """Asks QEMU's monitor until it answers so."""
    end = time.monotonic() + seconds
    while True:
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(seconds)
            s.connect(path)
            s.sendall(command.encode() + b"\n")
            said = b""
            while said.count(b"(qemu)") < 2:
                said += s.recv(65536)
        if answer in said.decode(errors="replace"):
            return
        check(time.monotonic() < end, f"QEMU does not say {answer} to {command}")
        time.sleep(0.2)


def case_sleep(rig):
    """The user lets the guest sleep in S3 all the same: it wakes without its IOMMU and panics, and the host is told why."""
    path = os.path.join(rig.folder, "sleep.monitor")
    qemu = ["-monitor", f"unix:{path},server=on,wait=off", "-global", "ICH9-LPC.disable_s3=0"]
    panicked = False
    with rig.start("sleep", f"{STRICT} no_console_suspend viommu.test=suspend", qemu=qemu) as guest:
        guest.vm.wait_for("suspend", 180)
        monitor(path, "info status", "suspended")
        check(not guest.ask("status")["registers_lost"], "the guest sleeps, and is said to be lost")
        monitor(path, "system_wakeup", "(qemu)")
        try:
            guest.vm.follow(240)
        except VmError as error:
            panicked = "panicked" in str(error)
        end = time.monotonic() + 60
        while not guest.ask("status")["registers_lost"]:
            check(time.monotonic() < end, "the guest woke without its IOMMU, and the host is not told")
            time.sleep(0.2)
        said = last_words(guest.vm.stderr)
    check(panicked and guest.vm.values("suspend") == ["now"], f"the guest says {guest.vm.values('suspend')}")
    check("THE GUEST HAS LOST ITS IOMMU" in said and "ICH9-LPC.disable_s3=1" in said, f"it says: {said}")


def case_pc(rig):
    """The older of QEMU's machines."""
    vm = rig.boot("pc", f"{STRICT} viommu.mb=8 viommu.test=facts,irq,suspend,integrity,rogue,reboot",
                  machine="pc")
    check_ok(vm)
    check(vm.values("reboot.boot") == ["1", "2", "3"], f"boots: {vm.values('reboot.boot')}")
    check_unit(vm, "DMA", boots=3)
    check_integrity(vm)
    check_blocked(vm, boots=3)
    check_no_sleep(vm)
    check_quiet(vm)


XEN_IMAGE = 0x3f800000  # where Xen moves itself to, below the end of 1 GiB
XEN_CODE = XEN_IMAGE + 0x200000  # the 2 MiB before that are not its own


def check_xen(log):
    with open(log, encoding="utf-8", errors="replace") as f:
        said = f.read()
    check("I/O virtualisation enabled" in said, f"Xen does not use the IOMMU; see {log}")
    check(f"New Xen image base address: {XEN_IMAGE:#x}\n" in said.replace("\r", ""), f"Xen lies elsewhere; see {log}")
    for direction, reason in (("Write", "05"), ("Read", "06")):
        wanted = rf"\[DMA {direction}\] Request device \[0000:{DEVICE}\] fault addr {XEN_CODE:x}\s.*reason {reason} "
        check(len(re.findall(wanted, said)) == 1, f"Xen tells no fault of a {direction.lower()}; see {log}")


def count_blocked(guest):
    counters = guest.ask("counters")["counters"]
    for name, wanted in (("blocked", 2), ("faults_recorded", 2), ("faults_lost", 0)):
        check(counters[name]["value"] == wanted, f"counter {name} is {counters[name]['value']}")


def case_xen(rig):
    """Xen owns the IOMMU, and its first domain the disk, which is told to write into Xen."""
    log = os.path.join(rig.folder, "xen.xen")
    vm = rig.boot("xen", f"viommu.mb=8 viommu.idle=2 viommu.rogue={XEN_CODE:#x} viommu.test=facts,integrity,rogue,idle",
                  deadline=600, while_idle=count_blocked, xen=log)
    check_ok(vm)
    check_integrity(vm)
    check(rogue_results(vm)[:2] == (BLOCKED, BLOCKED), f"the rogue: {rogue_results(vm)}")
    check_xen(log)


def observe_gart(guest):
    """The disk's queues are in the aperture, and all of memory is within its reach."""
    status, reach = guest.ask("status"), guest.ask("reach", "nvme0")
    check((status["iommu"], status["translation"], reach["translation"]) == ("gart", "on", "aperture"), f"status: {status}")
    check(reach["aperture_last"] < 1 << 32 and reach["writable_pages"] > 1 << 17, f"reach: {reach}")
    check(guest.ask("counters")["counters"]["iotlb_hits"]["value"] > 0, "nothing was translated")


def case_gart(rig):
    """Linux's driver of AMD's GART maps all DMA, and the rogue is not stopped: it remaps, and protects nothing."""
    vm = rig.boot("gart", "iommu=force viommu.mb=8 viommu.idle=2 viommu.test=facts,integrity,rogue,idle", deadline=300,
                  options=["--iommu", "gart"], qemu=[*rig.debian_args(), "-cpu", "qemu64,vendor=AuthenticAMD"], while_idle=observe_gart)
    check_ok(vm)
    check_integrity(vm)
    check_went_through(vm)
    check_quiet(vm)
    with open(vm.console, encoding="utf-8", errors="replace") as f:
        check("PCI-DMA: using GART IOMMU" in f.read(), f"the kernel does not use the GART; see {vm.console}")
    with open(vm.stderr, encoding="utf-8") as f:
        check("NOT PROTECTED: the GART" in f.read(), f"viommud does not say so; see {vm.stderr}")


def readme_lines():
    """What README.md tells to type to run a machine, without the make that this test has behind it."""
    with open(os.path.join(TOP, "README.md"), encoding="utf-8") as f:
        section = f.read().split("\n## Run a machine\n")[1]
    first, _, lines = section.split("```\n")[1].partition("\n")
    check(first == "make" and "viommu run --nvme disk.img -- qemu-system-x86_64 " in lines, f"README has {lines}")
    return lines


def case_readme(rig):
    """README's own lines, typed as they stand, in a folder that has what they name; whatever QEMU this machine has."""
    with tempfile.TemporaryDirectory(prefix="viommu-readme.") as folder:
        for name, path in (("build", os.path.join(TOP, "build")), ("vmlinuz", rig.kernel), ("initrd", rig.initrd)):
            os.symlink(path, os.path.join(folder, name))
        vm = Vm(["sh", "-ec", f"cd {folder}\n{readme_lines()}"], rig.folder, "readme").run(deadline=180)
    check_ok(vm)
    check_unit(vm, "DMA-FQ")
    check_quiet(vm)


def case_reach_without_daemon(rig):
    """What a person sees who asks the wrong folder."""
    result = subprocess.run([VIOMMU, "reach", "--dir", rig.folder, "nvme0"], stdin=subprocess.DEVNULL,
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=30)
    check(result.returncode == 1 and "no viommud serves" in result.stdout, f"it says: {result.stdout}")


def reboot_of(rig, model):
    vm = rig.boot(f"{model.name}-reboot", "iommu.strict=1 viommu.mb=8 viommu.test=facts,integrity,rogue,reboot", options=model.options,
                  qemu=model.qemu(rig), deadline=300)
    check_ok(vm)
    check(vm.values("reboot.boot") == ["1", "2", "3"], f"boots: {vm.values('reboot.boot')}")
    check_unit(vm, "DMA", boots=3, model=model)
    check_integrity(vm)
    check_blocked(vm, boots=3, model=model)
    check_quiet(vm, model)


def case_virtio_reboot(rig):
    """Linux resets its IOMMU before its disk when it reboots."""
    reboot_of(rig, VirtioIommu)


@in_the_night
def case_amdvi_reboot(rig):
    reboot_of(rig, AmdVi)


def passthrough_of(rig, model):
    vm = rig.boot(f"{model.name}-passthrough", "iommu=pt viommu.test=facts,rogue", options=model.options, qemu=model.qemu(rig))
    check_ok(vm)
    check_unit(vm, "identity", model=model)
    check_went_through(vm)
    check_quiet(vm, model)


@in_the_night
def case_virtio_passthrough(rig):
    passthrough_of(rig, VirtioIommu)


@in_the_night
def case_amdvi_passthrough(rig):
    passthrough_of(rig, AmdVi)


@in_the_night
def case_amdvi_forcedac(rig):
    """Tables of 6 levels."""
    whole(rig, "amdvi-forcedac", "iommu.forcedac=1 iommu.strict=1", "DMA", "facts,integrity,rogue", AmdVi)


@in_the_night
def case_amdvi_rebind(rig):
    vm = whole(rig, "amdvi-rebind", "iommu.strict=1", "DMA", "facts,rebind,integrity,rogue", AmdVi)
    check(vm.values("rebind.time") == ["1", "2", "3"], f"rebound: {vm.values('rebind.time')}")


@in_the_night
def case_amdvi_two_cpus(rig):
    two_disks(rig, "amdvi-two", "iommu.strict=1", "DMA", model=AmdVi)


@in_the_night
def case_virtio_without_driver(rig):
    """The kernel has no driver of virtio-iommu at hand: it leaves the disk alone, and the user is told why."""
    vm = rig.boot("virtio-without-driver", "viommu.idle=70 viommu.test=facts,idle", options=VirtioIommu.options)
    check_ok(vm)
    check(not vm.values("facts.nvme"), f"controllers: {vm.values('facts.nvme')}")
    with open(vm.stderr, encoding="utf-8") as f:
        said = f.read()
    check("virtio_iommu" in said and "initrd" in said, f"viommu says: {said}")


def fill_the_table():
    """Always: each model in each column once."""
    always = {("vtd", "sidecore", "strict"), ("vtd", "sidecore", "lazy"), ("vtd", "trap", "strict"), ("virtio", "sidecore", "strict"),
              ("virtio", "trap", "lazy"), ("amdvi", "trap", "strict"), ("amdvi", "sidecore", "lazy")}
    cells = {}
    for model in MODELS.values():
        for registers in ("sidecore", "trap"):
            for policy in ("strict", "lazy"):
                cell = (model.name, registers, policy)
                run = functools.partial(in_the_table, model=model, registers=registers, policy=policy)
                cells["_".join(cell)] = run if cell in always else in_the_night(run)
    return cells


@in_the_night
def case_virtio_forcedac(rig):
    """Device addresses from the top of what the unit can map."""
    whole(rig, "virtio-forcedac", "iommu.forcedac=1 iommu.strict=1", "DMA", "facts,integrity,rogue", VirtioIommu)


@in_the_night
def case_virtio_rebind(rig):
    vm = whole(rig, "virtio-rebind", "iommu.strict=1", "DMA", "facts,rebind,integrity,rogue", VirtioIommu)
    check(vm.values("rebind.time") == ["1", "2", "3"], f"rebound: {vm.values('rebind.time')}")


@in_the_night
def case_virtio_beside_vtd(rig):
    """A unit of each model in one machine, each before its own disk."""
    options = ["--iommu", "vtd,id=a", "--iommu", "virtio,id=b"]
    vm = rig.boot("virtio-beside-vtd", f"{STRICT} viommu.test=facts,together,rogue", disks=2, options=options, behind=("a", "b"), iommu=None,
                  qemu=rig.module_args())
    check_ok(vm)
    groups = sorted(group.split(" ", 1)[1] for group in vm.values("facts.group"))
    check(groups == ["DMA 0000:00:11.0", "DMA 0000:00:12.0"], f"groups {groups}")
    behind = sorted(line.split(" ", 1)[1] for line in vm.values("facts.behind"))
    check(behind == ["0000:00:11.0", "0000:00:12.0"] and len(vm.values("facts.behind")) == 2, f"behind: {vm.values('facts.behind')}")
    check_blocked(vm)
    check_quiet(vm)


@in_the_night
def case_newest_kernel(rig):
    """Each model once on the newest kernel that Debian has."""
    boot = rig.newest_args()
    for model in (Vtd, VirtioIommu):  # it is a kernel for clouds, without a driver of AMD-Vi
        whole(rig, f"newest-{model.name}", f"{model.on} iommu.strict=1", "DMA", "facts,integrity,rogue,idle", model,
              while_idle=lambda guest, model=model: observe(guest, model), boot=boot)


@in_the_night
def case_virtio_two_cpus(rig):
    two_disks(rig, "virtio-two", "iommu.strict=1", "DMA", model=VirtioIommu)


def run_case(rig, name, case):
    start, why = time.monotonic(), ""
    try:
        case(rig)
    except (VmError, OSError, KeyError, json.JSONDecodeError, subprocess.TimeoutExpired) as error:
        why = f": {error!r}" if not isinstance(error, VmError) else f": {error}"
    print(f"{'FAIL' if why else 'ok  '} {name} {time.monotonic() - start:.1f}{why}", flush=True)
    return not why


def main():
    cases = {**fill_the_table(), **{name[5:]: f for name, f in globals().items() if name.startswith("case_")}}
    parser = argparse.ArgumentParser()
    parser.add_argument("--folder", help="where consoles are kept")
    parser.add_argument("--nightly", action="store_true", help="those cases that do not run always")
    parser.add_argument("cases", nargs="*", metavar="CASE", help=" ".join(cases))
    args = parser.parse_args()
    unknown = [name for name in args.cases if name not in cases]
    if unknown:
        parser.error(f"no case {unknown[0]}; there are {' '.join(cases)}")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    try:
        rig = Rig(args.folder or tempfile.mkdtemp(prefix="viommu-guest."))
    except VmError as error:
        print(f"FAIL set-up: {error}\n0 passed, 1 failed")
        return 1
    wanted = args.cases or [name for name, f in cases.items() if args.nightly == hasattr(f, "nightly")]
    results = [run_case(rig, name, cases[name]) for name in wanted]
    print(f"{sum(results)} passed, {len(results) - sum(results)} failed")
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
