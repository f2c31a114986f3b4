#!/usr/bin/env python3
"""Change points beside their peers: CPU time per series on the same series, in one run.

The example `changepoint_speed` generates unchanged series of 250 points, times Driftline on them and
writes them to a file; Apache Otava, ruptures and others are timed here on every one of them. Both sides are
charged CPU time of one thread, the least of five passes, without the start of a process and without
reading the file. Alarms are counted as well: every one is false but for those at weekends, which a
daily series of 250 hours is too short to tell from steps.

    python3 -m venv venv && venv/bin/pip install scipy apache-otava ruptures
    venv/bin/python benches/peers/change_points.py --series 20

A peer that is missing is named and left out.
"""

import argparse
import math
import os
import re
import subprocess
import tempfile
import time

import finders

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


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--series", type=int, default=20, help="series of each of ten kinds (default 20)")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    os.chdir(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "series.csv")
        ours = driftline(options.series, options.seed, path)
        series = list(finders.read(path).values())
    print(f"{len(series)} unchanged series of 250 points, CPU time per series\n")
    print("| | µs | times Driftline's | alarms per series |\n|---|---|---|---|")
    print(f"| driftline | {ours:.0f} | 1 | |")
    for peer in finders.PEERS:
        versions = peer.versions()
        if versions is None:
            print(f"missing: {', '.join(peer.packages)}")
            continue
        label = f"{peer.name} ({', '.join(map(' '.join, versions.items())) or 'plain Python'})"
        find = peer.make()
        spent = math.inf
        for _ in range(PASSES):
            start, alarms = time.process_time(), 0
            for values in series:
                alarms += len(find(values))
            spent = min(spent, (time.process_time() - start) / len(series) * 1e6)
        print(f"| {label} | {spent:.0f} | {spent / ours:.0f} | {alarms / len(series):.2f} |")


if __name__ == "__main__":
    main()
