#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""viommu trace and replay on what no event of DMA tells: real traces of Linux 7.3 (traces/record makes them), and the
rules of what may be inferred.

usage: test_trace_inferred.py VIOMMUD VIOMMU [WORD]
"""
import csv
import gzip
import io
import json
import os
import re
import subprocess
import sys
import tempfile

from rig import VIOMMU, case, check, main

TRACES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "traces")
DISK, NIC = "0000:00:04.0", "0000:00:05.0"
NOT_COMPLETE = "this trace is not complete"


def text_of(name):
    with gzip.open(os.path.join(TRACES, name), "rt") as f:
        return f.read()


def viommu(text, *command):
    return subprocess.run([VIOMMU, *command], input=text, capture_output=True, text=True, timeout=120, check=False)


def shown(text):
    done = viommu(text, "trace", "show", "-", "--json")
    check(done.returncode == 0, done)
    return json.loads(done.stdout)


def of_device(got, name=DISK):
    return next(d for d in got["devices"] if d["device"] == name)


@case
def nvme_of_linux_7_3():
    """6 reads of 128 KiB (32 pieces each), 4 writes of 64 KiB (in one piece each) and 8 reads of 4 KiB."""
    got = shown(text_of("iova-api-plain.txt.gz"))
    disk = of_device(got)
    check(got["counts"]["iommu_maps"] == 204 and got["counts"]["inferred"] == 196 and not got["counts"]["untold"], got)
    check((disk["maps"], disk["inferred"], disk["unmaps"], disk["lists"]) == (204, 196, 204, 6), disk)
    check(disk["bytes"] == 6 * 131072 + 4 * 65536 + 8 * 4096 and disk["peak_bytes"] == 131072, disk)
    check(NOT_COMPLETE in got["missing"] and " 196 of 204 " in got["missing"] and DISK in got["missing"], got)


@case
def the_device_may_show_later():
    """The first 32 maps come before the event that names it; from a trace of somebody else's."""
    got = shown(text_of("iova-api-excerpt.txt.gz"))
    disk = of_device(got, "0000:00:11.0")
    check((disk["maps"], disk["inferred"], disk["unmaps"], disk["lists"]) == (133, 132, 128, 5), disk)
    check(got["counts"]["left_mapped"] == 5, got["counts"])


@case
def recorded_with_probes_nothing_is_inferred():
    """What 'viommu trace record' writes names the device, the bytes and the direction; without it, it is inferred alike."""
    whole = text_of("iova-api-recorded.txt.gz")
    got = shown(whole)
    disk = of_device(got)
    check("missing" not in got and not disk["inferred"] and disk["maps"] == disk["unmaps"], got)
    check(disk["bytes"] == 6 * 131072 + 4 * 65536 + 8 * 4096, disk)
    check(not got["counts"]["untold"] and not got["counts"]["unmaps_before"] and not got["counts"]["unreadable"], got)
    less = "".join(line for line in whole.splitlines(True) if "dma_iova_" not in line)
    # The recorder also says which devices are behind the IOMMU: there are more than one.
    check(shown(less)["counts"]["untold"] == got["counts"]["iommu_maps"] - 8, shown(less))
    less = shown(less.replace("# behind the IOMMU: ", "# "))
    for key in "maps", "unmaps", "bytes", "peak_bytes", "lists":
        check(of_device(less)[key] == disk[key], (key, less, got))
    check(of_device(less)["inferred"] == got["counts"]["iommu_maps"] - 8, less)


@case
def without_dma_events_nothing_is_told():
    text = "".join(line for line in text_of("iova-api-plain.txt.gz").splitlines(True) if "dma_" not in line)
    got = shown(text)
    check(not got["devices"] and got["counts"]["untold"] == 204 and NOT_COMPLETE in got["missing"], got)
    done = viommu(text, "replay", "-")
    check(done.returncode == 1 and " 204 are left out" in done.stderr, done)


# ------------------------------------------------------------------------ rules


def line(at, event):
    return f"x-1 [000] ..... {10 + at / 1000:.6f}: {event}\n"


def iommu_map(at, iova, phys, size=4096):
    return line(at, f"map: IOMMU: iova=0x{iova:016x} - 0x{iova + size:016x} paddr=0x{phys:016x} size={size}")


