#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""How viommud and viommu behave towards their users, and towards peers that misbehave on the control socket.

usage: test_usage.py VIOMMUD VIOMMU [WORD]    WORD: only the cases whose name has it
"""
import contextlib
import json
import os
import resource
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time

VIOMMUD, VIOMMU = (os.path.abspath(p) for p in sys.argv[1:3])
DEADLINE = 20  # seconds, for whatever must happen
cases = []


def case(function):
    cases.append((function.__name__, function))
    return function


def check(condition, what):
    if not condition:
        raise AssertionError(what)


def run(*command):
    """Run to the end. PATH leads to viommud, as after an installation."""
    env = dict(os.environ, PATH=os.path.dirname(VIOMMUD) + ":" + os.environ["PATH"])
    return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=DEADLINE,
                          env=env, check=False)


def refused(result, *words, status=2):
    """A bad request: one line, which has the words, and the status."""
    check(result.returncode == status, f"exit status {result.returncode}, not {status}: {result.stderr!r}")
    check(result.stdout == "", f"something on stdout: {result.stdout!r}")
    check(result.stderr.count("\n") == 1 and result.stderr.endswith("\n"), f"not one line: {result.stderr!r}")
    for word in words:
        check(word in result.stderr, f"{word!r} is not in {result.stderr!r}")


# ------------------------------------------------------------------- a daemon


class Daemon:
    def __init__(self, folder, *options, nvme=True):
        self.dir = os.path.join(folder, "run")
        disk = os.path.join(folder, "disk")
        if not os.path.exists(disk):
            with open(disk, "wb") as f:
                f.truncate(1 << 20)
        command = [VIOMMUD, "--dir", self.dir, *(["--nvme", disk] if nvme else []), *options]
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE, text=True)
        check(select.select([self.process.stdout], [], [], DEADLINE)[0], "not ready in time")
        self.line = self.process.stdout.readline()

    def connect(self):
        s = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        s.settimeout(DEADLINE)
        s.connect(os.path.join(self.dir, "control.sock"))
        return s

    def ask(self, request, s=None):
        """Send bytes, or an object as a line; return the reply."""
        with contextlib.ExitStack() as stack:
            s = s or stack.enter_context(self.connect())
            s.sendall(request if isinstance(request, bytes) else json.dumps(request).encode() + b"\n")
            return json.loads(read_line(s))

    def end(self, how=signal.SIGTERM):
        if self.process.poll() is None:
            self.process.send_signal(how)
        self.out, self.err = self.process.communicate(timeout=DEADLINE)
        return self.process.returncode


def read_line(s):
    line = b""
    while not line.endswith(b"\n"):
        piece = s.recv(65536)
        check(piece, f"the connection ended after {line[:200]!r}")
        line += piece
    return line


@contextlib.contextmanager
def daemon(*options, **more):
    with tempfile.TemporaryDirectory(prefix="viommu-test-") as folder:
        d = Daemon(folder, *options, **more)
        try:
            yield d
        finally:
            if d.process.poll() is None:
                d.process.kill()
                d.process.communicate()


def still_serves(d):
    check(d.ask({"command": "status"}).get("ok") is True, "status is not ok")


# --------------------------------------------------------- viommud: bad usage


BAD_OPTIONS = {
    "no_device": ([], "--nvme"),
    "unknown_option": (["--foo"], "--foo", "--help"),
    "short_option": (["-x"], "-x", "--help"),
    "operand": (["--nvme", "DISK", "extra"], "extra"),
    "missing_value": (["--nvme"], "--nvme", "value"),
    "flag_with_value": (["--verbose=1", "--nvme", "DISK"], "--verbose"),
    "empty_dir": (["--dir", "", "--nvme", "DISK"], "--dir", "folder"),
    "long_dir": (["--dir", "/tmp/" + "x" * 100, "--nvme", "DISK"], "too long"),
    "dir_in_nothing": (["--dir", "/nonexistent/a", "--nvme", "DISK"], "/nonexistent/a"),
    "dir_is_a_file": (["--dir", "DISK", "--nvme", "DISK"], "DISK"),
    "dir_of_all": (["--dir", "/tmp", "--nvme", "DISK"], "own"),
    "iommu_kind": (["--iommu", "amd", "--nvme", "DISK"], "amd", "vtd or none"),
    "iommu_key": (["--iommu", "vtd,foo=1", "--nvme", "DISK"], "foo"),
    "iommu_none_with_key": (["--iommu", "none,aw=39", "--nvme", "DISK"], "vtd or none"),
    "iommu_switch": (["--iommu", "vtd,caching-mode=maybe", "--nvme", "DISK"], "on or off"),
    "iommu_width": (["--iommu", "vtd,aw=57", "--nvme", "DISK"], "39 or 48"),
    "registers": (["--registers", "both", "--nvme", "DISK"], "sidecore or trap"),
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
    for option in ("dir", "iommu", "registers", "nvme", "idle-us", "cpu", "expect", "verbose", "version", "help"):
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


@case
def control_counters():
    with daemon() as d:
        counters = d.ask({"command": "counters"})["counters"]
        check(counters and all({"value", "unit", "doc"} <= set(c) for c in counters.values()), counters)


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
    "option_as_command": (["--foo"], "--foo"),
    "status_without_dir": (["status"], "--dir"),
    "status_dir_without_value": (["status", "--dir"], "--dir"),
    "status_option": (["status", "--foo"], "--foo"),
    "status_operand": (["status", "--dir", "/tmp", "x"], "x"),
    "reach_without_device": (["reach", "--dir", "/tmp"], "device"),
    "reach_two_devices": (["reach", "--dir", "/tmp", "nvme0", "nvme1"], "nvme1"),
    "dump_without_device": (["dump", "--dir", "/tmp"], "device"),
    "counters_without_dir": (["counters", "--json"], "--dir"),
    "run_nothing": (["run"], "--"),
    "run_without_dashes": (["run", "--nvme", "x", "qemu-system-x86_64"], "--"),
    "run_without_qemu": (["run", "--nvme", "x", "--"], "QEMU"),
    "run_print_without_dir": (["run", "--print", "--nvme", "x", "--", "q"], "--dir"),
    "run_no_such_qemu": (["run", "--nvme", "x", "--", "/nonexistent/qemu"], "/nonexistent/qemu"),
    "run_qemu_too_old": (["run", "--nvme", "x", "--", "true"], "10.1", "fetch-qemu"),
    "run_machine": (["run", "--nvme", "x", "--", "q", "-M", "pc"], "q35"),
    "run_machine_type": (["run", "--nvme", "x", "--", "q", "-machine", "accel=tcg,type=microvm"], "q35"),
    "run_memory_private": (["run", "--nvme", "x", "--", "q", "-M", "q35,memory-backend=m", "-object",
                            "memory-backend-ram,id=m,size=1G"], "share=on"),
    "run_memory_private_json": (["run", "--nvme", "x", "--", "q", "-M", "q35,memory-backend=m", "-object",
                                 '{"qom-type":"memory-backend-file","id":"m","size":1}'], "share=on"),
    "run_memory_unshared": (["run", "--nvme", "x", "--", "q", "-M", "q35,memory-backend=m", "-object",
                             "memory-backend-memfd,id=m,size=1G,share=off"], "share=on"),
    "run_numa_private": (["run", "--nvme", "x", "--", "q", "-object", "memory-backend-ram,id=m,size=1G", "-numa",
                          "node,memdev=m"], "share=on"),
    "run_daemonize": (["run", "--nvme", "x", "--", "q", "-daemonize"], "-daemonize"),
    "run_mem_path": (["run", "--nvme", "x", "--", "q", "-mem-path", "/dev/shm"], "memory-backend-file"),
}


def add_viommu_bad(name, arguments, words):
    cases.append(("viommu_bad_" + name, lambda: refused(run(VIOMMU, *arguments), *words)))


for viommu_name, (viommu_arguments, *viommu_words) in VIOMMU_BAD.items():
    add_viommu_bad(viommu_name, viommu_arguments, viommu_words)


@case
def viommu_help():
    result = run(VIOMMU, "--help")
    check(result.returncode == 0 and not result.stderr, "help fails")
    for command in ("run", "status", "reach", "dump", "counters"):
        check(command in result.stdout, f"{command} is not listed")
        more = run(VIOMMU, command, "--help")
        check(more.returncode == 0 and more.stdout.startswith(f"usage: viommu {command}"), more)


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


FAKE_QEMU = """#!/bin/sh
case "$*" in
"-device help") echo 'name "vfio-user-pci", bus PCI' ;;
*-snapshot*) echo "qemu: no such luck" >&2; exit 1 ;;
*) for a; do printf '%s\\n' "$a"; done; exit 7 ;;
esac
"""


# A script around QEMU, which stays in the firmware pass until it is killed.
WRAPPED_QEMU = """#!/bin/sh
case "$*" in
"-device help") echo 'name "vfio-user-pci", bus PCI' ;;
*) sleep 60 & echo $! > "$0.pid"; wait ;;
esac
"""


@contextlib.contextmanager
def fake_qemu(script=FAKE_QEMU):
    with tempfile.TemporaryDirectory() as folder:
        path, disk = os.path.join(folder, "qemu"), os.path.join(folder, "disk")
        with open(path, "w", encoding="ascii") as f:
            f.write(script)
        os.chmod(path, 0o755)
        with open(disk, "wb") as f:
            f.truncate(1 << 20)
        yield path, disk


@contextlib.contextmanager
def started(*command):
    """A program that runs on, in a process group of its own; killed at the end if it is still there."""
    env = dict(os.environ, PATH=os.path.dirname(VIOMMUD) + ":" + os.environ["PATH"])
    p = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                         env=env, start_new_session=True)
    try:
        yield p
    finally:
        if p.poll() is None:
            p.kill()
        p.communicate(timeout=DEADLINE)


def until(condition, what):
    end = time.monotonic() + DEADLINE
    while not condition():
        check(time.monotonic() < end, f"{what}: not within {DEADLINE} s")
        time.sleep(0.02)


def read_pid(path):
    """What a script has written there, which may take until now."""
    until(lambda: os.path.exists(path) and os.path.getsize(path), path)
    with open(path, encoding="ascii") as f:
        pid = int(f.read())
    os.remove(path)
    return pid


@contextlib.contextmanager
def ended_at_last(pid):
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def runs(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii") as f:
            return f.read().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


@case
def viommu_run_is_interrupted_while_viommud_starts():
    """A viommud that is never ready, beside a viommu."""
    with fake_qemu() as (qemu, disk):
        folder = os.path.dirname(qemu)
        os.symlink(VIOMMU, os.path.join(folder, "viommu"))
        with open(os.path.join(folder, "viommud"), "w", encoding="ascii") as f:
            f.write('#!/bin/sh\necho $$ > "$0.pid"\nexec sleep 60\n')
        os.chmod(f.name, 0o755)
        for sig in (signal.SIGINT, signal.SIGTERM):
            with started(os.path.join(folder, "viommu"), "run", "--nvme", disk, "--", qemu) as p:
                viommud = read_pid(f.name + ".pid")
                with ended_at_last(viommud):
                    p.send_signal(sig)
                    check(p.wait(5) == 128 + sig, f"exit status {p.returncode}")
                    check(not runs(viommud), "viommud goes on")


@contextlib.contextmanager
def in_the_firmware_pass():
    """viommu, its folder, and the pid of the QEMU that a script around it has started."""
    with fake_qemu(WRAPPED_QEMU) as (qemu, disk):
        folder = os.path.join(os.path.dirname(qemu), "run")
        with started(VIOMMU, "run", "--dir", folder, "--nvme", disk, "--", qemu) as p:
            pid = read_pid(qemu + ".pid")
            with ended_at_last(pid):
                yield p, folder, pid


@case
def viommu_run_ends_qemu_behind_a_script():
    with in_the_firmware_pass() as (p, folder, qemu):
        p.terminate()
        check(p.wait(DEADLINE) == 128 + signal.SIGTERM, f"exit status {p.returncode}")
        until(lambda: not runs(qemu), "QEMU ends")
        check(not os.path.exists(folder), "the folder is left")


@case
def viommu_run_notices_that_viommud_ends_in_the_firmware_pass():
    with in_the_firmware_pass() as (p, folder, qemu):
        with open(f"/proc/{p.pid}/task/{p.pid}/children", encoding="ascii") as f:
            children = [int(pid) for pid in f.read().split()]
        for pid in children:
            with open(f"/proc/{pid}/comm", encoding="ascii") as f:
                if f.read() == "viommud\n":
                    os.kill(pid, signal.SIGKILL)
        check(p.wait(5) == 1, f"exit status {p.returncode}")
        check("viommud has ended" in p.stderr.read().splitlines()[-1], "not said")
        until(lambda: not runs(qemu), "QEMU ends")


@case
def viommu_run_passes_on_what_viommud_refuses():
    with fake_qemu() as (qemu, disk):
        refused(run(VIOMMU, "run", "--nvme", disk, "--registers", "both", "--", qemu), "viommud: --registers")
        refused(run(VIOMMU, "run", "--", qemu), "viommud:", "--nvme")


@case
def viommu_run_tells_what_qemu_said():
    with fake_qemu() as (qemu, disk):
        result = run(VIOMMU, "run", "--nvme", disk, "--", qemu)
        check(result.returncode == 1 and "no such luck" in result.stderr.splitlines()[-1], result)


JSON_OF_OTHER_TYPES = (
    '{"qom-type":null}', '{"qom-type":"memory-backend-ram","id":null}', '{"qom-type":7,"id":[]}', '{"qom-type":{}}',
    '{"qom-type":"memory-backend-ram","id":"x","share":null}', "{", "{}", "{]", '{"driver":null}', '{"driver":[{}]}',
)


@case
def viommu_run_leaves_odd_json_to_qemu():
    with fake_qemu() as (qemu, disk):
        for option in ("-object", "-device"):
            for text in JSON_OF_OTHER_TYPES:
                result = run(VIOMMU, "run", "--iommu", "none", "--nvme", disk, "--", qemu, option, text)
                check(result.returncode == 7 and result.stdout.startswith(f"{option}\n{text}\n"), (text, result))


@case
def viommu_run_refuses_a_second_iommu():
    with fake_qemu() as (qemu, disk):
        for device in ("intel-iommu,caching-mode=on", "driver=virtio-iommu-pci", "virtio-iommu,addr=3", "amd-iommu",
                       '{"driver":"intel-iommu"}', '{"id":"x","driver":"virtio-iommu-pci"}'):
            own = ["--nvme", disk, "--", qemu, "-device", device]
            refused(run(VIOMMU, "run", *own), "-device", "--iommu none", "drop")
            result = run(VIOMMU, "run", "--iommu", "none", *own)
            check(result.returncode == 7, result)


@case
def viommu_run_completes_the_command_line():
    with fake_qemu() as (qemu, disk):
        start = [VIOMMU, "run", "--iommu", "none", "--nvme", disk, "--", qemu]
        result = run(*start, "-m", "512", "-foo", "bar")
        lines = result.stdout.splitlines()
        check(result.returncode == 7, f"not QEMU's exit status: {result}")
        check(lines[:4] == ["-m", "512", "-foo", "bar"], lines)
        check("memory-backend-memfd,id=viommu-ram,size=512M,share=on" in lines, lines)
        check("q35,memory-backend=viommu-ram" in lines, lines)
        device = json.loads(lines[-1])
        check((device["driver"], device["bus"], device["addr"]) == ("vfio-user-pci", "pcie.0", "11.0"), device)
        check(not os.path.exists(os.path.dirname(device["socket"]["path"])), "the folder is left")
        lines = run(*start, "-M", "q35,accel=tcg", "-m", "size=1G,slots=2").stdout.splitlines()
        check("memory-backend-memfd,id=viommu-ram,size=1G,share=on" in lines, lines)
        check("memory-backend=viommu-ram" in lines, lines)
        own = ["-M", "q35,memory-backend=m", "-object", "memory-backend-ram,id=m,size=1G,share=on"]
        lines = run(*start, *own).stdout.splitlines()
        check(lines[:4] == own and lines[4] == "-device" and len(lines) == 6, lines)


def main():
    word = sys.argv[3] if len(sys.argv) > 3 else ""
    passed = failed = 0
    for name, function in cases:
        if word not in name:
            continue
        try:
            function()
        except Exception as error:  # pylint: disable=broad-except
            failed += 1
            print(f"FAIL {name}: {type(error).__name__}: {error}")
        else:
            passed += 1
            print(f"ok {name}")
        sys.stdout.flush()
    print(f"{passed} passed, {failed} failed")
    return failed != 0


if __name__ == "__main__":
    sys.exit(main())
