"""The clients that are compared: how each is told to load a server, and how its report is read.

Each one is asked for the same: so many connections, for so long, on one core, every answer counted.
What a client does not report is None, never a guess.
"""

import json
import math
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

import machine
from machine import Failed

UNITS_MS = {"us": 1e-3, "ms": 1.0, "s": 1e3, "m": 6e4}


@dataclass(frozen=True)
class Ask:
    """What a client is to do. Without a rate it sends the next request when it has the answer."""

    url: str
    protocol: str
    connections: int
    streams: int
    seconds: int
    rate: int | None = None


@dataclass(frozen=True)
class Report:
    """What a client says, and bytes that it has written to its log where it keeps one."""

    operations: int
    seconds: float
    errors: int
    mean_ms: float | None = None
    p95_ms: float | None = None
    p99_ms: float | None = None
    log_bytes: int | None = None
    # Whether it says itself that its machine was too slow for it.
    is_limited: bool = False

    @property
    def rate_per_s(self):
        return self.operations / self.seconds


class Client:
    """A client: `command` says how to run it, `report` reads what it said."""

    name = ""
    program = ""
    protocols = ()
    # How the script can install it; None where it does not.
    package = None
    environment = None
    # Exit codes after which there is a report.
    codes = (0,)

    def __init__(self, given=None):
        self.path = machine.found(self.program, given)

    def version(self):
        """The program's own words, or None."""
        return None

    def run(self, ask, folder, core, at=()):
        """Runs the client; its report, and what it has cost. `at` is as in `machine.run`."""
        command = self.command(ask, Path(folder))
        limit_s = ask.seconds + 60
        finished = machine.run(command, core, limit_s, self.environment, at, folder)
        finished.check(self.codes)
        try:
            return self.report(ask, finished, Path(folder)), finished
        except (KeyError, ValueError, TypeError, OSError) as error:
            said = finished.out.strip()[-1000:]
            raise Failed(f"{self.name}: its report cannot be read ({error!r}): {said}") from error

    def command(self, ask, folder):
        raise NotImplementedError

    def report(self, ask, finished, folder):
        raise NotImplementedError


class Driftline(Client):
    """The lean binary as users run it, every operation recorded in its log and synced."""

    name = "driftline"
    program = "driftline-loadgen"
    protocols = ("http1", "http2")
    # 1 is a run without a verdict, as of a generator that was limited; it says so.
    codes = (0, 1)

    def __init__(self, given=None):
        self.path = machine.built(self.program, given)

    def version(self):
        return first_line(self.path, "--version")

    def command(self, ask, folder):
        (folder / "scenario.toml").write_text(scenario(ask))
        options = ["--workers", "1", "--processes", "1", "--plain", "--format", "json"]
        target = ["--target", ask.url, "--data", str(folder / "data")]
        return [self.path, "run", str(folder / "scenario.toml"), *options, *target]

    def report(self, ask, finished, folder):
        said = summary(finished)
        latency = said["latency_ms"]
        return Report(
            said["answered"],
            # The rate is over the stages, in which answers after their end do not count.
            said["answered"] / said["rate_per_s"],
            said["errors"] + said["dropped"],
            latency["mean"],
            latency["p95"],
            latency["p99"],
            size_of(folder / "data"),
            said["generator"] == "limited",
        )


class Unrecorded(Client):
    """The same worker with what it records counted and thrown away: neither statistics nor log."""

    name = "recording off"
    program = "closed_loop"
    protocols = ("http1",)

    def __init__(self, given=None):
        self.path = machine.built(self.program, given)

    def command(self, ask, folder):
        return [self.path, ask.url, str(ask.connections), str(ask.seconds)]

    def report(self, ask, finished, folder):
        said = re.search(r"(\d+) operations, (\d+) failed, (\d+) lost", finished.out)
        if said is None or int(said.group(3)):
            raise Failed(f"closed_loop: {finished.out.strip()}")
        return Report(int(said.group(1)), ask.seconds, int(said.group(2)))


class Wrk(Client):
    name = program = "wrk"
    protocols = ("http1",)
    package = ("apt-get", "wrk")

    def version(self):
        # It has no option for it, and says it with a usage error.
        text = machine.run([self.path, "--version"]).out
        return text.split("[")[0].strip() or None

    def command(self, ask, folder):
        load = ["-t", "1", "-c", str(ask.connections), "-d", f"{ask.seconds}s"]
        return [self.path, *load, "--latency", ask.url]

    def report(self, ask, finished, folder):
        text = finished.out
        total = re.search(r"(\d+) requests in ([\d.]+)(us|ms|s|m)", text)
        failed = [int(one) for one in re.findall(r"(?:connect|read|write|timeout) (\d+)", text)]
        failed += [int(one) for one in re.findall(r"Non-2xx or 3xx responses: (\d+)", text)]
        mean = re.search(r"Latency\s+([\d.]+)(us|ms|s|m)", text)
        p99 = re.search(r"99%\s+([\d.]+)(us|ms|s|m)", text)
        if total is None:
            raise Failed(f"wrk said nothing: {text}")
        return Report(
            int(total.group(1)),
            milliseconds(total.group(2), total.group(3)) / 1e3,
            sum(failed),
            mean and milliseconds(*mean.groups()),
            None,
            p99 and milliseconds(*p99.groups()),
        )


