#!/usr/bin/env python3
"""Change points and anomalies beside their peers: false alarms and power on the same series, in one run.

The example `detection_series` generates unchanged series of ten kinds of noise, and series with one step
together with the same noise without it. `driftline detect` and each peer look at the same series; a step
is looked at with 10, 30 and 100 samples after it. Live days of samples, in which five minutes are higher,
are given to `detect --mode anomaly` and to control charts.

    python3 -m venv venv && venv/bin/pip install scipy apache-otava ruptures    # for --eval also: pandas pelt
    cargo build --release
    venv/bin/python benches/peers/detection.py                    # 2,000 unchanged series, 1,000 of each step
    venv/bin/python benches/peers/detection.py --series 20        # a trial
    venv/bin/python benches/peers/detection.py --eval FOLDER      # a benchmark's public half, with its own scorer

An alarm from 5 samples before the step to 9 after it has found it, live one within the five minutes. Net
power is the share found less the share found at the same place in the same noise without a step, the
placebo, hence 1 - placebo at most. CPU is that of an unchanged series; for Driftline it includes the start
of the program, reading and writing, for peers the search alone. A peer that is missing is named and left out.
"""

import argparse
import csv
import multiprocessing
import os
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

import detection_eval
import detection_scores
import finders
import machine
import report

AFTER = (10, 30, 100)
PERCENT = (1, 2, 5)
SPREADS = (5, 10, 20)
# An alarm so many samples before or after the first sample of what happened has found it; live, nothing
# can be found before it happens, or after the five minutes that it lasts.
STEP_MARGIN, LIVE_MARGIN = (5, 9), (0, 29)
# The kinds whose samples do not depend on each other: most peers are made for these alone.
INDEPENDENT = {"Gaussian", "Lognormal", "HeavyTailed", "Bimodal", "Spikes", "Quantised", "Resampled"}
# What peers are made of, here and in the benchmark that `--eval` runs.
PACKAGES = ("apache-otava", "ruptures", "scipy", "numpy", "pelt")
LIMIT_S = 1_800.0


@dataclass(frozen=True)
class Truth:
    """What happens in a series of a file; size 0 is nothing, at the same place as in its counterparts."""

    file: str
    kind: str
    size: int
    index: int | None


@dataclass(frozen=True)
class Looked:
    """What a method found, and its CPU seconds, by file; what was found is by series."""

    name: str
    found: dict
    cpu_s: dict


