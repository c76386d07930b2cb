#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""What viommu trace and replay take of a text, whatever columns it has, and that nothing of it vanishes without a word.

usage: test_trace_lines.py VIOMMUD VIOMMU [WORD]
"""
import csv
import io
import json
import os
import resource
import subprocess
import sys
import tempfile
import time

from rig import VIOMMU, case, check, main

TRACES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "traces")
FTRACE = "          iperf3-171     [000] b..1.    %s: "

MAP = "dma_map_page: 0000:00:02.0 dir=TO_DEVICE dma_addr=fffff686 size=54 phys_addr=3ab99686 attrs="
UNMAP = "dma_unmap_page: 0000:00:02.0 dir=TO_DEVICE dma_addr=fffff686 size=54 attrs="
MAP_LIST = ("dma_map_sg: 0000:00:02.0 dir=FROM_DEVICE nents=2/2 ents=2/2 dma_addrs={0xfff00200,0xffe00000} "
            "sizes={0xe00,0x1000} phys_addrs={0x8200,0x3000} attrs=")
UNMAP_LIST = "dma_unmap_sg: 0000:00:02.0 dir=FROM_DEVICE phys_addrs={0x8200,0x3000} attrs="
SYNC = "dma_sync_single_for_cpu: 0000:00:02.0 dir=FROM_DEVICE dma_addr=fff00200 size=64"
SYNC_LIST = "dma_sync_sg_for_device: 0000:00:02.0 dir=FROM_DEVICE dma_addrs={0xfff00200,0xffe00000} sizes={0xe00,0x1000}"
ALLOC = "dma_alloc: 0000:00:02.0 dir=BIDIRECTIONAL dma_addr=ff000000 size=16384 virt_addr=00000001 flags=GFP_KERNEL attrs="
FREE = "dma_free: 0000:00:02.0 dir=BIDIRECTIONAL dma_addr=ff000000 size=16384 virt_addr=00000001 attrs="
IOMMU_MAP = "map: IOMMU: iova=0x00000000fffa0000 - 0x00000000fffa1000 paddr=0x00000000229ee000 size=4096"
IOMMU_UNMAP = "unmap: IOMMU: iova=0x00000000fffa0000 - 0x00000000fffa1000 size=4096 unmapped_size=4096"
EVENTS = (MAP, MAP_LIST, SYNC, SYNC_LIST, ALLOC, FREE, UNMAP_LIST, UNMAP, IOMMU_MAP, IOMMU_UNMAP)


def run(what, text, *options):
    data = text if isinstance(text, bytes) else text.encode()
    done = subprocess.run([VIOMMU, *what, "-", *options], input=data, capture_output=True, timeout=100, check=False)
    done.stdout, done.stderr = done.stdout.decode(), done.stderr.decode()
    return done


def shown(text):
    done = run(("trace", "show"), text, "--json")
    check(done.returncode == 0, done.stderr)
    return json.loads(done.stdout)


def counts(text):
    return {name: value for name, value in shown(text)["counts"].items() if value}


def lines(*events, form=FTRACE, time_of="{:.6f}".format):
    return "".join(form % time_of(5 + i / 1000) + event + "\n" for i, event in enumerate(events))


def read(name):
    with open(os.path.join(TRACES, name), encoding="utf-8") as f:
        return f.read()


# ------------------------------------------------------------------------ columns

FORMS = {
    "trace-cmd report": "          iperf3-171   [003]    %s: ",
    "of several buffers": "buf:      iperf3-171   [003]    %s: ",
    "of a buffer without a name": "          iperf3-171   [003]    %s:      ",
    "trace-cmd report --ts-diff": "          iperf3-171   [003]    %s: (+1000000) ",
    "trace-cmd report -l": "  iperf3-171     3d.h1. %s: ",
    "trace-cmd report -l, nothing set": "  iperf3-171     3..... %s: ",
    "perf script": "iperf3   171 [001]    %s:   dma:",
    "perf script, period": "iperf3   171/171   [001]    %s:          1     dma:",
    "perf script -F tid,time,event,trace": "    171    %s:   dma:",
    "perf script -F time,event,trace": "    %s:   dma:",
    "perf script -F +misc": "iperf3   171 [001] K   %s:   dma:",
    "a column that nobody has yet": "iperf3-171 [001] b..1.  x=7 %s:  17% <a> b;c ",
    "a column that ends with a colon": "iperf3-171 [001] b..1. %s: later: ",
    "brackets": "a [7] b-171     [000] b..1.    %s: ",
    "spaces and colons": "a: b c: d-171     [000] b..1.    %s: ",
    "a task called as an event": "dma_map_page: x-171     [000] b..1.    %s: ",
    "a task called as an event and a time": "1.5: map: d-171     [000] b..1.    %s: ",
    "no task": "<...>-171     [000] b..1.    %s: ",
    "tabs": "iperf3-171\t[000]\tb..1.\t%s:\t",
}


@case
def columns_do_not_matter():
    want = shown(lines(*EVENTS))
    check(want["counts"]["dma_events"] == 8 and want["counts"]["iommu_events"] == 2, want)
    # Nothing but that no event of DMA explains the IOMMU's one.
    check(" 1 of 1 maps of the IOMMU " in want["missing"] and "cannot be read" not in want["missing"] and "lost" not in want["missing"], want)
    check(want["devices"][0]["maps"] == want["devices"][0]["unmaps"] == 4 and want["devices"][0]["syncs"] == 3, want)
    forms = {name: lines(*EVENTS, form=form.replace("%", "%%").replace("%%s", "%s"))
             for name, form in FORMS.items()}
    # perf has its own word before each name.
    forms = {name: text.replace("dma:map", "iommu:map").replace("dma:unmap", "iommu:unmap") for name, text in forms.items()}
    forms["nanoseconds"] = lines(*EVENTS, time_of="{:.9f}".format)
    forms["a name in columns"] = lines(*(event.replace(": ", ":" + " " * 10, 1) for event in EVENTS))
    forms["columns behind"] = lines(*(event + "  ffffffff81 dma_map_page_attrs+0x1 size=7 dir=x" for event in EVENTS[:3]), *EVENTS[3:])
    for name, text in forms.items():
        got = shown(text)
        check(got["devices"] == want["devices"] and got["counts"] == want["counts"], f"{name}: {got} is not {want}")


RAW = (
    "dma_map_page: device=0000:00:02.0 phys_addr=3ab99686 dma_addr=fffff686 size=54 dir=1 attrs=0x0",
    "dma_map_sg: [FAILED TO PARSE] device=0000:00:02.0 full_nents=2 full_ents=2 truncated=0 phys_addrs=ARRAY[00, 82, 00, 00, 00, "
    "00, 00, 00, 00, 30, 00, 00, 00, 00, 00, 00] dma_addrs=ARRAY[00, 02, f0, ff, 00, 00, 00, 00, 00, 00, e0, ff, 00, 00, 00, 00] "
    "lengths=ARRAY[00, 0e, 00, 00, 00, 10, 00, 00] dir=2 attrs=0x0",
    "dma_sync_single_for_cpu: device=0000:00:02.0 dma_addr=0xfff00200 size=64 dir=2",
    "dma_sync_sg_for_device: [FAILED TO PARSE] device=0000:00:02.0 dma_addrs=ARRAY[00, 02, f0, ff, 00, 00, 00, 00, 00, 00, e0, ff, "
    "00, 00, 00, 00] lengths=ARRAY[00, 0e, 00, 00, 00, 10, 00, 00] dir=2",
    "dma_alloc: device=0000:00:02.0 virt_addr=0xffff888000000000 dma_addr=ff000000 size=16384 flags=3264 dir=0 attrs=0x0",
    "dma_free: device=0000:00:02.0 virt_addr=0xffff888000000000 dma_addr=ff000000 size=16384 dir=0 attrs=0x0",
    "dma_unmap_sg: [FAILED TO PARSE] device=0000:00:02.0 addrs=ARRAY[00, 82, 00, 00, 00, 00, 00, 00, 00, 30, 00, 00, 00, 00, 00, "
    "00] dir=2 attrs=0x0",
    "dma_unmap_page: device=0000:00:02.0 addr=fffff686 size=54 dir=1 attrs=0x0",
    "map: iova=0x00000000fffa0000 paddr=0x00000000229ee000 size=4096",
    "unmap: iova=0x00000000fffa0000 size=4096 unmapped_size=4096",
)
# Addresses are decimal where libtraceevent knows no format.
FAILED = [event.replace(": ", ": [FAILED TO PARSE] ", 1) for event in (
    "dma_map_page: device=0000:00:02.0 phys_addr=985241222 dma_addr=4294964870 size=54 dir=1 attrs=0x0",
    RAW[1].replace("[FAILED TO PARSE] ", ""),
    "dma_sync_single_for_cpu: device=0000:00:02.0 dma_addr=4293919232 size=64 dir=2",
    RAW[3].replace("[FAILED TO PARSE] ", ""),
    "dma_alloc: device=0000:00:02.0 virt_addr=0xffff888000000000 dma_addr=4278190080 size=16384 flags=3264 dir=0 attrs=0x0",
    "dma_free: device=0000:00:02.0 virt_addr=0xffff888000000000 dma_addr=4278190080 size=16384 dir=0 attrs=0x0",
    RAW[6].replace("[FAILED TO PARSE] ", ""),
    "dma_unmap_page: device=0000:00:02.0 addr=4294964870 size=54 dir=1 attrs=0x0",
    "map: iova=4294574080 paddr=580837376 size=4096",
    "unmap: iova=4294574080 size=4096 unmapped_size=4096")]


@case
def lists_and_fields_in_each_form():
    """As the kernel prints them, as old and new libtraceevent do, and raw ('trace-cmd report -R')."""
    want = shown(lines(*EVENTS))
    spaced = [event.replace("{0xfff00200,0xffe00000}", "4293919232 4292870144").replace("{0xe00,0x1000}", "3584 4096")
              .replace("{0x8200,0x3000}", "33280 12288") for event in EVENTS]
    for name, events in (("raw", RAW), ("failed to parse", FAILED), ("numbers with spaces", spaced)):
        got = shown(lines(*events))
        check(got["devices"] == want["devices"] and got["counts"] == want["counts"], f"{name}: {got} is not {want}")
    check(counts(lines(RAW[1].replace("truncated=0", "truncated=1")))["lists_truncated"] == 1, "truncated")
    # One byte, one number or one bracket less, and it is no list.
    for good, bad in (("30, 00, 00, 00, 00, 00, 00]", "30, 00, 00, 00, 00, 00]"), ("ARRAY[00, 82", "ARRAY[00, 8"),
                      ("ARRAY[00, 82", "ARRAY[00 82"), ("ARRAY[00, 0e", "ARRAY[xx, 0e")):
        check(good in RAW[1], good)
        got = counts(lines(RAW[1].replace(good, bad)))
        check(got.get("unreadable") == 1 and "dma_events" not in got, f"{bad}: {got}")
    for good, bad in (("0x8200,0x3000}", "0x8200,,0x3000}"), ("0x8200,0x3000}", "0x8200,0x3000"), ("0x8200,", "zz,"),
                      ("0x8200,0x3000}", "0x8200,0x3000,}"), ("0x8200,0x3000}", "0x11112222333344445,0x3000}")):
        check(good in MAP_LIST, good)
        got = counts(lines(MAP_LIST.replace(good, bad)))
        check(got.get("unreadable") == 1 and "dma_events" not in got, f"{bad}: {got}")


# -------------------------------------------------------------- nothing vanishes


def known(got):
    return sum(got.get(name, 0) for name in ("dma_events", "iommu_events", "unreadable"))


@case
def a_line_that_is_cut_is_told():
    """After each of its characters from the name on: read as it was, or unreadable, and never another number."""
    for event in EVENTS:
        begin = event.index("iova=") if "IOMMU" in event else event.index(": ") + 1
        cut = [event[:end] for end in range(begin, len(event))]
        got = counts(lines(*cut))
        check(known(got) == len(cut), f"{event}: {got} of {len(cut)}")
        if "attrs=" in event:
            check(got["unreadable"] == len(cut), f"{event}: {got}: one of them was read")


@case
def whatever_stands_between_it_is_told():
    """A line with the event's name, and anything as a column anywhere before it: read, or told."""
    for word in ("17", "(+5)", "foo", "foo:", "[9]", "[LOST", "3.5:", "7:", "-", "CPU:1", "dma_map_page:", "dir=TO_DEVICE", "\x1b[2J"):
        changed = []
        for event in EVENTS:
            columns = lines(event).split(" ")
            name = next(i for i, column in enumerate(columns) if column.endswith("map:") or column.startswith("dma_"))
            changed += [" ".join(columns[:at] + [word] + columns[at:]) for at in range(name + 1) if columns[at]]
        check(len(changed) > 3 * len(EVENTS), changed)
        got = shown(lines(MAP) + "".join(changed))
        check(known(got["counts"]) == len(changed) + 1, f"{word!r}: {got} of {len(changed)}")


