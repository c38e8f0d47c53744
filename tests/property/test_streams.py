"""Any split of any stream of frames gives the same calls on a live server."""

from __future__ import annotations

import contextlib
import itertools
import socket
import struct
import threading
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import callmethod
from testing_pb2 import Blob, Number, Numbers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# A live connection or three an example: fewer examples than where there is no socket.
live = settings(max_examples=max(10, settings().max_examples // 3))

CALLS = st.lists(
    st.one_of(
        st.tuples(
            st.sampled_from([0, 1]),
            st.builds(Number, value=st.integers(-(2**63), 2**63 - 1), note=st.text(max_size=20)),
        ),
        st.tuples(st.just(4), st.builds(Blob, data=st.binary(max_size=300))),
    ),
    max_size=12,
)
CUTS = st.lists(st.integers(0, 4000), max_size=6)


class Session(Numbers):
    """One for each connection: keeps the calls in the order in which they came."""

    def __init__(self) -> None:
        self.calls: list[tuple[int, Any]] = []
        self.ended = threading.Event()

    def push(self, rpc_controller: Any, request: Any, done: Any) -> None:
        self.calls.append((0, request))

    def twice(self, rpc_controller: Any, request: Any, done: Any) -> None:
        self.calls.append((1, request))

    def blob(self, rpc_controller: Any, request: Any, done: Any) -> None:
        self.calls.append((4, request))

    def on_disconnected(self, channel: Any, reason: Any) -> None:
        self.ended.set()


class Ear:
    """A server whose sessions can be found by the socket that they belong to."""

    def __init__(self) -> None:
        self.sessions: dict[str, Session] = {}
        self.server = callmethod.Server("127.0.0.1:0", protocols=[callmethod.Indexed()])
        self.server.add_service(factory=self.open)

    def open(self, channel: Any) -> Session:
        return self.sessions.setdefault(channel.peer, Session())

    def hear(self, pieces: list[bytes], wait_until: Callable[..., Any] | None = None) -> list[Any]:
        """Send the pieces over a connection of their own; the calls that came of them.

        With `wait_until`, a piece is sent when the server has taken the one before it.
        """
        host, _, port = self.server.address.rpartition(":")
        taken = self.received()
        with socket.create_connection((host, int(port)), timeout=5.0) as sock:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            peer = "{}:{}".format(*sock.getsockname())
            for piece in pieces:
                sock.sendall(piece)
                taken += len(piece)
                if wait_until is not None:
                    wait_until(lambda expected=taken: self.received() == expected)
            with contextlib.suppress(OSError):  # after bad input the server was first
                sock.shutdown(socket.SHUT_WR)
                assert sock.recv(1) == b""
        session = self.sessions.get(peer)
        assert session is not None
        assert session.ended.wait(5)
        del self.sessions[peer]
        return session.calls

    def received(self) -> int:
        return self.server.stats()["bytes_received_total"]


@pytest.fixture(scope="module")
def ear() -> Iterator[Ear]:
    ear = Ear()
    ear.server.start()
    yield ear
    ear.server.stop(grace=0.0)


def stream(calls: list[tuple[int, Any]]) -> bytes:
    bodies = [(index, message.SerializeToString()) for index, message in calls]
    return b"".join(struct.pack("<IH", len(body) + 2, index) + body for index, body in bodies)


@live
@given(calls=CALLS)
def test_whole(ear: Ear, calls: list[tuple[int, Any]]) -> None:
    assert ear.hear([stream(calls)]) == calls


@live
@given(calls=CALLS)
def test_byte_by_byte(ear: Ear, calls: list[tuple[int, Any]]) -> None:
    data = stream(calls)
    assert ear.hear([data[at : at + 1] for at in range(len(data))]) == calls


@live
@given(calls=CALLS, points=CUTS)
def test_in_random_pieces_taken_one_at_a_time(
    ear: Ear, wait_until: Callable[..., Any], calls: list[tuple[int, Any]], points: list[int]
) -> None:
    data = stream(calls)
    edges = sorted({0, len(data), *(point % (len(data) + 1) for point in points)})
    pieces = [data[a:b] for a, b in itertools.pairwise(edges)]
    assert ear.hear(pieces, wait_until) == calls


@pytest.mark.parametrize("size", [1000, 65_535, 65_536, 1_000_003])
def test_frames_larger_than_any_read(ear: Ear, size: int) -> None:
    sizes = (300_000, 0, 70_000, 4 * 1024 * 1024 - 8)
    calls = [(4, Blob(data=b"\x5a" * body)) for body in sizes]
    data = stream(calls)
    assert ear.hear([data[at : at + size] for at in range(0, len(data), size)]) == calls


def test_a_bad_end_changes_no_call_before_it(ear: Ear, wait_until: Callable[..., Any]) -> None:
    calls = [(0, Number(value=value)) for value in range(20)]
    data = stream(calls) + struct.pack("<I", 2**32 - 1)
    for size in (len(data), 1, 7):
        assert (
            ear.hear([data[at : at + size] for at in range(0, len(data), size)], wait_until)
            == calls
        )
