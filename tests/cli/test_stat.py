#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""viommu stat, asking a real viommud whose guest does DMA through page tables.

usage: test_stat.py VIOMMUD VIOMMU [WORD]    WORD: only the cases whose name has it
"""
import contextlib
import json
import os
import pty
import select
import signal
import socket
import stat as modes
import subprocess
import sys
import tempfile
import termios
import time

from rig import DEADLINE, VIOMMU, VIOMMUD, case, cases, check, main, refused, run, started

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "daemon"))
from remapping import READ, WRITE, Remapping  # noqa: E402
from served import DATA, PAGE, Daemon, Nvme  # noqa: E402
import openmetrics  # noqa: E402


@contextlib.contextmanager
def guest(domain=7):
    """A daemon, its controller, and the tables that it is behind."""
    with Daemon(VIOMMUD) as d, Nvme(d) as nvme:
        yield d, nvme, Remapping(nvme, domain)


def stat(d, *options):
    result = run(VIOMMU, "stat", "--dir", d.dir, *options)
    check(result.returncode == 0 and not result.stderr, result)
    return result.stdout


def metrics(d):
    return openmetrics.parse(stat(d, "--openmetrics"))


def table():
    rows = [line.split("\t") for line in run(VIOMMU, "counters", "--describe").stdout.splitlines()]
    check(len(rows) > 30, rows)
    return [(name, unit, where.split(","), doc) for name, unit, where, doc in rows]


def metric_name(prefix, name, unit):
    """Seconds in place of ns, and no _total, which the samples have."""
    if unit == "ns":
        name = name.replace("_ns", "") + "_seconds"
    return "viommu_" + prefix + name.replace("_total", "")


def provoke_fault(nvme, tables, domain):
    """The controller wants to write to a page that it may only read."""
    tables.map(DATA, DATA, READ)
    tables.flush_page(domain, DATA)
    nvme.submit(1, 2, DATA, 8, 0, 7)
    check(nvme.complete(1)[1] != 0, "the read did not fail")
    tables.map(DATA, DATA, READ | WRITE)
    tables.flush_page(domain, DATA)


# ------------------------------------------------------- everything that is counted


@case
def each_counter_is_in_json_and_openmetrics_with_its_help():
    with guest() as (d, nvme, tables):
        nvme.write(8, os.urandom(PAGE))
        nvme.read(8, PAGE)
        provoke_fault(nvme, tables, 7)
        text, families = json.loads(stat(d, "--json")), metrics(d)
        again = json.loads(stat(d, "--json"))
    places = {"iommu": ("", "counters"), "vm": ("", "counters"), "sidecore": ("", "sidecore")}
    for name, unit, where, doc in table():
        prefix, key = places[where[0]]
        family = families[metric_name(prefix, name, unit)]
        check(family.help == doc, (name, family.help))
        check(family.unit == ("seconds" if unit == "ns" else None), (name, family.unit))
        check(family.type == ("gauge" if "maximum" in where else "counter"), (name, family.type))
        value = family.value("" if family.type == "gauge" else "_total") * (1e9 if unit == "ns" else 1)
        check(text[key][name] - 0.5 <= value <= again[key][name] + 0.5, (name, value, text[key][name]))
        if "device" in where:
            family = families[metric_name("device_", name, unit)]
            check(family.help == doc and family.value("_total", device="nvme0") >=
                  text["devices"][0]["counters"][name], (name, family.samples))
        if "domain" in where:
            family = families[metric_name("domain_", name, unit)]
            check(family.help == doc, (name, family.help))
            check(sum(family.samples.values()) == families[metric_name("", name, unit)].value("_total"), name)


@case
def what_a_device_did_is_its_domains():
    with guest(7) as (d, nvme, tables):
        nvme.write(8, bytes(PAGE))
        tables.enter(9)
        tables.flush()
        nvme.write(8, bytes(PAGE))
        nvme.write(8, bytes(PAGE))
        tables.flush_page(9, DATA)
        reply, families = json.loads(stat(d, "--json")), metrics(d)
    domains = {x["domain"]: x for x in reply["domains"]}
    check(set(domains) == {7, 9} and domains[9]["devices"] == ["nvme0"] and domains[7]["devices"] == [], domains)
    check(PAGE <= domains[7]["counters"]["bytes_read"] < 2 * PAGE, domains)
    check(2 * PAGE <= domains[9]["counters"]["bytes_read"] < 3 * PAGE, domains)
    check(domains[9]["counters"]["iotlb_page_invalidations"] == 1, domains)
    check(reply["devices"][0]["domain"] == 9 and reply["devices"][0]["translation"] == "paged", reply["devices"])
    check(families["viommu_device_state"].value(device="nvme0", address="00:11.0", translation="paged",
                                                domain="9") == 1, "device state")


@case
def two_units_are_told_apart():
    """Both have the domain 7, of which one is nvme0's and the other nvme1's."""
    with Daemon(VIOMMUD, "--iommu", "vtd,id=a", "--iommu", "vtd,id=b", behind=("a", "b")) as d, \
            Nvme(d, "nvme0", "iommu") as first, Nvme(d, "nvme1", "iommu1") as second:
        Remapping(first, 7)
        Remapping(second, 7, slot=0x12)
        first.write(8, bytes(PAGE))
        for _ in range(3):
            second.write(8, bytes(PAGE))
        families = metrics(d)
        one = openmetrics.parse(stat(d, "--iommu", "b", "--openmetrics"))
        lines = stat(d, "--count", "1", "--interval", "0.1").splitlines()
        lines_of_b = stat(d, "--count", "1", "--interval", "0.1", "--iommu", "b").splitlines()
        refused(run(VIOMMU, "stat", "--dir", d.dir, "--iommu", "c"), "'c'", status=1)
    read = families["viommu_domain_bytes_read"]
    check(PAGE <= read.value("_total", domain="7", iommu="a") < 2 * PAGE, read.samples)
    check(3 * PAGE <= read.value("_total", domain="7", iommu="b") < 4 * PAGE, read.samples)
    check(sum(read.samples.values()) == families["viommu_bytes_read"].value("_total"), "something is lost")
    check(families["viommu_device_state"].value(iommu="b", device="nvme1", address="00:12.0", translation="paged",
                                                domain="7") == 1, "device state")
    check(one["viommu_bytes_read"].value("_total", iommu="b") ==
          families["viommu_device_bytes_read"].value("_total", iommu="b", device="nvme1"), "b alone")
    for name in ("viommu_sidecore_polls", "viommu_register_writes"):
        check(one[name].value("_total") >= families[name].value("_total"), "%s has the label of a unit" % name)
    check(one["viommu_sidecore_busy_ratio"].value() >= 0, "the sidecore has the label of a unit")
    check(one["viommu_domain_bytes_read"].value("_total", iommu="b", domain="rest") == 0, "the rest has no label")
    heads = [line.split("  ")[0] for line in lines]
    for head in ("a", "b", "nvme0", "nvme1", "a: domain 7: nvme0", "b: domain 7: nvme1"):
        check(any(h.startswith(head[:18]) for h in heads), (head, heads))
    check(not any("nvme0" in line for line in lines_of_b) and "IOMMU vtd b," in lines_of_b[0], lines_of_b)


@case
def domains_are_bounded():
    with guest(1) as (d, nvme, tables):
        for domain in range(1, 201):
            tables.enter(domain * 300)
            tables.flush()
            nvme.write(8, bytes(512))
        reply, families = json.loads(stat(d, "--json")), metrics(d)
    check(len(reply["domains"]) == 65, len(reply["domains"]))
    family = families["viommu_domain_bytes_read"]
    check(len(family.samples) == 67, len(family.samples))
    check(family.value("_total", domain="rest") >= 512 * (200 - 65), family.samples)
    check(sum(family.samples.values()) == families["viommu_bytes_read"].value("_total"), "something is lost")


@case
def faults_in_words():
    with guest() as (d, nvme, tables):
        provoke_fault(nvme, tables, 7)
        reply, families = json.loads(stat(d, "--json")), metrics(d)
        lines = stat(d, "--interval", "0.1", "--count", "1")
    check(reply["faults_by_reason"] == [{"reason": 5, "text": "no permission to write", "count": 1}], reply)
    fault, = reply["last_faults"]
    check((fault["device"], fault["address"], fault["write"], fault["iova"], fault["text"]) ==
          ("nvme0", "00:11.0", True, DATA, "no permission to write"), fault)
    check(0 < fault["ago_ns"] < DEADLINE * 10**9, fault)
    check(families["viommu_blocked_by_reason"].value("_total", reason="0x05", text="no permission to write") == 1, "")
    check("1 times: no permission to write (reason 0x05)" in lines, lines)
    check(f"ago: nvme0 wanted to write 0x{DATA:x}: no permission to write (reason 0x05)" in lines, lines)


@case
def drains():
    with guest() as (d, _, tables):
        for _ in range(100):
            tables.flush_page(7, DATA)
        reply, families = json.loads(stat(d, "--json")), metrics(d)
    told, family = reply["drains"], families["viommu_drain_duration_seconds"]
    check(0 < told["p50_ns"] <= told["p99_ns"] <= told["worst_ns"] < DEADLINE * 10**9, told)
    check(sum(b["count"] for b in told["buckets"]) == reply["counters"]["drains"] >= 100, told)
    check(family.value("_count") == reply["counters"]["drains"], family.samples)
    check(family.value("_sum") * 1e9 - reply["counters"]["drain_ns_total"] < 1, family.samples)


@case
def a_folder_with_a_strange_name():
    with tempfile.TemporaryDirectory() as base:
        folder = os.path.join(base, 'we"ird\\and\nlong')
        os.mkdir(folder, 0o700)
        disk = os.path.join(base, "disk")
        with open(disk, "wb") as f:
            f.truncate(1 << 20)
        with started(VIOMMUD, "--dir", folder, "--nvme", disk) as p:
            check(p.stdout.readline().startswith("viommud: ready"), "not ready")
            families = openmetrics.parse(run(VIOMMU, "stat", "--dir", folder, "--openmetrics").stdout)
            (_, pairs), = families["viommu_walks"].samples
            check(dict(pairs)["dir"] == folder, pairs)


# ---------------------------------------------------------------------- lines


def rate(text):
    return float(text.rstrip("kMG")) * 1000 ** " kMG".index(text[-1] if text[-1] in "kMG" else " ")


@case
def lines_of_rates():
    count, spreads = 5, []
    with guest() as (d, nvme, _), started(VIOMMU, "stat", "--dir", d.dir, "--interval", "0.3", "--count", str(count)) as p:
        while p.poll() is None:
            nvme.write(8, bytes(PAGE))
        blocks = p.stdout.read().split("\n\n")
    check(p.returncode == 0 and len(blocks) == count + 1 and blocks[count] == "", blocks)
    for block in blocks[:count]:
        rows = {line.split("  ")[0]: line.split()[-7:] for line in block.splitlines()}
        written = [rate(rows[name][3]) for name in ("all", "nvme0", "domain 7: nvme0")]
        check(rows["all"][3][-1] in "kMG" and min(written) > 0, rows)
        spreads.append(max(written) / min(written))
        check(rows["no domain"] == ["0"] * 7 and rows["all"][6] == "0", rows)
        busy = next(line for line in block.splitlines() if line.startswith("sidecore"))
        bar, share = busy.split("[")[1].split("]")[0], int(busy.split("]")[1].split("%")[0])
        check(len(bar) == 40 and abs(bar.count("#") - share * 0.4) <= 1 and share <= 100, busy)
        check(" 0 polls/s" not in busy, busy)
    # One after the other is read while the guest goes on, and a busy machine lets much happen between them.
    check(min(spreads) < 1.2, spreads)


@case
def one_line_without_options():
    with Daemon(VIOMMUD) as d:
        text = stat(d)
    check(text.count("viommu stat:") == 1 and "nvme0 (off)" in text and "\033" not in text, text)


@case
def json_lines():
    with Daemon(VIOMMUD) as d:
        lines = stat(d, "--json", "--interval", "0.1", "--count", "3").splitlines()
    times = [json.loads(line)["time_ns"] for line in lines]
    check(len(times) == 3 and times[0] + 10**8 <= times[1] <= times[2] - 10**8, times)


@case
def goes_on_until_it_is_told():
    with Daemon(VIOMMUD) as d, started(VIOMMU, "stat", "--dir", d.dir, "--openmetrics", "--interval", "0.1") as p:
        text, end = "", time.monotonic() + DEADLINE
        while text.count("# EOF\n") < 3:
            check(time.monotonic() < end, text[-200:])
            text += p.stdout.readline()
        p.terminate()
        check(p.wait(DEADLINE) == 0, p.returncode)


@case
def the_daemon_ends_meanwhile():
    with Daemon(VIOMMUD) as d, started(VIOMMU, "stat", "--dir", d.dir, "--json", "--interval", "0.1") as p:
        p.stdout.readline()
        d.end()
        check(p.wait(DEADLINE) == 1 and "no viommud" in p.stderr.read(), "not said")


# ----------------------------------------------------------------------- file


@case
def a_file_is_replaced_as_a_whole():
    with tempfile.TemporaryDirectory() as folder, Daemon(VIOMMUD) as d:
        path = os.path.join(folder, "viommu.prom")
        with open(path, "w", encoding="ascii") as f:
            f.write("old")
        with started(VIOMMU, "stat", "--dir", d.dir, "--openmetrics", "--file", path, "--interval", "0.1") as p:
            inodes, end = set(), time.monotonic() + 2
            while len(inodes) < 4 and time.monotonic() < end + DEADLINE:
                with open(path, encoding="utf-8") as f:
                    text = f.read()
                    inodes.add(os.fstat(f.fileno()).st_ino)
                check(text == "old" or "viommu_walks" in openmetrics.parse(text), "half a file")
            p.terminate()
            check(p.wait(DEADLINE) == 0 and len(inodes) >= 3, (p.returncode, inodes))
        check(os.listdir(folder) == ["viommu.prom"], os.listdir(folder))
        check(modes.S_IMODE(os.stat(path).st_mode) == 0o644, "others cannot read it")


@case
def a_file_that_cannot_be_written():
    with tempfile.TemporaryDirectory() as folder, Daemon(VIOMMUD) as d:
        target = os.path.join(folder, "target")
        os.mkdir(target)
        for path in (os.path.join(folder, "none", "x.prom"), target, os.path.join(folder, "x" * 300)):
            refused(run(VIOMMU, "stat", "--dir", d.dir, "--file", path), path, "cannot be written", status=1)
        check(os.listdir(folder) == ["target"], os.listdir(folder))


# --------------------------------------------------------------------- server


def connect(where):
    if where.startswith("/"):
        s = socket.socket(socket.AF_UNIX)
        s.settimeout(DEADLINE)
        s.connect(where)
        return s
    host, port = where.rsplit(":", 1)
    return socket.create_connection((host.strip("[]"), int(port)), DEADLINE)


def talk(where, request):
    """(status, {header: value}, body)"""
    with connect(where) as s:
        s.sendall(request.encode())
        answer = b""
        while piece := s.recv(65536):
            answer += piece
    head, body = answer.decode().split("\r\n\r\n", 1)
    status, *lines = head.split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines)
    check(int(headers["Content-Length"]) == len(body) or request.startswith("HEAD"), (headers, len(body)))
    return int(status.split()[1]), headers, body


def get(where, path="/metrics", method="GET"):
    return talk(where, f"{method} {path} HTTP/1.1\r\nHost: x\r\n\r\n")


@contextlib.contextmanager
def listening(d, address):
    """Yields (process, where to connect)."""
    with started(VIOMMU, "stat", "--dir", d.dir, "--openmetrics", "--listen", address) as p:
        line = p.stdout.readline()
        check(line.startswith("viommu: metrics at "), (line, p.stderr.read() if not line else ""))
        yield p, address if "/" in address else line.split("http://")[1].split("/")[0]


def polls_told(where):
    status, headers, body = get(where)
    check(status == 200 and headers["Content-Type"].startswith("application/openmetrics-text; version=1.0.0"), headers)
    return openmetrics.parse(body)["viommu_sidecore_polls"].value("_total")


def serves_metrics(where):
    """A viommud that has just begun to serve may be asked before its sidecore has looked once."""
    end = time.monotonic() + DEADLINE
    while not polls_told(where):
        check(time.monotonic() < end, "no polls")
        time.sleep(0.05)


@case
def scraped_over_a_port():
    with Daemon(VIOMMUD) as d:
        for address in ("0", "127.0.0.1:0", "localhost:0"):
            with listening(d, address) as (p, where):
                serves_metrics(where)
                serves_metrics(where)
                p.terminate()
                check(p.wait(DEADLINE) == 0, p.returncode)


@case
def scraped_over_a_socket():
    with tempfile.TemporaryDirectory() as folder, Daemon(VIOMMUD) as d:
        path = os.path.join(folder, "metrics.sock")
        with listening(d, path) as (p, where):
            serves_metrics(where)
            refused(run(VIOMMU, "stat", "--dir", d.dir, "--listen", path), path, "in use")
            serves_metrics(where)
            p.kill()
            p.wait()
        check(os.path.exists(path), "it removed its socket though it was killed")
        with listening(d, path) as (p, where):
            serves_metrics(where)
            p.terminate()
            check(p.wait(DEADLINE) == 0 and not os.path.exists(path), "its socket is left")
        with open(path, "w", encoding="ascii") as f:
            f.write("precious")
        refused(run(VIOMMU, "stat", "--dir", d.dir, "--listen", path), path)
        check(os.path.getsize(path) == 8, "a file was removed")


@case
def other_requests():
    with Daemon(VIOMMUD) as d, listening(d, "0") as (_, where):
        check(get(where, "/")[0] == 200 and "/metrics" in get(where, "/")[2], "no word at /")
        for path in ("/metricsx", "/metrics/", "/../metrics", "*", "http://x/metrics"):
            check(get(where, path)[0] == 404, path)
        check(get(where, "/metrics?x=1")[0] == 200, "a query is not ignored")
        status, headers, body = get(where, method="HEAD")
        check(status == 200 and not body and int(headers["Content-Length"]) > 1000, headers)
        for method in ("POST", "PUT", "get", "GETS"):
            status, headers, _ = get(where, method=method)
            check(status == 405 and headers["Allow"] == "GET, HEAD", (method, headers))
        serves_metrics(where)


@case
def clients_that_misbehave():
    with Daemon(VIOMMUD) as d, listening(d, "0") as (p, where):
        for request in ("\0\0\0\r\n\r\n", "GET /metrics" + "x" * 20000 + "\r\n\r\n", "G\0ET / HTTP/1.1\r\n\r\n"):
            with contextlib.suppress(ConnectionError):
                check(talk(where, request)[0] == 400, request[:20])
        for _ in range(20):
            with connect(where) as s:
                s.sendall(b"GET /metrics HTTP/1.1\r\n")  # and goes
        with connect(where) as s:  # says nothing
            began = time.monotonic()
            serves_metrics(where)
            check(time.monotonic() - began < 10, "a silent client is waited for")
            s.close()
        with connect(where) as s:  # reads nothing
            s.sendall(b"GET /metrics HTTP/1.1\r\n\r\n")
            serves_metrics(where)
        check(p.poll() is None, "it is gone")


@case
def the_daemon_comes_and_goes():
    with tempfile.TemporaryDirectory() as base:
        folder, disk = os.path.join(base, "run"), os.path.join(base, "disk")
        os.mkdir(folder, 0o700)
        with open(disk, "wb") as f:
            f.truncate(1 << 20)
        command = [VIOMMUD, "--dir", folder, "--nvme", disk]
        with started(VIOMMU, "stat", "--dir", folder, "--listen", "0") as p:
            where = p.stdout.readline().split("http://")[1].split("/")[0]
            check(get(where)[0] == 503, "there is no daemon")
            for _ in range(2):
                with started(*command) as d:
                    d.stdout.readline()
                    serves_metrics(where)
                    d.terminate()
                    d.wait(DEADLINE)
                check(get(where)[0] == 503, "the daemon is gone")


# ------------------------------------------------------------------- terminal


class Terminal:
    """viommu stat on a terminal of its own."""

    def __init__(self, d, *options, rows=30, columns=100):
        self.master, self.slave = pty.openpty()
        termios.tcsetwinsize(self.slave, (rows, columns))
        self.before = termios.tcgetattr(self.slave)
        self.text = ""
        self.process = subprocess.Popen([VIOMMU, "stat", "--dir", d.dir, *options], stdin=self.slave,
                                        stdout=self.slave, stderr=self.slave, start_new_session=True)

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self.master)
        os.close(self.slave)

    def read(self, word, times=1):
        """Until the word was there so often."""
        end = time.monotonic() + DEADLINE
        while self.text.count(word) < times:
            check(time.monotonic() < end, f"no {word!r} in {self.text[-2000:]!r}")
            if select.select([self.master], [], [], 0.1)[0]:
                self.text += os.read(self.master, 65536).decode()
        return self.text

    def type(self, keys):
        os.write(self.master, keys.encode())

    def ended(self, status):
        check(self.process.wait(DEADLINE) == status, self.process.returncode)
        self.read("\033[?25h")  # the cursor is back
        check(termios.tcgetattr(self.slave) == self.before, "the terminal is not as it was")


@case
def live_until_q():
    with guest() as (d, nvme, tables), Terminal(d, "--interval", "0.2") as t:
        provoke_fault(nvme, tables, 7)
        t.read("q ends", 3)
        t.read("wanted to write")
        screen = t.text.split("\033[H")[-2]
        check("domain 7: nvme0" in screen and "worst since start" in screen, screen)
        check(max(len(line) for line in screen.replace("\033[K", "").split("\r\n")) <= 100, screen)
        t.type("x")
        t.read("q ends", t.text.count("q ends") + 1)
        t.type("q")
        t.ended(0)


@case
def live_on_a_small_screen():
    with guest() as (d, _, _), Terminal(d, "--interval", "0.1", rows=5, columns=30) as t:
        t.read("\033[H", 4)
        screen = t.text.split("\033[H")[-2].replace("\033[K", "").replace("\033[J", "").split("\r\n")
        check(len(screen) == 5 and screen[4] == "" and max(map(len, screen)) <= 30, screen)
        t.type("q")
        t.ended(0)


@case
def live_until_a_signal():
    for sig in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        with Daemon(VIOMMUD) as d, Terminal(d) as t:
            t.read("q ends")
            t.process.send_signal(sig)
            t.ended(0)


@case
def live_and_the_daemon_ends():
    with Daemon(VIOMMUD) as d, Terminal(d, "--interval", "0.1") as t:
        t.read("q ends", 2)
        d.end()
        t.ended(1)
        check("viommu: no viommud serves in" in t.text.replace("\r\n", " "), t.text[-500:])


# ---------------------------------------------------------------------- usage


BAD = {
    "no_dir": ([], "--dir"),
    "dir_without_value": (["--dir"], "--dir"),
    "option": (["--dir", "/tmp", "--foo"], "--foo", "--help"),
    "operand": (["--dir", "/tmp", "nvme0"], "nvme0"),
    "interval_text": (["--dir", "/tmp", "--interval", "soon"], "soon", "seconds"),
    "interval_zero": (["--dir", "/tmp", "--interval", "0"], "0.1"),
    "interval_nan": (["--dir", "/tmp", "--interval", "nan"], "nan"),
    "interval_long": (["--dir", "/tmp", "--interval", "1e9"], "3600"),
    "count_zero": (["--dir", "/tmp", "--count", "0"], "--count"),
    "count_negative": (["--dir", "/tmp", "--count", "-1"], "--count"),
    "count_text": (["--dir", "/tmp", "--count", "2x"], "2x"),
    "json_and_openmetrics": (["--dir", "/tmp", "--json", "--openmetrics"], "--json"),
    "json_and_file": (["--dir", "/tmp", "--json", "--file", "x"], "--json"),
    "file_and_listen": (["--dir", "/tmp", "--file", "x", "--listen", "0"], "choose one"),
    "listen_and_count": (["--dir", "/tmp", "--count", "2", "--listen", "0"], "--count"),
    "listen_to_all": (["--dir", "/tmp", "--listen", "0.0.0.0:0"], "own machine", "127.0.0.1"),
    "listen_to_all_v6": (["--dir", "/tmp", "--listen", "[::]:0"], "own machine"),
    "listen_to_others": (["--dir", "/tmp", "--listen", "192.0.2.1:9000"], "own machine"),
    "listen_nowhere": (["--dir", "/tmp", "--listen", "here"], "here", "PORT"),
    "listen_port": (["--dir", "/tmp", "--listen", "127.0.0.1:65536"], "65536"),
    "listen_host": (["--dir", "/tmp", "--listen", "example:80"], "example"),
    "listen_long_path": (["--dir", "/tmp", "--listen", "/" + "x" * 200], "107"),
    "listen_no_folder": (["--dir", "/tmp", "--listen", "/nonexistent/x"], "/nonexistent/x"),
}


def add_bad(name, arguments, words):
    cases.append(("bad_" + name, lambda: refused(run(VIOMMU, "stat", *arguments), *words)))


for bad_name, (bad_arguments, *bad_words) in BAD.items():
    add_bad(bad_name, bad_arguments, bad_words)


@case
def no_daemon_there():
    with tempfile.TemporaryDirectory() as folder:
        for options in ([], ["--json"], ["--openmetrics"], ["--file", folder + "/x"]):
            refused(run(VIOMMU, "stat", "--dir", folder, *options), "no viommud", status=1)
        check(os.listdir(folder) == [], "a file was made")


if __name__ == "__main__":
    sys.exit(main())
