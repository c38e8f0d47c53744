"""What a handler that blocks does to others, and what a connection costs that does nothing."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import subprocess
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TextIO

from runner import load
from runner.contestants import OURS, OURS_BAIDU, UVLOOP
from runner.load import Cell
from runner.processes import PeerError, Process, environment, running_on
from runner.prpc import Probe

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from runner.contestants import Contestant
    from runner.settings import Settings

NAP_SECONDS = 1.0
DURING_SECONDS = 0.6
"""What is measured while a handler sleeps has to fit into that sleep."""
COMPUTE_SECONDS = 1.0
DEADLINE_MS = 20
ERPCTIMEDOUT, ENOMETHOD = 1008, 1002
FIRST, IDLE = 500, 2000
SETTLE_SECONDS = 0.5
CELLS = (Cell(1, 1), Cell(8, 1))


@dataclass
class Blocking:
    """p99 in microseconds, by the cell's label: nothing else to do, and while a handler sleeps."""

    quiet: dict[str, list[float]] = field(default_factory=dict)
    during: dict[str, list[float]] = field(default_factory=dict)


@dataclass
class Computing:
    """How late the endings of other calls were, in milliseconds."""

    deadlines: list[float] = field(default_factory=list)
    refusals: list[float] = field(default_factory=list)


def while_one_sleeps(settings: Settings, cpus: Sequence[int], log: TextIO) -> Blocking:
    """Measure other connections while one handler sleeps."""
    found = Blocking()
    short = dataclasses.replace(settings, seconds=DURING_SECONDS)
    own = settings.cpus[1:]
    server = Process([*OURS.command(settings), f"--nap={NAP_SECONDS}"], cpus)
    try:
        address = server.address()
        # What is loaded and allocated at the first call is not what is asked for here.
        load.framed(short, address, "indexed", Cell(8, 8), own)
        for repetition in range(settings.repetitions):
            for cell in CELLS:
                quiet = load.framed(short, address, "indexed", cell, own)
                found.quiet.setdefault(cell.label, []).append(quiet["p99_us"])
                with_sleeper = beside_a_sleeper(short, address, cell, own)
                found.during.setdefault(cell.label, []).append(with_sleeper)
            print(f"  one handler sleeps: {repetition + 1}", file=log, flush=True)
    finally:
        server.stop()
    return found


def beside_a_sleeper(settings: Settings, address: str, cell: Cell, own: Sequence[int]) -> float:
    """Return the p99 of other connections during one call of `nap`."""
    command = [str(settings.binaries / "load"), "--connect", address, "--index", "1"]
    command += ["--calls", "1", "--warmup", "0", "--seconds", "5"]
    with running_on(own):
        sleeper = subprocess.Popen(command, stdout=subprocess.PIPE, env=environment())
    try:
        time.sleep(0.05)
        brief = dataclasses.replace(settings, seconds=settings.seconds * 0.9)
        result = load.framed(brief, address, "indexed", cell, own)
        if sleeper.poll() is not None:
            raise PeerError("the sleeping handler had ended before the measurement had")
        out, _ = sleeper.communicate(timeout=10)
        if json.loads(out)["calls"] != 1:
            raise PeerError(f"the sleeping call did not end well: {out!r}")
    finally:
        if sleeper.poll() is None:
            sleeper.kill()
            sleeper.communicate()
    p99: float = result["p99_us"]
    return p99


def while_one_computes(settings: Settings, cpus: Sequence[int], log: TextIO) -> Computing:
    """Measure deadlines and refusals while one handler keeps the interpreter to itself."""
    found = Computing()
    command = [*OURS_BAIDU.command(settings), f"--compute={COMPUTE_SECONDS}"]
    server = Process(command, cpus)
    try:
        address = server.address()
        with running_on(settings.cpus[1:]):
            for repetition in range(settings.repetitions):
                compute_once(address, found)
                print(f"  one handler computes: {repetition + 1}", file=log, flush=True)
    finally:
        server.stop()
    return found


def compute_once(address: str, found: Computing) -> None:
    """Let one handler compute, and look what becomes of others meanwhile."""
    with Probe(address) as busy, Probe(address) as timed, Probe(address) as refused:
        for probe in (timed, refused):
            if probe.call("echo").code != 0:
                raise PeerError("an echo failed")
        busy.send("compute")
        begun, counted = time.perf_counter(), 0
        time.sleep(0.1)
        while time.perf_counter() - begun < COMPUTE_SECONDS * 0.7:
            in_time = timed.call("echo", DEADLINE_MS)
            no_method = refused.call("no_such_method")
            if in_time.code == 0:
                # It ran, so the lock was free: the computation has not begun, or is over.
                continue
            if (in_time.code, no_method.code) != (ERPCTIMEDOUT, ENOMETHOD):
                raise PeerError(f"unexpected ends: {in_time}, {no_method}")
            found.deadlines.append(in_time.seconds * 1e3 - DEADLINE_MS)
            found.refusals.append(no_method.seconds * 1e3)
            counted += 1
        if busy.wait().code != 0 or not counted:
            raise PeerError(f"the computation failed, or held nobody up ({counted} calls)")


def idle_connections(settings: Settings, log: TextIO) -> dict[str, float]:
    """Return KiB of memory for an idle connection, by the name of the server.

    Each connection makes one call first, so that all that belongs to one is there.
    """
    found = {}
    for contestant in (OURS, OURS_BAIDU, UVLOOP):
        server = Process(contestant.command(settings), settings.cpus[:1])
        try:
            found[contestant.name] = idle_of(settings, contestant, server)
        finally:
            server.stop()
        print(f"  idle connections: {contestant.name}", file=log, flush=True)
    return found


def idle_of(settings: Settings, contestant: Contestant, server: Process) -> float:
    """Return KiB for an idle connection of one server, beside others that are there already."""
    address, own = server.address(), settings.cpus[1:]
    short = dataclasses.replace(settings, seconds=0.3)
    load.framed(short, address, contestant.protocol, Cell(8, 8), own)
    command = [str(settings.binaries / "load"), "--connect", address]
    command += ["--protocol", contestant.protocol, "--hold", "30", "--warmup", "0"]
    # What is there once belongs to none of those that come later.
    with holding(command, FIRST, own):
        before = server.memory("VmRSS")
        with holding(command, IDLE, own):
            return (server.memory("VmRSS") - before) / IDLE


@contextlib.contextmanager
def holding(command: list[str], connections: int, own: Sequence[int]) -> Iterator[None]:
    """Keep so many connections open that have made one call each."""
    number = str(connections)
    # It ends after a call that is never made, or with us.
    command = [*command, "--connections", number, "--calls", number, "--seconds", "30"]
    with running_on(own):
        holder = subprocess.Popen(command, stdout=subprocess.PIPE, env=environment(), text=True)
    try:
        line = holder.stdout.readline() if holder.stdout else ""
        if not line or json.loads(line)["all_calls"] < connections:
            raise PeerError(f"{connections} connections were not made: {line!r}")
        time.sleep(SETTLE_SECONDS)
        yield
    finally:
        holder.kill()
        holder.communicate()
