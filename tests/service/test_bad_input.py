"""The bad-input table of the indexed protocol on live sockets, one test a row.

Every row runs against both ends that receive: our server with a lying client, and our channel
with a lying server. Each reads its counter in `stats()`, while a neighbour on another connection
goes on.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import logging
import socket
import struct
from typing import TYPE_CHECKING, Any

import pytest

import callmethod
from testing_pb2 import Number, Numbers, Numbers_Stub

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PUSH, TWICE, FAIL, LEFT_OUT, BLOB = range(5)
MESSAGE_LIMIT = 4 * 1024 * 1024


class Recorder(Numbers):
    """The receiving service: keeps the numbers that it got and why connections ended."""

    def __init__(self) -> None:
        self.values: list[int] = []
        self.reasons: list[callmethod.Disconnect] = []

    def push(self, rpc_controller: Any, request: Any, done: Any) -> None:
        self.values.append(request.value)

    def twice(self, rpc_controller: Any, request: Any, done: Any) -> None:
        rpc_controller.SetFailed("not today")
        done(None)

    def fail(self, rpc_controller: Any, request: Any, done: Any) -> None:
        raise RuntimeError("the handler failed")

    def on_disconnected(self, channel: Any, reason: callmethod.Disconnect) -> None:
        self.reasons.append(reason)


@dataclasses.dataclass
class Link:
    """A connection whose one end is ours, the receiver, and whose other is a plain socket."""

    sock: socket.socket
    stats: Callable[[], Any]
    service: Recorder


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """A plain server socket that accepts what our channels connect."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        sock.settimeout(5.0)
        yield sock


@pytest.fixture(params=["server", "channel"])
def make_link(
    request: pytest.FixtureRequest,
    server_factory: Callable[..., callmethod.Server],
    channel_factory: Callable[..., callmethod.Channel],
    raw_socket: Callable[[str], socket.socket],
    listener: socket.socket,
) -> Iterator[Callable[..., Link]]:
    """Make links; on the server end all of them are connections of one server."""
    servers: dict[callmethod.Indexed, tuple[callmethod.Server, Recorder]] = {}

    def to_server(protocol: callmethod.Indexed) -> Link:
        if protocol not in servers:
            service = Recorder()
            servers[protocol] = server_factory(service, protocols=[protocol]), service
        server, service = servers[protocol]
        return Link(raw_socket(server.address), server.stats, service)

    with contextlib.ExitStack() as accepted:

        def from_channel(protocol: callmethod.Indexed) -> Link:
            service = Recorder()
            target = f"127.0.0.1:{listener.getsockname()[1]}"
            channel = channel_factory(target, protocol=protocol, service=service)
            channel.connect()
            sock = accepted.enter_context(listener.accept()[0])
            sock.settimeout(5.0)
            return Link(sock, channel.stats, service)

        make = to_server if request.param == "server" else from_channel
        yield lambda **options: make(callmethod.Indexed(**options))


@pytest.fixture
def push(wait_until: Callable[..., Any]) -> Callable[[Link], None]:
    """Send a number of its own over a link and see that the handler got it."""
    numbers = itertools.count(1000)

    def works(link: Link) -> None:
        value = next(numbers)
        link.sock.sendall(frame(PUSH, number(value)))
        wait_until(lambda: value in link.service.values)

    return works


def number(value: int) -> bytes:
    return bytes(Number(value=value).SerializeToString())


def frame(index: int, body: bytes) -> bytes:
    return struct.pack("<IH", len(body) + 2, index) + body


def counted(counters: dict[str, int]) -> dict[str, int]:
    """The counters that are not zero."""
    return {name: value for name, value in counters.items() if value}


def ends(sock: socket.socket) -> bool:
    """Whether the other end closes the connection, having sent nothing."""
    try:
        return sock.recv(1) == b""
    except ConnectionResetError:  # it closed with bytes of ours unread
        return True


