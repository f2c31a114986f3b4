"""The machine and its processes: which cores there are, what a program costs, where programs are.

What the programs do, and what their numbers mean, is left to others.
"""

import os
import platform
import re
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

TICKS_PER_S = os.sysconf("SC_CLK_TCK")
# A program that is asked to end has so long before it is killed.
END_WITHIN_S = 10.0


class Failed(Exception):
    """Something without which there is no number."""


@dataclass(frozen=True)
class Cores:
    """Where the server and the client run; without two cores, neither is pinned."""

    server: int | None
    client: int | None

    @property
    def are_apart(self):
        return self.server is not None


@dataclass(frozen=True)
class Finished:
    """A program that has ended: what it said and what it cost, with the children it waited for."""

    command: list
    code: int
    out: str
    err: str
    cpu_s: float
    wall_s: float

    def check(self, codes=(0,)):
        """Itself, unless it failed."""
        if self.code not in codes:
            said = (self.err.strip() or self.out.strip())[-2000:]
            raise Failed(f"{' '.join(self.command)}: exit code {self.code}: {said}")
        return self


def cores():
    """Two cores that are not two threads of one core, where there are such."""
    allowed = sorted(os.sched_getaffinity(0))
    if len(allowed) < 2:
        return Cores(None, None)
    server = allowed[0]
    siblings = Path(f"/sys/devices/system/cpu/cpu{server}/topology/thread_siblings_list")
    together = _numbers(siblings.read_text()) if siblings.exists() else {server}
    apart = [core for core in allowed[1:] if core not in together]
    return Cores(server, (apart or allowed[1:])[0])


def _numbers(text):
    """The numbers of a list such as `0-1,4`."""
    numbers = set()
    for part in text.strip().split(","):
        first, _, last = part.partition("-")
        numbers.update(range(int(first), int(last or first) + 1))
    return numbers


def start(command, core=None, **options):
    """Starts a program on a core, or anywhere."""
    allowed = os.sched_getaffinity(0)
    # A child inherits the cores of the thread that starts it.
    os.sched_setaffinity(0, allowed if core is None else {core})
    try:
        return subprocess.Popen(command, **options)
    finally:
        os.sched_setaffinity(0, allowed)


def run(command, core=None, limit_s=120.0, env=None, at=(), cwd=None):
    """Runs a program to its end. `at` holds pairs of seconds and what is called then, with its pid."""
    environment = None if env is None else {**os.environ, **env}
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        begun = time.monotonic()
        child = start(
            command, core, stdin=subprocess.DEVNULL, stdout=out, stderr=err, env=environment, cwd=cwd
        )
        timers = [threading.Timer(limit_s, child.kill)]
        timers += [threading.Timer(after_s, call, [child.pid]) for after_s, call in at]
        for timer in timers:
            timer.start()
        try:
            _, status, usage = os.wait4(child.pid, 0)
        except BaseException:
            end(child)
            raise
        finally:
            for timer in timers:
                timer.cancel()
        child.returncode = os.waitstatus_to_exitcode(status)
        wall_s = time.monotonic() - begun
        for timer in timers:
            timer.join()
        if wall_s >= limit_s:
            raise Failed(f"{' '.join(command)}: did not end within {limit_s:.0f} s")
        return Finished(
            list(command),
            child.returncode,
            _text(out),
            _text(err),
            usage.ru_utime + usage.ru_stime,
            wall_s,
        )


def _text(file):
    file.seek(0)
    return file.read().decode(errors="replace")


def end(child, how=signal.SIGTERM):
    """Ends a program that was started here, in order if it can be."""
    if child.poll() is None:
        child.send_signal(how)
    try:
        child.wait(END_WITHIN_S)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
    for pipe in (child.stdin, child.stdout):
        if pipe is not None:
            pipe.close()


def cpu_s(pid):
    """CPU seconds of a process so far, in ticks of 10 ms on Linux."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_S


def rss_kib(pid):
    """Resident memory of a process."""
    return _kib(f"/proc/{pid}/status", "VmRSS")


def slab_kib():
    """Memory that the kernel has for sockets and everything else of its own."""
    return _kib("/proc/meminfo", "Slab")


def free_kib():
    """Memory that programs may still have."""
    return _kib("/proc/meminfo", "MemAvailable")


def _kib(file, key):
    found = re.search(rf"^{key}:\s+(\d+)", Path(file).read_text(), re.MULTILINE)
    if found is None:
        raise Failed(f"{file} has no {key}")
    return int(found.group(1))


def children(pid):
    """Processes that a process has started and that are still there."""
    found = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        found += [int(child) for child in task.read_text().split()]
    return found


def repository():
    """The root of the checkout."""
    return Path(__file__).resolve().parents[2]


def cache():
    """Where programs are installed that have no package of the system."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "driftline" / "peers"


LOAD = "cargo build --release -p driftline-loadgen --bins --examples"


def built(name, given=None, build=LOAD):
    """A program of this project, in the release profile; `build` is what makes it."""
    if given:
        return str(Path(given).resolve(strict=True))
    target = Path(os.environ.get("CARGO_TARGET_DIR") or repository() / "target")
    for folder in (target / "release", target / "release" / "examples"):
        if (folder / name).is_file():
            return str(folder / name)
    raise Failed(
        f"{name} is not in {target}/release: build it by {build} (CARGO_TARGET_DIR is honoured)"
    )


def found(name, given=None):
    """A peer: as given, on the path, or in the cache; None where it is missing."""
    if given:
        return str(Path(given).resolve(strict=True))
    cached = cache() / "bin" / name
    return shutil.which(name) or (str(cached) if cached.is_file() else None)


def describe():
    """What a reader must know of this machine. It is not named."""
    model = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return {
        "cores": len(os.sched_getaffinity(0)),
        "cpu": model.group(1) if model else platform.machine(),
        "memory_gib": round(_kib("/proc/meminfo", "MemTotal") / 2**20, 1),
        "kernel": platform.release(),
        "load_average": round(os.getloadavg()[0], 2),
    }
