"""Calls the other way over baidu_std: from a server to a channel that serves, answers and all.

Both ends number their calls as they like, and all go over one connection: what is tested above all
is that no answer is ever taken for another, and no call for an answer.
"""

from __future__ import annotations

import importlib
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import callmethod
from callmethod import BaiduStd, ChannelOptions, Code, Controller, Hulu, Indexed, RpcError, Sofa
from testing_pb2 import Blob, Number, Numbers, Numbers_Stub, Receiver, Receiver_Stub

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

sys.path.insert(0, str(Path(__file__).parent))  # tests run in importlib mode
wire = importlib.import_module("wire")
PRPC, HULU, SOFA, WIRES = wire.PRPC, wire.HULU, wire.SOFA, wire.WIRES
field, number = wire.field, wire.number

RECEIVER = "callmethod.testing.Receiver"


class Inbox(Receiver):
    """The client's service: adds 1 to what it gets; keeps the calls with a note."""

    def __init__(self) -> None:
        self.values: list[int] = []
        self.held: list[tuple[Any, Any]] = []

    def number(self, rpc_controller: Any, request: Any, done: Any) -> None:
        self.values.append(request.value)
        if request.note == "keep":
            self.held.append((request, done))
        elif request.note == "fail":
            raise RpcError(Code.NOT_FOUND, "not in", native_code=4321)
        else:
            rpc_controller.response_attachment = rpc_controller.request_attachment
            rpc_controller.response_metadata = dict(rpc_controller.metadata)
            done(Number(value=request.value + 1))


class Pusher(Numbers):
    """`twice` asks the caller for its number plus 1 and doubles that; `push` keeps the channel."""

    def __init__(self) -> None:
        self.channels: list[Any] = []
        self.errors: list[RpcError] = []

    def push(self, rpc_controller: Any, request: Any, done: Any) -> None:
        self.channels.append(rpc_controller.rpc_channel)
        done(request)

    def twice(self, rpc_controller: Any, request: Any, done: Any) -> None:
        stub = Receiver_Stub(rpc_controller.rpc_channel)
        try:
            response = stub.number(None, Number(value=request.value))
        except RpcError as error:
            self.errors.append(error)
            raise
        done(Number(value=2 * response.value))


class AsyncPusher(Numbers):
    async def twice(self, rpc_controller: Any, request: Any, done: Any) -> Any:
        stub = Receiver_Stub(callmethod.aio.awaitable(rpc_controller.rpc_channel))
        response = await stub.number(None, Number(value=request.value))
        return Number(value=2 * response.value)


class CallbackPusher(Numbers):
    def twice(self, rpc_controller: Any, request: Any, done: Any) -> None:
        controller = Controller()

        def answered(response: Any) -> None:
            if response is None:
                rpc_controller.SetFailed(f"{controller.code}: {controller.ErrorText()}")
                done(None)
            else:
                done(Number(value=2 * response.value))

        stub = Receiver_Stub(rpc_controller.rpc_channel)
        stub.number(controller, Number(value=request.value), answered)


PUSHERS = [Pusher, AsyncPusher, CallbackPusher]


@pytest.fixture
def link(
    server_factory: Callable[..., callmethod.Server],
    channel_factory: Callable[..., callmethod.Channel],
) -> Callable[..., Any]:
    """A server of a service, and a channel to it: the stub, the channel, the server."""

    def make(service: Any, inbox: Any = None, protocols: Any = None, **options: Any) -> Any:
        server = server_factory(service, protocols=protocols)
        channel = channel_factory(
            server.address,
            protocol=BaiduStd(),
            service=inbox,
            options=ChannelOptions(**options),
        )
        return Numbers_Stub(channel), channel, server

    return make


# ---------------------------------------------------------------- a push and its answer


@pytest.mark.parametrize("pusher", PUSHERS)
@pytest.mark.parametrize("protocols", [None, [BaiduStd()]], ids=["all protocols", "baidu_std"])
def test_push_from_inside_the_handler(
    link: Callable[..., Any], pusher: type, protocols: Any
) -> None:
    inbox = Inbox()
    stub, channel, server = link(pusher(), inbox, protocols)
    for i in range(5):
        assert stub.twice(None, Number(value=i)).value == 2 * (i + 1)
    assert inbox.values == list(range(5))
    assert server.stats()["connections_total"] == 1
    assert channel.stats()["calls_received_total"] == 5
    assert channel.stats()["late_replies_total"] == server.stats()["late_replies_total"] == 0


