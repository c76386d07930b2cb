#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""viommu bench strategies tells what it says it tells: test_bench.py VIOMMUD VIOMMU BENCH

Nothing is measured here: how fast this machine is, beside other tests, says nothing.
"""

import json
import os
import subprocess
import sys

BENCH = os.path.abspath(sys.argv[3])
KEYS = {"strategy", "backing", "registers", "workload", "ops_per_s", "of_passthrough", "map_p50_ns", "unmap_p50_ns",
        "unmap_p50_cycles", "maps", "invalidations", "reuse_rate", "peak_mapped_pages", "stale_p99_us",
        "stale_max_us", "excess_byte_seconds", "bytes_copied"}
NAMES = {"passthrough", "direct", "single-use", "shared", "persistent", "on-demand", "deferred", "optimistic",
         "copy", "contiguous", "software-only"}


def check(good, what):
    if not good:
        raise AssertionError(what)


def run(*options):
    return subprocess.run([BENCH, *options], capture_output=True, text=True, check=False, timeout=120)


def rows_of(*options):
    done = run("--json", "--rounds", "1", "--secs", "0.01", *options)
    check(done.returncode == 0, done.stderr)
    return json.loads(done.stdout)


def all_of_them():
    rows = rows_of()
    check({row["strategy"] for row in rows} == NAMES, "strategies: %s" % {row["strategy"] for row in rows})
    check({(row["workload"], row["registers"]) for row in rows} ==
          {(w, r) for w in ("nic", "disk") for r in ("sidecore", "trap")}, "workloads and registers")
    for row in rows:
        check(set(row) == KEYS, "keys of %s: %s" % (row["strategy"], set(row) ^ KEYS))
        check(row["ops_per_s"] > 0 and row["maps"] > 0, "%s does nothing" % row)
        check(row["stale_p99_us"] <= row["stale_max_us"], "stale times of %s" % row)
        check(0 <= row["reuse_rate"] <= 1, "reuse of %s" % row)
    for row in rows:
        name = row["strategy"]
        check(name != "passthrough" or row["of_passthrough"] == 1, "passthrough of itself")
        check((row["bytes_copied"] > 0) == (name == "copy"), "bytes that %s copied" % name)
        if name == "single-use":
            check(row["invalidations"] == row["maps"], "invalidations of %s" % row)
        if name in ("passthrough", "direct", "copy", "software-only", "persistent"):
            check(row["invalidations"] == 0, "invalidations of %s" % row)
        if name in ("persistent", "on-demand"):
            check(row["reuse_rate"] > 0.1, "reuse of %s" % row)
        # Of a disk each byte of a page is in a buffer.
        check(name == "copy" or row["workload"] == "disk" or row["excess_byte_seconds"] > 0, "what %s leaves reachable" % row)


def some_of_them():
    rows = rows_of("--strategy", "optimistic,quota=64", "--workload", "nic", "--registers", "sidecore")
    check([row["strategy"] for row in rows] == ["optimistic,quota=64"], rows)


def what_is_dead_is_used_again():
    """Within a time by the clock, in which a driver that loses its processor uses nothing again: one of many runs."""
    rates = []
    while not rates or (rates[-1] <= 0.1 and len(rates) < 50):
        rates.append(max(row["reuse_rate"] for row in rows_of("--strategy", "optimistic", "--workload", "disk")))
    check(rates[-1] > 0.1, "reuse of optimistic: %s" % rates)


def words():
    table = run("--rounds", "1", "--secs", "0.005", "--workload", "nic", "--strategy", "single-use")
    check(table.returncode == 0 and "single-use" in table.stdout and "ATC 2011" in table.stdout, table.stdout)
    for options in (("--rounds", "0"), ("--strategy", "fast"), ("--workload", "x"), ("--registers", "x"), ("x",)):
        done = run(*options)
        check(done.returncode == 2 and done.stderr.count("\n") == 1, "%s: %r" % (options, done.stderr))


if __name__ == "__main__":
    failed = 0
    for case in (all_of_them, some_of_them, what_is_dead_is_used_again, words):
        try:
            case()
            print("ok   " + case.__name__)
        except AssertionError as error:
            failed += 1
            print("FAIL %s: %s" % (case.__name__, error))
    print("%d passed, %d failed" % (4 - failed, failed))
    sys.exit(failed != 0)