def iommu_unmap(at, iova, size=4096):
    return line(at, f"unmap: IOMMU: iova=0x{iova:016x} - 0x{iova + size:016x} size={size} unmapped_size={size}")


def dma_map(at, device, iova, phys, size=4096):
    return iommu_map(at, iova, phys, size) + line(
        at + .1, f"dma_map_phys: {device} dir=TO_DEVICE dma_addr={iova:x} size={size} phys_addr={phys:x} attrs=")


def dma_unmap(at, device, iova, size=4096):
    return iommu_unmap(at, iova, size) + line(
        at + .1, f"dma_unmap_phys: {device} dir=TO_DEVICE dma_addr={iova:x} size={size} attrs=")


def counts_are(text, inferred, untold):
    got = shown(text)
    check((got["counts"]["inferred"], got["counts"]["untold"]) == (inferred, untold), (text, got["counts"]))
    return got


ONE = dma_map(1, DISK, 0x1000, 0x9000) + dma_unmap(2, DISK, 0x1000)
OTHER = dma_map(3, NIC, 0x1000, 0x9000) + dma_unmap(4, NIC, 0x1000)
OPEN = iommu_map(5, 0x8000, 0x20000) + iommu_unmap(9, 0x8000)


@case
def what_is_explained_is_not_inferred():
    counts_are(ONE + OTHER, 0, 0)
    listed = "".join(iommu_map(1, 0x10000 + 0x1000 * i, 0x9000 + 0x2000 * i) for i in range(3)) + line(
        2, f"dma_map_sg: {DISK} dir=TO_DEVICE nents=3/3 ents=3/3 dma_addrs={{0x10000}} sizes={{0x3000}} "
        "phys_addrs={0x9000,0xb000,0xd000} attrs=")
    counts_are(listed, 0, 0)
    counts_are(iommu_map(1, 0x10000, 0x9000, 0x3000) + line(
        2, f"dma_alloc: {DISK} dir=BIDIRECTIONAL dma_addr=10000 size=12288 virt_addr=0 flags=0 attrs="), 0, 0)


@case
def one_device_or_none():
    counts_are(ONE + OPEN, 1, 0)
    got = counts_are(ONE + OTHER + OPEN, 0, 1)
    check(" 1 are left out" in got["missing"], got)
    counts_are(f"# behind the IOMMU: {NIC}\n" + ONE + OPEN, 0, 1)
    counts_are(f"# behind the IOMMU: {DISK}\n" + ONE + OPEN, 1, 0)
    # Two, and one of them has something else at that address.
    got = counts_are(ONE + OTHER + dma_map(4.5, NIC, 0x8000, 0x30000) + OPEN, 1, 0)
    check(of_device(got)["inferred"] == 1, got)


@case
def maps_of_no_range_are_counted():
    for size, iova in ((0, 0x8000), (8192, 0xfffffffffffff000)):
        counts_are(ONE + line(5, f"map: IOMMU: iova={iova:#x} - 0x0 paddr=0x20000 size={size}"), 0, 1)


@case
def a_device_that_is_not_named_makes_all_unsure():
    """The only one has something else there: so there is another one, which may have had the others, too."""
    busy = dma_map(4.5, DISK, 0x8000, 0x30000)
    counts_are(ONE + busy + OPEN + iommu_map(6, 0x9000, 0x21000), 0, 2)
    # Mapped twice at the same time, by nobody: by two.
    counts_are(ONE + iommu_map(5, 0x8000, 0x20000) + iommu_map(6, 0x8000, 0x21000), 0, 2)
    # But what was unmapped while the recorder lost events is over.
    counts_are(ONE + iommu_map(5, 0x8000, 0x20000) + "CPU:0 [LOST 3 EVENTS]\n" + iommu_map(6, 0x8000, 0x21000), 2, 0)


def time_of(row):
    return float(re.search(r" (\d+\.\d{6}): ", row).group(1))


def report(*texts):
    """Lines by turns of each system, as 'trace-cmd report' of several files has them."""
    rows = [[f"{name}.dat: {row}" for row in text.splitlines(True)] for name, text in zip(("host", "guest"), texts)]
    mixed = sorted((row for system in rows for row in system), key=time_of)
    return "".join(f"{name}.dat: cpus=1\n" for name in ("host", "guest")) + "".join(mixed)