def test_push_after_the_call(link: Callable[..., Any], wait_until: Callable[..., Any]) -> None:
    service = Pusher()
    stub, _, _ = link(service, Inbox())
    stub.push(None, Number(value=1))
    back = Receiver_Stub(service.channels[0])
    for i in range(20):
        assert back.number(None, Number(value=i)).value == i + 1
    got: list[Any] = []
    for i in range(20):
        back.number(None, Number(value=i), lambda r: got.append(r.value))
    wait_until(lambda: sorted(got) == list(range(1, 21)))


def test_push_awaited_after_the_call(link: Callable[..., Any]) -> None:
    import asyncio

    service = Pusher()
    stub, _, _ = link(service, Inbox())
    stub.push(None, Number(value=1))

    async def body() -> list[int]:
        back = Receiver_Stub(callmethod.aio.awaitable(service.channels[0]))
        calls = [back.number(None, Number(value=i)) for i in range(20)]
        return [r.value for r in await asyncio.gather(*calls)]

    assert asyncio.run(body()) == list(range(1, 21))


def test_push_with_attachment_and_metadata(link: Callable[..., Any]) -> None:
    service = Pusher()
    stub, _, _ = link(service, Inbox())
    stub.push(None, Number(value=1))
    controller = Controller(metadata={"k": "v"}, request_attachment=b"att", compression="gzip")
    assert Receiver_Stub(service.channels[0]).number(controller, Number(value=1)).value == 2
    assert controller.response_attachment == b"att"
    assert dict(controller.response_metadata) == {"k": "v"}


def test_a_push_that_fails(link: Callable[..., Any], wait_until: Callable[..., Any]) -> None:
    service, inbox = Pusher(), Inbox()
    stub, channel, _ = link(service, inbox)
    stub.push(None, Number(value=1))
    back = Receiver_Stub(service.channels[0])
    with pytest.raises(RpcError, match="not in") as caught:
        back.number(None, Number(value=1, note="fail"))
    assert (caught.value.code, caught.value.native_code) in {
        (Code.NOT_FOUND, 4321),
        (Code.UNKNOWN, 4321),
    }
    with pytest.raises(RpcError) as caught:
        back.blob(None, Blob(data=b"x"))
    assert caught.value.code is Code.UNIMPLEMENTED
    began = time.monotonic()
    with pytest.raises(RpcError) as caught:
        back.number(Controller(timeout=0.2), Number(value=1, note="keep"))
    assert caught.value.code is Code.DEADLINE_EXCEEDED
    assert time.monotonic() - began < 2
    assert stub.push(None, Number(value=3)).value == 3  # the connection is the same
    ended: list[Any] = []
    controller = Controller(timeout=20)
    back.number(controller, Number(value=2, note="keep"), ended.append)
    wait_until(lambda: len(inbox.held) == 2)
    channel.close(grace=0.0)
    wait_until(lambda: ended)
    assert (ended, controller.code) == ([None], Code.UNAVAILABLE)
    with pytest.raises(RpcError) as caught:
        back.number(None, Number(value=1))
    assert caught.value.code is Code.UNAVAILABLE


def test_a_push_that_is_cancelled(link: Callable[..., Any], wait_until: Callable[..., Any]) -> None:
    service, inbox = Pusher(), Inbox()
    stub, _, _ = link(service, inbox)
    stub.push(None, Number(value=1))
    ended: list[Any] = []
    controller = Controller(timeout=20)
    back = Receiver_Stub(service.channels[0])
    back.number(controller, Number(value=1, note="keep"), ended.append)
    wait_until(lambda: inbox.held)
    controller.StartCancel()
    wait_until(lambda: ended)
    assert (ended, controller.code) == ([None], Code.CANCELLED)
    request, done = inbox.held.pop()
    done(request)
    assert back.number(None, Number(value=5)).value == 6


# ---------------------------------------------------------------- both ways at once


@pytest.mark.parametrize("pusher", PUSHERS)
def test_no_answer_is_taken_for_another(
    link: Callable[..., Any], wait_until: Callable[..., Any], pusher: type
) -> None:
    """Calls and pushes cross; all values differ, so that a mix-up would show."""
    inbox = Inbox()
    stub, channel, server = link(pusher(), inbox, timeout=30.0)
    got: dict[int, int | None] = {}
    count = 600
    room = threading.Semaphore(64)
    for i in range(count):
        assert room.acquire(timeout=30)

        def done(response: Any, i: int = i) -> None:
            assert i not in got
            got[i] = response and response.value
            room.release()

        stub.twice(None, Number(value=1000 + i), done)
    wait_until(lambda: len(got) == count, timeout=30)
    assert got == {i: 2 * (1001 + i) for i in range(count)}
    assert sorted(inbox.values) == list(range(1000, 1000 + count))
    for stats in (channel.stats(), server.stats()):
        assert stats["late_replies_total"] == 0
        assert wire.counted(stats["rejected_total"]) == {}


