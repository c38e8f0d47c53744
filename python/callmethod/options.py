"""Options that are not a protocol's."""

from __future__ import annotations

import dataclasses
import reprlib
import sys
from collections.abc import Mapping  # noqa: TC003  (dataclasses look their annotations up)

__all__ = ["ChannelOptions", "ServerOptions"]


@dataclasses.dataclass(frozen=True)
class ChannelOptions:
    """How a channel behaves. All times are seconds.

    Attributes:
        timeout: for calls whose controller names none; None for no limit.
        wait_for_ready: whether a call waits while the other end is away.
        backoff_min: shortest pause between two attempts to connect.
        backoff_max: longest pause between two attempts to connect.
        connect_timeout: for one attempt to connect.
        max_retry: how often a call is made again that the server did not run: it stops (ELOGOFF),
            or has too much to do (ELIMIT). What was not even sent is sent again in any case.
        pool_size: with a number, each call has a connection to itself, and there are so many at
            most; None for one connection that carries all calls.
        credential: says who calls, with the first call of each connection; brpc's
            authentication_data.
        frame_timeout: for the next byte of a frame that has begun to come.
        write_timeout: for the peer to take a byte of those that wait for it.

    Raises:
        TypeError: a credential that is no bytes.
        ValueError: a time that is none, or a number below its least.
    """

    timeout: float | None = 5.0
    wait_for_ready: bool = True
    backoff_min: float = 0.05
    backoff_max: float = 1.0
    connect_timeout: float = 5.0
    max_retry: int = 3
    pool_size: int | None = None
    credential: bytes | None = None
    frame_timeout: float = 30.0
    write_timeout: float = 30.0

    def __post_init__(self) -> None:
        """Check the numbers."""
        if self.timeout is not None:
            check_seconds("timeout", self.timeout)
        for name in (
            "backoff_min",
            "backoff_max",
            "connect_timeout",
            "frame_timeout",
            "write_timeout",
        ):
            check_time(name, getattr(self, name))
        if self.backoff_max < self.backoff_min:
            raise ValueError(
                f"backoff_max ({self.backoff_max} s) is below backoff_min ({self.backoff_min} s)"
            )
        check_count("max_retry", self.max_retry, 0)
        if self.pool_size is not None:
            check_count("pool_size", self.pool_size, 1)
        if self.credential is not None and not isinstance(self.credential, bytes):
            raise TypeError(f"credential must be bytes, not {type(self.credential).__name__}")


@dataclasses.dataclass(frozen=True)
class ServerOptions:
    """How much a server takes on. All times are seconds.

    The bounds of calls hold on protocols that can say that a call failed. There, a call above one
    of them is refused at once, RESOURCE_EXHAUSTED (brpc's ELIMIT); elsewhere nothing more is read
    while 1024 calls of a connection wait.

    Attributes:
        max_concurrency: calls that have come in and not ended, in all; None for no bound.
        method_max_concurrency: the same for single methods, by full name.
        max_queued_calls: calls that wait for a worker.
        max_queue_time: for a call to wait for a worker, as the worker finds that comes to it. One
            whose deadline passes is not run either.
        max_connections: at once, those whose protocol is still to be told included. One more is
            closed as soon as it is accepted.
        max_handshakes: of TLS, under way at once. One more is closed as soon as it is accepted;
            above a quarter of them, each has 2 s at most.
        handshake_timeout: for the first bytes of a connection, where they tell the protocol, and
            for its handshake of TLS.
        idle_timeout: for a connection over which nothing goes in either direction, and of which no
            call is under way; None for no limit.
        frame_timeout: for the next byte of a frame that has begun to come.
        write_timeout: for the peer to take a byte of those that wait for it.
        max_unfinished_bytes: of frames of which only a part has come, of all connections together.
            Above that, the connection that has waited the longest for its next byte is closed; one
            alone is bounded by the `max_length` of its protocol.

    Raises:
        ValueError: a time that is none, or a number below its least.
    """

    max_concurrency: int | None = 10_000
    method_max_concurrency: Mapping[str, int] = dataclasses.field(default_factory=dict[str, int])
    max_queued_calls: int = 4096
    max_queue_time: float = 10.0
    max_connections: int = 10_000
    max_handshakes: int = 4096
    handshake_timeout: float = 10.0
    idle_timeout: float | None = 600.0
    frame_timeout: float = 30.0
    write_timeout: float = 30.0
    max_unfinished_bytes: int = 256 * 1024 * 1024

    def __post_init__(self) -> None:
        """Check the numbers."""
        if self.max_concurrency is not None:
            check_count("max_concurrency", self.max_concurrency, 1)
        for name, most in self.method_max_concurrency.items():
            check_count(f"method_max_concurrency[{name!r}]", most, 0)
        counts = ("max_queued_calls", "max_connections", "max_handshakes", "max_unfinished_bytes")
        for name in counts:
            check_count(name, getattr(self, name), 1)
        check_seconds("max_queue_time", self.max_queue_time)
        if self.idle_timeout is not None:
            check_time("idle_timeout", self.idle_timeout)
        for name in ("handshake_timeout", "frame_timeout", "write_timeout"):
            check_time(name, getattr(self, name))


def check_count(name: str, count: object, least: int) -> None:
    """Raise ValueError unless `count` is a whole number from `least` on."""
    if not isinstance(count, int) or isinstance(count, bool) or not least <= count < 2**31:
        raise ValueError(f"{name} must be a whole number from {least} on, not {brief(count)}")


def check_time(name: str, seconds: float) -> None:
    """Raise ValueError unless `seconds` is a finite number above 0."""
    check_seconds(name, seconds)
    if seconds == 0:
        raise ValueError(f"{name} must be more than 0 s")


def check_seconds(name: str, seconds: object) -> None:
    """Raise ValueError unless `seconds` is a finite number that is not negative."""
    if (
        not isinstance(seconds, (int, float))
        or isinstance(seconds, bool)
        or not 0 <= seconds <= sys.float_info.max
    ):
        raise ValueError(f"{name} must be seconds from 0 on, not {brief(seconds)}")


def brief(value: object) -> str:
    """Return `repr(value)`, shortened: a number may have thousands of digits."""
    return reprlib.repr(value)
