"""What an attack is, and what most of them do."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from harness import wire

if TYPE_CHECKING:
    import socket

Run: TypeAlias = Callable[[str, float], int]
"""`run(address, end)`, see `Attack`."""

WAIT_SECONDS = 0.05
"""For a server that is about to close; a bad one is not waited for longer."""


@dataclass(frozen=True)
class Attack:
    """One row of the table.

    `run(address, end)` attacks until `time.monotonic()` is `end` and returns how many times it did
    what `does` says. It keeps nothing open.
    """

    name: str
    does: str
    bound: str
    run: Run
    counters: tuple[str, ...]
    """Those that must grow, as `rejected_total.bad_magic`."""
    options: Mapping[str, object] = field(default_factory=dict)
    """Of the server, where those that users get would take the run too long."""
    tls: bool = False
    known: Mapping[str, str] = field(default_factory=dict)
    """Rules that it is known to break (`p99`, `memory`), and why nothing is done about it."""
    meanwhile: str | None = None
    """An order that the server is given 20 times a second."""
    seconds: float = 0.7
    """How long it goes on at a time; it has several."""


def again(address: str, end: float, pieces: Iterable[bytes], wait: float = WAIT_SECONDS) -> int:
    """Send each of `pieces` over a connection of its own, again and again.

    Whether the server closes is waited for so long, then the connection is closed from here.
    """
    pieces = list(pieces)
    times = 0
    while True:
        for piece in pieces:
            if time.monotonic() > end:
                return times
            throw(address, piece, wait)
            times += 1


def throw(address: str, piece: bytes, wait: float = WAIT_SECONDS) -> None:
    """Send something over a connection of its own, and read until the server closes or `wait`."""
    with contextlib.suppress(OSError), wire.connect(address) as sock:
        sock.sendall(piece)
        until_closed(sock, wait)


def until_closed(sock: socket.socket, seconds: float) -> bool:
    """Read for so long, or until the server closes; return whether it did."""
    end = time.monotonic() + seconds
    with contextlib.suppress(TimeoutError, ConnectionError):
        while (left := end - time.monotonic()) > 0:
            sock.settimeout(left)
            if not sock.recv(1 << 20):
                return True
        return False
    return time.monotonic() < end


def answered(address: str, end: float, protocol: wire.Wire, calls: Iterable[bytes]) -> int:
    """Make calls one after the other on one connection, again and again, and read each answer."""
    calls = list(calls)
    times = 0
    while True:
        with wire.connect(address) as sock:
            for call in calls:
                if time.monotonic() > end:
                    return times
                sock.sendall(call)
                wire.read(sock, protocol)
                times += 1


def in_turn(*runs: Run) -> Run:
    """Do one after the other, each for its part of the time."""

    def run(address: str, end: float) -> int:
        times = 0
        for number, each in enumerate(runs):
            left = end - time.monotonic()
            times += each(address, time.monotonic() + left / (len(runs) - number))
        return times

    return run
