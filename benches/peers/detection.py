#!/usr/bin/env python3
"""Change points beside their peers: false alarms and power on the same series, in one run.

The example `detection_series` generates unchanged series of ten kinds of noise, and series with one step
together with the same noise without it. `driftline detect` and each peer look at the same files; a step
is looked at with 10, 30 and 100 samples after it.

    python3 -m venv venv && venv/bin/pip install scipy apache-otava ruptures
    cargo build --release
    venv/bin/python benches/peers/detection.py                    # 2,000 unchanged series and 1,000 of each step
    venv/bin/python benches/peers/detection.py --series 20        # a trial
    venv/bin/python benches/peers/detection.py --eval FOLDER      # a benchmark's public half, with its own scorer

An alarm from 5 samples before the step to 9 after it has found it; net power is the share found less the
share found at the same place in the same noise without a step. CPU is that of an unchanged series; for
Driftline it includes the start of the program, reading and writing, for peers the search alone. A peer
that is missing is named and left out.
"""

import argparse
import csv
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import detection_eval
import detection_scores
import finders
import machine
import report

AFTER = (10, 30, 100)
PERCENT = (1, 2, 5)
# The kinds whose samples do not depend on each other: most peers are made for these alone.
INDEPENDENT = {"Gaussian", "Lognormal", "HeavyTailed", "Bimodal", "Spikes", "Quantised", "Resampled"}
LIMIT_S = 1_800.0


@dataclass(frozen=True)
class Step:
    """One series of the file with steps; 0 percent is the counterpart without one."""

    kind: str
    percent: int
    index: int


@dataclass(frozen=True)
class Looked:
    """What a method found, by the name of the file and of the series, and its CPU per unchanged series."""

    name: str
    found: dict
    cpu_us: float


