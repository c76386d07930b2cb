# SPDX-License-Identifier: BSD-3-Clause
"""A public header taken apart: what it declares, and which comment belongs to what.

Reads the C of this project's headers as clang-format lays it out, not C at large. A comment
before a declaration belongs to it and to those that follow without a gap; one behind it on the
same line, to it alone. A comment of dashes and words begins a section.
"""

import re
from dataclasses import dataclass, field

TOKEN = re.compile(r"""
    (?P<comment>/\*.*?\*/)
  | (?P<directive>^[ \t]*\#(?:\\\n|/(?!\*)|[^\n/])*)
  | (?P<gap>\n[ \t]*(?=\n))
  | (?P<space>\s+)
  | (?P<statement>\S)
""", re.X | re.S | re.M)
COMMENT = re.compile(r"/\*.*?\*/", re.S)
SECTION = re.compile(r"-{8,}\s+(.*)")
FUNCTION = re.compile(r"(?<!\(\*)\b(\w+)\(")


@dataclass
class Member:
    """Of a struct or an enum; or a constant."""

    name: str
    comment: str = ""


@dataclass
class Group:
    """Members that one comment was written for, or none."""

    comment: str
    members: list


@dataclass
class Entry:
    """Declarations that one comment was written for."""

    kind: str  # function, callback, struct, enum, constants
    names: list
    code: list  # a declaration for each name, without comments
    comment: str = ""
    groups: list = field(default_factory=list)


@dataclass
class Section:
    title: str
    entries: list = field(default_factory=list)


@dataclass
class Header:
    path: str
    comment: str
    sections: list
    opaque: list  # names of structs that stay incomplete


def comment_text(raw):
    lines = raw[2:-2].strip("*").splitlines()
    return "\n".join(re.sub(r"^\s*\* ?", "", line) if i else line.strip() for i, line in enumerate(lines)).strip()


def statements(text, end=";"):
    """(kind, text, stands behind code on its line): comment, directive, gap, statement."""
    at = 0
    while at < len(text):
        match = TOKEN.match(text, at)
        kind, stop = match.lastgroup, match.end()
        behind = bool(text[text.rfind("\n", 0, at) + 1:at].strip())
        if kind == "statement":
            stop = statement_end(text, at, end)
        if kind != "space":
            yield kind, text[at:stop], behind
        at = stop


def statement_end(text, at, end):
    """Behind the sign that ends the statement, outside of comments and brackets."""
    depth = 0
    for match in re.finditer(r"/\*.*?\*/|[;,{}()]", text[at:], re.S):
        sign = match.group()
        depth += (sign in "{(") - (sign in "})")
        if sign == end and not depth:
            return at + match.end()
    return len(text)


def plain(code):
    """Without comments, on one line."""
    return " ".join(COMMENT.sub(" ", code).split())


# ------------------------------------------------------------------- members

def member_name(code):
    function = re.search(r"\(\*(\w+)\)\(", code)
    if function:
        return function.group(1)
    code = re.sub(r"\[[^\]]*\]|=.*", "", code).strip(" ;,")
    first, *others = code.split(",")
    return ", ".join([re.findall(r"\w+", first)[-1], *(other.strip(" *") for other in others)])


def read_members(body, end):
    """The members between the braces, in groups."""
    groups, opened = [Group("", [])], False
    for kind, text, behind in statements(body, end):
        if kind == "comment" and behind:
            # Its further lines begin below the first, wherever that is.
            groups[-1].members[-1].comment = re.sub(r"\n[ \t]+", "\n", comment_text(text))
        elif kind == "comment":
            groups.append(Group(comment_text(text), []))
            opened = True
        elif kind == "gap":
            opened = False
        elif kind == "statement":
            if not opened and groups[-1].comment and groups[-1].members:
                groups.append(Group("", []))
            groups[-1].members.append(Member(member_name(plain(text))))
            opened = True
    return [group for group in groups if group.members]


# --------------------------------------------------------------- declarations

def layout(code):
    """A struct or an enum as it is declared, without its comments, a member on one line."""
    code = re.sub(r"[ \t]*/\*.*?\*/", "", code, flags=re.S)
    code = re.sub(r"\([^()]*\)", lambda brackets: " ".join(brackets.group().split()), code)
    return "\n".join(re.sub(r"(?<=\S)[ \t]+", " ", line.rstrip()) for line in code.splitlines() if line.strip())


