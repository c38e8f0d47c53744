"""Measures with brpc's client in C++: in turns against brpc's own server and against ours.

Both are brpc's example `multi_threaded_echo_c++`, as its authors wrote it; `make brpc` builds it.
"""

from __future__ import annotations

import contextlib
import re
import statistics
from typing import TYPE_CHECKING, TextIO

from runner.contestants import Contestant
from runner.groups import Group, Series
from runner.load import Cell
from runner.processes import PeerError, Process, free_port, run, wait_for_port

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from runner.settings import Settings

MANY = Cell(1, 64)
OURS = Contestant("callmethod, baidu_std", "brpc_echo_server.py")
THEIRS = "brpc's own server, C++"
TITLE = "brpc's client in C++, all on two cores"

LINES = 3
"""It says once a second how many calls it made; in the first of them it connects."""
SPEED = re.compile(r"at qps=(\d+) latency=(\d+)")


def run_brpc(settings: Settings, log: TextIO) -> dict[str, Series]:
    """Measure both servers, where brpc has been built."""
    if settings.brpc is None or not settings.wants("brpc"):
        return {}
    series = Series(Group("brpc", TITLE, (), (MANY,), settings.cpus, settings.cpus))
    with servers(settings, settings.brpc) as addresses:
        for repetition in range(settings.repetitions):
            for name in list(addresses)[:: -1 if repetition % 2 else 1]:
                if name in series.failures:
                    continue
                try:
                    sample = ask(settings, settings.brpc, addresses[name])
                except PeerError as error:
                    series.failures[name] = str(error)
                    continue
                series.samples.setdefault((name, MANY.label), []).append(sample)
            print(f"  {TITLE}: {repetition + 1}", file=log, flush=True)
    return {"brpc": series}


@contextlib.contextmanager
def servers(settings: Settings, built: Path) -> Iterator[dict[str, str]]:
    """Start both servers and give their addresses by name."""
    with contextlib.ExitStack() as stack:
        ours = Process(OURS.command(settings), settings.cpus)
        stack.callback(ours.stop)
        port = free_port()
        # It looks for a certificate where it is started, and writes there.
        theirs = Process([str(built / "echo_server"), f"--port={port}"], settings.cpus, cwd=built)
        stack.callback(theirs.stop)
        wait_for_port(port)
        yield {OURS.name: ours.address(), THEIRS: f"127.0.0.1:{port}"}


def ask(settings: Settings, built: Path, address: str) -> dict[str, float]:
    """Run the client until it has said often enough how fast it was."""
    command = [
        *("timeout", "--preserve-status", "--signal=INT", f"{LINES + 0.5}s"),
        str(built / "echo_client"),
        f"--server={address}",
        f"--thread_num={MANY.connections * MANY.in_flight}",
        f"--request_size={MANY.size}",
        "--use_bthread",
        # The first call that fails ends the client.
        "--dont_fail",
    ]
    said = SPEED.findall(run(command, settings.cpus, 10 * LINES, cwd=built, with_errors=True))
    if len(said) < LINES:
        raise PeerError(f"brpc's client said only {said}")
    rates, latencies = zip(*said[1:LINES], strict=True)
    return {
        "calls_per_s": statistics.mean(map(float, rates)),
        "mean_us": statistics.mean(map(float, latencies)),
    }
