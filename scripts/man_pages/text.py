# SPDX-License-Identifier: BSD-3-Clause
"""Plain text, as help texts and comments are written, taken apart into blocks.

Lines at the margin are paragraphs. Indented lines are a list when they look like one, that is

    word      what it means, and where
              that goes on
    --option VALUE
        what it means

and otherwise an example, to be shown as it is.
"""

import re
from dataclasses import dataclass, field


@dataclass
class Paragraph:
    text: str


@dataclass
class Example:
    lines: list


@dataclass
class Meaning:
    """One line of a list: a term, and text or a list below it."""

    term: str
    text: str
    below: list = field(default_factory=list)


@dataclass
class Meanings:
    items: list


TERM = re.compile(r"(\S.*?)(?:\s{2,}(\S.*))?$")
# Within the text of an option: a value of its argument.
VALUE = re.compile(r"(\w[\w-]*(?:=\S+)?):\s+(.*)")


def indent(line):
    return len(line) - len(line.lstrip(" "))


def dedent(lines):
    margin = min((indent(line) for line in lines if line.strip()), default=0)
    return [line[margin:] for line in lines]


def split_chunks(lines):
    """Lines at the margin together, indented ones together; (is indented, lines)."""
    chunks, gap = [], False
    for line in lines:
        if not line.strip():
            gap = True
            continue
        inside = line.startswith("  ")
        if chunks and chunks[-1][0] == inside and (inside or not gap):
            chunks[-1][1].extend(([""] if gap else []) + [line])
        else:
            chunks.append((inside, [line]))
        gap = False
    return chunks


def read_meaning(head, rest):
    """From the line of a term and the lines that belong to it; None: that is no term."""
    term, text = TERM.match(head).groups()
    if term.endswith("\\") or not (text or rest):
        return None
    item, parts = Meaning(term, ""), [text] if text else []
    for line in filter(None, map(str.strip, rest)):
        value = VALUE.fullmatch(line) if parts else None
        if value and "=" in value.group(1):
            item.below.append(Meaning(*value.groups()))
        elif item.below:
            item.below[-1].text += " " + line
        else:
            parts.append(line)
    item.text = " ".join(parts)
    return item


def read_meanings(lines):
    """The list that indented lines are, or None."""
    lines, groups = dedent(lines), []
    if lines[0].startswith(" "):
        return None
    for line in lines:
        if line and not line.startswith(" "):
            groups.append([line])
        else:
            groups[-1].append(line)
    items = [read_meaning(group[0], group[1:]) for group in groups]
    return None if None in items else Meanings(items)


def blocks(text):
    """The paragraphs, lists and examples of a text."""
    found = []
    for inside, lines in split_chunks(text.expandtabs(8).splitlines()):
        if inside:
            found.append(read_meanings(lines) or Example(dedent(lines)))
        else:
            found.append(Paragraph(" ".join(line.strip() for line in lines)))
    return found


def sentence(text):
    """The first sentence on one line, without its full stop, and what follows."""
    first, *rest = re.split(r"\.(?:\s+|$)", text, maxsplit=1)
    return " ".join(first.split()), "".join(rest)
