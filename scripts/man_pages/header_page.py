# SPDX-License-Identifier: BSD-3-Clause
"""The page of a public header, section 3, made of its declarations and their comments."""

import os
import re

from man_pages import roff
from man_pages.text import Meaning, Paragraph, blocks, sentence

WIDTH = 72  # of a declaration; what a page 80 columns wide has room for
ERROR = re.compile(r"(?:^|(?<=\s))(-E[A-Z0-9]+(?:, -E[A-Z0-9]+)*)(?::\s|\.(?:\s|$))")
OWN_SECTIONS = {"Return values": "RETURN VALUE", "Threads": "THREADS"}


def page_name(path):
    """include/viommu/access.h -> viommu_access.h, as POSIX names the pages of its headers."""
    return "viommu_" + os.path.basename(path)


def entries(header):
    return [entry for section in header.sections for entry in section.entries]


def functions(header):
    return [name for entry in entries(header) if entry.kind == "function" for name in entry.names]


def aliases(header):
    """The names under which the page is found besides its own."""
    named = [name for entry in entries(header) if entry.kind != "constants" for name in entry.names]
    return sorted(set(header.opaque + named))


# -------------------------------------------------------------- declarations

def wrap(code):
    """A declaration in lines, broken behind commas."""
    if len(code) <= WIDTH:
        return [code]
    at = code.index("(", code.index("(*") + 1 if "(*" in code else 0) + 1
    lines, line = [], code[:at]
    hang = min(at, 24)
    for part in re.split(r"(?<=,) ", code[at:]):
        if len(line) + len(part) > WIDTH and line.strip():
            lines.append(line.rstrip())
            line = " " * hang
        line += part + " "
    return lines + [line.rstrip()]


def declaration(code):
    """Names of parameters stand out from types."""
    return [re.sub(r"(\w+)(?=[,)](?!\())", r"\\fI\1\\fP\\fB", roff.literal(line)).join((r"\fB", r"\fP"))
            for line in wrap(code)]


def composed(code):
    return [roff.literal(part) for line in code.splitlines() for part in wrap(line.replace("\t", "    "))]


def synopsis(header):
    lines = [".nf", rf"\fB#include <viommu/{os.path.basename(header.path)}>\fP"]
    for section in header.sections:
        codes = [code for entry in section.entries if entry.kind == "function" for code in entry.code]
        if codes:
            lines.append(".PP")
        for code in codes:
            lines += declaration(code)
    return [roff.heading("SYNOPSIS"), *lines, ".fi", ".PP",
            r"Flags for the compiler: \fBpkg\-config \-\-cflags \-\-libs libviommu\fP"]


# -------------------------------------------------------------------- entries

def read_errors(text):
    """[(names, when)] of a paragraph of errors, or None."""
    if not ERROR.match(text):
        return None
    parts = ERROR.split(text)
    return list(zip(parts[1::2], (part.strip() for part in parts[2::2])))


def errors_of(entry):
    """The names of those that its comment tells of."""
    for block in blocks(entry.comment):
        for names, _ in isinstance(block, Paragraph) and read_errors(block.text) or []:
            yield from re.findall(r"E\w+", names)


def comment(text):
    lines = []
    for block in blocks(text):
        errors = isinstance(block, Paragraph) and read_errors(block.text)
        if errors:
            lines += roff.meanings([Meaning(names, when or "there is no memory for it.") for names, when in errors],
                                   roff.inline)
        else:
            lines += roff.block(block)
    return lines


def group(one):
    """A comment before members belongs to those that have none of their own."""
    heads = [] if not one.comment or one.members[0].comment else [m for m in one.members if not m.comment]
    lines = comment(one.comment) if one.comment and not heads else []
    if heads:
        first, *more = [".TP 8n", roff.bold(", ".join(m.name for m in heads))], comment(one.comment)
        lines += first + [".IP" if line == ".PP" else line for line in more[0][1:]]
    told = [Meaning(m.name, m.comment) for m in one.members if m.comment]
    return lines + roff.meanings(told, roff.bold)


def title(entry):
    if entry.kind == "function":
        return ", ".join(name + "()" for name in entry.names)
    if entry.kind == "constants":
        return f"{entry.names[0]}, ..." if len(entry.names) > 2 else ", ".join(entry.names)
    return f"{entry.kind} {entry.names[0]}" if entry.kind != "callback" else entry.names[0]


def entry_lines(entry):
    lines = [roff.subheading(title(entry))]
    make = declaration if entry.kind in ("function", "callback") else composed
    lines += [".nf", *(line for code in entry.code for line in make(code)), ".fi", *comment(entry.comment)]
    if entry.kind == "constants" and len(entry.names) == 1:
        return lines + comment(entry.groups[0].members[0].comment)  # the heading has its name
    for one in entry.groups:
        lines += group(one)
    return lines


def section_lines(section):
    head = [roff.heading(section.title.upper())] if section.title else []
    return head + [line for entry in section.entries for line in entry_lines(entry)]


# ----------------------------------------------------------------------- page

def split_comment(header):
    """(first sentence, description, {title: text}) of the header's comment."""
    first, rest = sentence(header.comment)
    told, own = [], {}
    for paragraph in re.split(r"\n[ \t]*\n", rest.strip("\n")):
        name, _, text = paragraph.partition(":")
        if name in OWN_SECTIONS:
            own[OWN_SECTIONS[name]] = text.strip()
        else:
            told.append(paragraph)
    return first, "\n\n".join(told), own


def error_index(header):
    found = {}
    for entry in entries(header):
        for name in errors_of(entry):
            found.setdefault(name, []).extend(f for f in entry.names if f not in found.get(name, []))
    if not found:
        return []
    items = [Meaning(name, ", ".join(f + "()" for f in names)) for name, names in sorted(found.items())]
    return [roff.heading("ERRORS"), "Errors are returned as negative numbers.",
            "What each means stands with the function.", *roff.meanings(items, roff.bold)]


def header_page(header, others, version):
    name, (first, description, own) = page_name(header.path), split_comment(header)
    see = [*sorted(page_name(path) + "(3)" for path in others if path != header.path),
           "libviommu(7)", "viommu(1)", "viommud(8)"]
    lines = [*roff.head(name, 3, version), roff.heading("NAME"),
             rf"{', '.join([name, *functions(header)])} \- {roff.escape(roff.lower(first))}",
             *synopsis(header), roff.heading("DESCRIPTION"), *roff.body(blocks(description))]
    for section in header.sections:
        lines += section_lines(section)
    if "RETURN VALUE" in own:
        lines += [roff.heading("RETURN VALUE"), *roff.body(blocks(own["RETURN VALUE"]))]
    lines += error_index(header)
    if "THREADS" in own:
        lines += [roff.heading("THREADS"), *roff.body(blocks(own["THREADS"]))]
    return lines + [roff.heading("SEE ALSO"), *roff.see_also(see)]