@case
def fields_that_are_no_numbers_are_told():
    for event in EVENTS:
        changed = []
        for field in (" dir=", " dma_addr=", " size=", " phys_addr=", " dma_addrs=", " sizes=", " phys_addrs=", " iova=", " paddr="):
            if field in event:
                head, tail = event.split(field, 1)
                rest = tail[len(tail.split(" ")[0]):]
                changed += [head + field + bad + rest
                            for bad in ("x", "", "0x", "-1", "1" * 24, "5z", "{", "{,}", "ARRAY[", "ARRAY[00]")]
                if event not in (ALLOC, FREE) or field != " dir=":  # which older kernels do not say
                    changed.append(head + rest)
        if " attrs=" in event:
            changed.append(event.replace(" attrs=", " others="))
        got = shown(lines(*changed))
        check(got["counts"]["unreadable"] == known(got["counts"]) == len(changed), f"{event}: {got} of {len(changed)}")
    for device in ("", "\x1b]0;x\x07", "d" * 129, "\u202e0:20.0", "\x9b2J", "\u00e9"):
        got = shown(lines(MAP.replace("0000:00:02.0", device)))
        check(got["counts"]["unreadable"] == 1, f"device {device!r}: {got}")


@case
def two_events_in_a_line_are_told():
    """A newline that was lost: what is read is never one of two."""
    for first in EVENTS:
        for second in (MAP, UNMAP_LIST, IOMMU_MAP):
            whole = lines(first, second).replace("\n", "", 1)
            cut = lines(first[:-7]).rstrip("\n") + lines(second)
            for text in (whole, cut, whole.replace("attrs=", "attrs= ")):
                got = counts(text)
                check(got.get("unreadable") == 1 and known(got) == 1, f"{text}: {got}")
    # What the recorder says of what it lost is no part of an event either.
    for mark in ("CPU:0 [LOST 17 EVENTS]", "CPU:0 [17 EVENTS DROPPED]"):
        for text in lines(MAP).rstrip("\n") + mark + "\n", mark + lines(MAP):
            check(counts(text) == {"lines": 1, "unreadable": 1}, f"{text}: {counts(text)}")
    # Names without another time are columns behind the event, and a time alone is none.
    for behind in ("dma_map_page: x", "ffffffff81: dma_map_page+0x1", "7.5: x", "7.5:"):
        check(counts(lines(MAP + " " + behind)).get("dma_events") == 1, f"{behind}: {counts(lines(MAP + ' ' + behind))}")