def read_declaration(text):
    flat = plain(text)
    composed = re.match(r"(struct|enum) (\w+) \{", flat)
    if composed:
        kind, name = composed.groups()
        body = text[text.index("{") + 1:text.rindex("}")]
        return Entry(kind, [name], [layout(text)], groups=read_members(body, "," if kind == "enum" else ";"))
    callback = re.match(r"typedef .*?\(\*(\w+)\)\(", flat)
    if callback:
        return Entry("callback", [callback.group(1)], [flat])
    function = FUNCTION.search(flat)
    if function and not flat.startswith("static"):
        return Entry("function", [function.group(1)], [flat])
    raise ValueError(f"cannot tell what this declares: {flat}")


def read_constant(text):
    """(name, the definition), or None for another directive."""
    code = plain(text.replace("\\\n", " "))
    match = re.match(r"#define (\w+) \S", code)
    return (match.group(1), code) if match else None


class Reader:
    """Puts statements and comments of a header together."""

    def __init__(self):
        self.comment = None  # of the header
        self.sections, self.opaque = [Section("")], []
        self.pending = ""  # a comment that waits for its declaration
        self.adjacent = False  # nothing stands between the last entry and what comes

    def take_comment(self, text, behind):
        words = comment_text(text)
        title = SECTION.fullmatch(words)
        if behind:
            last = self.sections[-1].entries[-1]
            if last.kind == "constants":
                last.groups[-1].members[-1].comment = words
            else:
                last.comment = words
        elif title:
            self.sections.append(Section(title.group(1)))
        elif words.startswith("SPDX"):
            return
        elif self.comment is None:
            self.comment = words
        else:
            self.pending, self.adjacent = words, False

    def add(self, entry):
        entries = self.sections[-1].entries
        entry.comment, self.pending = self.pending, ""
        last = entries[-1] if entries and self.adjacent else None
        if last and last.kind == entry.kind == "function":
            last.names += entry.names
            last.code += entry.code
        else:
            entries.append(entry)
        self.adjacent = True

    def add_constant(self, name, code):
        entries = self.sections[-1].entries
        if not entries or entries[-1].kind != "constants":
            entries.append(Entry("constants", [], [], groups=[Group("", [])]))
        entries[-1].names.append(name)
        entries[-1].code.append(code)
        entries[-1].groups[0].members.append(Member(name, self.pending))
        self.pending = ""

    def take_statement(self, text):
        opaque = re.fullmatch(r"struct (\w+);", plain(text))
        if opaque:
            self.opaque.append(opaque.group(1))
            self.pending = ""
        else:
            self.add(read_declaration(text))

    def take(self, kind, text, behind):
        if kind == "comment":
            self.take_comment(text, behind)
        elif kind == "gap":
            self.adjacent = False
        elif kind == "directive":
            constant = read_constant(text)
            if constant:
                self.add_constant(*constant)
        else:
            self.take_statement(text)


def find_gaps(header):
    """What of a header says too little for a manual page."""
    for entry in (entry for section in header.sections for entry in section.entries):
        if not entry.comment and entry.kind != "constants":
            yield f"{entry.names[0]}: has no comment"
        for group in entry.groups:
            for member in group.members:
                if not member.comment and not (group.comment and not group.members[0].comment):
                    yield f"{entry.names[0]}: {member.name}: has no comment"
        for paragraph in re.split(r"\n\s*\n", entry.comment):
            if entry.kind == "function" and re.search(r"(?<!^)-E[A-Z]", paragraph) and not paragraph.startswith("-E"):
                yield f"{entry.names[0]}: errors stand in a paragraph of their own, which begins with one: -EINVAL: when"


def read_header(path):
    with open(path, encoding="utf-8") as f:
        text = re.sub(r"^#ifdef __cplusplus$.*?^#endif$", "", f.read(), flags=re.S | re.M)
    reader = Reader()
    for kind, part, behind in statements(text):
        reader.take(kind, part, behind)
    return Header(path, reader.comment or "", [s for s in reader.sections if s.entries], reader.opaque)
