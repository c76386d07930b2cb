# SPDX-License-Identifier: BSD-3-Clause
"""Blocks of text as man(7) macros."""

import re

from man_pages.text import Example, Meanings, Paragraph

MARKED = re.compile(r"""
    `(?P<code>[^`]+)`
  | '(?P<command>viommud?\ [^']+)'
  | (?P<page>\b[a-z_][\w.+-]*\(\d\w*\))
  | (?P<function>\b[a-z]\w*_\w+(?=\(\)))
  | (?P<output>(?<![\w*])\*[a-z_]\w*)
  | (?P<error>(?<![\w-])-E[A-Z0-9]{2,}\b)
  | (?P<option>(?<![\w-])--[a-z][\w-]*)
  | (?P<constant>\b(?:VIOMMU_\w+|NULL)\b)
  | (?P<type>\b(?:struct|enum)\ viommu\w*)
""", re.X)
SYNTAX = re.compile(r"(\b[A-Z][A-Z0-9']*\b)|(\.\.\.|[\s\[\]|]+)|((?:(?!\.\.\.)[^\s\[\]|A-Z])+|[A-Z])")


def escape(text):
    """For text: a hyphen stays one."""
    text = text.replace("\\", r"\e").replace("~", r"\(ti").replace("^", r"\(ha")
    return text.replace("'", r"\(aq").replace("`", r"\(ga")


def literal(text):
    """For what is typed: a hyphen is a minus."""
    return escape(text).replace("-", r"\-")


def bold(text):
    return rf"\fB{literal(text)}\fP"


def italic(text):
    return rf"\fI{literal(text)}\fP"


def mark(match):
    kind, text = match.lastgroup, match.group(match.lastgroup)
    if kind == "page":
        name, _, section = text.partition("(")
        return bold(name) + "(" + section
    if kind == "code" and re.fullmatch(r"\*?[a-z_]\w*(?:->\w+)?", text):
        return italic(text)
    return italic(text) if kind == "output" else bold(text)


def inline(text):
    """Running text; names and what is typed stand out."""
    out, at = [], 0
    for match in MARKED.finditer(text):
        out += [escape(text[at:match.start()]), mark(match)]
        at = match.end()
    return "".join([*out, escape(text[at:])])


def syntax(text):
    """What is typed: words as they are, and in capitals what they stand for. A line may end between brackets."""
    out = []
    for placeholder, between, word in SYNTAX.findall(text):
        out.append(italic(placeholder) if placeholder else escape(between).replace("][", r"]\:[") if between else bold(word))
    return "".join(out)


def fill(text):
    """One sentence of source a line, which is what troff expects to space them well."""
    lines = re.sub(r"(?<=[a-z\d)\"'>P][.?!]) (?=[A-Z\\])", "\n", text).split("\n")
    return list(map(guard, lines))


def guard(line):
    """No macro, whatever it begins with."""
    return r"\&" + line if line.startswith(".") else line


def example(lines):
    return [".RS 4", ".EX", *(guard(literal(line)) for line in lines), ".EE", ".RE"]


def term(text):
    return syntax(text) if text.startswith("-") else inline(text) if "_" in text or " " in text else bold(text)


def meanings(items, tag=term, wide="8n"):
    out = []
    for item in items:
        out += [f".TP {wide}", tag(item.term), *fill(inline(item.text))]
        if item.below:
            out += [".RS", *meanings(item.below, syntax, wide), ".RE"]
    return out


def block(one):
    if isinstance(one, Paragraph):
        return [".PP", *fill(inline(one.text))]
    if isinstance(one, Meanings):
        return meanings(one.items)
    return [".PP", *example(one.lines)]


def after_heading(lines):
    """A heading begins a paragraph by itself."""
    return lines[1:] if lines and lines[0] == ".PP" else lines


def body(found):
    """Blocks, the first of them right below its heading."""
    return after_heading([line for one in found for line in block(one)])


def lower(text):
    """As in the middle of a sentence, unless it begins with an acronym."""
    return text[:1].lower() + text[1:] if text[1:2].islower() or text[1:2] == " " else text


def head(name, section, version):
    """No date, so that the same sources make the same page; no hyphens that are not in the text."""
    return [f'.TH {name.upper()} {section} "" "viommu {version}" "viommu"', ".nh", ".nr HY 0", ".ad l"]


def see_also(pages):
    last = len(pages) - 1
    return [f".BR {name} ({section}{',' if i < last else ''}"
            for i, (name, section) in enumerate(page.split("(") for page in pages)]


def heading(title):
    return f'.SH "{escape(title)}"'


def subheading(title):
    return f'.SS "{literal(title)}"'
