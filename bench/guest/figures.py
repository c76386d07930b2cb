# SPDX-License-Identifier: BSD-3-Clause
"""From what fio prints to figures: medians of rounds, and ratios within each round."""

from statistics import median

# The jobs of tests/guest/init -> what counts for them.
JOBS = {
    "randread_4k_qd1": "iops",
    "randread_4k_qd16": "iops",
    "randwrite_4k_qd1": "iops",
    "randwrite_4k_qd16": "iops",
    "read_128k": "mbps",
    "write_128k": "mbps",
}
RATES = [f"{job}_{unit}" for job, unit in JOBS.items()]
PERCENTILES = {"p50": "50.000000", "p99": "99.000000"}
MEMORY = "daemon_memory_mib"


def rate(direction, unit):
    return direction["iops"] if unit == "iops" else direction["bw_bytes"] / 1e6


def of_fio(result):
    """The figures of one run of fio; KeyError or StopIteration when it has measured something else."""
    figures = {}
    jobs = {job["jobname"]: job for job in result["jobs"]}
    for name, unit in JOBS.items():
        direction = next(jobs[name][d] for d in ("read", "write") if jobs[name][d]["total_ios"])
        figures[f"{name}_{unit}"] = round(rate(direction, unit), 1)
        for short, key in PERCENTILES.items():
            figures[f"{name}_{short}_us"] = round(direction["lat_ns"]["percentile"][key] / 1000, 1)
    return figures


def of_rounds(rounds):
    """The median of each figure; of the memory the most that was seen."""
    figures = {key: round(median(one[key] for one in rounds), 1) for key in rounds[0]}
    figures[MEMORY] = max(one[MEMORY] for one in rounds)
    figures["rounds"] = rounds
    return figures


def ratios(rounds, base):
    """Mode -> rate -> the median of what it was of `base`'s in the same round; mode -> list of rounds given."""
    return {
        mode: {key: round(median(one[key] / other[key] for one, other in zip(own, rounds[base])), 3)
               for key in RATES}
        for mode, own in rounds.items() if mode != base
    }
