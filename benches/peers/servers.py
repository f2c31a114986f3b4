"""The servers that clients are measured against, and what they have counted themselves."""

import json
import os
import select
import socket
import subprocess
import time

import machine
from machine import Failed

READY_WITHIN_S = 10.0


class BareServer:
    """One of the load generator's bare servers: `http1`, `http2` or `websocket`, on one core."""

    def __init__(self, protocol, core=None, address=None):
        self.protocol = protocol
        if protocol == "websocket":
            command = [machine.built("ws_bare_server"), "ws"] + ([address] if address else [])
        else:
            port = free_port()
            self.address = f"127.0.0.1:{port}"
            command = {
                "http1": lambda: [machine.built("bare_server"), str(port)],
                "http2": lambda: [machine.built("h2_bare_server"), "serve", self.address],
            }[protocol]()
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "bufsize": 0}
        # A connection that a client cuts off is no news.
        self.child = machine.start(command, core, stderr=subprocess.DEVNULL, **pipes)
        if protocol == "websocket":
            self.address = self.line()
        else:
            wait_until_ready(self.address, self.child)

    @property
    def url(self):
        scheme = "ws" if self.protocol == "websocket" else "http"
        return f"{scheme}://{self.address}/"

    def counters(self):
        """What the server has counted."""
        self.child.stdin.write(b"\n")
        told = json.loads(self.line())
        return told if isinstance(told, dict) else {"answered": told}

    def line(self):
        """The next line that the server prints."""
        text = b""
        while not text.endswith(b"\n"):
            ready, _, _ = select.select([self.child.stdout], [], [], READY_WITHIN_S)
            read = os.read(self.child.stdout.fileno(), 4096) if ready else b""
            if not read:
                raise Failed(
                    f"the bare server for {self.protocol} says nothing; was it built from this checkout?"
                )
            text += read
        return text.decode().strip()

    def answered(self):
        """Requests, or frames, that it has answered since its start."""
        return self.counters()["answered"]

    def cpu_s(self):
        return machine.cpu_s(self.child.pid)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        machine.end(self.child)


class Target:
    """The bundled target with a log of every request."""

    def __init__(self, log, core=None):
        self.log = log
        command = [machine.built("target"), "service", "--listen", "127.0.0.1:0", "--threads", "1"]
        command += ["--log", str(log)]
        self.child = machine.start(command, core, stdout=subprocess.PIPE, text=True)
        line = self.child.stdout.readline().split()
        if not line:
            raise Failed(f"{command[0]} did not start")
        self.url = line[-1] + "/"

    def signal(self, number):
        os.kill(self.child.pid, number)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        machine.end(self.child)


def free_port():
    """A port that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_until_ready(address, child):
    """Waits until it accepts connections."""
    host, port = address.rsplit(":", 1)
    begun = time.monotonic()
    while time.monotonic() - begun < READY_WITHIN_S:
        if child.poll() is not None:
            raise Failed(f"a server on {address} ended with exit code {child.returncode}")
        try:
            socket.create_connection((host, int(port)), timeout=1).close()
            return
        except OSError:
            time.sleep(0.02)
    raise Failed(f"nothing accepts connections on {address} after {READY_WITHIN_S:.0f} s")
