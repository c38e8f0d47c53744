"""How much a server takes on: calls at once, calls that wait, for how long, in which order."""

from __future__ import annotations

import importlib
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import callmethod
from callmethod import (
    BaiduStd,
    ChannelOptions,
    Code,
    Controller,
    Hulu,
    RpcError,
    ServerOptions,
    Sofa,
)
from testing_pb2 import (
    Fields,
    Number,
    Numbers,
    Numbers_Stub,
    Receiver,
    Receiver_Stub,
    Single,
    Single_Stub,
)

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator

sys.path.insert(0, str(Path(__file__).parent))  # tests run in importlib mode
wire = importlib.import_module("wire")
PRPC, WIRES = wire.PRPC, wire.WIRES
number = wire.number

ELIMIT = 2004
every_wire = pytest.mark.parametrize("kind", WIRES, ids=wire.wire_id)
ANSWERING = [BaiduStd(), Hulu(), Sofa()]
PUSH_NAME = f"{wire.NUMBERS}.push"


class Gate(Numbers):
    """`push` is held until the gate opens, with or without its worker; `twice` doubles."""

    def __init__(self, hold_the_worker: bool) -> None:
        self.hold_the_worker = hold_the_worker
        self.opened = threading.Event()
        self.lock = threading.Lock()
        self.held: list[tuple[Any, Any]] = []
        self.ran: list[int] = []

    def push(self, rpc_controller: Any, request: Any, done: Any) -> None:
        with self.lock:
            self.ran.append(request.value)
            if not self.opened.is_set() and not self.hold_the_worker:
                self.held.append((request, done))
                return
        assert self.opened.wait(30)
        done(request)

    def twice(self, rpc_controller: Any, request: Any, done: Any) -> None:
        self.ran.append(request.value)
        done(Number(value=2 * request.value))

    def open(self) -> None:
        with self.lock:
            self.opened.set()
            held, self.held = self.held, []
        for request, done in held:
            done(request)


@pytest.fixture(params=[True, False], ids=["blocking handler", "done later"])
def gate(request: pytest.FixtureRequest) -> Iterator[Gate]:
    gate = Gate(request.param)
    yield gate
    gate.open()


@pytest.fixture
def blocking_gate() -> Iterator[Gate]:
    gate = Gate(hold_the_worker=True)
    yield gate
    gate.open()


def read_answers(sock: socket.socket, kind: Any, count: int) -> dict[int, Any]:
    answers = [wire.read_answer(sock, kind) for _ in range(count)]
    assert None not in answers
    assert len({a.id for a in answers}) == count
    return {a.id: a for a in answers}


# ---------------------------------------------------------------- how many at once


@every_wire
@pytest.mark.parametrize("limit", [1, 4])
def test_max_concurrency_refuses_at_once(
    *,
    server_factory: Callable[..., callmethod.Server],
    raw_socket: Callable[[str], socket.socket],
    wait_until: Callable[..., Any],
    gate: Gate,
    kind: Any,
    limit: int,
) -> None:
    server = server_factory(
        gate, protocols=ANSWERING, options=ServerOptions(max_concurrency=limit), max_workers=8
    )
    sock, other = raw_socket(server.address), raw_socket(server.address)
    sock.sendall(b"".join(kind.call(i, number(i), wire.PUSH) for i in range(limit)))
    wait_until(lambda: len(gate.ran) == limit)
    # All of them at once, on this connection and another, any method.
    for link in (sock, other):
        link.sendall(b"".join(kind.call(100 + i, number(i)) for i in range(10)))
        for answer in read_answers(link, kind, 10).values():
            assert answer.code == ELIMIT
            assert str(limit) in answer.text
    stats = server.stats()
    assert stats["calls_in_flight"] == limit
    assert stats["rejected_total"].get("overload") == 20
    assert sorted(gate.ran) == list(range(limit))
    gate.open()
    answers = read_answers(sock, kind, limit)
    assert {i: wire.value_of(a.body) for i, a in answers.items()} == {i: i for i in range(limit)}
    wait_until(lambda: server.stats()["calls_in_flight"] == 0)
    other.sendall(kind.call(5, number(5)))
    assert wire.read_answer(other, kind).code == 0


