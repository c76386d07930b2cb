# SPDX-License-Identifier: BSD-3-Clause
"""What a person reads at the end of viommu bench guest."""

from figures import MEMORY, RATES

COLUMNS = ["read qd1", "read qd16", "write qd1", "write qd16", "read 128k", "write 128k"]
NAME_WIDTH, WIDTH = 24, 11
BAR_CELLS, BAR_TOP = 30, 1.2  # a bar of this many cells stands for this ratio
EIGHTHS = " ▏▎▍▌▋▊▉"
PICTURES = {"randread_4k_qd1_iops": "depth 1", "randread_4k_qd16_iops": "depth 16"}


def bar(ratio, plain):
    eighths = round(min(ratio, BAR_TOP) / BAR_TOP * BAR_CELLS * 8)
    if plain:
        return "#" * ((eighths + 4) // 8)
    return "█" * (eighths // 8) + EIGHTHS[eighths % 8].strip()


def row(name, cells):
    return f"{name:{NAME_WIDTH}}" + "".join(f"{cell:>{WIDTH}}" for cell in cells)


def rates(report, modes):
    yield row("", COLUMNS + ["daemon"])
    yield row("", ["IOPS"] * 4 + ["MB/s"] * 2 + ["MiB"])
    for mode in modes:
        yield row(mode, [f"{report[mode][key]:.0f}" for key in RATES] + [f"{report[mode][MEMORY]:.1f}"])


def latencies(report, modes):
    yield "p50 / p99 in us"
    for mode in modes:
        both = [[report[mode][f"{key.rsplit('_', 1)[0]}_{p}_us"] for p in ("p50", "p99")] for key in RATES]
        yield row(mode, [f"{half:.0f}/{most:.0f}" for half, most in both])


def pictures(ratios, base, plain):
    for key, what in PICTURES.items():
        yield f"4 KiB random read, {what}, of {base}"
        for mode, its in {base: {key: 1}, **ratios}.items():
            yield f"  {mode:{NAME_WIDTH}}{its[key]:6.2f}  {bar(its[key], plain)}"


def paragraphs(report, modes, plain):
    yield rates(report, modes)
    yield latencies(report, modes)
    if report["ratios"]["none"]:
        yield pictures(report["ratios"]["none"], "none", plain)
    against = report["ratios"]["qemu_intel_iommu_strict"]
    if against:
        yield [row("of qemu_intel_iommu_strict", []), *(row(mode, [f"{its[key]:.2f}" for key in RATES])
                                                        for mode, its in against.items())]


def text(report, modes, plain):
    """`plain`: the bars have to do without block characters."""
    return "\n\n".join("\n".join(lines) for lines in paragraphs(report, modes, plain))
