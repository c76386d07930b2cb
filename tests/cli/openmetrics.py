# SPDX-License-Identifier: BSD-3-Clause
"""A strict reader of OpenMetrics 1.0 text, as far as viommu writes it. Anything odd is a ValueError."""
import re

NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
KEY, VALUE = r"[a-zA-Z_][a-zA-Z0-9_]*", r'(?:[^"\\\n]|\\["\\n])*'
PAIR = '%s="%s"' % (KEY, VALUE)
LABEL = re.compile('(%s)="(%s)"' % (KEY, VALUE))
META = re.compile(r"# (TYPE|UNIT|HELP) (%s) (.+)" % NAME)
SAMPLE = re.compile(r"(%s)(?:\{((?:%s(?:,%s)*)?)\})? (\S+)" % (NAME, PAIR, PAIR))
NUMBER = re.compile(r"[+-]?(\d+(\.\d+)?([eE][+-]?\d+)?|Inf)$")
SUFFIXES = {"counter": ("_total",), "gauge": ("",), "histogram": ("_bucket", "_count", "_sum")}


def demand(condition, line, what):
    if not condition:
        raise ValueError("%s: %r" % (what, line))


def unescape(text, line):
    demand(re.fullmatch(r'(?:[^\\\n]|\\["\\n])*', text), line, "a bad escape")
    return re.sub(r"\\(.)", lambda m: "\n" if m[1] == "n" else m[1], text)


class Family:
    def __init__(self, name):
        self.name, self.type, self.unit, self.help = name, None, None, None
        self.samples = {}  # (suffix, labels) -> value

    def value(self, suffix="", **labels):
        """Of the sample with these labels, beside dir."""
        found = [v for (s, pairs), v in self.samples.items()
                 if s == suffix and {k: x for k, x in pairs if k != "dir"} == labels]
        if len(found) != 1:
            raise KeyError((self.name, suffix, labels))
        return found[0]


def read_meta(family, kind, text, line):
    demand(not family.samples, line, "said after the samples")
    demand(getattr(family, kind.lower()) is None, line, "said twice")
    if kind == "TYPE":
        demand(text in SUFFIXES, line, "an unknown type")
        demand(family.unit is None and family.help is None, line, "TYPE does not come first")
    if kind == "UNIT":
        demand(family.name.endswith("_" + text), line, "the name does not end in the unit")
    setattr(family, kind.lower(), unescape(text, line) if kind == "HELP" else text)


def read_sample(family, match, line):
    name, labels, number = match[1], match[2] or "", match[3]
    demand(name.startswith(family.name) and name[len(family.name):] in SUFFIXES[family.type], line,
           "not of the family %s" % family.name)
    pairs = tuple((k, unescape(v, line)) for k, v in LABEL.findall(labels))
    demand(len({k for k, _ in pairs}) == len(pairs), line, "a label is there twice")
    demand(NUMBER.match(number), line, "no number")
    key = name[len(family.name):], tuple(sorted(pairs))
    demand(key not in family.samples, line, "a series is there twice")
    demand(family.type == "gauge" or not number.startswith("-"), line, "a counter below 0")
    family.samples[key] = float(number) if re.search(r"[.eI]", number) else int(number)


def check_histogram(family):
    series = {}
    for (suffix, pairs), value in family.samples.items():
        rest = tuple(p for p in pairs if p[0] != "le")
        series.setdefault(rest, {}).setdefault(suffix, []).append((dict(pairs).get("le"), value))
    for of in series.values():
        buckets = [(float(le), value) for le, value in of["_bucket"]]
        demand(buckets == sorted(buckets), family.name, "buckets are out of order or not cumulative")
        demand([v for _, v in buckets] == sorted(v for _, v in buckets), family.name, "counts go down")
        demand(buckets[-1] == (float("inf"), of["_count"][0][1]), family.name, "+Inf is not the count")
        demand(len(of["_sum"]) == 1, family.name, "no sum")


def parse(text):
    """{name: Family}"""
    families, family = {}, None
    demand(text.endswith("\n# EOF\n"), text[-20:], "the end is missing")
    for line in text[:-len("# EOF\n")].splitlines():
        match = META.fullmatch(line)
        if match:
            if family is None or match[2] != family.name:
                demand(match[2] not in families and match[1] == "TYPE", line, "a family begins in the middle")
                family = families[match[2]] = Family(match[2])
            read_meta(family, match[1], match[3], line)
            continue
        match = SAMPLE.fullmatch(line)
        demand(match and family, line, "neither comment nor sample")
        read_sample(family, match, line)
    for f in families.values():
        demand(f.type and f.help, f.name, "no TYPE or HELP")
        demand(not any(f.name + s in families for s in ("_total", "_bucket", "_count", "_sum", "_created")), f.name,
               "another family has the name of its samples")
        if f.type == "histogram":
            check_histogram(f)
    return families