@case
def holes_of_zeros_are_told():
    """A file whose end was not written when the machine went down has zeros in place of it, with lines behind them or without."""
    at = lines(MAP).index("dma_map") + 30
    for hole in (1, 4096):
        zeros = "\0" * hole
        for what, text, unreadable in (("before a line", zeros + lines(UNMAP), 1), ("within a line", lines(UNMAP)[:at] + zeros + lines(UNMAP)[at:], 1),
                                       ("behind a line", lines(UNMAP).rstrip("\n") + zeros, 1), ("alone", zeros, 1),
                                       ("over several", lines(UNMAP)[:at] + zeros + lines(SYNC, SYNC), 1),
                                       ("in an event of others", lines("sched_switch: x")[:-2] + zeros + "\n", 1)):
            got = shown(lines(MAP) + text)
            check(got["counts"]["unreadable"] == unreadable and "cannot be read" in got["missing"], f"{what}: {got}")
        check("?" in got["unreadable_lines"][0]["text"], got)
    first = counts("\0" * 512 + lines(MAP) + lines(UNMAP))
    check(first["unreadable"] == 1 and first["dma_events"] == 1, first)


@case
def times_that_are_none_are_told():
    for form in ("x-1 [000] b..1. 4us+: ", "x-1 [000] b..1. 12us : ", "x-1 [000] b..1. 5500: ", "x-1 [000] ", "", "x-1 [000] 5.5 "):
        text = lines(MAP) + form + MAP + "\n"
        check(known(counts(text)) == 2 and counts(text)["unreadable"] == 1, f"{form!r}: {counts(text)}")


