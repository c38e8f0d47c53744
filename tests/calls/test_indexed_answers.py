"""The indexed protocol's layouts with answers, against a peer written by hand in either role.

The layouts are those of the table in the docs: `<III` length, id, index with `<II` length, id in
answers (by_id), and the tutorial's own, answered in order.
"""

from __future__ import annotations

import importlib
import struct
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import callmethod
from callmethod import Code, Controller, Indexed, RpcError
from testing_pb2 import Number, Numbers, Numbers_Stub, Receiver, Receiver_Stub

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

sys.path.insert(0, str(Path(__file__).parent))  # tests run in importlib mode
wire = importlib.import_module("wire")
number, value_of = wire.number, wire.value_of

PUSH, TWICE, FAIL, LEFT_OUT = range(4)


class Layout:
    """A layout and its frames, by struct."""

    def __init__(self, name: str, protocol: Indexed, call: str, answer: str, covers: int) -> None:
        self.name, self.protocol = name, protocol
        self.call_head, self.answer_head = struct.Struct(call), struct.Struct(answer)
        self.width = covers  # of the length field, where the length does not count it
        self.has_id = protocol.id_width > 0

    def call(self, index: int, body: bytes, cid: int = 0) -> bytes:
        length = self.call_head.size - self.width + len(body)
        parts = [length, cid, index] if self.has_id else [length, index]
        return self.call_head.pack(*parts) + body

    def answer(self, body: bytes, cid: int = 0) -> bytes:
        length = self.answer_head.size - self.width + len(body)
        return self.answer_head.pack(*([length, cid] if self.has_id else [length])) + body

    def read(self, sock: socket.socket, head: struct.Struct) -> tuple[Any, ...] | None:
        data = wire.read_exactly(sock, head.size)
        if not data:
            return None
        length, *rest = head.unpack(data)
        return (*rest, wire.read_exactly(sock, length - (head.size - self.width)))

    def read_call(self, sock: socket.socket) -> tuple[Any, ...] | None:
        """(id, index, body), without the id where there is none."""
        return self.read(sock, self.call_head)

    def read_answer(self, sock: socket.socket) -> tuple[Any, ...] | None:
        """(id, body), without the id where there is none."""
        return self.read(sock, self.answer_head)


BY_ID = [
    Layout("by_id <III", Indexed(id_width=4, index_width=4, reply="by_id"), "<III", "<II", 4),
    Layout("by_id <IQH", Indexed(id_width=8, reply="by_id"), "<IQH", "<IQ", 4),
    Layout(
        "by_id !HIH, whole frame",
        Indexed(
            byte_order="big",
            length_width=2,
            length_covers="whole_frame",
            id_width=4,
            reply="by_id",
        ),
        "!HIH",
        "!HI",
        0,
    ),
]
IN_ORDER = [
    Layout("in_order <IH", Indexed(reply="in_order"), "<IH", "<I", 4),
    Layout(
        "in_order !ih, whole frame",
        Indexed(byte_order="big", length_covers="whole_frame", reply="in_order"),
        "!ih",
        "!i",
        0,
    ),
    Layout("in_order <IIH", Indexed(id_width=4, reply="in_order"), "<IIH", "<II", 4),
]
ALL = BY_ID + IN_ORDER
every = pytest.mark.parametrize("layout", ALL, ids=lambda x: x.name)
by_id = pytest.mark.parametrize("layout", BY_ID, ids=lambda x: x.name)
in_order = pytest.mark.parametrize("layout", IN_ORDER, ids=lambda x: x.name)


def test_the_bytes_of_the_docs() -> None:
    body = bytes.fromhex("0a086d3030303030302d")
    layout = Layout("", Indexed(), "<IH", "<I", 4)
    assert layout.call(0, body).hex() == "0c0000000000" + body.hex()