CLOSING = {
    "length of nothing": (struct.pack("<I", 0), "length_below_header"),
    "length of half an index": (struct.pack("<IB", 1, 0), "length_below_header"),
    "length just above the limit": (struct.pack("<I", MESSAGE_LIMIT + 1), "length_above_limit"),
    "length 2^31": (struct.pack("<I", 2**31), "length_above_limit"),
    "length 2^32-1": (struct.pack("<I", 2**32 - 1), "length_above_limit"),
    "an HTTP request": (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "length_above_limit"),
    "index one too many": (frame(5, number(1)), "unknown_method"),
    "index 65535": (frame(65535, b""), "unknown_method"),
    "body that does not parse": (frame(PUSH, b"\xff\xff\xff"), "bad_body"),
    "body cut short": (frame(PUSH, b"\x08\x01\x12\x05ab"), "bad_body"),
    "body without its required field": (frame(PUSH, b"\x12\x01x"), "bad_body"),
    "body of nothing": (frame(PUSH, b""), "bad_body"),
}
closing = pytest.mark.parametrize(("stream", "reason"), CLOSING.values(), ids=CLOSING)


@closing
def test_bad_input_closes_the_connection_and_is_counted(
    *,
    make_link: Callable[..., Link],
    push: Callable[[Link], None],
    wait_until: Callable[..., Any],
    caplog: pytest.LogCaptureFixture,
    stream: bytes,
    reason: str,
) -> None:
    caplog.set_level(logging.INFO, "callmethod")
    link, neighbour = make_link(), make_link()
    push(link)
    push(neighbour)

    link.sock.sendall(stream)
    assert ends(link.sock)
    push(neighbour)

    wait_until(lambda: counted(link.stats()["disconnects_total"]) == {reason: 1})
    assert counted(link.stats()["rejected_total"]) == {reason: 1}
    [disconnect] = wait_until(lambda: link.service.reasons)
    assert disconnect.kind == reason
    assert disconnect.text == str(disconnect) != ""
    assert 1 not in link.service.values  # the number in the bad frames: no handler ran
    wait_until(
        lambda: any(
            r.levelno == logging.WARNING and reason in r.getMessage() for r in caplog.records
        )
    )


@closing
def test_calls_before_bad_input_in_the_same_write_still_run(
    make_link: Callable[..., Link], wait_until: Callable[..., Any], stream: bytes, reason: str
) -> None:
    link = make_link()
    link.sock.sendall(frame(PUSH, number(1)) + frame(PUSH, number(2)) + stream)
    assert ends(link.sock)
    wait_until(lambda: link.service.reasons)
    assert link.service.values == [1, 2]
    assert counted(link.stats()["rejected_total"]) == {reason: 1}


@pytest.mark.parametrize("sent", [1, 3, 4, 5, 6, 7])
def test_a_connection_that_ends_inside_a_frame_is_truncated(
    make_link: Callable[..., Link],
    push: Callable[[Link], None],
    wait_until: Callable[..., Any],
    sent: int,
) -> None:
    link, neighbour = make_link(), make_link()
    push(link)
    link.sock.sendall(frame(PUSH, number(7))[:sent])
    push(neighbour)
    link.sock.shutdown(socket.SHUT_WR)
    assert ends(link.sock)
    wait_until(lambda: counted(link.stats()["disconnects_total"]) == {"truncated": 1})
    assert counted(link.stats()["rejected_total"]) == {"truncated": 1}
    assert [reason.kind for reason in wait_until(lambda: link.service.reasons)] == ["truncated"]
    assert 7 not in link.service.values
    push(neighbour)


def test_a_connection_that_ends_between_frames_is_no_bad_input(
    make_link: Callable[..., Link], push: Callable[[Link], None], wait_until: Callable[..., Any]
) -> None:
    link = make_link()
    push(link)
    link.sock.shutdown(socket.SHUT_WR)
    assert ends(link.sock)
    wait_until(lambda: counted(link.stats()["disconnects_total"]) == {"peer_closed": 1})
    assert counted(link.stats()["rejected_total"]) == {}
    assert [reason.kind for reason in wait_until(lambda: link.service.reasons)] == ["peer_closed"]


