"""A sender's own mistakes raise to the caller and send nothing; the connection lives on."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest
from google.protobuf.message import EncodeError

import callmethod
from testing_pb2 import Blob, Number, Numbers, Numbers_Stub, Receiver, Receiver_Stub

if TYPE_CHECKING:
    from collections.abc import Callable

MISTAKE = (callmethod.RpcError, ValueError, EncodeError)
MESSAGE_LIMIT = 4 * 1024 * 1024


class Recorder(Numbers):
    def __init__(self) -> None:
        self.values: list[int] = []

    def push(self, rpc_controller: Any, request: Any, done: Any) -> None:
        self.values.append(request.value)


@pytest.mark.parametrize(
    ("method", "request_message"),
    [
        ("push", Number()),
        ("push", Number(note="no value")),
        ("push", Number(value=1, note="n" * 95)),
        ("blob", Blob(data=bytes(97))),
        ("blob", Blob(data=bytes(MESSAGE_LIMIT))),
    ],
    ids=["empty", "not initialised", "one over the limit", "blob over", "far over"],
)
def test_of_a_channel(
    server_factory: Callable[..., callmethod.Server],
    channel_factory: Callable[..., callmethod.Channel],
    wait_until: Callable[..., Any],
    method: str,
    request_message: Any,
) -> None:
    service = Recorder()
    server = server_factory(service)
    channel = channel_factory(server.address, protocol=callmethod.Indexed(max_length=100))
    stub = Numbers_Stub(channel)
    stub.push(None, Number(value=1))
    wait_until(lambda: service.values == [1] and channel.stats()["bytes_sent_total"] == 8)
    before = channel.stats()

    with pytest.raises(MISTAKE) as caught:
        getattr(stub, method)(None, request_message)
    assert str(caught.value)

    after = channel.stats()
    assert after["bytes_sent_total"] == before["bytes_sent_total"]
    assert after["calls_sent_total"] == before["calls_sent_total"] == 1
    assert stub.push(None, Number(value=2, note="n" * 94)) is None  # just fits
    wait_until(lambda: service.values == [1, 2])
    assert server.stats()["connections_total"] == 1


def test_of_a_channel_to_the_caller(
    server_factory: Callable[..., callmethod.Server],
    channel_factory: Callable[..., callmethod.Channel],
    wait_until: Callable[..., Any],
) -> None:
    caught: list[BaseException] = []

    class Pusher(Numbers):
        def push(self, rpc_controller: Any, request: Any, done: Any) -> None:
            stub = Receiver_Stub(rpc_controller.rpc_channel)
            for mistake in (
                lambda: stub.number(None, Number()),
                lambda: stub.blob(None, Blob(data=bytes(200))),
                lambda: stub.number(rpc_controller, Number(value=1)),
            ):
                with pytest.raises((*MISTAKE, RuntimeError)) as info:
                    mistake()
                caught.append(info.value)
            stub.number(None, Number(value=request.value))

    class Heard(Receiver):
        def __init__(self) -> None:
            self.values: list[int] = []

        def number(self, rpc_controller: Any, request: Any, done: Any) -> None:
            self.values.append(request.value)

    heard = Heard()
    server = server_factory(Pusher(), protocols=[callmethod.Indexed(max_length=100)])
    channel = channel_factory(server.address, service=heard)
    Numbers_Stub(channel).push(None, Number(value=9))
    wait_until(lambda: heard.values == [9])
    assert len(caught) == 3
    assert isinstance(caught[2], RuntimeError)  # a handler's controller is not for calls it makes
    assert server.stats()["calls_sent_total"] == 1


def test_a_call_on_a_closed_channel_is_unavailable_by_name(
    server_factory: Callable[..., callmethod.Server],
    channel_factory: Callable[..., callmethod.Channel],
) -> None:
    channel = channel_factory(server_factory(Recorder()).address)
    stub = Numbers_Stub(channel)
    stub.push(None, Number(value=1))
    channel.close()
    with pytest.raises(callmethod.RpcError, match="closed") as caught:
        stub.push(None, Number(value=2))
    assert caught.value.code is callmethod.Code.UNAVAILABLE

    controller = callmethod.Controller()
    answers: list[Any] = []
    ended = threading.Event()

    def done(response: Any) -> None:
        answers.append(response)
        ended.set()

    stub.push(controller, Number(value=3), done)
    assert ended.wait(5)
    assert answers == [None]
    assert controller.Failed()
    assert controller.code is callmethod.Code.UNAVAILABLE
    assert "closed" in controller.ErrorText()