class Later(Numbers):
    """`push` is held until `release`; `twice` doubles at once; `fail` fails."""

    def __init__(self) -> None:
        self.held: dict[int, Any] = {}
        self.ran: list[int] = []
        self.reasons: list[str] = []
        self.errors: list[Code] = []

    def push(self, rpc_controller: Any, request: Any, done: Any) -> None:
        self.ran.append(request.value)
        self.held[request.value] = done

    def twice(self, rpc_controller: Any, request: Any, done: Any) -> None:
        self.ran.append(request.value)
        done(Number(value=2 * request.value))

    def fail(self, rpc_controller: Any, request: Any, done: Any) -> None:
        if request.note == "raise":
            raise RuntimeError("it fails")
        if request.note == "push":
            try:
                Receiver_Stub(rpc_controller.rpc_channel).number(None, request)
            except RpcError as error:
                self.errors.append(error.code)
            done(request)
            return
        rpc_controller.SetFailed("it fails")
        done(None)

    def on_disconnected(self, channel: Any, reason: Any) -> None:
        self.reasons.append(reason.kind)

    def release(self, value: int) -> None:
        self.held.pop(value)(Number(value=1000 + value))


@pytest.fixture
def serve(
    server_factory: Callable[..., callmethod.Server], raw_socket: Callable[[str], socket.socket]
) -> Callable[..., Any]:
    """Our server and a raw caller of it."""

    def make(layout: Layout) -> Any:
        service = Later()
        server = server_factory(service, protocols=[layout.protocol])
        return service, server, raw_socket(server.address)

    return make


@pytest.fixture
def stub_to(channel_factory: Callable[..., callmethod.Channel]) -> Callable[..., Any]:
    def make(server: Any, layout: Layout) -> Any:
        channel = channel_factory(server.address, protocol=layout.protocol)
        stub = Numbers_Stub(channel)
        stub.channel = channel
        return stub

    return make


def closed(sock: socket.socket) -> bool:
    """Whether the other end closes, having sent no more."""
    return bool(wire.ends(sock))


# ---------------------------------------------------------------- our server


@every
def test_a_call_and_its_answer(serve: Callable[..., Any], layout: Layout) -> None:
    _, _, sock = serve(layout)
    for cid in (1, 0, 5, 2**32 - 1):
        sock.sendall(layout.call(TWICE, number(6), cid))
        *head, body = layout.read_answer(sock)
        assert head == ([cid] if layout.has_id else [])
        assert body == number(12)


@by_id
def test_answers_by_id_leave_in_any_order(
    serve: Callable[..., Any], wait_until: Callable[..., Any], layout: Layout
) -> None:
    service, _, sock = serve(layout)
    sock.sendall(b"".join(layout.call(PUSH, number(i), 50 + i) for i in range(6)))
    wait_until(lambda: len(service.held) == 6)
    sock.sendall(layout.call(TWICE, number(7), 9))
    assert layout.read_answer(sock) == (9, number(14))
    for i in (5, 0, 3, 1, 4, 2):
        service.release(i)
        assert layout.read_answer(sock) == (50 + i, number(1000 + i))


@by_id
def test_an_id_used_twice_is_answered_twice(
    serve: Callable[..., Any], wait_until: Callable[..., Any], layout: Layout
) -> None:
    service, _, sock = serve(layout)
    sock.sendall(layout.call(PUSH, number(1), 5) + layout.call(PUSH, number(2), 5))
    wait_until(lambda: len(service.held) == 2)
    service.release(2)
    assert layout.read_answer(sock) == (5, number(1002))
    service.release(1)
    assert layout.read_answer(sock) == (5, number(1001))


@in_order
def test_answers_in_order_leave_in_order(
    serve: Callable[..., Any], wait_until: Callable[..., Any], layout: Layout
) -> None:
    """Whatever order the handlers finish in."""
    service, _, sock = serve(layout)
    calls = [(PUSH, 1), (TWICE, 2), (PUSH, 3), (TWICE, 4), (PUSH, 5)]
    sock.sendall(b"".join(layout.call(index, number(v), 60 + v) for index, v in calls))
    wait_until(lambda: service.held.keys() == {1, 3, 5})
    service.release(5)
    service.release(3)
    assert wire.is_quiet(sock, 0.15)  # the first is not there yet
    service.release(1)
    answers = [layout.read_answer(sock) for _ in calls]
    assert [value_of(a[-1]) for a in answers] == [1001, 4, 1003, 8, 1005]
    if layout.has_id:
        assert [a[0] for a in answers] == [61, 62, 63, 64, 65]