class H2load(Client):
    name = program = "h2load"
    protocols = ("http2",)
    package = ("apt-get", "nghttp2-client")

    def version(self):
        return first_line(self.path, "--version")

    def command(self, ask, folder):
        load = ["-t", "1", "-c", str(ask.connections), "-m", str(ask.streams)]
        load += ["-D", str(ask.seconds)]
        if ask.rate:
            # It says no quantiles, but logs what it has measured.
            load += ["--rps", str(ask.rate / ask.connections), "--log-file", str(folder / "h2.log")]
        if ask.protocol == "http1":
            load.append("--h1")
        return [self.path, *load, ask.url]

    def report(self, ask, finished, folder):
        total = re.search(r"finished in ([\d.]+)(us|ms|s|m)", finished.out)
        counts = re.search(
            r"(\d+) done, (\d+) succeeded, (\d+) failed, (\d+) errored, (\d+) timeout", finished.out
        )
        mean = re.search(r"time for request:\s+\S+\s+\S+\s+([\d.]+)(us|ms|s|m)", finished.out)
        if not total or not counts:
            raise Failed(f"h2load said nothing: {finished.out}")
        times = []
        if ask.rate:
            lines = (folder / "h2.log").read_text().splitlines()
            times = sorted(int(line.split("\t")[2]) / 1e3 for line in lines)
        return Report(
            int(counts.group(2)),
            milliseconds(*total.groups()) / 1e3,
            int(counts.group(1)) - int(counts.group(2)),
            mean and milliseconds(*mean.groups()),
            quantile(times, 0.95),
            quantile(times, 0.99),
        )