@case
def others_are_not_ours():
    text = lines("sched_switch: prev_comm=dma_map_page: next_comm=x", "map: 0xffff of somebody", "unmap: me",
                 "probe:dma_map_page: (ffffffff81) x=1")
    check(counts(text) == {"lines": 4, "other_events": 4}, counts(text))
    check("unreadable" not in counts("# cmdline : perf record -e dma:dma_map_page\n" + lines(MAP)), "perf's heading")
    trace = '     0.000 fio/171 dma:dma_map_page(device: "0000:00:02.0", phys_addr: 985241222, dma_addr: 4294964870, size: 54, dir: 1)\n'
    check(counts(lines(MAP) + trace * 3)["unreadable"] == 3, "perf trace")
    check("unreadable" not in counts(lines(*EVENTS) + "=> dma_map_page_attrs\n => dma_map_sg: \n"[:24]), "a stack")
    check(counts(lines(MAP) + "#" + lines(UNMAP))["unreadable"] == 1, "a line that was taken out")
    check(counts("# tracer: nop\n#\n" + lines(MAP)) == {"lines": 3, "dma_events": 1, "left_mapped": 1}, "headings")


@case
def what_the_recorder_lost_is_told():
    for mark, lost in (("CPU:0 [LOST 17 EVENTS]", 17), ("CPU:12 [LOST EVENTS]", 0), ("CPU:0 [17 EVENTS DROPPED]", 17),
                       ("CPU:3 [EVENTS DROPPED]", 0), (" host.dat: CPU:3 [17 EVENTS DROPPED]", 17), ("LOST 17 events!", 17),
                       ("   iperf3   171 [001]     5.000500: PERF_RECORD_LOST lost 17", 17),
                       ("5.000500: PERF_RECORD_LOST_SAMPLES lost 17", 17),
                       ("Processed 40 events and lost 3 chunks!", 0), ("Processed 40 samples and lost 3.2%!", 0),
                       ("# entries-in-buffer/entries-written: 400/417   #P:1", 17)):
        got = shown(lines(MAP) + mark + "\n" + lines(UNMAP))
        check(got["counts"]["lost_marks"] == 1 and got["counts"]["lost_events"] == lost, f"{mark}: {got['counts']}")
        check("lost" in got["missing"] and (not lost or "17" in got["missing"]) and "--buffer" in got["missing"], got["missing"])
    for fine in ("# entries-in-buffer/entries-written: 417/417   #P:1", "x-1 [000] 5.0: foo: state=LOST 3 [x]"):
        check("lost_marks" not in counts(lines(MAP) + fine + "\n"), fine)
    most = "CPU:0 [LOST 18446744073709551615 EVENTS]\n"
    check(counts(lines(MAP) + most + most)["lost_events"] == 2 ** 64 - 1, "a sum beyond 64 bits")