@in_order
def test_many_answers_in_order(serve: Callable[..., Any], layout: Layout) -> None:
    _, _, sock = serve(layout)
    count = 500
    stream = b"".join(layout.call(TWICE, number(i), i) for i in range(count))
    threading.Thread(target=sock.sendall, args=(stream,), daemon=True).start()
    assert [value_of(layout.read_answer(sock)[-1]) for _ in range(count)] == [
        2 * i for i in range(count)
    ]


@every
@pytest.mark.parametrize(
    ("index", "note"),
    [(FAIL, b""), (FAIL, b"raise"), (LEFT_OUT, b"")],
    ids=["set", "raise", "none"],
)
def test_a_failure_closes_since_it_cannot_be_said(
    serve: Callable[..., Any],
    wait_until: Callable[..., Any],
    raw_socket: Callable[[str], socket.socket],
    layout: Layout,
    index: int,
    note: bytes,
) -> None:
    service, server, sock = serve(layout)
    neighbour = raw_socket(server.address)
    sock.sendall(layout.call(TWICE, number(1), 1))
    assert value_of(layout.read_answer(sock)[-1]) == 2
    sock.sendall(layout.call(index, number(1, note), 2))
    assert closed(sock)
    neighbour.sendall(layout.call(TWICE, number(3), 1))
    assert value_of(layout.read_answer(neighbour)[-1]) == 6
    wait_until(lambda: len(service.reasons) == 1)


@every
@pytest.mark.parametrize(
    ("index", "body", "reason"),
    [(5, number(1), "unknown_method"), (TWICE, b"\xff", "bad_body"), (TWICE, b"", "bad_body")],
)
def test_bad_calls_close(
    *,
    serve: Callable[..., Any],
    wait_until: Callable[..., Any],
    layout: Layout,
    index: int,
    body: bytes,
    reason: str,
) -> None:
    service, server, sock = serve(layout)
    sock.sendall(layout.call(index, body, 3))
    assert closed(sock)
    wait_until(lambda: wire.counted(server.stats()["rejected_total"]) == {reason: 1})
    assert service.ran == []


@every
def test_a_server_cannot_call_back(serve: Callable[..., Any], layout: Layout) -> None:
    service, _, sock = serve(layout)
    sock.sendall(layout.call(FAIL, number(4, b"push"), 1))
    assert value_of(layout.read_answer(sock)[-1]) == 4
    assert service.errors == [Code.UNIMPLEMENTED]
    assert wire.is_quiet(sock, 0.1)


@every
def test_a_half_close_still_gets_its_answers(
    serve: Callable[..., Any], wait_until: Callable[..., Any], layout: Layout
) -> None:
    import socket as sockets

    service, _, sock = serve(layout)
    sock.sendall(layout.call(PUSH, number(1), 1) + layout.call(TWICE, number(2), 2))
    wait_until(lambda: service.held)
    sock.shutdown(sockets.SHUT_WR)
    time.sleep(0.05)
    service.release(1)
    assert sorted(value_of(layout.read_answer(sock)[-1]) for _ in range(2)) == [4, 1001]
    assert layout.read_answer(sock) is None


# ---------------------------------------------------------------- our channel


@every
def test_a_channel_calls(stub_to: Callable[..., Any], layout: Layout) -> None:
    def script(sock: socket.socket, n: int) -> None:
        ids = set()
        for i in range(10):
            *head, index, body = layout.read_call(sock)
            assert (index, body) == (TWICE, number(i))
            ids.add(tuple(head))
            sock.sendall(layout.answer(number(2 * i), *head))
        assert len(ids) == (10 if layout.has_id else 1)
        assert closed(sock)

    with wire.fake_server(script) as server:
        stub = stub_to(server, layout)
        for i in range(10):
            assert stub.twice(None, Number(value=i)).value == 2 * i
        stub.channel.close()
        assert server.accepted == 1


@every
def test_a_channel_has_many_calls_in_flight(
    stub_to: Callable[..., Any], wait_until: Callable[..., Any], layout: Layout
) -> None:
    """By id they are answered in reverse; in order, in order."""
    count = 40

    def script(sock: socket.socket, n: int) -> None:
        calls = [layout.read_call(sock) for _ in range(count)]
        if layout in BY_ID:
            calls.reverse()
        for *head, _, body in calls:
            sock.sendall(layout.answer(number(2 * value_of(body)), *head))
        assert closed(sock)

    with wire.fake_server(script) as server:
        stub = stub_to(server, layout)
        got: dict[int, int] = {}
        for i in range(count):
            stub.twice(None, Number(value=i), lambda r, i=i: got.__setitem__(i, r.value))
        wait_until(lambda: len(got) == count)
        assert got == {i: 2 * i for i in range(count)}
        stub.channel.close()


