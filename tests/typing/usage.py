"""Typed user code on callmethod's own names: checked by mypy --strict and pyright, never run.

Generated service classes are left out: protoc's own stubs name a module that is gone.
"""

from __future__ import annotations

import contextlib
import socket
from typing import TYPE_CHECKING, Any

from typing_extensions import assert_type, override

import callmethod
from callmethod import service

if TYPE_CHECKING:
    from collections.abc import Callable


class Session:
    """One for each connection, made by a factory."""

    def __init__(self, channel: callmethod.PeerChannel) -> None:
        self.channel = channel
        assert_type(channel.peer, str)
        assert_type(channel.connected, bool)

    def on_connected(self, channel: callmethod.PeerChannel) -> None:
        assert channel is self.channel

    def on_disconnected(
        self, channel: callmethod.PeerChannel, reason: callmethod.Disconnect
    ) -> None:
        assert_type(reason.kind, str)
        assert_type(reason.text, str)
        assert_type(str(reason), str)
        channel.close()


class Handler:
    """A service by shape, with a handler as the generated classes have it."""

    def __init__(self) -> None:
        self.players: dict[callmethod.PeerChannel, str] = {}

    def connect_server(
        self,
        rpc_controller: callmethod.ServerController,
        request: Any,
        done: Callable[[Any], None],
    ) -> None:
        assert_type(rpc_controller.rpc_channel, callmethod.PeerChannel)
        assert_type(rpc_controller.channel, callmethod.PeerChannel)
        assert_type(rpc_controller.peer, str)
        assert_type(rpc_controller.protocol, str)
        assert_type(rpc_controller.method, str)
        assert_type(rpc_controller.time_remaining(), "float | None")
        self.players[rpc_controller.rpc_channel] = rpc_controller.peer
        rpc_controller.NotifyOnCancel(lambda: None)
        if rpc_controller.IsCanceled():
            rpc_controller.SetFailed("gone")
            done(None)
        assert_type(rpc_controller.Failed(), bool)
        assert_type(rpc_controller.ErrorText(), str)
        raise callmethod.RpcError(callmethod.Code.NOT_FOUND, "no such game")


class MyRpcChannel(service.RpcChannel):
    """A user's own channel, in the tutorial's style."""

    def __init__(self, rpc_service: service.Service, conn: socket.socket) -> None:
        super().__init__()
        self.rpc_service = rpc_service
        self.conn = conn

    @override
    def CallMethod(
        self,
        method_descriptor: Any,
        rpc_controller: service.RpcController | None,
        request: Any,
        response_class: Any,
        done: Callable[[Any], None] | None,
    ) -> Any:
        self.conn.sendall(request.SerializeToString())
        return None


class MyController(callmethod.Controller):
    """Any __init__ and attributes of its own."""

    def __init__(self, name: str) -> None:
        super().__init__(timeout=1.0)
        self.name = name


class MyServer(callmethod.Server):
    """A subclass with an __init__ of its own."""

    def __init__(self, port: int) -> None:
        super().__init__(f"127.0.0.1:{port}", max_workers=1)


def serve() -> None:
    protocol = callmethod.Indexed(byte_order="big", length_width=4, max_length=0xFFFFFF)
    server = callmethod.Server("127.0.0.1:0", protocols=[protocol], reuse_port=False)
    server.add_service(Handler())
    server.add_service(factory=Session)
    with server as entered:
        assert_type(entered.address, str)
        assert_type(server.wait(timeout=1.0), bool)
        stats = server.stats()
        assert_type(stats["connections"], int)
        assert_type(stats["rejected_total"], dict[str, int])
        assert_type(stats["disconnects_total"], dict[str, int])
        assert_type(stats["calls_total"], dict[str, int])
    summary = server.stop(grace=1.0)
    assert_type(summary, callmethod.StopSummary)
    assert_type(summary.connections_cut + summary.calls_cut + summary.calls_running, int)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        callmethod.Server(listening).serve_forever(grace=1.0)
    MyServer(0).start()


def call(method_descriptor: Any, request: Any, response_class: type[Any]) -> None:
    options = callmethod.ChannelOptions(timeout=None, wait_for_ready=False, backoff_max=0.5)
    with callmethod.Channel(
        "unix:game.socket", protocol=callmethod.Indexed(), options=options, service=Handler()
    ) as channel:
        channel.connect(timeout=1.0)
        assert_type(channel.connected, bool)
        assert_type(channel.target, str)
        assert_type(channel.stats()["calls_sent_total"], int)
        controller = MyController("ada")
        try:
            channel.CallMethod(method_descriptor, controller, request, response_class, None)
            channel.CallMethod(method_descriptor, None, request, response_class, print)
        except callmethod.RpcError as error:
            assert_type(error.code, callmethod.Code)
            assert_type(error.text, str)
            assert_type(error.peer, "str | None")
        assert_type(controller.code, "callmethod.Code | None")
        assert_type(controller.timeout, "float | None")
        controller.StartCancel()
        controller.Reset()
        channel.close(grace=0.5)


def push(players: dict[callmethod.PeerChannel, str], method_descriptor: Any, news: Any) -> None:
    for player in players:
        with contextlib.suppress(callmethod.RpcException):
            player.CallMethod(method_descriptor, None, news, type(news), None)


def decode(data: bytes) -> list[callmethod.Frame]:
    codec = callmethod.IndexedCodec(callmethod.Indexed(), receives="calls", message_limit=1 << 20)
    assert_type(codec.encode(0, b"body"), bytes)
    assert_type(codec.encode_reply(b"body"), bytes)
    try:
        frames = codec.feed(data)
        codec.finish()
    except callmethod.WireError as error:
        assert_type(error.reason, str)
        assert_type(error.frames, tuple[callmethod.Frame, ...])
        return list(error.frames)
    for frame in frames:
        assert_type(frame.index, "int | None")
        assert_type(frame.id, "int | None")
        assert_type(frame.body, bytes)
    return frames


def table(service_descriptor: Any) -> str:
    methods = callmethod.MethodTable(service_descriptor)
    assert_type(methods.service, str)
    assert_type(len(methods), int)
    assert_type(methods.names, tuple[str, ...])
    assert_type(methods.input_types, tuple[str, ...])
    assert_type(methods.response_json(0, b""), str)
    return methods.request_json(methods.index("connect_server"), b"")


def rooms(code: callmethod.Code) -> str:
    service.install()
    number: int = code.value
    return f"callmethod {callmethod.__version__}: {code.name} is {number}"