@case
def lines_too_big_are_told():
    got = shown(lines(MAP) + "[LINE TOO BIG]\n" + lines(UNMAP) + "CPU:0 [LINE TOO BIG]\n" + lines(MAP_LIST[:90] + "[LINE TOO BIG]"))
    check(got["counts"]["unreadable"] == 3 and [u["line"] for u in got["unreadable_lines"]] == [2, 4, 5], got)
    got = shown(lines(MAP) + "x" * (300 << 10) + "\n" + lines(UNMAP))
    check(got["counts"]["unreadable"] == 1 and got["unreadable_lines"][0]["line"] == 2 and got["devices"][0]["unmaps"] == 1, got)


@case
def what_is_unreadable_is_shown():
    """With its line number, as text that harms no terminal; a few lines of all."""
    bad = MAP.replace("dma_addr=", "\x1b[2J\x07=")
    text = "# a heading\n" + lines(MAP, *[bad] * 7, UNMAP)
    got = shown(text)
    check([u["line"] for u in got["unreadable_lines"]] == [3, 4, 5, 6, 7] and got["counts"]["unreadable"] == 7, got)
    check("7 of 9 lines" in got["missing"] and "line 3" in got["missing"] and "trace record" in got["missing"], got["missing"])
    show = run(("trace", "show"), text).stdout
    check("not complete" in show.split("\n")[0] and "7 of 9" in show.split("\n")[0], show)
    check("5 of 7" in show and "line 3: " in show and "?[2J?=fffff686" in show and "\x1b" not in show, show)
    replay = run(("replay",), text, "--strategy", "single-use")
    check("7 of 9 lines" in replay.stdout.split("\n")[0] and "line 3" in replay.stdout and "\x1b" not in replay.stdout, replay.stdout)
    with tempfile.TemporaryDirectory() as folder:
        page = os.path.join(folder, "page.html")
        check(run(("replay",), text, "--strategy", "copy", "--html", page).returncode == 0, "no page")
        with open(page, encoding="utf-8") as f:
            check("7 of 9 lines" in f.read().split("<h2")[0], "it is not before everything else on the page")
    for option in "--json", "--csv":
        replay = run(("replay",), text, "--strategy", "single-use", option)
        check(replay.stderr.count("\n") == 1 and "7 of 9 lines" in replay.stderr, replay.stderr)
        rows = json.loads(replay.stdout) if option == "--json" else list(csv.DictReader(io.StringIO(replay.stdout)))
        check([list(row)[0] for row in rows] == ["missing"] and "7 of 9 lines" in rows[0]["missing"], rows)
    check(run(("replay",), lines(MAP, UNMAP), "--strategy", "single-use", "--csv").stderr == "", "words about a whole trace")