def generate(folder, series, seed):
    """Has the example write its files."""
    command = ["cargo", "run", "--release", "--quiet", "-p", "driftline-stats", "--example", "detection_series", "--"]
    counts = [series, seed, max(2, series // 2), max(2, series // 20)]
    machine.run([*command, folder, *map(str, counts)], limit_s=LIMIT_S, cwd=machine.repository()).check()


def truth(folder):
    """What happens in each series, by its name."""
    with open(Path(folder) / "truth.csv", newline="") as file:
        return {
            row["series"]: Truth(row["file"], row["kind"], int(row["size"]), int(row["index"]) if row["index"] else None)
            for row in csv.DictReader(file)
        }


def files(folder, truths):
    """The series that change points are looked for in, by file; those with steps are cut off after so
    many samples."""
    stepped = finders.read(Path(folder) / "steps.csv")
    series = {"unchanged": finders.read(Path(folder) / "unchanged.csv")}
    for after in AFTER:
        series[f"steps-{after}"] = {name: values[: truths[name].index + after] for name, values in stepped.items()}
    return series


def driftline(program, folder, series, mode, every_s):
    """What `driftline detect` finds in samples so many seconds apart."""
    found, cpu_s = {}, {}
    for name, all_values in series.items():
        given, taken = Path(folder) / f"{name}.in.csv", Path(folder) / f"{name}.out.csv"
        with open(given, "w") as file:
            file.write("series,timestamp,value\n")
            for one, values in all_values.items():
                file.writelines(f"{one},{place * every_s},{value!r}\n" for place, value in enumerate(values))
        command = [program, "detect", "--mode", mode, "--input", str(given), "--output", str(taken)]
        cpu_s[name] = machine.run(command, limit_s=LIMIT_S).check().cpu_s
        found[name] = {one: [] for one in all_values}
        with open(taken, newline="") as file:
            for row in csv.DictReader(file):
                found[name][row["series"]].append(int(row["changepoint_index"]))
    return Looked("**driftline**", found, cpu_s)


def peer(one, series):
    """What a peer finds."""
    find, found, cpu_s = one.make(), {}, {}
    for name, all_values in series.items():
        begun = time.process_time()
        found[name] = {each: [int(place) for place in find(values)] for each, values in all_values.items()}
        cpu_s[name] = time.process_time() - begun
    return Looked(one.name, found, cpu_s)


def peers(asked, series, jobs):
    """What the peers find that are there."""
    there = [one for one in asked if one.versions() is not None]
    # Forked children have the series and the finders already, neither of which need be sent to them.
    with multiprocessing.get_context("fork").Pool(jobs, _keep, (there, series)) as pool:
        return pool.map(_look, range(len(there)), chunksize=1)


def _keep(there, series):
    """Called in each child, before anything is looked at."""
    _look.work = there, series


def _look(number):
    there, series = _look.work
    return peer(there[number], series)


def change_row(looked, truths):
    """A method's line of the table of change points."""
    unchanged = looked.found["unchanged"]
    plain = [found for name, found in unchanged.items() if truths[name].kind in INDEPENDENT]
    every = detection_scores.rate(unchanged.values())
    # Daily series are of two to three weeks where they are cut: too short to tell weekends from steps.
    cut = [
        found for after in AFTER for name, found in looked.found[f"steps-{after}"].items() if truths[name].size == 0
    ]
    powers = [
        [power(looked.found[f"steps-{after}"], truths, percent, STEP_MARGIN) for percent in PERCENT] for after in AFTER
    ]
    return [
        looked.name,
        limited(every.per_series, every.per_series_limit),
        limited(every.share, every.share_limit),
        report.number(detection_scores.rate(plain).per_series),
        report.number(detection_scores.rate(cut).per_series),
        *map(nets, powers),
        f"{fmean(one.placebo for some in powers for one in some):.3f}",
        report.number(looked.cpu_s["unchanged"] / len(unchanged) * 1e6),
    ]


def live_row(looked, truths, samples):
    """A method's line of the table of live series."""
    found = looked.found["live"]
    days = {name: alarms for name, alarms in found.items() if truths[name].size == 0}
    every = detection_scores.rate(days.values())
    plain = [alarms for name, alarms in days.items() if truths[name].kind in INDEPENDENT]
    powers = [power(found, truths, spreads, LIVE_MARGIN) for spreads in SPREADS]
    return [
        looked.name,
        limited(every.per_series, every.per_series_limit),
        limited(every.share, every.share_limit),
        report.number(detection_scores.rate(plain).per_series),
        nets(powers),
        f"{powers[0].placebo:.3f}",
        report.number(looked.cpu_s["live"] / samples * 1e6),
    ]


def power(found, truths, size, margin):
    """Net power at one size of what happens, over all kinds."""
    pairs = {}
    for name in found:
        one = truths[name]
        if one.size != size:
            continue
        counterpart = name.rpartition("-")[0] + "-0"
        hits = [detection_scores.is_found(found[each], one.index, *margin) for each in (name, counterpart)]
        pairs.setdefault(one.kind, []).append(hits)
    return detection_scores.power(pairs.values())


def limited(value, limit):
    return f"{report.number(value)} (≤ {report.number(limit)})"


def nets(powers):
    return " / ".join(f"{one.net:.2f} ± {one.error:.2f}" for one in powers)


CHANGES = [
    "",
    "alarms per unchanged series",
    "unchanged series with an alarm",
    "alarms per series of independent noise",
    "alarms per counterpart of a step, cut as the steps are",
    *(f"net power, {after} after a step of 1 / 2 / 5 %" for after in AFTER),
    "placebo",
    "CPU per series, µs",
]
LIVE = [
    "",
    "alarms per unchanged day",
    "unchanged days with an alarm",
    "alarms per day of independent noise",
    "net power, five minutes of 5 / 10 / 20 spreads",
    "placebo",
    "CPU per sample, µs",
]


def run(options, program):
    """The generated series, looked at and judged; the text."""
    with tempfile.TemporaryDirectory() as folder:
        generate(folder, options.series, options.seed)
        truths = truth(folder)
        series = files(folder, truths)
        changes = [driftline(program, folder, series, "change-point", 3_600)]
        changes += peers(finders.PEERS, series, options.jobs)
        series = {"live": finders.read(Path(folder) / "live.csv")}
        live = [driftline(program, folder, series, "anomaly", 10)]
        live += peers(finders.LIVE_PEERS, series, options.jobs)
    samples = sum(map(len, series["live"].values()))
    counts = Counter((one.file, one.size) for one in truths.values())
    text = (
        f"Change points: {counts['unchanged', 0]:,} unchanged series, {counts['steps', PERCENT[0]]:,} with a step of each size, "
        f"seed {options.seed}. In brackets the upper end of the exact interval at 95 % (Poisson, Clopper-Pearson); ± is one "
        "standard error.\n\n"
    )
    text += report.table(CHANGES, [change_row(one, truths) for one in changes])
    text += "".join(f"\nmissing: {one.name}\n" for one in finders.PEERS if one.versions() is None)
    text += f"\nAnomalies: {counts['live', 0]:,} days of samples every 10 s, and as many with each height.\n\n"
    return text + report.table(LIVE, [live_row(one, truths, samples) for one in live])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--series", type=int, default=200, help="unchanged series of each of ten kinds; half as many of each step, a twentieth of live days (default 200)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)), help="processes for the peers (default: the cores)")
    parser.add_argument("--driftline", metavar="PATH", help="the program (default: the release profile's)")
    parser.add_argument("--eval", metavar="DIR", help="a folder with bench.py and its public half, instead of generated series")
    options = parser.parse_args()
    try:
        program = machine.built("driftline", options.driftline, "cargo build --release")
        told = machine.describe()
        versions = [f"Python {sys.version.split()[0]}", *map(" ".join, finders.installed(PACKAGES).items())]
        print(
            f"{told['cores']} cores ({told['cpu']}), load average {told['load_average']} before; {', '.join(versions)}\n"
        )
        if options.eval:
            print(detection_eval.run(options.eval, program, options.jobs))
        else:
            print(run(options, program))
    except machine.Failed as failed:
        sys.exit(str(failed))


if __name__ == "__main__":
    main()
