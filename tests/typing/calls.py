"""Typed user code on calls with answers: checked by mypy --strict and pyright, never run.

Generated service classes are left out, as in usage.py.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, cast

from typing_extensions import assert_type

import callmethod
from callmethod import aio, testing

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

    from google.protobuf.descriptor import FileDescriptor, ServiceDescriptor


class Answers:
    """A service by shape, with a handler in each style."""

    def __init__(self, onward: aio.Channel) -> None:
        self.onward = onward

    def with_done(
        self,
        rpc_controller: callmethod.ServerController,
        request: Any,
        done: Callable[[Any], None],
    ) -> None:
        assert_type(rpc_controller.metadata, dict[str, str])
        assert_type(rpc_controller.request_attachment, bytes)
        assert_type(rpc_controller.log_id, "int | None")
        assert_type(rpc_controller.trace_id, "int | None")
        assert_type(rpc_controller.span_id, "int | None")
        assert_type(rpc_controller.parent_span_id, "int | None")
        assert_type(rpc_controller.request_id, "str | None")
        assert_type(rpc_controller.time_remaining(), "float | None")
        rpc_controller.response_attachment = rpc_controller.request_attachment
        rpc_controller.response_attachment = bytearray(b"raw")
        rpc_controller.response_metadata["took"] = "short"  # type: ignore[index]  # pyright: ignore[reportIndexIssue]
        rpc_controller.response_metadata = {"took": "long"}
        rpc_controller.response_compression = "snappy"
        rpc_controller.response_compression = "lz4"  # type: ignore[assignment]  # pyright: ignore[reportAttributeAccessIssue]
        rpc_controller.response_checksum = "message_and_attachment"
        rpc_controller.respones_checksum = "none"  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
        as_protobuf_has_it: callmethod.service.RpcController = rpc_controller
        assert as_protobuf_has_it is rpc_controller
        rpc_controller.NotifyOnCancel(lambda: None)
        if rpc_controller.IsCanceled():
            rpc_controller.SetFailed("nobody waits")
        done(request)

    def by_returning(
        self, rpc_controller: callmethod.ServerController, request: Any, done: Callable[..., None]
    ) -> Any:
        if not request:
            raise callmethod.RpcError(callmethod.Code.NOT_FOUND, "no such game", native_code=1234)
        return request

    async def awaiting(
        self,
        rpc_controller: callmethod.ServerController,
        request: Any,
        done: Callable[[Any], None],
    ) -> Any:
        back = aio.awaitable(rpc_controller.rpc_channel)
        assert_type(back, aio.AwaitableChannel)
        await back.CallMethod(None, None, request, type(request), None)
        return await self.onward.CallMethod(None, None, request, type(request), None)


def check_credential(credential: bytes, peer: str) -> bool:
    return credential == b"secret" and peer.startswith("127.")


async def check_later(credential: bytes, peer: str) -> bool:
    return True


def believe_everybody() -> callmethod.Server:
    return callmethod.Server(
        authenticate=check_later,  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    )


class WithUser(Protocol):
    """An attribute of the user's on a handler's controller."""

    user: str


def say_who(rpc_controller: callmethod.ServerController) -> str:
    mine = cast("WithUser", rpc_controller)
    mine.user = "ada"
    return mine.user


def serve(service: object) -> callmethod.Server:
    options = callmethod.ServerOptions(
        max_concurrency=100,
        method_max_concurrency={"game.GameService.connect_server": 10},
        max_queued_calls=64,
        max_queue_time=1.0,
        handshake_timeout=2.0,
    )
    server = callmethod.Server(
        "127.0.0.1:0",
        protocols=[callmethod.BaiduStd(max_length=1 << 20), callmethod.Hulu()],
        max_workers=4,
        options=options,
        authenticate=check_credential,
        expose_errors=False,
        reuse_port=True,
    )
    server.add_service(service)
    server.start()
    stats = server.stats()
    assert_type(stats["replies_sent_total"], int)
    assert_type(stats["replies_unsent_total"], int)
    assert_type(stats["rejected_total"], dict[str, int])
    return server


AnyProtocol: TypeAlias = (
    "callmethod.BaiduStd | callmethod.Hulu | callmethod.Sofa | callmethod.Indexed"
)


def protocols() -> list[AnyProtocol]:
    every: list[AnyProtocol] = [
        callmethod.BaiduStd(coalesce=False),
        callmethod.Hulu(),
        callmethod.Sofa(max_length=100),
        callmethod.Indexed(id_width=8, reply="by_id"),
        callmethod.Indexed(reply="in_order"),
    ]
    names: list[str] = [protocol.name for protocol in every]
    assert names
    return every


def call(address: str, method: Any, request: Any) -> bytes:
    options = callmethod.ChannelOptions(
        timeout=1.0, connect_timeout=2.0, max_retry=0, pool_size=4, credential=b"secret"
    )
    with callmethod.Channel(address, options=options) as channel:
        channel.set_credential(b"another")
        controller = callmethod.Controller(
            timeout=None,
            metadata={"user": "ada"},
            request_attachment=b"raw",
            compression="gzip",
            checksum="message",
            log_id=1,
            request_id="r-1",
        )
        controller.trace_id = controller.span_id = 7
        controller.parent_span_id = None
        try:
            response = channel.CallMethod(method, controller, request, type(request), None)
        except callmethod.RpcError as error:
            assert_type(error.code, callmethod.Code)
            assert_type(error.native_code, "int | None")
            assert_type(error.text, str)
            assert_type(error.peer, "str | None")
            if error.code is callmethod.Code.DEADLINE_EXCEEDED:
                return b""
            raise
        print(response)
        assert_type(controller.code, "callmethod.Code | None")
        assert_type(controller.native_code, "int | None")
        assert_type(controller.response_metadata["took"], str)
        assert_type(channel.stats()["late_replies_total"], int)
        assert_type(channel.stats()["retries_total"], int)
        return controller.response_attachment


async def awaited(address: str, method: Any, request: Any) -> list[Any]:
    async with aio.Channel(address, protocol=callmethod.Sofa()) as channel:
        await channel.connect(timeout=1.0)
        assert_type(channel.connected, bool)
        assert_type(channel.target, str)
        controllers = [callmethod.Controller(timeout=1.0) for _ in range(3)]
        calls = [
            channel.CallMethod(method, controller, request, type(request), None)
            for controller in controllers
        ]
        controllers[0].StartCancel()
        results: list[Any] = await asyncio.gather(*calls, return_exceptions=True)
        await channel.close(grace=0.5)
        return results


async def serve_awaited(service: object) -> callmethod.StopSummary:
    server = aio.Server("127.0.0.1:0", protocols=protocols(), expose_errors=False)
    server.add_service(service)
    async with server as entered:
        assert_type(entered, aio.Server)
        assert_type(server.address, str)
        assert_type(server.stats(), callmethod.Stats)
        await server.wait()
    await server.start()
    summary = await server.stop(grace=1.0)
    assert_type(summary.calls_cut, int)
    return summary


def unit_test(service: object, other: object, method: Any, request: Any) -> Any:
    options = callmethod.ChannelOptions(timeout=1.0)
    with testing.channel_for(
        service, other, protocol=callmethod.BaiduStd(), options=options
    ) as channel:
        return channel.CallMethod(method, None, request, type(request), None)


def in_memory(service: object) -> callmethod.Channel:
    server = callmethod.Server(None)
    server.add_service(service)
    server.start()
    return callmethod.Channel(server)


def made_classes(module: ModuleType, file: FileDescriptor, service: ServiceDescriptor) -> Any:
    assert_type(callmethod.services(module), callmethod.Services)
    assert_type(callmethod.services(file)["GameService"], Any)
    made = callmethod.services(service)
    assert_type(made, callmethod.ServiceClasses)
    callmethod.services("game_service_pb2")  # type: ignore[call-overload]
    return callmethod.services(module).GameService_Stub(callmethod.stubs.one_way(in_memory(made)))


def mistakes(server: callmethod.Server) -> None:
    """Each line is an error, which the ignore names; one that is none is reported as unused."""
    callmethod.Controller(compression="lz4")  # type: ignore[arg-type]
    callmethod.Controller(metadata={"a": 1})  # type: ignore[dict-item]
    callmethod.Controller(request_attachment="text")  # type: ignore[arg-type]
    callmethod.ChannelOptions(pool_size="many")  # type: ignore[arg-type]
    callmethod.ServerOptions(method_max_concurrency={"m": "1"})  # type: ignore[dict-item]
    callmethod.Channel(7)  # type: ignore[arg-type]
    server.stop("now")  # type: ignore[arg-type]
    raise callmethod.RpcError("NOT_FOUND")  # type: ignore[arg-type]