def test_pushes_from_many_threads_while_calls_are_in_flight(link: Callable[..., Any]) -> None:
    service = Pusher()
    stub, _, _ = link(service, Inbox(), timeout=30.0)
    stub.push(None, Number(value=0))
    errors: list[BaseException] = []

    def body(n: int) -> None:
        try:
            for i in range(60):
                value = 1000 * n + i
                if n % 2:
                    back = Receiver_Stub(service.channels[0])
                    assert (
                        back.number(Controller(timeout=20), Number(value=value)).value == value + 1
                    )
                else:
                    assert stub.push(None, Number(value=value)).value == value
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=body, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert errors == []


def test_a_push_with_the_id_of_a_call_in_flight(
    channel_factory: Callable[..., callmethod.Channel],
) -> None:
    """A server is free to number its calls as the client does: then they have the same ids."""

    def script(sock: socket.socket, n: int) -> None:
        mine = wire.read_call(sock)
        assert b"callmethod-peer" in mine.meta[9][0]
        for value in (10, 20):
            sock.sendall(PRPC.call(mine.id, number(value), "number", service=RECEIVER))
            answer = wire.read_answer(sock)
            assert (answer.id, answer.code) == (mine.id, 0)
            assert wire.value_of(answer.body) == value + 1
        sock.sendall(PRPC.answer(mine.id, number(2 * wire.value_of(mine.body))))
        assert wire.ends(sock)

    with wire.fake_server(script) as server:
        inbox = Inbox()
        channel = channel_factory(server.address, protocol=BaiduStd(), service=inbox)
        assert Numbers_Stub(channel).twice(None, Number(value=4)).value == 8
        assert inbox.values == [10, 20]
        channel.close()


def test_a_caller_that_answers_with_the_id_of_its_own_call(
    server_factory: Callable[..., callmethod.Server], raw_socket: Callable[[str], socket.socket]
) -> None:
    """The other end of the same: the server reads answers and calls with one id."""
    server = server_factory(CallbackPusher(), protocols=None)
    sock = raw_socket(server.address)
    announce = field(9, field(1, "callmethod-peer") + field(2, "goaway,serves"))
    sock.sendall(PRPC.call(7, number(100), more=announce))
    push = wire.read_call(sock)
    assert (push.service, push.method, wire.value_of(push.body)) == (RECEIVER, "number", 100)
    # A call of ours with the id of the push, and answers to nobody, before the answer.
    sock.sendall(PRPC.call(push.id, number(200)))
    second = wire.read_call(sock)
    assert second.id != push.id
    sock.sendall(PRPC.answer(2**40 + 1, number(666)))
    sock.sendall(PRPC.answer(push.id, number(101)))
    answer = wire.read_answer(sock)
    assert (answer.id, answer.code, wire.value_of(answer.body)) == (7, 0, 202)
    sock.sendall(PRPC.answer(push.id, number(666)))
    sock.sendall(PRPC.answer(second.id, number(201)))
    answer = wire.read_answer(sock)
    assert (answer.id, answer.code, wire.value_of(answer.body)) == (push.id, 0, 402)
    assert server.stats()["late_replies_total"] == 2


# ---------------------------------------------------------------- nobody there


@pytest.mark.parametrize("kind", WIRES, ids=wire.wire_id)
@pytest.mark.parametrize("pusher", PUSHERS)
def test_nothing_is_sent_to_one_that_did_not_say_it_serves(
    server_factory: Callable[..., callmethod.Server],
    raw_socket: Callable[[str], socket.socket],
    kind: Any,
    pusher: type,
) -> None:
    server = server_factory(pusher(), protocols=[w.protocol() for w in WIRES])
    sock = raw_socket(server.address)
    began = time.monotonic()
    for i in range(3):
        sock.sendall(kind.call(i, number(1)))
        answer = wire.read_answer(sock, kind)
        assert (answer.id, answer.body) == (i, b"")
        assert answer.code != 0
        assert "UNIMPLEMENTED" in answer.text or "serves" in answer.text or answer.code == 1002
    assert time.monotonic() - began < 3
    assert wire.is_quiet(sock, 0.1)
    stats = server.stats()
    assert (stats["calls_sent_total"], stats["replies_sent_total"]) == (0, 3)