def cpu_seconds(text):
    """That 'viommu trace show' takes."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    shown(lines(MAP) + text)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def takes_no_longer(slow, quick, what):
    """As many bytes of another form, give or take a factor that no quadratic time keeps to."""
    slow, quick = cpu_seconds(slow), cpu_seconds(quick)
    check(slow < 10 * quick + 1, f"{what}: {slow:.2f} s of CPU, {quick:.2f} s for as many bytes")


@case
def a_long_line_takes_as_long_as_its_bytes():
    for piece in ("map: iova=x ", "dma_map_page: ", "5.1: dma_map_page: ", "5.1: dma_map_page: d dir=x ", "5.1: map: iova=x ", "map:map: ",
                  "5.1: ", "x: ", "size="):
        for begin in (lines(MAP).rstrip("\n"), "x-1 [000] 5.000000: "):
            takes_no_longer(begin + " " + piece * (250000 // len(piece)) + "\n",
                            (begin + " " + piece * (1000 // len(piece)) + "\n") * 250, (begin, piece))


@case
def maps_of_one_page_take_as_long_as_others():
    """Without an IOMMU a page may be mapped again and again. From a bound on it is told that they are left out."""
    count = 60000

    def times(form, *numbers):
        return "".join(f"x-1 [000] 5.{at:06d}: " + form % number + "\n" for at, number in enumerate(zip(*numbers)))

    def pages(step):
        return [0x100000000 + step * i for i in range(count)]

    mapped = "dma_map_page: d dir=TO_DEVICE dma_addr=%x size=64 phys_addr=%x attrs="
    listed = "dma_map_sg: d dir=TO_DEVICE nents=1/1 ents=1/1 dma_addrs={0x%x} sizes={0x40} phys_addrs={0x%x} attrs="
    sized = "dma_map_page: d dir=TO_DEVICE dma_addr=%x size=%d phys_addr=100000000 attrs="
    sync = "dma_sync_single_for_cpu: d dir=TO_DEVICE dma_addr=%x size=64"
    for what, form in (("maps", mapped), ("lists", listed)):
        takes_no_longer(times(form, pages(0), pages(0)), times(form, pages(4096), pages(4096)), what)
    takes_no_longer(times(sized, pages(0), range(1, count + 1)), times(sized, pages(4096), range(1, count + 1)), "lengths")
    takes_no_longer(times(listed, pages(4096), pages(0)), times(listed, pages(4096), pages(4096)), "one memory, many addresses")
    # Whatever is looked for among them.
    for what, more in (("unmaps", UNMAP.replace("0000:00:02.0", "d").replace("fffff686", "100000001")), ("syncs", sync % 0x100001001),
                       ("syncs far away", sync % 0x1001fffff)):
        few, many = [text + times("%s", [more] * count) for text in
                     (times(mapped, pages(4096)[:1000], pages(4096)[:1000]), times(mapped, pages(1)[:4000] * 8, pages(1)[:4000] * 8))]
        takes_no_longer(many, few, what)
    got = shown(times(mapped, pages(0), pages(0)))
    check(0 < got["devices"][0]["maps"] < count and got["counts"]["crowded"] == count - got["devices"][0]["maps"], got)
    check(f"{got['counts']['crowded']} maps are left out" in got["missing"], got["missing"])


@case
def of_many_maps_at_a_page_the_oldest_ends():
    """In whatever order they are unmapped, each is found."""
    address = [0x5000 + 64 * (i % 50) for i in range(200)]
    maps = [f"dma_map_page: d dir=TO_DEVICE dma_addr={a:x} size={64 + i // 100} phys_addr={a:x} attrs=" for i, a in enumerate(address)]
    for order in (range(200), range(199, -1, -1), [i * 77 % 200 for i in range(200)]):
        unmaps = [maps[i].replace("dma_map", "dma_unmap").replace(f" phys_addr={address[i]:x}", "") for i in order]
        got = shown(lines(*maps, *unmaps, *maps))
        check(got["devices"][0]["unmaps"] == 200 and got["devices"][0]["maps"] == 400, got)
        lost = [name for name in ("size_differs", "unmaps_before", "unmaps_lost", "crowded") if got["counts"][name]]
        check(not lost, (order, got["counts"]))


# ---------------------------------------------------------------- traces of others


def replayed(name, *columns):
    done = run(("replay",), read(name), "--strategy", "copy", "--strategy", "single-use", "--json")
    check(done.returncode == 0, done.stderr)
    return [[result[column] for column in columns] for result in json.loads(done.stdout)]


@case
def traces_of_others():
    for name, events in (("ts-diff.report.txt", 10), ("task-name-with-brackets.txt", 2), ("perf-period.txt", 4),
                         ("list-failed-to-parse.report.txt", 4), ("alloc-without-dir.txt", 4)):
        got = shown(read(name))
        check(got["counts"]["dma_events"] == events and "missing" not in got, f"{name}: {got}")
        check(got["devices"][0]["maps"] == got["devices"][0]["unmaps"] > 0, f"{name}: {got}")
    check(shown(read("list-failed-to-parse.report.txt"))["devices"][0]["bytes"] == 54 + 0x1e00, "the list's bytes")
    check(shown(read("alloc-without-dir.txt"))["devices"][0]["allocations"] == 1, "an allocation without a direction")


@case
def a_report_is_its_trace_dat():
    """What trace-cmd 3.1.6 reports of scatter.dat, with -R -l -t --ts-diff."""
    done = subprocess.run([VIOMMU, "trace", "show", os.path.join(TRACES, "scatter.dat"), "--json"], capture_output=True, text=True,
                          timeout=100, check=False)
    if done.returncode and "without libtracecmd" in done.stderr:
        print("     (built without libtracecmd: not tried)")
        return
    want, got = json.loads(done.stdout), shown(read("scatter-raw.report.txt"))
    check(got["devices"] == want["devices"] and got["devices"][0]["lists"] == 4 and "missing" not in got, f"{got} is not {want}")


@case
def an_offset_is_no_iommu():
    """Bus addresses that are memory's plus a constant."""
    columns = ("maps", "unmaps", "bytes_copied", "excess_byte_seconds", "duration_s")
    check(shown(read("address-offset.txt")) == shown(read("address-offset-none.txt")), shown(read("address-offset.txt")))
    check(replayed("address-offset.txt", *columns) == replayed("address-offset-none.txt", *columns), "replay differs")
    encrypted = read("address-offset.txt").replace("=c0005000", "=800000005000")
    check(shown(encrypted) == shown(read("address-offset-none.txt")), "the bit of encrypted memory")
    # With an IOMMU an address that is mapped again has lost its unmap, also when it is the same memory.
    again = counts(lines(MAP, MAP))
    check(again["unmaps_lost"] == 1, again)
    check(counts(lines(ALLOC, ALLOC))["unmaps_lost"] == 1, "an allocation twice")