class Hey(Client):
    name = program = "hey"
    protocols = ("http1",)
    package = ("apt-get", "hey")

    def version(self):
        # It does not say it; the package does, where it comes from one.
        if shutil.which("dpkg-query") is None:
            return None
        said = machine.run(["dpkg-query", "--show", "--showformat", "hey ${Version}", "hey"])
        return said.out.strip() or None

    def command(self, ask, folder):
        load = ["-z", f"{ask.seconds}s", "-c", str(ask.connections), "-cpus", "1"]
        if ask.rate:
            load += ["-q", str(ask.rate // ask.connections)]
        return [self.path, *load, ask.url]

    def report(self, ask, finished, folder):
        text = finished.out
        seconds, rate, mean = (
            float(one.group(1)) if (one := re.search(rf"{key}:\s+([\d.]+)", text)) else None
            for key in ("Total", "Requests/sec", "Average")
        )
        p95, p99 = (
            one and float(one.group(1)) * 1e3
            for one in (re.search(rf"{at}%\w* in ([\d.]+) secs", text) for at in (95, 99))
        )
        if not seconds or rate is None:
            raise Failed(f"hey said nothing: {text}")
        errors = text.partition("Error distribution:")[2]
        failed = [int(one) for one in re.findall(r"\[(\d+)\]", errors)]
        failed += [int(n) for status, n in re.findall(r"\[(\d+)\]\s+(\d+) resp", text) if status != "200"]
        # The counts by status stop at a million; the rate does not.
        total = round(seconds * rate)
        return Report(total - sum(failed), seconds, sum(failed), mean and mean * 1e3, p95, p99)


class Oha(Client):
    name = program = "oha"
    protocols = ("http1", "http2")
    package = ("cargo", "oha")
    # What it is asked beside that.
    options = ()

    def version(self):
        return first_line(self.path, "--version")

    def command(self, ask, folder):
        load = ["-z", f"{ask.seconds}s", "-c", str(ask.connections), "--no-tui", "--worker-threads", "1"]
        load += ["--output-format", "json", "--output", str(folder / "oha.json")]
        if ask.protocol == "http2":
            load += ["--http2", "-p", str(ask.streams)]
        if ask.rate:
            load += ["-q", str(ask.rate)]
        return [self.path, *load, *self.options, ask.url]

    def report(self, ask, finished, folder):
        said = json.loads((folder / "oha.json").read_text())
        answered = said["statusCodeDistribution"].get("200", 0)
        other = sum(said["statusCodeDistribution"].values()) - answered
        errors = said.get("errorDistribution", {})
        # Requests that were under way at the end are no errors of the server.
        cut = sum(n for why, n in errors.items() if "deadline" in why)
        ms = lambda value: None if value is None else value * 1e3
        quantiles = said["latencyPercentiles"]
        return Report(
            answered,
            said["summary"]["total"],
            other + sum(errors.values()) - cut,
            ms(said["summary"]["average"]),
            ms(quantiles["p95"]),
            ms(quantiles["p99"]),
        )


class OhaCorrected(Oha):
    """With its correction of coordinated omission."""

    name = "oha --latency-correction"
    options = ("--latency-correction",)


class K6(Client):
    """It is under the AGPL and not installed by the script: put it on the path to have it compared."""

    name = program = "k6"
    protocols = ("http1", "websocket")
    environment = {"GOMAXPROCS": "1", "K6_NO_USAGE_REPORT": "true"}
    # Virtual users at most, where there is a rate.
    users = 300

    def version(self):
        return first_line(self.path, "version")

    def command(self, ask, folder):
        (folder / "script.js").write_text(k6_script(ask, self.users))
        return [self.path, "run", "--quiet", str(folder / "script.js")]

    def report(self, ask, finished, folder):
        metrics = json.loads((folder / "summary.json").read_text())["metrics"]
        value = lambda metric, key: metrics.get(metric, {}).get("values", {}).get(key)
        if ask.protocol == "websocket":
            return Report(value("round_trips", "count") or 0, ask.seconds, value("broken", "count") or 0)
        operations = value("http_reqs", "count") or 0
        failed = value("http_req_failed", "passes") or 0
        return Report(
            operations - failed,
            operations / value("http_reqs", "rate") if operations else ask.seconds,
            failed + (value("dropped_iterations", "count") or 0),
            value("http_req_duration", "avg"),
            value("http_req_duration", "p(95)"),
            value("http_req_duration", "p(99)"),
        )


class K6Few(K6):
    """With as many virtual users as seem enough for the rate."""

    name = "k6, 20 VUs"
    users = 20


def scenario(ask):
    """The load as a scenario of Driftline's."""
    users = ask.connections * ask.streams
    load = f"rate = {ask.rate}" if ask.rate else f"users = {users}"
    version = {"http1": "1.1", "http2": "2"}[ask.protocol]
    return "\n".join(
        [
            'name = "peers"',
            'drain = "2s"',
            "[http]",
            f'version = "{version}"',
            f"connections = {ask.connections}",
            f"streams = {ask.streams}" if ask.protocol == "http2" else "",
            "[[stages]]",
            f'duration = "{ask.seconds}s"',
            load,
            "[[requests]]",
            'path = "/"',
            "",
        ]
    )


def k6_script(ask, users):
    """The load as a script of k6."""
    if ask.rate:
        plan = {
            "executor": "constant-arrival-rate",
            "rate": ask.rate,
            "timeUnit": "1s",
            "duration": f"{ask.seconds}s",
            "preAllocatedVUs": users,
            "maxVUs": users,
        }
    else:
        vus = ask.connections
        plan = {"executor": "constant-vus", "vus": vus, "duration": f"{ask.seconds}s"}
    options = {
        "scenarios": {"peers": plan | {"gracefulStop": "2s"}},
        "summaryTrendStats": ["avg", "p(95)", "p(99)"],
    }
    body = K6_WEBSOCKET if ask.protocol == "websocket" else K6_HTTP
    end = "export function handleSummary(data) { return { 'summary.json': JSON.stringify(data) }; }\n"
    values = f"const url = {json.dumps(ask.url)};\nconst lasts_ms = {ask.seconds * 1000};\n"
    return f"{body[0]}{values}export const options = {json.dumps(options)};\n{body[1]}{end}"


K6_HTTP = (
    "import http from 'k6/http';\n",
    "export default function () { http.get(url); }\n",
)
K6_WEBSOCKET = (
    "import ws from 'k6/ws';\nimport { Counter } from 'k6/metrics';\n"
    "const trips = new Counter('round_trips');\nconst broken = new Counter('broken');\n",
    """export default function () {
  ws.connect(url, {}, (socket) => {
    socket.on('open', () => socket.send('.'.repeat(64)));
    socket.on('message', (text) => { trips.add(1); socket.send(text); });
    socket.on('error', () => broken.add(1));
    socket.setTimeout(() => socket.close(), lasts_ms);
  });
}
""",
)


def summary(finished):
    """What Driftline says of a run that was recorded to its end."""
    if not finished.out:
        raise Failed(f"driftline: exit code {finished.code}: {finished.err.strip()[-2000:]}")
    said = json.loads(finished.out)
    if said["lost"] or said["ended"] != "completed":
        raise Failed(f"driftline: {said['ended']}, {said['lost']} not recorded, {said['reasons']}")
    return said


def first_line(path, argument):
    """The first line that a program says."""
    finished = machine.run([path, argument])
    lines = (finished.out or finished.err).strip().splitlines()
    return lines[0] if lines else None


def milliseconds(number, unit):
    """Milliseconds of a number and its unit."""
    return float(number) * UNITS_MS[unit]


def quantile(ordered, share):
    """The value that at least this share of the ordered values does not exceed; None of none."""
    if not ordered:
        return None
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def size_of(folder):
    """Bytes in a log's segments; they are not padded."""
    return sum(file.stat().st_size for file in Path(folder).rglob("*.seg"))
