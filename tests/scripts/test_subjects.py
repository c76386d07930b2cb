#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""scripts/check-subjects on repositories that are made for it.

usage: test_subjects.py CHECK-SUBJECTS
"""
import os
import shutil
import subprocess
import sys
import tempfile

CHECK = os.path.abspath(sys.argv[1])
QUIET = {**os.environ, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1", "GIT_AUTHOR_NAME": "a",
         "GIT_AUTHOR_EMAIL": "a@b", "GIT_COMMITTER_NAME": "a", "GIT_COMMITTER_EMAIL": "a@b"}

GOOD = ["core: look a message up inside a section", "lib/vtd, docs: embed the table", "README: need less",
        "run: stop\n\nSince it runs.\n\nFixes: 0123456789ab"]
BAD = {
    "say what it is": "'area: imperative'",
    "core: " + "very-" * 14 + "long": "at most 72",
    "core: fixed the queue": "'fixed' is no imperative",
    "core: adding the queue": "'adding'",
    "core: the queue": "'the'",
    "core: stop the queue; start it": "two things",
    "core: stop the queue.": "full stop",
    "core: stop the queue\nand go": "blank",
    "core: stop the queue\n\nFixes: the queue": "names no commit",
}


def check(condition, what):
    if not condition:
        raise AssertionError(what)


def git(folder, *arguments):
    subprocess.run(["git", "-C", folder, *arguments], env=QUIET, check=True, stdout=subprocess.DEVNULL,
                   stderr=subprocess.DEVNULL)


def commit(folder, message):
    git(folder, "commit", "--allow-empty", "-m", message)


def begin(folder):
    """A history that is older than the rule, and the rule."""
    os.makedirs(os.path.join(folder, "scripts"))
    git(folder, "init", "-q")
    commit(folder, "Anything goes here.")
    shutil.copy(CHECK, os.path.join(folder, "scripts", "check-subjects"))
    git(folder, "add", ".")
    commit(folder, "The rule begins.")


def run(folder, *arguments, path=None):
    return subprocess.run([sys.executable, CHECK, *arguments, folder], capture_output=True, text=True, check=False,
                          env={**QUIET, **({"PATH": path} if path else {})})


def looks_at_new_ones(folder):
    begin(folder)
    for message in GOOD:
        commit(folder, message)
    done = run(folder)
    check(done.returncode == 0 and f"{len(GOOD)} commits" in done.stdout, done)
    done = run(folder, "--since", "HEAD~5")
    check(done.returncode == 1 and "The rule begins." in done.stdout, done)


def tells_what_is_wrong(folder):
    begin(folder)
    for message in BAD:
        commit(folder, message)
    done = run(folder)
    told = [line.split(": ", 1)[1] for line in done.stdout.splitlines()[:-1]]
    check(done.returncode == 1 and len(told) == len(BAD), done)
    for message, word in BAD.items():
        check(any(line.startswith(message.splitlines()[0] + ": ") and word in line for line in told), (message, done))
    git(folder, "tag", "v1")
    check(run(folder).returncode == 0, "what was released stays as it is")


def looks_at_a_shallow_clone(folder):
    begin(os.path.join(folder, "whole"))
    commit(os.path.join(folder, "whole"), "nothing")
    commit(os.path.join(folder, "whole"), "core: stop the queue")
    git(folder, "clone", "--depth", "1", "file://" + os.path.join(folder, "whole"), "shallow")
    check(run(os.path.join(folder, "shallow")).returncode == 0, "what is not there is not looked at")
    git(folder, "clone", "--depth", "2", "file://" + os.path.join(folder, "whole"), "two")
    done = run(os.path.join(folder, "two"))
    check(done.returncode == 0 and "1 commits" in done.stdout, done)
    check(run(os.path.join(folder, "whole")).returncode == 1, "the whole of it")


def reads_any_bytes(folder):
    begin(folder)
    subprocess.run(["git", "-C", folder, "commit", "--allow-empty", "-F", "-"], input=b"core: stop the caf\xe9\n", env=QUIET,
                   check=True, capture_output=True)
    done = run(folder)
    check(done.returncode == 0 and "1 commits" in done.stdout, done)


def needs_no_git(folder):
    done = run(folder)
    check(done.returncode == 0 and "not looked at" in done.stdout, done)
    done = run(folder, path=folder)
    check(done.returncode == 0 and "not looked at" in done.stdout, done)
    done = run(folder, "--since", "HEAD")
    check(done.returncode == 0 and "not looked at" in done.stdout, done)


def main():
    if not shutil.which("git"):
        print("there is no git here")
        return 77
    for case in (looks_at_new_ones, tells_what_is_wrong, looks_at_a_shallow_clone, reads_any_bytes, needs_no_git):
        with tempfile.TemporaryDirectory() as folder:
            case(folder)
            print("ok", case.__name__)
    return 0


if __name__ == "__main__":
    sys.exit(main())