def test_max_concurrency_holds_for_all_protocols_together(
    server_factory: Callable[..., callmethod.Server],
    raw_socket: Callable[[str], socket.socket],
    wait_until: Callable[..., Any],
    gate: Gate,
) -> None:
    server = server_factory(
        gate, protocols=ANSWERING, options=ServerOptions(max_concurrency=3), max_workers=8
    )
    socks = [raw_socket(server.address) for _ in WIRES]
    for sock, kind in zip(socks, WIRES, strict=True):
        sock.sendall(kind.call(1, number(1), wire.PUSH))
    wait_until(lambda: len(gate.ran) == 3)
    for sock, kind in zip(socks, WIRES, strict=True):
        sock.sendall(kind.call(2, number(1)))
        assert wire.read_answer(sock, kind).code == ELIMIT


@every_wire
def test_method_max_concurrency_is_the_methods_alone(
    server_factory: Callable[..., callmethod.Server],
    raw_socket: Callable[[str], socket.socket],
    wait_until: Callable[..., Any],
    gate: Gate,
    kind: Any,
) -> None:
    options = ServerOptions(method_max_concurrency={PUSH_NAME: 2})
    server = server_factory(gate, protocols=ANSWERING, options=options, max_workers=8)
    sock = raw_socket(server.address)
    sock.sendall(b"".join(kind.call(i, number(i), wire.PUSH) for i in range(2)))
    wait_until(lambda: len(gate.ran) == 2)
    sock.sendall(b"".join(kind.call(10 + i, number(i), wire.PUSH) for i in range(5)))
    for answer in read_answers(sock, kind, 5).values():
        assert answer.code == ELIMIT
    sock.sendall(b"".join(kind.call(20 + i, number(i)) for i in range(5)))
    for answer in read_answers(sock, kind, 5).values():
        assert answer.code == 0
    assert server.stats()["rejected_total"].get("overload") == 5
    gate.open()
    assert read_answers(sock, kind, 2).keys() == {0, 1}
    sock.sendall(kind.call(30, number(3), wire.PUSH))
    assert wire.read_answer(sock, kind).code == 0


@pytest.mark.parametrize("name", ["push", "Numbers.push", "a.B.c", "callmethod.testing.Numbers.no"])
def test_a_limit_for_a_method_that_is_not_there_is_an_error_or_harmless(
    name: str,
) -> None:
    server = callmethod.Server(options=ServerOptions(method_max_concurrency={name: 1}))
    try:
        server.add_service(Gate(hold_the_worker=True))
        with server:
            assert Numbers_Stub(callmethod.Channel(server)).twice(None, Number(value=1)).value == 2
    except ValueError as error:
        assert name in str(error)  # noqa: PT017


