#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""viommu trace: a real trace.dat of trace-cmd (traces/record makes it), whole and damaged.

usage: test_trace_dat.py VIOMMUD VIOMMU [WORD]
"""
import gzip
import json
import os
import random
import sys
import tempfile
import threading

from rig import VIOMMU, case, check, main, refused, run

TRACES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "traces")
DAMAGED = 200  # files


def read(name):
    with open(os.path.join(TRACES, name), "rb") as f:
        return f.read()


def show(path, *options):
    return run(VIOMMU, "trace", "show", path, *options)


def shown(path):
    done = show(path, "--json")
    check(done.returncode == 0 and not done.stderr, done)
    return json.loads(done.stdout)


@case
def scatter_lists_are_read_raw():
    """6 reads of 128 KiB, 4 writes of 64 KiB and 8 reads of 4 KiB, all seen by the NVMe driver of Linux 6.12."""
    for name in "scatter.dat", "scatter-compressed.dat":
        got = shown(os.path.join(TRACES, name))
        device, = got["devices"]
        check(device["device"] == "0000:00:04.0", device)
        check(device["bytes"] == 6 * 131072 + 4 * 65536 + 8 * 4096, (name, device))
        check(device["maps"] == device["unmaps"] and device["peak_bytes"] == 131072, (name, device))
        check(device["lists"] > 3, (name, device))
        lost = [count for count in got["counts"] if count in ("unreadable", "lists_before", "unmaps_before", "left_mapped")
                and got["counts"][count]]
        check(not lost, (name, got["counts"]))


def each_damage(data):
    """(what, bytes): cut short, and with other bytes in it. The magic stays: other files are told apart before."""
    chance = random.Random(7)
    for _ in range(DAMAGED // 3):
        at = chance.randrange(10, len(data))
        yield f"cut at {at}", data[:at]
    for _ in range(DAMAGED - DAMAGED // 3):
        changed = bytearray(data)
        for _ in range(chance.choice((1, 1, 2, 8, 64))):
            changed[chance.randrange(10, len(changed))] = chance.randrange(256)
        yield "changed", bytes(changed)


def survives(path, what):
    """A result, or an error of one line; never more than that."""
    done = show(path)
    if done.returncode == 0:
        check(done.stdout and not done.stderr, (what, done))
    else:
        refused(done, path, status=1)
    return done


@case
def damaged_files_are_an_error_in_words():
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "damaged.dat")
        for name in "scatter.dat", "scatter-compressed.dat":
            refusals = 0
            for what, data in each_damage(read(name)):
                with open(path, "wb") as f:
                    f.write(data)
                refusals += survives(path, what).returncode
            check(refusals > DAMAGED // 10, f"only {refusals} were noticed")


@case
def libtracecmd_falls_and_viommu_does_not():
    """Seen with libtracecmd 1.3: a page size of 0 is divided by. Where it does not fall any more, it has to say so, too."""
    path = os.path.join(TRACES, "crash.dat")
    done = survives(path, "crash.dat")
    check(done.returncode == 1 and "libtracecmd cannot read it" in done.stderr, done)


@case
def clocks_that_count_no_seconds_are_refused():
    """The list of clocks in the file has brackets around the one that was used."""
    data = read("scatter.dat")
    clocks = b"[local] global counter uptime perf mono mono_raw boot tai x86-tsc"
    check(data.count(clocks) == 1, "the file is another one")
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "x.dat")
        for clock in "local", "global", "mono", "boot", "tai", "counter", "uptime", "x86-tsc":
            with open(path, "wb") as f:
                f.write(data.replace(clocks, clocks.translate(None, b"[]").replace(clock.encode(), f"[{clock}]".encode(), 1)))
            if clock in ("counter", "uptime", "x86-tsc"):
                refused(show(path), "times that are no seconds", "trace_clock", status=1)
            else:
                check(shown(path)["counts"]["dma_events"], clock)


@case
def what_cannot_be_read_so_is_said():
    """The library reads a file here and there, so it must be one, and not packed."""
    data = read("scatter.dat")
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "x")
        with gzip.open(path, "wb") as f:
            f.write(data)
        refused(show(path), "compressed with gzip", "unpack it first", status=1)
        os.remove(path)
        os.mkfifo(path)
        writer = threading.Thread(target=write_to, args=(path, data[:4096]), daemon=True)
        writer.start()
        refused(show(path), "cannot be read from a pipe", status=1)
        writer.join(20)


def write_to(path, data):
    with open(path, "wb") as f:
        try:
            f.write(data)
        except BrokenPipeError:
            pass


@case
def nothing_is_left_behind():
    """Of the process that reads, also when it is not read to its end."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "x.dat")
        with open(path, "wb") as f:
            f.write(read("scatter.dat"))
        os.chmod(path, 0o400)
        shown(path)
        check(os.listdir(folder) == ["x.dat"], os.listdir(folder))
        os.remove(path)
        refused(show(path), "No such file", status=1)


if __name__ == "__main__":
    sys.exit(main())