@case
def a_merged_list_is_synced_whole():
    columns = ("maps", "unmaps", "bytes_copied", "excess_byte_seconds")
    for name in "sync-merged.txt", "sync-separate.txt":
        got = shown(read(name))
        check(got["devices"][0]["syncs"] == 30 and not got["counts"]["syncs_unjoined"], f"{name}: {got}")
    check(replayed("sync-merged.txt", *columns) == replayed("sync-separate.txt", *columns), "other bytes")


@case
def a_line_of_syncs_is_bounded():
    """Many ranges that each hold many pieces of one list."""
    pieces = 4000
    phys = ",".join(f"{0x100000 + 0x2000 * i:#x}" for i in range(pieces))
    whole = (f"dma_map_sg: d dir=FROM_DEVICE nents={pieces}/{pieces} ents=1/1 dma_addrs={{0x10000000}} "
             f"sizes={{{pieces * 4096:#x}}} phys_addrs={{{phys}}} attrs=")
    sync = ("dma_sync_sg_for_cpu: d dir=FROM_DEVICE dma_addrs={" + ",".join(["0x10000000"] * pieces) + "} sizes={"
            + ",".join([f"{pieces * 4096:#x}"] * pieces) + "}")
    began = time.monotonic()
    got = shown(lines(whole, sync))
    check(got["devices"][0]["syncs"] <= 1 << 17 and got["counts"]["syncs_unjoined"], got)
    check(time.monotonic() - began < 60, "it takes too long")


