"""The truth table: a server is stopped for a second while 200 requests a second are due, and what each
client reports is held against the server's own log.

The server is stopped by a signal, so that nothing of it can help a client. The truth is what users
would have met who come every 5 ms whatever happens: who comes while the server is stopped waits until
it goes on, everybody else as long as the log says that a request took. When it stopped and went on is
the longest pause between two answers in that log.
"""

import signal
import tempfile
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, median

import clients
from clients import Ask
from machine import Failed
from servers import Target

RATE_PER_S = 200
SECONDS = 10
STOPS_AFTER_S = 4.0
STOPPED_S = 1.0
CONNECTIONS = 20
# A report tells the truth when mean, p95 and p99 are so close to it.
CLOSE = 0.05


@dataclass(frozen=True)
class Truth:
    """What users met, in milliseconds, and how many requests the server saw."""

    mean_ms: float
    p95_ms: float
    p99_ms: float
    served: int


def tools(chosen):
    """The clients that can keep a rate, each in the way users run it."""
    driftline = clients.Driftline()
    found = [(driftline.name, driftline)]
    for kind in (clients.Hey, clients.H2load, clients.Oha, clients.OhaCorrected, clients.K6, clients.K6Few):
        client = kind()
        if client.path and kind.program in chosen:
            name = "k6, 300 VUs" if kind is clients.K6 else client.name
            found.append((name, client))
    return found


def measure(client, cores):
    """One run: what the client said, and the truth."""
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "target.csv"
        with Target(log, cores.server) as target:
            ask = Ask(target.url, "http1", CONNECTIONS, 1, SECONDS, RATE_PER_S)
            at = [
                (STOPS_AFTER_S, lambda _: target.signal(signal.SIGSTOP)),
                (STOPS_AFTER_S + STOPPED_S, lambda _: target.signal(signal.SIGCONT)),
            ]
            report, _ = client.run(ask, folder, cores.client, at)
        return report, truth(log.read_text())


def truth(log):
    """What a log says that users met."""
    rows = [line.split(",")[:3] for line in log.splitlines()[1:]]
    times = sorted((int(end), int(arrival)) for arrival, _, end in rows)
    if len(times) < 2:
        raise Failed("the target's log is empty")
    ends = [end for end, _ in times]
    pause, at = max((after - before, index) for index, (before, after) in enumerate(zip(ends, ends[1:])))
    if pause < STOPPED_S * 1e6 / 2:
        raise Failed(f"the target's longest pause was {pause} µs: it was not stopped")
    stops, goes_on = ends[at], ends[at + 1]
    usual_us = median(end - arrival for end, arrival in times)
    step_us = 1e6 / RATE_PER_S
    first = min(arrival for _, arrival in times)
    due = [first + step_us * number for number in range(RATE_PER_S * SECONDS)]
    waits = sorted(usual_us + (goes_on - one if stops < one < goes_on else 0) for one in due)
    return Truth(
        fmean(waits) / 1e3,
        clients.quantile(waits, 0.95) / 1e3,
        clients.quantile(waits, 0.99) / 1e3,
        len(times),
    )


def is_true(report, held):
    """Whether mean, p95 and p99 are told, and are close to the truth."""
    pairs = [(report.mean_ms, held.mean_ms), (report.p95_ms, held.p95_ms), (report.p99_ms, held.p99_ms)]
    return all(said is not None and abs(said / held - 1) <= CLOSE for said, held in pairs)
