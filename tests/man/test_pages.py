#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""The manual pages: complete, found by man, and without a complaint of the formatters.

usage: test_pages.py MAN VIOMMU VIOMMUD    MAN: the folder with man1, man3, ...

What a page must say is read here from the sources anew and without regard to how they are laid
out: sentences of comments, lines of help texts and counters are compared word by word with the
page as a reader sees it.
"""
import glob
import os
import re
import subprocess
import sys
import tempfile

TOP = os.path.normpath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))
MAN, VIOMMU, VIOMMUD = (os.path.abspath(path) for path in sys.argv[1:4])
HEADERS = sorted(glob.glob(os.path.join(TOP, "include", "viommu", "*.h")))
COMMENT = re.compile(r"/\*.*?\*/", re.S)

sys.path.insert(0, os.path.join(TOP, "scripts"))
sys.dont_write_bytecode = True
from man_pages.header import find_gaps, read_header  # noqa: E402

cases = []


def case(function):
    cases.append((function.__name__, function))
    return function


def check(condition, what):
    if not condition:
        raise AssertionError(what)


def output_of(*command, **options):
    return subprocess.run(command, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
                          **options).stdout


def read(path):
    with open(path, encoding="utf-8") as f:
        return f.read()


def pages():
    """Those with text of their own."""
    return [path for path in sorted(glob.glob(os.path.join(MAN, "man*", "*"))) if not read(path).startswith(".so ")]


def path_of(name):
    return os.path.join(MAN, f"man{name[-1]}", name)


def behind_link(path):
    link = re.match(r"\.so (.*)", read(path))
    return os.path.join(MAN, link.group(1)) if link else path


def text_of(path):
    """As a reader sees it, on a wide screen."""
    return output_of("groff", "-man", "-Tascii", "-rLL=200n", "-P-cbou", path, stderr=subprocess.DEVNULL)


def rendered(name):
    return words(text_of(path_of(name)))


def words(text):
    """As one line, in which only words count."""
    return " " + " ".join(re.findall(r"\w+", text.lower())) + " "


def missing(page, texts):
    return [text for text in texts if words(text).strip() and words(text) not in page]


def header_page(header):
    return f"viommu_{os.path.basename(header)}.3"


# -------------------------------------------------------------------- headers

def sentences(comment):
    lines = [re.sub(r"^\s*\* ?", "", line) for line in comment[2:-2].splitlines()]
    text = re.sub(r"^ *Return values: ", "", "\n".join(lines), flags=re.M)
    for paragraph in re.split(r"\n\s*\n", text):
        # A list's items stand apart on the page, and so do errors.
        yield from re.split(r"(?<=[a-z\d\])][.:?!])\s+|(?<=[.,])\s+(?=-E[A-Z])|\n\s+(?=\w+  )|:\s", paragraph)


@case
def every_comment_of_a_header():
    for header in HEADERS:
        comments = [c for c in COMMENT.findall(read(header)) if "SPDX" not in c]
        lost = missing(rendered(header_page(header)), [s for c in comments for s in sentences(c)])
        check(not lost, f"{header_page(header)} lacks {lost}")


@case
def every_declaration_of_a_header():
    for header in HEADERS:
        code = COMMENT.sub(" ", read(header))
        code = re.sub(r"^#ifdef __cplusplus.*?^#endif|^#pragma.*?$", "", code, flags=re.S | re.M)
        functions = re.findall(r"^[a-z][^;{}]*\bviommu_\w+\([^;{}]*\);|^typedef [^;]*;", code, re.M)
        types = re.findall(r"^(?:struct|enum) \w+ \{[^}]*\}", code, re.M)
        constants = re.findall(r"^#define (\w+)[ \t]+\S", code, re.M)
        check(len(functions) + len(types) > 2, f"nothing is declared in {header}?")
        lost = missing(rendered(header_page(header)), functions + types + constants)
        check(not lost, f"{header_page(header)} lacks {lost}")


@case
def every_exported_function_is_found():
    names = re.findall(r"^\t(viommu_\w+);", read(os.path.join(TOP, "lib", "viommu.map")), re.M)
    check(len(names) > 20, f"only {names} are exported?")
    for name in names:
        path = output_of("man", "-M", MAN, "-w", "3", name, stderr=subprocess.DEVNULL).strip()
        path = behind_link(path)
        check(words(name) in words(text_of(path)), f"{path}, where man finds {name}, does not have it")


GAPS = {
    "function": ("int viommu_a(void);", "viommu_a: has no comment"),
    "type": ("struct viommu_a {\n\tint b; /* b */\n};", "viommu_a: has no comment"),
    "member": ("/* A. */\nstruct viommu_a {\n\tint b;\n\n\tint c; /* c */\n};", "viommu_a: b: has no comment"),
    "constant": ("#define VIOMMU_A 1", "VIOMMU_A: has no comment"),
    "error": ("/*\n * A. -EINVAL: b.\n */\nint viommu_a(void);", "paragraph of their own"),
}


@case
def a_header_that_says_too_little_is_refused():
    for declared, complaint in GAPS.values():
        with tempfile.NamedTemporaryFile("w", suffix=".h") as f:
            f.write(f"/* A header. */\n#define GUARD_H\n\n{declared}\n")
            f.flush()
            gaps = list(find_gaps(read_header(f.name)))
        check(len(gaps) == 1 and complaint in gaps[0], f"{declared!r}: {gaps}")


# ------------------------------------------------------------------- programs

def help_lines(*command):
    text = output_of(*command, "--help", env={**os.environ, "COLUMNS": "90"})
    return [line.replace("usage: ", "") for line in text.splitlines()]


def commands():
    found = re.findall(r"^  ([a-z][a-z-]*)  ", output_of(VIOMMU, "--help"), re.M)
    check("run" in found and len(found) > 5, f"only {found} are commands?")
    return found


@case
def every_command_and_option_of_viommu():
    page = rendered("viommu.1")
    for name in commands():
        lost = missing(page, [f"viommu {name}", *help_lines(VIOMMU, name)])
        check(not lost, f"viommu {name}: viommu.1 lacks {lost}")


@case
def every_option_of_a_benchmark():
    benches = re.findall(r"^  ([a-z]+)  ", output_of(VIOMMU, "bench", "--help"), re.M)
    check("guest" in benches, f"only {benches} are benchmarks?")
    page = rendered("viommu.1")
    for name in benches:
        lines = help_lines(VIOMMU, "bench", name)
        check(any(re.match(r"  --json  ", line) for line in lines), f"viommu bench {name} --help is {lines}")
        lost = missing(page, [f"viommu bench {name}", *lines])
        check(not lost, f"viommu bench {name}: viommu.1 lacks {lost}")


@case
def every_option_of_viommud():
    lines = help_lines(VIOMMUD)
    check(any(line.startswith("  --nvme") for line in lines), "no option in the help?")
    lost = missing(rendered("viommud.8"), lines[lines.index("") + 1:])
    check(not lost, f"viommud.8 lacks {lost}")


@case
def every_counter():
    for folder, in_pages in ("lib/core", ["libviommu.7", "viommud.8"]), ("daemon", ["viommud.8"]):
        source = read(os.path.join(TOP, folder, "counters.h"))
        counters = re.findall(r'^\tX\((\w+),\s*"\w+",\s*(?:\\\s*)?"([^"]*)"', source, re.M)
        check(len(counters) > 8, f"only {counters} are counted in {folder}?")
        for page in in_pages:
            lost = missing(rendered(page), [f"{name} {doc}" for name, doc in counters])
            check(not lost, f"{page} lacks {lost}")


@case
def every_strategy():
    """And each statistic."""
    page = rendered("libviommu.7")
    sources = "".join(map(read, glob.glob(os.path.join(TOP, "lib", "dma", "*.c"))))
    texts = re.findall(r'^\t+\.(?:name|doc|promise|source) =((?:\s*"[^"]*")+),$', sources, re.M)
    check(len(texts) >= 8, f"only {texts} are strategies?")
    lost = missing(page, [text.replace('"', "") for text in texts])
    check(not lost, f"libviommu.7 lacks {lost}")
    source = read(os.path.join(TOP, "lib", "dma", "counters.h"))
    statistics = re.findall(r'^\tX\((\w+), "\w+", "([^"]*)"', source, re.M)
    lost = missing(page, [f"{name} {doc}" for name, doc in statistics])
    check(len(statistics) > 8 and not lost, f"libviommu.7 lacks {lost}")


@case
def the_example():
    example = read(os.path.join(TOP, "examples", "embed.c"))
    check(words(example[example.index("#include"):]) in rendered("libviommu.7"), "libviommu.7 lacks examples/embed.c")


# ------------------------------------------------------------------ the pages

@case
def formatters_do_not_complain():
    check(len(pages()) >= 6, f"only {pages()}?")
    for path in pages():
        groff = subprocess.run(["groff", "-ww", "-Tutf8", "-man", "-z", path], stderr=subprocess.PIPE, text=True,
                               check=False).stderr
        mandoc = subprocess.run(["mandoc", "-Tlint", "-Wwarning", path], stdout=subprocess.PIPE, text=True,
                                check=False).stdout
        # The same sources make the same page, so there is no date.
        told = [line for line in (groff + mandoc).splitlines() if "missing date" not in line]
        check(not told, "\n".join(told))


@case
def nothing_is_left_of_a_template():
    for path in pages():
        left = re.findall(r"^@.*|@[A-Z_]+@", read(path), re.M)
        check(not left, f"{path}: {left}")


@case
def every_reference_leads_to_a_page():
    for path in pages():
        for name, section in set(re.findall(r"\b((?:lib)?viommu[\w.]*)\((\d)\)", text_of(path))):
            check(os.path.exists(path_of(f"{name}.{section}")), f"{path}: there is no {name}({section})")


@case
def every_link_leads_to_a_page():
    for path in glob.glob(os.path.join(MAN, "man3", "*")):
        check(os.path.exists(behind_link(path)), f"{path} leads nowhere")


def main():
    failed = 0
    for name, function in cases:
        try:
            function()
            print(f"ok   {name}", flush=True)
        except (AssertionError, OSError, subprocess.SubprocessError) as error:
            failed += 1
            print(f"FAIL {name}: {error}", flush=True)
    print(f"{len(cases) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