@every
@pytest.mark.parametrize("ending", ["deadline", "cancel"])
def test_a_call_that_ended_keeps_its_place(
    stub_to: Callable[..., Any], wait_until: Callable[..., Any], layout: Layout, ending: str
) -> None:
    """Its answer comes later, and is nobody's; the next call gets its own."""
    go = threading.Event()

    def script(sock: socket.socket, n: int) -> None:
        calls = [layout.read_call(sock) for _ in range(3)]
        assert go.wait(10)
        for (*head, _, _), value in zip(calls, (666, 11, 12), strict=True):
            sock.sendall(layout.answer(number(value), *head))
        *head, _, _ = layout.read_call(sock)
        sock.sendall(layout.answer(number(13), *head))
        assert closed(sock)

    with wire.fake_server(script) as server:
        stub = stub_to(server, layout)
        first = Controller(timeout=0.2 if ending == "deadline" else 10)
        ended: list[Any] = []
        stub.twice(first, Number(value=0), ended.append)
        if ending == "cancel":
            time.sleep(0.1)
            first.StartCancel()
        wait_until(lambda: ended)
        expected = Code.DEADLINE_EXCEEDED if ending == "deadline" else Code.CANCELLED
        assert (ended, first.code) == ([None], expected)
        got: list[int] = []
        for i in (1, 2):
            stub.twice(Controller(timeout=10), Number(value=i), lambda r: got.append(r.value))
        time.sleep(0.05)
        assert got == []
        go.set()
        wait_until(lambda: len(got) == 2)
        assert got == [11, 12]
        assert stub.twice(None, Number(value=3)).value == 13
        assert stub.channel.stats()["late_replies_total"] == 1
        stub.channel.close()
        assert server.accepted == 1


@by_id
def test_an_answer_to_an_unknown_id_is_dropped(stub_to: Callable[..., Any], layout: Layout) -> None:
    def script(sock: socket.socket, n: int) -> None:
        while (call := layout.read_call(sock)) is not None:
            cid, _, body = call
            sock.sendall(layout.answer(number(666), cid + 1000))
            good = layout.answer(number(2 * value_of(body)), cid)
            sock.sendall(good + good)

    with wire.fake_server(script) as server:
        stub = stub_to(server, layout)
        for i in range(5):
            assert stub.twice(None, Number(value=i)).value == 2 * i
        assert server.accepted == 1
        assert stub.channel.stats()["late_replies_total"] in (9, 10)  # the last may be under way


@in_order
def test_an_answer_that_nobody_waits_for_closes(
    stub_to: Callable[..., Any], wait_until: Callable[..., Any], layout: Layout
) -> None:
    """Nothing tells whose it would be, so that all that follows would be in doubt."""

    def script(sock: socket.socket, n: int) -> None:
        *head, _, body = layout.read_call(sock)
        answer = layout.answer(number(2 * value_of(body)), *head)
        sock.sendall(answer + (answer if n == 0 else b""))
        wire.ends(sock)

    with wire.fake_server(script) as server:
        stub = stub_to(server, layout)
        assert stub.twice(None, Number(value=1)).value == 2
        wait_until(
            lambda: wire.counted(stub.channel.stats()["rejected_total"]) == {"unexpected_reply": 1}
        )
        wait_until(lambda: not stub.channel.connected)
        assert stub.twice(None, Number(value=2)).value == 4
        assert server.accepted == 2


