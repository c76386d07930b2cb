# SPDX-License-Identifier: BSD-3-Clause
"""What the built programs say of themselves, put into the templates of their pages."""

import os
import re
import subprocess

from man_pages import roff
from man_pages.header_page import page_name
from man_pages.text import Meaning, Meanings, blocks

COMMAND = re.compile(r"[a-z][a-z-]*")


def output_of(*command):
    return subprocess.run(command, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
                          env={**os.environ, "COLUMNS": "90"}).stdout


def help_of(*command):
    return output_of(*command, "--help")


def split_usage(text):
    """(how it is called, a line each; the rest of a help text)."""
    lines, usages = text.splitlines(), []
    first = next(i for i, line in enumerate(lines) if line.startswith("usage: "))
    last = first
    while last < len(lines) and lines[last].strip():
        line = lines[last].removeprefix("usage: ").strip()
        if usages and not re.match(r"viommud?\b", line):
            usages[-1] += " " + line
        else:
            usages.append(line)
        last += 1
    return usages, "\n".join(lines[:first] + lines[last:])


def listed(text):
    """The terms of all lists of a help text."""
    return [item for block in blocks(split_usage(text)[1]) if isinstance(block, Meanings) for item in block.items]


def call_lines(usages):
    """How something is called, one below the other."""
    lines = []
    for usage in usages:
        lines += [".br", roff.syntax(usage)]
    return lines[1:]


def help_lines(text):
    usages, text = split_usage(text)
    return [*call_lines(usages), *(line for block in blocks(text) for line in roff.block(block))]


def table(text):
    return [line.split("\t") for line in text.splitlines()]


def counter_text(unit, doc, where=()):
    """Its meaning, the unit when that does not say it, and for what else it is counted."""
    also = [f"each {one}" for one in ("device", "domain") if one in where]
    return (doc + (f", in {unit}" if unit not in ("events", "bytes", "pages") else "")
            + (f"; also for {' and '.join(also)}" if also else ""))


class Sources:
    """Where the lines come from that replace one of a template."""

    def __init__(self, viommu, viommud, strategies, example, headers):
        self.viommu, self.viommud, self.strategies = viommu, viommud, strategies
        self.example, self.headers = example, headers

    def commands(self):
        """(name, summary) of each."""
        return [(item.term, item.text) for item in listed(help_of(self.viommu)) if COMMAND.fullmatch(item.term)]

    def usages(self):
        return call_lines(usage for name, _ in self.commands() for usage in split_usage(help_of(self.viommu, name))[0])

    def daemon_usage(self):
        return call_lines(split_usage(help_of(self.viommud))[0])

    def command_sections(self):
        for name, summary in self.commands():
            text = help_of(self.viommu, name)
            yield roff.subheading(f"viommu {name}: {summary}")
            yield from help_lines(text)
            for item in listed(text):
                below = help_of(self.viommu, name, item.term) if COMMAND.fullmatch(item.term) else text
                if below != text:
                    yield roff.subheading(f"viommu {name} {item.term}")
                    yield from help_lines(below)

    def options(self):
        return roff.meanings([item for item in listed(help_of(self.viommud)) if item.term.startswith("--")])

    def counter_table(self, whose):
        """Of the unit (iommu), or of a part of the daemon."""
        rows = table(output_of(self.viommud, "--describe-counters"))
        return roff.meanings([Meaning(name, counter_text(unit, doc, where.split(",")))
                              for name, unit, where, doc in rows if where.split(",")[0] == whose], roff.bold)

    def strategy_list(self):
        return roff.body(blocks(output_of(self.strategies)))

    def statistics(self):
        rows = table(output_of(self.strategies, "--statistics"))
        return roff.meanings([Meaning(name, counter_text(unit, doc)) for name, unit, doc in rows], roff.bold)

    def example_lines(self):
        with open(self.example, encoding="utf-8") as f:
            lines = f.read().splitlines()
        first = next(i for i, line in enumerate(lines) if line.startswith("#"))
        return roff.example(line.expandtabs(8).replace(" " * 8, " " * 4) for line in lines[first:])

    def header_list(self):
        return [f".BR {page_name(path)} (3)," for path in sorted(self.headers)]

    def replace(self, line):
        """The lines that stand for one of a template, or None."""
        word, *rest = line.strip("@").split() if line.startswith("@") else [""]
        if word == "COUNTERS":
            return self.counter_table(*rest)
        make = {"COMMANDS": self.command_sections, "USAGES": self.usages, "OPTIONS": self.options,
                "USAGE": self.daemon_usage, "STRATEGIES": self.strategy_list, "STATISTICS": self.statistics,
                "HEADERS": self.header_list, "EXAMPLE": self.example_lines}.get(word)
        return make() if make else None


def fill_template(name, lines, sources, version):
    title, section = name.rsplit(".", 1)
    out = roff.head(title, section, version)
    for line in lines:
        replaced = sources.replace(line)
        out += [line] if replaced is None else replaced
    return out
