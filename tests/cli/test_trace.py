#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""viommu trace: formats, what is joined and what is counted, recording.

usage: test_trace.py VIOMMUD VIOMMU [WORD]
"""
import gzip
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time

from rig import VIOMMU, case, cases, check, main, refused, run, until  # noqa: F401

FTRACE = "          iperf3-171     [000] b..1.    %s: "
REPORT = "          iperf3-171   [003]    %s: "
PERF = "iperf3   171 [001]    %s:   dma:"
MAP = "dma_map_page: 0000:00:02.0 dir=TO_DEVICE dma_addr=%x size=%d phys_addr=%x attrs="
UNMAP = "dma_unmap_page: 0000:00:02.0 dir=TO_DEVICE dma_addr=%x size=%d attrs="
TRACEFS = "/sys/kernel/tracing"


def show(text, *options):
    data = text if isinstance(text, bytes) else text.encode()
    with tempfile.NamedTemporaryFile() as f:
        f.write(data)
        f.flush()
        return run(VIOMMU, "trace", "show", f.name, *options)


def shown(text):
    done = show(text, "--json")
    check(done.returncode == 0, done.stderr)
    return json.loads(done.stdout)


def counts(text):
    return {name: value for name, value in shown(text)["counts"].items() if value}


def lines(*events, form=FTRACE):
    return "".join(form % f"{5 + i / 1000:.6f}" + event + "\n" for i, event in enumerate(events))


PAIR = (MAP % (0xfffff686, 54, 0x3ab99686), UNMAP % (0xfffff686, 54))


@case
def all_forms_say_the_same():
    want = shown(lines(*PAIR))["devices"]
    check(want[0]["device"] == "0000:00:02.0" and want[0]["maps"] == want[0]["unmaps"] == 1, want)
    check(want[0]["life_max_ns"] == 1000000 and want[0]["peak_bytes"] == 54, want)
    forms = {"trace-cmd report": "cpus=4\n" + lines(*PAIR, form=REPORT), "perf script": lines(*PAIR, form=PERF),
             "gzip": gzip.compress(lines(*PAIR).encode()), "a task with brackets": lines(*PAIR, form="  [x] y[0]-1 [000] %s: "),
             "a buffer with a name": lines(*PAIR, form="buf:   iperf3-171 [000] %s: "),
             "no newline at the end": lines(*PAIR).rstrip("\n"), "carriage returns": lines(*PAIR).replace("\n", "\r\n"),
             "newer names": lines(*PAIR).replace("_page:", "_phys:")}
    for name, text in forms.items():
        check(shown(text)["devices"] == want, f"{name}: {shown(text)}")


@case
def stdin_is_read():
    done = subprocess.run([VIOMMU, "trace", "show", "-"], input=lines(*PAIR), capture_output=True, text=True, check=False)
    check(done.returncode == 0 and "0000:00:02.0" in done.stdout, done)


def counted(name, value, *events):
    got = counts(lines(*events))
    check(got.get(name) == value, f"{name}: {got}")


@case
def what_is_not_joined_is_counted():
    counted("unmaps_before", 1, PAIR[1])
    counted("unmaps_lost", 1, PAIR[0], MAP % (0xfffff686, 54, 0x1000))
    counted("left_mapped", 1, PAIR[0])
    counted("size_differs", 1, PAIR[0], UNMAP % (0xfffff686, 50))
    counted("failed_maps", 1, MAP % (0xffffffffffffffff, 54, 0x1000))
    counted("failed_maps", 1, "dma_map_sg_err: 0000:00:02.0 dir=TO_DEVICE dma_addrs={0x1000} err=-12 attrs=")
    counted("unreadable", 1, PAIR[0][:60])
    counted("other_events", 1, "sched_switch: prev_comm=a ==> b")
    counted("iommu_events", 2, "map: IOMMU: iova=0x1 - 0x2 paddr=0x3 size=4096", "unmap: IOMMU: iova=0x1 - 0x2 size=1")
    counted("frees_before", 1, "dma_free: 0000:00:01.0 dir=NONE dma_addr=1000 size=4096 virt_addr=00000000abcdef attrs="
            .replace("NONE", "BIDIRECTIONAL"))
    counted("syncs_unjoined", 1, "dma_sync_single_for_cpu: 0000:00:01.0 dir=FROM_DEVICE dma_addr=1000 size=64")
    got = counts(lines(*PAIR) + "CPU:0 [LOST 17 EVENTS]\n" + lines(*PAIR) + "CPU:1 [LOST EVENTS]\n")
    check(got["lost_events"] == 17 and got["lost_marks"] == 2 and got["out_of_order"] == 1, got)


@case
def without_an_iommu_a_page_is_mapped_twice():
    twice = MAP % (0x5000, 100, 0x5000)
    got = shown(lines(twice, twice, UNMAP % (0x5000, 100), UNMAP % (0x5000, 100)))
    check(got["devices"][0]["unmaps"] == 2 and not got["counts"]["unmaps_lost"], got)


@case
def scatter_lists():
    whole = ("dma_map_sg: d dir=FROM_DEVICE nents=2/2 ents=2/2 dma_addrs={0xfff00200,0xffe00000} sizes={0xe00,0x1000} "
             "phys_addrs={0x8200,0x3000} attrs=")
    merged = "dma_map_sg: d dir=FROM_DEVICE dma_addrs={0xfff00200} sizes={0x1e00} phys_addrs={0x8200,0x3000} attrs="
    unmap = "dma_unmap_sg: d dir=FROM_DEVICE phys_addrs={0x8200,0x3000} attrs="
    for text in whole, merged:
        got = shown(lines(text, unmap))
        device = got["devices"][0]
        check((device["maps"], device["unmaps"], device["lists"], device["bytes"]) == (2, 2, 1, 0x1e00), device)
        check(got["counts"]["lists_merged"] == (text is merged), got["counts"])
    got = counts(lines(whole.replace("ents=2/2 dma", "ents=2/200 [TRUNCATED] dma"), unmap))
    check(got["lists_truncated"] == 1, got)
    check(counts(lines(unmap))["lists_before"] == 1, "an unmap of a list that is not known")
    sync = "dma_sync_sg_for_cpu: d dir=FROM_DEVICE dma_addrs={0xfff00200,0xffe00000} sizes={0xe00,0x1000}"
    check(shown(lines(whole, sync, unmap))["devices"][0]["syncs"] == 2, "syncs of a list")


@case
def allocations_and_syncs():
    alloc = "dma_alloc: d dir=BIDIRECTIONAL dma_addr=ff000000 size=16384 virt_addr=000000001 flags=GFP_KERNEL attrs="
    free = "dma_free: d dir=BIDIRECTIONAL dma_addr=ff000000 size=16384 virt_addr=000000001 attrs="
    sync = "dma_sync_single_for_device: d dir=BIDIRECTIONAL dma_addr=ff003000 size=64"
    device = shown(lines(alloc, sync, free))["devices"][0]
    check((device["allocations"], device["syncs"], device["unmaps"]) == (1, 1, 1), device)


@case
def what_is_no_trace_is_told_in_a_line():
    for data, words in ((b"", "the file is empty"), (b"hello\n" * 3, "begins with 'hello'"), (b"\x7fELF" + bytes(100), "program"),
                        (b"PERFILE2" + bytes(100), "perf script"), (b"\x28\xb5\x2f\xfd1234", "zstd"),
                        (b"\x17\x08\x44tracing" + bytes(50), "trace.dat"), (os.urandom(100000), "trace"),
                        (lines(*PAIR, form="x-1 [000] %s: ").replace("5.00", "500").encode(), "no seconds"),
                        (gzip.compress(lines(*PAIR).encode() * 5000)[:-200], "the rest of the file cannot be read")):
        refused(show(data), words, status=1)
    refused(run(VIOMMU, "trace", "show", "/nonexistent"), "No such file", status=1)
    refused(run(VIOMMU, "trace", "show", "/tmp"), "directory", status=1)
    for words in (("show",), ("show", "a", "b"), ("show", "--x", "a"), (), ("play",)):
        refused(run(VIOMMU, "trace", *words))


@case
def a_long_trace_in_little_memory():
    """A pipe of 600,000 lines, 400 mappings alive, in 64 MiB of address space more than the program itself."""
    script = ("import sys\nfor i in range(300000):\n"
              " sys.stdout.write('x-1 [000] %d.%06d: dma_map_page: d dir=TO_DEVICE dma_addr=%x size=64 phys_addr=%x attrs=\\n'"
              " % (i // 1000, i % 1000 * 1000, 0x10000000 + i * 4096, i % 5000 * 4096))\n"
              " j = i - 400\n"
              " if j >= 0: sys.stdout.write('x-1 [000] %d.%06d: dma_unmap_page: d dir=TO_DEVICE dma_addr=%x size=64 attrs=\\n'"
              " % (i // 1000, i % 1000 * 1000, 0x10000000 + j * 4096))\n")
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as source:
        before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
        done = subprocess.run([VIOMMU, "trace", "show", "-", "--json"], stdin=source.stdout, capture_output=True, text=True,
                              timeout=200, check=False)
    check(done.returncode == 0, done.stderr)
    device = json.loads(done.stdout)["devices"][0]
    check(device["maps"] == 300000 and device["peak_buffers"] == 401, device)
    most = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    check(max(before, most) < 200 << 10, f"{most} KiB")


@case
def recording_says_what_is_missing():
    with tempfile.TemporaryDirectory() as folder:
        out = os.path.join(folder, "out")
        refused(run(VIOMMU, "trace", "record", "-o", out, "--tracefs", folder + "/none"), "mount -t tracefs", status=1)
        refused(run(VIOMMU, "trace", "record", "-o", out, "--tracefs", folder), "needs root", status=1)
        os.makedirs(folder + "/instances")
        refused(run(VIOMMU, "trace", "record", "-o", out, "--tracefs", folder), "no events of DMA", status=1)
        os.makedirs(folder + "/events/dma")
        done = run(VIOMMU, "trace", "record", "-o", out, "-d", "0.1", "--tracefs", folder)
        check(done.returncode == 1 and "cannot be set up" in done.stderr and not os.listdir(folder + "/instances"), done)
    for options in ((), ("-o",), ("-o", "x", "-d", "no"), ("-o", "x", "--buffer", "1"), ("-o", "x", "--speed")):
        refused(run(VIOMMU, "trace", "record", *options))


@case
def recording_on_this_machine():
    """For real, where that can be: then its instance is gone again, and a command's end is the recording's."""
    if os.geteuid() or not os.path.isdir(TRACEFS + "/events/dma"):
        print("     (no tracefs with events of DMA here: not tried)")
        return
    instances = os.listdir(TRACEFS + "/instances")
    with tempfile.TemporaryDirectory() as folder:
        out = os.path.join(folder, "out.gz")
        began = time.monotonic()
        done = run(VIOMMU, "trace", "record", "-o", out, "--", "sh", "-c", "sync; sleep 0.3")
        check(time.monotonic() - began < 10, "it does not end with its command")
        check(done.returncode == 0 and "lines" in done.stdout or "no event came" in done.stderr, done)
        check(gzip.open(out).readline().startswith(b"# recorded by"), "not compressed")
        p = subprocess.Popen([VIOMMU, "trace", "record", "-o", out], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until(lambda: os.listdir(TRACEFS + "/instances") != instances, "an instance of its own")
        p.send_signal(signal.SIGINT)
        p.wait(10)
    check(os.listdir(TRACEFS + "/instances") == instances, "an instance is left behind")


if __name__ == "__main__":
    sys.exit(main())
