#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""The example says of each strategy what it promises: test_user_driver.py PROGRAM"""

import re
import subprocess
import sys

# Is the late write refused, and does it change what the driver reads?
LATE = {"passthrough": (False, True), "direct": (False, True), "single-use": (True, False), "shared": (True, False),
        "persistent": (False, True), "on-demand": (False, True), "optimistic": (False, True), "copy": (False, False),
        "contiguous": (True, False), "software-only": (False, True)}
failed = 0
for strategy, (refused, changed) in LATE.items():
    done = subprocess.run([sys.argv[1], strategy], capture_output=True, text=True, check=False, timeout=60)
    first = re.search(r"device writes: (\S+)", done.stdout)
    late = re.search(r"'a packet' is there; the device writes once more: (\S+)", done.stdout)
    good = (done.returncode == 0 and first and first.group(1) == "0" and late and (late.group(1) != "0") == refused
            and ("now is 'too late'" in done.stdout) == changed)
    failed += not good
    print("%s %s%s" % ("ok  " if good else "FAIL", strategy, "" if good else ": " + done.stdout + done.stderr))
print("%d passed, %d failed" % (len(LATE) - failed, failed))
sys.exit(failed != 0)