@case
def two_systems_are_two_devices():
    got = shown(read("host-and-guest.report.txt"))
    names = [device["device"] for device in got["devices"]]
    check(names == ["host.dat:0000:00:05.0", "guest.dat:0000:00:05.0"], names)
    check(all(device["maps"] == device["unmaps"] == 1 for device in got["devices"]), got)
    check(not got["counts"]["unmaps_lost"] and not got["counts"]["unmaps_before"], got)
    perf = "".join(f"VM:{vm:5d} VCPU:000 fio 171 [000] 5.{i}: dma:{event}\n" for i, event in enumerate((MAP, UNMAP))
                   for vm in (4711, 815))
    check(len(shown(perf)["devices"]) == 2, shown(perf))
    # A buffer's name is no system's.
    check(len(shown(lines(MAP, form="a: x-1 [000] %s: ") + lines(UNMAP, form="b: x-1 [000] %s: "))["devices"]) == 1, "buffers")
    done = run(("replay",), read("host-and-guest.report.txt"), "--device", "guest.dat:0000:00:05.0", "--strategy", "copy", "--json")
    check(done.returncode == 0 and json.loads(done.stdout)[0]["maps"] == 1, done)
    # Two names of which a terminal is shown the same are two, too.
    odd = read("host-and-guest.report.txt").replace("host.dat", "h\u00f6st").replace("guest.dat", "h\u00e4st")
    names = [device["device"] for device in shown(odd)["devices"]]
    check(names == ["h??st#1:0000:00:05.0", "h??st#2:0000:00:05.0"], names)
    check("\x1b" not in run(("trace", "show"), odd.replace("h\u00f6st", "\x1b[2J")).stdout, "a terminal's command")
    many = "".join(f"{i}.dat: cpus=1\n" for i in range(65)) + lines(MAP)
    guests = "".join(f"VM:{i:5} VCPU:000 {line}" for i in range(65) for line in lines(MAP).splitlines(True))
    for text in many, guests:
        done = run(("trace", "show"), text)
        check(done.returncode == 1 and "64 systems" in done.stderr, (done.returncode, done.stderr))
    # Of one file that is given again and again there is one.
    check(len(shown("a.dat: cpus=1\n" * 65 + lines(MAP, form="a.dat: x-1 [000] %s: "))["devices"]) == 1, "a heading again")


@case
def why_there_is_nothing_to_replay():
    def why(text, *options):
        done = run(("replay",), text, "--strategy", "copy", *options)
        check(done.returncode == 1 and done.stderr.count("\n") == 1 and not done.stdout, done)
        return done.stderr

    long_map = read("one-long-map.txt")
    check("longer than a GiB" in why(long_map) and "record the events" not in why(long_map), why(long_map))
    check("cannot be read" in why(lines(MAP[:70])), why(lines(MAP[:70])))
    check("record the events" in why(lines(UNMAP)), why(lines(UNMAP)))
    other = lines(MAP.replace("02.0", "03.0"), UNMAP)
    check("asked for" in why(other, "--device", "0000:00:02.0"), why(other, "--device", "0000:00:02.0"))
    # Some are left out: told in each form.
    both = lines(MAP) + long_map
    done = run(("replay",), both, "--strategy", "copy", "--json")
    check(json.loads(done.stdout)[0]["trace"]["left_out"] == 1, done)
    check("longer than a GiB" in run(("replay",), both, "--strategy", "copy").stdout, "the table")


if __name__ == "__main__":
    sys.exit(main())
