#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Holds the sweep of the n-th failure against the library's symbol map: every
function that libviommu exports is called in a sequence.

    coverage.py MAP SOURCE...
"""

import re
import sys


def code_of(path):
    with open(path) as file:
        return re.sub(r"/\*.*?\*/|//[^\n]*|\"(?:\\.|[^\"\\])*\"", "", file.read(), flags=re.S)


def main():
    with open(sys.argv[1]) as file:
        exported = re.findall(r"^\s*(viommu_\w+);", file.read(), re.M)
    code = "\n".join(code_of(path) for path in sys.argv[2:])
    called = set(re.findall(r"\b(viommu_\w+)\s*\(", code))
    missing = [name for name in exported if name not in called]
    for name in missing:
        print(f"{name}: no sequence of {' '.join(sys.argv[2:])} calls it; add a step that does")
    print(f"{len(exported) - len(missing)} of {len(exported)} exported functions are swept")
    return 1 if missing or not exported else 0


if __name__ == "__main__":
    sys.exit(main())