@pytest.mark.parametrize("layout", IN_ORDER[2:], ids=lambda x: x.name)
def test_an_answer_out_of_its_turn_is_no_ones(stub_to: Callable[..., Any], layout: Layout) -> None:
    """In order and with ids: an id that is not the next one's is a broken promise."""

    def script(sock: socket.socket, n: int) -> None:
        calls = [layout.read_call(sock) for _ in range(2)]
        for cid, _, body in calls[::-1]:
            sock.sendall(layout.answer(number(2 * value_of(body)), cid))
        wire.ends(sock)

    with wire.fake_server(script) as server:
        stub = stub_to(server, layout)
        ended: dict[int, Any] = {}
        for i in (1, 2):
            controller = Controller(timeout=5)
            stub.twice(
                controller,
                Number(value=i),
                lambda r, i=i, c=controller: ended.__setitem__(i, r.value if r else c.code),
            )
        end = time.monotonic() + 8
        while len(ended) < 2 and time.monotonic() < end:
            time.sleep(0.01)
        for i in (1, 2):
            assert ended[i] in (2 * i, Code.UNAVAILABLE)


@every
def test_a_server_that_closes_fails_the_calls(
    stub_to: Callable[..., Any], wait_until: Callable[..., Any], layout: Layout
) -> None:
    def script(sock: socket.socket, n: int) -> None:
        if n == 0:
            for _ in range(5):
                layout.read_call(sock)
            return
        *head, _, _ = layout.read_call(sock)
        sock.sendall(layout.answer(number(7), *head))
        wire.ends(sock)

    with wire.fake_server(script) as server:
        stub = stub_to(server, layout)
        codes: list[Code | None] = []
        for i in range(5):
            controller = Controller(timeout=20)
            stub.twice(controller, Number(value=i), lambda r, c=controller: codes.append(c.code))
        wait_until(lambda: len(codes) == 5)
        assert set(codes) == {Code.UNAVAILABLE}
        assert stub.twice(None, Number(value=1)).value == 7


@every
def test_a_response_that_does_not_parse(stub_to: Callable[..., Any], layout: Layout) -> None:
    def script(sock: socket.socket, n: int) -> None:
        for body in (b"\xff\xff", b"", number(5)):
            *head, _, _ = layout.read_call(sock)
            sock.sendall(layout.answer(body, *head))
        wire.ends(sock)

    with wire.fake_server(script) as server:
        stub = stub_to(server, layout)
        for _ in range(2):
            with pytest.raises(RpcError) as caught:
                stub.twice(None, Number(value=1))
            assert caught.value.code is Code.INTERNAL
        assert stub.twice(None, Number(value=1)).value == 5
        assert server.accepted == 1


# ---------------------------------------------------------------- both ends ours


@every
def test_both_ends(serve: Callable[..., Any], stub_to: Callable[..., Any], layout: Layout) -> None:
    _, server, _ = serve(layout)
    stub = stub_to(server, layout)
    errors: list[BaseException] = []

    def body(n: int) -> None:
        try:
            for i in range(50):
                assert stub.twice(None, Number(value=1000 * n + i)).value == 2 * (1000 * n + i)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=body, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert errors == []
    with pytest.raises(RpcError) as caught:
        stub.fail(None, Number(value=1))
    assert caught.value.code is Code.UNAVAILABLE
    assert stub.twice(None, Number(value=4)).value == 8


@every
def test_the_connecting_end_does_not_serve(layout: Layout) -> None:
    with pytest.raises(ValueError, match="service="):
        callmethod.Channel("127.0.0.1:1", protocol=layout.protocol, service=Receiver())


@every
@pytest.mark.parametrize(
    "what",
    [
        {"metadata": {"a": "b"}},
        {"request_attachment": b"x"},
        {"compression": "gzip"},
        {"checksum": "message"},
    ],
    ids=lambda x: next(iter(x)),
)
def test_what_the_wire_cannot_carry(
    serve: Callable[..., Any], stub_to: Callable[..., Any], layout: Layout, what: dict[str, Any]
) -> None:
    _, server, _ = serve(layout)
    stub = stub_to(server, layout)
    with pytest.raises(ValueError, match=r"\w"):
        stub.twice(Controller(**what), Number(value=1))
    assert stub.twice(None, Number(value=1)).value == 2


@pytest.mark.parametrize(
    "options",
    [
        {"reply": "by_id"},
        {"id_width": 4, "reply": "in_turn"},
        {"id_width": 2, "reply": "by_id"},
        {"id_width": 16, "reply": "by_id"},
    ],
    ids=repr,
)
def test_layouts_that_are_none(options: dict[str, Any]) -> None:
    with pytest.raises((ValueError, TypeError)):
        Indexed(**options)
