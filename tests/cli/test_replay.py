#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""viommu replay: what it takes, what it prints, and that a long trace needs little time and memory.

usage: test_replay.py VIOMMUD VIOMMU [WORD]    WORD: only the cases whose name has it
"""
import contextlib
import csv
import io
import json
import os
import pty
import random
import re
import select
import subprocess
import sys
import tempfile

from rig import VIOMMU, case, cases, check, main, refused, run

NIC, DISK = "0000:00:02.0", "0000:00:01.0"
LONG = 600  # seconds until something hangs; others may share the machine
MOST_TIMES = 4  # what an event costs in a long trace over that in a short one
EVENTS = 1000000
MOST_KIB = 200 << 10
WIDTH = 120


# ------------------------------------------------------------------- traces


def line(seconds, event, device, direction, iova, size, phys=None):
    """An event as ftrace prints it."""
    where = "" if phys is None else f" phys_addr={phys:x}"
    return (f"          iperf3-171     [000] b..1. {seconds:12.6f}: {event}: {device} dir={direction} "
            f"dma_addr={iova:x} size={size}{where} attrs=\n")


def mapped(seconds, iova, size, phys, device=NIC, direction="TO_DEVICE"):
    return line(seconds, "dma_map_page", device, direction, iova, size, phys)


def unmapped(seconds, iova, size, device=NIC, direction="TO_DEVICE"):
    return line(seconds, "dma_unmap_page", device, direction, iova, size)


# 54 bytes for 1 ms, then a whole page at 10 ms.
SMALL = (mapped(33.0, 0xffffa686, 54, 0x3ab99686) + unmapped(33.001, 0xffffa686, 54)
         + mapped(33.01, 0xffffb000, 4096, 0x3ab9a000) + unmapped(33.01, 0xffffb000, 4096))
TWO_DEVICES = SMALL + (mapped(33.011, 0xffffc000, 4096, 0x1000000, DISK, "FROM_DEVICE")
                       + unmapped(33.012, 0xffffc000, 4096, DISK, "FROM_DEVICE"))


def replay(text, *arguments):
    """Of a trace on stdin."""
    return subprocess.run([VIOMMU, "replay", "-", *arguments], input=text, capture_output=True, text=True,
                          timeout=LONG, check=False)


def results(text, *arguments):
    result = replay(text, *arguments, "--json")
    check(result.returncode == 0 and not result.stderr, result)
    return json.loads(result.stdout)


def ring(events, out, seed=3):
    """A network card with 512 buffers at a time; some of 54 bytes, some share pages."""
    chance, live, seconds = random.Random(seed), [], 1000.0
    for i in range(events // 2):
        seconds += 2e-6
        if len(live) == 512:
            iova, size, direction = live.pop(chance.randrange(8))
            out.write(unmapped(seconds, iova, size, NIC, direction))
        size, direction = chance.choice((54, 66, 1514, 1536)), chance.choice(("TO_DEVICE", "FROM_DEVICE"))
        phys = chance.randrange(1 << 18) * 4096 + chance.randrange(2) * 2048
        iova = 0xfff00000 - i % (1 << 18) * 4096 + phys % 4096
        live.append((iova, size, direction))
        out.write(mapped(seconds, iova, size, phys, NIC, direction))


# -------------------------------------------------------------------- usage


BAD = {
    "no_file": ([], "FILE"),
    "two_files": (["a", "b"], "'b'"),
    "option": (["--foo", "a"], "--foo", "--help"),
    "strategy": (["--strategy", "strict", "a"], "strict", "--help"),
    "strategy_option": (["--strategy", "optimistic,limit=3", "a"], "limit"),
    "strategy_value": (["--strategy", "optimistic,quota=0", "a"], "quota", "1"),
    "registers": (["--registers", "polled", "a"], "sidecore", "trap"),
    "width": (["--width", "8", "a"], "12", "64"),
    "value": (["a", "--width"], "--width"),
    "no_round": (["--rounds", "0", "a"], "--rounds", "1 to 8"),
    "rounds": (["--rounds", "9", "a"], "--rounds", "1 to 8"),
    "rounds_word": (["--rounds", "3x", "a"], "--rounds", "3x"),
}


def add_bad(name, arguments, words):
    cases.append(("bad_" + name, lambda: refused(run(VIOMMU, "replay", *arguments), *words)))


for bad_name, (bad_arguments, *bad_words) in BAD.items():
    add_bad(bad_name, bad_arguments, bad_words)


@case
def no_such_file():
    refused(run(VIOMMU, "replay", "/nowhere/trace.txt"), "/nowhere/trace.txt", status=1)


@case
def not_a_trace():
    with tempfile.NamedTemporaryFile("w") as f:
        f.write("once upon a time\n" * 100)
        f.flush()
        refused(run(VIOMMU, "replay", f.name), f.name, status=1)


@case
def trace_without_maps():
    result = replay("# tracer: nop\n#\n" + unmapped(3, 0x1000, 5))
    refused(result, "no buffer", status=1)


@case
def no_such_device():
    result = replay(TWO_DEVICES, "--device", NIC, "--device", "0000:00:09.0")
    refused(result, "0000:00:09.0", NIC, DISK, status=1)


@case
def no_temporary_file():
    with tempfile.TemporaryDirectory() as folder:
        result = subprocess.run([VIOMMU, "replay", "-"], input=SMALL, capture_output=True, text=True, timeout=LONG,
                                check=False, env=dict(os.environ, TMPDIR=os.path.join(folder, "missing")))
        refused(result, "TMPDIR", status=1)


def names():
    """Of all strategies, by the help text."""
    text = run(VIOMMU, "replay", "--help").stdout.split("usual values of their options:")[1]
    return re.findall(r"^  ([a-z-]+)(?:\[.*)?$", text.split("The columns")[0], re.M)


@case
def help_has_strategies_and_columns():
    text = run(VIOMMU, "replay", "--help").stdout
    check({"passthrough", "single-use", "shared", "optimistic"} <= set(names()), names())
    for column in results(SMALL, "--strategy", "single-use")[0]:
        check(column == "trace" or re.search(rf"\b{column}\b", text), f"{column} is not explained")


# ------------------------------------------------------------------- figures


@case
def figures_known_by_hand():
    single, optimistic = results(SMALL, "--strategy", "single-use", "--strategy", "optimistic,limit-us=4000")
    check(single["strategy"] == "single-use" and single["registers"] in ("sidecore", "trap"), single)
    check(abs(single["excess_byte_seconds"] - 4042e-3) < 1e-9, single)
    check((single["invalidations"], single["table_writes"], single["peak_mapped_pages"]) == (2, 4, 1), single)
    check((single["stale_p99_us"], single["stale_max_us"], single["bytes_copied"]) == (0, 0, 0), single)
    check(single["map_p50_ns"] > 0 and single["unmap_p50_ns"] > 0, single)
    check(optimistic["strategy"] == "optimistic,limit-us=4000", optimistic)
    check(abs(optimistic["excess_byte_seconds"] - (4042e-3 + 4096 * 4e-3)) < 1e-9, optimistic)
    check((optimistic["stale_max_us"], optimistic["invalidations"]) == (4000, 1), optimistic)


@case
def file_and_stdin_are_the_same():
    figures = []
    with tempfile.NamedTemporaryFile("w") as f:
        f.write(TWO_DEVICES)
        f.flush()
        result = run(VIOMMU, "replay", f.name, "--json", "--strategy", "shared")
        check(result.returncode == 0, result)
        figures = json.loads(result.stdout)
    timed = re.compile("_ns$|^rounds$")
    for one, other in zip(figures, results(TWO_DEVICES, "--strategy", "shared")):
        check({k: v for k, v in one.items() if not timed.search(k)}
              == {k: v for k, v in other.items() if not timed.search(k)}, (one, other))


@case
def devices_one_by_one():
    def of(*arguments):
        return results(TWO_DEVICES, "--strategy", "single-use", *arguments)[0]

    nic, disk, both, all_of_them = (of("--device", NIC), of("--device", DISK),
                                    of("--device", NIC, "--device", DISK), of())
    check((nic["maps"], disk["maps"], both["maps"]) == (2, 1, 3), (nic, disk, both))
    check(nic["duration_s"] < both["duration_s"], (nic, both))
    check(both["excess_byte_seconds"] == all_of_them["excess_byte_seconds"], (both, all_of_them))


@case
def trapped_registers():
    one = results(SMALL, "--strategy", "single-use", "--registers", "trap")[0]
    check(one["registers"] == "trap" and one["invalidations"] == 2, one)


@case
def csv_is_the_same_as_json():
    arguments = ("--strategy", "single-use", "--strategy", "optimistic,quota=8")
    result = replay(SMALL, *arguments, "--csv")
    check(result.returncode == 0 and not result.stderr, result)
    rows = list(csv.DictReader(io.StringIO(result.stdout)))
    for row, one in zip(rows, results(SMALL, *arguments)):
        one.pop("trace")
        check(list(row) == list(one), (row, one))
        for column, value in one.items():
            if column.endswith("_ns") or column == "rounds" or isinstance(value, str):
                continue
            check(float(row[column]) == value, (column, row[column], value))
        check(row["strategy"] == one["strategy"], row)
    check(len(rows) == 2, rows)


@case
def table_for_people():
    result = replay(TWO_DEVICES, "--strategy", "passthrough", "--strategy", "single-use", "--strategy", "optimistic")
    check(result.returncode == 0 and not result.stderr, result)
    lines = result.stdout.splitlines()
    check(max(map(len, lines)) <= WIDTH, "wider than a screen")
    for name in ("passthrough", "single-use", "optimistic"):
        check(sum(one.startswith(name + " ") and one.count(" ") > 16 for one in lines) == 1, f"no row for {name}")
    for words in ("3 buffers of 2 devices", "Safest: single-use", "Choose ", "passthrough lets devices reach all memory"):
        check(words in result.stdout, f"{words!r} is not in {result.stdout}")


@case
def every_strategy_on_a_ring():
    out = io.StringIO()
    ring(20000, out)
    found = results(out.getvalue(), "--rounds", "1")
    check([one["strategy"] for one in found] == names(), [one["strategy"] for one in found])
    for one in found:
        check("why_not" not in one, one)
        check((one["maps"], one["refused"], one["unmaps"]) == (10000, 0, 10000 - 512), one)
    safe = min(one["excess_byte_seconds"] for one in found)
    check(safe < max(one["excess_byte_seconds"] for one in found) / 10, "all are the same")


@case
def rounds_as_told():
    for rounds in (1, 5):
        one, = results(SMALL, "--strategy", "single-use", "--rounds", str(rounds))
        check(one["rounds"] == rounds, one)
    advice = replay(TWO_DEVICES, "--rounds", "1").stdout
    check("in one round only" in advice and "--rounds 3" in advice, advice)


@case
def time_without_end():
    text = mapped(0, 0xffffa686, 54, 0x3ab99686) + unmapped(0.0001, 0xffffa686, 54) + mapped(99999999999, 0x1000, 54, 0x1000)
    for one in results(text, "--strategy", "deferred", "--strategy", "persistent"):
        check(one["maps"] == 2 and 4.6e9 < one["duration_s"] < 4.7e9, one)


# ------------------------------------------------------------- a busy machine


def disk(ios, out):
    """A disk with 16 buffers of 16 KiB, read again and again, with a pause of 20 ms behind each 1600."""
    seconds = 1000.0
    for i in range(0, ios, 16):
        seconds += 0.02 if i % 1600 == 0 else 1e-4
        for k in range(16):
            out.write(mapped(seconds + k * 1e-6, 0xfff00000 + k * 0x10000, 16384, (k + 1) << 16, DISK, "FROM_DEVICE"))
        for k in range(16):
            out.write(unmapped(seconds + 5e-5 + k * 1e-6, 0xfff00000 + k * 0x10000, 16384, DISK, "FROM_DEVICE"))


@contextlib.contextmanager
def busy_loops(count):
    loops = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()


@case
def advice_beside_busy_loops():
    """Costs are those of the calls, whatever else the machine does; with their times' sums it said copy."""
    out, named = io.StringIO(), ("deferred", "optimistic", "copy", "single-use")
    disk(8000, out)
    arguments = [one for name in named for one in ("--strategy", name)]
    with busy_loops(2 * len(os.sched_getaffinity(0))):
        with tempfile.NamedTemporaryFile("r") as page:
            costs = {one["strategy"]: one for one in results(out.getvalue(), *arguments, "--html", page.name)}
            with open(page.name, encoding="utf-8") as f:
                advice = f.read()
    told = {name: (one["buffer_mean_ns"], one["buffer_median_ns"], one["rounds"]) for name, one in costs.items()}
    print(f"   {told}")
    check(told["optimistic"][0] * 1.5 < min(told[name][0] for name in named if name != "optimistic"), told)
    check("Choose optimistic: " in advice, advice)