def generate(folder, series, seed):
    """Has the example write its files."""
    command = ["cargo", "run", "--release", "--quiet", "-p", "driftline-stats", "--example", "detection_series", "--"]
    steps = max(2, series // 2)
    subprocess.run([*command, folder, str(series), str(seed), str(steps)], check=True, cwd=machine.repository())


def truth(folder):
    """Kinds of the unchanged series, and the steps of the others, by name."""
    kinds, steps = {}, {}
    with open(Path(folder) / "truth.csv", newline="") as file:
        for row in csv.DictReader(file):
            if row["index"]:
                steps[row["series"]] = Step(row["kind"], int(row["percent"]), int(row["index"]))
            else:
                kinds[row["series"]] = row["kind"]
    return kinds, steps


def files(folder, steps):
    """The series of each file that is looked at, the ones with steps cut off after so many samples."""
    all_steps = finders.read(Path(folder) / "steps.csv")
    series = {"unchanged": finders.read(Path(folder) / "unchanged.csv")}
    for after in AFTER:
        cut = {name: values[: steps[name].index + after] for name, values in all_steps.items()}
        series[f"steps-{after}"] = cut
    return series


def driftline(program, folder, series):
    """What `driftline detect` finds."""
    found, cpu_us = {}, 0.0
    for name, all_values in series.items():
        given, taken = Path(folder) / f"{name}.in.csv", Path(folder) / f"{name}.out.csv"
        with open(given, "w") as file:
            file.write("series,timestamp,value\n")
            for one, values in all_values.items():
                file.writelines(f"{one},{place * 3_600},{value!r}\n" for place, value in enumerate(values))
        command = [program, "detect", "--mode", "change-point", "--input", str(given), "--output", str(taken)]
        finished = machine.run(command, limit_s=LIMIT_S).check()
        if name == "unchanged":
            cpu_us = finished.cpu_s / len(all_values) * 1e6
        found[name] = {one: [] for one in all_values}
        with open(taken, newline="") as file:
            for row in csv.DictReader(file):
                found[name][row["series"]].append(int(row["changepoint_index"]))
    return Looked("**driftline**", found, cpu_us)


def peer(one, series):
    """What a peer finds."""
    find, found, cpu_us = one.make(), {}, 0.0
    for name, all_values in series.items():
        begun = time.process_time()
        found[name] = {each: [int(place) for place in find(values)] for each, values in all_values.items()}
        if name == "unchanged":
            cpu_us = (time.process_time() - begun) / len(all_values) * 1e6
    return Looked(one.name, found, cpu_us)


def peers(series, jobs):
    """What the peers find that are there, and the names of those that are missing."""
    there = [one for one in finders.PEERS if one.versions() is not None]
    missing = [one.name for one in finders.PEERS if one.versions() is None]
    # Forked children have the series and the finders already, neither of which need be sent to them.
    with multiprocessing.get_context("fork").Pool(jobs, _keep, (there, series)) as pool:
        return pool.map(_look, range(len(there)), chunksize=1), missing


def _keep(there, series):
    _look.work = there, series


def _look(number):
    there, series = _look.work
    return peer(there[number], series)


def row(looked, kinds, steps):
    """A method's line of the table."""
    unchanged = looked.found["unchanged"]
    every = detection_scores.rate(unchanged.values())
    plain = detection_scores.rate(found for name, found in unchanged.items() if kinds[name] in INDEPENDENT)
    powers = {
        (after, percent): power(looked.found[f"steps-{after}"], steps, percent)
        for after in AFTER
        for percent in PERCENT
    }
    placebo = sum(one.placebo for one in powers.values()) / len(powers)
    return [
        looked.name,
        f"{report.number(every.per_series)} (≤ {report.number(every.per_series_limit)})",
        f"{report.number(every.share)} (≤ {report.number(every.share_limit)})",
        f"{report.number(plain.per_series)} (≤ {report.number(plain.per_series_limit)})",
        *(" / ".join(net(powers[after, percent]) for percent in PERCENT) for after in AFTER),
        f"{placebo:.3f}",
        report.number(looked.cpu_us),
    ]


def power(found, steps, percent):
    """Net power at one size of the step, over all kinds."""
    pairs = {}
    for name, step in steps.items():
        if step.percent != percent:
            continue
        counterpart = name.rpartition("-")[0] + "-0"
        hits = [detection_scores.is_found(found[each], step.index) for each in (name, counterpart)]
        pairs.setdefault(step.kind, []).append(hits)
    return detection_scores.power(pairs.values())


def net(power):
    return f"{power.net:.2f} ± {power.error:.2f}"


HEAD = [
    "",
    "alarms per unchanged series",
    "unchanged series with an alarm",
    "alarms per series of independent noise",
    *(f"net power, {after} after a step of 1 / 2 / 5 %" for after in AFTER),
    "placebo",
    "CPU per series, µs",
]


def run(options, program):
    """The generated series, looked at and judged; the text."""
    with tempfile.TemporaryDirectory() as folder:
        generate(folder, options.series, options.seed)
        kinds, steps = truth(folder)
        series = files(folder, steps)
        ours = driftline(program, folder, series)
        theirs, missing = peers(series, options.jobs)
    each = sum(step.percent == PERCENT[0] for step in steps.values())
    text = (
        f"{len(kinds):,} unchanged series, {each:,} with a step of each size, seed {options.seed}. In brackets the upper "
        "end of the exact interval at 95 % (Poisson, Clopper-Pearson); ± is one standard error.\n\n"
    )
    text += report.table(HEAD, [row(one, kinds, steps) for one in [ours, *theirs]])
    return text + "".join(f"\nmissing: {name}\n" for name in missing)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--series", type=int, default=200, help="unchanged series of each of ten kinds; half as many of each step (default 200)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)), help="processes for the peers (default: the cores)")
    parser.add_argument("--driftline", metavar="PATH", help="the program (default: the release profile's)")
    parser.add_argument("--eval", metavar="DIR", help="a folder with bench.py and its public half, instead of generated series")
    options = parser.parse_args()
    try:
        program = machine.built("driftline", options.driftline, "cargo build --release")
        told = machine.describe()
        versions = {name: said for one in finders.PEERS for name, said in (one.versions() or {}).items()}
        print(
            f"{told['cores']} cores ({told['cpu']}), load average {told['load_average']} before; Python "
            f"{sys.version.split()[0]}, {', '.join(f'{name} {said}' for name, said in sorted(versions.items()))}\n"
        )
        if options.eval:
            print(detection_eval.run(options.eval, program, options.jobs))
        else:
            print(run(options, program))
    except machine.Failed as failed:
        sys.exit(str(failed))


if __name__ == "__main__":
    main()
