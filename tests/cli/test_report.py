#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""The page that viommu replay --html writes, read by a parser and shown by a browser.

usage: test_report.py VIOMMUD VIOMMU FOLDER    screenshots of the page are kept in FOLDER
"""
import html.parser
import os
import re
import shutil
import subprocess
import sys
import tempfile
import xml.etree.ElementTree

FOLDER = os.path.abspath(sys.argv.pop(3))

from rig import VIOMMU, case, cases, check, main  # noqa: E402
from test_replay import LONG, NIC, mapped, ring, unmapped  # noqa: E402

cases.clear()  # those of test_replay

VOID = {"meta", "br", "hr", "link", "img"}
STRATEGIES = ("passthrough", "direct", "single-use", "shared", "persistent", "on-demand", "deferred", "optimistic",
              "copy", "contiguous", "software-only")
BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
HEADLESS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars",
            "--disable-background-networking", "--disable-component-update", "--disable-sync")


class Reader(html.parser.HTMLParser):
    """Elements that are closed in order, and the text of each."""

    def __init__(self):
        super().__init__()
        self.open, self.count, self.words = [], {}, ""

    def handle_starttag(self, tag, attrs):
        self.count[tag] = self.count.get(tag, 0) + 1
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.count[tag] = self.count.get(tag, 0) + 1

    def handle_endtag(self, tag):
        check(self.open and self.open[-1] == tag, f"</{tag}> within {self.open[-3:]}")
        self.open.pop()

    def handle_data(self, data):
        self.words += data


def replay(trace, page, *options):
    return subprocess.run([VIOMMU, "replay", trace, "--html", page, *options], stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, timeout=LONG, check=False)


def report(folder, text=None, *options):
    """The page of a trace, and what was printed."""
    trace, page = os.path.join(folder, "trace"), os.path.join(folder, "report.html")
    with open(trace, "w", encoding="utf-8") as out:
        if text is None:
            ring(4000, out)
        else:
            out.write(text)
    done = replay(trace, page, *options)
    check(done.returncode == 0, done.stderr)
    with open(page, encoding="utf-8") as f:
        return f.read(), done.stdout, page


@case
def the_page_is_whole():
    with tempfile.TemporaryDirectory() as folder:
        page, printed, _ = report(folder)
    reader = Reader()
    reader.feed(page)
    reader.close()
    check(not reader.open, f"never closed: {reader.open}")
    for name in STRATEGIES:
        check(page.count(name) >= 4, f"{name} is not in both pictures, the table and the list")
    check(reader.count["polyline"] == len(STRATEGIES), "lines of mapped pages")
    check("Choose " in reader.words and NIC in reader.words, "the advice, and the device")
    choice = re.search(r"^Choose (\S+):", printed, re.M).group(1)
    check(f"Choose {choice}:" in reader.words, "the page chooses as the table does")
    check("passthrough" in printed, "the table is printed as well")


@case
def the_pictures_are_well_formed():
    with tempfile.TemporaryDirectory() as folder:
        page, _, _ = report(folder)
    pictures = re.findall(r"<svg viewBox=\"0 0 940.*?</svg>", page, re.S)
    check(len(pictures) == 2, len(pictures))
    for picture in pictures:
        for element in xml.etree.ElementTree.fromstring(picture).iter():
            for key in ("x", "y", "x1", "y1", "x2", "y2", "cx", "cy"):
                value = float(element.get(key, "1"))
                check(-1 <= value <= 941, f"{element.tag} at {key}={value}")
            for pair in element.get("points", "").split():
                x, y = map(float, pair.split(","))
                check(0 <= x <= 941 and 0 <= y <= 330, f"a line goes to {pair}")


@case
def it_needs_nothing_else():
    with tempfile.TemporaryDirectory() as folder:
        page, _, _ = report(folder)
    for word in ("http", "<script", "<link", "<img", "@import", "url("):
        check(word not in page, f"{word} is in the page")


@case
def names_of_a_trace_are_text():
    evil = "<b>&\"x"
    text = mapped(1.0, 0xffff0000, 100, 0x1000, evil) + unmapped(1.5, 0xffff0000, 100, evil)
    with tempfile.TemporaryDirectory() as folder:
        page, _, _ = report(folder, text)
    check(evil not in page and "&lt;b&gt;&amp;&quot;x" in page, "a device's name is markup")


@case
def one_strategy_on_one_buffer():
    text = mapped(1.0, 0xffff0000, 4096, 0x1000) + unmapped(1.0, 0xffff0000, 4096)
    with tempfile.TemporaryDirectory() as folder:
        page, _, _ = report(folder, text, "--strategy", "single-use")
    check("nan" not in page.lower().replace("manage", "") and "inf" not in re.sub("info", "", page), "no number")


@case
def a_folder_that_is_not_there():
    with tempfile.TemporaryDirectory() as folder:
        report(folder)
        done = replay(os.path.join(folder, "trace"), os.path.join(folder, "x", "y.html"))
    check(done.returncode == 1 and "cannot be written" in done.stderr, done)


def browse(page, *options):
    with tempfile.TemporaryDirectory() as profile:
        return subprocess.run([BROWSER, *HEADLESS, f"--user-data-dir={profile}", *options, "file://" + page],
                              capture_output=True, timeout=100, check=False)


@case
def a_browser_shows_it():
    if not BROWSER:
        print("     (no chromium here: not looked at)")
        return
    os.makedirs(FOLDER, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        _, _, page = report(folder)
        shown = browse(page, "--dump-dom").stdout.decode()
        for name in STRATEGIES:
            check(name in shown, f"the browser has no {name}")
        sizes = {}
        for scheme, option in (("light", "--blink-settings=preferredColorScheme=1"),
                               ("dark", "--blink-settings=preferredColorScheme=0")):
            picture = os.path.join(FOLDER, f"report-{scheme}.png")
            browse(page, option, "--window-size=1280,2100", f"--screenshot={picture}")
            with open(picture, "rb") as f:
                sizes[scheme] = f.read()
            check(sizes[scheme][:8] == b"\x89PNG\r\n\x1a\n" and len(sizes[scheme]) > 50000, f"no picture, {scheme}")
        check(sizes["light"] != sizes["dark"], "dark is as light")


if __name__ == "__main__":
    sys.exit(main())