@pytest.mark.parametrize(
    "options",
    [
        {"max_concurrency": 0},
        {"max_concurrency": -1},
        {"max_queued_calls": -1},
        {"max_queue_time": -1.0},
        {"max_queue_time": float("nan")},
        {"handshake_timeout": -1.0},
        {"handshake_timeout": float("nan")},
        {"max_queued_calls": 0},
        {"method_max_concurrency": {PUSH_NAME: -1}},
    ],
    ids=repr,
)
def test_numbers_that_are_none(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        ServerOptions(**options)


def test_our_channel_tries_again_and_gets_through(
    server_factory: Callable[..., callmethod.Server],
    channel_factory: Callable[..., callmethod.Channel],
) -> None:
    """16 callers at a server for 2 at once: with enough retries and waits all get through."""

    class Slow(Numbers):
        def twice(self, rpc_controller: Any, request: Any, done: Any) -> None:
            time.sleep(0.005)
            done(Number(value=2 * request.value))

    server = server_factory(Slow(), protocols=None, options=ServerOptions(max_concurrency=2))
    channel = channel_factory(
        server.address, protocol=BaiduStd(), options=ChannelOptions(max_retry=10_000, timeout=20)
    )
    with ThreadPoolExecutor(16) as threads:
        results = threads.map(
            lambda i: Numbers_Stub(channel).twice(None, Number(value=i)).value, range(64)
        )
        assert list(results) == [2 * i for i in range(64)]
    assert channel.stats()["retries_total"] == server.stats()["rejected_total"]["overload"] > 0


def test_our_channel_gives_up_after_max_retry(
    server_factory: Callable[..., callmethod.Server],
    channel_factory: Callable[..., callmethod.Channel],
    wait_until: Callable[..., Any],
    gate: Gate,
) -> None:
    server = server_factory(gate, protocols=None, options=ServerOptions(max_concurrency=1))
    stub = Numbers_Stub(channel_factory(server.address, protocol=BaiduStd()))
    got: list[Any] = []
    stub.push(None, Number(value=1), got.append)
    wait_until(lambda: gate.ran)
    began = time.monotonic()
    with pytest.raises(RpcError) as caught:
        stub.twice(None, Number(value=1))
    assert time.monotonic() - began < 3  # of 5 s
    assert (caught.value.code, caught.value.native_code) == (Code.RESOURCE_EXHAUSTED, ELIMIT)
    assert server.stats()["rejected_total"] == {"overload": 4}
    gate.open()
    wait_until(lambda: [r and r.value for r in got] == [1])


# ---------------------------------------------------------------- how many wait, how long


@every_wire
def test_max_queued_calls(
    server_factory: Callable[..., callmethod.Server],
    raw_socket: Callable[[str], socket.socket],
    wait_until: Callable[..., Any],
    blocking_gate: Gate,
    kind: Any,
) -> None:
    gate = blocking_gate
    options = ServerOptions(max_queued_calls=5)
    server = server_factory(gate, protocols=ANSWERING, options=options, max_workers=1)
    sock = raw_socket(server.address)
    sock.sendall(kind.call(0, number(0), wire.PUSH))
    wait_until(lambda: gate.ran)
    sock.sendall(b"".join(kind.call(i, number(i), wire.PUSH) for i in range(1, 31)))
    refused = read_answers(sock, kind, 25)
    assert {a.code for a in refused.values()} == {ELIMIT}
    stats = server.stats()
    assert (stats["calls_queued"], stats["calls_in_flight"]) == (5, 6)
    assert stats["rejected_total"] == {"overload": 25}
    gate.open()
    answers = read_answers(sock, kind, 6)
    assert {a.code for a in answers.values()} == {0}
    assert answers.keys() | refused.keys() == set(range(31))
    assert sorted(gate.ran) == sorted(answers)
    wait_until(lambda: server.stats()["calls_queued"] == 0)


def test_a_queue_of_one(
    server_factory: Callable[..., callmethod.Server],
    raw_socket: Callable[[str], socket.socket],
    wait_until: Callable[..., Any],
    blocking_gate: Gate,
) -> None:
    gate = blocking_gate
    options = ServerOptions(max_queued_calls=1)
    server = server_factory(gate, protocols=ANSWERING, options=options, max_workers=1)
    socks = [raw_socket(server.address) for _ in range(5)]
    socks[0].sendall(PRPC.call(0, number(0), wire.PUSH))
    wait_until(lambda: gate.ran)
    socks[1].sendall(PRPC.call(1, number(1)))
    wait_until(lambda: server.stats()["calls_queued"] == 1)
    for sock in socks[2:]:
        sock.sendall(PRPC.call(2, number(2)))
        assert wire.read_answer(sock).code == ELIMIT
    gate.open()
    assert [wire.read_answer(sock).code for sock in socks[:2]] == [0, 0]
    assert gate.ran == [0, 1]


@pytest.mark.parametrize(
    ("options", "workers"),
    [(ServerOptions(max_queued_calls=18), 1), (ServerOptions(max_concurrency=18), 32)],
    ids=["waiting", "running"],
)
def test_one_connection_leaves_room_for_others(
    server_factory: Callable[..., callmethod.Server],
    raw_socket: Callable[[str], socket.socket],
    wait_until: Callable[..., Any],
    blocking_gate: Gate,
    options: ServerOptions,
    workers: int,
) -> None:
    """It has eight times what is left at most, which is eight ninths."""
    gate = blocking_gate
    server = server_factory(gate, protocols=ANSWERING, options=options, max_workers=workers)
    greedy, modest = raw_socket(server.address), raw_socket(server.address)
    more = workers == 1
    if more:
        greedy.sendall(PRPC.call(0, number(0), wire.PUSH))
        wait_until(lambda: gate.ran)
    calls = b"".join(PRPC.call(i, number(i), wire.PUSH) for i in range(1, 31))
    greedy.sendall(calls)
    refused = read_answers(greedy, PRPC, 14)
    assert {a.code for a in refused.values()} == {ELIMIT}
    assert server.stats()["calls_in_flight"] == 16 + more
    modest.sendall(PRPC.call(99, number(99), wire.PUSH))
    wait_until(lambda: server.stats()["calls_in_flight"] == 17 + more)
    gate.open()
    assert wire.read_answer(modest).code == 0
    assert {a.code for a in read_answers(greedy, PRPC, 16 + more).values()} == {0}


class Slow(Numbers):
    """A hundred calls a second, one at a time."""

    def __init__(self) -> None:
        self.late = 0

    def twice(self, rpc_controller: Any, request: Any, done: Any) -> None:
        time.sleep(0.01)
        self.late += rpc_controller.IsCanceled()
        done(Number(value=2 * request.value))


def test_more_than_can_be_done_is_refused_at_once_and_the_rest_is_in_time(
    server_factory: Callable[..., callmethod.Server], raw_socket: Callable[[str], socket.socket]
) -> None:
    """First come, first served would begin each call when its caller is about to give up."""
    slow = Slow()
    server = server_factory(slow, protocols=ANSWERING, max_workers=1)
    sock = raw_socket(server.address)
    codes: list[int] = []
    took: dict[int, float] = {}
    sent: dict[int, float] = {}

    def read() -> None:
        for _ in range(500):
            answer = wire.read_answer(sock)
            took[answer.id] = time.monotonic() - sent[answer.id]
            codes.append(answer.code)

    reader = threading.Thread(target=read)
    reader.start()
    for i in range(1, 501):
        meta = PRPC.named(wire.NUMBERS, "twice", wire.field(8, 200)) + wire.field(4, i)
        sent[i] = time.monotonic()
        sock.sendall(PRPC.frame(meta, number(i)))
        time.sleep(0.003)
    reader.join(20)
    assert set(codes) <= {0, ELIMIT, 1008}
    # Of some 150 that could be done.
    assert codes.count(0) >= 90
    assert codes.count(ELIMIT) >= 100
    # The pace is learned from the first ones.
    assert codes.count(1008) + slow.late <= 60
    assert server.stats()["rejected_total"]["overload"] == codes.count(ELIMIT)


class Stuck(Numbers):
    """Coroutines that hold their loop until the gate opens."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.ran: list[int] = []

    async def push(self, rpc_controller: Any, request: Any, done: Any) -> None:
        self.ran.append(request.value)
        assert self.gate.wait(20)
        done(request)


def test_a_coroutine_whose_caller_has_given_up_is_not_begun(
    server_factory: Callable[..., callmethod.Server],
    channel_factory: Callable[..., callmethod.Channel],
    wait_until: Callable[..., Any],
) -> None:
    stuck = Stuck()
    server = server_factory(stuck, protocols=None)
    stub = Numbers_Stub(channel_factory(server.address, protocol=BaiduStd()))
    stub.push(Controller(timeout=20), Number(value=0), lambda _: None)
    wait_until(lambda: stuck.ran)
    assert server.stats()["calls_queued"] == 0
    try:
        ended: list[Any] = []
        stub.push(Controller(timeout=0.3), Number(value=1), ended.append)
        wait_until(lambda: server.stats()["calls_queued"] == 1)
        wait_until(lambda: ended)
        wait_until(lambda: server.stats()["rejected_total"] == {"expired": 1})
        assert server.stats()["calls_queued"] == 0
    finally:
        stuck.gate.set()
    assert stub.push(Controller(timeout=20), Number(value=2)).value == 2
    assert stuck.ran == [0, 2]


def test_a_method_of_which_none_may_run(
    server_factory: Callable[..., callmethod.Server], raw_socket: Callable[[str], socket.socket]
) -> None:
    options = ServerOptions(method_max_concurrency={PUSH_NAME: 0})
    server = server_factory(Gate(hold_the_worker=True), protocols=ANSWERING, options=options)
    sock = raw_socket(server.address)
    sock.sendall(PRPC.call(1, number(1), wire.PUSH))
    assert wire.read_answer(sock).code == ELIMIT
    sock.sendall(PRPC.call(2, number(2)))
    assert wire.read_answer(sock).code == 0


@every_wire
def test_max_queue_time(
    server_factory: Callable[..., callmethod.Server],
    raw_socket: Callable[[str], socket.socket],
    wait_until: Callable[..., Any],
    blocking_gate: Gate,
    kind: Any,
) -> None:
    """A call that waited too long is not run, and is told so."""
    gate = blocking_gate
    options = ServerOptions(max_queue_time=0.3)
    server = server_factory(gate, protocols=ANSWERING, options=options, max_workers=1)
    sock = raw_socket(server.address)
    sock.sendall(kind.call(0, number(0), wire.PUSH))
    wait_until(lambda: gate.ran)
    sock.sendall(b"".join(kind.call(i, number(i)) for i in range(1, 4)))
    time.sleep(0.6)
    gate.open()
    answers = read_answers(sock, kind, 4)
    assert answers[0].code == 0
    assert {answers[i].code for i in (1, 2, 3)} == {ELIMIT}
    assert gate.ran == [0]
    assert sum(server.stats()["rejected_total"].values()) == 3
    sock.sendall(kind.call(9, number(9)))
    assert wire.read_answer(sock, kind).code == 0


def test_a_deadline_that_passes_in_the_queue(
    server_factory: Callable[..., callmethod.Server],
    channel_factory: Callable[..., callmethod.Channel],
    wait_until: Callable[..., Any],
    blocking_gate: Gate,
) -> None:
    gate = blocking_gate
    server = server_factory(gate, protocols=None, max_workers=1)
    stub = Numbers_Stub(channel_factory(server.address, protocol=BaiduStd()))
    stub.push(None, Number(value=0), lambda _: None)
    wait_until(lambda: gate.ran)
    for i in (1, 2, 3):
        with pytest.raises(RpcError) as caught:
            stub.twice(Controller(timeout=0.1), Number(value=i))
        assert caught.value.code is Code.DEADLINE_EXCEEDED
    gate.open()
    assert stub.twice(None, Number(value=9)).value == 18
    assert gate.ran == [0, 9]
    stats = server.stats()
    assert stats["calls_total"].get("DEADLINE_EXCEEDED") == 3
    assert stats["calls_total"]["ok"] == 2


def test_timeout_ms_that_is_spent(
    server_factory: Callable[..., callmethod.Server], raw_socket: Callable[[str], socket.socket]
) -> None:
    """A deadline of nothing, or of less: the call ends, and the connection goes on."""
    gate = Gate(hold_the_worker=True)
    server = server_factory(gate, protocols=ANSWERING)
    sock = raw_socket(server.address)
    for timeout_ms in (0, -1, -(2**31)):
        meta = PRPC.named(wire.NUMBERS, "twice", wire.field(8, timeout_ms)) + wire.field(4, 5)
        sock.sendall(PRPC.frame(meta, number(1)))
        answer = wire.read_answer(sock)
        assert answer.id == 5
        assert answer.code in {0, 1008}
    meta = PRPC.named(wire.NUMBERS, "twice", wire.field(8, 2**31 - 1)) + wire.field(4, 6)
    sock.sendall(PRPC.frame(meta, number(1)))
    assert wire.read_answer(sock).code == 0


# ---------------------------------------------------------------- order


@every_wire
def test_answers_leave_in_any_order(
    server_factory: Callable[..., callmethod.Server],
    raw_socket: Callable[[str], socket.socket],
    wait_until: Callable[..., Any],
    kind: Any,
) -> None:
    held: dict[int, Any] = {}

    class Later(Numbers):
        def twice(self, rpc_controller: Any, request: Any, done: Any) -> None:
            held[request.value] = done

    server = server_factory(Later(), protocols=ANSWERING)
    sock = raw_socket(server.address)
    sock.sendall(b"".join(kind.call(i, number(i)) for i in range(8)))
    wait_until(lambda: len(held) == 8)
    order = [7, 0, 3, 1, 6, 2, 5, 4]
    for i in order:
        held[i](Number(value=100 + i))
        answer = wire.read_answer(sock, kind)
        assert (answer.id, wire.value_of(answer.body)) == (i, 100 + i)


@every_wire
def test_a_slow_call_does_not_hold_back_the_next(
    server_factory: Callable[..., callmethod.Server],
    raw_socket: Callable[[str], socket.socket],
    wait_until: Callable[..., Any],
    blocking_gate: Gate,
    kind: Any,
) -> None:
    server = server_factory(blocking_gate, protocols=ANSWERING, max_workers=2)
    sock = raw_socket(server.address)
    sock.sendall(kind.call(1, number(1), wire.PUSH))
    wait_until(lambda: blocking_gate.ran)
    for i in range(2, 30):
        sock.sendall(kind.call(i, number(i)))
        assert wire.read_answer(sock, kind).id == i
    blocking_gate.open()
    assert wire.read_answer(sock, kind).id == 1


# ---------------------------------------------------------------- several services


class Single3(Single):
    def only(self, rpc_controller: Any, request: Any, done: Any) -> None:
        done(Number(value=3 * request.value))


class Receiver5(Receiver):
    def number(self, rpc_controller: Any, request: Any, done: Any) -> None:
        done(Number(value=5 * request.value))


@pytest.fixture
def several() -> Iterator[callmethod.Server]:
    server = callmethod.Server(protocols=ANSWERING)
    for service in (Gate(hold_the_worker=True), Single3(), Receiver5(), Fields()):
        server.add_service(service)
    with server:
        yield server


@every_wire
@pytest.mark.parametrize(
    ("service", "method", "index", "expected"),
    [("Numbers", "twice", 1, 14), ("Single", "only", 0, 21), ("Receiver", "number", 0, 35)],
)
def test_several_services_by_full_and_bare_name(
    *,
    several: callmethod.Server,
    raw_socket: Callable[[str], socket.socket],
    kind: Any,
    service: str,
    method: str,
    index: int,
    expected: int,
) -> None:
    field = wire.field
    sock = raw_socket(several.address)
    full = f"callmethod.testing.{service}"
    if kind is PRPC:
        metas = [PRPC.named(name, method) + field(4, 5) for name in (full, service)]
    elif kind is wire.HULU:
        metas = [field(1, service) + field(2, index) + field(4, 5)]
    else:
        metas = [field(1, 0) + field(2, 5) + field(100, f"{full}.{method}")]
    for meta in metas:
        sock.sendall(kind.frame(meta, number(7)))
        answer = wire.read_answer(sock, kind)
        assert (answer.code, wire.value_of(answer.body)) == (0, expected)


@pytest.mark.parametrize("protocol", ANSWERING, ids=lambda p: p.name)
def test_several_services_through_one_channel(
    several: callmethod.Server,
    channel_factory: Callable[..., callmethod.Channel],
    protocol: Any,
) -> None:
    channel = channel_factory(several.address, protocol=protocol)
    for _ in range(3):
        assert Numbers_Stub(channel).twice(None, Number(value=7)).value == 14
        assert Single_Stub(channel).only(None, Number(value=7)).value == 21
        assert Receiver_Stub(channel).number(None, Number(value=7)).value == 35
    assert channel.stats()["calls_sent_total"] == 9


def other_numbers() -> type:
    """A service whose bare name is Numbers as well, in a package of its own."""
    from google.protobuf import descriptor_pb2, descriptor_pool

    file = descriptor_pb2.FileDescriptorProto(name="other.proto", package="other")
    file.dependency.append("testing.proto")
    service = file.service.add(name="Numbers")
    for name in ("push", "twice"):
        method = service.method.add(name=name)
        method.input_type = method.output_type = ".callmethod.testing.Number"
    pool = descriptor_pool.Default()
    pool.Add(file) if hasattr(pool, "Add") else pool.AddSerializedFile(file.SerializeToString())
    descriptor = pool.FindServiceByName("other.Numbers")

    class Other(callmethod.service.Service):
        DESCRIPTOR = descriptor

        @staticmethod
        def GetDescriptor() -> Any:
            return descriptor

        def GetRequestClass(self, method: Any) -> type:
            return Number

        def GetResponseClass(self, method: Any) -> type:
            return Number

        def push(self, rpc_controller: Any, request: Any, done: Any) -> None:
            done(request)

        def twice(self, rpc_controller: Any, request: Any, done: Any) -> None:
            done(request)

        def CallMethod(self, method: Any, controller: Any, request: Any, done: Any) -> None:
            getattr(self, method.name)(controller, request, done)

    return Other


def test_two_services_of_one_bare_name() -> None:
    server = callmethod.Server(protocols=ANSWERING)
    server.add_service(Gate(hold_the_worker=True))
    with pytest.raises(ValueError, match="Numbers") as caught:
        server.add_service(other_numbers()())
    assert "callmethod.testing.Numbers" in str(caught.value)
    assert "other.Numbers" in str(caught.value)


def test_one_service_twice() -> None:
    server = callmethod.Server(protocols=ANSWERING)
    server.add_service(Gate(hold_the_worker=True))
    with pytest.raises(ValueError, match="callmethod.testing.Numbers"):
        server.add_service(Gate(hold_the_worker=True))


def test_several_services_and_the_indexed_protocol() -> None:
    for protocols in (None, [callmethod.Indexed()]):
        server = callmethod.Server(protocols=protocols)
        server.add_service(Gate(hold_the_worker=True))
        server.add_service(Single3())
        with pytest.raises(ValueError, match="service="):
            server.start()


def test_a_handler_counts_though_the_deadline_passed_while_its_request_was_read(
    server_factory: Callable[..., callmethod.Server],
    channel_factory: Callable[..., callmethod.Channel],
    wait_until: Callable[..., Any],
) -> None:
    class Slow:
        DESCRIPTOR = Number.DESCRIPTOR
        IsInitialized = Number.IsInitialized

        @staticmethod
        def FromString(body: bytes) -> Number:
            time.sleep(0.3)
            return Number.FromString(body)

    class Service(Gate):
        def GetRequestClass(self, method_descriptor: Any) -> Any:
            return Slow if method_descriptor.name == "push" else Number

    gate = Service(hold_the_worker=True)
    server = server_factory(gate, protocols=None, options=ServerOptions(max_concurrency=1))
    options = ChannelOptions(max_retry=0)
    stub = Numbers_Stub(channel_factory(server.address, protocol=BaiduStd(), options=options))
    try:
        with pytest.raises(RpcError) as caught:
            stub.push(Controller(timeout=0.1), Number(value=1))
        assert caught.value.code is Code.DEADLINE_EXCEEDED
        wait_until(lambda: gate.ran == [1])
        with pytest.raises(RpcError) as caught:
            stub.twice(None, Number(value=2))
        assert caught.value.code is Code.RESOURCE_EXHAUSTED
    finally:
        gate.open()
    wait_until(lambda: server.stats()["calls_in_flight"] == 0)