@pytest.mark.parametrize("body", [b"\xff\xff\xff", b"\x12\x01x", b""])
def test_a_bad_body_may_be_skipped(
    make_link: Callable[..., Link], push: Callable[[Link], None], body: bytes
) -> None:
    link = make_link(on_bad_body="skip")
    push(link)
    link.sock.sendall(frame(PUSH, body) * 2)
    push(link)
    assert len(link.service.values) == 2
    stats = link.stats()
    assert counted(stats["rejected_total"]) == {"bad_body": 2}
    assert counted(stats["disconnects_total"]) == {}
    assert stats["connections"] == 1


def test_skipping_bodies_forgives_nothing_else(
    make_link: Callable[..., Link], wait_until: Callable[..., Any]
) -> None:
    link = make_link(on_bad_body="skip")
    link.sock.sendall(frame(PUSH, b"") + frame(5, b""))
    assert ends(link.sock)
    wait_until(lambda: counted(link.stats()["disconnects_total"]) == {"unknown_method": 1})
    wait_until(
        lambda: counted(link.stats()["rejected_total"]) == {"bad_body": 1, "unknown_method": 1}
    )


@pytest.mark.parametrize(
    ("index", "outcome"), [(TWICE, "INTERNAL"), (FAIL, "INTERNAL"), (LEFT_OUT, "UNIMPLEMENTED")]
)
def test_a_failed_handler_is_counted_and_keeps_the_connection(
    make_link: Callable[..., Link], push: Callable[[Link], None], index: int, outcome: str
) -> None:
    link = make_link()
    push(link)
    link.sock.sendall(frame(index, number(1)))
    push(link)  # in order, so the failed call has ended
    stats = link.stats()
    assert stats["calls_total"].get(outcome) == 1
    assert counted(stats["rejected_total"]) == {}
    assert stats["connections"] == 1


@pytest.mark.parametrize(("over", "refused"), [(-1, False), (0, False), (1, True)])
def test_the_limit_of_the_layout_at_minus_one_zero_and_plus_one(
    make_link: Callable[..., Link], wait_until: Callable[..., Any], over: int, refused: bool
) -> None:
    link = make_link(max_length=100)
    # Value, then a note that fills the frame up: 2 of index, 2 of value, 2 of the note's head.
    body = bytes(Number(value=1, note="n" * (94 + over)).SerializeToString())
    assert len(body) + 2 == 100 + over
    link.sock.sendall(frame(PUSH, body))
    if refused:
        assert ends(link.sock)
        wait_until(lambda: counted(link.stats()["disconnects_total"]) == {"length_above_limit": 1})
        assert counted(link.stats()["rejected_total"]) == {"length_above_limit": 1}
        assert link.service.values == []
    else:
        wait_until(lambda: link.service.values == [1])
        assert counted(link.stats()["rejected_total"]) == {}


def test_a_channel_lives_on_after_a_lying_server(
    channel_factory: Callable[..., callmethod.Channel],
    listener: socket.socket,
    read_frame: Callable[..., Any],
    wait_until: Callable[..., Any],
) -> None:
    target = f"127.0.0.1:{listener.getsockname()[1]}"
    channel = channel_factory(target, service=Recorder())
    channel.connect()
    with listener.accept()[0] as liar:
        liar.sendall(struct.pack("<I", 2**32 - 1))
        wait_until(lambda: counted(channel.stats()["rejected_total"]) == {"length_above_limit": 1})
    Numbers_Stub(channel).push(callmethod.Controller(timeout=5.0), Number(value=3))
    with listener.accept()[0] as honest:
        honest.settimeout(5.0)
        assert read_frame(honest) == (PUSH, number(3))
