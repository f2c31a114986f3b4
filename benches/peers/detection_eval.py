"""A detection benchmark that is not part of this repository, run in a copy: Driftline and peers through
its own `bench.py`, which holds the peers and the scorer.

What is needed of the folder: `bench.py`, `score.py` and `public/`; what it writes per method,
`out/public/*/score.json`, is read here. A peer that fails is named and left out.
"""

import json
import os
import shlex
import shutil
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import machine
import report

TASKS = "tcpd,aa,shift,nab,fleet,ab"
# Change-point methods are not made for anomalies, and some take hours for them.
PEER_TASKS = "tcpd,aa,shift,fleet"
# Parts of the benchmark's names that choose one method each, slow ones first. `zero` says nothing ever.
PEERS = [
    "otava p=0.001",
    "otava p=1e-06",
    "ruptures Kernel-rbf pen=1logn",
    "MannWhitney 15v15 a=0.0001",
    "perfherder-t T=7",
    "ruptures Pelt-l2 C pen=2s2logn",
    "Pelt-l2 on z-scores",
    "pelt crate (Rust) l2 pen=2s2logn",
    "mean+-3sigma w50",
    "zero",
]
OURS = "driftline"
LIMIT_S = 3_600.0


def run(folder, program, jobs):
    """The benchmark's scores as text."""
    with tempfile.TemporaryDirectory() as place:
        copy(Path(folder), Path(place))
        template = f"{shlex.quote(str(program))} detect --mode {{mode}} --input {{input}} --output {{output}}"
        asked = [["--cmd", template, "--name", OURS, "--tasks", TASKS]]
        asked += [["--peers", name, "--tasks", PEER_TASKS] for name in PEERS]
        asked.append(["--peers", "ab", "--tasks", "ab"])
        with ThreadPoolExecutor(jobs) as pool:
            ended = list(pool.map(lambda number: bench(place, number, asked[number]), range(len(asked))))
    if ended[0][1]:
        raise machine.Failed(ended[0][1])
    scores = [score for some, _ in ended for score in some]
    return text(scores, [failure for _, failure in ended if failure])


def copy(folder, place):
    """The public half and the programs; what was read-only can be removed again."""
    for name in ("bench.py", "score.py"):
        shutil.copyfile(folder / name, place / name)
    shutil.copytree(folder / "public", place / "public", copy_function=shutil.copyfile)
    for parent, _, _ in os.walk(place):
        os.chmod(parent, 0o700)


def bench(place, number, arguments):
    """Scores of one run, and why it failed if it did. Runs side by side have folders of their own."""
    out = f"out-{number}"
    command = [sys.executable, "bench.py", "--out", out, *arguments]
    try:
        machine.run(command, limit_s=LIMIT_S, cwd=place).check()
    except machine.Failed as failed:
        return [], f"{arguments[1]}: {str(failed).splitlines()[-1]}"
    found = sorted(Path(place, out).glob("public/*/score.json"))
    return [json.loads(path.read_text()) for path in found], None


def text(scores, failures):
    """Both tables, ours first, and what is missing."""
    scores = sorted(scores, key=lambda score: score["name"] != OURS)
    changes = [change_points(score) for score in scores if "aa" in score]
    compared = [comparison(score) for score in scores if "ab" in score]
    tables = report.table(CHANGES, changes) + "\n" + report.table(COMPARED, compared)
    return tables + "".join(f"\nfailed: {failure}\n" for failure in failures)


CHANGES = [
    "",
    "TCPD F1 / cover",
    "alarms per unchanged series: all / core kinds",
    "net power, 30 after: 1 / 2 / 5 %",
    "10 after: 2 / 5 %",
    "100 after: 1 / 2 %",
    "NAB F1 / standard profile",
    "fleet: events found / spurious groups",
    "ms per unchanged series",
]
COMPARED = [
    "",
    "false alarms, runs spread by 0 / 3 / 6 %",
    "+ 5 %",
    "+ 10 %",
    "tail × 2",
    "interval covers",
]


def change_points(score):
    """A method's line; Driftline's time is that of the clock, its start included, a peer's is CPU."""
    shift = {after: score.get("shift", {}).get(str(after), {}) for after in (10, 30, 100)}
    took = score["time"]["aa"]
    nab, fleet = score.get("nab"), score.get("fleet")
    return [
        score["name"],
        shares(score.get("tcpd", {}), "F1", "cover"),
        shares(score["aa"], "fp_per_series", "fp_core"),
        shares(shift[30], "1%", "2%", "5%"),
        shares(shift[10], "2%", "5%"),
        shares(shift[100], "1%", "2%"),
        f"{nab['F1']:.2f} / {nab['nab']:.1f}" if nab else "-",
        f"{fleet['event_recall'] * fleet['events']:.0f} of {fleet['events']} / {fleet['spurious_groups']}" if fleet else "-",
        report.number(1e3 * took["sec"] / took["series"]),
    ]


def comparison(score):
    """A method's line of the comparison of load runs."""
    ab = score["ab"]
    names = ("fp_runsd0", "fp_runsd3", "fp_runsd6")
    return [score["name"], shares(ab, *names), *(shares(ab, name) for name in ("pow_p50+5", "pow_p50+10", "pow_tail+100", "ci_cover"))]


def shares(score, *names):
    return " / ".join(report.number(score.get(name)) for name in names)
