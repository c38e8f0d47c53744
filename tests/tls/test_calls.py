"""Calls inside TLS: all that goes without it goes with it."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

import callmethod
from callmethod import BaiduStd, ChannelOptions, ClientTls, Code, Controller, Indexed, RpcError
from testing_pb2 import Number, Numbers, Numbers_Stub

if TYPE_CHECKING:
    from collections.abc import Callable


def test_many_calls_at_once(
    protocol: Any, serve: Callable[..., Any], connect: Callable[..., Any]
) -> None:
    stub = connect(serve(protocol).address, protocol)
    answered: list[int] = []
    full = threading.Event()

    def done(response: Any) -> None:
        answered.append(response.value)
        if len(answered) == 2000:
            full.set()

    for value in range(2000):
        stub.twice(Controller(timeout=20.0), Number(value=value), done)
    assert full.wait(20)
    assert sorted(answered) == list(range(0, 4000, 2))
    assert stub.channel.stats()["connections_total"] == 1


def test_messages_of_nearly_four_mebibytes(
    protocol: Any, serve: Callable[..., Any], connect: Callable[..., Any], big: Any
) -> None:
    stub = connect(serve(protocol).address, protocol, options=ChannelOptions(timeout=30.0))
    answers = [stub.blob(None, big) for _ in range(3)]
    assert answers == [big] * 3
    # Side by side with small ones.
    threads = [threading.Thread(target=stub.blob, args=(None, big)) for _ in range(3)]
    for thread in threads:
        thread.start()
    assert [stub.twice(None, Number(value=i)).value for i in range(50)] == list(range(0, 100, 2))
    for thread in threads:
        thread.join()


def test_deadlines_and_cancelling(
    protocol: Any, serve: Callable[..., Any], connect: Callable[..., Any], answers: Any
) -> None:
    stub = connect(serve(protocol).address, protocol)
    with pytest.raises(RpcError) as caught:
        stub.push(Controller(timeout=0.1), Number(value=1))
    assert caught.value.code is Code.DEADLINE_EXCEEDED
    controller, ended = Controller(timeout=20.0), threading.Event()
    stub.push(controller, Number(value=2), lambda _: ended.set())
    controller.StartCancel()
    assert ended.wait(5)
    assert controller.code is Code.CANCELLED
    answers.may_go_on.set()
    assert stub.twice(None, Number(value=3)).value == 6


def test_a_stop_lets_calls_end(
    protocol: Any, serve: Callable[..., Any], connect: Callable[..., Any], answers: Any
) -> None:
    server = serve(protocol)
    stub = connect(server.address, protocol)
    stub.twice(None, Number(value=1))
    answered: list[Any] = []
    stub.push(Controller(timeout=20.0), Number(value=7), answered.append)
    stub.twice(None, Number(value=1))
    stopping = threading.Thread(target=server.stop)
    stopping.start()
    time.sleep(0.1)
    answers.may_go_on.set()
    stopping.join(10)
    assert not stopping.is_alive()
    assert [response.value for response in answered] == [7]
    assert set(server.stats()["disconnects_total"]) <= {"peer_closed", "server_stopped"}


def test_pushes(serve: Callable[..., Any], connect: Callable[..., Any], big: Any) -> None:
    class Back(Numbers):
        def twice(self, rpc_controller: Any, request: Any, done: Any) -> None:
            done(Number(value=3 * request.value))

        def blob(self, rpc_controller: Any, request: Any, done: Any) -> None:
            done(request)

    class Calls(Numbers):
        def twice(self, rpc_controller: Any, request: Any, done: Any) -> None:
            back = Numbers_Stub(rpc_controller.rpc_channel)
            same = back.blob(Controller(timeout=20.0), big) == big
            value = back.twice(Controller(timeout=20.0), request).value
            done(Number(value=value if same else 0))

    server = serve(service=Calls())
    stub = connect(server.address, service=Back(), options=ChannelOptions(timeout=30.0))
    assert [stub.twice(None, Number(value=i)).value for i in range(1, 5)] == [3, 6, 9, 12]


def test_pushes_on_the_one_way_wire(
    serve: Callable[..., Any], connect: Callable[..., Any], wait_until: Callable[..., Any]
) -> None:
    heard: list[int] = []

    class Hears(Numbers):
        def push(self, rpc_controller: Any, request: Any, done: Any) -> None:
            heard.append(request.value)

    class Echoes(Numbers):
        def push(self, rpc_controller: Any, request: Any, done: Any) -> None:
            Numbers_Stub(rpc_controller.rpc_channel).push(None, request)

    server = serve(Indexed(), service=Echoes())
    stub = connect(server.address, Indexed(), service=Hears())
    for value in range(500):
        stub.push(None, Number(value=value))
    wait_until(lambda: len(heard) == 500)
    assert heard == list(range(500))
    # The last calls of a channel that is closed are not lost.
    for value in range(500, 600):
        stub.push(None, Number(value=value))
    stub.channel.close()
    wait_until(lambda: server.stats()["calls_received_total"] == 600)


def test_calls_that_are_awaited(
    serve: Callable[..., Any], secrets: Any, protocol: Any, big: Any
) -> None:
    server = serve(protocol)

    async def play() -> list[int]:
        tls = secrets.client_tls()
        async with callmethod.aio.Channel(server.address, protocol=protocol, tls=tls) as channel:
            stub = Numbers_Stub(channel)
            calls = [stub.twice(None, Number(value=value)) for value in range(300)]
            assert await stub.blob(None, big) == big
            return [one.value for one in await asyncio.gather(*calls)]

    assert asyncio.run(play()) == list(range(0, 600, 2))


def test_a_server_of_aio(secrets: Any, answers: Any) -> None:
    async def play() -> int:
        server = callmethod.aio.Server(tls=secrets.server_tls())
        server.add_service(answers)
        async with server:
            server.reload_tls()
            tls = secrets.client_tls()
            async with callmethod.aio.Channel(server.address, tls=tls) as channel:
                channel.reload_tls()
                response = await Numbers_Stub(channel).twice(None, Number(value=4))
                return int(response.value)

    assert asyncio.run(play()) == 8


def test_a_pool(
    serve: Callable[..., Any],
    connect: Callable[..., Any],
    answers: Any,
    wait_until: Callable[..., Any],
) -> None:
    server = serve()
    stub = connect(server.address, options=ChannelOptions(pool_size=4, timeout=20.0))
    ended: list[Any] = []
    for value in range(4):
        stub.push(None, Number(value=value), ended.append)
    with pytest.raises(RpcError, match="pool are busy"):
        stub.twice(None, Number(value=1))
    answers.may_go_on.set()
    wait_until(lambda: len(ended) == 4)
    for value in range(20):
        stub.twice(None, Number(value=value))
    assert stub.channel.stats()["connections_total"] == 4


def test_a_unix_socket(
    serve: Callable[..., Any], connect: Callable[..., Any], secrets: Any, short_tmp: str
) -> None:
    server = serve(bind=f"unix:{short_tmp}/s")
    with pytest.raises(ValueError, match="say it by server_name="):
        connect(server.address)
    stub = connect(server.address, tls=secrets.client_tls(server_name="localhost"))
    assert stub.twice(None, Number(value=1)).value == 2


def test_both_at_one_port(
    serve: Callable[..., Any], connect: Callable[..., Any], secrets: Any, answers: Any
) -> None:
    server = serve(tls=secrets.server_tls(also_plain=True), protocols=None)
    for protocol in (BaiduStd(), Indexed()):
        for tls in (None, secrets.client_tls()):
            stub = connect(server.address, protocol, tls=tls)
            if protocol == Indexed():
                # Lengths of which the first bytes are those of a hello.
                stub.push(None, Number(value=1, note="x" * (790 - 2 - 5)))
            else:
                assert stub.twice(None, Number(value=1)).value == 2
                assert (answers.controllers[-1].tls is None) == (tls is None)
    answers.may_go_on.set()
    assert server.stats()["rejected_total"] == {}


def test_a_server_of_this_process_needs_none(
    serve: Callable[..., Any], connect: Callable[..., Any], secrets: Any, answers: Any
) -> None:
    server = serve()
    with pytest.raises(ValueError, match="reached without a socket"):
        connect(server)
    stub = connect(server, tls=None)
    assert stub.twice(None, Number(value=1)).value == 2
    assert answers.controllers[-1].tls is None


def test_a_server_that_dies_is_called_again_when_it_is_back(
    serve: Callable[..., Any], connect: Callable[..., Any], secrets: Any
) -> None:
    server = serve()
    stub = connect(server.address, options=ChannelOptions(timeout=20.0))
    assert stub.twice(None, Number(value=1)).value == 2
    server.stop(grace=0.0)
    again = serve(bind=server.address)
    assert stub.twice(None, Number(value=2)).value == 4
    assert again.stats()["calls_received_total"] == 1


def test_without_a_certificate_where_none_is_asked_for(
    serve: Callable[..., Any], connect: Callable[..., Any], secrets: Any, answers: Any
) -> None:
    optional = secrets.server_tls(require_client_certificate=False)
    nobody = ClientTls(secrets.ca.pem)
    for tls, caller in [(optional, nobody), (secrets.server_tls(client_ca=None), nobody)]:
        stub = connect(serve(tls=tls).address, tls=caller)
        assert stub.twice(None, Number(value=1)).value == 2
        assert answers.controllers[-1].tls.certificate is None
    stub = connect(serve(tls=optional).address)
    stub.twice(None, Number(value=1))
    assert answers.controllers[-1].tls.certificate.common_name == "ada"
