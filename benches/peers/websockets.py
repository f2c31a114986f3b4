"""WebSocket round trips beside raw TCP: CPU per round trip of the client, at the same rate.

`ws_measure` sends the same bytes at the same times over raw TCP, without a protocol and without a
record; then the lean binary does it as users run it, every message recorded. Both are measured between
two times at which all connections are open, so that handshakes are in neither.
"""

import os
import re
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path

import clients
import machine
from machine import Failed
from servers import BareServer

RATE_PER_S = 40_000
SIZE_BYTES = 64
CONNECT_RATE_PER_S = 10_000
# The larger one leaves descriptors for everything else where a process has 20,000.
CONNECTIONS = (64, 19_800)
SETTLES_S = 1.5
RAW = re.compile(r"raw TCP \d+: (\d+) round trips .* client ([\d.]+), server")


@dataclass(frozen=True)
class Trips:
    """Round trips and what each has cost the client."""

    trips: int
    cpu_us: float
    p99_ms: float | None = None
    errors: int = 0
    log_bytes: int | None = None
    is_limited: bool = False


def raw(connections, cores):
    """Raw TCP; an echo counts when it has come back."""
    watch = Placing(cores)
    command = [machine.built("ws_measure"), "raw", str(connections)]
    finished = machine.run(command, cores.client, at=[(0.0, watch.begin)])
    watch.end()
    said = RAW.search(finished.check().out)
    if said is None:
        raise Failed(f"ws_measure said nothing: {finished.out}")
    return Trips(int(said.group(1)), float(said.group(2)))


class Placing:
    """Moves the servers that a program starts to their core: they inherit that of the program."""

    def __init__(self, cores):
        self.cores = cores
        self.is_over = threading.Event()
        self.thread = None

    def begin(self, pid):
        if self.cores.are_apart:
            self.thread = threading.Thread(target=self.place, args=[pid])
            self.thread.start()

    def place(self, pid):
        while not self.is_over.wait(0.01):
            try:
                for child in machine.children(pid):
                    os.sched_setaffinity(child, {self.cores.server})
            except (ProcessLookupError, FileNotFoundError):
                # It ended between two looks.
                continue

    def end(self):
        self.is_over.set()
        if self.thread is not None:
            self.thread.join()


def recorded(driftline, connections, seconds, cores):
    """The lean binary; what it says must be what the server has counted."""
    connect_s = connections / CONNECT_RATE_PER_S
    # Those that are open talk already, so that the last ones take their time.
    begins_s = 3 * connect_s + SETTLES_S
    marks = []
    with BareServer("websocket", cores.server) as server, tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "scenario.toml"
        path.write_text(scenario(connections, begins_s + seconds + 2))
        options = ["--workers", "1", "--processes", "1", "--plain", "--format", "json"]
        command = [driftline.path, "run", str(path), *options, "--target", server.url]
        command += ["--data", str(Path(folder) / "data")]
        # Its first second goes by before the run begins.
        mark = lambda pid: marks.append((machine.cpu_s(pid), server.counters()))
        at = [(1.0 + begins_s, mark), (1.0 + begins_s + seconds, mark)]
        finished = machine.run(command, cores.client, begins_s + seconds + 60, None, at)
        said = clients.summary(finished.check(driftline.codes))
        counters = server.counters()
        if len(marks) < 2 or any(seen["open"] < connections for _, seen in marks):
            raise Failed(f"driftline: {connections} connections were not all open while they were measured")
        (cpu_from, seen_from), (cpu_to, seen_to) = marks
        # Connections are opened by no frame, and closed by one that the server returns.
        served = counters["answered"] + counters["shaken"]
        if said["lost"] or said["requests"] != served:
            raise Failed(f"driftline says {said['requests']} operations, the server {served}")
        trips = seen_to["answered"] - seen_from["answered"]
        return Trips(
            trips,
            (cpu_to - cpu_from) * 1e6 / max(trips, 1),
            said["latency_ms"]["p99"],
            said["errors"],
            clients.size_of(Path(folder) / "data"),
            said["generator"] == "limited",
        )


def scenario(connections, seconds):
    """So many connections that together send at the rate."""
    every_us = connections * 1_000_000 // RATE_PER_S
    return f"""name = "round trips"
drain = "5s"
[[stages]]
duration = "{round(seconds * 1000)}ms"
[[websockets]]
path = "/"
connections = {connections}
connect_rate = {CONNECT_RATE_PER_S}
message = {{ every = "{every_us}us", size = {SIZE_BYTES} }}
"""