def of_guests(*texts):
    """The same of 'perf script', without a column of its own for the host."""
    rows = [before + row for before, text in zip(("", "VM:    7 VCPU:000 "), texts) for row in text.splitlines(True)]
    return "".join(sorted(rows, key=time_of))


@case
def each_system_has_devices_and_addresses_of_its_own():
    busy = dma_map(4.5, DISK, 0x8000, 0x30000)
    for form in report, of_guests:
        # The host's device is none of the guest's.
        counts_are(form(ONE, OPEN), 0, 1)
        # What the host's event explains is the host's map, though the guest's came later.
        mixed = (iommu_map(1, 0x1000, 0x9000) + line(1.2, f"dma_map_phys: {DISK} dir=TO_DEVICE dma_addr=1000 size=4096 phys_addr=9000 attrs="),
                 iommu_map(1.1, 0x1000, 0x9000))
        counts_are(form(*mixed), 0, 1)
        # Nor does it say that the guest's is another device's, or that it is not known.
        got = counts_are(form(ONE + OTHER + busy, ONE + OPEN), 1, 0)
        check([d["device"][:-len(DISK)] for d in got["devices"] if d["inferred"]] in (["guest.dat:"], ["7:"]), got)
        counts_are(form(ONE + busy + OPEN, ONE + OPEN), 1, 1)
        # Both, at one address and with other times.
        got = counts_are(form(ONE + OPEN, ONE + iommu_map(6, 0x8000, 0x20000) + iommu_unmap(7, 0x8000)), 2, 0)
        lives = sorted(round(d["life_max_ns"], -5) for d in got["devices"])
        check(lives == [1000000, 4000000] and all(d["unmaps"] == 2 for d in got["devices"]), (lives, got))
        # Pieces of two systems are no list, though one begins where the other ends.
        got = counts_are(form(ONE + iommu_map(5, 0x8000, 0x20000), ONE + iommu_map(5.5, 0x9000, 0x21000)), 2, 0)
        check(not any(d["lists"] for d in got["devices"]), got)


@case
def any_number_of_devices_may_do_nothing():
    """The recorder names all of a large machine; more of them than are kept make nothing sure."""
    for count in 2500, 4200, 9000:
        names = "".join(f"# behind the IOMMU: {i:04x}:00:00.0\n" for i in range(count))
        got = counts_are(names + ONE + OPEN, 0, 1)
        check([device["device"] for device in got["devices"]] == [DISK], (count, got["devices"]))
    done = viommu("x\n" * 3000 + ONE, "trace", "show", "-")
    check(done.returncode == 1 and "no events" in done.stderr, done)


@case
def a_queue_that_is_full_is_decided():
    """More maps than wait for a device; in little memory, and none is lost."""
    many = "".join(iommu_map(10 + i / 1000, 0x100000 + i % 64 * 0x1000, 0x100000 + i * 4096)
                   + iommu_unmap(10 + i / 1000, 0x100000 + i % 64 * 0x1000) for i in range(70000))
    got = counts_are(ONE + many, 70000, 0)
    check(of_device(got)["unmaps"] == 70001, got)


@case
def replay_names_devices_with_buffers_only():
    """The recorder names five devices behind the IOMMU, of which one does something."""
    text, idle = text_of("iova-api-recorded.txt.gz"), "0000:00:1f.3"
    check(f"# behind the IOMMU: {idle}\n" in text, "the trace is another one")
    with tempfile.TemporaryDirectory() as folder:
        page = os.path.join(folder, "page.html")
        for options in (), ("--device", DISK), ("--device", idle, "--device", DISK):
            done = viommu(text, "replay", "-", "--strategy", "copy", "--html", page, *options)
            check(done.returncode == 0 and " of 1 device " in done.stdout, done)
            with open(page, encoding="utf-8") as f:
                html = f.read()
            check(DISK in html and idle not in html and "1f.2" not in html, (options, "devices that do nothing"))
    done = viommu(text, "replay", "-", "--device", "0000:00:99.0")
    check(done.returncode == 1 and "no device 0000:00:99.0" in done.stderr and done.stderr.rstrip().endswith("it has " + DISK), done)
    done = viommu(text, "replay", "-", "--device", idle)
    check(done.returncode == 1 and "asked for" in done.stderr, done)