@pytest.mark.parametrize("protocol", [BaiduStd(), Hulu(), Sofa()], ids=lambda p: p.name)
def test_a_plain_channel_gets_no_push(
    server_factory: Callable[..., callmethod.Server],
    channel_factory: Callable[..., callmethod.Channel],
    wait_until: Callable[..., Any],
    protocol: Any,
) -> None:
    service = Pusher()
    server = server_factory(service, protocols=None)
    channel = channel_factory(server.address, protocol=protocol)
    stub = Numbers_Stub(channel)
    assert stub.push(None, Number(value=1)).value == 1
    back = Receiver_Stub(service.channels[0])
    began = time.monotonic()
    with pytest.raises(RpcError) as caught:
        back.number(Controller(timeout=20), Number(value=1))
    assert caught.value.code is Code.UNIMPLEMENTED
    ended: list[Any] = []
    controller = Controller(timeout=20)
    back.number(controller, Number(value=1), ended.append)
    wait_until(lambda: ended)
    assert (ended, controller.code) == ([None], Code.UNIMPLEMENTED)
    assert time.monotonic() - began < 3
    assert stub.push(None, Number(value=2)).value == 2
    assert channel.stats()["late_replies_total"] == 0


@pytest.mark.parametrize(
    "protocol",
    [Hulu(), Sofa(), Indexed(reply="in_order"), Indexed(id_width=8, reply="by_id")],
    ids=["hulu", "sofa", "in_order", "by_id"],
)
def test_a_protocol_that_cannot_tell_a_call_from_an_answer(protocol: Any) -> None:
    with pytest.raises(ValueError, match="service="):
        callmethod.Channel("127.0.0.1:1", protocol=protocol, service=Inbox())


def test_metadata_of_the_announcement_is_not_the_users(link: Callable[..., Any]) -> None:
    seen: list[dict[str, str]] = []

    class Reads(Numbers):
        def twice(self, rpc_controller: Any, request: Any, done: Any) -> None:
            seen.append(dict(rpc_controller.metadata))
            done(request)

    stub, _, _ = link(Reads(), Inbox())
    for _ in range(2):
        stub.twice(Controller(metadata={"mine": "1"}), Number(value=1))
    stub.twice(None, Number(value=1))
    assert seen == [{"mine": "1"}, {"mine": "1"}, {}]


def test_a_new_connection_announces_again(
    server_factory: Callable[..., callmethod.Server],
    channel_factory: Callable[..., callmethod.Channel],
) -> None:
    server = server_factory(Pusher(), protocols=None)
    address = server.address
    channel = channel_factory(address, protocol=BaiduStd(), service=Inbox())
    assert Numbers_Stub(channel).twice(None, Number(value=1)).value == 4
    server.stop(grace=1.0)
    server_factory(Pusher(), address, protocols=None)
    assert Numbers_Stub(channel).twice(None, Number(value=2)).value == 6


def test_calls_to_a_channel_that_serves_something_else(link: Callable[..., Any]) -> None:
    class Other(Numbers):
        def twice(self, rpc_controller: Any, request: Any, done: Any) -> None:
            done(request)

    service = Pusher()
    stub, _, _ = link(service, Other())
    stub.push(None, Number(value=1))
    with pytest.raises(RpcError) as caught:
        Receiver_Stub(service.channels[0]).number(None, Number(value=1))
    assert caught.value.code is Code.UNIMPLEMENTED
    assert Numbers_Stub(service.channels[0]).twice(None, Number(value=7)).value == 7


# ---------------------------------------------------------------- one service for each connection


class Session(Numbers):
    """Says hello to its caller as soon as it is there, and asks it again at each call."""

    made: list[Session]

    def __init__(self, channel: Any) -> None:
        self.back = Receiver_Stub(channel)
        self.hello: list[Any] = []
        self.gone: list[str] = []
        Session.made.append(self)

    def on_connected(self, channel: Any) -> None:
        self.back.number(None, Number(value=-1), self.hello.append)

    def on_disconnected(self, channel: Any, reason: Any) -> None:
        self.gone.append(reason.kind)

    def twice(self, rpc_controller: Any, request: Any, done: Any) -> None:
        done(Number(value=2 * self.back.number(None, request).value))


def test_factory_services_are_connected_to_their_caller(
    server_factory: Callable[..., callmethod.Server],
    channel_factory: Callable[..., callmethod.Channel],
    wait_until: Callable[..., Any],
) -> None:
    Session.made = []
    count = 40  # whether the announcement is read before on_connected must not be luck
    server = server_factory(factory=Session, protocols=None)
    inboxes = [Inbox() for _ in range(count)]
    channels = [
        channel_factory(server.address, protocol=BaiduStd(), service=inbox) for inbox in inboxes
    ]
    for n, channel in enumerate(channels):
        assert Numbers_Stub(channel).twice(None, Number(value=10 * n)).value == 2 * (10 * n + 1)
    assert len(Session.made) == count
    wait_until(lambda: all(s.hello for s in Session.made))
    assert [s.hello[0] and s.hello[0].value for s in Session.made] == [0] * count
    for n, inbox in enumerate(inboxes):
        assert sorted(inbox.values) == [-1, 10 * n]
    channels[0].close()
    wait_until(lambda: [s.gone for s in Session.made].count(["peer_closed"]) == 1)
