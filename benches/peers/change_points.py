#!/usr/bin/env python3
"""Change points beside their peers: CPU time per series on the same series, in one run.

The example `changepoint_speed` generates unchanged series of 250 points, times Driftline on them and
writes them to a file; Apache Otava and ruptures are timed here on every one of them. Both sides are
charged CPU time of one thread, the least of five passes, without the start of a process and without
reading the file. Alarms are counted as well: every one is false but for those at weekends, which a
daily series of 250 hours is too short to tell from steps.

    python3 -m venv venv && venv/bin/pip install numpy apache-otava ruptures
    venv/bin/python benches/peers/change_points.py --series 20

A peer that is missing is named and left out.
"""

import argparse
import csv
import math
import os
import re
import subprocess
import tempfile
import time
from importlib.metadata import PackageNotFoundError, version

PASSES = 5
LINE = re.compile(r"250 points, unchanged: µs per series: ([0-9.]+)")


def driftline(series, seed, path):
    """Microseconds per series of Driftline, which writes the series to the path."""
    command = ["cargo", "run", "--release", "--quiet", "-p", "driftline-stats", "--example", "changepoint_speed", "--"]
    run = subprocess.run([*command, str(series), str(seed), path], check=True, capture_output=True, text=True)
    found = LINE.search(run.stdout)
    if found is None:
        raise SystemExit(f"changepoint_speed printed no time:\n{run.stdout}")
    return float(found.group(1))


def read(path):
    series = {}
    with open(path, newline="") as file:
        for row in csv.DictReader(file):
            series.setdefault(row["series"], []).append(float(row["value"]))
    return list(series.values())


def otava(p_value):
    from otava.analysis import compute_change_points

    def find(values):
        return compute_change_points(values, window_len=50, max_pvalue=p_value, min_magnitude=0.0)[0]

    return find


def pelt():
    """PELT with the squared error, in C, at a penalty of 2 σ² ln n; σ from the differences."""
    import numpy
    import ruptures

    def find(values):
        array = numpy.array(values)
        steps = numpy.diff(array)
        spread = 1.4826 * numpy.median(numpy.abs(steps - numpy.median(steps))) / math.sqrt(2)
        spread = spread or numpy.std(steps) / math.sqrt(2)
        scaled = (array / spread).reshape(-1, 1)
        penalty = 2 * math.log(len(values))
        return ruptures.KernelCPD(kernel="linear", min_size=2).fit_predict(scaled, pen=penalty)[:-1]

    return find


PEERS = [
    ("Apache Otava, p = .001", "apache-otava", lambda: otava(0.001)),
    ("Apache Otava, p = 1e-6", "apache-otava", lambda: otava(1e-6)),
    ("ruptures PELT-l2 in C, 2 σ² ln n", "ruptures", pelt),
]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--series", type=int, default=20, help="series of each of ten kinds (default 20)")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    os.chdir(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "series.csv")
        ours = driftline(options.series, options.seed, path)
        series = read(path)
    print(f"{len(series)} unchanged series of 250 points, CPU time per series\n")
    print("| | µs | times Driftline's | alarms per series |\n|---|---|---|---|")
    print(f"| driftline | {ours:.0f} | 1 | |")
    for name, package, make in PEERS:
        try:
            label = f"{name} ({version(package)})"
        except PackageNotFoundError:
            print(f"missing: {package}")
            continue
        find = make()
        spent = math.inf
        for _ in range(PASSES):
            start, alarms = time.process_time(), 0
            for values in series:
                alarms += len(find(values))
            spent = min(spent, (time.process_time() - start) / len(series) * 1e6)
        print(f"| {label} | {spent:.0f} | {spent / ours:.0f} | {alarms / len(series):.2f} |")


if __name__ == "__main__":
    main()