# ------------------------------------------------------------------ long ones


def replay_ring(events):
    """Seconds of the CPU of a round and of one more, which looks at what is exposed; and KiB. Trapped registers,
    as two threads that wait for each other spin on a busy machine; deferred, as it traps rarely."""
    with tempfile.NamedTemporaryFile("w") as f:
        ring(events, f)
        f.flush()
        with subprocess.Popen([VIOMMU, "replay", f.name, "--strategy", "deferred", "--registers", "trap",
                               "--rounds", "1", "--json"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True) as p:
            text = p.stdout.read()
            _, status, usage = os.wait4(p.pid, 0)
            p.returncode = status
    check(status == 0, f"status {status}")
    one = json.loads(text)[0]
    check(one["maps"] == events // 2, text)
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss


@case
def million_events_in_little_memory():
    tenth, _ = replay_ring(EVENTS // 10)
    seconds, kib = replay_ring(EVENTS)
    print(f"   {EVENTS} events: {seconds:.1f} s, {kib >> 10} MiB; a tenth of them: {tenth:.1f} s")
    check(kib < MOST_KIB, f"{kib} KiB")
    check(seconds < 10 * MOST_TIMES * tenth, f"{seconds} s of the CPU, a tenth of the events took {tenth} s")


@case
def progress_on_a_terminal():
    out = io.StringIO()
    ring(200000, out)
    ours, theirs = pty.openpty()
    with tempfile.NamedTemporaryFile("w") as f:
        f.write(out.getvalue())
        f.flush()
        with subprocess.Popen([VIOMMU, "replay", f.name, "--strategy", "single-use", "--rounds", "1"], stdin=subprocess.DEVNULL,
                              stdout=subprocess.DEVNULL, stderr=theirs) as p:
            os.close(theirs)
            shown = b""
            while select.select([ours], [], [], LONG)[0]:
                try:
                    piece = os.read(ours, 4096)
                except OSError:  # the other end is closed
                    break
                shown += piece
            check(p.wait(LONG) == 0, "status")
    os.close(ours)
    check(b"%" in shown and b"reading" in shown, shown[-200:])
    check(shown.endswith(b"\r\x1b[K"), "the line stays")


if __name__ == "__main__":
    sys.exit(main())
