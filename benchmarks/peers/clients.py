"""What the measured clients have in common: options, a count between two moments, one line."""

from __future__ import annotations

import argparse
import json
import signal
import statistics
import time

import bench_pb2

SECONDS = 900
"""No client lives longer, whatever became of its runner."""


def parser(doc: str | None) -> argparse.ArgumentParser:
    """Make a parser of the options that all clients have."""
    made = argparse.ArgumentParser(description=doc)
    made.add_argument("--connect", required=True, metavar="HOST:PORT")
    made.add_argument("--seconds", type=float, default=1.0)
    made.add_argument("--warmup", type=float, default=0.3)
    made.add_argument("--in-flight", type=int, default=64)
    made.add_argument("--size", type=int, default=16)
    signal.alarm(SECONDS)
    return made


def host_and_port(address: str) -> tuple[str, int]:
    """Split `host:port`."""
    host, _, port = address.rpartition(":")
    return host, int(port)


class Run:
    """Counts calls; what is counted between `begin` and `end` is the result.

    `calls` goes up by one a call. `on` turns false when no more calls are to be made. The clock is
    looked at twice and never for a call.
    """

    def __init__(self, options: argparse.Namespace) -> None:
        self.calls = 0
        self.on = True
        self.warmup, self.seconds = options.warmup, options.seconds
        self.payload = b"x" * options.size

    def request(self) -> bench_pb2.Message:
        """Make a request; a new one for each call, as users do."""
        return bench_pb2.Message(payload=self.payload)

    def check(self, response: bench_pb2.Message) -> None:
        """Look at one response."""
        if response.payload != self.payload:
            raise ValueError(f"a response of {len(response.payload)} bytes that was not sent")

    def begin(self) -> None:
        """Count from here."""
        self._before = self.calls, time.perf_counter(), time.process_time()

    def end(self) -> None:
        """Count up to here."""
        calls, clock, cpu = self._before
        self.on = False
        self._result = self.calls - calls, time.perf_counter() - clock, time.process_time() - cpu

    def print(self) -> None:
        """Print the result."""
        calls, seconds, cpu = self._result
        line = {"calls": calls, "seconds": seconds, "calls_per_s": calls / seconds, "cpu_s": cpu}
        print(json.dumps(line))


def print_latencies(nanos: list[int], seconds: float) -> None:
    """Print the result of a client that makes one call at a time."""
    cuts = statistics.quantiles(nanos, n=100)
    line = {
        "calls": len(nanos),
        "seconds": seconds,
        "calls_per_s": len(nanos) / seconds,
        "p50_us": cuts[49] / 1e3,
        "p99_us": cuts[98] / 1e3,
    }
    print(json.dumps(line))
