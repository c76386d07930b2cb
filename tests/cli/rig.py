# SPDX-License-Identifier: BSD-3-Clause
"""What the tests of the programs share: cases, running a program, a daemon and its control socket."""
import contextlib
import json
import os
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


@contextlib.contextmanager
def ignored(*signals):
    """What is started meanwhile ignores them."""
    before = [signal.signal(sig, signal.SIG_IGN) for sig in signals]
    try:
        yield
    finally:
        for sig, how in zip(signals, before):
            signal.signal(sig, how)


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


def until(condition, what, deadline=DEADLINE):
    end = time.monotonic() + deadline
    while not condition():
        check(time.monotonic() < end, f"{what}: not within {deadline} s")
        time.sleep(0.02)


def runs(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii") as f:
            return f.read().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def main():
    for sig in (signal.SIGHUP, signal.SIGQUIT):
        signal.signal(sig, signal.SIG_DFL)  # whatever we were started by
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
