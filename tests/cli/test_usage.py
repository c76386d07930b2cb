#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""How viommud and viommu behave towards their users, and towards peers that misbehave on the control socket.

usage: test_usage.py VIOMMUD VIOMMU [WORD]    WORD: only the cases whose name has it
"""
import contextlib
import json
import os
import re
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import time

from rig import (DEADLINE, Daemon, VIOMMU, VIOMMUD, case, cases, check, daemon, ignored, main, read_line, refused,
                 run, started, still_serves)


# --------------------------------------------------------- viommud: bad usage


BAD_OPTIONS = {
    "no_device": ([], "--nvme"),
    "unknown_option": (["--foo"], "--foo", "--help"),
    "abbreviation": (["--iomm", "vtd", "--nvme", "DISK"], "--iomm", "--help"),
    "abbreviation_with_value": (["--nvm=DISK"], "--nvm", "--help"),
    "abbreviation_of_flag": (["--verb", "--nvme", "DISK"], "--verb", "--help"),
    "short_option": (["-x"], "-x", "--help"),
    "operand": (["--nvme", "DISK", "extra"], "extra"),
    "missing_value": (["--nvme"], "--nvme", "value"),
    "flag_with_value": (["--verbose=1", "--nvme", "DISK"], "--verbose"),
    "empty_dir": (["--dir", "", "--nvme", "DISK"], "--dir", "folder"),
    "long_dir": (["--dir", "/tmp/" + "x" * 100, "--nvme", "DISK"], "too long"),
    "dir_in_nothing": (["--dir", "/nonexistent/a", "--nvme", "DISK"], "/nonexistent/a"),
    "dir_is_a_file": (["--dir", "DISK", "--nvme", "DISK"], "DISK"),
    "dir_of_all": (["--dir", "/tmp", "--nvme", "DISK"], "own"),
    "long_disk": (["--nvme", "/nonexistent/" + "x/" * 700], "/nonexistent/", "No such file", "truncate -s"),
    "iommu_kind": (["--iommu", "amd", "--nvme", "DISK"], "amd", "vtd, amdvi, virtio, gart or none"),
    "iommu_key": (["--iommu", "vtd,foo=1", "--nvme", "DISK"], "foo"),
    "iommu_none_with_key": (["--iommu", "none,aw=39", "--nvme", "DISK"], "vtd, amdvi, virtio, gart or none"),
    "iommu_switch": (["--iommu", "vtd,caching-mode=maybe", "--nvme", "DISK"], "on or off"),
    "iommu_id": (["--iommu", "vtd,id=x/y", "--nvme", "DISK"], "x/y", "letters"),
    "iommu_id_of_a_device": (["--iommu", "vtd,id=nvme0", "--nvme", "DISK"], "nvme0", "devices"),
    "iommu_id_twice": (["--iommu", "vtd,id=a", "--iommu", "vtd,id=a", "--nvme", "DISK"], "'a'", "id="),
    "iommu_id_of_another_number": (["--iommu", "vtd,id=iommu1", "--iommu", "vtd,id=iommu", "--nvme", "DISK"], "'iommu1'", "iommu.sock"),
    "iommu_id_of_the_first": (["--iommu", "vtd", "--iommu", "vtd,id=iommu", "--nvme", "DISK"], "'iommu'", "iommu1.sock"),
    "iommu_address_twice": (["--iommu", "vtd,addr=8", "--iommu", "vtd,addr=8", "--nvme", "DISK"], "8.0", "addr="),
    "iommu_too_many": ([*("--iommu", "vtd") * 5, "--nvme", "DISK"], "at most 4"),
    "iommu_none_beside_another": (["--iommu", "none", "--iommu", "vtd", "--nvme", "DISK"], "none", "leave one"),
    "nvme_behind_nothing": (["--iommu", "vtd,id=a", "--nvme", "DISK,iommu=b"], "'b'", "id=b"),
    "nvme_behind_none": (["--iommu", "none", "--nvme", "DISK,iommu=iommu"], "'iommu'"),
    "nvme_address_of_second_iommu": (["--iommu", "vtd", "--iommu", "vtd,id=b", "--nvme", "DISK", "--nvme", "DISK,addr=f.0,iommu=b"], "taken", "f.0"),
    "expect_of_nothing": (["--nvme", "DISK", "--expect", "0xfebe0000,iommu=b"], "'b'"),
    "iommu_amdvi_key": (["--iommu", "amdvi,aw=39", "--nvme", "DISK"], "aw"),
    "iommu_of_both_makers": (["--iommu", "vtd,id=a", "--iommu", "amdvi,id=b", "--nvme", "DISK"], "both makers", "leave"),
    "iommu_virtio_key": (["--iommu", "virtio,aw=39", "--nvme", "DISK"], "aw"),
    "iommu_boot_bypass": (["--iommu", "virtio,boot-bypass=perhaps", "--nvme", "DISK"], "on or off"),
    "iommu_gart_beside_virtio": (["--iommu", "virtio", "--iommu", "gart", "--nvme", "DISK"], "leave the other"),
    "expect_of_virtio": (["--iommu", "virtio", "--nvme", "DISK", "--expect", "0xfebe0000"], "no table"),
    "iommu_width": (["--iommu", "vtd,aw=57", "--nvme", "DISK"], "39 or 48"),
    "registers": (["--registers", "both", "--nvme", "DISK"], "auto, sidecore or trap"),
    "idle_text": (["--idle-us", "soon", "--nvme", "DISK"], "microseconds"),
    "idle_negative": (["--idle-us", "-1", "--nvme", "DISK"], "microseconds"),
    "idle_huge": (["--idle-us", "99999999999999999999", "--nvme", "DISK"], "microseconds"),
    "sandbox": (["--sandbox", "maybe", "--nvme", "DISK"], "maybe", "on or off"),
    "cpu": (["--cpu", "9999", "--nvme", "DISK"], "CPU"),
    "expect_unaligned": (["--expect", "0x123", "--nvme", "DISK"], "page-aligned"),
    "expect_text": (["--expect", "here", "--nvme", "DISK"], "hexadecimal"),
    "nvme_empty": (["--nvme", ""], "file"),
    "nvme_missing": (["--nvme", "/nonexistent/disk"], "/nonexistent/disk", "truncate"),
    "nvme_folder": (["--nvme", "/tmp"], "/tmp", "regular file"),
    "nvme_null": (["--nvme", "/dev/null"], "/dev/null", "regular file"),
    "nvme_pipe": (["--nvme", "PIPE"], "PIPE", "regular file"),
    "nvme_pipe_readonly": (["--nvme", "PIPE,readonly=on"], "PIPE", "regular file"),
    "nvme_twice": (["--nvme", "DISK", "--nvme", "DISK"], "DISK", "another --nvme"),
    "nvme_twice_readonly": (["--nvme", "DISK,readonly=on", "--nvme", "/proc/self/root/DISK,readonly=on"],
                            "another --nvme"),
    "nvme_key": (["--nvme", "DISK,rouge=on"], "rouge"),
    "nvme_switch": (["--nvme", "DISK,rogue=1"], "on or off"),
    "nvme_queues_none": (["--nvme", "DISK,queues=0"], "1 to 64"),
    "nvme_queues_many": (["--nvme", "DISK,queues=65"], "1 to 64"),
    "nvme_serial_long": (["--nvme", "DISK,serial=" + "s" * 21], "20"),
    "nvme_serial_newline": (["--nvme", "DISK,serial=a\nb"], "printable"),
    "nvme_address_text": (["--nvme", "DISK,addr=here"], "hexadecimal"),
    "nvme_address_zero": (["--nvme", "DISK,addr=0.0"], "1 to 1e"),
    "nvme_address_q35": (["--nvme", "DISK,addr=1f.0"], "1 to 1e"),
    "nvme_address_function": (["--nvme", "DISK,addr=11.8"], "11.0"),
    "nvme_address_second_function": (["--nvme", "DISK,addr=11.1"], "11.1", "function 0"),
    "iommu_address_second_function": (["--iommu", "vtd,addr=10.7", "--nvme", "DISK"], "10.7", "function 0"),
    "nvme_address_dot": (["--nvme", "DISK,addr=11."], "11.0"),
    "nvme_address_of_iommu": (["--nvme", "DISK,addr=10.0"], "taken"),
    "nvme_address_twice": (["--nvme", "DISK", "--nvme", "DISK,addr=11.0"], "taken"),
    "nvme_too_many": (["--nvme", "DISK"] * 13, "at most"),
}


def add_bad_option(name, options, words):
    def test():
        with tempfile.TemporaryDirectory() as folder:
            disk, pipe = os.path.join(folder, "disk"), os.path.join(folder, "pipe")
            with open(disk, "wb") as f:
                f.truncate(1 << 20)
            os.mkfifo(pipe)
            put = lambda text: text.replace("DISK", disk).replace("PIPE", pipe)
            refused(run(VIOMMUD, *map(put, options)), *map(put, words))
    cases.append(("viommud_bad_" + name, test))


for bad_name, (bad_options, *bad_words) in BAD_OPTIONS.items():
    add_bad_option(bad_name, bad_options, bad_words)


@case
def viommud_help():
    result = run(VIOMMUD, "--help")
    check(result.returncode == 0 and not result.stderr, "help fails")
    for option in ("dir", "iommu", "registers", "nvme", "idle-us", "cpu", "expect", "verbose", "describe-counters",
                   "version", "help"):
        check(f"--{option}" in result.stdout, f"--{option} is not explained")


@case
def viommud_version():
    result = run(VIOMMUD, "--version")
    check(result.returncode == 0 and result.stdout.startswith("viommud "), result.stdout)


# ------------------------------------------------------ viommud: begin and end


@case
def viommud_says_ready_and_ends_clean():
    with daemon() as d:
        check(d.line == f"viommud: ready {d.dir}\n", d.line)
        check(oct(os.stat(d.dir).st_mode & 0o777) == "0o700", "the folder is open to others")
        check(sorted(os.listdir(d.dir)) == ["control.sock", "iommu.sock", "nvme0.sock"], os.listdir(d.dir))
        check(d.end() == 0, f"exit status {d.process.returncode}")
        check(d.out == "" and d.err == "", (d.out, d.err))
        check(not os.path.exists(d.dir), "the folder that it made is left")


@case
def viommud_ends_clean_on_interrupt():
    with daemon("--registers", "trap") as d:
        check(d.end(signal.SIGINT) == 0, f"exit status {d.process.returncode}")


@case
def viommud_leaves_nothing_when_the_terminal_goes():
    for how in (signal.SIGHUP, signal.SIGQUIT):
        with daemon() as d:
            check(d.end(how) == 0, f"exit status {d.process.returncode}")
            check(not os.path.exists(d.dir), "the folder that it made is left")


@case
def viommud_outlives_the_terminal_with_nohup():
    with ignored(signal.SIGHUP, signal.SIGQUIT), daemon() as d:
        d.process.send_signal(signal.SIGHUP)
        d.process.send_signal(signal.SIGQUIT)
        still_serves(d)
        time.sleep(0.1)
        still_serves(d)
        check(d.end() == 0, "exit status")


@case
def viommud_shutdown_command():
    with daemon() as d:
        check(d.ask({"command": "shutdown"}) == {"ok": True}, "no reply")
        check(d.process.wait(DEADLINE) == 0, "exit status")


@case
def viommud_keeps_a_folder_it_did_not_make():
    with tempfile.TemporaryDirectory() as folder:
        os.mkdir(os.path.join(folder, "run"), 0o700)
        d = Daemon(folder)
        check(d.end() == 0 and os.listdir(d.dir) == [], "sockets are left, or the folder is gone")


@case
def viommud_follows_no_link_of_another_user():
    """It would put its sockets wherever the other one likes."""
    if os.geteuid():
        return  # nobody else's link can be made
    with tempfile.TemporaryDirectory() as base:
        disk, link = os.path.join(base, "disk"), os.path.join(base, "link")
        with open(disk, "wb") as f:
            f.truncate(1 << 20)
        os.mkdir(os.path.join(base, "run"), 0o700)
        for path in (link, link + "/", link + "/.", "/proc/self/root" + link, os.path.join(link, "new")):
            os.symlink("run", link)
            os.lchown(link, 65534, 65534)
            refused(run(VIOMMUD, "--dir", path, "--nvme", disk), path, "symbolic link of another user")
            os.unlink(link)
        check(os.listdir(os.path.join(base, "run")) == [], "something was put there")
        for to in ("run", "./run/../run/", os.path.join(base, "run")):
            os.symlink(to, link)
            with started(VIOMMUD, "--dir", link, "--nvme", disk) as p:
                line = p.stdout.readline()
                check(line == f"viommud: ready {base}/run\n", line + (line or p.stderr.read()))
            os.unlink(link)
        os.symlink("link", link)
        refused(run(VIOMMUD, "--dir", link, "--nvme", disk), link, "symbolic links")


def folders_on_the_way(base):
    """Path below it, and how to make it unsafe; what the refusal says then."""
    middle = os.path.join(base, "middle")
    nobody = 65534
    yield lambda: os.chown(middle, nobody, -1), "belongs to another user"
    yield lambda: (os.chown(middle, nobody, -1), os.chmod(middle, 0o1777)), "belongs to another user"
    yield lambda: os.chmod(middle, 0o777), "others may write"
    yield lambda: os.chmod(middle, 0o775), "others may write"


@case
def viommud_uses_no_folder_that_others_can_exchange():
    """Who may write to a folder on the way puts his own in place of ours."""
    if os.geteuid():
        return  # no folder can be another's
    with tempfile.TemporaryDirectory() as base:
        disk, middle = os.path.join(base, "disk"), os.path.join(base, "middle")
        with open(disk, "wb") as f:
            f.truncate(1 << 20)
        run_dir = os.path.join(middle, "ours", "run")
        os.makedirs(run_dir)
        os.chmod(run_dir, 0o700)
        os.symlink(run_dir, os.path.join(base, "link"))
        paths = (run_dir, os.path.join(middle, "ours", "new"), os.path.join(middle, "new"), os.path.join(base, "link"),
                 os.path.join(middle, "..", "new"))
        for make_unsafe, words in folders_on_the_way(base):
            make_unsafe()
            for path in paths:
                refused(run(VIOMMUD, "--dir", path, "--nvme", disk), path, middle, words)
            refused(run("env", "-C", os.path.dirname(run_dir), VIOMMUD, "--dir", "run", "--nvme", disk), middle, words)
            with started("env", "XDG_RUNTIME_DIR=" + middle, VIOMMUD, "--nvme", disk) as p:
                line = p.stdout.readline()
                check(line.startswith("viommud: ready /tmp/viommud-"), line or p.stderr.read())
            check(os.listdir(run_dir) == [] and os.listdir(middle) == ["ours"], "something was put there")
            os.chown(middle, 0, -1)
            os.chmod(middle, 0o755)
        os.chmod(middle, 0o1777)
        for path in (*paths[:2], paths[3]):
            with started(VIOMMUD, "--dir", path, "--nvme", disk) as p:
                line = p.stdout.readline()
                check(line == f"viommud: ready {os.path.realpath(path)}\n", line or p.stderr.read())


@case
def viommud_makes_a_folder():
    with tempfile.TemporaryDirectory() as base:
        disk = os.path.join(base, "disk,with,commas")
        with open(disk, "wb") as f:
            f.truncate(1 << 20)
        p = subprocess.Popen([VIOMMUD, "--nvme", disk.replace(",", ",,")], stdout=subprocess.PIPE, text=True,
                             env=dict(os.environ, XDG_RUNTIME_DIR=base))
        line = p.stdout.readline()
        check(line.startswith(f"viommud: ready {base}/"), line)
        check(os.path.exists(line.split()[-1] + "/nvme0.sock"), "no socket")
        p.terminate()
        check(p.wait(DEADLINE) == 0 and os.listdir(base) == ["disk,with,commas"], os.listdir(base))
        p.stdout.close()


@case
def viommud_replaces_stale_sockets():
    with daemon() as d:
        d.end(signal.SIGKILL)
        check(len(os.listdir(d.dir)) == 3, "a killed daemon leaves its sockets")
        again = Daemon(os.path.dirname(d.dir))
        check(again.line == d.line, again.line)
        still_serves(again)
        check(again.end() == 0, "exit status")


@case
def viommud_refuses_a_second_one():
    with daemon() as d:
        disk = os.path.join(os.path.dirname(d.dir), "disk")
        refused(run(VIOMMUD, "--dir", d.dir, "--nvme", disk), "another viommud", "--dir")
        still_serves(d)


@case
def viommud_refuses_a_disk_in_use():
    with daemon() as d:
        disk = os.path.join(os.path.dirname(d.dir), "disk")
        for options in ("", ",readonly=on"):
            refused(run(VIOMMUD, "--nvme", disk + options), disk, "another", "take another file", status=1)
        still_serves(d)


@case
def viommud_refuses_what_is_no_socket():
    with tempfile.TemporaryDirectory() as folder:
        os.mkdir(os.path.join(folder, "run"), 0o700)
        with open(os.path.join(folder, "run", "control.sock"), "w", encoding="ascii") as f:
            f.write("precious")
        d = Daemon(folder)
        check(d.end() == 1 and "control.sock" in d.err and d.err.count("\n") == 1, d.err)
        check(os.listdir(d.dir) == ["control.sock"], "it was removed")


@case
def viommud_none_has_no_iommu_socket():
    with daemon("--iommu", "none") as d:
        check(sorted(os.listdir(d.dir)) == ["control.sock", "nvme0.sock"], os.listdir(d.dir))
        status = d.ask({"command": "status"})
        check(status["iommu"] == "none" and len(status["functions"]) == 1, status)
        check("error" in d.ask({"command": "expect", "base": 0xfebe0000}), "expect without IOMMU")


@case
def viommud_idle_costs_little():
    """A daemon without a client sleeps without end."""
    with daemon() as d:
        time.sleep(0.3)
        before = cpu_ticks(d.process.pid)
        time.sleep(1)
        used = (cpu_ticks(d.process.pid) - before) / os.sysconf("SC_CLK_TCK")
        check(used < 0.1, f"{used} s of CPU in a second")


def cpu_ticks(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii") as f:
        fields = f.read().rsplit(")", 1)[1].split()
    return int(fields[11]) + int(fields[12])


# ------------------------------------------------------------ control protocol


@case
def control_status():
    with daemon("--registers", "trap", "--iommu", "vtd,addr=8.0,aw=39", "--expect", "0xfebe0000") as d:
        status = d.ask({"command": "status"})
        check(status["pid"] == d.process.pid and status["directory"] == d.dir, status)
        check((status["iommu"], status["registers"]) == ("vtd", "trap"), status)
        check(status["expected_base"] == 0xfebe0000 and status["base_mismatch"] is False, status)
        iommu, nvme = status["functions"]
        check((iommu["kind"], iommu["address"], iommu["connected"]) == ("iommu", "8.0", False), iommu)
        check((nvme["name"], nvme["address"], nvme["memory_decode"]) == ("nvme0", "11.0", False), nvme)


def described():
    """{name: (unit, where, doc)} by the table that the daemon is built with."""
    result = run(VIOMMU, "counters", "--describe")
    check(result.stdout == run(VIOMMUD, "--describe-counters").stdout, "viommu and viommud differ")
    check(result.returncode == 0 and not result.stderr, result)
    rows = [line.split("\t") for line in result.stdout.splitlines()]
    check(len(rows) > 30 and all(len(row) == 4 and all(row) for row in rows), rows)
    table = {name: (unit, where.split(","), doc) for name, unit, where, doc in rows}
    check(len(table) == len(rows), "a name is there twice")
    return table


@case
def control_counters_are_those_of_the_table():
    table = described()
    with daemon() as d:
        counters = d.ask({"command": "counters"})["counters"]
        check({n: (c["unit"], c["doc"]) for n, c in counters.items()} ==
              {n: (unit, doc) for n, (unit, _, doc) in table.items()}, counters)


@case
def control_stat():
    table = described()
    with daemon() as d:
        stat = d.ask({"command": "stat"})
        check({t["name"]: (t["unit"], t["doc"]) for t in stat["tables"]} ==
              {n: (unit, doc) for n, (unit, _, doc) in table.items()}, stat["tables"])
        here = {"iommu": stat["counters"], "vm": stat["counters"], "sidecore": stat["sidecore"],
                "device": stat["devices"][0]["counters"], "domain": stat["no_domain"]}
        for name, (_, where, _) in table.items():
            for place in set(where) - {"maximum"}:
                check(isinstance(here[place].pop(name), int), (name, place))
        check(not here["device"] and not here["domain"] and list(here["sidecore"]) == ["busy_share"], here)
        check(not here["iommu"], here)
        check(stat["devices"][0]["device"] == "nvme0" and stat["devices"][0]["translation"] == "off", stat)
        check(stat["domains"] == [] and stat["last_faults"] == [] and stat["faults_by_reason"] == [], stat)
        check(sum(b["count"] for b in stat["drains"]["buckets"]) == 0 and stat["drains"]["p99_ns"] == 0, stat)
    with daemon("--iommu", "none") as d:
        check(d.ask({"command": "stat"})["iommu"] == "none", "no stat without an IOMMU")


@case
def control_reach():
    with daemon() as d:
        reply = d.ask({"command": "reach", "device": "nvme0"})
        check(reply["pages"] == 0 and reply["memory_pages"] == 0 and reply["ranges"] == [], reply)
        check("error" in d.ask({"command": "reach"}), "no device given")
        check("error" in d.ask({"command": "reach", "device": "nvme7"}), "no such device")
        check("error" in d.ask({"command": "reach", "device": 0}), "not a name")


@case
def control_dump():
    with daemon() as d:
        reply = d.ask({"command": "dump", "device": "nvme0"})
        check(reply["ranges"] == [] and reply["blocked"] is False, reply)
        check(reply["tables"] == {"translation": "off", "cached": False, "faults_silent": False}, reply)
        check("error" in d.ask({"command": "dump"}), "no device given")
        check("error" in d.ask({"command": "dump", "device": "nvme7"}), "no such device")


@case
def control_expect():
    with daemon() as d:
        for base in (None, 0, 1, -4096, "0x1000", 4096.5):
            check("error" in d.ask({"command": "expect", "base": base}), base)
        check(d.ask({"command": "expect", "base": 0xfebe0000}) == {"ok": True}, "refused")
        check(d.ask({"command": "status"})["expected_base"] == 0xfebe0000, "not remembered")


GARBAGE = {
    "no_json": b"hello\n",
    "empty_line": b"\n",
    "zeros": b"\0" * 100 + b"\n",
    "no_object": b"[1, 2]\n",
    "null": b"null\n",
    "number": b"7\n",
    "two_objects": b'{"command": "status"} {}\n',
    "unfinished": b'{"command": "status"\n',
    "deep": b'{"a":' * 50 + b"1" + b"}" * 50 + b"\n",
    "no_utf8": b'{"command": "\xff\xfe"}\n',
    "no_command": b"{}\n",
    "command_of_another_type": b'{"command": 7}\n',
    "unknown_command": b'{"command": "explode"}\n',
    "long_command": b'{"command": "' + b"x" * 8000 + b'"}\n',
    "endless_line": b"x" * 8192,
}


def add_garbage(name, text):
    def test():
        with daemon() as d:
            check(set(d.ask(text)) == {"error"}, "no error reply")
            still_serves(d)
    cases.append(("control_garbage_" + name, test))


for garbage_name, garbage_text in GARBAGE.items():
    add_garbage(garbage_name, garbage_text)


@case
def control_many_requests_on_one_connection():
    with daemon() as d, d.connect() as s:
        s.sendall(b'{"command": "status"}\n{"command": "nothing"}\n{"command": "status"}\n')
        text = b""
        while text.count(b"\n") < 3:
            piece = s.recv(65536)
            check(piece, "ended")
            text += piece
        replies = [json.loads(line) for line in text.splitlines()]
        check(["ok" in r for r in replies] == [True, False, True], replies)


@case
def control_byte_by_byte():
    with daemon() as d, d.connect() as s:
        for byte in b'{"command": "status"}\n':
            s.send(bytes([byte]))
        check(json.loads(read_line(s))["ok"], "no reply")


@case
def control_answers_after_half_close():
    with daemon() as d, d.connect() as s:
        s.sendall(b'{"command": "status"}\n')
        s.shutdown(socket.SHUT_WR)
        check(json.loads(read_line(s))["ok"], "no reply")
        check(s.recv(1) == b"", "the connection stays open")


@case
def control_client_that_reads_nothing():
    """Its replies fill the socket; then it is not read from, and others are served."""
    with daemon() as d, d.connect() as s:
        s.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            for _ in range(100000):
                s.send(b'{"command": "counters"}\n')
        still_serves(d)
        s.close()
        still_serves(d)


@case
def control_clients_that_vanish():
    with daemon() as d:
        for text in (b"", b"{", b'{"command": "status"}', b'{"command": "status"}\n'):
            s = d.connect()
            s.sendall(text)
            s.close()
        still_serves(d)


@case
def control_more_clients_than_places():
    with daemon() as d:
        hogs = [d.connect() for _ in range(30)]
        still_serves(d)
        for s in hogs:
            s.close()
        check(d.end() == 0, "exit status")


@case
def control_without_a_descriptor_left():
    """Callers are turned away, and the daemon is not busy with one that it cannot let in."""
    with daemon() as d:
        limits = resource.prlimit(d.process.pid, resource.RLIMIT_NOFILE)
        open_now = len(os.listdir(f"/proc/{d.process.pid}/fd"))
        resource.prlimit(d.process.pid, resource.RLIMIT_NOFILE, (open_now, limits[1]))
        callers = [d.connect() for _ in range(3)]
        before = cpu_ticks(d.process.pid)
        time.sleep(0.5)
        used = (cpu_ticks(d.process.pid) - before) / os.sysconf("SC_CLK_TCK")
        check(used < 0.1, f"{used} s of CPU in half a second")
        check(all(s.recv(1) == b"" for s in callers), "not turned away")
        resource.prlimit(d.process.pid, resource.RLIMIT_NOFILE, limits)
        still_serves(d)
        for s in callers:
            s.close()


# ------------------------------------------------------------------ viommu: usage


VIOMMU_BAD = {
    "nothing": ([], "--help"),
    "command": (["explode"], "explode", "--help"),
    "command_with_help": (["explode", "--help"], "explode", "--help"),
    "option_as_command": (["--foo"], "--foo"),
    "help_of_nothing": (["help", "explode"], "explode", "--help"),
    "help_of_two": (["help", "run", "status"], "status"),
    "status_without_dir": (["status"], "--dir"),
    "status_dir_without_value": (["status", "--dir"], "--dir"),
    "status_option": (["status", "--foo"], "--foo"),
    "status_operand": (["status", "--dir", "/tmp", "x"], "x"),
    "reach_without_device": (["reach", "--dir", "/tmp"], "device"),
    "reach_two_devices": (["reach", "--dir", "/tmp", "nvme0", "nvme1"], "nvme1"),
    "dump_without_device": (["dump", "--dir", "/tmp"], "device"),
    "counters_without_dir": (["counters", "--json"], "--dir"),
}


def add_viommu_bad(name, arguments, words):
    cases.append(("viommu_bad_" + name, lambda: refused(run(VIOMMU, *arguments), *words)))


for viommu_name, (viommu_arguments, *viommu_words) in VIOMMU_BAD.items():
    add_viommu_bad(viommu_name, viommu_arguments, viommu_words)


@case
def viommu_help():
    result = run(VIOMMU, "--help")
    check(result.returncode == 0 and not result.stderr, "help fails")
    check(run(VIOMMU, "help").stdout == result.stdout, "help and --help differ")
    commands = re.findall(r"^  ([a-z]+)  ", result.stdout, re.M)
    check({"run", "status", "reach", "dump", "counters", "help"} <= set(commands), f"only {commands} are listed")
    for command in commands:
        more = run(VIOMMU, command, "--help")
        check(more.returncode == 0 and more.stdout.startswith(f"usage: viommu {command}"), more)
        check(run(VIOMMU, "help", command).stdout == more.stdout, f"help {command} and {command} --help differ")
        if command != "bench":  # its operands have a help of their own
            check(run(VIOMMU, command, "x", "--help").stdout == more.stdout, f"{command} x --help is something else")
        check(run(VIOMMU, command, "--version").stdout.startswith("viommu "), f"{command} --version")


@case
def viommu_version():
    result = run(VIOMMU, "--version")
    check(result.returncode == 0 and result.stdout.startswith("viommu "), result.stdout)


@case
def viommu_no_daemon_there():
    with tempfile.TemporaryDirectory() as folder:
        for command in (["status"], ["reach", "nvme0"], ["dump", "nvme0"], ["counters"]):
            refused(run(VIOMMU, *command, "--dir", folder), "no viommud", status=1)


@case
def viommu_asks_a_daemon():
    with daemon() as d:
        status = run(VIOMMU, "status", "--dir", d.dir)
        check(status.returncode == 0 and "Intel VT-d" in status.stdout and "nvme0 at 00:11.0" in status.stdout, status)
        reach = run(VIOMMU, "reach", "--dir", d.dir, "nvme0")
        check(reach.returncode == 0 and reach.stdout.startswith("nvme0 can reach"), reach)
        dump = run(VIOMMU, "dump", "--dir", d.dir, "nvme0")
        check(dump.returncode == 0 and "nvme0: translation is off" in dump.stdout, dump)
        check("nvme0 can reach 0 of 0 pages" in dump.stdout, dump)
        counters = run(VIOMMU, "counters", "--dir", d.dir)
        check(counters.returncode == 0 and counters.stdout, counters)
        for command in (["status"], ["reach", "nvme0"], ["dump", "nvme0"], ["counters"]):
            check(json.loads(run(VIOMMU, *command, "--json", "--dir", d.dir).stdout)["ok"], command)
        refused(run(VIOMMU, "reach", "--dir", d.dir, "nvme9"), "nvme9", status=1)
        for command in ("reach", "dump"):
            reply = json.loads(run(VIOMMU, command, "iommu", "--json", "--dir", d.dir).stdout)
            check(reply["ok"] and [one["device"] for one in reply["devices"]] == ["nvme0"], reply)


if __name__ == "__main__":
    sys.exit(main())
