"""The tables of `load`: ratios against goals, medians, and who tells the truth of a stall."""

from statistics import median

import ratios
import report
import stall
import websockets

# A peer, what is compared (`rate`: requests per second on one core; `cpu`: the peer's CPU per request
# over Driftline's) and the least ratio that is wanted.
GOALS = {
    ("http1", "wrk"): ("rate", 1.10),
    ("http1", "oha"): ("rate", 1.70),
    ("http1", "k6"): ("cpu", 12.0),
    ("http1", "recording off"): ("rate", 0.97),
    ("http2", "oha"): ("rate", 1.25),
    ("http2", "h2load"): ("rate", 0.85),
}
# Round trips per CPU-second over those of raw TCP.
WEBSOCKET_GOAL = 0.88
SERVER_IS_FULL = 0.97


def load(result):
    """The whole of it."""
    asked = result["asked"]
    text = report.preface("Driftline's load generator beside its peers", result)
    if result["missing"]:
        text += f"\n**Not compared, because it is missing: {', '.join(result['missing'])}.**\n"
    if result["failed"]:
        text += f"\n**{len(result['failed'])} runs do not count:**\n\n"
        text += "".join(f"- {one}\n" for one in result["failed"])
    if result["http"]:
        text += (
            f"\n## HTTP\n\n{asked['pairs']} interleaved pairs of {asked['seconds']} s at {asked['connections']} connections "
            f"(HTTP/2: {asked['streams']} requests at once on each), one core for the client, every operation of Driftline's "
            "recorded in its log. A ratio is the median of the pairs with its 95 % bootstrap interval; its worse end is held "
            "against the goal. Above 1 is better for Driftline.\n\n"
            + http_ratios(result)
            + "\nMedians of all runs:\n\n"
            + http_medians(result)
        )
    if result["websocket"]:
        text += (
            f"\n## WebSocket\n\nRound trips of {websockets.SIZE_BYTES} bytes, {websockets.RATE_PER_S:,} a second over all connections; "
            "the CPU of the client alone. k6 has no rate here: it goes as fast as it can.\n\n"
            + websocket_table(result)
        )
    if result["stall"]:
        text += (
            f"\n## The truth\n\nA server that is stopped for {stall.STOPPED_S:.0f} s in {stall.SECONDS} s at {stall.RATE_PER_S} "
            f"requests a second, {stall.CONNECTIONS} connections: what each tool reports, and in brackets what users met by the "
            f"server's own log. True is what is within {stall.CLOSE:.0%} in all three. wrk cannot keep a rate.\n\n"
            + stall_table(result)
        )
    return text


def http_ratios(result):
    rows = []
    for protocol, peer in dict.fromkeys((row["protocol"], row["peer"]) for row in result["http"]):
        pairs = whole_pairs(result["http"], protocol, peer, "driftline")
        kinds = {
            "rate": ratios.of(mine["rate_per_s"] / theirs["rate_per_s"] for mine, theirs in pairs),
            "cpu": ratios.of(theirs["cpu_us"] / mine["cpu_us"] for mine, theirs in pairs),
        }
        kind, goal = GOALS.get((protocol, peer), (None, None))
        goal_text = "-" if goal is None else f"{'requests/s' if kind == 'rate' else 'CPU'} ≥ {goal:g}"
        verdict = kinds[kind].verdict(goal) if kind else "-"
        rows.append(
            [f"{protocol}: {peer}", len(pairs), *map(report.interval, kinds.values()), goal_text, verdict]
        )
    head = [
        "against",
        "pairs",
        "requests/s, ×",
        "CPU per request, peer's over Driftline's",
        "goal",
        "verdict",
    ]
    return report.table(head, rows)


def http_medians(result):
    rows = []
    for protocol, name in dict.fromkeys((row["protocol"], row["client"]) for row in result["http"]):
        runs = [row for row in result["http"] if (row["protocol"], row["client"]) == (protocol, name)]
        middle = lambda key: median([row[key] for row in runs if row[key] is not None] or [0]) or None
        busy = middle("server_busy")
        logged = [
            row["log_bytes"] / row["operations"] for row in runs if row["log_bytes"] and row["operations"]
        ]
        rows.append(
            [
                f"{protocol}: {name}",
                len(runs),
                report.number(middle("rate_per_s")),
                report.number(middle("cpu_us")),
                report.number(middle("p99_ms")),
                f"{busy or 0:.0%}" + (" (full)" if (busy or 0) >= SERVER_IS_FULL else ""),
                report.number(median(logged), 2) if logged else "-",
                sum(row["is_limited"] for row in runs) or "-",
            ]
        )
    head = [
        "client",
        "runs",
        "requests/s",
        "CPU µs per request",
        "p99 ms",
        "server's core",
        "bytes in the log each",
        "runs it calls limited",
    ]
    return report.table(head, rows)


def websocket_table(result):
    rows = []
    for connections, name in dict.fromkeys(
        (row["connections"], row["client"]) for row in result["websocket"]
    ):
        runs, raw = (
            {
                row["pair"]: row
                for row in result["websocket"]
                if (row["connections"], row["client"]) == (connections, client)
            }
            for client in (name, "raw TCP")
        )
        ratio = ratios.of(
            raw[pair]["cpu_us"] / runs[pair]["cpu_us"] for pair in sorted(runs.keys() & raw.keys())
        )
        is_held = name == "driftline"
        p99 = [row["p99_ms"] for row in runs.values() if row["p99_ms"] is not None]
        rows.append(
            [
                f"{name}, {connections:,} connections",
                len(runs),
                report.number(median(row["cpu_us"] for row in runs.values())),
                report.number(median(p99) if p99 else None),
                sum(row["errors"] for row in runs.values()),
                "-" if name == "raw TCP" else report.interval(ratio),
                f"≥ {WEBSOCKET_GOAL}" if is_held else "-",
                ratio.verdict(WEBSOCKET_GOAL) if is_held else "-",
            ]
        )
    head = [
        "client",
        "runs",
        "CPU µs per round trip",
        "p99 ms",
        "errors",
        "round trips per CPU-second, × raw TCP",
        "goal",
        "verdict",
    ]
    return report.table(head, rows)


def stall_table(result):
    rows = []
    for row in result["stall"]:
        said, held = row["said"], row["truth"]
        pair = lambda key: f"{report.number(said[key])} ({report.number(held[key])})"
        told = "yes" if row["is_true"] else "no"
        rows.append(
            [
                row["client"],
                said["operations"],
                pair("mean_ms"),
                pair("p95_ms"),
                pair("p99_ms"),
                said["errors"],
                told + (", and says that it is limited" if said["is_limited"] else ""),
            ]
        )
    return report.table(
        ["client", "answers", "mean ms", "p95 ms", "p99 ms", "errors or dropped", "true"], rows
    )


def whole_pairs(rows, protocol, peer, driftline):
    """Pairs of which both runs count."""
    mine, theirs = (
        {
            row["pair"]: row
            for row in rows
            if (row["protocol"], row["peer"], row["client"]) == (protocol, peer, name)
        }
        for name in (driftline, peer)
    )
    return [(mine[pair], theirs[pair]) for pair in sorted(mine.keys() & theirs.keys())]