# ---------------------------------------------------------------------- outputs


@case
def all_that_is_missing_is_said_to_its_end():
    """Each kind of loss at once, of the longest names, in the first line of each output."""
    system, device = "s" * 128, "d" * 128
    listed = (f"dma_map_sg: {device} dir=TO_DEVICE nents=1/200 ents=1/200 [TRUNCATED] dma_addrs={{0x90000000}} sizes={{0x1000}} "
              "phys_addrs={0x7000} attrs=")
    text = dma_map(1, device, 0x1000, 0x9000) + line(2, "dma_map_phys: cut") + line(3, listed) + "".join(
        line(4, f"dma_map_phys: {device} dir=TO_DEVICE dma_addr=a0000000 size=64 phys_addr=a0000000 attrs=") for _ in range(4100)) + iommu_map(
            6, 0x8000, 0x20000) + iommu_map(7, 0x1000, 0x8000).replace("size=4096", "size=0")
    text = f"{system}: cpus=1\n" + "".join(f"{system}: {row}" for row in text.splitlines(True)) + "CPU:0 [LOST 18446744073709551615 EVENTS]\n" * 2
    want = shown(text)["missing"]
    for words in ("1 of 4103 lines", "line 4", "18446744073709551615 or more events in 2 gaps", "128 entries only of 1 scatter list;", "4 maps are left out",
                  f"buffers of {system}:{device}, the one", "can be read whole", "loses less"):
        check(words in want, (words, want))
    check(want.endswith("with a larger --buffer loses less"), want)
    check(viommu(text, "trace", "show", "-").stdout.startswith(f"-: {want}.\n"), "trace show")
    done = viommu(text, "replay", "-", "--strategy", "copy")
    check(done.stdout.startswith(f"-: {want}.\n"), done.stdout[:2000])
    # A list of names that has no end is marked, and no name is cut.
    many = "".join(line(1 + i, f"dma_map_phys: dev-{i:04} dir=TO_DEVICE dma_addr={i + 1:x}000 size=64 phys_addr={i + 1:x}000 attrs=")
                   for i in range(100))
    done = viommu(many, "replay", "-", "--device", "x")
    names = done.stderr.strip().split("it has ")[1].split(", ")
    check(names[-1] == "..." and len(names) > 10 and all(re.fullmatch(r"dev-\d{4}", name) for name in names[:-1]), names)


@case
def every_output_says_so():
    for text, words in ((text_of("iova-api-plain.txt.gz"), " 196 are inferred to be buffers of " + DISK),
                        (ONE + OTHER + OPEN, " 1 are left out")):
        check(words in viommu(text, "trace", "show", "-").stdout.splitlines()[0], "trace show")
        with tempfile.TemporaryDirectory() as folder:
            page = os.path.join(folder, "page.html")
            table = viommu(text, "replay", "-", "--strategy", "single-use", "--html", page)
            check(table.returncode == 0 and NOT_COMPLETE in table.stdout.splitlines()[0], table)
            check(words in table.stdout.splitlines()[0], table)
            with open(page, encoding="utf-8") as f:
                html = f.read()
            check(words in html.partition("class=\"choice-box\"")[0], "the page does not say it before its advice")
        done = viommu(text, "replay", "-", "--strategy", "single-use", "--json")
        one = json.loads(done.stdout)[0]
        check(next(iter(one)) == "missing" and words in one["missing"], one)
        check(words in done.stderr and one["trace"]["untold"] == one["untold_maps"], one)
        done = viommu(text, "replay", "-", "--strategy", "single-use", "--csv")
        row = next(csv.DictReader(io.StringIO(done.stdout)))
        check(words in done.stderr and int(row["inferred_maps"]) == one["inferred_maps"], row)
        check(int(row["untold_maps"]) == one["untold_maps"] and one["inferred_maps"] + one["untold_maps"], row)
        if one["inferred_maps"]:
            check(f"({one['inferred_maps']} of them inferred)" in table.stdout and "of them inferred)" in html, table)
            check("of them inferred" in viommu(text, "trace", "show", "-").stdout, "trace show marks nothing")


if __name__ == "__main__":
    sys.exit(main())
